"""Multicast routing (net/ipv4/ipmr.c; RFC 1112, RFC 1075 5): which links datagrams to a group go on by, as a routing
daemon says, which is told of senders that nobody knows yet.

    ip_input -> Ipmr.input -+-> a route: a copy with a TTL less by each interface that wants it; FORWARD hooks;
                            |            a member of our own behind such an interface gets one too
                            '-> none:    it waits, and the daemon reads an IGMPMSG_NOCACHE from its raw IGMP socket

`ipmr_sock` has what the daemon says: MRT_INIT and so on. A namespace has an `Ipmr` (``InetNet.mroute``) from the first
of these on. Groups of 224.0.0.0/24 are never routed. A router answers a multicast with no ICMP error, ever.

The register interface of PIM is in pim.py. Not here: tunnels as interfaces (ENOBUFS, as without Linux's ipip module);
several tables (MRT_TABLE, ENOPROTOOPT).
"""

from __future__ import annotations

from pysock.core.device import dev_set_allmulti, unregister_netdev
from pysock.core.gso import gso_fits
from pysock.core.netdev_events import NETDEV_UNREGISTER
from pysock.core.netfilter import NF_INET_FORWARD, NFPROTO_IPV4
from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import skb_checksum_help, skb_copy_bits
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff, consume_skb, kfree_skb
from pysock.families.inet import ip_forward, ip_options_rcv, ip_ra, route
from pysock.families.inet.datagram import queue_rcv
from pysock.families.inet.devconf import confs_of
from pysock.families.inet.ip_output import FORWARDED, loop_back
from pysock.families.inet.mroute import Mfc, MrTable, Vif
from pysock.families.inet.net import InetNet
from pysock.uapi.in_ import IPPROTO_IGMP
from pysock.uapi.mroute import (
    IGMPMSG,
    IGMPMSG_WHOLEPKT,
    IGMPMSG_WRVIFWHOLE,
    VIFF_REGISTER,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.datagram import DatagramSock
    from pysock.families.inet.route import Rtable

_DF: Final = 0x40


class Ipmr(MrTable):
    """The multicast routes of one namespace."""

    __slots__ = ("inet",)

    def __init__(self, inet: InetNet) -> None:
        MrTable.__init__(self, inet.kernel, 4)
        self.inet = inet

    # -- in ------------------------------------------------------------------------------------------------

    def input(self, skb: SkBuff, off: int, size: int, ours: bool) -> bool:
        """Route a multicast that came in, its header of ``size`` bytes at ``off`` (ip_mr_input). ``ours``: somebody
        here wants it too. Whether it is still to be delivered; if not, the reference is taken.
        """
        dev = skb.dev
        assert dev is not None
        if skb.cb is FORWARDED:  # our own copy of what we sent on
            if not ours:
                kfree_skb(skb, "NOT_SPECIFIED")
            return ours
        skb.network_header = off
        head = skb.head
        if not ours:
            if size > 20 and ip_ra.take(self.inet, skb, off, size):
                return False
            if head[off + 9] == IPPROTO_IGMP and self.sock is not None:
                queue_rcv(self.sock, skb)  # a report without the router alert
                return False
        origin, group = bytes(head[off + 12 : off + 16]), bytes(head[off + 16 : off + 20])
        mfc = self.lookup(origin, group, dev)
        if ours:
            skb = skb_clone(skb)
        if mfc is None:
            self.wait(skb, origin, group, dev)
        else:
            self.resolved(skb, mfc)
        return ours

    def resolved(self, skb: SkBuff, mfc: Mfc) -> None:
        dev = skb.dev
        assert dev is not None
        ttl = skb.head[skb.data + 8]
        for index in self.forward(skb, mfc, dev, ttl, skb.len, skb.dst is not None):
            self._send(skb_clone(skb), index)
        consume_skb(skb)

    # -- out -----------------------------------------------------------------------------------------------

    def _send(self, skb: SkBuff, index: int) -> None:
        """One copy leaves by one interface (ipmr_queue_fwd_xmit). Takes the reference."""
        inet = self.inet
        mibs = inet.mibs.ip
        vif = self.vif(index)
        if vif is None:
            kfree_skb(skb, "NOT_SPECIFIED")
            return
        if vif.flags & VIFF_REGISTER:
            vif.packets_out += 1
            vif.bytes_out += skb.len
            vif.dev.stats.tx_packets += 1
            vif.dev.stats.tx_bytes += skb.len
            self.report(skb, index, IGMPMSG_WHOLEPKT)
            consume_skb(skb)
            return
        off = skb.data
        size = (skb.head[off] & 15) * 4
        try:
            rt = route.output(inet, bytes(skb.head[off + 16 : off + 20]), oif=vif.dev.ifindex)
        except OSError:
            kfree_skb(skb, "IP_OUTNOROUTES")
            return
        cut = skb.len > rt.mtu and not (skb.gso_size and gso_fits(skb, off, off + size, rt.mtu))
        if cut and skb.head[off + 6] & _DF:
            mibs.FragFails += 1
            kfree_skb(skb, "PKT_TOO_BIG")
            return
        vif.packets_out += 1
        vif.bytes_out += skb.len
        came_in = skb.dev
        skb.dst = None
        ip_forward.decrease_ttl(skb, off, size)
        skb.dev = rt.dev

        def accepted(skb: SkBuff) -> int:
            self._finish(rt, skb, size, cut)
            return 0

        if inet.nf is None:
            accepted(skb)
        else:
            inet.nf.run(NFPROTO_IPV4, NF_INET_FORWARD, skb, came_in, rt.dev, accepted)

    def _finish(self, rt: Rtable, skb: SkBuff, size: int, cut: bool) -> None:
        """ipmr_forward_finish(), ip_mc_output(): members of our own on that link get theirs, whichever link they joined
        on the group's datagrams come from (RFC 1584 2.1).
        """
        self.inet.mibs.ip.ForwDatagrams += 1
        if size > 20:
            skb = ip_options_rcv.forwarded(self.inet, skb, skb.data, size, rt.saddr)
        skb.cb = FORWARDED
        loop_back(rt, skb, skb.data, True)
        ip_forward.finish_accepted(self.inet, rt, skb, rt.mtu, cut)

    # -- the daemon ----------------------------------------------------------------------------------------

    def report(self, skb: SkBuff, vif: int, kind: int) -> bool:
        """ipmr_cache_report(): the datagram's header with a struct igmpmsg in its place, and an IGMP header of type
        ``kind`` behind; or the whole datagram behind the former.
        """
        if self.sock is None:
            return False
        at = skb.network_header
        header = bytes(skb.head[at : at + (skb.head[at] & 15) * 4])
        if kind in (IGMPMSG_WHOLEPKT, IGMPMSG_WRVIFWHOLE):
            vif = self.reg_vif if kind == IGMPMSG_WHOLEPKT else vif
            if skb.ip_summed == CHECKSUM_PARTIAL:
                skb_checksum_help(skb)
            first, rest = bytes((0x45,)) + header[1:20], skb_copy_bits(skb, 0, skb.len)
        else:
            first, rest = header, bytes((kind, 0, 0, 0, 0, 0, 0, 0))
        length = (len(first) + len(rest)).to_bytes(2, "big")
        message = IGMPMSG.pack(
            first[:2] + length + first[4:8], kind, 0, vif & 0xFF, vif >> 8 & 0xFF, first[12:16], first[16:20]
        )
        message += first[20:] + rest
        new = SkBuff(message, 0, len(message))
        new.network_header = 0
        new.transport_header = len(first)
        new.dev = skb.dev
        return queue_rcv(self.sock, new)

    def del_vif(self, index: int) -> Vif:
        vif = MrTable.del_vif(self, index)
        if vif.flags & VIFF_REGISTER:
            unregister_netdev(vif.dev)
        return vif

    def forwarding(self, dev: NetDevice, change: int) -> None:
        dev_set_allmulti(dev, change)
        confs_of(self.inet).change_mc_forwarding(dev, change)

    def count_daemon(self, change: int) -> None:
        confs_of(self.inet).change_mc_forwarding(None, change)

    def start(self, sk: DatagramSock) -> None:
        if self.sock is None:
            ip_ra.control(sk, True, self.stop)
        MrTable.start(self, sk)


def table_of(inet: InetNet) -> Ipmr:
    """The multicast routes of a namespace, made now if there were none (ipmr_get_table)."""
    mroute = inet.mroute
    if mroute is None:
        mroute = inet.mroute = Ipmr(inet)
        chain = inet.kernel.dev_layer.netdev_chain
        if "ipmr" not in chain.callbacks():
            chain.register(_netdev_event, priority=1, name="ipmr")  # while the device still has its settings
    return mroute


def _netdev_event(event: int, dev: NetDevice) -> None:
    if event == NETDEV_UNREGISTER and dev.net.has(InetNet):
        mroute = dev.net.get(InetNet).mroute
        if mroute is not None:
            mroute.device_gone(dev)
