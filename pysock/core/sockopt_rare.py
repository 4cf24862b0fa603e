"""Options at SOL_SOCKET that few programs use, and whose value stands in `Sock.ext`: setters, and what they read as.

Some ask for what one CPU without interrupts gives anyway (SO_BUSY_POLL, SO_INCOMING_CPU); SO_MAX_PACING_RATE and
SO_TXTIME are kept for queueing disciplines that look at them.
"""

from __future__ import annotations

import errno
import os
from struct import Struct

from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.dev_xmit import enable_tx_stamps
from pysock.core.errors import err
from pysock.core.filter import BpfProgram, program_from_fprog
from pysock.core.sock_ext import DEFAULTS, NO_PACING_LIMIT, Cookies, SockExt, ext_of
from pysock.core.sockopt_set import (
    SOCK_FILTER_LOCKED,
    SOCK_PEEK_OFF,
    SOCK_RX_TSTAMP,
    SOCK_TSTAMP_NEW,
    SOCK_TX_TSTAMP,
    SOCK_ZEROCOPY,
    TX_STAMPED,
    forget_routes,
    need,
    set_flag,
)
from pysock.uapi import sockaddr
from pysock.uapi import socket as so
from pysock.uapi.in_ import IPPROTO_TCP, IPPROTO_UDP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.sock import Sock, Socket

# Taken before anybody patches it.
_pidfd_open = os.pidfd_open

_INT: Final = Struct("=i")
_TWO_INTS: Final = Struct("=ii")
_U64: Final = Struct("=Q")
_MEMINFO: Final = Struct("=9I")
_INT_MAX: Final = (1 << 31) - 1
_CLOCKS: Final = (0, 1, 11)  # CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_TAI
_CLOCK_MONOTONIC: Final = 1
_TXTIME_FLAGS: Final = 3  # SOF_TXTIME_DEADLINE_MODE, SOF_TXTIME_REPORT_ERRORS
_BUSY_POLL_BUDGET_MAX: Final = 0xFFFF
_BUSY_POLL_BUDGET: Final = 8  # what a socket has without asking
_TCP_CLOSE: Final = 7
_TCP_LISTEN: Final = 10
_EMPTY_PROGRAM: Final = b""
_PROGRAM_OVERHEAD: Final = 64  # struct bpf_prog, about


def _ext(sk: Sock) -> SockExt:
    return sk.ext or DEFAULTS


def _inet(sk: Sock) -> bool:
    return sk.family in (so.AF_INET, so.AF_INET6)


def _is_tcp(sk: Sock) -> bool:
    return _inet(sk) and sk.type == so.SOCK_STREAM and sk.protocol == IPPROTO_TCP


def _is_udp(sk: Sock) -> bool:
    return _inet(sk) and sk.type == so.SOCK_DGRAM and sk.protocol == IPPROTO_UDP


# Filters -------------------------------------------------------------------------------------------------


def attach_filter(sk: Sock, program: BpfProgram) -> None:
    """Let ``program`` decide what ``sk`` receives from now on. EPERM when the present one is locked, ENOMEM when it is
    longer than net.core.optmem_max has room for.
    """
    if sk.flags & SOCK_FILTER_LOCKED:
        raise err(errno.EPERM)
    if len(program.raw) + _PROGRAM_OVERHEAD > sk.net.sock_limits.optmem_max:
        raise err(errno.ENOMEM)
    ext_of(sk).program = program
    _set_filter(sk, program.run)


def detach_filter(sk: Sock, creds: Credentials, number: int) -> None:
    """EPERM when it is locked, ENOENT when there is none."""
    if sk.flags & SOCK_FILTER_LOCKED:
        raise err(errno.EPERM)
    if sk.ext is None or sk.ext.program is None:
        raise err(errno.ENOENT)
    sk.ext.program = None
    _set_filter(sk, None)


def _set_filter(sk: Sock, run: Callable[..., int] | None) -> None:
    sk.filter = run
    hook = getattr(sk.prot, "filter_changed", None)  # a protocol with a short way takes the socket off it
    if hook is not None:
        hook(sk)


def _so_attach_filter(sk: Sock, creds: Credentials, value: bytes) -> None:
    attach_filter(sk, program_from_fprog(value))


def _so_attach_bpf(sk: Sock, creds: Credentials, value: bytes) -> None:
    """There are no eBPF programs here: whatever the number names is none."""
    if len(value) != 4:
        raise err(errno.EINVAL)
    raise err(errno.EPERM if sk.flags & SOCK_FILTER_LOCKED else errno.EBADF)


def _so_reuseport_cbpf(sk: Sock, creds: Credentials, value: bytes) -> None:
    if sk.flags & SOCK_FILTER_LOCKED:
        raise err(errno.EPERM)
    program = program_from_fprog(value)
    if not sk.reuseport:
        raise err(errno.EINVAL)
    ext_of(sk).reuseport_prog = program
    _reuseport_changed(sk, program)


