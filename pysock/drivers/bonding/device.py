"""bonding: one device made of several, for when one fails or is not enough. drivers/net/bonding/bond_main.c.

    bond = create_device(net, "bond", "bond0", mode="active-backup", miimon=100)
    bond.netdev_ops.ndo_add_slave(bond, eth0)        or ioctl(SIOCBONDENSLAVE) with two names: bond and slave

    active-backup   one slave sends and receives, the others wait. When its link fails another takes over, and tells
                    the link so: gratuitous ARP and unsolicited advertisements (NETDEV_NOTIFY_PEERS)
    balance-rr      packets take turns over all slaves with a link
    balance-xor     each pair of link-layer addresses keeps to one slave

All slaves have the bond's address (fail_over_mac none). Links are looked at every ``miimon`` ms, as Linux does; but the
timer stands only while something waits to be seen: a slave's carrier changed, a delay runs, an announcement is to be
repeated. So a bond at rest costs nothing and lets virtual time come to rest.

Not here: 802.3ad, broadcast, balance-tlb and -alb, ARP monitoring, SIOCBONDINFOQUERY (it wants a pointer; read
/proc/net/bonding/NAME).
"""

from __future__ import annotations

import errno
from contextlib import suppress

from pysock.core.dev_xmit import xmit_slow
from pysock.core.device import (
    NETREG_REGISTERED,
    NETREG_UNREGISTERING,
    RX_HANDLER_ANOTHER,
    RX_HANDLER_CONSUMED,
    RX_HANDLER_EXACT,
    Driver,
    NetDevice,
    dev_close,
    dev_open,
    dev_set_mac_address,
    dev_set_mtu,
    netdev_rx_handler_register,
    netdev_rx_handler_unregister,
    netdev_update_features,
    netif_carrier_off,
    netif_carrier_on,
)
from pysock.core.device_ops import NETDEV_TX_OK
from pysock.core.errors import err
from pysock.core.eth import EthDeviceOps, eth_random_addr, ether_setup
from pysock.core.ethtool_ops import EthtoolOps, ethtool_op_get_link
from pysock.core.ethtool_types import DrvInfo, LinkSettings
from pysock.core.netdev_events import (
    NETDEV_BONDING_FAILOVER,
    NETDEV_CHANGE,
    NETDEV_CHANGENAME,
    NETDEV_DOWN,
    NETDEV_FEAT_CHANGE,
    NETDEV_JOIN,
    NETDEV_NOTIFY_PEERS,
    NETDEV_UNREGISTER,
    NETDEV_UP,
)
from pysock.core.netdev_features import (
    NETIF_F_FRAGLIST,
    NETIF_F_GSO_SOFTWARE,
    NETIF_F_HIGHDMA,
    NETIF_F_HW_CSUM,
    NETIF_F_LLTX,
    NETIF_F_NETNS_LOCAL,
    NETIF_F_SG,
)
from pysock.core.netdev_upper import netdev_master_upper_dev_link, netdev_upper_dev_unlink
from pysock.core.skbuff import kfree_skb
from pysock.core.timer import Timer
from pysock.drivers.bonding.slave import LINK_DOWN, LINK_UP, Slave
from pysock.uapi import ioctl as nr
from pysock.uapi.ethtool import DUPLEX_UNKNOWN, PORT_OTHER, SPEED_UNKNOWN
from pysock.uapi.if_ import ARPHRD_ETHER, IFF_LOOPBACK, IFF_MASTER, IFF_SLAVE, IFF_UP, unpack_ifname
from pysock.uapi.if_ether import ETH_HLEN, ETH_MAX_MTU, ETH_P_IP
from pysock.uapi.if_packet import PACKET_BROADCAST, PACKET_MULTICAST
from pysock.uapi.in_ import IPPROTO_IGMP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.skbuff import SkBuff

MODE_ROUNDROBIN = 0
MODE_ACTIVEBACKUP = 1
MODE_XOR = 2
MODES = ("balance-rr", "active-backup", "balance-xor")
#: How often Linux looks when a mode needs it and nobody says (BOND_DEFAULT_MIIMON), ms.
DEFAULT_MIIMON = 100
_MS = 1_000_000
_FEATURES = NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_GSO_SOFTWARE | NETIF_F_HW_CSUM | NETIF_F_HIGHDMA


