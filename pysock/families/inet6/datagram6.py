"""What UDP, ping and raw sockets of AF_INET6 share, on top of what they have in common with IPv4's
(net/ipv6/datagram.c).

`Datagram6` stands in front of the IPv4 protocol class in each v6 protocol's bases: it speaks v6 addresses, and leaves
v4-mapped ones to the class behind it.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.skb_data import skb_copy_bits
from pysock.core.sock import MsgHdr
from pysock.families.inet.addr import host_text as host_text4
from pysock.families.inet.datagram import DatagramProto, DatagramSock, autobind
from pysock.families.inet.v6part import NOWHERE
from pysock.families.inet6 import flowlabel, ip6_cmsg, ip6_error, mcast_sock, route
from pysock.families.inet6.addr import (
    ANY6,
    LOOPBACK6,
    host_text,
    is_multicast,
    is_v4mapped,
    needs_scope,
    parse,
    v4_of,
    v4mapped,
)
from pysock.families.inet6.inet6_sock import RX_PATHMTU, Pinfo6, adopt_v4, is_mapped, pinfo, set_local
from pysock.families.inet6.ip6_input import incoming_index
from pysock.families.inet6.sockopt6 import pack_mtuinfo
from pysock.uapi import in6
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.socket import MSG_ERRQUEUE, SOL_IPV6
from pysock.uapi.tcp import TCP_ESTABLISHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import Address
    from pysock.families.inet.route import Rtable

_V4_LOOPBACK = v4mapped(b"\x7f\0\0\1")


class Datagram6(DatagramProto):
    """See the module docstring. ``has_ports`` says that the transport header starts with two ports."""

    __slots__ = ()
    has_ports = False

    def connect(self, sk: Any, addr: Address) -> None:
        """Fix the peer (ip6_datagram_connect). ENETUNREACH and other errors of routing, also for a v4-mapped address
        with IPV6_V6ONLY; EINVAL for a link-local address without a device; EAFNOSUPPORT for a real one from a v4-mapped
        source.
        """
        daddr, dport, flowinfo, scope_id = parse(addr)
        part = pinfo(sk)
        autobind(sk)
        sk.reset_flows()
        if daddr == ANY6:
            daddr = _V4_LOOPBACK if is_mapped(sk) else LOOPBACK6
        if is_v4mapped(daddr):
            if part.only:
                raise err(errno.ENETUNREACH)
            if sk.rcv_saddr == NOWHERE and not sk.addr_locked:  # left from another peer
                self.unhash(sk)
                set_local(sk, ANY6)
                self.hash(sk)
            DatagramProto.connect(self, sk, (host_text4(v4_of(daddr)), dport))
            return
        bind_scope(sk, daddr, scope_id)
        if is_mapped(sk):
            raise err(errno.EAFNOSUPPORT)
        oif = sk.bound_dev_if or part.sticky_oif
        if not oif:
            oif = part.mc_index if is_multicast(daddr) else part.unicast_if
        try:
            rt = route.output_for(sk, daddr, part.saddr, oif, part.flow_label, part.prefs, dport)
        except OSError as exc:
            if exc.errno == errno.ENETUNREACH:
                part.inet6.mibs.ip6.OutNoRoutes += 1
            raise
        part.peer_flow = flowinfo if part.send_flow else 0
        self.unhash(sk)
        if part.saddr == ANY6:
            part.saddr = rt.saddr
        if part.rcv_saddr == ANY6:
            part.rcv_saddr = rt.saddr
            sk.saddr = sk.rcv_saddr = NOWHERE
        part.daddr = daddr
        sk.dport = dport
        sk.state = TCP_ESTABLISHED
        sk.dst = rt
        self.hash(sk)

    @staticmethod
    def set_peer(sk: Any, rt: Rtable, dport: int) -> None:
        """IPv4's connect found its way: the v6 half shows it."""
        DatagramProto.set_peer(sk, rt, dport)
        adopt_v4(sk)

    def disconnect(self, sk: Any) -> None:
        """connect() to AF_UNSPEC (__udp_disconnect)."""
        self.unhash(sk)
        part = pinfo(sk)
        part.daddr = ANY6
        if not sk.addr_locked:
            set_local(sk, ANY6)
        DatagramProto.disconnect(self, sk)

    def close(self, sk: Any, deadline: int) -> None:
        mcast_sock.leave_all(sk)
        DatagramProto.close(self, sk, deadline)

    def recvmsg(self, sk: Any, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        """See `DatagramProto.recvmsg`. A path MTU that the program has to know (IPV6_RECVPATHMTU) comes first, with no
        data.
        """
        part: Pinfo6 = sk.pinet6
        if flags & MSG_ERRQUEUE:
            return ip6_error.recv_error(sk, size, flags, msg)
        if part.rxpmtu is not None and part.rxopt & RX_PATHMTU:
            addr, mtu = part.rxpmtu
            part.rxpmtu = None
            if msg is not None:
                msg.name = host_text(addr), 0, 0, 0
                msg.add_control(SOL_IPV6, in6.IPV6_PATHMTU, pack_mtuinfo(addr, sk.bound_dev_if, mtu))
            return b""
        return DatagramProto.recvmsg(self, sk, size, flags, msg)

    def name_of(self, sk: Any, skb: SkBuff) -> Address:
        at = skb.network_header
        port = 0
        if self.has_ports:
            port = int.from_bytes(skb_copy_bits(skb, skb.transport_header - skb.data, 2), "big")
        if skb.protocol == ETH_P_IP:
            return "::ffff:" + host_text4(bytes(skb.head[at + 12 : at + 16])), port, 0, 0
        saddr = bytes(skb.head[at + 8 : at + 24])
        scope_id = incoming_index(pinfo(sk).inet6, skb) if needs_scope(saddr) else 0
        return host_text(saddr), port, 0, scope_id

    def receive_control(self, sk: Any, skb: SkBuff, msg: MsgHdr) -> None:
        ip6_cmsg.receive(sk, skb, msg, self.has_ports)


def bind_scope(sk: DatagramSock, addr: bytes, scope_id: int) -> None:
    """A link-local peer needs a device: the scope id binds the socket to it (ip6_datagram_connect). EINVAL."""
    if not needs_scope(addr):
        return
    if scope_id:
        if sk.bound_dev_if and sk.bound_dev_if != scope_id:
            raise err(errno.EINVAL)
        sk.bound_dev_if = scope_id
    if not sk.bound_dev_if and is_multicast(addr):
        sk.bound_dev_if = pinfo(sk).mc_index
    if not sk.bound_dev_if:
        raise err(errno.EINVAL)


class Destination:
    """Where one datagram goes, and how: what the three protocols find out before they send."""

    __slots__ = ("dport", "flow_label", "hop_limit", "params", "rt", "tclass")

    def __init__(self, rt: route.Rt6, dport: int, params: ip6_cmsg.SendParams6, hop_limit: int, label: int) -> None:
        self.rt = rt
        self.dport = dport
        self.params = params
        self.hop_limit = hop_limit
        self.flow_label = label
        self.tclass = params.tclass


def destination(
    sk: DatagramSock, daddr: bytes, msg: MsgHdr | None, flowinfo: int, scope_id: int, dport: int
) -> Destination:
    """Route a datagram to ``daddr``, which is not v4-mapped, with the control messages of ``msg``.

    Errors of routing and of control messages; EAFNOSUPPORT from a v4-mapped source.
    """
    part = pinfo(sk)
    params = ip6_cmsg.SendParams6(sk, part)
    if scope_id and needs_scope(daddr):
        params.oif = scope_id
    params.flowinfo = flowinfo if part.send_flow else 0
    if msg is not None and msg.control:
        ip6_cmsg.parse_send(sk, msg.control, params)
    oif = params.oif
    if is_multicast(daddr):
        oif = oif or part.mc_index
        hop_limit = part.mc_hops
    else:
        oif = oif or part.unicast_if
        hop_limit = part.hop_limit
    if daddr == ANY6:
        daddr = LOOPBACK6
    if is_v4mapped(params.saddr):
        raise err(errno.EAFNOSUPPORT)
    try:
        rt = route.output_for(sk, daddr, params.saddr, oif, params.flowinfo, part.prefs, dport)
    except OSError as exc:
        if exc.errno == errno.ENETUNREACH:
            part.inet6.mibs.ip6.OutNoRoutes += 1
        raise
    if params.hop_limit >= 0:
        hop_limit = params.hop_limit
    elif hop_limit < 0:
        hop_limit = rt.hop_limit
    tclass = params.flowinfo >> 20
    if tclass:
        params.tclass = tclass
    label = params.flowinfo & 0xFFFFF
    if not label:
        ports = sk.sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
        label = flowlabel.choose(part, rt.saddr + rt.daddr + ports)
    return Destination(rt, dport, params, hop_limit, label)


def mtu_for(part: Pinfo6, rt: route.Rt6) -> int:
    """The longest packet that needs no fragmenting: the path's or, when probing, the device's, and IPV6_MTU's
    (ip6_setup_cork).
    """
    mtu = rt.dev.mtu if part.pmtudisc >= in6.IPV6_PMTUDISC_PROBE else rt.mtu
    return min(mtu, part.frag_size) if part.frag_size else mtu


def may_fragment(part: Pinfo6, dontfrag: bool) -> bool:
    """Whether a datagram above the MTU is fragmented rather than refused."""
    return not dontfrag and part.pmtudisc not in (
        in6.IPV6_PMTUDISC_DO,
        in6.IPV6_PMTUDISC_PROBE,
        in6.IPV6_PMTUDISC_INTERFACE,
    )


def refuse_long(sk: DatagramSock, where: Destination, mtu: int) -> OSError:
    """EMSGSIZE, with what the error queue and IPV6_RECVPATHMTU say of it."""
    part = pinfo(sk)
    rt = where.rt
    if where.params.dontfrag:
        part.rxpmtu = rt.daddr, mtu
    ip6_error.local_error(sk, errno.EMSGSIZE, mtu, rt.daddr, where.dport, rt.dev.ifindex)
    return err(errno.EMSGSIZE)
