"""vlan: an Ethernet device that is one 802.1Q VLAN of another. net/8021q/, vconfig(8), IEEE 802.1Q.

    create_device(net, "vlan", "eth0.5", link=eth0, id=5)          protocol=ETH_P_8021AD for a service tag
    ioctl(fd, SIOCSIFVLAN, struct vlan_ioctl_args)                 ioctl.py

What it sends leaves through the device below with the tag beside the frame; the device layer (core/vlan.py) puts it in,
and takes it out of what arrives and calls `VlanOps.receive`. VLANs stack: the lower device may be a VLAN (Q-in-Q), and
it may live in another namespace.

The upper device follows the lower one: carrier, MTU limit, address while nobody gave it one of its own, up and down
(unless VLAN_FLAG_LOOSE_BINDING), and it goes when that goes. Without VLAN_FLAG_REORDER_HDR programs that look at whole
frames find the tag in what it received, and may send with it. Not here: GVRP, MVRP.
"""

from __future__ import annotations

import errno
from functools import partial

from pysock.core.device import (
    RX_HANDLER_ANOTHER,
    RX_HANDLER_CONSUMED,
    Driver,
    dev_close,
    dev_open,
    netif_carrier_off,
)
from pysock.core.device_ops import NETDEV_TX_OK
from pysock.core.errors import err
from pysock.core.eth import ZERO_ADDR, ether_setup
from pysock.core.ethtool_types import DrvInfo
from pysock.core.netdev_events import (
    NETDEV_CHANGE,
    NETDEV_CHANGEADDR,
    NETDEV_CHANGENAME,
    NETDEV_DOWN,
    NETDEV_UP,
)
from pysock.core.netdev_features import NETIF_F_GSO_SOFTWARE, NETIF_F_HW_CSUM, NETIF_F_VLAN_CHALLENGED
from pysock.core.netdev_upper import (
    netdev_upper_dev_link,
    netdev_upper_dev_unlink,
    netif_stacked_transfer_operstate,
)
from pysock.core.netdevice import NetDevice
from pysock.core.skbuff import kfree_skb
from pysock.core.stacked import STACKED_FEATURES, StackedEthtool, StackedOps, check_lower, stack_on, stacked_event
from pysock.core.vlan import VLAN_TYPES, VlanGroup, vlan_restore
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

_INHERITED_FLAGS = ~(IFF_UP | IFF_PROMISC | IFF_ALLMULTI | IFF_MASTER | IFF_SLAVE | IFF_LOOPBACK)
_FLAGS = VLAN_FLAG_REORDER_HDR | VLAN_FLAG_LOOSE_BINDING | VLAN_FLAG_BRIDGE_BINDING
MAX_VID = 4094  # 4095 is reserved


