"""bridge: a switch made of devices. net/bridge/, ip-link(8) "type bridge", IEEE 802.1D.

    br = create_device(net, "bridge", "br0");  br_add_if(br, port);  br_del_if(br, port)

A frame that a port receives teaches where its sender is, and goes to the port where its receiver is, or to all others
when nobody knows or it is for a group. What is for the bridge itself, or for a group, the bridge device receives; what
the bridge device sends takes the same ways. Frames keep their super-segments and unfinished checksums; a port that
can't take them has them cut and finished on the way out.

Of multicast snooping there is what keeps thousands of ports quiet: reports of membership (IGMP, MLD) go only where a
querier was heard. Groups are flooded. Not here: the spanning tree (build no loops), VLAN filtering.
"""

from __future__ import annotations

import errno
from contextlib import suppress

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.device import (
    NETDEV_TX_OK,
    RX_HANDLER_ANOTHER,
    RX_HANDLER_CONSUMED,
    Driver,
    dev_set_mac_address,
    dev_set_promiscuity,
    netdev_rx_handler_register,
    netdev_rx_handler_unregister,
    netif_carrier_off,
    netif_carrier_on,
)
from pysock.core.errors import err
from pysock.core.eth import EthDeviceOps, eth_random_addr, ether_setup
from pysock.core.ethtool_ops import EthtoolOps, ethtool_op_get_link
from pysock.core.netdev_events import NETDEV_CHANGE, NETDEV_DOWN, NETDEV_UNREGISTER, NETDEV_UP
from pysock.core.netdev_features import (
    NETIF_F_FRAGLIST,
    NETIF_F_GSO_SOFTWARE,
    NETIF_F_HIGHDMA,
    NETIF_F_HW_CSUM,
    NETIF_F_LLTX,
    NETIF_F_NETNS_LOCAL,
    NETIF_F_SG,
)
from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import skb_header_pointer
from pysock.core.skbuff import kfree_skb
from pysock.core.timer import Timer
from pysock.uapi.ethtool import DUPLEX_UNKNOWN, PORT_OTHER, SPEED_UNKNOWN
from pysock.uapi.if_ import ARPHRD_ETHER, IFF_LOOPBACK, IFF_UP
from pysock.uapi.if_ether import ETH_HLEN, ETH_MAX_MTU, ETH_P_IP, ETH_P_IPV6, VLAN_HLEN
from pysock.uapi.if_packet import PACKET_BROADCAST, PACKET_HOST, PACKET_MULTICAST
from pysock.uapi.in_ import IPPROTO_ICMPV6, IPPROTO_IGMP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.ethtool_types import DrvInfo, LinkSettings
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

_FEATURES = (
    NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_GSO_SOFTWARE | NETIF_F_HW_CSUM | NETIF_F_HIGHDMA | NETIF_F_LLTX
    | NETIF_F_NETNS_LOCAL
)  # fmt: skip
#: An address that was not heard of for so long is unknown again (802.1D 7.9.2).
AGEING_NS = 300 * NSEC_PER_SEC
#: No more addresses than this are learned; to those beyond, frames are flooded.
MAX_LEARNED = 65_536
#: 01:80:C2:00:00:0X is for this bridge alone and never forwarded (802.1D 7.12.6).
_LINK_LOCAL = b"\x01\x80\xc2\x00\x00"
_QUERY, _REPORT = 1, 2
_IGMP_KINDS = {0x11: _QUERY, 0x12: _REPORT, 0x16: _REPORT, 0x17: _REPORT, 0x22: _REPORT}
_MLD_KINDS = {130: _QUERY, 131: _REPORT, 132: _REPORT, 143: _REPORT}


class _Learned:
    """Where an address was heard last (net_bridge_fdb_entry)."""

    __slots__ = ("heard", "port")

    def __init__(self, port: Port, heard: int) -> None:
        self.port = port
        self.heard = heard


