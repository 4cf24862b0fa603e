"""Options at level SOL_SOCKET, the same for every family: socket(7), setsockopt(2), net/core/sock.c.

An option is a row of a table: a flag of `Sock.flags`, or a function that sets or gets it (sockopt_set.py the common
ones, sockopt_rare.py those whose value few sockets have). Values are the bytes of the C type, in native order; ints are
4 bytes. As on Linux, a value too short for its type is EINVAL when setting, while getting cuts the answer to the
caller's room.

Where pysock differs: SO_RCVTIMEO and SO_SNDTIMEO keep microseconds (Linux rounds up to its tick); SO_GET_FILTER returns
the program with its true length.

Accepted and without effect, because they tune what does not exist here: SO_BSDCOMPAT, SO_BUSY_POLL,
SO_PREFER_BUSY_POLL, SO_BUSY_POLL_BUDGET, SO_INCOMING_CPU, SO_CNX_ADVICE, SO_NOFCS, SO_WIFI_STATUS, SO_TXREHASH. Refused
as a kernel without them does: SO_ATTACH_BPF, SO_PEERSEC, SO_RESERVE_MEM.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core import sockopt_rare as rare
from pysock.core import sockopt_set as setters
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
    SOCK_SELECT_ERR_QUEUE,
    SOCK_TIMESTAMP,
)
from pysock.core.sockopt_set import (
    INT_MAX,
    LINGER,
    SOCK_DBG,
    SOCK_FILTER_LOCKED,
    SOCK_NO_RIGHTS,
    SOCK_NOFCS,
    SOCK_PASSPIDFD,
    SOCK_PASSSEC,
    SOCK_RCVBUF_LOCKED,
    SOCK_RCVMARK,
    SOCK_RCVPRIORITY,
    SOCK_RXQ_OVFL,
    SOCK_SNDBUF_LOCKED,
    SOCK_TSTAMP_NEW,
    SOCK_WIFI_STATUS,
    SOCK_ZEROCOPY,
    TIMEVAL,
)
from pysock.uapi import socket as so
from pysock.uapi.filter import SKF_AD_MAX
from pysock.uapi.if_ import IFNAMSIZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.sock import Sock, Socket

TCP_LISTEN: Final = 10

_INT: Final = Struct("=i")
_UCRED_NOBODY: Final = Struct("=iII").pack(0, 0xFFFFFFFF, 0xFFFFFFFF)


def sock_setsockopt(sock: Socket, creds: Credentials, optname: int, value: bytes) -> None:
    """Set an option for a caller with ``creds``. ENOPROTOOPT for an unknown or read-only one, EINVAL for a
    bad value, EPERM, EACCES, EDOM (a timeout's microseconds), ENODEV, EOPNOTSUPP (not for this family), EFAULT.
    """
    sk = sock.sk
    if optname == so.SO_INQ and sk.family == so.AF_UNIX and sk.type == so.SOCK_STREAM:
        sock.ops.setsockopt(sock, so.SOL_SOCKET, optname, value)  # the family's own
        return
    if optname == so.SO_BINDTODEVICE:
        setters.bind_to_device(sk, creds, value)
        return
    if len(value) < _INT.size:
        raise err(errno.EINVAL)
    number: int = _INT.unpack_from(value)[0]
    flag = _FLAGS.get(optname)
    if flag is not None:
        setters.set_flag(sk, flag, number != 0)
        return
    setter = _SETTERS.get(optname)
    if setter is not None:
        setter(sk, creds, number)
        return
    long_setter = _LONG_SETTERS.get(optname)
    rare_setter = rare.SETTERS.get(optname)
    if long_setter is not None:
        long_setter(sk, value)
    elif rare_setter is not None:
        rare_setter(sk, creds, value)
    elif optname not in _IGNORED:
        raise err(errno.ENOPROTOOPT)


def sock_getsockopt(sock: Socket, optname: int, optlen: int) -> bytes:
    """The value of an option, at most ``optlen`` bytes of it. ENOPROTOOPT for an unknown or write-only one;
    EINVAL for a negative ``optlen``.
    """
    if optlen < 0:
        raise err(errno.EINVAL)
    sk = sock.sk
    flag = _FLAGS.get(optname)
    if flag is not None:
        return _INT.pack(1 if sk.flags & flag else 0)[:optlen]
    getter = _INT_GETTERS.get(optname)
    if getter is not None:
        return _INT.pack(getter(sk))[:optlen]
    rare_getter = rare.GETTERS.get(optname)
    if rare_getter is not None:
        return rare_getter(sk)[:optlen]
    sized = rare.get_sized(sock, optname, optlen)
    return _get_long(sk, optname, optlen)[:optlen] if sized is None else sized


# Reading -------------------------------------------------------------------------------------------------


def _take_error(sk: Sock) -> int:
    number = sk.take_error()
    if not number:
        number, sk.err_soft = sk.err_soft, 0
    return number


def _get_long(sk: Sock, optname: int, optlen: int) -> bytes:
    """The options whose value is no int."""
    if optname == so.SO_LINGER:
        if sk.linger is None:
            return LINGER.pack(0, 0 if sk.ext is None else sk.ext.linger_seconds)
        return LINGER.pack(1, min(sk.linger // NSEC_PER_SEC, INT_MAX))
    if optname in (so.SO_RCVTIMEO, so.SO_RCVTIMEO_NEW):
        return _timeval(sk.rcvtimeo)
    if optname in (so.SO_SNDTIMEO, so.SO_SNDTIMEO_NEW):
        return _timeval(sk.sndtimeo)
    if optname == so.SO_BINDTODEVICE:
        return _bound_device(sk, optlen)
    if optname == so.SO_PEERCRED:
        peercred: bytes = getattr(sk, "peercred", _UCRED_NOBODY)  # AF_UNIX knows its peer
        return peercred
    ignored = _IGNORED.get(optname)
    if ignored is None:
        raise err(errno.ENOPROTOOPT)
    return ignored


def _bound_device(sk: Sock, optlen: int) -> bytes:
    """sock_getbindtodevice(): the name with its NUL, nothing when not bound. EINVAL for less room than
    IFNAMSIZ.
    """
    if not sk.bound_dev_if:
        return b""
    if optlen < IFNAMSIZ:
        raise err(errno.EINVAL)
    dev = sk.net.dev_by_index.get(sk.bound_dev_if)
    if dev is None:
        raise err(errno.ENODEV)
    return dev.name.encode("ascii", "surrogateescape") + b"\0"


def _get_buf_lock(sk: Sock) -> int:
    lock = so.SOCK_SNDBUF_LOCK if sk.flags & SOCK_SNDBUF_LOCKED else 0
    return lock | so.SOCK_RCVBUF_LOCK if sk.flags & SOCK_RCVBUF_LOCKED else lock


def _get_passcred(sk: Sock) -> int:
    setters.only_scm(sk)
    return 1 if sk.flags & SOCK_PASSCRED else 0


def _get_passsec(sk: Sock) -> int:
    setters.only_scm(sk)
    return 1 if sk.flags & SOCK_PASSSEC else 0


def _get_passpidfd(sk: Sock) -> int:
    setters.only_unix(sk)
    return 1 if sk.flags & SOCK_PASSPIDFD else 0


def _get_passrights(sk: Sock) -> int:
    setters.only_unix(sk)
    return 0 if sk.flags & SOCK_NO_RIGHTS else 1


_TSTAMP_KINDS: Final = SOCK_TIMESTAMP | SOCK_RCVTSTAMPNS | SOCK_TSTAMP_NEW


def _has_timestamp(kind: int) -> Callable[[Sock], int]:
    """Whether timestamps are on, in that one of the four forms."""
    return lambda sk: int(sk.flags & _TSTAMP_KINDS == SOCK_TIMESTAMP | kind)


def _timeval(timeo: int) -> bytes:
    if timeo == NEVER:
        return TIMEVAL.pack(0, 0)
    seconds, rest = divmod(timeo, NSEC_PER_SEC)
    return TIMEVAL.pack(seconds, rest // NSEC_PER_USEC)


# The tables ----------------------------------------------------------------------------------------------

#: Options that are one bit of Sock.flags, to set and to get.
_FLAGS: Final[dict[int, int]] = {
    so.SO_DONTROUTE: SOCK_DONTROUTE,
    so.SO_BROADCAST: SOCK_BROADCAST,
    so.SO_OOBINLINE: SOCK_OOBINLINE,
    so.SO_NO_CHECK: SOCK_NO_CHECK,
    so.SO_RXQ_OVFL: SOCK_RXQ_OVFL,
    so.SO_SELECT_ERR_QUEUE: SOCK_SELECT_ERR_QUEUE,
    so.SO_NOFCS: SOCK_NOFCS,
    so.SO_WIFI_STATUS: SOCK_WIFI_STATUS,
}

_SETTERS: Final[dict[int, Callable[[Sock, Credentials, int], None]]] = {
    so.SO_DEBUG: setters.so_debug,
    so.SO_REUSEADDR: setters.so_reuseaddr,
    so.SO_REUSEPORT: setters.so_reuseport,
    so.SO_SNDBUF: setters.so_sndbuf,
    so.SO_RCVBUF: setters.so_rcvbuf,
    so.SO_SNDBUFFORCE: setters.so_sndbufforce,
    so.SO_RCVBUFFORCE: setters.so_rcvbufforce,
    so.SO_BUF_LOCK: setters.so_buf_lock,
    so.SO_RCVLOWAT: setters.so_rcvlowat,
    so.SO_KEEPALIVE: setters.so_keepalive,
    so.SO_PRIORITY: setters.so_priority,
    so.SO_MARK: setters.so_mark,
    so.SO_BINDTOIFINDEX: setters.so_bindtoifindex,
    so.SO_PASSCRED: setters.so_passcred,
    so.SO_TIMESTAMP: setters.so_timestamp,
    so.SO_TIMESTAMP_NEW: setters.so_timestamp_new,
    so.SO_TIMESTAMPNS: setters.so_timestampns,
    so.SO_TIMESTAMPNS_NEW: setters.so_timestampns_new,
    so.SO_PASSSEC: setters.so_passsec,
    so.SO_PASSPIDFD: setters.so_passpidfd,
    so.SO_PASSRIGHTS: setters.so_passrights,
    so.SO_RCVMARK: setters.so_rcvmark,
    so.SO_RCVPRIORITY: setters.so_rcvpriority,
    so.SO_DETACH_FILTER: rare.detach_filter,
    so.SO_LOCK_FILTER: rare.so_lock_filter,
    so.SO_DETACH_REUSEPORT_BPF: rare.detach_reuseport,
    so.SO_PEEK_OFF: rare.so_peek_off,
    so.SO_BUSY_POLL: rare.so_busy_poll,
    so.SO_PREFER_BUSY_POLL: rare.so_prefer_busy_poll,
    so.SO_BUSY_POLL_BUDGET: rare.so_busy_poll_budget,
    so.SO_INCOMING_CPU: rare.so_incoming_cpu,
    so.SO_TXREHASH: rare.so_txrehash,
    so.SO_RESERVE_MEM: rare.so_reserve_mem,
    so.SO_ZEROCOPY: rare.so_zerocopy,
}

#: Options whose value is a struct.
_LONG_SETTERS: Final[dict[int, Callable[[Sock, bytes], None]]] = {
    so.SO_LINGER: setters.so_linger,
    so.SO_RCVTIMEO: setters.so_rcvtimeo,
    so.SO_RCVTIMEO_NEW: setters.so_rcvtimeo,
    so.SO_SNDTIMEO: setters.so_sndtimeo,
    so.SO_SNDTIMEO_NEW: setters.so_sndtimeo,
}


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
    so.SO_PASSSEC: _get_passsec,
    so.SO_PASSPIDFD: _get_passpidfd,
    so.SO_PASSRIGHTS: _get_passrights,
    so.SO_RCVMARK: lambda sk: 1 if sk.flags & SOCK_RCVMARK else 0,
    so.SO_RCVPRIORITY: lambda sk: 1 if sk.flags & SOCK_RCVPRIORITY else 0,
    so.SO_TIMESTAMP: _has_timestamp(0),
    so.SO_TIMESTAMP_NEW: _has_timestamp(SOCK_TSTAMP_NEW),
    so.SO_TIMESTAMPNS: _has_timestamp(SOCK_RCVTSTAMPNS),
    so.SO_TIMESTAMPNS_NEW: _has_timestamp(SOCK_RCVTSTAMPNS | SOCK_TSTAMP_NEW),
    so.SO_LOCK_FILTER: lambda sk: 1 if sk.flags & SOCK_FILTER_LOCKED else 0,
    so.SO_ZEROCOPY: lambda sk: 1 if sk.flags & SOCK_ZEROCOPY else 0,
    so.SO_BPF_EXTENSIONS: lambda sk: SKF_AD_MAX,
    so.SO_INCOMING_NAPI_ID: lambda sk: 0,
}

#: Options that may be set to anything, and read as this; None: not at all.
_IGNORED: Final[dict[int, bytes | None]] = {so.SO_BSDCOMPAT: _INT.pack(0), so.SO_CNX_ADVICE: None}