def detach_reuseport(sk: Sock, creds: Credentials, number: int) -> None:
    """EINVAL without SO_REUSEPORT, ENOENT without a program."""
    if not sk.reuseport:
        raise err(errno.EINVAL)
    if _ext(sk).reuseport_prog is None:
        raise err(errno.ENOENT)
    ext_of(sk).reuseport_prog = None
    _reuseport_changed(sk, None)


def _reuseport_changed(sk: Sock, program: BpfProgram | None) -> None:
    """A program is the whole group's (reuseport_attach_prog)."""
    hook = getattr(sk.prot, "reuseport_changed", None)
    if hook is not None:
        hook(sk, program)


def so_lock_filter(sk: Sock, creds: Credentials, number: int) -> None:
    if not number and sk.flags & SOCK_FILTER_LOCKED:
        raise err(errno.EPERM)
    set_flag(sk, SOCK_FILTER_LOCKED, number != 0)


# Numbers -------------------------------------------------------------------------------------------------


def so_peek_off(sk: Sock, creds: Credentials, number: int) -> None:
    _can_peek_off(sk)
    ext = ext_of(sk)
    ext.peek_off = number
    ext.peek_seq = -1
    set_flag(sk, SOCK_PEEK_OFF, number >= 0)
    hook = getattr(sk.prot, "peek_offset", None)
    if hook is not None and number >= 0:
        hook(sk)


def _can_peek_off(sk: Sock) -> None:
    if not (sk.family == so.AF_UNIX or _is_tcp(sk) or (_inet(sk) and sk.type == so.SOCK_DGRAM)):
        raise err(errno.EOPNOTSUPP)


def so_busy_poll(sk: Sock, creds: Credentials, number: int) -> None:
    if number < 0:
        raise err(errno.EINVAL)
    if number > _ext(sk).busy_poll:
        need(creds, CAP_NET_ADMIN)
    ext_of(sk).busy_poll = number


def so_prefer_busy_poll(sk: Sock, creds: Credentials, number: int) -> None:
    if number:
        need(creds, CAP_NET_ADMIN)
    ext_of(sk).prefer_busy_poll = number != 0


def so_busy_poll_budget(sk: Sock, creds: Credentials, number: int) -> None:
    if number > _BUSY_POLL_BUDGET:
        need(creds, CAP_NET_ADMIN)
    if not 0 <= number <= _BUSY_POLL_BUDGET_MAX:
        raise err(errno.EINVAL)


def so_incoming_cpu(sk: Sock, creds: Credentials, number: int) -> None:
    ext_of(sk).incoming_cpu = number


def so_txrehash(sk: Sock, creds: Credentials, number: int) -> None:
    """-1 asks for the default, which is on."""
    if not _is_tcp(sk):
        raise err(errno.EOPNOTSUPP)
    if not -1 <= number <= 1:
        raise err(errno.EINVAL)
    ext_of(sk).txrehash = abs(number)


def so_reserve_mem(sk: Sock, creds: Credentials, number: int) -> None:
    """Memory is reserved for control groups only, and there are none (sock_reserve_memory)."""
    raise err(errno.EINVAL if number < 0 else errno.EOPNOTSUPP)


def so_zerocopy(sk: Sock, creds: Credentials, number: int) -> None:
    if not (_is_tcp(sk) or _is_udp(sk)):
        raise err(errno.EOPNOTSUPP)
    if not 0 <= number <= 1:
        raise err(errno.EINVAL)
    set_flag(sk, SOCK_ZEROCOPY, number == 1)


# Structs -------------------------------------------------------------------------------------------------


def _so_max_pacing_rate(sk: Sock, creds: Credentials, value: bytes) -> None:
    """8 bytes, or 4, of which all ones mean no limit."""
    if len(value) == _U64.size:
        rate = int.from_bytes(value, "little")
    else:
        rate = int.from_bytes(value[:4], "little")
        if rate == 0xFFFFFFFF:
            rate = NO_PACING_LIMIT
    ext_of(sk).pacing_rate = rate
    forget_routes(sk)


def _so_txtime(sk: Sock, creds: Credentials, value: bytes) -> None:
    if len(value) != _TWO_INTS.size:
        raise err(errno.EINVAL)
    clock, flags = _TWO_INTS.unpack(value)
    if flags & ~_TXTIME_FLAGS:
        raise err(errno.EINVAL)
    if clock != _CLOCK_MONOTONIC:
        need(creds, CAP_NET_ADMIN)
    if clock not in _CLOCKS:
        raise err(errno.EINVAL)
    ext = ext_of(sk)
    ext.txtime = clock, flags
    ext.has_txtime = True


