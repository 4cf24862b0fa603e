"""Options at level IPPROTO_TCP (tcp(7)): do_tcp_setsockopt and do_tcp_getsockopt."""

from __future__ import annotations

import errno
from struct import Struct, error, pack

from pysock.core.clock import NSEC_PER_MSEC, NSEC_PER_SEC, NSEC_PER_USEC
from pysock.core.errors import err
from pysock.core.sock import SOCK_KEEPOPEN
from pysock.core.sock_limits import SOCK_MIN_RCVBUF
from pysock.core.sockopt_set import INT_MAX
from pysock.families.inet.tcp.info import tcp_info
from pysock.families.inet.tcp.keepalive import start_keepalive
from pysock.families.inet.tcp.output import send_ack, write_xmit
from pysock.families.inet.tcp.rare import DEFAULTS, rare_of, retrans_to_secs, secs_to_retrans
from pysock.families.inet.tcp.sock import NAGLE_CORK, NAGLE_OFF, RTO_MAX, RTO_MIN, TcpSock
from pysock.families.inet.tcp.urgent import ReceiveExtra
from pysock.uapi import tcp as u
from pysock.uapi.in_ import IPPROTO_TCP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_int = Struct("@i")
LINGER2_MAX = 120  # seconds: TCP_FIN_TIMEOUT_MAX
TIMEOUT_MIN_US = 2000  # TCP_TIMEOUT_MIN: two of Linux's ticks


def _read_int(value: bytes) -> int:
    try:
        return int(_int.unpack_from(value)[0])
    except error:
        raise err(errno.EINVAL) from None


