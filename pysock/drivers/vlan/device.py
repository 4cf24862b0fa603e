"""vlan: an Ethernet device that is one 802.1Q VLAN of another. net/8021q/, vconfig(8), IEEE 802.1Q.

    create_device(net, "vlan", "eth0.5", link=eth0, id=5)          protocol=ETH_P_8021AD for a service tag
    ioctl(fd, SIOCSIFVLAN, struct vlan_ioctl_args)                 ioctl.py

What it sends leaves through the device below with the tag beside the frame; the device layer (core/vlan.py) puts it in,
and takes it out of what arrives and calls `VlanOps.receive`. VLANs stack: the lower device may be a VLAN (Q-in-Q), and
it may live in another namespace.

The upper device follows the lower one: carrier, MTU limit, address while nobody gave it one of its own, up and down
(unless VLAN_FLAG_LOOSE_BINDING), and it goes when that goes. Not here: GVRP, MVRP, frames with the tag left in for
programs (VLAN_FLAG_REORDER_HDR is always on).
"""

from __future__ import annotations

import errno
from functools import partial

from pysock.core.dev_xmit import NET_XMIT_CN, xmit_slow
from pysock.core.device import (
    NETREG_UNREGISTERING,
    RX_HANDLER_ANOTHER,
    RX_HANDLER_CONSUMED,
    Driver,
    dev_close,
    dev_open,
    dev_set_mtu,
    netdev_update_features,
    netif_carrier_off,
    unregister_netdev,
)
from pysock.core.device_ops import NETDEV_TX_OK
from pysock.core.errors import err
from pysock.core.eth import ZERO_ADDR, EthDeviceOps, ether_setup
from pysock.core.ethtool_ops import EthtoolOps, ethtool_op_get_link
from pysock.core.ethtool_types import DrvInfo, LinkSettings, TsInfo
from pysock.core.netdev_events import (
    NETDEV_CHANGE,
    NETDEV_CHANGEADDR,
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
    NETIF_F_VLAN_CHALLENGED,
)
from pysock.core.netdev_upper import (
    LowerFilter,
    netdev_upper_dev_link,
    netdev_upper_dev_unlink,
    netif_stacked_transfer_operstate,
)
from pysock.core.netdevice import NetDevice
from pysock.core.skbuff import kfree_skb
from pysock.core.vlan import VLAN_TYPES, VlanGroup
from pysock.uapi.if_ import (
    ARPHRD_ETHER,
    IFF_ALLMULTI,
    IFF_LOOPBACK,
    IFF_MASTER,
    IFF_PROMISC,
    IFF_SLAVE,
    IFF_UP,
)
from pysock.uapi.if_ether import ETH_HLEN, ETH_MAX_MTU, ETH_P_8021Q
from pysock.uapi.if_packet import PACKET_BROADCAST, PACKET_HOST, PACKET_MULTICAST, PACKET_OTHERHOST
from pysock.uapi.if_vlan import (
    VLAN_FLAG_BRIDGE_BINDING,
    VLAN_FLAG_LOOSE_BINDING,
    VLAN_FLAG_REORDER_HDR,
)
from pysock.wire.vlan import PCP_SHIFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.capability import Credentials
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.skbuff import SkBuff

_FEATURES = NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_GSO_SOFTWARE | NETIF_F_HW_CSUM | NETIF_F_HIGHDMA | NETIF_F_LLTX
_INHERITED_FLAGS = ~(IFF_UP | IFF_PROMISC | IFF_ALLMULTI | IFF_MASTER | IFF_SLAVE | IFF_LOOPBACK)
_FLAGS = VLAN_FLAG_REORDER_HDR | VLAN_FLAG_LOOSE_BINDING | VLAN_FLAG_BRIDGE_BINDING
MAX_VID = 4094  # 4095 is reserved