class VlanOps(StackedOps):
    """One VLAN device (struct vlan_dev_priv). ``ingress`` has the priority of each PCP, ``egress`` the PCP bits of each
    priority; ``own_address`` says that somebody set its address.
    """

    __slots__ = ("_lower_addr", "_proc", "egress", "flags", "ingress", "own_address", "protocol", "vid")

    def __init__(self, dev: NetDevice, lower: NetDevice, vid: int, protocol: int) -> None:
        super().__init__(dev, lower)
        self.vid = vid
        self.protocol = protocol
        self.flags = VLAN_FLAG_REORDER_HDR
        self.ingress = [0] * 8
        self.egress: dict[int, int] = {}
        self.own_address = False
        self._lower_addr = lower.dev_addr
        self._proc = ""

    # -- packets ---------------------------------------------------------------------------------------------

    def receive(self, skb: SkBuff) -> int:
        """vlan_do_receive(): a packet of this VLAN, its tag beside it."""
        dev = self.dev
        ext = skb.need_ext()
        tci = ext.vlan_tci or 0
        if not self.flags & VLAN_FLAG_REORDER_HDR and dev.rx_handler is None:
            vlan_restore(skb)
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
        if self.flags & VLAN_FLAG_REORDER_HDR or not self._is_tagged(skb):
            ext.vlan_tci = self.vid | self.egress.get(ext.priority, 0)
            ext.vlan_proto = self.protocol
        self.send_below(skb)
        return NETDEV_TX_OK

    def _is_tagged(self, skb: SkBuff) -> bool:
        """The frame has a tag of ours in it: a program put it there."""
        at = skb.data + 12
        return bytes(skb.head[at : at + 2]) == self.protocol.to_bytes(2, "big")

    # -- configuration ---------------------------------------------------------------------------------------

    def ndo_init(self, dev: NetDevice) -> None:
        """vlan_dev_init() and register_vlan_dev(). EEXIST when the lower device has such a VLAN."""
        lower = self.lower
        group = lower.vlan_group
        if group is None:
            group = VlanGroup()
        key = self.protocol << 12 | self.vid
        if key in group.takers:
            raise err(errno.EEXIST, f"{lower.name} has VLAN {self.vid} already")
        netdev_upper_dev_link(lower, dev)
        group.takers[key] = self.receive
        lower.vlan_group = group
        lower.update_path()
        netif_stacked_transfer_operstate(lower, dev)
        self.named()

    def named(self) -> None:
        """It has a name, or another one: /proc/net/vlan follows."""
        proc = self.dev.net.proc
        proc.pop(self._proc, None)
        self._proc = f"net/vlan/{self.dev.name}"
        proc[self._proc] = partial(_device_text, self)

    def ndo_uninit(self, dev: NetDevice) -> None:
        dev.net.proc.pop(self._proc, None)
        lower = self.lower
        group = lower.vlan_group
        key = self.protocol << 12 | self.vid
        if group is None or group.takers.get(key) != self.receive:
            return
        del group.takers[key]
        if not group.takers:
            lower.vlan_group = None
            lower.update_path()
        self.filter.clear()
        netdev_upper_dev_unlink(lower, dev)

    def ndo_open(self, dev: NetDevice) -> None:
        """ENETDOWN while the lower device is down."""
        if not self.lower.flags & IFF_UP and not self.flags & VLAN_FLAG_LOOSE_BINDING:
            raise err(errno.ENETDOWN)
        netif_stacked_transfer_operstate(self.lower, dev)

    def ndo_stop(self, dev: NetDevice) -> None:
        self.filter.clear()
        netif_carrier_off(dev)

    def ndo_set_rx_mode(self, dev: NetDevice) -> None:
        self._sync(dev.dev_addr)

    def _sync(self, address: bytes) -> None:
        """Have the lower device receive what this one wants (vlan_dev_set_rx_mode)."""
        self.ask_for(*(() if address == self.lower.dev_addr else (address,)))

    def ndo_set_mac_address(self, dev: NetDevice, addr: bytes) -> None:
        super().ndo_set_mac_address(dev, addr)
        self.own_address = True
        if dev.running:
            self._sync(addr)

    def ndo_change_mtu(self, dev: NetDevice, new_mtu: int) -> None:
        """vlan_dev_change_mtu(). ERANGE for more than the lower device's."""
        if new_mtu > self.lower.mtu:
            raise err(errno.ERANGE)

    def ndo_fix_features(self, dev: NetDevice, features: int) -> int:
        """vlan_dev_fix_features(): the lower device's, as far as they do not depend on where the headers lie."""
        below = self.lower.features
        if not below & NETIF_F_HW_CSUM:
            below &= ~NETIF_F_GSO_SOFTWARE
        return features & (below | ~STACKED_FEATURES)

    def change_flags(self, flags: int, mask: int) -> None:
        """vlan_dev_change_flags(). EINVAL for a flag that Linux does not know, EOPNOTSUPP for one that is not here."""
        if mask & ~0x1F:
            raise err(errno.EINVAL)
        if mask & ~_FLAGS & flags:
            raise err(errno.EOPNOTSUPP)
        self.flags = self.flags & ~mask | flags & mask

    # -- what happens to the lower device --------------------------------------------------------------------

    def lower_event(self, event: int, lower: NetDevice) -> None:
        """vlan_device_event() for this one of the lower device's VLANs."""
        dev = self.dev
        loose = self.flags & VLAN_FLAG_LOOSE_BINDING
        if event == NETDEV_CHANGE:
            if dev.running:
                netif_stacked_transfer_operstate(lower, dev)
        elif event == NETDEV_CHANGEADDR:
            self._lower_address(lower)
        elif event == NETDEV_UP:
            if not loose and not dev.flags & IFF_UP:
                dev_open(dev)
            netif_stacked_transfer_operstate(lower, dev)
        elif event == NETDEV_DOWN:
            if not loose:
                dev_close(dev)
            netif_stacked_transfer_operstate(lower, dev)
        else:
            super().lower_event(event, lower)

    def _lower_address(self, lower: NetDevice) -> None:
        """vlan_sync_address()."""
        dev = self.dev
        if lower.dev_addr == self._lower_addr:
            return
        self._lower_addr = lower.dev_addr
        if not self.own_address:
            dev.dev_addr = lower.dev_addr
            dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_CHANGEADDR, dev)
        if dev.running:
            self._sync(dev.dev_addr)


