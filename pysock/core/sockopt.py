"""Options at level SOL_SOCKET, the same for every family: socket(7), setsockopt(2), net/core/sock.c.

An option is a row of a table: a flag of `Sock.flags`, or a function that sets or gets it. Values are the bytes of the C
type, in native order; ints are 4 bytes. As on Linux, a value too short for its type is EINVAL when setting, while getting
cuts the answer to the caller's room.

Where pysock differs: SO_RCVTIMEO and SO_SNDTIMEO keep microseconds (Linux rounds up to its tick).

Accepted and without effect, because they tune what does not exist here: SO_BSDCOMPAT, SO_BUSY_POLL, SO_PREFER_BUSY_POLL,
SO_INCOMING_CPU, SO_CNX_ADVICE, SO_NOFCS, SO_WIFI_STATUS, SO_TXREHASH, SO_MAX_PACING_RATE. Not here, so ENOPROTOOPT: socket
filters, SO_PEEK_OFF, SO_COOKIE, SO_ZEROCOPY, SO_TXTIME.
"""

from __future__ import annotations

import errno
from struct import Struct
from typing import TYPE_CHECKING

from pysock.core.capability import CAP_NET_ADMIN, CAP_NET_RAW
from pysock.core.clock import NEVER, NSEC_PER_SEC, NSEC_PER_USEC
from pysock.core.errors import err
from pysock.core.sock import (
    SOCK_BROADCAST,
    SOCK_DONTROUTE,
    SOCK_KEEPOPEN,
    SOCK_NO_CHECK,
    SOCK_OOBINLINE,
    SOCK_PASSCRED,
    SOCK_RCVTSTAMPNS,
    SOCK_TIMESTAMP,
)
from pysock.uapi import socket as so
from pysock.uapi.if_ import IFNAMSIZ

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.sock import Sock, Socket

# More of Sock.flags: what only socket options look at.
SOCK_DBG: Final = 1 << 11
SOCK_RXQ_OVFL: Final = 1 << 12
SOCK_SELECT_ERR_QUEUE: Final = 1 << 13
SOCK_SNDBUF_LOCKED: Final = 1 << 14  # sk_userlocks: the program chose the size, autotuning keeps off
SOCK_RCVBUF_LOCKED: Final = 1 << 15
SOCK_PASSSEC: Final = 1 << 16
SOCK_RCVMARK: Final = 1 << 17
TSFLAGS_SHIFT: Final = 32  # sk_tsflags, the SOF_TIMESTAMPING_* bits, are kept from here up

TCP_LISTEN: Final = 10

#: net.core.rmem_max and wmem_max, where no sysctl says otherwise.
SK_MEM_MAX: Final = 212_992
#: The least that a buffer may be set to, in bytes of truesize (SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF).
SOCK_MIN_SNDBUF: Final = 4608
SOCK_MIN_RCVBUF: Final = 2304
INT_MAX: Final = (1 << 31) - 1

_INT: Final = Struct("=i")
_TIMEVAL: Final = Struct("=qq")
_LINGER: Final = Struct("=ii")
_UCRED_NOBODY: Final = Struct("=iII").pack(0, 0xFFFFFFFF, 0xFFFFFFFF)
_TS_MASK: Final = (1 << 18) - 1


def sock_setsockopt(sock: Socket, creds: Credentials, optname: int, value: bytes) -> None:
    """Set an option for a caller with ``creds``. ENOPROTOOPT for an unknown or read-only one, EINVAL for a bad value, EPERM,
    EACCES, EDOM (a timeout's microseconds), ENODEV, EOPNOTSUPP (not for this family).
    """
    sk = sock.sk
    if optname == so.SO_BINDTODEVICE:
        _bind_to_device(sk, creds, value)
        return
    if len(value) < _INT.size:
        raise err(errno.EINVAL)
    number: int = _INT.unpack_from(value)[0]
    flag = _FLAGS.get(optname)
    if flag is not None:
        _set_flag(sk, flag, number != 0)
        return
    setter = _SETTERS.get(optname)
    if setter is not None:
        setter(sk, creds, number)
        return
    long_setter = _LONG_SETTERS.get(optname)
    if long_setter is not None:
        long_setter(sk, value)
    elif optname not in _IGNORED:
        raise err(errno.ENOPROTOOPT)


