"""Multicast routing of IPv6 (net/ipv6/ip6mr.c): `inet/ipmr.py`'s sister, with the same tables (`inet/mroute.py`).

    ip6_input -> Ip6mr.input -> a route: a copy with a hop less by each interface that wants it
                                none:    it waits, and the daemon reads a MRT6MSG_NOCACHE from its raw ICMPv6 socket

A namespace has an `Ip6mr` (``Inet6Net.mroute``) from the first option on that a daemon sets (ip6mr_sock.py); packets
are routed while there is a daemon. Groups of node and link scope never are, and MLD messages to others are the
daemon's. Unlike IPv4, a packet too long for a link is answered (RFC 8200 5: "packet too big" is the only way to know).

Not here: PIM's register interface (EINVAL, as without CONFIG_IPV6_PIMSM_V2), several tables.
"""

from __future__ import annotations

from pysock.core.device import dev_set_allmulti
from pysock.core.netdev_events import NETDEV_UNREGISTER
from pysock.core.skb_copy import skb_clone, skb_cow_head
from pysock.core.skb_data import skb_copy_bits
from pysock.core.skbuff import SkBuff, consume_skb, kfree_skb, skb_push
from pysock.families.inet.datagram import queue_rcv
from pysock.families.inet.mroute import Mfc, MrTable
from pysock.families.inet6 import icmp6, ip6_output
from pysock.families.inet6.addr import SCOPE_LINKLOCAL
from pysock.families.inet6.addrconf import addrconf_of
from pysock.families.inet6.devconf import idev_of
from pysock.families.inet6.ip6_cb import cb_of, need_cb
from pysock.families.inet6.net import Inet6Net
from pysock.families.inet6.route import direct
from pysock.uapi.in_ import IPPROTO_ICMPV6
from pysock.uapi.mroute import MRT6MSG
from pysock.wire.icmpv6 import MLD2_REPORT, MLD_DONE, MLD_QUERY, MLD_REPORT, PKT_TOOBIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice

_HEADER: Final = 40
_MLD: Final = (MLD_QUERY, MLD_REPORT, MLD_DONE, MLD2_REPORT)


class Ip6mr(MrTable):
    """The multicast routes of one namespace."""

    __slots__ = ("inet6",)

    def __init__(self, inet6: Inet6Net) -> None:
        MrTable.__init__(self, inet6.net.kernel, 16)
        self.inet6 = inet6

    def wants(self, skb: SkBuff, group: bytes) -> bool:
        """Whether packets to ``group`` are routed, and this one was not before (ip6_mc_input)."""
        cb = cb_of(skb)
        routed = cb is not None and cb.forwarded
        return self.sock is not None and group[1] & 0xF > SCOPE_LINKLOCAL and not routed

    def input(self, skb: SkBuff, origin: bytes, group: bytes) -> None:
        """Route a multicast that came in, ``skb.data`` behind its IPv6 header (ip6_mr_input). Takes the reference."""
        dev = skb.dev
        assert dev is not None
        skb_push(skb, skb.data - skb.network_header)
        mfc = self.lookup(origin, group, dev)
        if mfc is None:
            self.wait(skb, origin, group, dev)
        else:
            self.resolved(skb, mfc)

    def resolved(self, skb: SkBuff, mfc: Mfc) -> None:
        dev = skb.dev
        assert dev is not None
        for index in self.forward(skb, mfc, dev, skb.head[skb.data + 7], skb.len):
            self._send(skb_clone(skb), index)
        consume_skb(skb)

    def _send(self, skb: SkBuff, index: int) -> None:
        """One copy leaves by one interface (ip6mr_forward2). Takes the reference."""
        inet6 = self.inet6
        mibs = inet6.mibs.ip6
        vif = self.vif(index)
        if vif is None:
            kfree_skb(skb, "NOT_SPECIFIED")
            return
        at = skb.data
        rt = direct(inet6, vif.dev, bytes(skb.head[at + 8 : at + 24]), bytes(skb.head[at + 24 : at + 40]))
        if skb.len > rt.mtu and not skb.gso_size:
            icmp6.send(inet6, skb, PKT_TOOBIG, 0, rt.mtu)
            mibs.FragFails += 1
            kfree_skb(skb, "PKT_TOO_BIG")
            return
        vif.packets_out += 1
        vif.bytes_out += skb.len
        came_in = skb.dev
        skb.dst = None
        skb_cow_head(skb, 0)
        assert isinstance(skb.head, bytearray)
        skb.head[skb.network_header + 7] -= 1
        need_cb(skb).forwarded = True
        mibs.OutForwDatagrams += 1
        ip6_output.finish(inet6, rt, b"", skb, _HEADER, came_in=came_in)

    # -- the daemon ----------------------------------------------------------------------------------------

    def report(self, skb: SkBuff, vif: int, kind: int) -> bool:
        """ip6mr_cache_report(): a struct mrt6msg, and as in Linux 40 bytes of no meaning behind it."""
        if self.sock is None:
            return False
        at = skb.network_header
        addresses = bytes(skb.head[at + 8 : at + 40])
        message = MRT6MSG.pack(0, kind, vif, addresses[:16], addresses[16:]) + bytes(_HEADER)
        new = SkBuff(message, 0, len(message))
        new.network_header = new.transport_header = 0
        new.dev = skb.dev
        return queue_rcv(self.sock, new)

    def forwarding(self, dev: NetDevice, change: int) -> None:
        dev_set_allmulti(dev, change)
        idev = idev_of(dev)
        if idev is not None:
            idev.conf.mc_forwarding += change
            self._show(idev.sysctl_dir, idev.conf.mc_forwarding)

    def _show(self, directory: str, value: int) -> None:
        if directory:
            self.inet6.net.sysctl.show(f"{directory}.mc_forwarding", value)

    def count_daemon(self, change: int) -> None:
        conf = addrconf_of(self.inet6).all
        conf.mc_forwarding += change
        self._show("net.ipv6.conf.all", conf.mc_forwarding)


def is_mld(skb: SkBuff, nexthdr: int) -> bool:
    """Whether a packet with a router alert, its data behind the hop-by-hop options, is one of MLD's."""
    cb = cb_of(skb)
    alert = cb is not None and cb.router_alert
    return alert and nexthdr == IPPROTO_ICMPV6 and skb.len > 0 and skb_copy_bits(skb, 0, 1)[0] in _MLD


def table_of(inet6: Inet6Net) -> Ip6mr:
    """The multicast routes of a namespace, made now if there were none (ip6mr_get_table)."""
    mroute = inet6.mroute
    if mroute is None:
        mroute = inet6.mroute = Ip6mr(inet6)
        chain = inet6.net.kernel.dev_layer.netdev_chain
        if "ip6mr" not in chain.callbacks():
            chain.register(_netdev_event, priority=1, name="ip6mr")  # while the device still has its settings
    return mroute


def _netdev_event(event: int, dev: NetDevice) -> None:
    if event == NETDEV_UNREGISTER and dev.net.has(Inet6Net):
        mroute = dev.net.get(Inet6Net).mroute
        if mroute is not None:
            mroute.device_gone(dev)