class VlanOps(EthDeviceOps):
    """One VLAN device (struct vlan_dev_priv). ``ingress`` has the priority of each PCP, ``egress`` the PCP bits of each
    priority; ``own_address`` says that somebody set its address.
    """

    __slots__ = ("_filter", "_lower_addr", "_uc", "dev", "egress", "flags", "ingress", "own_address", "protocol",
                 "real", "vid")  # fmt: skip

    def __init__(self, dev: NetDevice, real: NetDevice, vid: int, protocol: int) -> None:
        self.dev = dev
        self.real = real
        self.vid = vid
        self.protocol = protocol
        self.flags = VLAN_FLAG_REORDER_HDR
        self.ingress = [0] * 8
        self.egress: dict[int, int] = {}
        self.own_address = False
        self._lower_addr = real.dev_addr
        self._filter = LowerFilter(real)
        self._uc: tuple[bytes, ...] = ()

    # -- packets ---------------------------------------------------------------------------------------------

    def receive(self, skb: SkBuff) -> int:
        """vlan_do_receive(): a packet of this VLAN, its tag beside it."""
        dev = self.dev
        ext = skb.need_ext()
        tci = ext.vlan_tci or 0
        ext.vlan_tci = None
        stats = dev.stats
        if not dev.running:
            stats.rx_dropped += 1
            kfree_skb(skb, "DEV_READY")
            return RX_HANDLER_CONSUMED
        if ext.pkt_type == PACKET_OTHERHOST:  # it may be for an address that only this device has
            mac = skb.mac_header
            if mac >= 0 and skb.head[mac : mac + 6] == dev.dev_addr:
                ext.pkt_type = PACKET_HOST
        elif ext.pkt_type in (PACKET_MULTICAST, PACKET_BROADCAST):
            stats.multicast += 1
        ext.priority = self.ingress[tci >> PCP_SHIFT]
        skb.dev = dev
        stats.rx_packets += 1
        stats.rx_bytes += skb.len + ETH_HLEN
        return RX_HANDLER_ANOTHER

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """vlan_dev_hard_start_xmit(). What the lower device refuses is counted in tx_dropped."""
        ext = skb.need_ext()
        ext.vlan_tci = self.vid | self.egress.get(ext.priority, 0)
        ext.vlan_proto = self.protocol
        size = skb.len
        skb.dev = self.real
        result = xmit_slow(self.real, skb)
        if result in (0, NET_XMIT_CN):
            dev.stats.tx_packets += 1
            dev.stats.tx_bytes += size
        else:
            dev.stats.tx_dropped += 1
        return NETDEV_TX_OK

    # -- configuration ---------------------------------------------------------------------------------------

    def ndo_init(self, dev: NetDevice) -> None:
        """vlan_dev_init() and register_vlan_dev(). EEXIST when the lower device has such a VLAN."""
        real = self.real
        group = real.vlan_group
        if group is None:
            group = VlanGroup()
        key = self.protocol << 12 | self.vid
        if key in group.takers:
            raise err(errno.EEXIST, f"{real.name} has VLAN {self.vid} already")
        netdev_upper_dev_link(real, dev)
        group.takers[key] = self.receive
        real.vlan_group = group
        real.update_path()
        netif_stacked_transfer_operstate(real, dev)

    def ndo_uninit(self, dev: NetDevice) -> None:
        real = self.real
        group = real.vlan_group
        key = self.protocol << 12 | self.vid
        if group is None or group.takers.get(key) != self.receive:
            return
        del group.takers[key]
        if not group.takers:
            real.vlan_group = None
            real.update_path()
        self._filter.clear()
        netdev_upper_dev_unlink(real, dev)

    def ndo_open(self, dev: NetDevice) -> None:
        """ENETDOWN while the lower device is down."""
        if not self.real.flags & IFF_UP and not self.flags & VLAN_FLAG_LOOSE_BINDING:
            raise err(errno.ENETDOWN)
        netif_stacked_transfer_operstate(self.real, dev)

    def ndo_stop(self, dev: NetDevice) -> None:
        self._filter.clear()
        netif_carrier_off(dev)

    def ndo_set_rx_mode(self, dev: NetDevice) -> None:
        self._sync(dev.dev_addr)

    def _sync(self, address: bytes) -> None:
        """Have the lower device receive what this one wants (vlan_dev_set_rx_mode)."""
        dev = self.dev
        own = () if address == self.real.dev_addr else (address,)
        self._filter.sync((*dev.uc, *own), dev.mc, dev.flags)

    def ndo_set_mac_address(self, dev: NetDevice, addr: bytes) -> None:
        super().ndo_set_mac_address(dev, addr)
        self.own_address = True
        if dev.running:
            self._sync(addr)

    def ndo_change_mtu(self, dev: NetDevice, new_mtu: int) -> None:
        """vlan_dev_change_mtu(). ERANGE for more than the lower device's."""
        if new_mtu > self.real.mtu:
            raise err(errno.ERANGE)

    def ndo_fix_features(self, dev: NetDevice, features: int) -> int:
        """vlan_dev_fix_features(): the lower device's, as far as they do not depend on where the headers lie."""
        real = self.real.features
        if not real & NETIF_F_HW_CSUM:
            real &= ~NETIF_F_GSO_SOFTWARE
        return features & (real | ~_FEATURES)

    def change_flags(self, flags: int, mask: int) -> None:
        """vlan_dev_change_flags(). EINVAL for a flag that Linux does not know, EOPNOTSUPP for one that is not here."""
        if mask & ~0x1F:
            raise err(errno.EINVAL)
        if mask & ~_FLAGS & flags or mask & VLAN_FLAG_REORDER_HDR & ~flags:
            raise err(errno.EOPNOTSUPP)
        self.flags = self.flags & ~mask | flags & mask

    # -- what happens to the lower device --------------------------------------------------------------------

    def lower_event(self, event: int, real: NetDevice) -> None:
        """vlan_device_event() for this one of the lower device's VLANs."""
        dev = self.dev
        loose = self.flags & VLAN_FLAG_LOOSE_BINDING
        if event == NETDEV_CHANGE:
            if dev.running:
                netif_stacked_transfer_operstate(real, dev)
        elif event == NETDEV_CHANGEADDR:
            self._lower_address(real)
        elif event == NETDEV_CHANGEMTU:
            if dev.mtu > real.mtu:
                dev_set_mtu(dev, real.mtu)
        elif event == NETDEV_FEAT_CHANGE:
            netdev_update_features(dev)
        elif event == NETDEV_UP:
            if not loose and not dev.flags & IFF_UP:
                dev_open(dev)
            netif_stacked_transfer_operstate(real, dev)
        elif event == NETDEV_DOWN:
            if not loose:
                dev_close(dev)
            netif_stacked_transfer_operstate(real, dev)
        elif event == NETDEV_REGISTER:
            dev.link = real.ifindex  # it moved to another namespace
        elif event == NETDEV_UNREGISTER and real.reg_state == NETREG_UNREGISTERING:
            unregister_netdev(dev)  # not when it only moves to another namespace

    def _lower_address(self, real: NetDevice) -> None:
        """vlan_sync_address()."""
        dev = self.dev
        if real.dev_addr == self._lower_addr:
            return
        self._lower_addr = real.dev_addr
        if not self.own_address:
            dev.dev_addr = real.dev_addr
            dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_CHANGEADDR, dev)
        if dev.running:
            self._sync(dev.dev_addr)


