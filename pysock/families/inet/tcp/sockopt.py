"""Options at level IPPROTO_TCP (tcp(7)): do_tcp_setsockopt and do_tcp_getsockopt."""

from __future__ import annotations

import errno
from struct import Struct, error, pack

from pysock.core.clock import NSEC_PER_MSEC, NSEC_PER_SEC, NSEC_PER_USEC
from pysock.core.errors import err
from pysock.core.sock import SOCK_KEEPOPEN
from pysock.families.inet.tcp.keepalive import start_keepalive
from pysock.families.inet.tcp.output import send_ack, write_xmit
from pysock.families.inet.tcp.sock import NAGLE_CORK, NAGLE_OFF, TcpSock
from pysock.uapi import tcp as u
from pysock.uapi.in_ import IPPROTO_TCP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_int = Struct("@i")
LINGER2_MAX = 120  # seconds: TCP_FIN_TIMEOUT_MAX
_INFO = Struct("@8B24I")


def _read_int(value: bytes) -> int:
    try:
        return int(_int.unpack_from(value)[0])
    except error:
        raise err(errno.EINVAL) from None


def setsockopt(sk: TcpSock, level: int, optname: int, value: bytes) -> None:
    """ENOPROTOOPT for what is not known, EINVAL for values out of range or too short."""
    if level != IPPROTO_TCP:
        raise err(errno.ENOPROTOOPT)
    if optname == u.TCP_CONGESTION:
        name = value.split(b"\0")[0].decode("ascii", "replace")
        algorithm = sk.tcp.available.get(name)
        if algorithm is None:
            raise err(errno.ENOENT)
        sk.cong = algorithm
        return
    setter = _SETTERS.get(optname)
    if setter is None:
        raise err(errno.ENOPROTOOPT)
    setter(sk, _read_int(value))


def _set_nodelay(sk: TcpSock, value: int) -> None:
    if value:
        sk.nonagle |= NAGLE_OFF
        write_xmit(sk, push=True)
    else:
        sk.nonagle &= ~NAGLE_OFF


def _set_cork(sk: TcpSock, value: int) -> None:
    if value:
        sk.nonagle |= NAGLE_CORK
    else:
        sk.nonagle &= ~NAGLE_CORK
        write_xmit(sk, push=True)


def _set_quickack(sk: TcpSock, value: int) -> None:
    if not value:
        sk.pingpong = True
        return
    sk.pingpong = False
    sk.quick = max(sk.quick, 1)
    if sk.rcv_nxt > sk.rcv_wup and sk.dport:
        send_ack(sk)


def _set_maxseg(sk: TcpSock, value: int) -> None:
    if value and not 88 <= value <= 32767:
        raise err(errno.EINVAL)
    sk.user_mss = value


def _seconds(name: str, maximum: int) -> Callable[[TcpSock, int], None]:
    def setter(sk: TcpSock, value: int) -> None:
        if not 1 <= value <= maximum:
            raise err(errno.EINVAL)
        setattr(sk, name, value * NSEC_PER_SEC)
        if sk.flags & SOCK_KEEPOPEN and sk.dport and name == "keepidle":
            start_keepalive(sk)

    return setter


def _count(name: str, maximum: int) -> Callable[[TcpSock, int], None]:
    def setter(sk: TcpSock, value: int) -> None:
        if not 1 <= value <= maximum:
            raise err(errno.EINVAL)
        setattr(sk, name, value)

    return setter


def _set_linger2(sk: TcpSock, value: int) -> None:
    sk.linger2 = -1 if value < 0 else min(value, LINGER2_MAX) * NSEC_PER_SEC


def _set_user_timeout(sk: TcpSock, value: int) -> None:
    if value < 0:
        raise err(errno.EINVAL)
    sk.user_timeout = value * NSEC_PER_MSEC


def _set_window_clamp(sk: TcpSock, value: int) -> None:
    if value < 0:
        raise err(errno.EINVAL)
    sk.window_clamp = max(value, 1152) if value else 0
    sk.set_rcvbuf_window()


def _set_defer_accept(sk: TcpSock, value: int) -> None:
    sk.defer_accept = max(value, 0)


