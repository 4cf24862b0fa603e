"""A bridge: the ways out of it, and itself as a device. net/bridge/br_forward.c, br_device.c."""

from __future__ import annotations

import errno
from contextlib import suppress

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.device import (
    NETDEV_TX_OK,
    Driver,
    dev_set_mtu,
    netif_carrier_off,
    netif_carrier_on,
)
from pysock.core.errors import err
from pysock.core.eth import ZERO_ADDR, EthDeviceOps, eth_random_addr, ether_setup
from pysock.core.ethtool_ops import EthtoolOps, ethtool_op_get_link
from pysock.core.link_speed import link_speed
from pysock.core.netdev_events import NETDEV_CHANGEADDR
from pysock.core.netdev_features import NETIF_F_LLTX, NETIF_F_NETNS_LOCAL, SOFTWARE_DEVICE_FEATURES
from pysock.core.skb_copy import skb_clone
from pysock.core.skbuff import kfree_skb
from pysock.drivers.bridge.fdb import Fdb
from pysock.drivers.bridge.port import (
    ANY,
    FLOOD,
    HAIRPIN,
    ISOLATED,
    STATE_DISABLED,
    STATE_FORWARDING,
    Port,
)
from pysock.uapi import ioctl as nr
from pysock.uapi.ethtool import DUPLEX_UNKNOWN, PORT_OTHER, SPEED_UNKNOWN
from pysock.uapi.if_ether import ETH_DATA_LEN, ETH_HLEN, ETH_MAX_MTU, VLAN_HLEN
from pysock.uapi.if_packet import PACKET_HOST
from pysock.wire.stp import GROUP_ADDRESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pysock.core.capability import Credentials
    from pysock.core.ethtool_types import DrvInfo, LinkSettings
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.drivers.bridge.stp import Stp

_FEATURES = SOFTWARE_DEVICE_FEATURES | NETIF_F_LLTX | NETIF_F_NETNS_LOCAL
_MIN_DELAY, _MAX_DELAY = 2 * NSEC_PER_SEC, 30 * NSEC_PER_SEC


