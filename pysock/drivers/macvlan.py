"""macvlan: several Ethernet devices with addresses of their own over one. drivers/net/macvlan.c, ip-link(8).

    create_device(net, "macvlan", "eth0m", link=eth0, mode="bridge")

What the lower device receives goes by its destination address to one of them, a group's to all that want it, and the
lower device keeps a copy of those. What one sends leaves through the lower device; what happens between two of them is
the mode's business:

    private    nothing passes, not even what a switch sent back
    vepa       everything goes out; a reflective relay sends back what is for a neighbour
    bridge     passes directly
    passthru   the only one on its lower device, with whose address it receives all that this receives
    source     receives what comes from listed senders, whomever it is for; a copy, unless nodst is set

Devices follow the lower one's carrier and MTU and go with it; it may live in another namespace. Not here: the queue for
broadcasts (bc_queue): they are delivered at once, through the backlog.
"""

from __future__ import annotations

import errno
from contextlib import suppress

from pysock.core.device import (
    RX_HANDLER_ANOTHER,
    RX_HANDLER_CONSUMED,
    RX_HANDLER_PASS,
    Driver,
    NetDevice,
    dev_set_mac_address,
    dev_set_promiscuity,
    netdev_rx_handler_register,
    netdev_rx_handler_unregister,
    netif_carrier_off,
)
from pysock.core.device_ops import NETDEV_TX_OK
from pysock.core.errors import err
from pysock.core.eth import eth_random_addr, eth_type_trans, ether_setup, is_valid_ether_addr
from pysock.core.ethtool_types import DrvInfo
from pysock.core.netdev_events import NETDEV_CHANGE, NETDEV_CHANGEADDR, NETDEV_DOWN, NETDEV_UP
from pysock.core.netdev_features import NETIF_F_LLTX
from pysock.core.netdev_upper import (
    netdev_upper_dev_link,
    netdev_upper_dev_unlink,
    netif_stacked_transfer_operstate,
)
from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import pskb_may_pull
from pysock.core.skbuff import consume_skb, kfree_skb, skb_orphan
from pysock.core.stacked import STACKED_FEATURES, StackedEthtool, StackedOps, check_lower, stack_on, stacked_event
from pysock.uapi.if_ import ARPHRD_ETHER, IFF_ALLMULTI, IFF_LOOPBACK, IFF_PROMISC
from pysock.uapi.if_ether import ETH_HLEN, ETH_MAX_MTU, ETH_MIN_MTU
from pysock.uapi.if_packet import PACKET_BROADCAST, PACKET_HOST, PACKET_MULTICAST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.skbuff import SkBuff

PRIVATE = "private"
VEPA = "vepa"
BRIDGE = "bridge"
PASSTHRU = "passthru"
SOURCE = "source"
MODES = (PRIVATE, VEPA, BRIDGE, PASSTHRU, SOURCE)