def vlan_ops(dev: NetDevice) -> VlanOps | None:
    """The VLAN that ``dev`` is, None when it is none (is_vlan_dev, vlan_dev_priv)."""
    ops = dev.netdev_ops
    return ops if isinstance(ops, VlanOps) else None


def _netdev_event(event: int, dev: NetDevice) -> None:
    if dev.vlan_group is None:
        return
    for upper in dev.uppers:
        ops = vlan_ops(upper)
        if ops is not None and ops.real is dev:
            try:
                ops.lower_event(event, dev)
            except OSError:
                pass  # a VLAN that does not want to come up, say, is no reason to stop the lower device


def _config_text(net: Net) -> str:
    from pysock.drivers.vlan.proc import config_text

    return config_text(net)


class VlanEthtool(EthtoolOps):
    """vlan_ethtool_ops: the link is the lower device's."""

    __slots__ = ("real",)

    def __init__(self, real: NetDevice) -> None:
        self.real = real

    def get_drvinfo(self, dev: NetDevice) -> DrvInfo:
        return DrvInfo("802.1Q VLAN Support", "1.8", "N/A")

    def get_link(self, dev: NetDevice) -> bool:
        return ethtool_op_get_link(dev)

    def get_link_ksettings(self, dev: NetDevice) -> LinkSettings:
        return self.real.ethtool_ops.get_link_ksettings(self.real)

    def get_ts_info(self, dev: NetDevice) -> TsInfo:
        return self.real.ethtool_ops.get_ts_info(self.real)


