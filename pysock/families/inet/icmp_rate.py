"""IcmpNet: ICMP's settings in one namespace, and how often it may speak (icmp(7), icmp_global_allow,
inet_peer_xrlim_allow).

Two token buckets, both of the kernel's clock: one for all messages (icmp_msgs_per_sec, icmp_msgs_burst), one for each
destination (icmp_ratelimit ms a message, six at once). Only the types in icmp_ratemask are limited; loopback and
"fragmentation needed" never are.
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_MSEC, NSEC_PER_SEC
from pysock.uapi.if_ import IFF_LOOPBACK
from pysock.wire.icmp import DEST_UNREACH, FRAG_NEEDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.net import ErrorHandler, InetNet
    from pysock.families.inet.route import Rtable

#: DEST_UNREACH, SOURCE_QUENCH, TIME_EXCEEDED, PARAMETERPROB
DEFAULT_RATEMASK = 0x1818
_BURST_FACTOR = 6
_PEER_LIMIT = 65664


class IcmpNet:
    """Settings are sysctls of net.ipv4 with ``icmp_`` in front. ``offender`` is the sender of the error being handled;
    ``raw_error`` tells raw sockets of it, None while there are none."""

    __slots__ = (
        "_burst_at",
        "_tokens",
        "echo_ignore_all",
        "echo_ignore_broadcasts",
        "inet",
        "msgs_burst",
        "msgs_per_sec",
        "offender",
        "peers",
        "ratelimit",
        "ratemask",
        "raw_error",
    )

    def __init__(self, inet: InetNet) -> None:
        self.inet = inet
        self.echo_ignore_all = False
        self.echo_ignore_broadcasts = True
        self.ratelimit = 1000
        self.ratemask = DEFAULT_RATEMASK
        self.msgs_per_sec = 1000
        self.msgs_burst = 50
        self.offender = b"\0\0\0\0"
        self.raw_error: ErrorHandler | None = None
        #: destination -> (nanoseconds of credit, when that was)
        self.peers: dict[bytes, tuple[int, int]] = {}
        self._tokens = 0
        self._burst_at = 0
        inet.net.sysctl.register_lazy("net.ipv4", self._register_sysctls)

    def _register_sysctls(self) -> None:
        sysctl = self.inet.net.sysctl
        for name in ("echo_ignore_all", "echo_ignore_broadcasts"):
            sysctl.register_bool(f"net.ipv4.icmp_{name}", getattr(self, name), on_change=self._setter(name))
        for name in ("ratelimit", "ratemask", "msgs_per_sec", "msgs_burst"):
            sysctl.register_int(f"net.ipv4.icmp_{name}", getattr(self, name), minimum=0, on_change=self._setter(name))

    def _setter(self, name: str) -> Callable[[int], None]:
        return lambda value: setattr(self, name, value)

    def take_token(self) -> bool:
        """icmp_global_allow(): one of the messages that the whole namespace may send now."""
        now = self.inet.kernel.now
        gained = (now - self._burst_at) * self.msgs_per_sec // NSEC_PER_SEC
        if gained:
            self._tokens = min(self._tokens + gained, self.msgs_burst)
            self._burst_at = now
        if self._tokens <= 0:
            return False
        self._tokens -= 1
        return True


def icmp_of(inet: InetNet) -> IcmpNet:
    """The ICMP settings and state of a namespace."""
    state = inet.state["icmp"]
    assert isinstance(state, IcmpNet)
    return state


def _unlimited(icmp: IcmpNet, type: int, code: int) -> bool:
    """icmpv4_mask_allow()."""
    return (type == DEST_UNREACH and code == FRAG_NEEDED) or not icmp.ratemask >> type & 1


def global_allow(icmp: IcmpNet, dev: NetDevice, type: int, code: int) -> bool:
    """May the namespace answer a datagram that came in through ``dev``? Counts OutRateLimitGlobal."""
    if dev.flags & IFF_LOOPBACK or _unlimited(icmp, type, code) or icmp.take_token():
        return True
    icmp.inet.mibs.icmp.OutRateLimitGlobal += 1
    return False


def peer_allow(icmp: IcmpNet, rt: Rtable, type: int, code: int) -> bool:
    """May a message go to this destination now? Counts OutRateLimitHost."""
    if rt.loopback or not icmp.ratelimit or _unlimited(icmp, type, code):
        return True
    if spend(icmp.peers, rt.daddr, icmp.ratelimit * NSEC_PER_MSEC, icmp.inet.kernel.now):
        return True
    icmp.inet.mibs.icmp.OutRateLimitHost += 1
    return False


def spend(peers: dict[bytes, tuple[int, int]], peer: bytes, price: int, now: int) -> bool:
    """Take ``price`` nanoseconds from the credit that ``peer`` has saved up, if it is enough: at most six times that
    (inet_peer_xrlim_allow). IPv6 has buckets of its own.
    """
    credit, then = peers.get(peer, (_BURST_FACTOR * price, now))
    credit = min(credit + now - then, _BURST_FACTOR * price)
    allowed = credit >= price
    if allowed:
        credit -= price
    if len(peers) >= _PEER_LIMIT:
        peers.clear()
    peers[peer] = credit, now
    return allowed
