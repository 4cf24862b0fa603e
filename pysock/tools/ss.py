"""Who has which socket, as ss(8) shows it: `ss_table(net)` is what `ss -tuan` would print, and `rows(net)` its data.

    Netid State  Recv-Q Send-Q Local Address:Port  Peer Address:Port
    tcp   LISTEN 0      5            127.0.0.1:8080       0.0.0.0:*
    tcp   ESTAB  0      0            127.0.0.1:8080     127.0.0.1:39147

Recv-Q and Send-Q are bytes: what the program has not read yet, what the peer has not acknowledged yet. For a listener
they are connections: those that wait for accept(), and how many may (the backlog). Half-open connections and TIME-WAIT
have their own small sockets and show here too. UDP-Lite's sockets, which ss leaves out, are shown with UDP's.

AF_UNIX sockets are asked for (ss -x). Instead of ports they show inode numbers, 0 where no program has the socket:

    u_str LISTEN 0 5  @control 1024  * 0
    u_dgr ESTAB  0 0         * 1025  * 1026
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pysock.core.clock import NEVER, NSEC_PER_MSEC
from pysock.families.inet.net import InetNet
from pysock.families.inet.tcp.af import addresses
from pysock.families.inet.tcp.listen import RequestSock
from pysock.families.inet.tcp.net import TcpNet
from pysock.families.inet.tcp.sock import TcpSock
from pysock.families.inet.udp_table import UdpTable
from pysock.families.unix.proc import inode_of, name_of
from pysock.families.unix.stream_read import bytes_queued
from pysock.families.unix.unix_net import UnixNet
from pysock.uapi import tcp as states
from pysock.uapi.socket import SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM
from pysock.wire.addr import ip_ntoa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pysock.core.net import Net
    from pysock.families.inet.datagram import DatagramSock
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.tcp.timewait import TimeWaitSock
    from pysock.families.unix.unix_sock import UnixSock

STATE_NAMES = {
    states.TCP_ESTABLISHED: "ESTAB",
    states.TCP_SYN_SENT: "SYN-SENT",
    states.TCP_SYN_RECV: "SYN-RECV",
    states.TCP_FIN_WAIT1: "FIN-WAIT-1",
    states.TCP_FIN_WAIT2: "FIN-WAIT-2",
    states.TCP_TIME_WAIT: "TIME-WAIT",
    states.TCP_CLOSE: "UNCONN",
    states.TCP_CLOSE_WAIT: "CLOSE-WAIT",
    states.TCP_LAST_ACK: "LAST-ACK",
    states.TCP_LISTEN: "LISTEN",
    states.TCP_CLOSING: "CLOSING",
}
_UNIX_NAMES = {SOCK_STREAM: "u_str", SOCK_DGRAM: "u_dgr", SOCK_SEQPACKET: "u_seq"}


class Row(NamedTuple):
    """One socket. ``local`` and ``peer`` are "host:port", with "*" for no port; ``timer`` is ss -o's, or empty."""

    netid: str
    state: str
    recv_q: int
    send_q: int
    local: str
    peer: str
    timer: str = ""


def rows(net: Net) -> list[Row]:
    """The TCP and UDP sockets of ``net``, listeners first, each kind oldest first."""
    kernel = net.kernel
    kernel.enter()
    try:
        return [*_tcp_rows(net), *_udp_rows(net)]
    finally:
        kernel.leave()


def unix_rows(net: Net) -> list[Row]:
    """The AF_UNIX sockets of ``net``, oldest first; the "port" of a row is the inode number."""
    if not net.has(UnixNet):
        return []
    kernel = net.kernel
    kernel.enter()
    try:
        return [_unix_row(sk) for sk in net.get(UnixNet).sockets]
    finally:
        kernel.leave()


def _unix_row(sk: UnixSock) -> Row:
    if sk.state == states.TCP_LISTEN:
        recv_q, send_q = len(sk.pending or ()), sk.max_ack_backlog
    else:
        recv_q, send_q = bytes_queued(sk), sk.wmem_alloc
    peer = sk.peer
    there = f"{name_of(peer) or '*'}:{inode_of(peer)}" if peer is not None else "*:0"
    local = f"{name_of(sk) or '*'}:{inode_of(sk)}"
    return Row(_UNIX_NAMES[sk.type], STATE_NAMES[sk.state], recv_q, send_q, local, there)


def _tcp_rows(net: Net) -> Iterator[Row]:
    if not net.has(TcpNet):
        return
    tcp = net.get(TcpNet)
    for group in tcp.listeners.values():
        for sk in group:
            waiting = sk.listener
            accepted, backlog = (len(waiting.accept_queue), waiting.backlog) if waiting is not None else (0, 0)
            yield Row("tcp", "LISTEN", accepted, backlog, *_names(sk))
    now = tcp.kernel.now
    for key, who in tcp.ehash.items():
        daddr, saddr = addresses(key)
        peer, local = _name(daddr, int.from_bytes(key[-4:-2], "big")), _name(saddr, int.from_bytes(key[-2:], "big"))
        if isinstance(who, TcpSock):
            send_q = who.write_seq - who.snd_una
            yield Row("tcp", STATE_NAMES[who.state], who.rx_bytes, send_q, local, peer, _timer(who, now))
        elif isinstance(who, RequestSock):
            timer = f"on,{_wait(who.expires - now)},{who.retries}"
            yield Row("tcp", "SYN-RECV", 0, 0, local, peer, timer)
        else:
            yield _timewait_row(who, local, peer, now)