def sock_getsockopt(sock: Socket, optname: int, optlen: int) -> bytes:
    """The value of an option, at most ``optlen`` bytes of it. ENOPROTOOPT for an unknown or write-only one; EINVAL for a
    negative ``optlen``; ENOTCONN (SO_PEERNAME).
    """
    if optlen < 0:
        raise err(errno.EINVAL)
    sk = sock.sk
    flag = _FLAGS.get(optname)
    if flag is not None:
        value = _INT.pack(1 if sk.flags & flag else 0)
    else:
        getter = _INT_GETTERS.get(optname)
        if getter is not None:
            value = _INT.pack(getter(sk))
        elif optname in _IGNORED:
            value = _IGNORED[optname]
        else:
            value = _get_long(sock, sk, optname, optlen)
    return value[:optlen]


def _set_flag(sk: Sock, flag: int, on: bool) -> None:
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


def _so_sndbuf(sk: Sock, creds: Credentials, number: int) -> None:
    # Compared as unsigned: a negative size asks for as much as possible.
    set_sndbuf(sk, min(number & 0xFFFFFFFF, _mem_max(sk, "net.core.wmem_max")))


def _so_rcvbuf(sk: Sock, creds: Credentials, number: int) -> None:
    set_rcvbuf(sk, min(number & 0xFFFFFFFF, _mem_max(sk, "net.core.rmem_max")))


def _so_sndbufforce(sk: Sock, creds: Credentials, number: int) -> None:
    _need(creds, CAP_NET_ADMIN)
    set_sndbuf(sk, max(number, 0))


def _so_rcvbufforce(sk: Sock, creds: Credentials, number: int) -> None:
    _need(creds, CAP_NET_ADMIN)
    set_rcvbuf(sk, max(number, 0))


def _so_buf_lock(sk: Sock, creds: Credentials, number: int) -> None:
    if number & ~(so.SOCK_SNDBUF_LOCK | so.SOCK_RCVBUF_LOCK):
        raise err(errno.EINVAL)
    _set_flag(sk, SOCK_SNDBUF_LOCKED, bool(number & so.SOCK_SNDBUF_LOCK))
    _set_flag(sk, SOCK_RCVBUF_LOCKED, bool(number & so.SOCK_RCVBUF_LOCK))


def _get_buf_lock(sk: Sock) -> int:
    lock = so.SOCK_SNDBUF_LOCK if sk.flags & SOCK_SNDBUF_LOCKED else 0
    return lock | so.SOCK_RCVBUF_LOCK if sk.flags & SOCK_RCVBUF_LOCKED else lock


def _so_rcvlowat(sk: Sock, creds: Credentials, number: int) -> None:
    sk.rcvlowat = INT_MAX if number < 0 else number or 1


# Who may, and how packets leave --------------------------------------------------------------------------


def _need(creds: Credentials, *any_of: int) -> None:
    if not any(creds.capable(cap) for cap in any_of):
        raise err(errno.EPERM)


def _so_debug(sk: Sock, creds: Credentials, number: int) -> None:
    if number and not creds.capable(CAP_NET_ADMIN):
        raise err(errno.EACCES)
    _set_flag(sk, SOCK_DBG, number != 0)


def _so_priority(sk: Sock, creds: Credentials, number: int) -> None:
    if not 0 <= number <= 6:
        _need(creds, CAP_NET_RAW, CAP_NET_ADMIN)
    sk.priority = number


def _so_mark(sk: Sock, creds: Credentials, number: int) -> None:
    _need(creds, CAP_NET_RAW, CAP_NET_ADMIN)
    sk.mark = number & 0xFFFFFFFF