_SETTERS: dict[int, Callable[[TcpSock, int], None]] = {
    u.TCP_NODELAY: _set_nodelay,
    u.TCP_CORK: _set_cork,
    u.TCP_QUICKACK: _set_quickack,
    u.TCP_MAXSEG: _set_maxseg,
    u.TCP_KEEPIDLE: _seconds("keepidle", 32767),
    u.TCP_KEEPINTVL: _seconds("keepintvl", 32767),
    u.TCP_KEEPCNT: _count("keepcnt", 127),
    u.TCP_SYNCNT: _count("syn_retries", 127),
    u.TCP_LINGER2: _set_linger2,
    u.TCP_USER_TIMEOUT: _set_user_timeout,
    u.TCP_WINDOW_CLAMP: _set_window_clamp,
    u.TCP_DEFER_ACCEPT: _set_defer_accept,
}

_GETTERS: dict[int, Callable[[TcpSock], int]] = {
    u.TCP_NODELAY: lambda sk: int(bool(sk.nonagle & NAGLE_OFF)),
    u.TCP_CORK: lambda sk: int(bool(sk.nonagle & NAGLE_CORK)),
    u.TCP_QUICKACK: lambda sk: int(not sk.pingpong),
    u.TCP_MAXSEG: lambda sk: sk.mss if sk.dport else (sk.user_mss or sk.mss),
    u.TCP_KEEPIDLE: lambda sk: (sk.keepidle or sk.tcp.keepalive_time) // NSEC_PER_SEC,
    u.TCP_KEEPINTVL: lambda sk: (sk.keepintvl or sk.tcp.keepalive_intvl) // NSEC_PER_SEC,
    u.TCP_KEEPCNT: lambda sk: sk.keepcnt or sk.tcp.keepalive_probes,
    u.TCP_SYNCNT: lambda sk: sk.syn_retries or sk.tcp.syn_retries,
    u.TCP_LINGER2: lambda sk: -1 if sk.linger2 < 0 else (sk.linger2 or sk.tcp.fin_timeout) // NSEC_PER_SEC,
    u.TCP_USER_TIMEOUT: lambda sk: sk.user_timeout // NSEC_PER_MSEC,
    u.TCP_WINDOW_CLAMP: lambda sk: sk.window_clamp or sk.win_space,
    u.TCP_DEFER_ACCEPT: lambda sk: sk.defer_accept,
}


def getsockopt(sk: TcpSock, level: int, optname: int, optlen: int) -> bytes:
    if level != IPPROTO_TCP:
        raise err(errno.ENOPROTOOPT)
    if optname == u.TCP_CONGESTION:
        return sk.cong.name.encode().ljust(16, b"\0")[:optlen]
    if optname == u.TCP_INFO:
        return tcp_info(sk)[:optlen]
    getter = _GETTERS.get(optname)
    if getter is None:
        raise err(errno.ENOPROTOOPT)
    return pack("@i", getter(sk))[:optlen]


def tcp_info(sk: TcpSock) -> bytes:
    """struct tcp_info, its first 104 bytes (times in us, idle times in ms)."""
    now = sk.kernel.clock_ns()

    def idle(since: int) -> int:
        return min((now - since) // NSEC_PER_MSEC, 0xFFFFFFFF) if since else 0

    options = int(sk.ts_ok) | (4 if sk.snd_wscale or sk.rcv_wscale else 0)
    return _INFO.pack(
        sk.state,
        sk.ca_state,
        min(sk.retransmits, 255),
        min(sk.probes_out, 255),
        min(sk.backoff, 255),
        options,
        sk.snd_wscale | sk.rcv_wscale << 4,
        0,
        sk.rto // NSEC_PER_USEC,
        40_000,
        sk.mss,
        sk.rcv_mss,
        sk.packets_out,
        sk.sack_out,
        sk.lost_out,
        sk.retrans_out,
        0,
        idle(sk.last_sent),
        0,
        idle(sk.lrcvtime),
        idle(sk.last_rcv),
        sk.dst.mtu if sk.dst is not None else 0,
        sk.win_space,
        (sk.srtt >> 3) // NSEC_PER_USEC,
        (sk.rttvar >> 2) // NSEC_PER_USEC,
        sk.ssthresh,
        sk.cwnd,
        sk.mss,
        3,
        0,
        sk.rcvq_space,
        0,
    )
