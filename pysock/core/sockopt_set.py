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
from pysock.uapi import socket as so
from pysock.uapi.if_ import IFNAMSIZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.sock import Sock

# More of Sock.flags: what only socket options look at.
SOCK_DBG: Final = 1 << 11
SOCK_RXQ_OVFL: Final = 1 << 12
SOCK_SELECT_ERR_QUEUE: Final = 1 << 13
SOCK_SNDBUF_LOCKED: Final = 1 << 14  # sk_userlocks: the program chose the size, autotuning keeps off
SOCK_RCVBUF_LOCKED: Final = 1 << 15
SOCK_PASSSEC: Final = 1 << 16
SOCK_RCVMARK: Final = 1 << 17
TSFLAGS_SHIFT: Final = 32  # sk_tsflags, the SOF_TIMESTAMPING_* bits, are kept from here up

#: net.core.rmem_max and wmem_max, where no sysctl says otherwise.
SK_MEM_MAX: Final = 212_992
#: The least that a buffer may be set to, in bytes of truesize (SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF).
SOCK_MIN_SNDBUF: Final = 4608
SOCK_MIN_RCVBUF: Final = 2304
INT_MAX: Final = (1 << 31) - 1

TIMEVAL: Final = Struct("=qq")
LINGER: Final = Struct("=ii")
_TS_MASK: Final = (1 << 18) - 1


def set_flag(sk: Sock, flag: int, on: bool) -> None:
    if on:
        sk.flags |= flag
    else:
        sk.flags &= ~flag


# Buffers -------------------------------------------------------------------------------------------------


def _mem_max(sk: Sock, name: str) -> int:
    sysctl = sk.net.sysctl
    if name in sysctl:
        value = sysctl.get(name)
        assert isinstance(value, int)
        return value
    return SK_MEM_MAX


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
    set_sndbuf(sk, min(number & 0xFFFFFFFF, _mem_max(sk, "net.core.wmem_max")))


def so_rcvbuf(sk: Sock, creds: Credentials, number: int) -> None:
    set_rcvbuf(sk, min(number & 0xFFFFFFFF, _mem_max(sk, "net.core.rmem_max")))


def so_sndbufforce(sk: Sock, creds: Credentials, number: int) -> None:
    _need(creds, CAP_NET_ADMIN)
    set_sndbuf(sk, max(number, 0))


def so_rcvbufforce(sk: Sock, creds: Credentials, number: int) -> None:
    _need(creds, CAP_NET_ADMIN)
    set_rcvbuf(sk, max(number, 0))


def so_buf_lock(sk: Sock, creds: Credentials, number: int) -> None:
    if number & ~(so.SOCK_SNDBUF_LOCK | so.SOCK_RCVBUF_LOCK):
        raise err(errno.EINVAL)
    set_flag(sk, SOCK_SNDBUF_LOCKED, bool(number & so.SOCK_SNDBUF_LOCK))
    set_flag(sk, SOCK_RCVBUF_LOCKED, bool(number & so.SOCK_RCVBUF_LOCK))


def so_rcvlowat(sk: Sock, creds: Credentials, number: int) -> None:
    sk.rcvlowat = INT_MAX if number < 0 else number or 1


# Who may, and how packets leave --------------------------------------------------------------------------


def _need(creds: Credentials, *any_of: int) -> None:
    if not any(creds.capable(cap) for cap in any_of):
        raise err(errno.EPERM)


def so_debug(sk: Sock, creds: Credentials, number: int) -> None:
    if number and not creds.capable(CAP_NET_ADMIN):
        raise err(errno.EACCES)
    set_flag(sk, SOCK_DBG, number != 0)


def so_priority(sk: Sock, creds: Credentials, number: int) -> None:
    if not 0 <= number <= 6:
        _need(creds, CAP_NET_RAW, CAP_NET_ADMIN)
    sk.priority = number


def so_mark(sk: Sock, creds: Credentials, number: int) -> None:
    _need(creds, CAP_NET_RAW, CAP_NET_ADMIN)
    sk.mark = number & 0xFFFFFFFF


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
        _need(creds, CAP_NET_RAW)
    sk.bound_dev_if = ifindex


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


def only_scm(sk: Sock) -> None:
    """sk_may_scm_recv(): only these families carry credentials."""
    if sk.family not in (so.AF_UNIX, so.AF_NETLINK):
        raise err(errno.EOPNOTSUPP)


def so_timestamp(sk: Sock, creds: Credentials, number: int) -> None:
    set_flag(sk, SOCK_RCVTSTAMPNS, False)
    set_flag(sk, SOCK_TIMESTAMP, number != 0)


def so_timestampns(sk: Sock, creds: Credentials, number: int) -> None:
    set_flag(sk, SOCK_TIMESTAMP | SOCK_RCVTSTAMPNS, number != 0)


def so_timestamping(sk: Sock, creds: Credentials, number: int) -> None:
    if number & ~_TS_MASK:
        raise err(errno.EINVAL)
    sk.flags = sk.flags & ((1 << TSFLAGS_SHIFT) - 1) | number << TSFLAGS_SHIFT


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
    sk.linger = min((seconds & 0xFFFFFFFF) * NSEC_PER_SEC, NEVER) if on else None