def _bind_to_device(sk: Sock, creds: Credentials, value: bytes) -> None:
    """sock_setbindtodevice(): the name of a device, or an empty one to unbind."""
    raw = value[: IFNAMSIZ - 1].partition(b"\0")[0]
    ifindex = 0
    if raw:
        dev = sk.net.dev_by_name.get(raw.decode("ascii", "surrogateescape"))
        if dev is None:
            raise err(errno.ENODEV)
        ifindex = dev.ifindex
    _set_bound_dev(sk, creds, ifindex)


def _so_bindtoifindex(sk: Sock, creds: Credentials, number: int) -> None:
    if number < 0:
        raise err(errno.EINVAL)
    _set_bound_dev(sk, creds, number)


def _set_bound_dev(sk: Sock, creds: Credentials, ifindex: int) -> None:
    # Who is not bound yet may bind without privilege; nobody gets out of a binding without.
    if sk.bound_dev_if:
        _need(creds, CAP_NET_RAW)
    sk.bound_dev_if = ifindex


# Behaviour -----------------------------------------------------------------------------------------------


def _so_reuseaddr(sk: Sock, creds: Credentials, number: int) -> None:
    sk.reuse = number != 0


def _so_reuseport(sk: Sock, creds: Credentials, number: int) -> None:
    if number and sk.family not in (so.AF_INET, so.AF_INET6):
        raise err(errno.EOPNOTSUPP)
    sk.reuseport = number != 0


def _so_keepalive(sk: Sock, creds: Credentials, number: int) -> None:
    hook = getattr(sk.prot, "set_keepalive", None)
    if hook is not None:
        hook(sk, number != 0)
    _set_flag(sk, SOCK_KEEPOPEN, number != 0)


def _so_passcred(sk: Sock, creds: Credentials, number: int) -> None:
    _only_scm(sk)
    _set_flag(sk, SOCK_PASSCRED, number != 0)


def _get_passcred(sk: Sock) -> int:
    _only_scm(sk)
    return 1 if sk.flags & SOCK_PASSCRED else 0


def _only_scm(sk: Sock) -> None:
    """sk_may_scm_recv(): only these families carry credentials."""
    if sk.family not in (so.AF_UNIX, so.AF_NETLINK):
        raise err(errno.EOPNOTSUPP)


def _so_timestamp(sk: Sock, creds: Credentials, number: int) -> None:
    _set_flag(sk, SOCK_RCVTSTAMPNS, False)
    _set_flag(sk, SOCK_TIMESTAMP, number != 0)


def _so_timestampns(sk: Sock, creds: Credentials, number: int) -> None:
    _set_flag(sk, SOCK_TIMESTAMP | SOCK_RCVTSTAMPNS, number != 0)


def _so_timestamping(sk: Sock, creds: Credentials, number: int) -> None:
    if number & ~_TS_MASK:
        raise err(errno.EINVAL)
    sk.flags = sk.flags & ((1 << TSFLAGS_SHIFT) - 1) | number << TSFLAGS_SHIFT


# Times ---------------------------------------------------------------------------------------------------


def _parse_timeout(value: bytes) -> int:
    """ns of a struct timeval; a zero one means no timeout, a negative one none left (sock_set_timeout)."""
    if len(value) < _TIMEVAL.size:
        raise err(errno.EINVAL)
    seconds, micros = _TIMEVAL.unpack_from(value)
    if not 0 <= micros < 1_000_000:
        raise err(errno.EDOM)
    if seconds < 0:
        return 0
    if seconds == micros == 0:
        return NEVER
    return min(seconds * NSEC_PER_SEC + micros * NSEC_PER_USEC, NEVER)


def _so_rcvtimeo(sk: Sock, value: bytes) -> None:
    sk.rcvtimeo = _parse_timeout(value)


def _so_sndtimeo(sk: Sock, value: bytes) -> None:
    sk.sndtimeo = _parse_timeout(value)