def _so_timestamping(sk: Sock, creds: Credentials, value: bytes, new: bool = False) -> None:
    """sock_set_timestamping(): an int, or struct so_timestamping, whose clock only SOF_TIMESTAMPING_BIND_PHC reads."""
    flags = _INT.unpack_from(value)[0]
    if flags & ~so.SOF_TIMESTAMPING_MASK:
        raise err(errno.EINVAL)
    if flags & so.SOF_TIMESTAMPING_OPT_ID_TCP and not flags & so.SOF_TIMESTAMPING_OPT_ID:
        raise err(errno.EINVAL)
    if flags & so.SOF_TIMESTAMPING_OPT_ID and not _ext(sk).tsflags & so.SOF_TIMESTAMPING_OPT_ID:
        if _is_tcp(sk) and sk.state in (_TCP_CLOSE, _TCP_LISTEN):
            raise err(errno.EINVAL)
        hook = getattr(sk.prot, "first_key", None)  # TCP counts bytes
        ext_of(sk).tskey = 0 if hook is None else hook(sk, bool(flags & so.SOF_TIMESTAMPING_OPT_ID_TCP))
    if flags & so.SOF_TIMESTAMPING_OPT_STATS and not flags & so.SOF_TIMESTAMPING_OPT_TSONLY:
        raise err(errno.EINVAL)
    if flags & so.SOF_TIMESTAMPING_BIND_PHC:
        raise err(errno.EOPNOTSUPP)  # no device here has a clock
    ext = ext_of(sk)
    ext.tsflags = flags
    set_flag(sk, SOCK_TSTAMP_NEW, new)
    both = so.SOF_TIMESTAMPING_RX_SOFTWARE | so.SOF_TIMESTAMPING_SOFTWARE
    set_flag(sk, SOCK_RX_TSTAMP, flags & both == both)
    set_flag(sk, SOCK_TX_TSTAMP, flags & TX_STAMPED != 0)
    if flags & TX_STAMPED:
        enable_tx_stamps(sk.net)
    forget_routes(sk)


def _so_timestamping_new(sk: Sock, creds: Credentials, value: bytes) -> None:
    _so_timestamping(sk, creds, value, new=True)


def _so_devmem_dontneed(sk: Sock, creds: Credentials, value: bytes) -> None:
    """There is no device memory to give back (sock_devmem_dontneed)."""
    if not _is_tcp(sk):
        raise err(errno.EBADF)
    if len(value) % 8:
        raise err(errno.EINVAL)


#: Setters that get the bytes.
SETTERS: Final[dict[int, Callable[[Sock, Credentials, bytes], None]]] = {
    so.SO_ATTACH_FILTER: _so_attach_filter,
    so.SO_ATTACH_BPF: _so_attach_bpf,
    so.SO_ATTACH_REUSEPORT_CBPF: _so_reuseport_cbpf,
    so.SO_ATTACH_REUSEPORT_EBPF: _so_attach_bpf,
    so.SO_MAX_PACING_RATE: _so_max_pacing_rate,
    so.SO_TXTIME: _so_txtime,
    so.SO_TIMESTAMPING: _so_timestamping,
    so.SO_TIMESTAMPING_NEW: _so_timestamping_new,
    so.SO_DEVMEM_DONTNEED: _so_devmem_dontneed,
}


# Reading -------------------------------------------------------------------------------------------------


def _peek_off(sk: Sock) -> bytes:
    _can_peek_off(sk)
    hook = getattr(sk.prot, "peek_offset", None)
    if hook is not None and _ext(sk).peek_off >= 0:
        return _INT.pack(hook(sk))
    return _INT.pack(_ext(sk).peek_off)


def _incoming_cpu(sk: Sock) -> bytes:
    """Where the last packet came in; -1 before. A kernel of one CPU notes nothing: a connection's came in there."""
    number = _ext(sk).incoming_cpu
    if number < 0 and len(sk.kernel.cpus) == 1 and _is_tcp(sk) and sk.state not in (_TCP_CLOSE, _TCP_LISTEN):
        number = 0
    return _INT.pack(number)


def _txrehash(sk: Sock) -> bytes:
    if not _is_tcp(sk):
        raise err(errno.EOPNOTSUPP)
    return _INT.pack(_ext(sk).txrehash)


def _timestamping(sk: Sock, wanted: int) -> bytes:
    """struct so_timestamping, without a hardware clock; under the new number only what was set under it."""
    return bytes(8) if wanted & ~sk.flags else _TWO_INTS.pack(_ext(sk).tsflags, 0)


def _meminfo(sk: Sock) -> bytes:
    """SK_MEMINFO_*: receive and send queue with their bounds, drops; what has no counterpart is 0."""
    drops = _ext(sk).drops
    return _MEMINFO.pack(sk.rmem_alloc, sk.rcvbuf, sk.wmem_alloc, sk.sndbuf, 0, 0, 0, 0, drops)