class BridgeOps(EthDeviceOps):
    """One bridge. ``stp_enabled`` is 1 while it takes part in the spanning tree, which `tree` makes; ``learned`` is
    `fdb.entries`; behind ``queriers`` somebody asks who is in which group; ``group_fwd_mask`` has a bit for each
    reserved group to be forwarded (1 << last byte); ``own_address`` and ``own_mtu`` say that somebody chose them.
    """

    __slots__ = (
        "dev", "fdb", "group_addr", "group_fwd_mask", "learned", "no_linklocal_learn", "own_address", "own_mtu",
        "ports", "queriers", "stp", "stp_enabled",
    )  # fmt: skip

    def __init__(self, dev: NetDevice) -> None:
        self.dev = dev
        self.ports: dict[NetDevice, Port] = {}
        self.queriers: list[Port] = []
        self.fdb = Fdb(dev)
        self.learned = self.fdb.entries
        self.stp: Stp | None = None
        self.stp_enabled = 0
        self.group_addr = GROUP_ADDRESS
        self.group_fwd_mask = 0
        self.no_linklocal_learn = False
        self.own_address = self.own_mtu = False

    # -- ways ------------------------------------------------------------------------------------------------

    def forward(self, skb: SkBuff, source: Port, port: Port) -> None:
        """Send a frame that ``source`` received out of ``port`` (br_forward)."""
        if port is source and not port.flags & HAIRPIN:
            kfree_skb(skb, "QDISC_DROP")  # its receiver has it already
        elif port.state != STATE_FORWARDING or source.flags & port.flags & ISOLATED:
            kfree_skb(skb, "NO_TX_TARGET")
        else:
            _push(skb)
            self._send(skb, port)

    def flood(self, skb: SkBuff, source: Port, kind: int, ports: Iterable[Port] | None = None) -> None:
        """Send a frame that ``source`` received out of all other ports that take this ``kind`` of unknown ones (FLOOD,
        MCAST_FLOOD, BCAST_FLOOD); or of those of ``ports`` (br_flood).
        """
        _push(skb)
        self._flood(skb, source, kind, self.ports.values() if ports is None else ports)

    def _flood(self, skb: SkBuff, source: Port | None, kind: int, ports: Iterable[Port]) -> None:
        isolated = 0 if source is None else source.flags & ISOLATED
        last = None
        for port in ports:
            flags = port.flags
            if port.state != STATE_FORWARDING or not flags & kind or flags & isolated:
                continue
            if port is source and not flags & HAIRPIN:
                continue
            if last is not None:
                self._send(skb_clone(skb), last)
            last = port
        if last is None:
            kfree_skb(skb, "NO_TX_TARGET")
        else:
            self._send(skb, last)

    def _send(self, skb: SkBuff, port: Port) -> None:
        dev = port.dev
        if skb.len > dev.mtu + ETH_HLEN + VLAN_HLEN and not skb.gso_size:
            self.dev.stats.tx_dropped += 1
            kfree_skb(skb, "PKT_TOO_BIG")
            return
        ext = skb.ext
        if ext is not None:
            ext.pkt_type = PACKET_HOST
        skb.dev = dev
        dev.queue_xmit(skb)

    def forget(self, port: Port) -> None:
        """Nobody is behind ``port`` any more."""
        if port in self.queriers:
            self.queriers.remove(port)
        self.fdb.flush(port)

    # -- the bridge as a device ------------------------------------------------------------------------------

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """What the bridge's own host sends (br_dev_xmit)."""
        dst = bytes(skb.head[skb.data : skb.data + 6])
        if len(dst) < 6:
            dev.stats.tx_dropped += 1
            kfree_skb(skb, "HDR_TRUNC")
            return NETDEV_TX_OK
        dev.stats.tx_packets += 1
        dev.stats.tx_bytes += skb.len
        skb.mac_header = skb.data
        if dst[0] & 1:
            self._flood(skb, None, ANY, self.ports.values())
            return NETDEV_TX_OK
        known = self.learned.get(dst)
        if known is None or dev.kernel.now - known.heard >= self.fdb.hold:
            self._flood(skb, None, FLOOD, self.ports.values())
        elif known.port is not None and known.port.state == STATE_FORWARDING:
            self._send(skb, known.port)
        else:
            kfree_skb(skb, "NO_TX_TARGET")
        return NETDEV_TX_OK

    def ndo_init(self, dev: NetDevice) -> None:
        self.fdb.add_local(dev.dev_addr, None)

    def ndo_uninit(self, dev: NetDevice) -> None:
        from pysock.drivers.bridge.interface import br_del_if

        self.fdb.flush(all=True)
        self.own_address = self.own_mtu = True  # not the next port's, for each that goes
        for port in list(self.ports):
            br_del_if(dev, port)
        dev.kernel.timers.del_timer(self.fdb.timer)

    def ndo_open(self, dev: NetDevice) -> None:
        """br_dev_open()."""
        if self.stp is not None:
            self.stp.start()
        for port in self.ports.values():
            self.port_link(port)

    def ndo_stop(self, dev: NetDevice) -> None:
        """br_dev_stop()."""
        for port in self.ports.values():
            if port.state != STATE_DISABLED:
                self.port_disable(port)
        if self.stp is not None:
            self.stp.stop()

    def ndo_set_mac_address(self, dev: NetDevice, addr: bytes) -> None:
        """br_set_mac_address(). EADDRNOTAVAIL for zero or a group's."""
        super().ndo_set_mac_address(dev, addr)
        self.own_address = True
        self.change_address(addr)

    def ndo_validate_addr(self, dev: NetDevice) -> None:
        """It may go up without an address: its ports will bring one."""

    def ndo_change_mtu(self, dev: NetDevice, new_mtu: int) -> None:
        self.own_mtu = True  # it follows its ports no longer

    def ndo_add_slave(self, dev: NetDevice, slave: NetDevice) -> None:
        from pysock.drivers.bridge.interface import br_add_if

        br_add_if(dev, slave)

    def ndo_del_slave(self, dev: NetDevice, slave: NetDevice) -> None:
        from pysock.drivers.bridge.interface import br_del_if

        br_del_if(dev, slave)

    def ndo_do_ioctl(self, dev: NetDevice, cmd: int, data: bytes) -> bytes:
        """br_dev_siocdevprivate()."""
        if cmd != nr.SIOCDEVPRIVATE:
            raise err(errno.EOPNOTSUPP)
        from pysock.drivers.bridge.private import bridge_private

        bridge_private(dev, data)
        return data

    # -- its address and MTU, which are its ports' -----------------------------------------------------------

    def recalculate(self, new: NetDevice | None = None) -> None:
        """The lowest of the ports' addresses is the bridge's, unless somebody chose one
        (br_stp_recalculate_bridge_id); none without ports. All that happened may be that a ``new`` port came.
        """
        dev = self.dev
        if new is not None and len(self.ports) > 1:
            address = min(dev.dev_addr, new.dev_addr)
        else:
            address = min((port.dev_addr for port in self.ports), default=ZERO_ADDR)
        if self.own_address or address == dev.dev_addr:
            return
        self.change_address(address)
        dev.dev_addr = address
        dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_CHANGEADDR, dev)

    def change_address(self, address: bytes) -> None:
        """The bridge is about to have another address: the forwarding database and the tree learn of it."""
        self.fdb.delete_local(self.dev.dev_addr, None, {port.dev_addr: one for port, one in self.ports.items()})
        if address != ZERO_ADDR:
            self.fdb.add_local(address, None)
        if self.stp is not None:
            self.stp.set_bridge_id(self.stp.bridge_id[:2] + address)

    def adjust_mtu(self, new: NetDevice | None = None) -> None:
        """br_mtu_auto_adjust(): the least of the ports', unless somebody chose one. ``new`` as for `recalculate`."""
        if not self.own_mtu:
            if new is not None and len(self.ports) > 1:
                mtu = min(self.dev.mtu, new.mtu)
            else:
                mtu = min((port.mtu for port in self.ports), default=ETH_DATA_LEN)
            if mtu != self.dev.mtu:
                with suppress(OSError):  # less than a bridge may have: it keeps its own
                    dev_set_mtu(self.dev, mtu)
                self.own_mtu = False

    # -- ports up and down -----------------------------------------------------------------------------------

    def tree(self) -> Stp:
        """The spanning tree, made if it was not. EXFULL for more ports than port identifiers have numbers for."""
        if self.stp is None:
            from pysock.drivers.bridge.stp import MAX_PORT_NUMBER, Stp

            if any(port.number > MAX_PORT_NUMBER for port in self.ports.values()):
                raise err(errno.EXFULL, f"a spanning tree has at most {MAX_PORT_NUMBER} ports")
            self.stp = Stp(self)
            for port in self.ports.values():
                self.join_tree(port)
        return self.stp

    def join_tree(self, port: Port) -> None:
        """A port's part of the tree, if there is one."""
        if self.stp is not None:
            from pysock.drivers.bridge.stp import StpPort

            port.stp = StpPort(self.stp, port, path_cost(port.dev))
            self.stp.ports.append(port.stp)

    def set_stp(self, on: bool) -> None:
        """br_stp_set_enabled(): ports that forward go on to. EXFULL as for `tree`."""
        tree = self.tree()
        if on and not self.stp_enabled:
            delay = min(max(tree.bridge_forward_delay, _MIN_DELAY), _MAX_DELAY)
            tree.bridge_forward_delay = delay
            if tree.is_root:
                tree.forward_delay = delay
            self.stp_enabled = 1
            tree.turned_on()
        elif not on:
            self.stp_enabled = 0

    def port_link(self, port: Port) -> None:
        """br_port_carrier_check(): its device, or the bridge, came up or went down, or its link did."""
        if not self.dev.running:
            return
        if not port.has_link:
            if port.state != STATE_DISABLED:
                self.port_disable(port)
        elif port.state == STATE_DISABLED:
            if self.stp is not None and port.stp is not None:
                self.stp.enable(port.stp)
            else:
                port.state = STATE_FORWARDING
                self.link_changed()

    def port_disable(self, port: Port) -> None:
        """br_stp_disable_port()."""
        if self.stp is not None and port.stp is not None:
            self.stp.disable(port.stp)
        else:
            port.state = STATE_DISABLED
            self.forget(port)
            self.link_changed()

    def link_changed(self) -> None:
        """The bridge has carrier while one of its ports forwards."""
        if any(port.state == STATE_FORWARDING for port in self.ports.values()):
            netif_carrier_on(self.dev)
        else:
            netif_carrier_off(self.dev)


