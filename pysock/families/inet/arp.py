"""ARP: who on this link has an IPv4 address (RFC 826, RFC 5227; net/ipv4/arp.c).

    out:  ArpOps.solicit -> send -> dev.queue_xmit        asked by the neighbour table
    in:   rcv -> _process: answer for our own addresses and those we are a proxy for, learn from the rest

What is answered is decided by arp_ignore, arp_filter and proxy_arp; what source a request names by arp_announce; what
is learnt from whom nobody asked by arp_accept (ip-sysctl.rst). Replies are believed, requests make an entry STALE; an
entry younger than locktime is not overwritten by another answer, which comes from a second owner or a proxy.

Malformed packets are freed and counted in `ArpNet.malformed`.
"""

from __future__ import annotations

from functools import partial

from pysock.core.neighbour import NUD_VALID, UPDATE_OVERRIDE, NeighOps
from pysock.core.neighbour_table import NeighTable
from pysock.core.netdev_events import NETDEV_CHANGEADDR, NETDEV_NOTIFY_PEERS, NETDEV_UP
from pysock.core.skb_data import pskb_may_pull
from pysock.core.skbuff import SkBuff, consume_skb, kfree_skb
from pysock.families.inet import icmp, route
from pysock.families.inet.addr import ANY, is_loopback, is_multicast
from pysock.families.inet.devinet import (
    InDevice,
    InIfaddr,
    confirm_addr,
    in_device,
    inetaddr_chain,
    onlink,
    select_addr,
)
from pysock.families.inet.fib import RT_SCOPE_HOST, RT_SCOPE_LINK, RTN_BROADCAST, RTN_LOCAL, RTN_UNICAST
from pysock.families.inet.net import InetNet
from pysock.uapi.if_ import ARPHRD_ETHER, ARPHRD_IEEE802, IFF_LOOPBACK, IFF_NOARP, IFF_POINTOPOINT
from pysock.uapi.if_ether import ETH_P_ARP, ETH_P_IP
from pysock.uapi.if_packet import PACKET_HOST, PACKET_LOOPBACK, PACKET_OTHERHOST
from pysock.uapi.neighbour import NUD_NOARP, NUD_REACHABLE, NUD_STALE
from pysock.uapi.socket import AF_INET
from pysock.wire.arp import HEADER, HEADER_SIZE, REPLY, REQUEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.neighbour import Neighbour
    from pysock.core.netdevice import NetDevice

_BROADCAST = b"\xff\xff\xff\xff"


class ArpOps(NeighOps):
    """What the neighbour table needs to know of ARP (arp_tbl)."""

    __slots__ = ("inet",)

    family = AF_INET
    protocol = ETH_P_IP
    key_len = 4
    name = "arp_cache"
    sysctl = "net.ipv4.neigh"

    def __init__(self, inet: InetNet) -> None:
        self.inet = inet

    def constructor(self, neigh: Neighbour) -> None:
        """arp_constructor(): some addresses need no question."""
        dev = neigh.dev
        neigh.type = address_type(self.inet, neigh.key)
        if dev.header_ops is None:
            neigh.nud_state = NUD_NOARP
        elif is_multicast(neigh.key):
            neigh.nud_state = NUD_NOARP
            neigh.ha = b"\x01\x00\x5e" + bytes((neigh.key[1] & 0x7F,)) + neigh.key[2:]  # RFC 1112 6.4
        elif dev.flags & (IFF_NOARP | IFF_LOOPBACK):
            neigh.nud_state = NUD_NOARP
            neigh.ha = dev.dev_addr
        elif neigh.type == RTN_BROADCAST or dev.flags & IFF_POINTOPOINT:
            neigh.nud_state = NUD_NOARP
            neigh.ha = dev.broadcast

    def is_multicast(self, key: bytes) -> bool:
        return is_multicast(key)

    def solicit(self, neigh: Neighbour, skb: SkBuff | None) -> None:
        """arp_solicit()."""
        dev = neigh.dev
        target = neigh.key
        to: bytes | None = None
        probes = neigh.probes - neigh.parms.ucast_probes
        if probes < 0:
            if neigh.nud_state & NUD_VALID:
                to = neigh.ha
        elif probes < neigh.parms.app_probes:
            return  # a daemon's turn; who wants it listens to the table
        send(dev, REQUEST, target, self._source(dev, target, skb), to)

    def _source(self, dev: NetDevice, target: bytes, skb: SkBuff | None) -> bytes:
        """Our address in a request: that of the packet that waits, as far as arp_announce lets it be seen."""
        state = in_device(dev)
        announce = max(state.conf.arp_announce, state.all.arp_announce)
        if skb is not None and skb.network_header >= 0 and announce < 2:
            at = skb.network_header + 12
            saddr = bytes(skb.head[at : at + 4])
            if address_type(self.inet, saddr) == RTN_LOCAL and (not announce or onlink(dev, target, saddr)):
                return saddr
        return select_addr(dev, target, RT_SCOPE_LINK)

    def error_report(self, neigh: Neighbour, skb: SkBuff) -> None:
        """arp_error_report(): who sent it hears that the host is unreachable, we ourselves too."""
        icmp.send(self.inet, skb, icmp.DEST_UNREACH, icmp.HOST_UNREACH, 0)
        kfree_skb(skb, "NEIGH_FAILED")

    def evict_nocarrier(self, dev: NetDevice) -> bool:
        state = in_device(dev)
        return bool(state.conf.arp_evict_nocarrier and state.all.arp_evict_nocarrier)

    def proxy_redo(self, skb: SkBuff) -> None:
        _process(arp_of(self.inet), skb, delayed=True)