class Port:
    """A lower device and the macvlans on it (struct macvlan_port); `receive` is its rx_handler. ``by_address`` has
    those that are up, ``by_source`` those of source mode by the senders they want, ``own`` the address that the lower
    device had before a passthru one changed it.
    """

    __slots__ = ("by_address", "by_source", "lower", "own", "passthru", "vlans")

    def __init__(self, lower: NetDevice, passthru: bool) -> None:
        self.lower = lower
        self.passthru = passthru
        self.own = lower.dev_addr
        self.vlans: list[MacvlanOps] = []
        self.by_address: dict[bytes, MacvlanOps] = {}
        self.by_source: dict[bytes, list[MacvlanOps]] = {}

    def receive(self, skb: SkBuff) -> int:
        """macvlan_handle_frame()."""
        mac = skb.mac_header
        if mac < 0:
            return RX_HANDLER_PASS  # no link-layer header, so no addresses
        head = skb.head
        dst = bytes(head[mac : mac + 6])
        if self.by_source and self._to_listeners(skb, dst, bytes(head[mac + 6 : mac + 12])):
            consume_skb(skb)
            return RX_HANDLER_CONSUMED
        if dst[0] & 1:
            return self._group(skb, dst, bytes(head[mac + 6 : mac + 12]))
        vlan = self.vlans[0] if self.passthru else self.by_address.get(dst)
        if vlan is None or vlan.mode == SOURCE:
            return RX_HANDLER_PASS
        if not vlan.dev.running:
            kfree_skb(skb, "DEV_READY")
            return RX_HANDLER_CONSUMED
        vlan.count(skb)
        skb.pkt_type = PACKET_HOST
        skb.dev = vlan.dev
        return RX_HANDLER_ANOTHER

    def _group(self, skb: SkBuff, dst: bytes, src: bytes) -> int:
        """For several, the lower device among them."""
        source = self.by_address.get(src)
        if source is None:  # from outside
            self._spread(skb, dst, (PRIVATE, VEPA, PASSTHRU, BRIDGE), None)
        elif source.mode == VEPA:  # a relay sent it back: those of bridge mode had no other way to get it
            self._spread(skb, dst, (VEPA, BRIDGE), source)
        elif source.mode == BRIDGE:
            self._spread(skb, dst, (VEPA,), source)  # its own kind have it already
        else:  # it comes back to its sender alone
            skb.dev = source.dev
            skb.pkt_type = source.group_type(dst)
            source.deliver(skb)
            return RX_HANDLER_CONSUMED
        return RX_HANDLER_PASS

    def _to_listeners(self, skb: SkBuff, dst: bytes, src: bytes) -> bool:
        """macvlan_forward_source(): a clone to each that wants to hear this sender. True when one of them wants it for
        itself.
        """
        alone = False
        for vlan in tuple(self.by_source.get(src, ())):
            if vlan.dev.running:
                one = skb_clone(skb)
                one.dev = vlan.dev
                if dst == vlan.dev.dev_addr:
                    one.pkt_type = PACKET_HOST
                vlan.deliver(one)
                alone |= vlan.nodst
        return alone

    def _spread(self, skb: SkBuff, dst: bytes, modes: tuple[str, ...], source: MacvlanOps | None) -> None:
        """macvlan_broadcast(): a clone to each of these modes that wants ``dst``. ``skb`` stays the caller's."""
        for vlan in tuple(self.by_address.values()):
            if vlan is source or vlan.mode not in modes or not vlan.wants(dst):
                continue
            one = skb_clone(skb)
            one.dev = vlan.dev
            one.pkt_type = vlan.group_type(dst)
            vlan.deliver(one)

    def send(self, skb: SkBuff, source: MacvlanOps) -> bool:
        """What passes directly between macvlans of bridge mode; ``skb`` starts with its Ethernet header. True when it
        is gone, to the only one it was for (macvlan_queue_xmit): by way of the lower device, whose taps see it.
        """
        dst = bytes(skb.head[skb.data : skb.data + 6])
        if dst[0] & 1:
            for vlan in tuple(self.by_address.values()):
                if vlan is not source and vlan.mode == BRIDGE and vlan.wants(dst):
                    vlan.forwarded(skb_clone(skb))
            return False
        only = self.by_address.get(dst)
        if only is None or only.mode != BRIDGE:
            return False
        if _forward(skb, self.lower) and self.lower.kernel.softnet.netif_rx(skb):
            self.lower.stats.rx_dropped += 1
            kfree_skb(skb, "CPU_BACKLOG")
        return True


def _forward(skb: SkBuff, dev: NetDevice) -> bool:
    """Make a sent frame one that ``dev`` received (__dev_forward_skb). False: dropped and counted."""
    ext = skb.ext
    if ext is not None:
        skb_orphan(skb)
        ext.pkt_type = PACKET_HOST
        ext.mark = ext.priority = 0
    skb.sk = skb.dst = None
    if skb.len > dev.mtu + ETH_HLEN and not skb.gso_size:
        dev.stats.rx_dropped += 1
        kfree_skb(skb, "PKT_TOO_BIG")
        return False
    if not eth_type_trans(skb, dev):
        kfree_skb(skb, "HDR_TRUNC")
        return False
    return True


