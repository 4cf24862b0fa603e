"""Raw sockets of AF_INET6 (net/ipv6/raw.c, RFC 3542 3).

A raw socket of a protocol gets a copy of every packet of that protocol that is for this host, without the IPv6 header
and what lies behind it up to that protocol's own. It sends payloads behind headers that the kernel makes, or whole
packets with IPV6_HDRINCL. For ICMPv6, and for others with IPV6_CHECKSUM, the kernel computes and checks the checksum.

``Inet6Net.raw_deliver`` is set only while there are such sockets: the receive path asks for it.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import skb_checksum, skb_copy_bits
from pysock.core.skbuff import CHECKSUM_NONE, SkBuff
from pysock.core.sock import SEND_SHUTDOWN, MsgHdr
from pysock.families.inet import ip_error
from pysock.families.inet.datagram import DatagramSock, charge_send, queue_rcv, wait_for_room
from pysock.families.inet6 import ip6_output
from pysock.families.inet6.addr import ANY6, is_multicast, parse
from pysock.families.inet6.datagram6 import (
    Datagram6,
    Destination,
    destination,
    may_fragment,
    mtu_for,
    refuse_long,
)
from pysock.families.inet6.inet6_sock import pinfo, sockaddr
from pysock.families.inet6.ip6_error import ExtendedError6, meaning
from pysock.families.inet6.mcast_sock import wants
from pysock.families.inet6.net import Inet6Net
from pysock.uapi import in6
from pysock.uapi.in_ import IPPROTO_ICMPV6, IPPROTO_IPV6, IPPROTO_RAW, SO_EE_ORIGIN_ICMP6
from pysock.uapi.mroute import SIOCGETSGCNT, SIOCGETVIFCNT
from pysock.uapi.socket import MSG_OOB, SOL_ICMPV6
from pysock.uapi.tcp import TCP_ESTABLISHED
from pysock.wire.checksum import finish, fold, pseudo_v6
from pysock.wire.icmpv6 import CHECKSUM_OFFSET, PKT_TOOBIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.sock import Proto

_FILTER_SIZE: Final = 32  # struct icmp6_filter: a bit for each type


class Raw6Sock(DatagramSock):
    """``icmp6_filter`` has the bit of each ICMPv6 type that the program does not want. ``checksum`` is where in the
    payload the checksum goes, -1: nowhere.
    """

    __slots__ = ("checksum", "icmp6_filter", "table")

    def __init__(self, net: Net, family: int, type: int, protocol: int, prot: Proto, creds: Credentials) -> None:
        DatagramSock.__init__(self, net, family, type, protocol, prot, creds)
        self.icmp6_filter = 0
        self.checksum = CHECKSUM_OFFSET if protocol == IPPROTO_ICMPV6 else -1
        self.table = table_of(net.get(Inet6Net))

    def takes(self, saddr: bytes, daddr: bytes, ifindex: int) -> bool:
        """raw_v6_match(): does a packet between these addresses concern us?"""
        part = pinfo(self)
        if part.daddr not in (ANY6, saddr) or (self.bound_dev_if and ifindex and self.bound_dev_if != ifindex):
            return False
        return part.rcv_saddr in (ANY6, daddr) or (is_multicast(daddr) and wants(self, daddr, saddr))


class Raw6Table:
    """The raw sockets of one namespace by protocol, oldest first."""

    __slots__ = ("by_protocol", "inet6")

    def __init__(self, inet6: Inet6Net) -> None:
        self.inet6 = inet6
        self.by_protocol: dict[int, list[Raw6Sock]] = {}

    def hash(self, sk: Raw6Sock) -> None:
        owners = self.by_protocol.setdefault(sk.protocol, [])
        if sk not in owners:
            owners.append(sk)
        self.inet6.raw_deliver = self.deliver
        self.inet6.raw_error = self.error

    def unhash(self, sk: Raw6Sock) -> None:
        owners = self.by_protocol.get(sk.protocol, [])
        if sk in owners:
            owners.remove(sk)
            if not owners:
                del self.by_protocol[sk.protocol]
        if not self.by_protocol:
            self.inet6.raw_deliver = self.inet6.raw_error = None

    def deliver(self, skb: SkBuff, protocol: int) -> bool:
        """Give each socket that wants it a clone of ``skb``, whose data is at ``protocol``'s header
        (ipv6_raw_deliver); whether there was one.
        """
        owners = self.by_protocol.get(protocol)
        if not owners:
            return False
        at = skb.network_header
        saddr, daddr = bytes(skb.head[at + 8 : at + 24]), bytes(skb.head[at + 24 : at + 40])
        ifindex = skb.dev.ifindex if skb.dev is not None else 0
        delivered = False
        for sk in list(owners):
            if sk.takes(saddr, daddr, ifindex):
                delivered = True
                if not (protocol == IPPROTO_ICMPV6 and _filtered(sk, skb)) and _checksum_ok(sk, skb, saddr, daddr):
                    queue_rcv(sk, skb_clone(skb))
        return delivered

    def error(
        self,
        protocol: int,
        quoted: bytes,
        offset: int,
        type: int,
        code: int,
        info: int,
        offender: bytes,
        dev: NetDevice,
    ) -> None:
        """What ICMPv6 says about our packets (raw6_icmp_error, rawv6_err); see `Inet6Net.raw_error`."""
        number, hard = meaning(type, code)
        for sk in self.by_protocol.get(protocol, ()):
            part = pinfo(sk)
            if not sk.takes(quoted[24:40], quoted[8:24], dev.ifindex):
                continue
            if type == PKT_TOOBIG:
                hard = part.pmtudisc == in6.IPV6_PMTUDISC_DO
                part.rxpmtu = quoted[24:40], info
            if part.recverr:
                name = sockaddr(quoted[24:40], 0, dev.ifindex)
                pktinfo = quoted[8:24], dev.ifindex
                found = ExtendedError6(number, SO_EE_ORIGIN_ICMP6, type, code, info, name, offender, pktinfo)
                ip_error.queue_error(sk, found, quoted if sk.hdrincl else quoted[offset:])
            elif not hard or sk.state != TCP_ESTABLISHED:
                continue
            sk.set_error(number)


def table_of(inet6: Inet6Net) -> Raw6Table:
    table = inet6.state["raw6"]
    assert isinstance(table, Raw6Table)
    return table


def _filtered(sk: Raw6Sock, skb: SkBuff) -> bool:
    """icmpv6_filter(): is this a type the socket does not want? A packet too short to tell is not wanted either."""
    if not skb.len:
        return True
    return bool(sk.icmp6_filter >> skb_copy_bits(skb, 0, 1)[0] & 1)


def _checksum_ok(sk: Raw6Sock, skb: SkBuff, saddr: bytes, daddr: bytes) -> bool:
    if sk.checksum < 0 or skb.ip_summed != CHECKSUM_NONE:
        return True
    return fold(skb_checksum(skb, 0, skb.len) + pseudo_v6(saddr, daddr, sk.protocol, skb.len)) == 0xFFFF


class Raw6Proto(Datagram6):
    """rawv6_prot. ``sport`` of its sockets is the protocol, as getsockname shows it."""

    __slots__ = ()
    name = "RAWv6"

    def hash(self, sk: Raw6Sock) -> None:
        sk.table.hash(sk)

    def unhash(self, sk: Raw6Sock) -> None:
        sk.table.unhash(sk)

    def close(self, sk: Raw6Sock, deadline: int) -> None:
        mroute = pinfo(sk).inet6.mroute
        if mroute is not None and mroute.sock is sk:
            mroute.stop()
        if sk.protocol == IPPROTO_RAW:
            from pysock.families.inet6 import ip6_ra

            ip6_ra.closed(sk)
        Datagram6.close(self, sk, deadline)

    def ioctl(self, sk: Raw6Sock, cmd: int, arg: bytes | int) -> bytes | int:
        """Counters of multicast routing, and what all datagram sockets have."""
        if cmd in (SIOCGETVIFCNT, SIOCGETSGCNT):
            from pysock.families.inet6.ip6mr_sock import mroute_ioctl

            return mroute_ioctl(pinfo(sk).inet6, cmd, arg)
        return Datagram6.ioctl(self, sk, cmd, arg)

    def get_port(self, sk: Raw6Sock, port: int) -> None:
        """bind() has set the address; there are no ports (rawv6_bind)."""
        sk.addr_locked = pinfo(sk).rcv_saddr != ANY6

    def disconnect(self, sk: Raw6Sock) -> None:
        protocol = sk.sport
        Datagram6.disconnect(self, sk)
        sk.sport = protocol
        self.hash(sk)

    def sendmsg(self, sk: Raw6Sock, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        """Send ``data`` behind an IPv6 header, or as the packet with IPV6_HDRINCL (rawv6_sendmsg).

        The port of the address is 0 or the protocol (any up to 255 for IPPROTO_RAW), else EINVAL.
        """
        n = len(data)
        if n > 0xFFFF:
            raise err(errno.EMSGSIZE)
        if flags & MSG_OOB:
            raise err(errno.EOPNOTSUPP)
        part = pinfo(sk)
        protocol = sk.protocol
        if msg is not None and msg.name is not None:
            daddr, port, flowinfo, scope_id = parse(msg.name)
            if port > 255 or (port and protocol not in (port, IPPROTO_RAW)):
                raise err(errno.EINVAL)
            protocol = port or protocol
        elif sk.state == TCP_ESTABLISHED:
            daddr, flowinfo, scope_id = part.daddr, part.peer_flow, 0
        else:
            raise err(errno.EDESTADDRREQ)
        where = destination(sk, daddr, msg, flowinfo, scope_id, 0)
        if sk.err:
            raise err(sk.take_error())
        if sk.shutdown & SEND_SHUTDOWN:
            raise err(errno.EPIPE)
        wait_for_room(sk, flags)
        if sk.hdrincl:
            _send_hdrincl(sk, where, data)
        else:
            _send_payload(sk, where, data, protocol)
        return n

    # -- options -------------------------------------------------------------------------------------------

    def setsockopt(self, sk: Raw6Sock, level: int, optname: int, value: bytes) -> None:
        """ICMP6_FILTER (up to 32 bytes) of a socket of IPPROTO_ICMPV6; IPV6_CHECKSUM, an even offset or -1, of any
        other; IPV6_HDRINCL.
        """
        if level == SOL_ICMPV6 and optname == in6.ICMPV6_FILTER and sk.protocol == IPPROTO_ICMPV6:
            mask = value[:_FILTER_SIZE]
            rest = sk.icmp6_filter.to_bytes(_FILTER_SIZE, "little")[len(mask) :]
            sk.icmp6_filter = int.from_bytes(mask + rest, "little")
            return
        if level == SOL_ICMPV6 and sk.protocol != IPPROTO_ICMPV6:
            raise err(errno.EOPNOTSUPP)
        if level != IPPROTO_IPV6:
            raise err(errno.ENOPROTOOPT)
        if len(value) < 4:
            raise err(errno.EINVAL)
        number = int.from_bytes(value[:4], "little", signed=True)
        if optname == in6.IPV6_HDRINCL:
            sk.hdrincl = number != 0
        elif sk.protocol == IPPROTO_ICMPV6 or (number > 0 and number & 1):
            raise err(errno.EINVAL)  # RFC 3542 3.1: for ICMPv6 it is always on
        else:
            sk.checksum = max(number, -1)

    def getsockopt(self, sk: Raw6Sock, level: int, optname: int, optlen: int) -> bytes:
        if level == SOL_ICMPV6 and optname == in6.ICMPV6_FILTER and sk.protocol == IPPROTO_ICMPV6:
            return sk.icmp6_filter.to_bytes(_FILTER_SIZE, "little")[:optlen]
        if level == SOL_ICMPV6 and sk.protocol != IPPROTO_ICMPV6:
            raise err(errno.EOPNOTSUPP)
        if level != IPPROTO_IPV6:
            raise err(errno.ENOPROTOOPT)
        number = int(sk.hdrincl) if optname == in6.IPV6_HDRINCL else sk.checksum
        return number.to_bytes(4, "little", signed=True)[:optlen]


def _send_hdrincl(sk: Raw6Sock, where: Destination, data: bytes) -> None:
    """``data`` starts with an IPv6 header, which nobody changes (rawv6_send_hdrinc)."""
    if len(data) > where.rt.mtu:
        raise refuse_long(sk, where, where.rt.mtu)
    if len(data) < ip6_output.HEADER_LEN:
        raise err(errno.EINVAL)
    skb = SkBuff(data, 0, len(data))
    _prepare(sk, where, skb)
    finish_send(sk, ip6_output.send_packet(pinfo(sk).inet6, where.rt, skb, pinfo(sk).mc_loop))


def _send_payload(sk: Raw6Sock, where: Destination, data: bytes, protocol: int) -> None:
    """``data`` behind headers of ours, with its checksum put in. EINVAL when it has no room for that."""
    n = len(data)
    at = sk.checksum
    if at >= 0:
        if at + 2 > n:
            raise err(errno.EINVAL)
        pseudo = pseudo_v6(where.rt.saddr, where.rt.daddr, protocol, n)
        data = put_checksum(data, at, pseudo)
    send_message(sk, where, SkBuff(b"", 0, n, n, (data,) if n else ()), protocol)


def put_checksum(data: bytes, at: int, pseudo: int) -> bytes:
    """``data`` with the checksum of it and of the pseudo header at offset ``at``, whatever stood there."""
    cleared = data[:at] + b"\0\0" + data[at + 2 :]
    skb = SkBuff(cleared, 0, len(cleared))
    check = finish(skb_checksum(skb, 0, len(cleared)) + pseudo)
    return data[:at] + check.to_bytes(2, "big") + data[at + 2 :]


def send_message(sk: DatagramSock, where: Destination, skb: SkBuff, protocol: int) -> None:
    """Send what a ping or raw socket made. EMSGSIZE, ENOBUFS and what the device says."""
    part = pinfo(sk)
    options = where.params.options
    mtu = mtu_for(part, where.rt)
    allowed = may_fragment(part, where.params.dontfrag)
    if skb.len + ip6_output.HEADER_LEN + (options.size() if options else 0) > mtu and not allowed:
        raise refuse_long(sk, where, mtu)
    _prepare(sk, where, skb)
    if protocol == IPPROTO_ICMPV6 and skb.len:
        part.inet6.mibs.icmp6_out(skb_copy_bits(skb, 0, 1)[0])
    result = ip6_output.send_datagram(
        part.inet6,
        where.rt,
        protocol,
        skb,
        tclass=where.tclass,
        hoplimit=where.hop_limit,
        flowlabel=where.flow_label,
        hopopts=options.hopopt if options else b"",
        dstopts=options.dst1opt if options else b"",
        dontfrag=not allowed,
        loop=part.mc_loop,
        mtu=part.frag_size,
    )
    finish_send(sk, result)


def _prepare(sk: DatagramSock, where: Destination, skb: SkBuff) -> None:
    if not where.rt.loopback:
        charge_send(sk, skb)
    where.params.apply(sk, skb)


def finish_send(sk: DatagramSock, result: int) -> None:
    """A full queue is an error for the program only with IPV6_RECVERR (net_xmit_errno)."""
    if result and (result != -errno.ENOBUFS or pinfo(sk).recverr):
        raise err(-result)


RAWV6_PROT = Raw6Proto()


def setup(inet6: Inet6Net) -> None:
    """Give a namespace its raw table."""
    inet6.state["raw6"] = Raw6Table(inet6)