class Port:
    """A device of the bridge (net_bridge_port); its method `receive` is the device's rx_handler."""

    __slots__ = ("bridge", "dev")

    def __init__(self, bridge: BridgeOps, dev: NetDevice) -> None:
        self.bridge = bridge
        self.dev = dev

    @property
    def forwards(self) -> bool:
        return self.dev.running and self.dev.carrier

    def receive(self, skb: SkBuff) -> int:
        """br_handle_frame(): learn, then on to where it goes."""
        bridge = self.bridge
        head = skb.head
        at = skb.mac_header
        dst, src = head[at : at + 6], head[at + 6 : at + 12]
        br = bridge.dev
        if src[0] & 1 or not br.running or not self.forwards or dst[:5] == _LINK_LOCAL:
            kfree_skb(skb, "DEV_READY")
            return RX_HANDLER_CONSUMED
        now = br.kernel.now
        known = bridge.learned.get(bytes(src))
        if known is not None and known.port is self:
            known.heard = now
        else:
            bridge.learn(bytes(src), self, now)
        if dst[0] & 1:
            membership = _membership(skb)
            if membership == _QUERY and self not in bridge.queriers:
                bridge.queriers.append(self)
            bridge.flood(skb_clone(skb), self, membership == _REPORT)
            return self._up(skb, br, PACKET_BROADCAST if dst == br.broadcast else PACKET_MULTICAST)
        known = bridge.learned.get(bytes(dst))
        if known is not None and now - known.heard < bridge.ageing:
            if known.port is self:
                kfree_skb(skb, "QDISC_DROP")  # its receiver has it already
            else:
                bridge.forward(skb, known.port)
            return RX_HANDLER_CONSUMED
        if dst in (br.dev_addr, self.dev.dev_addr):
            return self._up(skb, br, PACKET_HOST)
        bridge.flood(skb, self, False)
        return RX_HANDLER_CONSUMED

    def _up(self, skb: SkBuff, br: NetDevice, kind: int) -> int:
        """br_pass_frame_up()."""
        skb.pkt_type = kind
        skb.dev = br
        br.stats.rx_packets += 1
        br.stats.rx_bytes += skb.len + ETH_HLEN
        return RX_HANDLER_ANOTHER


def _membership(skb: SkBuff) -> int:
    """Whether a multicast packet is a query or a report of who is in a group: _QUERY, _REPORT, or 0."""
    if skb.protocol == ETH_P_IP:
        head = skb_header_pointer(skb, 0, 20)
        if head is not None and head[9] == IPPROTO_IGMP:
            kind = skb_header_pointer(skb, (head[0] & 0xF) << 2, 1)
            return _IGMP_KINDS.get(kind[0], 0) if kind is not None else 0
    elif skb.protocol == ETH_P_IPV6:
        # RFC 3810 5: behind a hop-by-hop header of eight bytes with the router alert
        head = skb_header_pointer(skb, 0, 49)
        if head is not None and head[6] == 0 and head[40] == IPPROTO_ICMPV6 and head[41] == 0:
            return _MLD_KINDS.get(head[48], 0)
    return 0


