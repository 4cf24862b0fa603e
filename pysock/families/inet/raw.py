"""Raw sockets: IP datagrams as they are (raw(7), net/ipv4/raw.c).

A raw socket of a protocol gets a copy of every datagram of that protocol that is for this host, IP header included,
before the transport does. It sends payloads behind a header that the kernel makes, or whole datagrams with IP_HDRINCL.
One of IPPROTO_RAW only sends, and always with its own header.

``InetNet.raw_deliver`` is set only while there are raw sockets that receive: the receive path asks for it.
"""

from __future__ import annotations

import errno
from functools import partial

from pysock.core.errors import err
from pysock.core.skb_copy import skb_clone
from pysock.core.skbuff import SkBuff
from pysock.core.sock import SEND_SHUTDOWN, MsgHdr
from pysock.families.inet import igmp_sock, ip_cmsg, ip_error, ip_ra
from pysock.families.inet.addr import ANY, host_text, is_multicast
from pysock.families.inet.datagram import DatagramProto, DatagramSock, queue_rcv, wait_for_room
from pysock.families.inet.icmp_rate import icmp_of
from pysock.families.inet.nexthop import icmp_says
from pysock.families.inet.raw_output import route_datagram, send_hdrincl, send_payload
from pysock.uapi.in_ import IPPROTO_ICMP, IPPROTO_RAW
from pysock.uapi.mroute import SIOCGETSGCNT, SIOCGETVIFCNT
from pysock.uapi.socket import MSG_OOB, SOL_RAW
from pysock.uapi.tcp import TCP_ESTABLISHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.core.sock import Address, Proto
    from pysock.families.inet.net import InetNet

#: The only option at SOL_RAW (``<linux/icmp.h>``): a mask of ICMP types not to receive.
ICMP_FILTER: Final = 1


class RawSock(DatagramSock):
    """``icmp_filter`` has the bit of each ICMP type that the program does not want."""

    __slots__ = ("icmp_filter", "table")

    def __init__(self, net: Net, family: int, type: int, protocol: int, prot: Proto, creds: Credentials) -> None:
        DatagramSock.__init__(self, net, family, type, protocol, prot, creds)
        self.icmp_filter = 0
        self.table = table_of(self.inet)

    def wants(self, saddr: bytes, daddr: bytes, ifindex: int) -> bool:
        """raw_v4_match(): does a datagram between these addresses concern us?"""
        return (
            self.daddr in (ANY, saddr)
            and self.rcv_saddr in (ANY, daddr)
            and (not self.bound_dev_if or not ifindex or self.bound_dev_if == ifindex)
            and (not is_multicast(daddr) or igmp_sock.wants(self, daddr, saddr, ifindex))
        )


class RawTable:
    """The raw sockets of one namespace by protocol, oldest first."""

    __slots__ = ("by_protocol", "inet")

    def __init__(self, inet: InetNet) -> None:
        self.inet = inet
        self.by_protocol: dict[int, list[RawSock]] = {}

    def hash(self, sk: RawSock) -> None:
        owners = self.by_protocol.setdefault(sk.protocol, [])
        if sk not in owners:
            owners.append(sk)
        self.inet.raw_deliver = self.deliver
        icmp_of(self.inet).raw_error = self.error

    def unhash(self, sk: RawSock) -> None:
        owners = self.by_protocol.get(sk.protocol, [])
        if sk in owners:
            owners.remove(sk)
            if not owners:
                del self.by_protocol[sk.protocol]
        if not self.by_protocol:
            self.inet.raw_deliver = None
            icmp_of(self.inet).raw_error = None

    def deliver(self, skb: SkBuff, protocol: int) -> bool:
        """Give each socket that wants it a clone of ``skb``, whose data is at the transport header (raw_v4_input);
        whether there was one.
        """
        owners = self.by_protocol.get(protocol)
        if not owners:
            return False
        head = skb.head
        at = skb.network_header
        saddr, daddr = bytes(head[at + 12 : at + 16]), bytes(head[at + 16 : at + 20])
        dev = skb.dev
        ifindex = dev.ifindex if dev is not None else 0
        delivered = False
        for sk in owners:
            if sk.wants(saddr, daddr, ifindex):
                delivered = True
                if not (sk.icmp_filter and _filtered(sk, skb)):
                    copy = skb_clone(skb)
                    copy.len += copy.data - at
                    copy.data = at
                    queue_rcv(sk, copy)
        return delivered

    def error(self, quoted: bytes, header_len: int, type: int, code: int, info: int) -> None:
        """What ICMP says about our datagrams (raw_icmp_error, raw_err); see `net.ErrorHandler`."""
        for sk in self.by_protocol.get(quoted[9], ()):
            if not sk.wants(quoted[16:20], quoted[12:16], 0):
                continue
            icmp_says(sk, quoted, type, code, info)
            number, hard = ip_error.meaning(sk, type, code)
            if not number:
                continue
            if sk.recverr:
                payload = quoted if sk.hdrincl else quoted[header_len:]
                name = host_text(quoted[16:20]), 0
                ip_error.icmp_error(sk, number, type, code, info, name, icmp_of(self.inet).offender, payload)
            elif not hard or sk.state != TCP_ESTABLISHED:
                continue
            sk.set_error(number)


