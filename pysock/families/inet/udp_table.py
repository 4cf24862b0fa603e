"""UdpTable: who has which UDP port in one namespace, and whose an incoming datagram is (udp_lib_get_port,
__udp4_lib_lookup, __udp6_lib_lookup).

Three indexes of the same sockets, of both families, whose keys differ in length:

* ``by_port``: local port -> everybody on it, oldest first. Decides who may bind.
* ``connected``: the 12 (IPv6: 36) address and port bytes of an incoming header -> the sockets connected to just that
  peer.
* ``bound``: the 6 (18) bytes of a local address (or any) and port -> the unconnected sockets there, newest first. A
  dual-stack socket, bound to ``::``, stands there twice.

A connected socket beats an unconnected one, one bound to our address beats one bound to any, one bound to the device
beats one that is not; among equals the newest wins, unless they share the port by SO_REUSEPORT: then a hash of the flow
chooses.

``early`` remembers what came of it for recent flows, so that the receive path asks one dict; it is cleared at every
change here, and an entry counts only while the FIB's generation and the device are those it was made with. Only lookups
with one possible answer are remembered: SO_BINDTODEVICE may change the others behind our back.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.sockopt_set import SOCK_UDP_GRO
from pysock.families.inet import reuseport
from pysock.families.inet.addr import ANY, host_text
from pysock.families.inet.v6part import ANY6, same_address, takes_v4, takes_v6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pysock.core.mibs import UdpMib
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.net import InetNet
    from pysock.families.inet.udp import UdpSock
    from pysock.families.inet.udplite import Coverage

    #: The socket, and the device and FIB generation it was found with.
    EarlyEntry = tuple[UdpSock, NetDevice, int]

_EARLY_LIMIT = 4096
_HASH_MULTIPLIER = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: Knuth's multiplicative hash


class UdpTable:
    """The sockets of one namespace. See the module docstring.

    ``protocol`` is "udp" or "udplite", whose sockets have a table of their own, with a ``coverage`` that says what is
    different about their checksums. ``mib6`` are the counters of what goes over IPv6; inet6 puts them there.
    """

    __slots__ = (
        "_secret",
        "bound",
        "by_port",
        "connected",
        "coverage",
        "early",
        "inet",
        "ip_mib",
        "mib",
        "mib6",
        "names",
        "protocol",
    )

    def __init__(self, inet: InetNet, protocol: str, mib: UdpMib, coverage: Coverage | None = None) -> None:
        self.inet = inet
        self.protocol = protocol
        self.coverage = coverage
        self.mib = mib
        self.mib6: UdpMib
        self.ip_mib = inet.mibs.ip
        self.by_port: dict[int, list[UdpSock]] = {}
        self.connected: dict[bytes, list[UdpSock]] = {}
        self.bound: dict[bytes, list[UdpSock]] = {}
        self.early: dict[bytes, EarlyEntry] = {}
        #: The bytes of a flow -> its sender's address tuple; translations only, so never stale.
        self.names: dict[bytes, tuple[Any, ...]] = {}
        self._secret = -1  # not drawn yet

    # -- being found ---------------------------------------------------------------------------------------

    def hash(self, sk: UdpSock) -> None:
        """Make ``sk``, which has a port, findable under its present addresses."""
        self.early.clear()
        self.by_port.setdefault(sk.sport, []).append(sk)
        if sk.dport:
            self.connected.setdefault(_flow_key(sk), []).insert(0, sk)
        else:
            for key in _bound_keys(sk):
                self.bound.setdefault(key, []).insert(0, sk)
            if sk.reuseport:
                reuseport.join(sk, self.group_of(sk))

    def unhash(self, sk: UdpSock) -> None:
        """The opposite; harmless when it was not hashed."""
        owners = self.by_port.get(sk.sport)
        if owners is None or sk not in owners:
            return
        self.early.clear()
        _drop(self.by_port, sk.sport, sk)
        if sk.dport:
            _drop(self.connected, _flow_key(sk), sk)
        else:
            for key in _bound_keys(sk):
                _drop(self.bound, key, sk)

    # -- binding -------------------------------------------------------------------------------------------

    def get_port(self, sk: UdpSock, port: int) -> None:
        """Give ``sk`` the local ``port``, or a free one of ip_local_port_range for 0; EADDRINUSE."""
        if port == 0:
            port = self._choose(sk)
        elif self._conflict(sk, port):
            raise err(errno.EADDRINUSE)
        sk.sport = port
        self.hash(sk)

    def _choose(self, sk: UdpSock) -> int:
        low, high = self.inet.local_port_range
        count = high - low + 1
        start = self.inet.kernel.random(self.protocol + ".ports").randrange(count)
        by_port = self.by_port
        for i in range(count):
            port = low + (start + i) % count
            if port not in by_port:
                return port
        for i in range(count):  # all in use, but perhaps at another address
            port = low + (start + i) % count
            if not self._conflict(sk, port):
                return port
        raise err(errno.EADDRINUSE)

    def _conflict(self, sk: UdpSock, port: int) -> bool:
        """udp_lib_lport_inuse(): may ``sk`` not have this port?"""
        for other in self.by_port.get(port, ()):
            if (
                (other.reuse and sk.reuse)
                or (other.bound_dev_if and sk.bound_dev_if and other.bound_dev_if != sk.bound_dev_if)
                or not same_address(sk, other)
            ):
                continue
            if other.reuseport and sk.reuseport and other.creds.uid == sk.creds.uid:
                continue
            return True
        return False

    # -- GRO -----------------------------------------------------------------------------------------------

    def offer_gro(self) -> None:
        """A socket wants datagrams glued together: from now on GRO asks whose they are (udp_encap_enable)."""
        if self.coverage is None:
            self.inet.net.udp_gro = self._wants_gro

    def _wants_gro(self, key: bytes, ifindex: int) -> bool:
        sk = self.lookup(key, ifindex)
        return sk is not None and sk.flags & SOCK_UDP_GRO != 0

    # -- finding -------------------------------------------------------------------------------------------

    def lookup(self, key: bytes, ifindex: int) -> UdpSock | None:
        """Whose a datagram with these 12 or 36 bytes (source, destination, source port, destination port) is.

        ``ifindex`` is where it came in; 0 matches sockets of every device.
        """
        found = self.connected.get(key)
        sk = self._best(found, key, ifindex) if found else None
        if sk is None:
            bound = self.bound
            v4 = len(key) == 12
            port = key[-2:]
            found = bound.get((key[4:8] if v4 else key[16:32]) + port)
            if found:
                sk = self._best(found, key, ifindex)
            if sk is None:
                found = bound.get((ANY if v4 else ANY6) + port)
                if found:
                    sk = self._best(found, key, ifindex)
        return sk

    def remember(self, key: bytes, sk: UdpSock, dev: NetDevice, generation: int) -> None:
        """Let the next datagram of this flow find ``sk`` at once, if nobody else on its port could ever win.
        ``generation`` is the FIB's.
        """
        if sk.bound_dev_if or sk.filter is not None:
            return
        if len(self.by_port[sk.sport]) > 1 and self.connected.get(key) != [sk]:
            return
        early = self.early
        if len(early) >= _EARLY_LIMIT:
            early.clear()
        early[key] = (sk, dev, generation)

    def _best(self, found: list[UdpSock], key: bytes, ifindex: int) -> UdpSock | None:
        best: UdpSock | None = None
        for sk in found:
            dev = sk.bound_dev_if
            if not dev:
                if best is None or (best.pinet6 is not None and sk.pinet6 is None):  # IPv4's own before dual-stack
                    best = sk
            elif not ifindex or dev == ifindex:
                best = sk
                break
        if best is not None and best.reuseport and len(found) > 1:
            return self._select(best, found, key)
        return best

    def _select(self, best: UdpSock, found: list[UdpSock], key: bytes) -> UdpSock:
        """reuseport_select_sock(): one of the group, by a hash of the flow, the oldest member first."""
        group = [
            sk
            for sk in reversed(found)
            if sk.reuseport
            and sk.bound_dev_if == best.bound_dev_if
            and sk.creds.uid == best.creds.uid
            and sk.family == best.family
        ]
        if self._secret < 0:
            self._secret = self.inet.kernel.random(self.protocol + ".hash").getrandbits(64)
        mixed = ((int.from_bytes(key, "big") ^ self._secret) % 0xFFFFFFFFFFFFFFC5) * _HASH_MULTIPLIER
        return group[(mixed >> 32 & 0xFFFFFFFF) * len(group) >> 32]

    def group_of(self, sk: UdpSock) -> list[UdpSock]:
        """The SO_REUSEPORT group of ``sk``, the oldest member first."""
        owners = self.by_port.get(sk.sport, ())
        return [other for other in owners if not other.dport and reuseport.same_group(sk, other)]

    def listeners(self, key: bytes, ifindex: int) -> list[UdpSock]:
        """Everybody on the port whom a broadcast or multicast datagram concerns (__udp_is_mcast_sock)."""
        saddr, daddr = key[:4], key[4:8]
        sport = int.from_bytes(key[8:10], "big")
        return [
            sk
            for sk in self.by_port.get(int.from_bytes(key[10:], "big"), ())
            if takes_v4(sk)
            and sk.rcv_saddr in (ANY, daddr)
            and sk.daddr in (ANY, saddr)
            and sk.dport in (0, sport)
            and (not sk.bound_dev_if or sk.bound_dev_if == ifindex)
        ]

    def name(self, key: bytes) -> tuple[Any, ...]:
        """The sender's (host, port) in the 12 bytes of a flow."""
        return self.names.get(key) or self.remember_name(key, (host_text(key[:4]), key[8] << 8 | key[9]))

    def remember_name(self, key: bytes, name: tuple[Any, ...]) -> tuple[Any, ...]:
        """``name`` is what stands in ``names`` for ``key`` from now on."""
        if len(self.names) >= _EARLY_LIMIT:
            self.names.clear()
        self.names[key] = name
        return name


def _flow_key(sk: UdpSock) -> bytes:
    ports = sk.dport.to_bytes(2, "big") + sk.sport.to_bytes(2, "big")
    part = sk.pinet6
    if part is not None and takes_v6(sk):
        return part.daddr + part.rcv_saddr + ports
    return sk.daddr + sk.rcv_saddr + ports


def _bound_keys(sk: UdpSock) -> list[bytes]:
    port = sk.sport.to_bytes(2, "big")
    part = sk.pinet6
    if part is None:
        return [sk.rcv_saddr + port]
    keys = [sk.rcv_saddr + port] if takes_v4(sk) else []
    if takes_v6(sk):
        keys.append(part.rcv_saddr + port)
    return keys


def _drop(index: dict[Any, list[UdpSock]], key: int | bytes, sk: UdpSock) -> None:
    owners = index[key]
    owners.remove(sk)
    if not owners:
        del index[key]
