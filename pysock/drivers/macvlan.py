"""macvlan: several Ethernet devices with addresses of their own over one. drivers/net/macvlan.c, ip-link(8).

    create_device(net, "macvlan", "eth0m", link=eth0, mode="bridge")

What the lower device receives goes by its destination address to one of them, a group's to all that want it, and the
lower device keeps a copy of those. What one sends leaves through the lower device; what happens between two of them is
the mode's business:

    private    nothing passes, not even what a switch sent back
    vepa       everything goes out; a reflective relay sends back what is for a neighbour
    bridge     passes directly

Devices follow the lower one's carrier and MTU and go with it; it may live in another namespace. Not here: passthru and
source mode, the queue for broadcasts (bc_queue): they are delivered at once, through the backlog.
"""

from __future__ import annotations

import errno
from contextlib import suppress

from pysock.core.dev_xmit import NET_XMIT_CN, xmit_slow
from pysock.core.device import (
    NETREG_UNREGISTERING,
    RX_HANDLER_ANOTHER,
    RX_HANDLER_CONSUMED,
    RX_HANDLER_PASS,
    Driver,
    NetDevice,
    dev_set_mtu,
    netdev_rx_handler_register,
    netdev_rx_handler_unregister,
    netdev_update_features,
    netif_carrier_off,
    unregister_netdev,
)
from pysock.core.device_ops import NETDEV_TX_OK
from pysock.core.errors import err
from pysock.core.eth import EthDeviceOps, eth_random_addr, eth_type_trans, ether_setup
from pysock.core.ethtool_ops import EthtoolOps, ethtool_op_get_link
from pysock.core.ethtool_types import DrvInfo, LinkSettings, TsInfo
from pysock.core.netdev_events import (
    NETDEV_CHANGE,
    NETDEV_CHANGEMTU,
    NETDEV_DOWN,
    NETDEV_FEAT_CHANGE,
    NETDEV_REGISTER,
    NETDEV_UNREGISTER,
    NETDEV_UP,
)
from pysock.core.netdev_features import (
    NETIF_F_FRAGLIST,
    NETIF_F_GSO_SOFTWARE,
    NETIF_F_HIGHDMA,
    NETIF_F_HW_CSUM,
    NETIF_F_LLTX,
    NETIF_F_SG,
)
from pysock.core.netdev_upper import (
    LowerFilter,
    netdev_upper_dev_link,
    netdev_upper_dev_unlink,
    netif_stacked_transfer_operstate,
)
from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import pskb_may_pull
from pysock.core.skbuff import kfree_skb, skb_orphan
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
MODES = (PRIVATE, VEPA, BRIDGE)
_FEATURES = (
    NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_GSO_SOFTWARE | NETIF_F_HW_CSUM | NETIF_F_HIGHDMA | NETIF_F_LLTX
)  # fmt: skip