def _filtered(sk: RawSock, skb: SkBuff) -> bool:
    """icmp_filter(): is this a type the socket does not want? A datagram too short to tell is not wanted either."""
    if skb.len - skb.data_len < 1:
        return True
    kind = skb.head[skb.data]
    return kind < 32 and bool(sk.icmp_filter >> kind & 1)


def table_of(inet: InetNet) -> RawTable:
    table = inet.state["raw"]
    assert isinstance(table, RawTable)
    return table


class RawProto(DatagramProto):
    """raw_prot."""

    __slots__ = ()
    name = "RAW"

    def hash(self, sk: RawSock) -> None:
        if sk.protocol != IPPROTO_RAW:
            sk.table.hash(sk)

    def unhash(self, sk: RawSock) -> None:
        sk.table.unhash(sk)

    def close(self, sk: RawSock, deadline: int) -> None:
        ip_ra.closed(sk)
        DatagramProto.close(self, sk, deadline)

    def ioctl(self, sk: RawSock, cmd: int, arg: bytes | int) -> bytes | int:
        """Counters of multicast routing, and what all datagram sockets have."""
        if cmd in (SIOCGETVIFCNT, SIOCGETSGCNT):
            from pysock.families.inet.ipmr_sock import mroute_ioctl

            return mroute_ioctl(sk.inet, cmd, arg)
        return DatagramProto.ioctl(self, sk, cmd, arg)

    def get_port(self, sk: RawSock, port: int) -> None:
        """bind() has set the address; there are no ports (raw_bind)."""
        sk.addr_locked = sk.rcv_saddr != ANY

    def disconnect(self, sk: RawSock) -> None:
        protocol = sk.sport
        DatagramProto.disconnect(self, sk)
        sk.sport = protocol
        self.hash(sk)

    def sendmsg(self, sk: RawSock, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        """Send ``data`` as the payload of a datagram, or as the datagram with IP_HDRINCL (raw_sendmsg)."""
        n = len(data)
        if n > 0xFFFF:
            raise err(errno.EMSGSIZE)
        if flags & MSG_OOB:
            raise err(errno.EOPNOTSUPP)
        rt, params = route_datagram(sk, msg)
        if sk.err:
            raise err(sk.take_error())
        if sk.shutdown & SEND_SHUTDOWN:
            raise err(errno.EPIPE)
        wait_for_room(sk, flags)
        if sk.hdrincl:
            send_hdrincl(sk, rt, params, data)
        else:
            send_payload(sk, rt, params, sk.protocol, SkBuff(b"", 0, n, n, (data,) if n else ()))
        return n

    def name_of(self, sk: RawSock, skb: SkBuff) -> Address:
        at = skb.network_header
        return host_text(bytes(skb.head[at + 12 : at + 16])), 0

    def receive_control(self, sk: RawSock, skb: SkBuff, msg: MsgHdr) -> None:
        ip_cmsg.receive(sk, skb, msg, ports=False)

    def setsockopt(self, sk: RawSock, level: int, optname: int, value: bytes) -> None:
        """ICMP_FILTER: up to 4 bytes of mask, of a socket of IPPROTO_ICMP (else EOPNOTSUPP)."""
        self._check_option(sk, level, optname)
        mask = value[:4]
        rest = sk.icmp_filter.to_bytes(4, "little")[len(mask) :]
        sk.icmp_filter = int.from_bytes(mask + rest, "little")

    def getsockopt(self, sk: RawSock, level: int, optname: int, optlen: int) -> bytes:
        self._check_option(sk, level, optname)
        return sk.icmp_filter.to_bytes(4, "little")[:optlen]

    @staticmethod
    def _check_option(sk: RawSock, level: int, optname: int) -> None:
        if level != SOL_RAW or optname != ICMP_FILTER:
            raise err(errno.ENOPROTOOPT)
        if sk.protocol != IPPROTO_ICMP:
            raise err(errno.EOPNOTSUPP)


RAW_PROT = RawProto()


def setup(inet: InetNet) -> None:
    """Give a namespace its raw table, and what shows the multicast routes that some of these sockets make."""
    inet.state["raw"] = RawTable(inet)
    for name in ("ip_mr_vif", "ip_mr_cache"):
        inet.net.proc[f"net/{name}"] = partial(_proc_mroute, inet, name)


def _proc_mroute(inet: InetNet, name: str) -> str:
    from pysock.families.inet.ipmr_sock import PROC

    return PROC[name](inet)