class VlanDriver(Driver):
    """`ip link add link LINK name NAME type vlan id ID [protocol PROTOCOL]`."""

    __slots__ = ()
    name = "vlan"
    device_name = "vlan%d"
    options = ("link", "id", "protocol", "loose_binding")

    def setup(self, dev: NetDevice) -> None:
        """The defaults of every VLAN device; `create` adds what comes from the lower one."""
        ether_setup(dev)
        dev.no_queue = True
        dev.live_addr_change = True
        dev.min_mtu = 0
        dev.max_mtu = ETH_MAX_MTU
        dev.features = dev.hw_features = _FEATURES

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        """VLAN ``id`` (0-4094) of device ``link``, which may be in another namespace of this kernel.

        EINVAL for options of another type, ERANGE for another id, EPROTONOSUPPORT for an unknown tag protocol,
        EOPNOTSUPP for a lower device that carries none (loopback), ENODEV for one that goes.
        """
        real = options.pop("link", None)
        vid = options.pop("id", None)
        protocol = options.pop("protocol", ETH_P_8021Q)
        loose = options.pop("loose_binding", False)
        if not isinstance(real, NetDevice) or not isinstance(vid, int) or not isinstance(protocol, int):
            raise err(errno.EINVAL, "vlan takes link=NetDevice, id=VID and protocol=EtherType")
        if not 0 <= vid <= MAX_VID:
            raise err(errno.ERANGE)
        if protocol not in VLAN_TYPES:
            raise err(errno.EPROTONOSUPPORT)
        if real.features & NETIF_F_VLAN_CHALLENGED or real.type != ARPHRD_ETHER:
            raise err(errno.EOPNOTSUPP, f"{real.name} can't carry VLANs")
        if real.net.dev_by_index.get(real.ifindex) is not real or real.kernel is not kernel:
            raise err(errno.ENODEV)
        dev = Driver.create(self, kernel, net, name or f"{real.name}.{vid}", **options)
        dev.netdev_ops = ops = VlanOps(dev, real, vid, protocol)
        dev.ethtool_ops = VlanEthtool(real)
        if loose:
            ops.flags |= VLAN_FLAG_LOOSE_BINDING
        dev.link = real.ifindex
        dev.flags = real.flags & _INHERITED_FLAGS
        dev.mtu = real.mtu
        dev.gso_max_size = real.gso_max_size
        dev.hard_header_len = real.hard_header_len
        dev.dev_addr = real.dev_addr or ZERO_ADDR
        dev.broadcast = real.broadcast
        netif_carrier_off(dev)
        net.proc.setdefault("net/vlan/config", partial(_config_text, net))
        chain = kernel.dev_layer.netdev_chain
        if "vlan" not in chain.callbacks():
            chain.register(_netdev_event, name="vlan")
        return dev

    def ioctl(self, net: Net, creds: Credentials, cmd: int, arg: bytes) -> bytes:
        from pysock.drivers.vlan.ioctl import vlan_ioctl

        return vlan_ioctl(net, creds, arg)
