"""Ping sockets of AF_INET6: ICMPv6 echo for everybody (SOCK_DGRAM with IPPROTO_ICMPV6; net/ipv6/ping.c).

They share the table of identifiers, and the rule who may have one, with IPv4's (inet.ping).
"""

from __future__ import annotations

import errno
from functools import partial

from pysock.core.errors import err
from pysock.core.skb_copy import skb_clone
from pysock.core.skbuff import SkBuff
from pysock.core.sock import SEND_SHUTDOWN, MsgHdr
from pysock.families.inet.datagram import autobind, queue_rcv, wait_for_room
from pysock.families.inet.ping import PingProto, PingSock, table_of
from pysock.families.inet6.addr import ANY6, is_v4mapped, needs_scope, parse
from pysock.families.inet6.datagram6 import Datagram6, destination
from pysock.families.inet6.inet6_sock import pinfo
from pysock.families.inet6.ip6_error import datagram_error
from pysock.families.inet6.raw6 import put_checksum, send_message
from pysock.uapi.in_ import IPPROTO_ICMPV6
from pysock.uapi.socket import MSG_OOB
from pysock.uapi.tcp import TCP_ESTABLISHED
from pysock.wire.checksum import pseudo_v6
from pysock.wire.icmpv6 import CHECKSUM_OFFSET, ECHO_REQUEST, HEADER_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.core.sock import Address
    from pysock.families.inet6.net import Inet6Net


class Ping6Proto(Datagram6, PingProto):
    """pingv6_prot."""

    __slots__ = ()
    name = "PINGv6"
    receive_control = Datagram6.receive_control
    name_of = Datagram6.name_of

    def connect(self, sk: PingSock, addr: Address) -> None:
        """EAFNOSUPPORT for a v4-mapped address; else as for UDP."""
        if is_v4mapped(parse(addr)[0]):
            raise err(errno.EAFNOSUPPORT)
        Datagram6.connect(self, sk, addr)

    def get_port(self, sk: PingSock, port: int) -> None:
        PingProto.get_port(self, sk, port)
        sk.addr_locked = pinfo(sk).rcv_saddr != ANY6

    def sendmsg(self, sk: PingSock, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        """Send an echo request: ``data`` is the whole ICMPv6 message, whose identifier and checksum are filled in here
        (ping_v6_sendmsg). EINVAL unless it is one, and for a v4-mapped address.
        """
        n = len(data)
        if n > 0xFFFF:
            raise err(errno.EMSGSIZE)
        if n < HEADER_SIZE:
            raise err(errno.EINVAL)
        if flags & MSG_OOB:
            raise err(errno.EOPNOTSUPP)
        if data[0] != ECHO_REQUEST or data[1]:
            raise err(errno.EINVAL)
        autobind(sk)
        part = pinfo(sk)
        if msg is not None and msg.name is not None:
            daddr, _, flowinfo, scope_id = parse(msg.name)
        elif sk.state == TCP_ESTABLISHED:
            daddr, flowinfo, scope_id = part.daddr, part.peer_flow, sk.bound_dev_if
        else:
            raise err(errno.EDESTADDRREQ)
        if is_v4mapped(daddr) or (needs_scope(daddr) and not (scope_id or sk.bound_dev_if or part.mc_index)):
            raise err(errno.EINVAL)
        where = destination(sk, daddr, msg, flowinfo, scope_id, 0)
        if sk.err:
            raise err(sk.take_error())
        if sk.shutdown & SEND_SHUTDOWN:
            raise err(errno.EPIPE)
        wait_for_room(sk, flags)
        message = data[:4] + sk.sport.to_bytes(2, "big") + data[6:]
        pseudo = pseudo_v6(where.rt.saddr, where.rt.daddr, IPPROTO_ICMPV6, n)
        send_message(sk, where, SkBuff(put_checksum(message, CHECKSUM_OFFSET, pseudo), 0, n), IPPROTO_ICMPV6)
        return n


def find(inet6: Inet6Net, ident: int, local: bytes, ifindex: int) -> PingSock | None:
    """Whose an echo message to our address ``local`` is (ping_lookup)."""
    for sk in table_of(inet6.inet).by_ident.get(ident, ()):
        part = sk.pinet6
        if part is not None and part.rcv_saddr in (ANY6, local) and sk.bound_dev_if in (0, ifindex):
            return sk
    return None


def echo_reply(inet6: Inet6Net, skb: SkBuff) -> None:
    """An echo reply that passed ICMPv6's checks (ping_rcv): the socket gets a copy with its ICMPv6 header."""
    head = skb.head
    at = skb.data
    network = skb.network_header
    dev = skb.dev
    assert dev is not None
    sk = find(inet6, head[at + 4] << 8 | head[at + 5], bytes(head[network + 24 : network + 40]), dev.ifindex)
    if sk is not None:
        queue_rcv(sk, skb_clone(skb))


def error(
    inet6: Inet6Net, quoted: bytes, offset: int, type: int, code: int, info: int, offender: bytes, dev: NetDevice
) -> None:
    """What ICMPv6 says about our echo requests (ping_err); see `net.ErrorHandler6`."""
    if quoted[offset] != ECHO_REQUEST or quoted[offset + 1]:
        return
    ident = int.from_bytes(quoted[offset + 4 : offset + 6], "big")
    sk = find(inet6, ident, quoted[8:24], dev.ifindex)
    if sk is not None:
        datagram_error(sk, quoted, offset, 0, type, code, info, offender, dev)


PINGV6_PROT = Ping6Proto()


def setup(inet6: Inet6Net) -> None:
    """Let echo replies and errors about requests find the ping sockets."""
    inet6.echo_reply = partial(echo_reply, inet6)
    inet6.errors[IPPROTO_ICMPV6] = partial(error, inet6)