def _push(skb: SkBuff) -> None:
    """A received frame becomes one to send: back to its link-layer header."""
    skb.network_header = skb.data
    skb.len += skb.data - skb.mac_header
    skb.data = skb.mac_header


def path_cost(dev: NetDevice) -> int:
    """What a LAN costs by the speed of the device on it, where that says (port_cost)."""
    from pysock.drivers.bridge.stp import COSTS, DEFAULT_COST

    return COSTS.get(link_speed(dev), DEFAULT_COST)


def bridge_ops(br: NetDevice) -> BridgeOps:
    """The bridge that ``br`` is; EOPNOTSUPP when it is none."""
    ops = br.netdev_ops
    if not isinstance(ops, BridgeOps):
        raise err(errno.EOPNOTSUPP, f"{br.name} is no bridge")
    return ops


class BridgeEthtool(EthtoolOps):
    """br_ethtool_ops: as fast as its fastest port."""

    __slots__ = ("bridge",)

    def __init__(self, bridge: BridgeOps) -> None:
        self.bridge = bridge

    def get_drvinfo(self, dev: NetDevice) -> DrvInfo:
        from pysock.core.ethtool_types import DrvInfo

        return DrvInfo("bridge", "2.3", "N/A", "N/A")

    def get_link(self, dev: NetDevice) -> bool:
        return ethtool_op_get_link(dev)

    def get_link_ksettings(self, dev: NetDevice) -> LinkSettings:
        from pysock.core.ethtool_types import LinkSettings

        speeds = []
        for port in self.bridge.ports:
            if port.running and port.carrier:
                with suppress(OSError):  # one that does not tell
                    speeds.append(port.ethtool_ops.get_link_ksettings(port).speed)
        fastest = max((speed for speed in speeds if speed != SPEED_UNKNOWN), default=SPEED_UNKNOWN)
        return LinkSettings(fastest, DUPLEX_UNKNOWN, PORT_OTHER)