def _timeval(timeo: int) -> bytes:
    if timeo == NEVER:
        return _TIMEVAL.pack(0, 0)
    seconds, rest = divmod(timeo, NSEC_PER_SEC)
    return _TIMEVAL.pack(seconds, rest // NSEC_PER_USEC)


def _so_linger(sk: Sock, value: bytes) -> None:
    if len(value) < _LINGER.size:
        raise err(errno.EINVAL)
    on, seconds = _LINGER.unpack_from(value)
    sk.linger = min((seconds & 0xFFFFFFFF) * NSEC_PER_SEC, NEVER) if on else None


# Reading -------------------------------------------------------------------------------------------------


def _take_error(sk: Sock) -> int:
    number = sk.take_error()
    if not number:
        number, sk.err_soft = sk.err_soft, 0
    return number


def _get_long(sock: Socket, sk: Sock, optname: int, optlen: int) -> bytes:
    """The options whose value is no int."""
    if optname == so.SO_LINGER:
        return _LINGER.pack(0, 0) if sk.linger is None else _LINGER.pack(1, min(sk.linger // NSEC_PER_SEC, INT_MAX))
    if optname in (so.SO_RCVTIMEO, so.SO_RCVTIMEO_NEW):
        return _timeval(sk.rcvtimeo)
    if optname in (so.SO_SNDTIMEO, so.SO_SNDTIMEO_NEW):
        return _timeval(sk.sndtimeo)
    if optname == so.SO_BINDTODEVICE:
        return _bound_device(sk, optlen)
    if optname == so.SO_PEERCRED:
        peer_ucred = getattr(sk, "peer_ucred", None)  # AF_UNIX has one
        return _UCRED_NOBODY if peer_ucred is None else peer_ucred()
    if optname in (so.SO_TIMESTAMPING, so.SO_TIMESTAMPING_NEW):
        return _INT.pack(sk.flags >> TSFLAGS_SHIFT) + _INT.pack(0)  # struct so_timestamping: flags, bind_phc
    if optname == so.SO_MEMINFO:
        return Struct("=9I").pack(sk.rmem_alloc, sk.rcvbuf, sk.wmem_alloc, sk.sndbuf, 0, 0, 0, 0, 0)
    raise err(errno.ENOPROTOOPT)


def _bound_device(sk: Sock, optlen: int) -> bytes:
    """sock_getbindtodevice(): the name with its NUL, nothing when not bound. EINVAL for less room than IFNAMSIZ."""
    if not sk.bound_dev_if:
        return b""
    if optlen < IFNAMSIZ:
        raise err(errno.EINVAL)
    dev = sk.net.dev_by_index.get(sk.bound_dev_if)
    if dev is None:
        raise err(errno.ENODEV)
    return dev.name.encode("ascii", "surrogateescape") + b"\0"


# The tables ----------------------------------------------------------------------------------------------

#: Options that are one bit of Sock.flags, to set and to get.
_FLAGS: Final[dict[int, int]] = {
    so.SO_DONTROUTE: SOCK_DONTROUTE,
    so.SO_BROADCAST: SOCK_BROADCAST,
    so.SO_OOBINLINE: SOCK_OOBINLINE,
    so.SO_NO_CHECK: SOCK_NO_CHECK,
    so.SO_RXQ_OVFL: SOCK_RXQ_OVFL,
    so.SO_SELECT_ERR_QUEUE: SOCK_SELECT_ERR_QUEUE,
    so.SO_PASSSEC: SOCK_PASSSEC,
    so.SO_RCVMARK: SOCK_RCVMARK,
}

_SETTERS: Final[dict[int, Callable[[Sock, Credentials, int], None]]] = {
    so.SO_DEBUG: _so_debug,
    so.SO_REUSEADDR: _so_reuseaddr,
    so.SO_REUSEPORT: _so_reuseport,
    so.SO_SNDBUF: _so_sndbuf,
    so.SO_RCVBUF: _so_rcvbuf,
    so.SO_SNDBUFFORCE: _so_sndbufforce,
    so.SO_RCVBUFFORCE: _so_rcvbufforce,
    so.SO_BUF_LOCK: _so_buf_lock,
    so.SO_RCVLOWAT: _so_rcvlowat,
    so.SO_KEEPALIVE: _so_keepalive,
    so.SO_PRIORITY: _so_priority,
    so.SO_MARK: _so_mark,
    so.SO_BINDTOIFINDEX: _so_bindtoifindex,
    so.SO_PASSCRED: _so_passcred,
    so.SO_TIMESTAMP: _so_timestamp,
    so.SO_TIMESTAMP_NEW: _so_timestamp,
    so.SO_TIMESTAMPNS: _so_timestampns,
    so.SO_TIMESTAMPNS_NEW: _so_timestampns,
    so.SO_TIMESTAMPING: _so_timestamping,
    so.SO_TIMESTAMPING_NEW: _so_timestamping,
}

#: Options whose value is a struct.
_LONG_SETTERS: Final[dict[int, Callable[[Sock, bytes], None]]] = {
    so.SO_LINGER: _so_linger,
    so.SO_RCVTIMEO: _so_rcvtimeo,
    so.SO_RCVTIMEO_NEW: _so_rcvtimeo,
    so.SO_SNDTIMEO: _so_sndtimeo,
    so.SO_SNDTIMEO_NEW: _so_sndtimeo,
}


def _has_timestamp(sk: Sock) -> int:
    return 1 if sk.flags & SOCK_TIMESTAMP and not sk.flags & SOCK_RCVTSTAMPNS else 0


_INT_GETTERS: Final[dict[int, Callable[[Sock], int]]] = {
    so.SO_DEBUG: lambda sk: 1 if sk.flags & SOCK_DBG else 0,
    so.SO_REUSEADDR: lambda sk: int(sk.reuse),
    so.SO_REUSEPORT: lambda sk: int(sk.reuseport),
    so.SO_TYPE: lambda sk: sk.type,
    so.SO_PROTOCOL: lambda sk: sk.protocol,
    so.SO_DOMAIN: lambda sk: sk.family,
    so.SO_ERROR: _take_error,
    so.SO_ACCEPTCONN: lambda sk: 1 if sk.state == TCP_LISTEN else 0,
    so.SO_SNDBUF: lambda sk: sk.sndbuf,
    so.SO_RCVBUF: lambda sk: sk.rcvbuf,
    so.SO_BUF_LOCK: _get_buf_lock,
    so.SO_RCVLOWAT: lambda sk: sk.rcvlowat,
    so.SO_SNDLOWAT: lambda sk: 1,
    so.SO_KEEPALIVE: lambda sk: 1 if sk.flags & SOCK_KEEPOPEN else 0,
    so.SO_PRIORITY: lambda sk: sk.priority,
    so.SO_MARK: lambda sk: sk.mark - (1 << 32) if sk.mark > INT_MAX else sk.mark,
    so.SO_BINDTOIFINDEX: lambda sk: sk.bound_dev_if,
    so.SO_PASSCRED: _get_passcred,
    so.SO_TIMESTAMP: _has_timestamp,
    so.SO_TIMESTAMP_NEW: _has_timestamp,
    so.SO_TIMESTAMPNS: lambda sk: 1 if sk.flags & SOCK_RCVTSTAMPNS else 0,
    so.SO_TIMESTAMPNS_NEW: lambda sk: 1 if sk.flags & SOCK_RCVTSTAMPNS else 0,
}

#: Options that may be set to anything, and read as this.
_IGNORED: Final[dict[int, bytes]] = {
    so.SO_BSDCOMPAT: _INT.pack(0),
    so.SO_BUSY_POLL: _INT.pack(0),
    so.SO_PREFER_BUSY_POLL: _INT.pack(0),
    so.SO_INCOMING_CPU: _INT.pack(-1),
    so.SO_CNX_ADVICE: _INT.pack(0),
    so.SO_NOFCS: _INT.pack(0),
    so.SO_WIFI_STATUS: _INT.pack(0),
    so.SO_TXREHASH: _INT.pack(1),
    so.SO_MAX_PACING_RATE: b"\xff" * 8,
}
