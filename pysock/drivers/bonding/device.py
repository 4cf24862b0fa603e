"""bonding: one device made of several, for when one fails or is not enough. drivers/net/bonding/bond_main.c.

    bond = create_device(net, "bond", "bond0", mode="active-backup", miimon=100)
    bond.netdev_ops.ndo_add_slave(bond, eth0)        or ioctl(SIOCBONDENSLAVE) with two names: bond and slave

    active-backup   one slave sends and receives, the others wait. When its link fails another takes over, and tells
                    the link so: gratuitous ARP and unsolicited advertisements (NETDEV_NOTIFY_PEERS)
    balance-rr      packets take turns over all slaves with a link
    balance-xor     each flow keeps to one slave: by link-layer addresses, or as xmit_hash_policy says (hash.py)
    broadcast       every packet goes by every slave
    802.3ad         as balance-xor, over those slaves on which both ends agree (ad.py)

All slaves have the bond's address; in active-backup mode fail_over_mac may have it follow the active slave, or be
handed on. Links are looked at every ``miimon`` ms, as Linux does; but the timer stands only while something waits to be
seen: a slave's carrier changed, a delay runs, an announcement is to be repeated. So a bond at rest costs nothing and
lets virtual time come to rest. (One that asks by ARP, or speaks LACP, never rests.)

Not here: balance-tlb and -alb.
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
    RX_HANDLER_PASS,
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
from pysock.core.link_speed import link_speed
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
from pysock.core.netdev_features import NETIF_F_LLTX, NETIF_F_NETNS_LOCAL, SOFTWARE_DEVICE_FEATURES
from pysock.core.netdev_upper import netdev_master_upper_dev_link, netdev_upper_dev_unlink
from pysock.core.skb_copy import skb_clone
from pysock.core.skbuff import consume_skb, kfree_skb
from pysock.core.timer import Timer
from pysock.drivers.bonding.hash import xmit_hash
from pysock.drivers.bonding.options import (
    DEFAULT_MIIMON,
    MAC_ACTIVE,
    MAC_FOLLOW,
    MAC_NONE,
    MODE_8023AD,
    MODE_ACTIVEBACKUP,
    MODE_BROADCAST,
    RESELECT,
    BondParams,
)
from pysock.drivers.bonding.slave import LINK_DOWN, LINK_UP, Slave
from pysock.uapi import ioctl as nr
from pysock.uapi.ethtool import DUPLEX_UNKNOWN, PORT_OTHER, SPEED_UNKNOWN
from pysock.uapi.if_ import ARPHRD_ETHER, IFF_LOOPBACK, IFF_MASTER, IFF_SLAVE, IFF_UP, unpack_ifname
from pysock.uapi.if_ether import ETH_HLEN, ETH_MAX_MTU, ETH_P_IP, ETH_P_SLOW
from pysock.uapi.if_packet import PACKET_BROADCAST, PACKET_MULTICAST
from pysock.uapi.in_ import IPPROTO_IGMP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.skbuff import SkBuff
    from pysock.drivers.bonding.ad import Ad
    from pysock.drivers.bonding.arpmon import ArpMonitor

_MS = 1_000_000


class BondOps(EthDeviceOps):
    """One bond. ``params`` are its options, ``failovers`` counts changes of the ``active`` slave; ``ad`` and ``arp``
    are there in the mode, and with the monitor, that they are for.
    """

    __slots__ = (
        "_by_dev", "_notify_left", "_own_address", "_proc", "_timer", "_turn", "active", "ad", "arp", "dev",
        "failovers", "params", "slaves",
    )  # fmt: skip

    def __init__(self, dev: NetDevice, params: BondParams) -> None:
        self.dev = dev
        self.params = params
        self.slaves: list[Slave] = []
        self._by_dev: dict[NetDevice, Slave] = {}
        self.active: Slave | None = None
        self.failovers = 0
        self.ad: Ad | None = None
        self.arp: ArpMonitor | None = None
        if params.mode == MODE_8023AD:
            from pysock.drivers.bonding.ad import Ad

            self.ad = Ad(self)
        if params.arp_interval:
            from pysock.drivers.bonding.arpmon import ArpMonitor

            self.arp = ArpMonitor(self)
        self._notify_left = 0
        self._own_address = False
        self._proc = ""
        self._turn = 0
        self._timer = Timer(self._monitor)

    @property
    def mode(self) -> int:
        return self.params.mode

    # -- packets ---------------------------------------------------------------------------------------------

    def receive(self, skb: SkBuff) -> int:
        """bond_handle_frame(): what a slave received is the bond's; but a slave that waits is heard by nobody who did
        not ask for that very device.
        """
        dev = self.dev
        slave = self._by_dev.get(skb.dev)  # type: ignore[arg-type]  # what is received has one
        if slave is None:
            return RX_HANDLER_PASS
        if self.arp is not None:
            self.arp.received(slave, skb)
        mode = self.params.mode
        if mode == MODE_8023AD and self.ad is not None:
            if skb.protocol == ETH_P_SLOW:
                self.ad.received(slave, skb)
                consume_skb(skb)
                return RX_HANDLER_CONSUMED
            if slave.ad is None or not slave.ad.enabled:
                return RX_HANDLER_EXACT
        if mode == MODE_ACTIVEBACKUP and slave is not self.active:
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
        if self.params.mode == MODE_BROADCAST:
            for other in self.slaves:
                if other is not slave and other.usable:
                    _send(skb_clone(skb), other.dev)
        _send(skb, slave.dev)
        return NETDEV_TX_OK

    def _choose(self, skb: SkBuff) -> Slave | None:
        params = self.params
        if params.mode == MODE_ACTIVEBACKUP:
            return self.active
        usable = [slave for slave in self.slaves if slave.usable]
        if not usable:
            return None
        if params.uses_hash:
            return usable[xmit_hash(skb, params.xmit_hash_policy) % len(usable)]
        if params.mode == MODE_BROADCAST:
            return usable[-1]
        head, at = skb.head, skb.data
        if skb.protocol == ETH_P_IP and skb.len - skb.data_len > ETH_HLEN + 9 and head[at + 23] == IPPROTO_IGMP:
            # A switch that snoops has to see all reports on one port (bond_xmit_roundrobin_slave_get).
            return self.active if self.active is not None and self.active.usable else usable[0]
        self._turn += 1
        return usable[(self._turn - 1) % len(usable)]

    # -- up and down -----------------------------------------------------------------------------------------

    def ndo_open(self, dev: NetDevice) -> None:
        self._look_soon()
        if self.arp is not None:
            self.arp.start()
        if self.ad is not None:
            self.ad.look()

    def ndo_stop(self, dev: NetDevice) -> None:
        dev.kernel.timers.del_timer(self._timer)
        if self.arp is not None:
            self.arp.stop()
        if self.ad is not None:
            self.ad.look()
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
        if self._keeps_addresses:
            return  # it goes with the active slave; saying so would make ifenslave(8) fail
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
        if self.ad is not None:
            self.ad.set_system(addr)

    @property
    def _keeps_addresses(self) -> bool:
        """Slaves have addresses of their own (fail_over_mac)."""
        return self.params.fail_over_mac != MAC_NONE and self.params.mode == MODE_ACTIVEBACKUP

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
            features &= slave.dev.features | ~SOFTWARE_DEVICE_FEATURES
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
            if not self._keeps_addresses:
                dev_set_mac_address(slave, dev.dev_addr)
            elif self.params.fail_over_mac == MAC_FOLLOW and self.slaves and slave.dev_addr == dev.dev_addr:
                dev_set_mac_address(slave, eth_random_addr(dev.kernel.random("mac")))
            slave.flags |= IFF_SLAVE
            netdev_master_upper_dev_link(slave, dev)
            netdev_rx_handler_register(slave, self.receive)
            dev_open(slave)
        except OSError:
            self._restore(new)
            raise
        self._first_look(new)
        self.slaves.append(new)
        self._by_dev[slave] = new
        if self.ad is not None:
            self.ad.add(new)
        dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_JOIN, slave)
        netdev_update_features(dev)
        self.select()
        self.ndo_set_rx_mode(dev)

    def _first_look(self, slave: Slave) -> None:
        params, now = self.params, self.dev.kernel.now
        watched = params.miimon or params.arp_interval
        slave.set_link(LINK_UP if slave.has_link or not watched else LINK_DOWN, now)
        slave.last_rx = slave.last_tx = now - (params.arp_interval + 1) * _MS
        slave.heard = dict.fromkeys(params.arp_ip_target, slave.last_rx)

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
        if self.ad is not None:
            self.ad.remove(slave)
        if self.arp is not None and self.arp.current is slave:
            self.arp.current = None
        if self.active is slave:
            self.active = None
        self._restore(slave)
        del self._by_dev[slave.dev]
        if dev.reg_state != NETREG_REGISTERED:
            return
        netdev_update_features(dev)
        self.select()
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

    def _preferred(self) -> Slave | None:
        """bond_choose_primary_or_current(), with what `primary_reselect` says of a primary that came back."""
        current = self.active if self.active is not None and self.active.usable else None
        primary = next((slave for slave in self.slaves if slave.dev.name == self.params.primary), None)
        if primary is None or not primary.usable or current is None or primary is current:
            return primary if primary is not None and primary.usable else current
        policy = RESELECT[self.params.primary_reselect]
        if policy == "failure" or (policy == "better" and link_speed(primary.dev) <= link_speed(current.dev)):
            return current
        return primary

    def select(self) -> None:
        """bond_select_active_slave(): the primary, or the one it was, else the first that has a link."""
        best = self._preferred() or next((slave for slave in self.slaves if slave.usable), None)
        if best is not self.active:
            self._activate(best)
        self.set_carrier()

    def set_carrier(self) -> None:
        """bond_set_carrier(): in 802.3ad while enough ports of the active aggregator work."""
        if self.ad is not None:
            best = self.ad.best
            up = best is not None and best.working > 0 and best.working >= self.params.min_links
        else:
            up = any(slave.usable for slave in self.slaves)
        (netif_carrier_on if up else netif_carrier_off)(self.dev)

    def _activate(self, slave: Slave | None) -> None:
        """bond_change_active_slave()."""
        old, self.active = self.active, slave
        if self.mode != MODE_ACTIVEBACKUP or slave is old:
            return
        self.failovers += slave is not None
        if slave is not None:
            slave.last_link_up = self.dev.kernel.now
            if self._keeps_addresses:
                self._fail_over_mac(old, slave)
        self.ndo_set_rx_mode(self.dev)
        if slave is not None and self.dev.running:
            chain = self.dev.kernel.dev_layer.netdev_chain
            netif_carrier_on(self.dev)
            chain.call_chain(NETDEV_BONDING_FAILOVER, self.dev)
            self._notify_left = self.params.num_peer_notif
            self.notify_peers()

    def _fail_over_mac(self, old: Slave | None, new: Slave) -> None:
        """bond_do_fail_over_mac(): the bond takes the new slave's address, or hands its own on to it."""
        dev = self.dev
        if self.params.fail_over_mac == MAC_ACTIVE:
            if new.dev.dev_addr != dev.dev_addr:
                self._take_address(new.dev.dev_addr)
            return
        spare = new.dev.dev_addr
        if spare != dev.dev_addr:
            with suppress(OSError):
                if old is not None and old in self.slaves:
                    dev_set_mac_address(old.dev, spare)
                dev_set_mac_address(new.dev, dev.dev_addr)

    def notify_peers(self) -> None:
        """Tell the link where our addresses are now, and again at the next look."""
        if self._notify_left:
            self._notify_left -= 1
            self.dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_NOTIFY_PEERS, self.dev)
            if self._notify_left:
                self._look_soon()

    # -- looking at links ------------------------------------------------------------------------------------

    def _look_soon(self) -> None:
        """At the next of the instants at which Linux would look; nothing is to be seen before."""
        params = self.params
        if (params.miimon or (self._notify_left and self.arp is None)) and self.dev.running and not self._timer.pending:
            kernel = self.dev.kernel
            period = (params.miimon or DEFAULT_MIIMON) * _MS
            kernel.timers.mod_timer(self._timer, (kernel.now // period + 1) * period)

    def _monitor(self) -> None:
        """bond_mii_monitor()."""
        now = self.dev.kernel.now
        self.notify_peers()
        params = self.params
        if params.miimon:
            changed = [slave.inspect(now, params.updelay * _MS, params.downdelay * _MS) for slave in self.slaves]
            if any(changed):
                self.select()
                if self.ad is not None:
                    self.ad.look()
            if any(slave.waits for slave in self.slaves):
                self._look_soon()

    def slave_event(self, event: int, slave: NetDevice) -> None:
        """bond_slave_netdev_event()."""
        if event == NETDEV_UNREGISTER:
            self.ndo_del_slave(self.dev, slave)
        elif event in (NETDEV_CHANGE, NETDEV_UP, NETDEV_DOWN):
            if self.params.miimon:
                self._look_soon()
            elif event != NETDEV_CHANGE and self.arp is None:
                self.select()
        elif event == NETDEV_FEAT_CHANGE:
            netdev_update_features(self.dev)

    # -- ioctls ----------------------------------------------------------------------------------------------

    def ndo_siocbond(self, dev: NetDevice, cmd: int, data: bytes) -> bytes:
        """bond_eth_ioctl(): the union of the ifreq names a slave, ENODEV for an unknown one; or it points to a
        structure to be filled in.
        """
        if cmd in (nr.SIOCBONDINFOQUERY, nr.SIOCBONDSLAVEINFOQUERY):
            from pysock.drivers.bonding.query import bond_query

            bond_query(self, cmd, data)
            return data
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


def _send(skb: SkBuff, lower: NetDevice) -> None:
    skb.dev = lower
    if skb.ext is not None and skb.ext.vlan_tci is not None:
        xmit_slow(lower, skb)
    else:
        lower.queue_xmit(skb)


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
    options = BondParams.__slots__

    def setup(self, dev: NetDevice) -> None:
        ether_setup(dev)
        dev.no_queue = True
        dev.live_addr_change = True
        dev.max_mtu = ETH_MAX_MTU
        dev.flags |= IFF_MASTER
        dev.features = SOFTWARE_DEVICE_FEATURES | NETIF_F_LLTX | NETIF_F_NETNS_LOCAL
        dev.hw_features = SOFTWARE_DEVICE_FEATURES
        dev.dev_addr = eth_random_addr(dev.kernel.random("mac"))
        netif_carrier_off(dev)  # until a slave has a link
        dev.netdev_ops = BondOps(dev, BondParams())

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        """A bond without slaves. Options are those of `BondParams`, by name or by number; ``primary`` is the name of a
        slave to be. Delays are rounded down to multiples of miimon, as in Linux. Errors as `BondParams`.
        """
        params = BondParams(**options)
        dev = Driver.create(self, kernel, net, name)
        dev.netdev_ops = ops = BondOps(dev, params)
        dev.ethtool_ops = BondEthtool(ops)
        chain = kernel.dev_layer.netdev_chain
        if "bonding" not in chain.callbacks():
            chain.register(_netdev_event, name="bonding")
        return dev
