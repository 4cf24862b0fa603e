"""Local ports: bind() conflicts and the choice of ephemeral ports (inet_csk_get_port, __inet_hash_connect).

``TcpNet.bhash`` says who is on a port. Two sockets may share one when their addresses differ, or both have
SO_REUSEADDR and none of them listens, or both have SO_REUSEPORT and one owner (socket(7), inet_csk_bind_conflict).
"""

from __future__ import annotations

import errno

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.errors import err
from pysock.families.inet.addr import is_loopback
from pysock.families.inet.tcp.af import addresses
from pysock.families.inet.tcp.net import BindBucket
from pysock.families.inet.tcp.timewait import TimeWaitSock
from pysock.families.inet.v6part import LOOPBACK6, claims, same_address
from pysock.uapi.tcp import TCP_LISTEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.sock import TcpSock


def conflicts(sk: TcpSock, bucket: BindBucket) -> bool:
    """Whether ``sk`` may not join those who are on the port."""
    for other in bucket.owners:
        if other is sk:
            continue
        if sk.bound_dev_if and other.bound_dev_if and sk.bound_dev_if != other.bound_dev_if:
            continue
        if sk.reuse and other.reuse and other.state != TCP_LISTEN:
            continue
        if sk.reuseport and other.reuseport and sk.creds.uid == other.creds.uid:
            continue
        if same_address(sk, other):
            return True
    return False


def _timewait_conflict(sk: TcpSock, port: int) -> bool:
    """A TIME-WAIT connection holds the port, unless both it and the newcomer had SO_REUSEADDR."""
    return any(
        not (sk.reuse and tw.reuse) and claims(sk, addresses(tw.key)[1]) for tw in sk.tcp.timewait.on_port(port)
    )


def join(sk: TcpSock, port: int) -> None:
    """Put ``sk`` on ``port``."""
    bhash = sk.tcp.bhash
    bucket = bhash.get(port)
    if bucket is None:
        bucket = bhash[port] = BindBucket(port)
    bucket.owners[sk] = None
    sk.bucket = bucket
    sk.sport = port


def leave(sk: TcpSock) -> None:
    """Give the port up (inet_put_port)."""
    bucket = sk.bucket
    if bucket is None:
        return
    sk.bucket = None
    bucket.owners.pop(sk, None)
    if not bucket.owners:
        sk.tcp.bhash.pop(bucket.port, None)


def get_port(sk: TcpSock, port: int) -> None:
    """bind(): EADDRINUSE when the port (or, for 0, every port of the range) is taken."""
    bhash = sk.tcp.bhash
    if port:
        bucket = bhash.get(port)
        if (bucket is not None and conflicts(sk, bucket)) or _timewait_conflict(sk, port):
            raise err(errno.EADDRINUSE)
        join(sk, port)
        return
    low, high = sk.inet.local_port_range
    count = high - low + 1
    start = sk.tcp.ports.randrange(count)
    for i in range(count):
        candidate = low + (start + i) % count
        if candidate not in bhash and not sk.tcp.timewait.on_port(candidate):
            join(sk, candidate)
            return
    for i in range(count):  # every port has somebody: share one where the rules allow it
        candidate = low + (start + i) % count
        bucket = bhash.get(candidate)
        if bucket is None or not conflicts(sk, bucket):
            join(sk, candidate)
            return
    raise err(errno.EADDRINUSE)


def assign_connect(sk: TcpSock, saddr: bytes, daddr: bytes, dport: int) -> None:
    """Choose the local port of an active opener (unless bound), check the four-tuple, enter it in ehash."""
    tcp = sk.tcp
    tail = dport.to_bytes(2, "big")
    if sk.sport:
        key = daddr + saddr + tail + sk.sport.to_bytes(2, "big")
        if not _usable(sk, key):
            raise err(errno.EADDRNOTAVAIL)
        _take(sk, key, saddr, daddr, dport)
        return
    low, high = sk.inet.local_port_range
    count = high - low + 1
    prefix = daddr + saddr + tail
    ehash = tcp.ehash
    bhash = tcp.bhash
    hint = tcp.port_hint
    for i in range(count):
        port = low + (hint + i) % count
        key = prefix + port.to_bytes(2, "big")
        if key in ehash and not _usable(sk, key):
            continue
        bucket = bhash.get(port)
        if bucket is not None and any(o.user_bound or o.state == TCP_LISTEN for o in bucket.owners):
            continue
        tcp.port_hint = hint + i + 1
        join(sk, port)
        _take(sk, key, saddr, daddr, dport)
        return
    raise err(errno.EADDRNOTAVAIL)


def _usable(sk: TcpSock, key: bytes) -> bool:
    """Free, or held by a TIME-WAIT that timestamps let us reuse after a second (tcp_twsk_unique, tcp_tw_reuse)."""
    who = sk.tcp.ehash.get(key)
    if who is None:
        return True
    if not isinstance(who, TimeWaitSock):
        return False
    reuse = sk.tcp.tw_reuse
    loopback = all(is_loopback(addr) if len(addr) == 4 else addr == LOOPBACK6 for addr in addresses(key))
    if not who.ts_ok or not (reuse == 1 or (reuse == 2 and loopback)):
        return False
    if sk.kernel.now - who.ts_stamp <= NSEC_PER_SEC:
        return False
    sk.tcp.timewait.remove(who)
    return True


def _take(sk: TcpSock, key: bytes, saddr: bytes, daddr: bytes, dport: int) -> None:
    sk.af.set_names(sk, saddr, daddr)
    sk.dport = dport
    sk.ehash_key = key
    sk.tcp.ehash[key] = sk