class MacvlanOps(StackedOps):
    """One macvlan (struct macvlan_dev). ``sources`` are the senders that it hears in source mode, ``nodst`` says that
    nobody else gets what they sent, ``nopromisc`` that passthru leaves the lower device's filter alone.
    """

    __slots__ = ("_promisc", "mode", "nodst", "nopromisc", "port", "sources")

    def __init__(self, dev: NetDevice, lower: NetDevice, mode: str) -> None:
        super().__init__(dev, lower)
        self.mode = mode
        self.port: Port | None = None
        self.sources: set[bytes] = set()
        self.nodst = self.nopromisc = self._promisc = False

    # -- packets ---------------------------------------------------------------------------------------------

    def wants(self, group: bytes) -> bool:
        dev = self.dev
        return group == dev.broadcast or group in dev.mc or dev.flags & (IFF_ALLMULTI | IFF_PROMISC) != 0

    def group_type(self, group: bytes) -> int:
        return PACKET_BROADCAST if group == self.dev.broadcast else PACKET_MULTICAST

    def count(self, skb: SkBuff) -> None:
        self.dev.stats.rx_packets += 1
        self.dev.stats.rx_bytes += skb.len + ETH_HLEN

    def deliver(self, skb: SkBuff) -> None:
        """Onto the backlog, as received by this device (macvlan_broadcast_one)."""
        stats = self.dev.stats
        size = skb.len + ETH_HLEN
        if self.dev.kernel.softnet.netif_rx(skb):
            stats.rx_dropped += 1
            kfree_skb(skb, "CPU_BACKLOG")
            return
        stats.rx_packets += 1
        stats.rx_bytes += size
        stats.multicast += skb.pkt_type != PACKET_HOST

    def forwarded(self, skb: SkBuff) -> None:
        """A frame from a neighbour (dev_forward_skb)."""
        if _forward(skb, self.dev):
            self.deliver(skb)

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """macvlan_start_xmit(). What the lower device refuses, and a runt, is counted in tx_dropped."""
        port = self.port
        size = skb.len
        if port is None or not pskb_may_pull(skb, ETH_HLEN):
            dev.stats.tx_dropped += 1
            kfree_skb(skb, "HDR_TRUNC")
        elif self.mode == BRIDGE and port.send(skb, self):
            self.count_sent(0, size)
        else:
            self.send_below(skb)
        return NETDEV_TX_OK

    # -- configuration ---------------------------------------------------------------------------------------

    def ndo_init(self, dev: NetDevice) -> None:
        """macvlan_common_newlink(). EBUSY when the lower device has another master, EINVAL when it has a passthru
        macvlan, or this is to be one and others are there.
        """
        lower = self.lower
        port = port_of(lower)
        if port is not None and (port.passthru or self.mode == PASSTHRU):
            raise err(errno.EINVAL, f"{lower.name} has macvlans already")
        netdev_upper_dev_link(lower, dev)
        if port is None:
            port = Port(lower, self.mode == PASSTHRU)
            try:
                netdev_rx_handler_register(lower, port.receive)
            except OSError:
                netdev_upper_dev_unlink(lower, dev)
                raise
        port.vlans.append(self)
        self.port = port
        for address in self.sources:
            port.by_source.setdefault(address, []).append(self)
        netif_stacked_transfer_operstate(lower, dev)

    def ndo_uninit(self, dev: NetDevice) -> None:
        port, self.port = self.port, None
        if port is None:
            return
        self._ask_nothing()
        port.vlans.remove(self)
        for address in self.sources:
            port.by_source[address].remove(self)
            if not port.by_source[address]:
                del port.by_source[address]
        lower = self.lower
        if not port.vlans and port_of(lower) is port:
            netdev_rx_handler_unregister(lower)
            if port.passthru and lower.dev_addr != port.own:
                with suppress(OSError):
                    dev_set_mac_address(lower, port.own)
        netdev_upper_dev_unlink(lower, dev)

    def _check_free(self, address: bytes) -> None:
        """macvlan_addr_busy()."""
        port = self.port
        if address == self.lower.dev_addr or (port is not None and port.by_address.get(address, self) is not self):
            raise err(errno.EADDRINUSE)

    def ndo_open(self, dev: NetDevice) -> None:
        """macvlan_open(). EADDRINUSE when the lower device or another macvlan that is up has the address."""
        if self.mode != PASSTHRU:
            self._check_free(dev.dev_addr)
        elif not self.nopromisc and not self._promisc:
            self._promisc = True
            dev_set_promiscuity(self.lower, 1)
        if self.port is not None:
            self.port.by_address[dev.dev_addr] = self
        netif_stacked_transfer_operstate(self.lower, dev)

    def ndo_stop(self, dev: NetDevice) -> None:
        if self.port is not None:
            self.port.by_address.pop(dev.dev_addr, None)
        self._ask_nothing()

    def _ask_nothing(self) -> None:
        self.filter.clear()
        if self._promisc:
            self._promisc = False
            dev_set_promiscuity(self.lower, -1)

    def ndo_set_rx_mode(self, dev: NetDevice) -> None:
        self._ask(dev.dev_addr)

    def _ask(self, address: bytes) -> None:
        """The unicast filter of the lower device lets our address in; promiscuity only if somebody here wants it."""
        self.ask_for(*(() if self.mode == PASSTHRU else (address,)))

    def ndo_set_mac_address(self, dev: NetDevice, addr: bytes) -> None:
        """macvlan_set_mac_address(). EADDRINUSE as for ndo_open. A passthru one changes the lower device's."""
        super().ndo_set_mac_address(dev, addr)
        if self.mode == PASSTHRU:
            if self.lower.dev_addr != addr and self.port is not None:
                own = self.port.own  # it gets that back
                dev_set_mac_address(self.lower, addr)
                self.port.own = own
        elif dev.running and self.port is not None:
            self._check_free(addr)
        if dev.running:
            self._move_to(addr)

    def _move_to(self, address: bytes) -> None:
        if self.port is not None:
            self.port.by_address.pop(self.dev.dev_addr, None)
            self.port.by_address[address] = self
        self._ask(address)

    def ndo_change_mtu(self, dev: NetDevice, new_mtu: int) -> None:
        """EINVAL for more than the lower device's."""
        if new_mtu > self.lower.mtu:
            raise err(errno.EINVAL)

    def ndo_fix_features(self, dev: NetDevice, features: int) -> int:
        return features & (self.lower.features | ~STACKED_FEATURES | NETIF_F_LLTX)

    def set_mode(self, mode: str) -> None:
        """macvlan_changelink(). EINVAL for an unknown mode, and from or to passthru."""
        if mode not in MODES or (mode == PASSTHRU) != (self.mode == PASSTHRU):
            raise err(errno.EINVAL)
        if self.mode == SOURCE != mode:
            self.change_sources(())
        self.mode = mode

    def change_sources(self, addresses: tuple[bytes, ...]) -> None:
        """`ip link set DEV type macvlan macaddr set ADDRESS...`: the senders to hear, instead of those before. EINVAL
        unless in source mode, EADDRNOTAVAIL for a group's address or none.
        """
        if self.mode != SOURCE:
            raise err(errno.EINVAL)
        if not all(is_valid_ether_addr(address) for address in addresses):
            raise err(errno.EADDRNOTAVAIL)
        by_source = self.port.by_source if self.port is not None else {}
        for address in self.sources & by_source.keys():
            by_source[address].remove(self)
            if not by_source[address]:
                del by_source[address]
        self.sources = set(addresses)
        for address in self.sources:
            by_source.setdefault(address, []).append(self)

    def lower_event(self, event: int, lower: NetDevice) -> None:
        """macvlan_device_event() for this one of the lower device's macvlans."""
        dev = self.dev
        if event in (NETDEV_UP, NETDEV_DOWN, NETDEV_CHANGE):
            netif_stacked_transfer_operstate(lower, dev)
        elif event == NETDEV_CHANGEADDR:
            if self.mode == PASSTHRU and dev.dev_addr != lower.dev_addr:
                self._lower_address(lower)
        else:
            super().lower_event(event, lower)

    def _lower_address(self, lower: NetDevice) -> None:
        """macvlan_sync_address(): whoever gave the lower device this address gave it for good."""
        dev = self.dev
        if dev.running:
            self._move_to(lower.dev_addr)
        dev.dev_addr = lower.dev_addr
        if self.port is not None:
            self.port.own = lower.dev_addr
        dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_CHANGEADDR, dev)