class BondOps(EthDeviceOps):
    """One bond. ``miimon``, ``updelay``, ``downdelay`` are in ms (miimon 0: links are taken to be up);
    ``num_peer_notif`` is how often a failover is announced, ``failovers`` counts them.
    """

    __slots__ = ("_notify_left", "_own_address", "_proc", "_timer", "_turn", "active", "dev", "downdelay", "failovers",
                 "miimon", "mode", "num_peer_notif", "primary", "slaves", "updelay")  # fmt: skip

    def __init__(self, dev: NetDevice, mode: int, miimon: int, updelay: int, downdelay: int, notify: int) -> None:
        self.dev = dev
        self.mode = mode
        self.miimon = miimon
        self.updelay = updelay
        self.downdelay = downdelay
        self.num_peer_notif = notify
        self.primary = ""
        self.slaves: list[Slave] = []
        self.active: Slave | None = None
        self.failovers = 0
        self._notify_left = 0
        self._own_address = False
        self._proc = ""
        self._turn = 0
        self._timer = Timer(self._monitor)

    # -- packets ---------------------------------------------------------------------------------------------

    def receive(self, skb: SkBuff) -> int:
        """bond_handle_frame(): what a slave received is the bond's; but a slave that waits is heard by nobody who did
        not ask for that very device.
        """
        dev = self.dev
        slave_dev = skb.dev
        if self.mode == MODE_ACTIVEBACKUP and (self.active is None or slave_dev is not self.active.dev):
            return RX_HANDLER_EXACT
        stats = dev.stats
        if not dev.running:
            stats.rx_dropped += 1
            kfree_skb(skb, "DEV_READY")
            return RX_HANDLER_CONSUMED
        skb.dev = dev
        stats.rx_packets += 1
        stats.rx_bytes += skb.len + ETH_HLEN
        if skb.ext is not None and skb.ext.pkt_type in (PACKET_BROADCAST, PACKET_MULTICAST):
            stats.multicast += 1
        return RX_HANDLER_ANOTHER

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """bond_start_xmit(). Without a slave that can send, dropped and counted in tx_dropped."""
        slave = self._choose(skb)
        if slave is None:
            dev.stats.tx_dropped += 1
            kfree_skb(skb, "NO_TX_TARGET")
            return NETDEV_TX_OK
        dev.stats.tx_packets += 1
        dev.stats.tx_bytes += skb.len
        skb.dev = lower = slave.dev
        if skb.ext is not None and skb.ext.vlan_tci is not None:
            xmit_slow(lower, skb)
        else:
            lower.queue_xmit(skb)
        return NETDEV_TX_OK

    def _choose(self, skb: SkBuff) -> Slave | None:
        if self.mode == MODE_ACTIVEBACKUP:
            return self.active
        usable = [slave for slave in self.slaves if slave.usable]
        if not usable:
            return None
        head, at = skb.head, skb.data
        if self.mode == MODE_XOR:  # bond_eth_hash: layer 2
            if skb.len - skb.data_len < ETH_HLEN:
                return usable[0]
            return usable[(head[at + 5] ^ head[at + 11] ^ head[at + 12] ^ head[at + 13]) % len(usable)]
        if skb.protocol == ETH_P_IP and skb.len - skb.data_len > ETH_HLEN + 9 and head[at + 23] == IPPROTO_IGMP:
            # A switch that snoops has to see all reports on one port (bond_xmit_roundrobin_slave_get).
            return self.active if self.active is not None and self.active.usable else usable[0]
        self._turn += 1
        return usable[(self._turn - 1) % len(usable)]

    # -- up and down -----------------------------------------------------------------------------------------

    def ndo_open(self, dev: NetDevice) -> None:
        self._look_soon()

    def ndo_stop(self, dev: NetDevice) -> None:
        dev.kernel.timers.del_timer(self._timer)
        self._notify_left = 0
        for slave in self.slaves:
            slave.filter.clear()

    def ndo_uninit(self, dev: NetDevice) -> None:
        for slave in tuple(self.slaves):
            self._release(slave)
        dev.net.proc.pop(self._proc, None)
        dev.kernel.timers.del_timer(self._timer)

    def ndo_init(self, dev: NetDevice) -> None:
        self.named()

    def named(self) -> None:
        """It has a name, or another one: /proc/net/bonding follows."""
        from pysock.drivers.bonding.proc import bond_text

        proc = self.dev.net.proc
        proc.pop(self._proc, None)
        self._proc = f"net/bonding/{self.dev.name}"
        proc[self._proc] = lambda: bond_text(self)

    def ndo_change_mtu(self, dev: NetDevice, new_mtu: int) -> None:
        """bond_change_mtu(): all slaves or none."""
        done: list[NetDevice] = []
        try:
            for slave in self.slaves:
                dev_set_mtu(slave.dev, new_mtu)
                done.append(slave.dev)
        except OSError:
            for one in done:
                dev_set_mtu(one, dev.mtu)
            raise

    def ndo_set_mac_address(self, dev: NetDevice, addr: bytes) -> None:
        """bond_set_mac_address(): all slaves or none."""
        super().ndo_set_mac_address(dev, addr)
        done: list[NetDevice] = []
        try:
            for slave in self.slaves:
                dev_set_mac_address(slave.dev, addr)
                done.append(slave.dev)
        except OSError:
            for one in done:
                dev_set_mac_address(one, dev.dev_addr)
            raise
        self._own_address = True

    def ndo_set_rx_mode(self, dev: NetDevice) -> None:
        """bond_set_rx_mode(): the active slave receives what the bond wants, in other modes all do."""
        for slave in self.slaves:
            if self.mode != MODE_ACTIVEBACKUP or slave is self.active:
                slave.filter.sync(dev.uc, dev.mc, dev.flags)
            else:
                slave.filter.clear()

    def ndo_fix_features(self, dev: NetDevice, features: int) -> int:
        """bond_fix_features(): what all slaves can."""
        for slave in self.slaves:
            features &= slave.dev.features | ~_FEATURES
        return features

    # -- slaves ----------------------------------------------------------------------------------------------

    def ndo_add_slave(self, dev: NetDevice, slave: NetDevice) -> None:
        """bond_enslave(). EPERM for a device that is up or is the bond itself, EINVAL for one that is no Ethernet
        device of this namespace, EBUSY for one that has a master.
        """
        if slave is dev or slave.flags & IFF_UP:
            raise err(errno.EPERM, f"{slave.name} can't be enslaved while it is up")
        if slave.type != ARPHRD_ETHER or slave.flags & (IFF_LOOPBACK | IFF_MASTER) or slave.net is not dev.net:
            raise err(errno.EINVAL)
        if slave.flags & IFF_SLAVE or slave.master is not None or slave.rx_handler is not None:
            raise err(errno.EBUSY)
        new = Slave(slave)
        if not self.slaves and not self._own_address:
            self._take_address(slave.dev_addr)
        try:
            dev_set_mtu(slave, dev.mtu)
            dev_set_mac_address(slave, dev.dev_addr)
            slave.flags |= IFF_SLAVE
            netdev_master_upper_dev_link(slave, dev)
            netdev_rx_handler_register(slave, self.receive)
            dev_open(slave)
        except OSError:
            self._restore(new)
            raise
        new.link = LINK_UP if new.has_link or not self.miimon else LINK_DOWN
        self.slaves.append(new)
        dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_JOIN, slave)
        netdev_update_features(dev)
        self._select()
        self.ndo_set_rx_mode(dev)

    def ndo_del_slave(self, dev: NetDevice, slave: NetDevice) -> None:
        """bond_release(). EINVAL for a device that is no slave of this bond."""
        for one in self.slaves:
            if one.dev is slave:
                self._release(one)
                return
        raise err(errno.EINVAL)

    def _release(self, slave: Slave) -> None:
        dev = self.dev
        self.slaves.remove(slave)
        if self.active is slave:
            self.active = None
        self._restore(slave)
        if dev.reg_state != NETREG_REGISTERED:
            return
        netdev_update_features(dev)
        self._select()
        if not self.slaves and not self._own_address:
            self._take_address(eth_random_addr(dev.kernel.random("mac")))

    def _restore(self, slave: Slave) -> None:
        """Give the device back as it was, as far as it lets us."""
        one = slave.dev
        slave.filter.clear()
        if one.rx_handler == self.receive:
            netdev_rx_handler_unregister(one)
        netdev_upper_dev_unlink(one, self.dev)
        dev_close(one)
        one.flags &= ~IFF_SLAVE
        if one.reg_state != NETREG_UNREGISTERING:
            with suppress(OSError):
                dev_set_mac_address(one, slave.address)
            with suppress(OSError):
                dev_set_mtu(one, slave.mtu)

    def _take_address(self, address: bytes) -> None:
        """bond_set_dev_addr()."""
        dev_set_mac_address(self.dev, address)
        self._own_address = False

    def change_active(self, slave: NetDevice) -> None:
        """bond_option_active_slave_set(): EINVAL unless it is a slave with a link and the mode has an active one."""
        for one in self.slaves:
            if one.dev is slave and one.usable and self.mode == MODE_ACTIVEBACKUP:
                self._activate(one)
                return
        raise err(errno.EINVAL)

    # -- who is active ---------------------------------------------------------------------------------------

    def _select(self) -> None:
        """bond_select_active_slave(): the primary if it has a link, else the one it was, else the first that has."""
        best = self.active if self.active is not None and self.active.usable else None
        for slave in self.slaves:
            if slave.usable and (slave.dev.name == self.primary or best is None):
                best = slave
                if slave.dev.name == self.primary:
                    break
        if best is not self.active:
            self._activate(best)
        if any(slave.usable for slave in self.slaves):
            netif_carrier_on(self.dev)
        else:
            netif_carrier_off(self.dev)

    def _activate(self, slave: Slave | None) -> None:
        """bond_change_active_slave()."""
        old, self.active = self.active, slave
        if self.mode != MODE_ACTIVEBACKUP or slave is old:
            return
        self.failovers += slave is not None
        self.ndo_set_rx_mode(self.dev)
        if slave is not None and self.dev.running:
            chain = self.dev.kernel.dev_layer.netdev_chain
            netif_carrier_on(self.dev)
            chain.call_chain(NETDEV_BONDING_FAILOVER, self.dev)
            self._notify_left = self.num_peer_notif
            self._notify_peers()

    def _notify_peers(self) -> None:
        """Tell the link where our addresses are now, and again at the next look."""
        if self._notify_left:
            self._notify_left -= 1
            self.dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_NOTIFY_PEERS, self.dev)
            if self._notify_left:
                self._look_soon()

    # -- looking at links ------------------------------------------------------------------------------------

    def _look_soon(self) -> None:
        """At the next of the instants at which Linux would look; nothing is to be seen before."""
        if (self.miimon or self._notify_left) and self.dev.running and not self._timer.pending:
            kernel = self.dev.kernel
            period = (self.miimon or DEFAULT_MIIMON) * _MS
            kernel.timers.mod_timer(self._timer, (kernel.now // period + 1) * period)

    def _monitor(self) -> None:
        """bond_mii_monitor()."""
        now = self.dev.kernel.now
        self._notify_peers()
        if self.miimon:
            changed = [slave.inspect(now, self.updelay * _MS, self.downdelay * _MS) for slave in self.slaves]
            if any(changed):
                self._select()
            if any(slave.waits for slave in self.slaves):
                self._look_soon()

    def slave_event(self, event: int, slave: NetDevice) -> None:
        """bond_slave_netdev_event()."""
        if event == NETDEV_UNREGISTER:
            self.ndo_del_slave(self.dev, slave)
        elif event in (NETDEV_CHANGE, NETDEV_UP, NETDEV_DOWN):
            if self.miimon:
                self._look_soon()
            elif event != NETDEV_CHANGE:
                self._select()
        elif event == NETDEV_FEAT_CHANGE:
            netdev_update_features(self.dev)

    # -- ioctls ----------------------------------------------------------------------------------------------

    def ndo_siocbond(self, dev: NetDevice, cmd: int, data: bytes) -> bytes:
        """bond_do_ioctl(): the union of the ifreq names a slave. ENODEV for an unknown one."""
        if cmd in (nr.SIOCBONDINFOQUERY, nr.SIOCBONDSLAVEINFOQUERY):
            raise err(errno.EOPNOTSUPP)
        slave = dev.net.dev_by_name.get(unpack_ifname(data[:16]))
        if slave is None:
            raise err(errno.ENODEV)
        if cmd == nr.SIOCBONDENSLAVE:
            self.ndo_add_slave(dev, slave)
        elif cmd == nr.SIOCBONDRELEASE:
            self.ndo_del_slave(dev, slave)
        elif cmd == nr.SIOCBONDSETHWADDR:
            self._take_address(slave.dev_addr)
        elif cmd == nr.SIOCBONDCHANGEACTIVE:
            self.change_active(slave)
        return data


def bond_ops(dev: NetDevice) -> BondOps | None:
    """The bond that ``dev`` is, None when it is none."""
    ops = dev.netdev_ops
    return ops if isinstance(ops, BondOps) else None


def _netdev_event(event: int, dev: NetDevice) -> None:
    if event == NETDEV_CHANGENAME and (bond := bond_ops(dev)) is not None:
        bond.named()
    if dev.flags & IFF_SLAVE and dev.master is not None:
        ops = bond_ops(dev.master)
        if ops is not None and any(slave.dev is dev for slave in ops.slaves):
            ops.slave_event(event, dev)


def _number(value: object, what: str, most: int) -> int:
    if not isinstance(value, int) or not 0 <= value <= most:
        raise err(errno.EINVAL, f"bond: {what} is not within 0..{most}")
    return value


class BondEthtool(EthtoolOps):
    """bond_ethtool_ops: as fast as the slaves that send, together."""

    __slots__ = ("bond",)

    def __init__(self, bond: BondOps) -> None:
        self.bond = bond

    def get_drvinfo(self, dev: NetDevice) -> DrvInfo:
        return DrvInfo("bonding", fw_version="2")  # BOND_ABI_VERSION

    def get_link(self, dev: NetDevice) -> bool:
        return ethtool_op_get_link(dev)

    def get_link_ksettings(self, dev: NetDevice) -> LinkSettings:
        bond = self.bond
        speed, duplex = 0, DUPLEX_UNKNOWN
        for slave in bond.slaves:
            if slave.link != LINK_UP or (bond.mode == MODE_ACTIVEBACKUP and slave is not bond.active):
                continue
            with suppress(OSError):  # one that does not tell
                found = slave.dev.ethtool_ops.get_link_ksettings(slave.dev)
                speed += found.speed if found.speed != SPEED_UNKNOWN else 0
                duplex = found.duplex if duplex == DUPLEX_UNKNOWN else duplex
        return LinkSettings(speed or SPEED_UNKNOWN, duplex, PORT_OTHER)


class BondDriver(Driver):
    """`ip link add NAME type bond mode MODE miimon MS ...`."""

    __slots__ = ()
    name = "bond"
    device_name = "bond%d"
    options = ("mode", "miimon", "updelay", "downdelay", "primary", "num_peer_notif")

    def setup(self, dev: NetDevice) -> None:
        ether_setup(dev)
        dev.no_queue = True
        dev.live_addr_change = True
        dev.max_mtu = ETH_MAX_MTU
        dev.flags |= IFF_MASTER
        dev.features = _FEATURES | NETIF_F_LLTX | NETIF_F_NETNS_LOCAL
        dev.hw_features = _FEATURES
        dev.dev_addr = eth_random_addr(dev.kernel.random("mac"))
        netif_carrier_off(dev)  # until a slave has a link
        dev.netdev_ops = BondOps(dev, MODE_ROUNDROBIN, DEFAULT_MIIMON, 0, 0, 1)

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        """A bond without slaves. ``mode`` is one of MODES or its number, ``primary`` the name of a slave to be. EINVAL
        for an unknown mode or a number out of range; delays are rounded down to multiples of miimon, as in Linux.
        """
        mode = options.pop("mode", MODE_ROUNDROBIN)
        if isinstance(mode, str):
            mode = MODES.index(mode) if mode in MODES else -1
        mode = _number(mode, "mode", len(MODES) - 1)
        miimon = _number(options.pop("miimon", DEFAULT_MIIMON), "miimon", 1 << 31)
        up = _number(options.pop("updelay", 0), "updelay", 1 << 31)
        down = _number(options.pop("downdelay", 0), "downdelay", 1 << 31)
        notify = _number(options.pop("num_peer_notif", 1), "num_peer_notif", 255)
        primary = options.pop("primary", "")
        if not isinstance(primary, str):
            raise err(errno.EINVAL, "bond: primary is the name of a device")
        dev = Driver.create(self, kernel, net, name, **options)
        up, down = (delay // miimon * miimon if miimon else 0 for delay in (up, down))
        ops = BondOps(dev, mode, miimon, up, down, notify)
        ops.primary = primary
        dev.netdev_ops = ops
        dev.ethtool_ops = BondEthtool(ops)
        chain = kernel.dev_layer.netdev_chain
        if "bonding" not in chain.callbacks():
            chain.register(_netdev_event, name="bonding")
        return dev