class Port:
    """A lower device and the macvlans on it (struct macvlan_port); `receive` is its rx_handler. ``by_address`` has
    those that are up.
    """

    __slots__ = ("by_address", "lower", "vlans")

    def __init__(self, lower: NetDevice) -> None:
        self.lower = lower
        self.vlans: list[MacvlanOps] = []
        self.by_address: dict[bytes, MacvlanOps] = {}

    def receive(self, skb: SkBuff) -> int:
        """macvlan_handle_frame()."""
        mac = skb.mac_header
        if mac < 0:
            return RX_HANDLER_PASS  # no link-layer header, so no addresses
        head = skb.head
        dst = bytes(head[mac : mac + 6])
        if dst[0] & 1:
            source = self.by_address.get(bytes(head[mac + 6 : mac + 12]))
            if source is None:  # from outside
                self._spread(skb, dst, MODES, None)
            elif source.mode == VEPA:  # a relay sent it back: those of bridge mode had no other way to get it
                self._spread(skb, dst, (VEPA, BRIDGE), source)
            elif source.mode == BRIDGE:
                self._spread(skb, dst, (VEPA,), source)  # its own kind have it already
            else:  # private, and its own
                kfree_skb(skb, "MAC_IFF_LOOP")
                return RX_HANDLER_CONSUMED
            return RX_HANDLER_PASS
        vlan = self.by_address.get(dst)
        if vlan is None:
            return RX_HANDLER_PASS
        vlan.count(skb)
        skb.pkt_type = PACKET_HOST
        skb.dev = vlan.dev
        return RX_HANDLER_ANOTHER

    def _spread(self, skb: SkBuff, dst: bytes, modes: tuple[str, ...], source: MacvlanOps | None) -> None:
        """macvlan_broadcast(): a clone to each of these modes that wants ``dst``. ``skb`` stays the caller's."""
        for vlan in tuple(self.by_address.values()):
            if vlan is source or vlan.mode not in modes or not vlan.wants(dst):
                continue
            one = skb_clone(skb)
            one.dev = vlan.dev
            one.pkt_type = PACKET_BROADCAST if dst == vlan.dev.broadcast else PACKET_MULTICAST
            vlan.deliver(one)

    def send(self, skb: SkBuff, source: MacvlanOps) -> bool:
        """What passes directly between macvlans of bridge mode; ``skb`` starts with its Ethernet header. True when it
        is gone, to the only one it was for (macvlan_queue_xmit).
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
        only.forwarded(skb)
        return True


class MacvlanOps(EthDeviceOps):
    """One macvlan (struct macvlan_dev)."""

    __slots__ = ("_filter", "dev", "lower", "mode", "port")

    def __init__(self, dev: NetDevice, lower: NetDevice, mode: str) -> None:
        self.dev = dev
        self.lower = lower
        self.mode = mode
        self.port: Port | None = None
        self._filter = LowerFilter(lower)

    # -- packets ---------------------------------------------------------------------------------------------

    def wants(self, group: bytes) -> bool:
        dev = self.dev
        return group == dev.broadcast or group in dev.mc or dev.flags & (IFF_ALLMULTI | IFF_PROMISC) != 0

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
        dev = self.dev
        ext = skb.ext
        if ext is not None:
            skb_orphan(skb)
            ext.pkt_type = PACKET_HOST
            ext.mark = ext.priority = 0
        skb.sk = skb.dst = None
        if skb.len > dev.mtu + ETH_HLEN and not skb.gso_size:
            dev.stats.rx_dropped += 1
            kfree_skb(skb, "PKT_TOO_BIG")
        elif eth_type_trans(skb, dev):
            self.deliver(skb)
        else:
            kfree_skb(skb, "HDR_TRUNC")

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """macvlan_start_xmit(). What the lower device refuses, and a runt, is counted in tx_dropped."""
        port = self.port
        stats = dev.stats
        size = skb.len
        if port is None or not pskb_may_pull(skb, ETH_HLEN):
            stats.tx_dropped += 1
            kfree_skb(skb, "HDR_TRUNC")
            return NETDEV_TX_OK
        if self.mode == BRIDGE and port.send(skb, self):
            result = 0
        else:
            skb.dev = lower = self.lower
            tagged = skb.ext is not None and skb.ext.vlan_tci is not None
            result = xmit_slow(lower, skb) if tagged else lower.queue_xmit(skb)
        if result in (0, NET_XMIT_CN):
            stats.tx_packets += 1
            stats.tx_bytes += size
        else:
            stats.tx_dropped += 1
        return NETDEV_TX_OK

    # -- configuration ---------------------------------------------------------------------------------------

    def ndo_init(self, dev: NetDevice) -> None:
        """macvlan_common_newlink(). EBUSY when the lower device has another master."""
        lower = self.lower
        port = port_of(lower)
        netdev_upper_dev_link(lower, dev)
        if port is None:
            port = Port(lower)
            try:
                netdev_rx_handler_register(lower, port.receive)
            except OSError:
                netdev_upper_dev_unlink(lower, dev)
                raise
        port.vlans.append(self)
        self.port = port
        netif_stacked_transfer_operstate(lower, dev)

    def ndo_uninit(self, dev: NetDevice) -> None:
        port, self.port = self.port, None
        if port is None:
            return
        self._filter.clear()
        port.vlans.remove(self)
        if not port.vlans and port_of(self.lower) is port:
            netdev_rx_handler_unregister(self.lower)
        netdev_upper_dev_unlink(self.lower, dev)

    def _check_free(self, address: bytes) -> None:
        """macvlan_addr_busy()."""
        port = self.port
        if address == self.lower.dev_addr or (port is not None and port.by_address.get(address, self) is not self):
            raise err(errno.EADDRINUSE)

    def ndo_open(self, dev: NetDevice) -> None:
        """macvlan_open(). EADDRINUSE when the lower device or another macvlan that is up has the address."""
        self._check_free(dev.dev_addr)
        if self.port is not None:
            self.port.by_address[dev.dev_addr] = self
        netif_stacked_transfer_operstate(self.lower, dev)

    def ndo_stop(self, dev: NetDevice) -> None:
        if self.port is not None:
            self.port.by_address.pop(dev.dev_addr, None)
        self._filter.clear()

    def ndo_set_rx_mode(self, dev: NetDevice) -> None:
        self._sync(dev.dev_addr)

    def _sync(self, address: bytes) -> None:
        """The unicast filter of the lower device lets our address in; promiscuity only if somebody here wants it."""
        dev = self.dev
        self._filter.sync((*dev.uc, address), dev.mc, dev.flags)

    def ndo_set_mac_address(self, dev: NetDevice, addr: bytes) -> None:
        """macvlan_set_mac_address(). EADDRINUSE as for ndo_open."""
        super().ndo_set_mac_address(dev, addr)
        if dev.running and self.port is not None:
            self._check_free(addr)
            del self.port.by_address[dev.dev_addr]
            self.port.by_address[addr] = self
            self._sync(addr)

    def ndo_change_mtu(self, dev: NetDevice, new_mtu: int) -> None:
        """EINVAL for more than the lower device's."""
        if new_mtu > self.lower.mtu:
            raise err(errno.EINVAL)

    def ndo_fix_features(self, dev: NetDevice, features: int) -> int:
        return features & (self.lower.features | ~_FEATURES | NETIF_F_LLTX)

    def lower_event(self, event: int, lower: NetDevice) -> None:
        """macvlan_device_event() for this one of the lower device's macvlans."""
        dev = self.dev
        if event in (NETDEV_UP, NETDEV_DOWN, NETDEV_CHANGE):
            netif_stacked_transfer_operstate(lower, dev)
        elif event == NETDEV_CHANGEMTU:
            if dev.mtu > lower.mtu:
                dev_set_mtu(dev, lower.mtu)
        elif event == NETDEV_FEAT_CHANGE:
            netdev_update_features(dev)
        elif event == NETDEV_REGISTER:
            dev.link = lower.ifindex  # it moved to another namespace
        elif event == NETDEV_UNREGISTER and lower.reg_state == NETREG_UNREGISTERING:
            unregister_netdev(dev)  # not when it only moves to another namespace