def vlan_ops(dev: NetDevice) -> VlanOps | None:
    """The VLAN that ``dev`` is, None when it is none (is_vlan_dev, vlan_dev_priv)."""
    ops = dev.netdev_ops
    return ops if isinstance(ops, VlanOps) else None


def _netdev_event(event: int, dev: NetDevice) -> None:
    if event == NETDEV_CHANGENAME and (named := vlan_ops(dev)) is not None:
        named.named()
    if dev.vlan_group is not None:
        mine = (vlan_ops(upper) for upper in dev.uppers)
        stacked_event(event, dev, [ops for ops in mine if ops is not None and ops.lower is dev])


def _config_text(net: Net) -> str:
    from pysock.drivers.vlan.proc import config_text

    return config_text(net)


def _device_text(ops: VlanOps) -> str:
    from pysock.drivers.vlan.proc import device_text

    return device_text(ops)


class VlanDriver(Driver):
    """`ip link add link LINK name NAME type vlan id ID [protocol PROTOCOL]`."""

    __slots__ = ()
    name = "vlan"
    device_name = "vlan%d"
    options = ("link", "id", "protocol", "loose_binding", "reorder_hdr", "ingress_qos_map", "egress_qos_map")

    def setup(self, dev: NetDevice) -> None:
        """The defaults of every VLAN device; `create` adds what comes from the lower one."""
        ether_setup(dev)
        dev.no_queue = True
        dev.live_addr_change = True
        dev.min_mtu = 0
        dev.max_mtu = ETH_MAX_MTU
        dev.features = dev.hw_features = STACKED_FEATURES

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        """VLAN ``id`` (0-4094) of device ``link``, which may be in another namespace of this kernel. ``loose_binding``
        and ``reorder_hdr`` (on unless said) are flags; ``ingress_qos_map`` is a dict of priorities by PCP (0-7),
        ``egress_qos_map`` the other way round.

        EINVAL for options of another type, ERANGE for another id, EPROTONOSUPPORT for an unknown tag protocol,
        EOPNOTSUPP for a lower device that carries none (loopback), ENODEV for one that goes.
        """
        real = options.pop("link", None)
        vid = options.pop("id", None)
        protocol = options.pop("protocol", ETH_P_8021Q)
        loose, reorder = options.pop("loose_binding", False), options.pop("reorder_hdr", True)
        ingress, egress = options.pop("ingress_qos_map", {}), options.pop("egress_qos_map", {})
        if not isinstance(real, NetDevice) or not isinstance(vid, int) or not isinstance(protocol, int):
            raise err(errno.EINVAL, "vlan takes link=NetDevice, id=VID and protocol=EtherType")
        if not isinstance(ingress, dict) or not isinstance(egress, dict):
            raise err(errno.EINVAL, "vlan: a qos_map is a dict")
        if not all(pcp in range(8) for pcp in (*ingress, *egress.values())):
            raise err(errno.EINVAL, "vlan: a PCP is within 0..7")
        if not 0 <= vid <= MAX_VID:
            raise err(errno.ERANGE)
        if protocol not in VLAN_TYPES:
            raise err(errno.EPROTONOSUPPORT)
        if real.features & NETIF_F_VLAN_CHALLENGED or real.type != ARPHRD_ETHER:
            raise err(errno.EOPNOTSUPP, f"{real.name} can't carry VLANs")
        check_lower(kernel, real)
        dev = Driver.create(self, kernel, net, name or f"{real.name}.{vid}", **options)
        dev.netdev_ops = ops = VlanOps(dev, real, vid, protocol)
        dev.ethtool_ops = StackedEthtool(real, DrvInfo("802.1Q VLAN Support", "1.8", "N/A"))
        ops.flags = (VLAN_FLAG_REORDER_HDR if reorder else 0) | (VLAN_FLAG_LOOSE_BINDING if loose else 0)
        for pcp, priority in ingress.items():
            ops.ingress[pcp] = priority
        ops.egress.update({priority: pcp << PCP_SHIFT for priority, pcp in egress.items()})
        dev.flags = real.flags & _INHERITED_FLAGS
        stack_on(dev, real)
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
