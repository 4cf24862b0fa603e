"""Output of ping and raw sockets: routing one datagram and sending what the program made (ping_v4_sendmsg,
raw_sendmsg).

UDP has its own (udp_output): it keeps what it finds out. These sockets send rarely, and look everything up each time.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.skbuff import SkBuff
from pysock.core.sock import SOCK_BROADCAST
from pysock.families.inet import ip_cmsg, ip_error, route
from pysock.families.inet.addr import ANY, is_multicast, parse
from pysock.families.inet.datagram import DatagramSock, charge_send
from pysock.families.inet.fib import RTN_BROADCAST
from pysock.families.inet.ip_fragment import df_of, may_fragment, socket_mtu
from pysock.families.inet.ip_output import HEADER_LEN, checked, send_datagram, send_packet
from pysock.uapi.in_ import IPPROTO_ICMP
from pysock.uapi.tcp import TCP_ESTABLISHED
from pysock.wire.checksum import checksum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.sock import MsgHdr


def route_datagram(sk: DatagramSock, msg: MsgHdr | None) -> tuple[route.Rtable, ip_cmsg.SendParams]:
    """Where a datagram of a ping or raw socket goes. EDESTADDRREQ, EINVAL for bad control messages, EACCES for a
    broadcast without SO_BROADCAST, errors of routing. ``ttl`` and ``tos`` of the answer are final.
    """
    inet = sk.inet
    params = ip_cmsg.SendParams(sk)
    params.saddr = sk.saddr
    if msg is not None and msg.name is not None:
        daddr = parse(msg.name)[0]
    elif sk.state == TCP_ESTABLISHED:
        daddr = sk.daddr
    else:
        raise err(errno.EDESTADDRREQ)
    if msg is not None and msg.control:
        ip_cmsg.parse_send(sk, msg.control, params)
    ttl = sk.ttl
    if is_multicast(daddr):
        params.oif = params.oif or sk.mc_index
        if params.saddr == ANY:
            params.saddr = sk.mc_addr
        ttl = sk.mc_ttl
    if params.tos < 0:
        params.tos = sk.tos
    try:
        rt = route.output_for(sk, daddr, params.saddr, params.oif, tos=params.tos, mark=params.mark)
    except OSError as exc:
        if exc.errno == errno.ENETUNREACH:
            inet.mibs.ip.OutNoRoutes += 1
        raise
    if rt.type == RTN_BROADCAST and not sk.flags & SOCK_BROADCAST:
        raise err(errno.EACCES)
    if params.ttl < 0:
        params.ttl = ttl if ttl >= 0 else rt.hoplimit or inet.default_ttl
    return rt, params


def send_payload(sk: DatagramSock, rt: route.Rtable, params: ip_cmsg.SendParams, protocol: int, skb: SkBuff) -> None:
    """Send what a ping or raw socket made, and charge it to the socket. EMSGSIZE, ENOBUFS and what the device says."""
    mtu = socket_mtu(sk, rt)
    fits = skb.len + HEADER_LEN <= mtu
    if skb.len + HEADER_LEN + len(sk.ip_options) > 0xFFFF or not (fits or may_fragment(sk)):
        ip_error.local_error(sk, errno.EMSGSIZE, mtu, rt.daddr, 0)
        raise err(errno.EMSGSIZE)
    _prepare(sk, rt, params, skb)
    if protocol == IPPROTO_ICMP and skb.len:
        sk.inet.mibs.icmp_out(skb.head[0] if skb.len > skb.data_len else skb.frags[0][0])
    frag = df_of(sk, rt, fits)
    ident = 0 if frag else None
    result = send_datagram(
        sk.inet, rt, protocol, skb, tos=params.tos, ttl=params.ttl, frag=frag, ident=ident, loop=sk.mc_loop, mtu=mtu,
        options=sk.ip_options,
    )  # fmt: skip
    _finish(sk, result)


def send_hdrincl(sk: DatagramSock, rt: route.Rtable, params: ip_cmsg.SendParams, data: bytes) -> None:
    """Send ``data``, which starts with an IP header (raw_send_hdrinc, raw(7)): the total length and the checksum are
    always filled in, source address and identification when they are zero.

    EINVAL for a header that does not fit the data, EMSGSIZE above the MTU: the kernel does not fragment for such
    sockets.
    """
    n = len(data)
    header_len = (data[0] & 15) * 4 if data else 0
    if n < HEADER_LEN or header_len > n or header_len < HEADER_LEN:
        raise err(errno.EINVAL)
    mtu = socket_mtu(sk, rt)
    if n > min(0xFFFF, mtu):
        ip_error.local_error(sk, errno.EMSGSIZE, mtu, rt.daddr, 0)
        raise err(errno.EMSGSIZE)
    header = bytearray(data[:header_len])
    header[2:4] = n.to_bytes(2, "big")
    if header[4:6] == b"\0\0" and not header[6] & 0x40:
        header[4:6] = sk.inet.ids.getrandbits(16).to_bytes(2, "big")
    if header[12:16] == ANY:
        header[12:16] = rt.saddr
    header[10:12] = b"\0\0"
    header[10:12] = checksum(header).to_bytes(2, "big")
    payload = data[header_len:]
    skb = SkBuff(b"", 0, len(payload), len(payload), (payload,) if payload else ())
    _prepare(sk, rt, params, skb)
    if header[9] == IPPROTO_ICMP and payload:
        sk.inet.mibs.icmp_out(payload[0])
    _finish(sk, send_packet(sk.inet, rt, bytes(header), skb, sk.mc_loop, mtu))


def _prepare(sk: DatagramSock, rt: route.Rtable, params: ip_cmsg.SendParams, skb: SkBuff) -> None:
    if not rt.loopback:
        charge_send(sk, skb)
    params.apply(sk, skb)


def _finish(sk: DatagramSock, result: int) -> None:
    """A full queue is an error for the program only with IP_RECVERR (net_xmit_errno)."""
    if result != -errno.ENOBUFS or sk.recverr:
        checked(result)