def port_of(lower: NetDevice) -> Port | None:
    """The macvlans on ``lower``, None when there are none."""
    port = getattr(lower.rx_handler, "__self__", None)
    return port if isinstance(port, Port) else None


def _netdev_event(event: int, dev: NetDevice) -> None:
    port = port_of(dev)
    if port is not None:
        stacked_event(event, dev, port.vlans)


class MacvlanDriver(Driver):
    """`ip link add link LINK name NAME type macvlan mode MODE`."""

    __slots__ = ()
    name = "macvlan"
    device_name = "macvlan%d"
    options = ("link", "mode", "address", "sources", "nodst", "nopromisc")

    def setup(self, dev: NetDevice) -> None:
        """The defaults of every macvlan; `create` adds what comes from the lower device."""
        ether_setup(dev)
        dev.no_queue = True
        dev.live_addr_change = True
        dev.min_mtu = ETH_MIN_MTU
        dev.max_mtu = ETH_MAX_MTU
        dev.features = dev.hw_features = STACKED_FEATURES
        dev.dev_addr = eth_random_addr(dev.kernel.random("mac"))
        netif_carrier_off(dev)

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        """A macvlan on ``link``, which may be in another namespace of this kernel; on a macvlan it becomes its sibling.
        ``address`` is its own (6 bytes, else one by chance). EINVAL for options of another type, an unknown ``mode``
        (MODES; vepa if not given) and a lower device that is no Ethernet or loopback, ENODEV for one that goes. In
        source mode ``sources`` is a tuple of senders' addresses, ``nodst`` as of `MacvlanOps`; a passthru one has the
        lower device's address, ``nopromisc`` as there.
        """
        lower = options.pop("link", None)
        mode = options.pop("mode", VEPA)
        address = options.pop("address", None)
        sources = options.pop("sources", ())
        nodst, nopromisc = options.pop("nodst", False), options.pop("nopromisc", False)
        if not isinstance(lower, NetDevice) or mode not in MODES or not isinstance(mode, str):
            raise err(errno.EINVAL, f"macvlan takes link=NetDevice and mode= one of {', '.join(MODES)}")
        if not isinstance(sources, tuple):
            raise err(errno.EINVAL, "macvlan: sources is a tuple of addresses")
        if isinstance(lower.netdev_ops, MacvlanOps):
            lower = lower.netdev_ops.lower
        if lower.type != ARPHRD_ETHER or lower.flags & IFF_LOOPBACK:
            raise err(errno.EINVAL, f"{lower.name} can't carry macvlans")
        check_lower(kernel, lower)
        dev = Driver.create(self, kernel, net, name, **options)
        if mode == PASSTHRU:
            dev.dev_addr = lower.dev_addr
        if isinstance(address, bytes) and len(address) == 6:
            dev.dev_addr = address
        dev.netdev_ops = ops = MacvlanOps(dev, lower, mode)
        dev.ethtool_ops = StackedEthtool(lower, DrvInfo("macvlan", "0.1"))
        ops.nodst, ops.nopromisc = bool(nodst), bool(nopromisc)
        if sources:
            ops.change_sources(sources)
        stack_on(dev, lower)
        chain = kernel.dev_layer.netdev_chain
        if "macvlan" not in chain.callbacks():
            chain.register(_netdev_event, name="macvlan")
        return dev