class ArpNet:
    """A namespace's ARP: its table, and how many malformed packets came."""

    __slots__ = ("inet", "malformed", "ops", "table")

    def __init__(self, inet: InetNet) -> None:
        self.inet = inet
        self.ops = ArpOps(inet)
        self.table = NeighTable(inet.net, self.ops)
        self.malformed = 0


def arp_of(inet: InetNet) -> ArpNet:
    """The ARP of a namespace."""
    state = inet.state["arp"]
    assert isinstance(state, ArpNet)
    return state


def setup(inet: InetNet) -> None:
    """Give a namespace its ARP; after devinet's."""
    arp = ArpNet(inet)
    inet.state["arp"] = arp
    inet.arp = arp.table
    net = inet.net
    net.ptype_base[ETH_P_ARP] = (*net.ptype_base.get(ETH_P_ARP, ()), partial(rcv, arp))
    net.proc["net/arp"] = partial(_proc, inet)
    inetaddr_chain(inet).register(_address_event, name="arp")
    chain = inet.kernel.dev_layer.netdev_chain
    if "arp" not in chain.callbacks():
        chain.register(_netdev_event, priority=-1, name="arp")  # behind the routes and the neighbours


def _proc(inet: InetNet) -> str:
    from pysock.families.inet.arp_ioctl import proc_arp

    return proc_arp(inet)


def address_type(inet: InetNet, address: bytes) -> int:
    """RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST or RTN_UNICAST (inet_addr_type): what the local table says."""
    if address in (ANY, _BROADCAST):
        return RTN_BROADCAST
    if is_multicast(address):
        return 5
    entry = inet.fib.local.lookup(address)
    return RTN_UNICAST if entry is None else entry.type


# --- out --------------------------------------------------------------------------------------------------------------


def send(
    dev: NetDevice,
    operation: int,
    target_ip: bytes,
    sender_ip: bytes,
    to: bytes | None = None,
    target_hw: bytes | None = None,
) -> None:
    """Send an ARP packet from ``dev`` to the link-layer address ``to`` (None: to all) (arp_send, arp_create)."""
    ops = dev.header_ops
    if dev.flags & IFF_NOARP or ops is None:
        return
    hardware = dev.type
    body = b"".join(
        (
            HEADER.pack(hardware, ETH_P_IP, dev.addr_len, 4, operation),
            dev.dev_addr,
            sender_ip,
            bytes(dev.addr_len) if target_hw is None else target_hw,
            target_ip,
        )
    )
    link = ops.build(dev, ETH_P_ARP, dev.broadcast if to is None else to, None) or b""
    skb = SkBuff(link + body, 0, len(link) + len(body))
    skb.protocol = ETH_P_ARP
    skb.mac_header = 0
    skb.network_header = len(link)
    skb.dev = dev
    dev.queue_xmit(skb)