def port_of(lower: NetDevice) -> Port | None:
    """The macvlans on ``lower``, None when there are none."""
    port = getattr(lower.rx_handler, "__self__", None)
    return port if isinstance(port, Port) else None


def _netdev_event(event: int, dev: NetDevice) -> None:
    port = port_of(dev)
    for vlan in tuple(port.vlans) if port is not None else ():
        with suppress(OSError):  # what a macvlan objects to is no reason to stop the lower device
            vlan.lower_event(event, dev)


class MacvlanEthtool(EthtoolOps):
    """macvlan_ethtool_ops: the link is the lower device's."""

    __slots__ = ("lower",)

    def __init__(self, lower: NetDevice) -> None:
        self.lower = lower

    def get_drvinfo(self, dev: NetDevice) -> DrvInfo:
        return DrvInfo("macvlan", "0.1")

    def get_link(self, dev: NetDevice) -> bool:
        return ethtool_op_get_link(dev)

    def get_link_ksettings(self, dev: NetDevice) -> LinkSettings:
        return self.lower.ethtool_ops.get_link_ksettings(self.lower)

    def get_ts_info(self, dev: NetDevice) -> TsInfo:
        return self.lower.ethtool_ops.get_ts_info(self.lower)


class MacvlanDriver(Driver):
    """`ip link add link LINK name NAME type macvlan mode MODE`."""

    __slots__ = ()
    name = "macvlan"
    device_name = "macvlan%d"
    options = ("link", "mode", "address")

    def setup(self, dev: NetDevice) -> None:
        """The defaults of every macvlan; `create` adds what comes from the lower device."""
        ether_setup(dev)
        dev.no_queue = True
        dev.live_addr_change = True
        dev.min_mtu = ETH_MIN_MTU
        dev.max_mtu = ETH_MAX_MTU
        dev.features = dev.hw_features = _FEATURES
        dev.dev_addr = eth_random_addr(dev.kernel.random("mac"))
        netif_carrier_off(dev)

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        """A macvlan on ``link``, which may be in another namespace of this kernel; on a macvlan it becomes its sibling.
        ``address`` is its own (6 bytes, else one by chance). EINVAL for options of another type, an unknown ``mode``
        (MODES; vepa if not given) and a lower device that is no Ethernet or loopback, ENODEV for one that goes.
        """
        lower = options.pop("link", None)
        mode = options.pop("mode", VEPA)
        address = options.pop("address", None)
        if not isinstance(lower, NetDevice) or mode not in MODES or not isinstance(mode, str):
            raise err(errno.EINVAL, f"macvlan takes link=NetDevice and mode= one of {', '.join(MODES)}")
        if isinstance(lower.netdev_ops, MacvlanOps):
            lower = lower.netdev_ops.lower
        if lower.type != ARPHRD_ETHER or lower.flags & IFF_LOOPBACK:
            raise err(errno.EINVAL, f"{lower.name} can't carry macvlans")
        if lower.net.dev_by_index.get(lower.ifindex) is not lower or lower.kernel is not kernel:
            raise err(errno.ENODEV)
        dev = Driver.create(self, kernel, net, name, **options)
        if isinstance(address, bytes) and len(address) == 6:
            dev.dev_addr = address
        dev.netdev_ops = MacvlanOps(dev, lower, mode)
        dev.ethtool_ops = MacvlanEthtool(lower)
        dev.link = lower.ifindex
        dev.mtu = lower.mtu
        dev.gso_max_size = lower.gso_max_size
        dev.hard_header_len = lower.hard_header_len
        chain = kernel.dev_layer.netdev_chain
        if "macvlan" not in chain.callbacks():
            chain.register(_netdev_event, name="macvlan")
        return dev
