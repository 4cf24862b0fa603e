"""TCP over IPv4: set-up of a namespace, hashing, and ICMP errors for connections (tcp_ipv4.c)."""

from __future__ import annotations

import errno

from pysock.families.inet.tcp import cong, cubic, timers
from pysock.families.inet.tcp.end import abort
from pysock.families.inet.tcp.fast import make_tcp_rcv, noting_cpus
from pysock.families.inet.tcp.net import TcpNet
from pysock.families.inet.tcp.pmtu import mtu_reduced
from pysock.families.inet.tcp.sock import TcpSock
from pysock.families.inet.tcp.timewait import TimeWaitQueue
from pysock.uapi.in_ import IPPROTO_TCP
from pysock.uapi.tcp import TCP_LISTEN, TCP_SYN_SENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.net import InetNet

#: ICMP destination-unreachable codes to errno and "is it fatal" (RFC 1122 4.2.3.9; icmp_err_convert).
UNREACHABLE = {
    0: (errno.ENETUNREACH, False),
    1: (errno.EHOSTUNREACH, False),
    2: (errno.ENOPROTOOPT, True),
    3: (errno.ECONNREFUSED, True),
    4: (errno.EMSGSIZE, False),
    5: (errno.EOPNOTSUPP, False),
    6: (errno.ENETUNREACH, True),
    7: (errno.EHOSTDOWN, True),
    8: (errno.ENONET, True),
    9: (errno.ENETUNREACH, True),
    10: (errno.EHOSTUNREACH, True),
    11: (errno.ENETUNREACH, False),
    12: (errno.EHOSTUNREACH, False),
    13: (errno.EHOSTUNREACH, True),
    14: (errno.EHOSTUNREACH, True),
    15: (errno.EHOSTUNREACH, True),
}


def setup(inet: InetNet) -> TcpNet:
    """Give a namespace its TCP."""
    tcp = TcpNet(inet, cong.RENO, {**cong.BUILTIN, cubic.CUBIC.name: cubic.CUBIC}, timers.on_timer)
    tcp.timewait = TimeWaitQueue(tcp)
    inet.net.set(tcp)
    inet.state["tcp"] = tcp
    tcp.ehash = inet.early_demux
    inet.protos[IPPROTO_TCP] = noting_cpus(tcp, make_tcp_rcv(tcp))

    def icmp_error(quoted: bytes, header_len: int, type: int, code: int, info: int) -> None:
        handle_icmp_error(tcp, quoted, header_len, type, code, info)

    inet.errors[IPPROTO_TCP] = icmp_error
    return tcp


def hash(sk: TcpSock) -> None:
    """Enter a listener in the table."""
    if sk.state == TCP_LISTEN:
        sk.tcp.listeners.setdefault(sk.sport, []).append(sk)


def unhash(sk: TcpSock) -> None:
    """Nothing that arrives finds this socket any more."""
    tcp = sk.tcp
    if tcp.ehash.get(sk.ehash_key) is sk:
        del tcp.ehash[sk.ehash_key]
    elif sk.state == TCP_LISTEN:
        listeners = tcp.listeners[sk.sport]
        listeners.remove(sk)
        if not listeners:
            del tcp.listeners[sk.sport]


def handle_icmp_error(tcp: TcpNet, quoted: bytes, header_len: int, type: int, code: int, info: int = 0) -> None:
    """tcp_v4_err(): an ICMP error quotes one of our segments. Hard errors end an opening connection, soft ones are
    kept.
    """
    if len(quoted) < header_len + 8:
        return
    # The quoted segment is ours: its source is our end.
    key = (
        quoted[16:20]
        + quoted[12:16]
        + quoted[header_len + 2 : header_len + 4]
        + quoted[header_len : header_len + 2]
    )
    who = quoted_connection(tcp, key, int.from_bytes(quoted[header_len + 4 : header_len + 8], "big"))
    if who is None:
        return
    if type == 3:
        number, _fatal = UNREACHABLE.get(code, (errno.EHOSTUNREACH, False))
        if code == 4:
            mtu_reduced(who, info)
            return
    elif type in (11, 12):
        number = errno.EHOSTUNREACH if type == 11 else errno.EPROTO
    else:
        return
    connection_error(who, number, who.recverr)


def quoted_connection(tcp: TcpNet, key: bytes, seq: int) -> TcpSock | None:
    """Whose segment an ICMP error quotes, by the flow as the peer's segments have it; None unless it is in flight."""
    who = tcp.ehash.get(key)
    if not isinstance(who, TcpSock):
        return None
    if (seq - who.snd_una) & 0xFFFFFFFF > who.snd_nxt - who.snd_una:
        tcp.inet.mibs.tcpext.OutOfWindowIcmps += 1
        return None
    return who


def connection_error(sk: TcpSock, number: int, recverr: bool) -> None:
    """The network said errno ``number`` of a connection: it ends one that is being opened; others remember it, or
    report it to a program that asked for that.
    """
    if sk.state == TCP_SYN_SENT:
        abort(sk, number)
    elif recverr and not sk.dead:
        sk.set_error(number)
    else:
        sk.err_soft = number