def announce(dev: NetDevice) -> None:
    """Tell the link our addresses on ``dev`` (inetdev_send_gratuitous_arp)."""
    for ifa in in_device(dev).addresses:
        send(dev, REQUEST, ifa.address, ifa.address)


def _netdev_event(event: int, dev: NetDevice) -> None:
    if event == NETDEV_NOTIFY_PEERS and dev.net.has(InetNet):
        announce(dev)
    elif event in (NETDEV_UP, NETDEV_CHANGEADDR) and dev.net.has(InetNet):
        state = in_device(dev)
        if state.conf.arp_notify or state.all.arp_notify:
            announce(dev)


def _address_event(event: int, ifa: InIfaddr) -> None:
    """An address that comes while its device is up is announced like those of a device that comes up."""
    if event == NETDEV_UP and ifa.dev.running:
        state = in_device(ifa.dev)
        if state.conf.arp_notify or state.all.arp_notify:
            send(ifa.dev, REQUEST, ifa.address, ifa.address)


# --- in ---------------------------------------------------------------------------------------------------------------


def rcv(arp: ArpNet, skb: SkBuff) -> None:
    """The handler of ETH_P_ARP (arp_rcv): ``skb.data`` at the ARP header."""
    dev = skb.dev
    assert dev is not None
    if dev.flags & IFF_NOARP or (skb.ext is not None and skb.ext.pkt_type in (PACKET_OTHERHOST, PACKET_LOOPBACK)):
        consume_skb(skb)
        return
    size = HEADER_SIZE + 2 * (dev.addr_len + 4)
    if not pskb_may_pull(skb, size):
        _malformed(arp, skb)
        return
    hardware, protocol, hlen, plen, operation = HEADER.unpack_from(skb.head, skb.data)
    if (
        hlen != dev.addr_len
        or plen != 4
        or protocol != ETH_P_IP
        or (hardware != dev.type and not (dev.type == ARPHRD_ETHER and hardware == ARPHRD_IEEE802))
        or operation not in (REQUEST, REPLY)
    ):
        _malformed(arp, skb)
        return
    _process(arp, skb)


def _malformed(arp: ArpNet, skb: SkBuff) -> None:
    arp.malformed += 1
    kfree_skb(skb, "UNHANDLED_PROTO")


def _process(arp: ArpNet, skb: SkBuff, delayed: bool = False) -> None:
    """arp_process(): ``skb`` is a well-formed request or reply."""
    inet = arp.inet
    dev = skb.dev
    assert dev is not None
    at = skb.data
    head = bytes(skb.head[at : at + HEADER_SIZE + 2 * (dev.addr_len + 4)])
    operation = head[6] << 8 | head[7]
    n = dev.addr_len
    sha, sip = head[8 : 8 + n], head[8 + n : 12 + n]
    tha, tip = head[12 + n : 12 + 2 * n], head[12 + 2 * n : 16 + 2 * n]
    state = in_device(dev)
    if (
        is_multicast(tip)
        or (is_loopback(tip) and not (state.conf.route_localnet or state.all.route_localnet))
        or (sip == tip and (state.conf.drop_gratuitous_arp or state.all.drop_gratuitous_arp))
    ):
        consume_skb(skb)
        return
    if sip == ANY:  # a probe for duplicates (RFC 5227 2.1.1)
        if operation == REQUEST and address_type(inet, tip) == RTN_LOCAL and not _ignored(state, sip, tip):
            send(dev, REPLY, sip, tip, sha, sha)
        consume_skb(skb)
        return
    if operation == REQUEST:
        kind = route.input_type(inet, sip, tip, dev)
        if kind == RTN_LOCAL:
            if not _ignored(state, sip, tip) and not _filtered(inet, state, sip, tip):
                if _learn(arp, sha, sip, dev):
                    send(dev, REPLY, sip, tip, sha, sha)
            consume_skb(skb)
            return
        if kind == RTN_UNICAST and state.conf.forwarding and _is_proxy(arp, state, tip):
            _answer_as_proxy(arp, skb, sha, sip, tip, delayed)
            return
    _update(arp, skb, operation, sha, sip, tha, tip)
    consume_skb(skb)