#: What each option reads as; the caller cuts it to the room there is.
GETTERS: Final[dict[int, Callable[[Sock], bytes]]] = {
    so.SO_PEEK_OFF: _peek_off,
    so.SO_BUSY_POLL: lambda sk: _INT.pack(_ext(sk).busy_poll),
    so.SO_PREFER_BUSY_POLL: lambda sk: _INT.pack(_ext(sk).prefer_busy_poll),
    so.SO_INCOMING_CPU: _incoming_cpu,
    so.SO_TXREHASH: _txrehash,
    so.SO_RESERVE_MEM: lambda sk: _INT.pack(_ext(sk).reserved_mem),
    so.SO_TXTIME: lambda sk: _TWO_INTS.pack(*_ext(sk).txtime),
    so.SO_TIMESTAMPING: lambda sk: _timestamping(sk, 0),
    so.SO_TIMESTAMPING_NEW: lambda sk: _timestamping(sk, SOCK_TSTAMP_NEW),
    so.SO_MEMINFO: _meminfo,
}


def get_sized(sock: Socket, optname: int, optlen: int) -> bytes | None:
    """The options that are particular about ``optlen``; None when ``optname`` is none of them."""
    getter = _SIZED.get(optname)
    return None if getter is None else getter(sock, optlen)


def _pacing_rate(sock: Socket, optlen: int) -> bytes:
    rate = _ext(sock.sk).pacing_rate
    return _U64.pack(rate) if optlen >= _U64.size else min(rate, 0xFFFFFFFF).to_bytes(4, "little")[:optlen]


def _get_filter(sock: Socket, optlen: int) -> bytes:
    """SO_GET_FILTER counts ``optlen`` in instructions, not in bytes; EINVAL when there are more (sk_get_filter). The
    answer is the whole array: Linux reports the number of instructions as its length.
    """
    program = _ext(sock.sk).program
    if program is None or not optlen:
        return _EMPTY_PROGRAM
    if optlen < len(program.raw) // 8:
        raise err(errno.EINVAL)
    return program.raw


def _cookie(sock: Socket, optlen: int) -> bytes:
    if optlen < _U64.size:
        raise err(errno.EINVAL)
    return _U64.pack(Cookies.of(sock.sk.net).of_sock(sock.sk))


def _netns_cookie(sock: Socket, optlen: int) -> bytes:
    if optlen != _U64.size:
        raise err(errno.EINVAL)
    net = sock.sk.net
    return _U64.pack(Cookies.of(net).of_net(net))


def _peer_name(sock: Socket, optlen: int) -> bytes:
    """The struct sockaddr of getpeername(), which must fill all the room; ENOTCONN."""
    try:
        raw = _PACKERS[sock.sk.family](sock.ops.getname(sock, True))
    except (KeyError, OSError):
        raise err(errno.ENOTCONN) from None
    if len(raw) < optlen:
        raise err(errno.EINVAL)
    return raw[:optlen]


def _peer_credentials(sk: Sock) -> Credentials:
    creds: Credentials | None = getattr(sk, "peer_cred", None)
    if creds is None:
        raise err(errno.ENODATA)
    return creds


def _peer_groups(sock: Socket, optlen: int) -> bytes:
    """The peer's supplementary groups; ENODATA without a peer, ERANGE when there are more than fit."""
    groups = sorted(_peer_credentials(sock.sk).groups)
    if optlen < 4 * len(groups):
        raise err(errno.ERANGE)
    return b"".join(group.to_bytes(4, "little") for group in groups)


def _peer_pidfd(sock: Socket, optlen: int) -> bytes:
    """A descriptor of the operating system for the peer's process. ENODATA without a peer; what pidfd_open(2) says of
    a process that only pysock knows, ESRCH.
    """
    pid = _peer_credentials(sock.sk).pid
    try:
        fd = _pidfd_open(pid)
    except OSError as exc:
        raise err(exc.errno or errno.ESRCH) from None
    return _INT.pack(fd)[:optlen]


_PACKERS: Final[dict[int, Callable[..., bytes]]] = {
    so.AF_INET: sockaddr.pack_in,
    so.AF_INET6: sockaddr.pack_in6,
    so.AF_UNIX: sockaddr.pack_un,
}

_SIZED: Final[dict[int, Callable[[Socket, int], bytes]]] = {
    so.SO_MAX_PACING_RATE: _pacing_rate,
    so.SO_GET_FILTER: _get_filter,
    so.SO_COOKIE: _cookie,
    so.SO_NETNS_COOKIE: _netns_cookie,
    so.SO_PEERNAME: _peer_name,
    so.SO_PEERGROUPS: _peer_groups,
    so.SO_PEERPIDFD: _peer_pidfd,
}