def setsockopt(sk: TcpSock, level: int, optname: int, value: bytes) -> None:
    """ENOPROTOOPT for what is not known, EINVAL for values out of range or too short; EPERM for TCP_REPAIR and what
    belongs to it.
    """
    if level != IPPROTO_TCP:
        raise err(errno.ENOPROTOOPT)
    if optname in _LONG_SETTERS:
        _LONG_SETTERS[optname](sk, value)
        return
    number = _read_int(value)
    setter = _SETTERS.get(optname)
    if setter is None:
        raise err(errno.ENOPROTOOPT)
    setter(sk, number)


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
    if not value and sk.state != u.TCP_CLOSE:
        raise err(errno.EINVAL)
    sk.window_clamp = max(value, SOCK_MIN_RCVBUF // 2) if value else 0
    sk.set_rcvbuf_window()


def _set_defer_accept(sk: TcpSock, value: int) -> None:
    sk.defer_accept = secs_to_retrans(value, 1, RTO_MAX // NSEC_PER_SEC)


def _rare(name: str, low: int, high: int) -> Callable[[TcpSock, int], None]:
    """A number of `RareOptions`."""

    def setter(sk: TcpSock, value: int) -> None:
        if not low <= value <= high:
            raise err(errno.EINVAL)
        setattr(rare_of(sk), name, value)

    return setter


def _rare_time(name: str, unit: int, low: int, high: int) -> Callable[[TcpSock, int], None]:
    """A time of `RareOptions`, from ``low`` to ``high`` in units of ``unit`` ns."""

    def setter(sk: TcpSock, value: int) -> None:
        if not low <= value <= high:
            raise err(errno.EINVAL)
        setattr(rare_of(sk), name, value * unit)

    return setter


def _in_state(states: tuple[int, ...], setter: Callable[[TcpSock, int], None]) -> Callable[[TcpSock, int], None]:
    """EINVAL in other states."""

    def checked(sk: TcpSock, value: int) -> None:
        if sk.state not in states:
            raise err(errno.EINVAL)
        setter(sk, value)

    return checked


def _set_fastopen(sk: TcpSock, value: int) -> None:
    if value < 0:
        raise err(errno.EINVAL)
    rare_of(sk).fastopen_qlen = min(value, sk.tcp.somaxconn)


def _set_thin_dupack(sk: TcpSock, value: int) -> None:
    """Without effect since Linux 4.14."""
    if not 0 <= value <= 1:
        raise err(errno.EINVAL)


def _set_inq(sk: TcpSock, value: int) -> None:
    if not 0 <= value <= 1:
        raise err(errno.EINVAL)
    extra = sk.rcv_extra
    if value:
        if extra is None:
            extra = sk.rcv_extra = ReceiveExtra()
        extra.inq = True
    elif extra is not None:
        extra.inq = False
        if not extra.state:
            sk.rcv_extra = None


def _refuse(number: int) -> Callable[[TcpSock, int], None]:
    def setter(sk: TcpSock, value: int) -> None:
        raise err(number)

    return setter


def _set_queue_seq(sk: TcpSock, value: int) -> None:
    raise err(errno.EINVAL if sk.state == u.TCP_CLOSE else errno.EPERM)


def _set_ao_repair(sk: TcpSock, value: int) -> None:
    raise err(errno.EPERM if sk.state == u.TCP_LISTEN else errno.ENOPROTOOPT)


def _set_congestion(sk: TcpSock, value: bytes) -> None:
    if not value:
        raise err(errno.EINVAL)
    name = value[: u.TCP_CA_NAME_MAX - 1].split(b"\0")[0].decode("ascii", "replace")
    algorithm = sk.tcp.available.get(name)
    if algorithm is None:
        raise err(errno.ENOENT)
    sk.cong = algorithm


def _set_ulp(sk: TcpSock, value: bytes) -> None:
    """No upper-layer protocol is loaded."""
    raise err(errno.ENOENT if value else errno.EINVAL)


def _set_md5(sk: TcpSock, value: bytes) -> None:
    raise err(errno.EINVAL if len(value) < u.TCP_MD5SIG_SIZE else errno.ENOPROTOOPT)


def _set_fastopen_key(sk: TcpSock, value: bytes) -> None:
    if len(value) not in (u.TCP_FASTOPEN_KEY_LENGTH, 2 * u.TCP_FASTOPEN_KEY_LENGTH):
        raise err(errno.EINVAL)
    rare_of(sk).fastopen_key = bytes(value)


_LONG_SETTERS: dict[int, Callable[[TcpSock, bytes], None]] = {
    u.TCP_CONGESTION: _set_congestion,
    u.TCP_ULP: _set_ulp,
    u.TCP_MD5SIG: _set_md5,
    u.TCP_MD5SIG_EXT: _set_md5,
    u.TCP_FASTOPEN_KEY: _set_fastopen_key,
}

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
    u.TCP_THIN_LINEAR_TIMEOUTS: _rare("thin_lto", 0, 1),
    u.TCP_THIN_DUPACK: _set_thin_dupack,
    u.TCP_NOTSENT_LOWAT: _rare("notsent_lowat", -INT_MAX - 1, INT_MAX),
    u.TCP_SAVE_SYN: _rare("save_syn", 0, 2),
    u.TCP_FASTOPEN: _in_state((u.TCP_CLOSE, u.TCP_LISTEN), _set_fastopen),
    u.TCP_FASTOPEN_CONNECT: _in_state((u.TCP_CLOSE,), _rare("fastopen_connect", 0, 1)),
    u.TCP_FASTOPEN_NO_COOKIE: _in_state((u.TCP_CLOSE, u.TCP_LISTEN), _rare("fastopen_no_cookie", 0, 1)),
    u.TCP_TX_DELAY: _rare("tx_delay", 0, (1 << 31) - 1 >> 3),
    u.TCP_INQ: _set_inq,
    u.TCP_RTO_MAX_MS: _rare_time("rto_max", NSEC_PER_MSEC, 1000, 120_000),
    u.TCP_RTO_MIN_US: _rare_time("rto_min", NSEC_PER_USEC, TIMEOUT_MIN_US, RTO_MIN // NSEC_PER_USEC),
    u.TCP_DELACK_MAX_US: _rare_time("delack_max", NSEC_PER_USEC, TIMEOUT_MIN_US, 200_000),
    # Moving connections between kernels needs a capability that no task here has.
    u.TCP_REPAIR: _refuse(errno.EPERM),
    u.TCP_REPAIR_QUEUE: _refuse(errno.EPERM),
    u.TCP_QUEUE_SEQ: _set_queue_seq,
    u.TCP_REPAIR_OPTIONS: _refuse(errno.EINVAL),
    u.TCP_REPAIR_WINDOW: _refuse(errno.EPERM),
    u.TCP_TIMESTAMP: _refuse(errno.EPERM),
    u.TCP_AO_REPAIR: _set_ao_repair,
}


def _maxseg(sk: TcpSock) -> int:
    return sk.user_mss if sk.user_mss and sk.state in (u.TCP_CLOSE, u.TCP_LISTEN) else sk.mss


def _rare_value(name: str, unit: int = 1) -> Callable[[TcpSock], int]:
    def getter(sk: TcpSock) -> int:
        value: int = getattr(sk.rare or DEFAULTS, name)
        return value // unit

    return getter


def _get_refused(sk: TcpSock) -> int:
    raise err(errno.EINVAL)


def _get_ao_repair(sk: TcpSock) -> int:
    _set_ao_repair(sk, 0)
    return 0


def _timestamp(sk: TcpSock) -> int:
    return _signed((sk.kernel.clock_ns() // NSEC_PER_MSEC + sk.ts_offset) & 0xFFFFFFFF)


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


_GETTERS: dict[int, Callable[[TcpSock], int]] = {
    u.TCP_NODELAY: lambda sk: int(bool(sk.nonagle & NAGLE_OFF)),
    u.TCP_CORK: lambda sk: int(bool(sk.nonagle & NAGLE_CORK)),
    u.TCP_QUICKACK: lambda sk: int(not sk.pingpong),
    u.TCP_MAXSEG: _maxseg,
    u.TCP_KEEPIDLE: lambda sk: (sk.keepidle or sk.tcp.keepalive_time) // NSEC_PER_SEC,
    u.TCP_KEEPINTVL: lambda sk: (sk.keepintvl or sk.tcp.keepalive_intvl) // NSEC_PER_SEC,
    u.TCP_KEEPCNT: lambda sk: sk.keepcnt or sk.tcp.keepalive_probes,
    u.TCP_SYNCNT: lambda sk: sk.syn_retries or sk.tcp.syn_retries,
    u.TCP_LINGER2: lambda sk: -1 if sk.linger2 < 0 else (sk.linger2 or sk.tcp.fin_timeout) // NSEC_PER_SEC,
    u.TCP_USER_TIMEOUT: lambda sk: sk.user_timeout // NSEC_PER_MSEC,
    u.TCP_WINDOW_CLAMP: lambda sk: sk.window_clamp or (sk.win_space if sk.dport else 0),
    u.TCP_DEFER_ACCEPT: lambda sk: retrans_to_secs(sk.defer_accept, 1, RTO_MAX // NSEC_PER_SEC),
    u.TCP_THIN_LINEAR_TIMEOUTS: _rare_value("thin_lto"),
    u.TCP_THIN_DUPACK: lambda sk: 0,
    u.TCP_NOTSENT_LOWAT: _rare_value("notsent_lowat"),
    u.TCP_SAVE_SYN: _rare_value("save_syn"),
    u.TCP_FASTOPEN: _rare_value("fastopen_qlen"),
    u.TCP_FASTOPEN_CONNECT: _rare_value("fastopen_connect"),
    u.TCP_FASTOPEN_NO_COOKIE: _rare_value("fastopen_no_cookie"),
    u.TCP_TX_DELAY: _rare_value("tx_delay"),
    u.TCP_INQ: lambda sk: int(sk.rcv_extra is not None and sk.rcv_extra.inq),
    u.TCP_RTO_MAX_MS: _rare_value("rto_max", NSEC_PER_MSEC),
    u.TCP_RTO_MIN_US: _rare_value("rto_min", NSEC_PER_USEC),
    u.TCP_DELACK_MAX_US: _rare_value("delack_max", NSEC_PER_USEC),
    u.TCP_REPAIR: lambda sk: 0,
    u.TCP_REPAIR_QUEUE: _get_refused,
    u.TCP_QUEUE_SEQ: _get_refused,
    u.TCP_REPAIR_WINDOW: _get_refused,
    u.TCP_ZEROCOPY_RECEIVE: _get_refused,
    u.TCP_TIMESTAMP: _timestamp,
    u.TCP_IS_MPTCP: lambda sk: 0,
    u.TCP_AO_REPAIR: _get_ao_repair,
}


def _saved_syn(sk: TcpSock, optlen: int) -> bytes:
    """The headers of the peer's SYN, once. EINVAL, and they stay, when there is no room for them."""
    rare = sk.rare
    if rare is None or not rare.saved_syn:
        return b""
    saved = rare.saved_syn
    if optlen < len(saved):
        raise err(errno.EINVAL)
    rare.saved_syn = b""
    return saved


_LONG_GETTERS: dict[int, Callable[[TcpSock, int], bytes]] = {
    u.TCP_CONGESTION: lambda sk, optlen: sk.cong.name.encode().ljust(u.TCP_CA_NAME_MAX, b"\0"),
    u.TCP_INFO: lambda sk, optlen: tcp_info(sk),
    u.TCP_CC_INFO: lambda sk, optlen: b"",  # no algorithm here has anything to tell
    u.TCP_ULP: lambda sk, optlen: b"",
    u.TCP_FASTOPEN_KEY: lambda sk, optlen: (sk.rare or DEFAULTS).fastopen_key,
    u.TCP_SAVED_SYN: _saved_syn,
}


def getsockopt(sk: TcpSock, level: int, optname: int, optlen: int) -> bytes:
    """At most ``optlen`` bytes of the value. ENOPROTOOPT for what is not known; EINVAL for a negative length and for
    what exists in TCP_REPAIR only.
    """
    if level != IPPROTO_TCP:
        raise err(errno.ENOPROTOOPT)
    if optlen < 0:
        raise err(errno.EINVAL)
    long_getter = _LONG_GETTERS.get(optname)
    if long_getter is not None:
        return long_getter(sk, optlen)[:optlen]
    getter = _GETTERS.get(optname)
    if getter is None:
        raise err(errno.ENOPROTOOPT)
    return pack("@i", getter(sk))[:optlen]