def _learn(arp: ArpNet, sha: bytes, sip: bytes, dev: NetDevice) -> bool:
    """A request names its sender (neigh_event_ns): whether there is room to remember it."""
    try:
        neigh = arp.table.find(dev, sip)
    except OSError:
        return False
    neigh.update(sha, NUD_STALE, UPDATE_OVERRIDE)
    return True


def _update(arp: ArpNet, skb: SkBuff, operation: int, sha: bytes, sip: bytes, tha: bytes, tip: bytes) -> None:
    """Believe what the packet says of its sender, if we know or want to know him."""
    inet = arp.inet
    dev = skb.dev
    assert dev is not None
    neigh = arp.table.lookup(dev, sip)
    state = in_device(dev)
    accept = max(state.conf.arp_accept, state.all.arp_accept)
    if accept == 2:
        accept = any(ifa.covers(sip) for ifa in state.addresses)
    unicast = address_type(inet, sip) == RTN_UNICAST
    gratuitous = tip == sip and (operation == REQUEST or tha == sha) and unicast
    if neigh is None and accept and (gratuitous or (operation == REPLY and unicast)):
        try:
            neigh = arp.table.create(dev, sip)
        except OSError:
            return
    if neigh is None:
        return
    override = gratuitous or inet.kernel.now > neigh.updated + neigh.parms.locktime
    to_us = skb.ext is None or skb.ext.pkt_type == PACKET_HOST
    new = NUD_REACHABLE if operation == REPLY and to_us else NUD_STALE
    neigh.update(sha, new, UPDATE_OVERRIDE if override else 0)


def _ignored(state: InDevice, sip: bytes, tip: bytes) -> bool:
    """arp_ignore: whether we keep silent about our address ``tip``."""
    mode = max(state.conf.arp_ignore, state.all.arp_ignore)
    dev = state.dev
    if mode == 1:
        return not confirm_addr(dev.net, dev, ANY, tip, RT_SCOPE_HOST)
    if mode == 2:
        return not confirm_addr(dev.net, dev, sip, tip, RT_SCOPE_HOST)
    if mode == 3:
        return not confirm_addr(dev.net, None, ANY, tip, RT_SCOPE_LINK)
    return mode == 8


def _filtered(inet: InetNet, state: InDevice, sip: bytes, tip: bytes) -> bool:
    """arp_filter: answer only on the device that our packets to the asker would take."""
    if not (state.conf.arp_filter or state.all.arp_filter):
        return False
    try:
        rt = route.output(inet, sip, tip)
    except OSError:
        return True
    if rt.dev is state.dev:
        return False
    inet.mibs.tcpext.ArpFilter += 1
    return True


def _is_proxy(arp: ArpNet, state: InDevice, tip: bytes) -> bool:
    """Whether we answer for ``tip`` (arp_fwd_proxy, pneigh_lookup): it must lie behind another device."""
    entry = arp.inet.fib.lookup(tip)
    if entry is None or entry.dev is None or entry.dev is state.dev:
        return False
    return bool(state.conf.proxy_arp or state.all.proxy_arp) or arp.table.proxy_lookup(state.dev, tip) is not None


def _answer_as_proxy(arp: ArpNet, skb: SkBuff, sha: bytes, sip: bytes, tip: bytes, delayed: bool) -> None:
    """Answer a request for somebody else, but not at once, so that he can (RFC 1027). Takes the reference."""
    dev = skb.dev
    assert dev is not None
    known = _learn(arp, sha, sip, dev)
    parms = arp.table.parms_of(dev)
    if delayed or skb.ext is None or skb.ext.pkt_type == PACKET_HOST or not parms.proxy_delay:
        if known:
            send(dev, REPLY, sip, tip, sha, sha)
        consume_skb(skb)
    else:
        arp.table.proxy_enqueue(parms, skb)
