"""UDP over IPv6 (udpv6_prot): what is different from inet.udp, whose table, queues and options it shares.

    down:  sendmsg -> udp6_output.sendmsg; to a v4-mapped address, inet.udp_output.sendmsg
    up:    ip6_input.deliver -> udp6_input.rcv -> UdpTable.lookup -> the socket's receive_queue -> recvmsg
           a dual-stack socket is in the table for IPv4 too, and gets its datagrams from inet.udp_input
"""

from __future__ import annotations

from functools import partial

from pysock.core.skbuff import SKB_OVERHEAD, consume_skb
from pysock.core.sockopt_set import SOCK_RECV_EXTRAS
from pysock.families.inet.udp import UdpProto, UdpSock, table_of
from pysock.families.inet6 import udp6_output
from pysock.families.inet6.addr import ANY6
from pysock.families.inet6.datagram6 import Datagram6
from pysock.families.inet6.inet6_sock import pinfo
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.in_ import IPPROTO_UDP
from pysock.uapi.socket import MSG_DONTWAIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import MsgHdr
    from pysock.families.inet6.net import Inet6Net


class Udp6Proto(Datagram6, UdpProto):
    """udpv6_prot."""

    __slots__ = ()
    name = "UDPv6"
    has_ports = True
    receive_control = Datagram6.receive_control

    def get_port(self, sk: UdpSock, port: int) -> None:
        UdpProto.get_port(self, sk, port)
        sk.addr_locked = pinfo(sk).rcv_saddr != ANY6

    def sendmsg(self, sk: UdpSock, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        return udp6_output.sendmsg(sk, data, flags, msg)

    def recvmsg(self, sk: UdpSock, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        """See `Datagram6.recvmsg`; here is the plain case, as in inet.udp: something is there, take it."""
        queue = sk.receive_queue
        if not queue or sk.err or flags & ~MSG_DONTWAIT or sk.cmsg_flags or sk.flags & SOCK_RECV_EXTRAS:
            return Datagram6.recvmsg(self, sk, size, flags, msg)
        skb = queue[0]
        n = skb.len
        frags = skb.frags
        head = skb.head
        at = skb.network_header
        if (
            n > size
            or skb.data_len != n
            or len(frags) != 1
            or type(frags[0]) is not bytes
            or type(head) is not bytes
            or skb.protocol != ETH_P_IPV6
            or skb.transport_header - at != 40  # addresses and ports are neighbours
            or head[at + 8] == 0xFE  # a link-local sender's name needs the device
        ):
            return Datagram6.recvmsg(self, sk, size, flags, msg)
        queue.popleft()
        sk.rmem_alloc -= SKB_OVERHEAD + len(head) + n
        table = sk.table
        table.mib6.InDatagrams += 1
        if msg is not None:
            key = head[at + 8 : at + 44]
            msg.name = table.names.get(key) or table.remember_name(key, self.name_of(sk, skb))
        if skb.ext is not None or skb.shinfo is not None:
            consume_skb(skb)
        return frags[0]

    def push_pending(self, sk: UdpSock) -> None:
        udp6_output.push_pending(sk)

    def consumed(self, sk: UdpSock, skb: SkBuff) -> None:
        mib = sk.table.mib6 if skb.protocol == ETH_P_IPV6 else sk.table.mib
        mib.InDatagrams += 1


UDPV6_PROT = Udp6Proto()


def setup(inet6: Inet6Net) -> None:
    """Let IPv6's datagrams, and errors about them, find the sockets of the namespace's UDP table."""
    from pysock.families.inet6 import udp6_input

    table = table_of(inet6.inet)
    table.mib6 = inet6.mibs.udp6
    inet6.udp_early = udp6_input.make_early(table, inet6)
    inet6.protos[IPPROTO_UDP] = partial(udp6_input.rcv, table, inet6)
    inet6.errors[IPPROTO_UDP] = partial(udp6_input.error, table, inet6)
