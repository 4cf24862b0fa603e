"""UDP (RFC 768, udp(7)): its sockets, and what each call on one does.

    down:  sendmsg -> udp_output.sendmsg: a remembered flow or a new one, one header of Ethernet, IP and UDP -> device
    up:    ip_rcv -> udp_input.make_early's line, or udp_input.rcv -> UdpTable.lookup
           -> the socket's receive_queue -> recvmsg

Payload travels by reference both ways: the bytes object that a program sends over loopback is the one another receives.
Checksums are left to the device (CHECKSUM_PARTIAL) and verified on arrival where nobody vouches for them.

With UDP_SEGMENT one send is many datagrams in one packet, which is cut as late as possible (core/gso.py); with UDP_GRO
one receive gives what came so, or was glued together on the way in (core/gro.py).

UDP-Lite is the same with other checksums, and stands in udplite.

Not here: encapsulation (UDP_ENCAP).
"""

from __future__ import annotations

import errno
import sys
from contextlib import suppress
from functools import partial

from pysock.core.errors import err
from pysock.core.skbuff import SKB_OVERHEAD, SkBuff, consume_skb
from pysock.core.sockopt_set import SOCK_RECV_EXTRAS, SOCK_UDP_GRO, set_flag
from pysock.families.inet import ip_cmsg, reuseport, udp_output
from pysock.families.inet.addr import ANY
from pysock.families.inet.datagram import DatagramProto, DatagramSock
from pysock.families.inet.udp_table import UdpTable
from pysock.uapi.in_ import IPPROTO_UDP
from pysock.uapi.socket import MSG_DONTWAIT, SOL_UDP, SOL_UDPLITE
from pysock.uapi.udp import (
    UDP_CORK,
    UDP_GRO,
    UDP_NO_CHECK6_RX,
    UDP_NO_CHECK6_TX,
    UDP_SEGMENT,
    UDPLITE_RECV_CSCOV,
    UDPLITE_SEND_CSCOV,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pysock.core.capability import Credentials
    from pysock.core.filter import BpfProgram
    from pysock.core.net import Net
    from pysock.core.sock import Address, MsgHdr, Proto
    from pysock.families.inet.net import InetNet


def table_of(inet: InetNet) -> UdpTable:
    """The UDP sockets of a namespace."""
    table = inet.state["udp"]
    assert isinstance(table, UdpTable)
    return table


class UdpSock(DatagramSock):
    """``corked`` holds a datagram in the making (UDP_CORK, MSG_MORE): its flow, its pieces so far, and what its first
    send said. ``gso_size`` is UDP_SEGMENT's; ``no_check6_tx`` and ``no_check6_rx``: IPv6 without checksums.
    """

    __slots__ = ("cork", "corked", "gso_size", "no_check6_rx", "no_check6_tx", "table")

    def __init__(self, net: Net, family: int, type: int, protocol: int, prot: Proto, creds: Credentials) -> None:
        DatagramSock.__init__(self, net, family, type, protocol, prot, creds)
        self.table = table_of(self.inet)
        self.cork = False
        self.corked: tuple[Any, list[bytes], Any] | None = None  # Any: flows of IPv4 and of IPv6 differ
        self.gso_size = 0
        self.no_check6_tx = self.no_check6_rx = False


class UdpProto(DatagramProto):
    """udp_prot."""

    __slots__ = ()
    name = "UDP"

    # -- the name ------------------------------------------------------------------------------------------

    def hash(self, sk: UdpSock) -> None:
        if sk.sport:
            sk.table.hash(sk)

    def unhash(self, sk: UdpSock) -> None:
        sk.table.unhash(sk)

    def reuseport_changed(self, sk: UdpSock, program: BpfProgram | None) -> None:
        reuseport.share(sk.table.group_of(sk), program)

    def filter_changed(self, sk: UdpSock) -> None:
        """A socket with a filter stays off the short way: the table remembers no flow of it."""
        sk.table.early.clear()

    def get_port(self, sk: UdpSock, port: int) -> None:
        sk.table.get_port(sk, port)
        sk.addr_locked = sk.rcv_saddr != ANY
        sk.port_locked = port != 0
        sk.reset_flows()

    # -- data ----------------------------------------------------------------------------------------------

    def sendmsg(self, sk: UdpSock, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        return udp_output.sendmsg(sk, data, flags, msg)

    def recvmsg(self, sk: UdpSock, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        """See `DatagramProto.recvmsg`; here is the plain case: something is there, take it."""
        queue = sk.receive_queue
        if not queue or sk.err or flags & ~MSG_DONTWAIT:
            return DatagramProto.recvmsg(self, sk, size, flags, msg)
        skb = queue[0]
        n = skb.len
        frags = skb.frags
        if (
            n > size
            or skb.data_len != n
            or len(frags) != 1
            or type(frags[0]) is not bytes
            or sk.cmsg_flags
            or sk.flags & SOCK_RECV_EXTRAS
        ):
            return DatagramProto.recvmsg(self, sk, size, flags, msg)
        queue.popleft()
        head = skb.head
        sk.rmem_alloc -= SKB_OVERHEAD + len(head) + n
        table = sk.table
        table.mib.InDatagrams += 1
        if msg is not None:
            at = skb.network_header
            if type(head) is bytes and skb.transport_header - at == 20:  # addresses and ports are neighbours
                key = head[at + 12 : at + 24]
                msg.name = table.names.get(key) or table.name(key)
            else:
                msg.name = self.name_of(sk, skb)
        if skb.ext is not None or skb.shinfo is not None:
            consume_skb(skb)
        return frags[0]

    def name_of(self, sk: UdpSock, skb: SkBuff) -> Address:
        head = skb.head
        at = skb.network_header + 12
        to = skb.transport_header
        return sk.table.name(bytes(head[at : at + 8] + head[to : to + 4]))

    def receive_control(self, sk: UdpSock, skb: SkBuff, msg: MsgHdr) -> None:
        ip_cmsg.receive(sk, skb, msg, ports=True)

    def consumed(self, sk: UdpSock, skb: SkBuff) -> None:
        sk.table.mib.InDatagrams += 1

    def close(self, sk: UdpSock, deadline: int) -> None:
        sk.corked = None
        DatagramProto.close(self, sk, deadline)

    # -- options -------------------------------------------------------------------------------------------

    def setsockopt(self, sk: UdpSock, level: int, optname: int, value: bytes) -> None:
        """UDP_CORK, UDP_SEGMENT, UDP_GRO, UDP_NO_CHECK6_TX and _RX, at SOL_UDP or SOL_UDPLITE; ENOPROTOOPT for anything
        else, EINVAL for less than an int or a size beyond 65535 (udp_lib_setsockopt).
        """
        if level not in (SOL_UDP, SOL_UDPLITE):
            raise err(errno.ENOPROTOOPT)
        if len(value) < 4:
            raise err(errno.EINVAL)
        number = int.from_bytes(value[:4], sys.byteorder, signed=True)
        if optname == UDP_CORK:
            sk.cork = number != 0
            sk.flows.clear()
            if not sk.cork:
                with suppress(OSError):  # nobody asks what became of it
                    self.push_pending(sk)
        elif optname == UDP_SEGMENT:
            if not 0 <= number <= 0xFFFF:
                raise err(errno.EINVAL)
            sk.gso_size = number
            sk.flows.clear()
        elif optname == UDP_GRO:
            set_flag(sk, SOCK_UDP_GRO, number != 0)
            if number:
                sk.table.offer_gro()
        elif optname == UDP_NO_CHECK6_TX:
            sk.no_check6_tx = number != 0
            sk.flows.clear()
        elif optname == UDP_NO_CHECK6_RX:
            sk.no_check6_rx = number != 0
        else:
            raise err(errno.ENOPROTOOPT)

    def push_pending(self, sk: UdpSock) -> None:
        """Send what was corked."""
        udp_output.push_pending(sk)

    def getsockopt(self, sk: UdpSock, level: int, optname: int, optlen: int) -> bytes:
        """The same, and UDP-Lite's options, which are 0 here (udp_lib_getsockopt); ENOPROTOOPT for anything else."""
        if level not in (SOL_UDP, SOL_UDPLITE):
            raise err(errno.ENOPROTOOPT)
        if optname == UDP_CORK:
            number = int(sk.cork)
        elif optname == UDP_SEGMENT:
            number = sk.gso_size
        elif optname == UDP_GRO:
            number = int(sk.flags & SOCK_UDP_GRO != 0)
        elif optname == UDP_NO_CHECK6_TX:
            number = int(sk.no_check6_tx)
        elif optname == UDP_NO_CHECK6_RX:
            number = int(sk.no_check6_rx)
        elif optname in (UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV):
            number = 0
        else:
            raise err(errno.ENOPROTOOPT)
        return number.to_bytes(4, sys.byteorder)[:optlen]


UDP_PROT = UdpProto()


def setup(inet: InetNet) -> None:
    """Give a namespace its UDP table and handlers."""
    from pysock.families.inet import udp_input

    table = inet.state["udp"] = UdpTable(inet, "udp", inet.mibs.udp)
    inet.protos[IPPROTO_UDP] = partial(udp_input.rcv, table)
    inet.errors[IPPROTO_UDP] = udp_input.ErrorInput(table)