class BridgeDriver(Driver):
    """`ip link add br0 type bridge [ATTRIBUTE VALUE]...`."""

    __slots__ = ()
    name = "bridge"
    device_name = "br%d"
    options = (
        "stp_state", "priority", "forward_delay", "hello_time", "max_age", "ageing_time", "group_fwd_mask",
        "no_linklocal_learn", "fdb_max_learned",
    )  # fmt: skip
    ioctls = (nr.SIOCBRADDBR, nr.SIOCBRDELBR, nr.SIOCBRADDIF, nr.SIOCBRDELIF)

    def setup(self, dev: NetDevice) -> None:
        ether_setup(dev)
        dev.netdev_ops = bridge = BridgeOps(dev)
        dev.ethtool_ops = BridgeEthtool(bridge)
        dev.no_queue = True
        dev.live_addr_change = True
        dev.max_mtu = ETH_MAX_MTU
        dev.features = dev.hw_features = _FEATURES
        dev.dev_addr = eth_random_addr(dev.kernel.random("mac"))
        netif_carrier_off(dev)  # until a port forwards
        chain = dev.kernel.dev_layer.netdev_chain
        if "bridge" not in chain.callbacks():
            from pysock.drivers.bridge.interface import netdev_event

            chain.register(netdev_event, name="bridge")

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        """A bridge without ports. Options are attributes (attr.py) with numbers as values, times in 1/100 s; errors as
        `br_attr_store`.
        """
        dev = Driver.create(self, kernel, net, name, **dict.fromkeys(options))
        if options:
            from pysock.drivers.bridge.attr import br_attr_store

            for option, value in options.items():
                br_attr_store(dev, option, str(value))
        return dev

    def ioctl(self, net: Net, creds: Credentials, cmd: int, arg: bytes) -> bytes:
        from pysock.drivers.bridge.ioctl import bridge_ioctl

        return bridge_ioctl(net, creds, cmd, arg)
