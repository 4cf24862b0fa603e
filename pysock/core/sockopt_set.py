"""The setters of `sockopt.py`: one function for each option at level SOL_SOCKET that is more than a flag.

Each gets the Sock, the caller's credentials and the value as an int; those of struct-valued options the Sock
and the bytes.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.capability import CAP_NET_ADMIN, CAP_NET_RAW
from pysock.core.clock import NEVER, NSEC_PER_SEC, NSEC_PER_USEC
from pysock.core.errors import err
from pysock.core.sock import SOCK_KEEPOPEN, SOCK_PASSCRED, SOCK_RCVTSTAMPNS, SOCK_TIMESTAMP
from pysock.core.sock_ext import ext_of
from pysock.core.sock_limits import SOCK_MIN_RCVBUF, SOCK_MIN_SNDBUF
from pysock.uapi import socket as so
from pysock.uapi.if_ import IFNAMSIZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.sock import Sock

# More of Sock.flags: what only socket options set. Names with SOCK_UNIX_ are the family's own business.
SOCK_TX_TSTAMP: Final = 1 << 2  # SO_TIMESTAMPING wants to know when packets leave
SOCK_DBG: Final = 1 << 11
SOCK_RXQ_OVFL: Final = 1 << 12
SOCK_SNDBUF_LOCKED: Final = 1 << 14  # sk_userlocks: the program chose the size, autotuning keeps off
SOCK_RCVBUF_LOCKED: Final = 1 << 15
SOCK_PASSSEC: Final = 1 << 16
SOCK_RCVMARK: Final = 1 << 17
SOCK_RCVPRIORITY: Final = 1 << 18
SOCK_TSTAMP_NEW: Final = 1 << 19  # asked for by the option numbers of 64-bit time
SOCK_RX_TSTAMP: Final = 1 << 20  # SO_TIMESTAMPING wants software receive times
SOCK_PASSPIDFD: Final = 1 << 21
SOCK_NO_RIGHTS: Final = 1 << 22  # SO_PASSRIGHTS is off
SOCK_PEEK_OFF: Final = 1 << 23  # SO_PEEK_OFF is not negative
SOCK_FILTER_LOCKED: Final = 1 << 24
SOCK_NOFCS: Final = 1 << 25
SOCK_WIFI_STATUS: Final = 1 << 26
SOCK_ZEROCOPY: Final = 1 << 27
SOCK_INQ: Final = 1 << 28
SOCK_UNIX_CAREFUL: Final = 1 << 29
# Two bits have another meaning in AF_UNIX: flags of more than 30 are slow to test in Python.
SOCK_NOTE_CPU: Final = 1 << 28  # AF_INET: there are several CPUs: remember where packets come in
SOCK_UDP_GRO: Final = 1 << 29  # AF_INET: UDP_GRO: takes datagrams glued together

#: A receiver of datagrams with one of these wants more than bytes and an address.
SOCK_RECV_EXTRAS: Final = (
    SOCK_TIMESTAMP | SOCK_RXQ_OVFL | SOCK_RCVMARK | SOCK_RCVPRIORITY | SOCK_RX_TSTAMP | SOCK_PEEK_OFF
    | SOCK_NOTE_CPU | SOCK_UDP_GRO
)

#: The transmit times that there are, among SOF_TIMESTAMPING_*.
TX_STAMPED: Final = so.SOF_TIMESTAMPING_TX_SCHED | so.SOF_TIMESTAMPING_TX_SOFTWARE | so.SOF_TIMESTAMPING_TX_ACK

INT_MAX: Final = (1 << 31) - 1

TIMEVAL: Final = Struct("=qq")
LINGER: Final = Struct("=ii")


def set_flag(sk: Sock, flag: int, on: bool) -> None:
    if on:
        sk.flags |= flag
    else:
        sk.flags &= ~flag


# Buffers -------------------------------------------------------------------------------------------------


def set_sndbuf(sk: Sock, size: int) -> None:
    """Room for ``size`` bytes of payload: Linux doubles it, for the overhead of sk_buffs."""
    sk.flags |= SOCK_SNDBUF_LOCKED
    sk.sndbuf = max(min(size, INT_MAX // 2) * 2, SOCK_MIN_SNDBUF)
    sk.write_space()


def set_rcvbuf(sk: Sock, size: int) -> None:
    """The same for what is received (__sock_set_rcvbuf)."""
    sk.flags |= SOCK_RCVBUF_LOCKED
    sk.rcvbuf = max(min(size, INT_MAX // 2) * 2, SOCK_MIN_RCVBUF)
    sk.rcvbuf_changed()


def so_sndbuf(sk: Sock, creds: Credentials, number: int) -> None:
    # Compared as unsigned: a negative size asks for as much as possible.
    set_sndbuf(sk, min(number & 0xFFFFFFFF, sk.net.sock_limits.wmem_max))


def so_rcvbuf(sk: Sock, creds: Credentials, number: int) -> None:
    set_rcvbuf(sk, min(number & 0xFFFFFFFF, sk.net.sock_limits.rmem_max))


def so_sndbufforce(sk: Sock, creds: Credentials, number: int) -> None:
    need(creds, CAP_NET_ADMIN)
    set_sndbuf(sk, max(number, 0))


def so_rcvbufforce(sk: Sock, creds: Credentials, number: int) -> None:
    need(creds, CAP_NET_ADMIN)
    set_rcvbuf(sk, max(number, 0))


def so_buf_lock(sk: Sock, creds: Credentials, number: int) -> None:
    if number & ~(so.SOCK_SNDBUF_LOCK | so.SOCK_RCVBUF_LOCK):
        raise err(errno.EINVAL)
    set_flag(sk, SOCK_SNDBUF_LOCKED, bool(number & so.SOCK_SNDBUF_LOCK))
    set_flag(sk, SOCK_RCVBUF_LOCKED, bool(number & so.SOCK_RCVBUF_LOCK))


def so_rcvlowat(sk: Sock, creds: Credentials, number: int) -> None:
    """TCP takes no more than half of what it may buffer (tcp_set_rcvlowat)."""
    if number < 0:
        number = INT_MAX
    if sk.type == so.SOCK_STREAM and sk.family in (so.AF_INET, so.AF_INET6):
        number = min(number, (sk.rcvbuf if sk.flags & SOCK_RCVBUF_LOCKED else _rmem_largest(sk)) >> 1)
    sk.rcvlowat = number or 1
    sk.data_ready()  # it may be reached now


def _rmem_largest(sk: Sock) -> int:
    sysctl = sk.net.sysctl
    sizes = sysctl.get("net.ipv4.tcp_rmem") if "net.ipv4.tcp_rmem" in sysctl else ()
    return sizes[-1] if isinstance(sizes, tuple) and sizes else INT_MAX


# Who may, and how packets leave --------------------------------------------------------------------------


def need(creds: Credentials, *any_of: int) -> None:
    if not any(creds.capable(cap) for cap in any_of):
        raise err(errno.EPERM)


def so_debug(sk: Sock, creds: Credentials, number: int) -> None:
    if number and not creds.capable(CAP_NET_ADMIN):
        raise err(errno.EACCES)
    set_flag(sk, SOCK_DBG, number != 0)


def so_priority(sk: Sock, creds: Credentials, number: int) -> None:
    if not 0 <= number <= 6:
        need(creds, CAP_NET_RAW, CAP_NET_ADMIN)
    sk.priority = number
    forget_routes(sk)


def so_mark(sk: Sock, creds: Credentials, number: int) -> None:
    need(creds, CAP_NET_RAW, CAP_NET_ADMIN)
    sk.mark = number & 0xFFFFFFFF
    forget_routes(sk)


def so_rcvmark(sk: Sock, creds: Credentials, number: int) -> None:
    need(creds, CAP_NET_RAW, CAP_NET_ADMIN)
    set_flag(sk, SOCK_RCVMARK, number != 0)


def so_rcvpriority(sk: Sock, creds: Credentials, number: int) -> None:
    need(creds, CAP_NET_RAW, CAP_NET_ADMIN)
    set_flag(sk, SOCK_RCVPRIORITY, number != 0)


def forget_routes(sk: Sock) -> None:
    """What leaves from now on is not what leaves now (sk_dst_reset)."""
    hook = getattr(sk, "reset_flows", None)
    if hook is not None:
        hook()


def bind_to_device(sk: Sock, creds: Credentials, value: bytes) -> None:
    """sock_setbindtodevice(): the name of a device, or an empty one to unbind."""
    raw = value[: IFNAMSIZ - 1].partition(b"\0")[0]
    ifindex = 0
    if raw:
        dev = sk.net.dev_by_name.get(raw.decode("ascii", "surrogateescape"))
        if dev is None:
            raise err(errno.ENODEV)
        ifindex = dev.ifindex
    _set_bound_dev(sk, creds, ifindex)


def so_bindtoifindex(sk: Sock, creds: Credentials, number: int) -> None:
    if number < 0:
        raise err(errno.EINVAL)
    _set_bound_dev(sk, creds, number)


def _set_bound_dev(sk: Sock, creds: Credentials, ifindex: int) -> None:
    # Who is not bound yet may bind without privilege; nobody gets out of a binding without.
    if sk.bound_dev_if:
        need(creds, CAP_NET_RAW)
    sk.bound_dev_if = ifindex
    forget_routes(sk)


# Behaviour -----------------------------------------------------------------------------------------------


def so_reuseaddr(sk: Sock, creds: Credentials, number: int) -> None:
    sk.reuse = number != 0


def so_reuseport(sk: Sock, creds: Credentials, number: int) -> None:
    if number and sk.family not in (so.AF_INET, so.AF_INET6):
        raise err(errno.EOPNOTSUPP)
    sk.reuseport = number != 0


def so_keepalive(sk: Sock, creds: Credentials, number: int) -> None:
    hook = getattr(sk.prot, "set_keepalive", None)
    if hook is not None:
        hook(sk, number != 0)
    set_flag(sk, SOCK_KEEPOPEN, number != 0)


def so_passcred(sk: Sock, creds: Credentials, number: int) -> None:
    only_scm(sk)
    set_flag(sk, SOCK_PASSCRED, number != 0)


def so_passsec(sk: Sock, creds: Credentials, number: int) -> None:
    only_scm(sk)
    set_flag(sk, SOCK_PASSSEC, number != 0)


def so_passpidfd(sk: Sock, creds: Credentials, number: int) -> None:
    only_unix(sk)
    set_flag(sk, SOCK_PASSPIDFD, number != 0)


def so_passrights(sk: Sock, creds: Credentials, number: int) -> None:
    only_unix(sk)
    set_flag(sk, SOCK_NO_RIGHTS, number == 0)


def only_scm(sk: Sock) -> None:
    """sk_may_scm_recv(): only these families carry credentials."""
    if sk.family not in (so.AF_UNIX, so.AF_NETLINK):
        raise err(errno.EOPNOTSUPP)


def only_unix(sk: Sock) -> None:
    if sk.family != so.AF_UNIX:
        raise err(errno.EOPNOTSUPP)


def so_timestamp(sk: Sock, creds: Credentials, number: int) -> None:
    _set_timestamps(sk, number, 0)


def so_timestamp_new(sk: Sock, creds: Credentials, number: int) -> None:
    _set_timestamps(sk, number, SOCK_TSTAMP_NEW)


def so_timestampns(sk: Sock, creds: Credentials, number: int) -> None:
    _set_timestamps(sk, number, SOCK_RCVTSTAMPNS)


def so_timestampns_new(sk: Sock, creds: Credentials, number: int) -> None:
    _set_timestamps(sk, number, SOCK_RCVTSTAMPNS | SOCK_TSTAMP_NEW)


def _set_timestamps(sk: Sock, number: int, kind: int) -> None:
    """__sock_set_timestamps(): one of four kinds, or none. Which numbers were used last is remembered."""
    if number:
        sk.flags = sk.flags & ~(SOCK_RCVTSTAMPNS | SOCK_TSTAMP_NEW) | SOCK_TIMESTAMP | kind
    else:
        sk.flags &= ~(SOCK_TIMESTAMP | SOCK_RCVTSTAMPNS)


def peek_forward(sk: Sock, size: int) -> None:
    """``size`` bytes were peeked at; negative: were read, so that the offset moves back (sk_peek_offset_fwd, _bwd)."""
    ext = sk.ext
    if ext is not None and ext.peek_off >= 0:
        ext.peek_off = max(ext.peek_off + size, 0)


# Times ---------------------------------------------------------------------------------------------------


def _parse_timeout(value: bytes) -> int:
    """ns of a struct timeval; a zero one means no timeout, a negative one none left (sock_set_timeout)."""
    if len(value) < TIMEVAL.size:
        raise err(errno.EINVAL)
    seconds, micros = TIMEVAL.unpack_from(value)
    if not 0 <= micros < 1_000_000:
        raise err(errno.EDOM)
    if seconds < 0:
        return 0
    if seconds == micros == 0:
        return NEVER
    timeo: int = seconds * NSEC_PER_SEC + micros * NSEC_PER_USEC
    return min(timeo, NEVER)


def so_rcvtimeo(sk: Sock, value: bytes) -> None:
    sk.rcvtimeo = _parse_timeout(value)


def so_sndtimeo(sk: Sock, value: bytes) -> None:
    sk.sndtimeo = _parse_timeout(value)


def so_linger(sk: Sock, value: bytes) -> None:
    if len(value) < LINGER.size:
        raise err(errno.EINVAL)
    on, seconds = LINGER.unpack_from(value)
    if not on and sk.linger is not None:
        ext_of(sk).linger_seconds = min(sk.linger // NSEC_PER_SEC, INT_MAX)  # Linux forgets that it is on, no more
    sk.linger = min((seconds & 0xFFFFFFFF) * NSEC_PER_SEC, NEVER) if on else None