def _timewait_row(tw: TimeWaitSock, local: str, peer: str, now: int) -> Row:
    return Row("tcp", STATE_NAMES[tw.state], 0, 0, local, peer, f"timewait,{_wait(tw.expires - now)},0")


def _udp_rows(net: Net) -> Iterator[Row]:
    if not net.has(InetNet):
        return
    for table in map(net.get(InetNet).state.get, ("udp", "udplite")):
        if isinstance(table, UdpTable):
            for group in table.by_port.values():
                for sk in group:
                    yield _datagram_row(table.protocol, sk)


def _datagram_row(netid: str, sk: DatagramSock) -> Row:
    state = STATE_NAMES.get(sk.state, "UNCONN")
    return Row(netid, state, sk.rmem_alloc, sk.wmem_alloc, *_names(sk))


def _names(sk: InetSock) -> tuple[str, str]:
    """Both ends; "*" is any address of both versions, as a dual-stack socket has it."""
    part = sk.pinet6
    if part is None:
        return _name(sk.rcv_saddr, sk.sport), _name(sk.daddr, sk.dport)
    local, peer = _name(part.rcv_saddr, sk.sport), _name(part.daddr, sk.dport)
    if any(part.rcv_saddr) or part.only:
        return local, peer
    return f"*:{sk.sport or '*'}", peer if any(part.daddr) else f"*:{sk.dport or '*'}"


def _name(addr: bytes, port: int) -> str:
    text = ip_ntoa(addr)
    return f"[{text}]:{port or '*'}" if ":" in text else f"{text}:{port or '*'}"


def _timer(sk: TcpSock, now: int) -> str:
    """The timer that comes up next, as sock_diag tells it: name, time left, retransmissions."""
    if sk.rto_at != NEVER:
        if sk.packets_out:
            return f"on,{_wait(sk.rto_at - now)},{sk.retransmits}"
        return f"persist,{_wait(sk.rto_at - now)},{sk.probes_out}"
    if sk.keepalive_at != NEVER:
        return f"keepalive,{_wait(sk.keepalive_at - now)},{sk.probes_out}"
    return ""


def _wait(nanoseconds: int) -> str:
    milliseconds = max(0, nanoseconds) // NSEC_PER_MSEC
    seconds = milliseconds // 1000
    if seconds >= 60:
        minutes, seconds = divmod(seconds, 60)
        return f"{minutes}min{seconds}sec" if seconds and minutes < 10 else f"{minutes}min"
    if seconds >= 10:
        return f"{seconds}sec"
    return f"{seconds}.{milliseconds % 1000:03}sec" if seconds else f"{milliseconds}ms"


# --- as text ----------------------------------------------------------------------------------------------------------


def ss_table(
    net: Net,
    *,
    tcp: bool = True,
    udp: bool = True,
    unix: bool = False,
    listening: bool | None = None,
    timers: bool = False,
) -> str:
    """The table: ``listening`` True shows only listeners and unconnected datagram sockets (-l), False only the others
    (ss's default), None all (-a). ``unix`` adds AF_UNIX (-x), ``timers`` adds ss -o's column.
    """
    found = [row for row in rows(net) if (tcp if row.netid == "tcp" else udp)]
    if unix:
        found += unix_rows(net)
    shown = [row for row in found if listening is None or listening == (row.state in ("LISTEN", "UNCONN"))]
    return format_rows(shown, netid=unix or (tcp and udp), timers=timers)


def format_rows(shown: Iterable[Row], *, netid: bool = True, timers: bool = False) -> str:
    """Lay ``shown`` out in columns; addresses are aligned at the colon."""
    table = [
        ("Netid", "State", "Recv-Q", "Send-Q", "Local Address", "Port", "Peer Address", "Port", ""),
        *(
            (
                r.netid,
                r.state,
                str(r.recv_q),
                str(r.send_q),
                *_split(r.local),
                *_split(r.peer),
                _timer_column(r, timers),
            )
            for r in shown
        ),
    ]
    sizes = [max(len(line[column]) for line in table) for column in range(9)]
    found = []
    for kind, state, recv_q, send_q, host, port, peer_host, peer_port, timer in table:
        colon = " " if kind.startswith("u_") else ":"
        text = f"{kind:<{sizes[0]}} " if netid else ""
        text += f"{state:<{sizes[1]}} {recv_q:<{sizes[2]}} {send_q:<{sizes[3]}} "
        text += f"{host:>{sizes[4]}}{colon}{port:<{sizes[5]}} "
        text += f"{peer_host:>{sizes[6]}}{colon}{peer_port:<{sizes[7]}} {timer}"
        found.append(text.rstrip())
    return "\n".join(found)


def _split(name: str) -> tuple[str, str]:
    host, _, port = name.rpartition(":")
    return host, port


def _timer_column(row: Row, timers: bool) -> str:
    return f"timer:({row.timer})" if timers and row.timer else ""
