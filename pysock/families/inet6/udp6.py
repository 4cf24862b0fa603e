"""UDP over IPv6 (udpv6_prot): what is different from inet.udp, whose table, queues and options it shares.

    down:  sendmsg -> udp6_output.sendmsg; to a v4-mapped address, inet.udp_output.sendmsg
    up:    ip6_input.deliver -> udp6_input.rcv -> UdpTable.lookup -> the socket's receive_queue -> recvmsg
           a dual-stack socket is in the table for IPv4 too, and gets its datagrams from inet.udp_input
"""

from __future__ import annotations

from functools import partial

from pysock.families.inet.udp import UdpProto, UdpSock, table_of
from pysock.families.inet6 import udp6_output
from pysock.families.inet6.addr import ANY6
from pysock.families.inet6.datagram6 import Datagram6
from pysock.families.inet6.inet6_sock import pinfo
from pysock.uapi.in_ import IPPROTO_UDP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.sock import MsgHdr
    from pysock.families.inet6.net import Inet6Net


class Udp6Proto(Datagram6, UdpProto):
    """udpv6_prot."""

    __slots__ = ()
    name = "UDPv6"
    has_ports = True
    recvmsg = Datagram6.recvmsg
    receive_control = Datagram6.receive_control

    def get_port(self, sk: UdpSock, port: int) -> None:
        UdpProto.get_port(self, sk, port)
        sk.addr_locked = pinfo(sk).rcv_saddr != ANY6

    def sendmsg(self, sk: UdpSock, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        return udp6_output.sendmsg(sk, data, flags, msg)

    def push_pending(self, sk: UdpSock) -> None:
        udp6_output.push_pending(sk)

    def consumed(self, sk: UdpSock) -> None:
        sk.table.mib6.InDatagrams += 1


UDPV6_PROT = Udp6Proto()


def setup(inet6: Inet6Net) -> None:
    """Let IPv6's datagrams, and errors about them, find the sockets of the namespace's UDP table."""
    from pysock.families.inet6 import udp6_input

    table = table_of(inet6.inet)
    table.mib6 = inet6.mibs.udp6
    inet6.protos[IPPROTO_UDP] = partial(udp6_input.rcv, table, inet6)
    inet6.errors[IPPROTO_UDP] = partial(udp6_input.error, table, inet6)