class BridgeOps(EthDeviceOps):
    """One bridge. ``learned`` maps addresses to where they were heard; ``ageing`` is in ns; behind ``queriers``
    somebody asks who is in which group.
    """

    __slots__ = ("ageing", "dev", "learned", "ports", "queriers", "timer")

    def __init__(self, dev: NetDevice) -> None:
        self.dev = dev
        self.ports: dict[NetDevice, Port] = {}
        self.queriers: list[Port] = []
        self.learned: dict[bytes, _Learned] = {}
        self.ageing = AGEING_NS
        self.timer = Timer(self._age)

    # -- ways ------------------------------------------------------------------------------------------------

    def forward(self, skb: SkBuff, port: Port) -> None:
        """Send a received frame out of ``port`` (br_forward)."""
        skb.network_header = skb.data
        skb.len += skb.data - skb.mac_header
        skb.data = skb.mac_header
        self._send(skb, port)

    def flood(self, skb: SkBuff, source: Port | None, to_queriers: bool) -> None:
        """Send a received frame out of all ports but ``source`` (br_flood); or only of those with a querier."""
        skb.network_header = skb.data
        skb.len += skb.data - skb.mac_header
        skb.data = skb.mac_header
        self._flood(skb, source, to_queriers)

    def _flood(self, skb: SkBuff, source: Port | None, to_queriers: bool) -> None:
        last = None
        for port in self.queriers if to_queriers else self.ports.values():
            if port is source or not port.forwards:
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
        if not port.forwards or (skb.len > dev.mtu + ETH_HLEN + VLAN_HLEN and not skb.gso_size):
            self.dev.stats.tx_dropped += 1
            kfree_skb(skb, "PKT_TOO_BIG")
            return
        ext = skb.ext
        if ext is not None:
            ext.pkt_type = PACKET_HOST
        skb.dev = dev
        dev.queue_xmit(skb)

    # -- learning --------------------------------------------------------------------------------------------

    def learn(self, address: bytes, port: Port, now: int) -> None:
        """``address`` is new, or has moved."""
        known = self.learned.get(address)
        if known is not None:
            known.port, known.heard = port, now
        elif len(self.learned) < MAX_LEARNED:
            self.learned[address] = _Learned(port, now)
            if not self.timer.pending:
                self.dev.kernel.timers.mod_timer(self.timer, now + self.ageing)

    def _age(self) -> None:
        kernel = self.dev.kernel
        oldest = kernel.now - self.ageing
        self.learned = {address: known for address, known in self.learned.items() if known.heard > oldest}
        if self.learned:
            heard = min(known.heard for known in self.learned.values())
            kernel.timers.mod_timer(self.timer, heard + self.ageing)

    def forget(self, port: Port) -> None:
        """Nobody is behind ``port`` any more."""
        if port in self.queriers:
            self.queriers.remove(port)
        self.learned = {address: known for address, known in self.learned.items() if known.port is not port}

    # -- the bridge as a device ------------------------------------------------------------------------------

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """What the bridge's own host sends (br_dev_xmit)."""
        dev.stats.tx_packets += 1
        dev.stats.tx_bytes += skb.len
        skb.mac_header = skb.data
        dst = bytes(skb.head[skb.data : skb.data + 6])
        known = self.learned.get(dst)
        if known is not None and dev.kernel.now - known.heard < self.ageing:
            self._send(skb, known.port)
        else:
            self._flood(skb, None, False)
        return NETDEV_TX_OK

    def ndo_uninit(self, dev: NetDevice) -> None:
        for port in list(self.ports):
            br_del_if(dev, port)
        dev.kernel.timers.del_timer(self.timer)

    def link_changed(self) -> None:
        """The bridge has carrier while one of its ports forwards."""
        if any(port.forwards for port in self.ports.values()):
            netif_carrier_on(self.dev)
        else:
            netif_carrier_off(self.dev)


def _ops(br: NetDevice) -> BridgeOps:
    ops = br.netdev_ops
    if not isinstance(ops, BridgeOps):
        raise err(errno.EOPNOTSUPP, f"{br.name} is no bridge")
    return ops


def br_add_if(br: NetDevice, dev: NetDevice) -> None:
    """Make ``dev`` a port of ``br`` (br_add_if). EINVAL for loopback, what is no Ethernet, or another namespace's;
    ELOOP for a bridge; EBUSY for a device that has a master; EOPNOTSUPP when ``br`` is no bridge.
    """
    bridge = _ops(br)
    if dev.flags & IFF_LOOPBACK or dev.type != ARPHRD_ETHER or dev.net is not br.net:
        raise err(errno.EINVAL)
    if isinstance(dev.netdev_ops, BridgeOps):
        raise err(errno.ELOOP)
    port = Port(bridge, dev)
    netdev_rx_handler_register(dev, port.receive)
    dev_set_promiscuity(dev, 1)
    if not bridge.ports or dev.dev_addr < br.dev_addr:
        dev_set_mac_address(br, dev.dev_addr)  # br_stp_recalculate_bridge_id: the lowest
    bridge.ports[dev] = port
    if port.forwards:
        netif_carrier_on(br)


def br_del_if(br: NetDevice, dev: NetDevice) -> None:
    """Take a port out (br_del_if). EINVAL when it is none of ``br``."""
    bridge = _ops(br)
    port = bridge.ports.pop(dev, None)
    if port is None:
        raise err(errno.EINVAL)
    netdev_rx_handler_unregister(dev)
    dev_set_promiscuity(dev, -1)
    bridge.forget(port)
    bridge.link_changed()


def _netdev_event(event: int, dev: NetDevice) -> None:
    """br_device_event(): what happens to ports."""
    port = getattr(dev.rx_handler, "__self__", None)
    if not isinstance(port, Port):
        return
    bridge = port.bridge
    if event == NETDEV_UNREGISTER:
        br_del_if(bridge.dev, dev)
    elif event in (NETDEV_UP, NETDEV_CHANGE, NETDEV_DOWN):
        if port.forwards and dev.flags & IFF_UP:
            netif_carrier_on(bridge.dev)
        else:
            bridge.forget(port)
            bridge.link_changed()


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
    """`ip link add br0 type bridge`."""

    __slots__ = ()
    name = "bridge"
    device_name = "br%d"

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
            chain.register(_netdev_event, name="bridge")
