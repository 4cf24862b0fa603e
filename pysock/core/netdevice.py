"""NetDevice: one network interface (struct net_device), and the way a packet takes into it.

    dev_queue_xmit(skb) -> dev.queue_xmit(skb) -+-> ndo_start_xmit                          direct
                                                +-> qdisc.bypass -> ndo_start_xmit          past its empty queue
                                                +-> dev_xmit.xmit_slow -> qdisc -> ...      otherwise

The transmit path asks one question, `xmit_direct`, which `update_path` answers anew whenever something it rests on
changes: the device is up, has carrier, no queueing discipline that queues, no tap, a queue that is not stopped, and
takes every packet as it is (NETIF_F_TAKES_ALL). With a discipline that may be skipped while it is empty, and a device
that takes all but super-segments, `xmit_bypass` is that discipline. So `queue_xmit` may be kept by a route or a
neighbour entry for as long as the device exists: it is always the right one.

Whoever changes flags, features, carrier, taps or the qdisc goes through the functions that call `update_path`:
netdev_config.py, netdev_register.py, qdisc.py, and dev_add_pack in dev.py.
"""

from __future__ import annotations

import errno

from pysock.core import dev_xmit
from pysock.core.device_ops import NETDEV_TX_BUSY, DeviceStats, HeaderOps, NetDeviceOps
from pysock.core.errors import err
from pysock.core.ethtool_ops import NO_ETHTOOL_OPS
from pysock.core.netdev_features import NETIF_F_TAKES_ALL
from pysock.core.softirq import NAPI_POLL_WEIGHT, NET_RX_SOFTIRQ, NapiStruct
from pysock.core.timer import Timer
from pysock.uapi.if_ import (
    ARPHRD_VOID,
    IF_OPER_DORMANT,
    IF_OPER_DOWN,
    IF_OPER_LOWERLAYERDOWN,
    IF_OPER_UNKNOWN,
    IF_OPER_UP,
    IFF_ALLMULTI,
    IFF_DORMANT,
    IFF_LOWER_UP,
    IFF_PROMISC,
    IFF_RUNNING,
    IFF_UP,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.device_ops import Driver
    from pysock.core.ethtool_ops import EthtoolOps
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.netfilter import DeviceHooks
    from pysock.core.qdisc import Qdisc
    from pysock.core.rps import RxQueue
    from pysock.core.skbuff import SkBuff
    from pysock.core.vlan import VlanGroup

# dev.reg_state
NETREG_UNINITIALIZED = 0
NETREG_REGISTERED = 1
NETREG_UNREGISTERING = 2
NETREG_UNREGISTERED = 3
NETREG_NAMES = ("uninitialized", "registered", "unregistering", "unregistered")

#: dev.gso_max_size of a device that does not say less.
GSO_MAX_SIZE = 8 * 65535

_NO_OPS = NetDeviceOps()


class NetDevice:
    """One network interface. Make it with `alloc_netdev` or a driver; fill it in in the driver's setup().

    Fixed by setup(): type (ARPHRD_*), addr_len, hard_header_len (bytes), min_mtu, max_mtu (0: no limit), netdev_ops,
    ethtool_ops, header_ops, perm_addr (the address that the hardware came with, b"" if none), watchdog_timeo (ns, 0:
    none), no_queue, gso_max_size (bytes of a super-segment's frame, and it must be shorter). Changed later only through
    core/netdev_config.py: mtu (bytes), flags (IFF_*, as SIOCSIFFLAGS sees them without the volatile ones: see
    `get_flags`), dev_addr and broadcast (bytes), features, wanted_features (those of hw_features that the administrator
    would like), tx_queue_len (packets).

    Set by `create` of a driver that has several: num_rx_queues, num_tx_queues (rps.py sets rx_queues and xps,
    too).

    ``priv`` is the driver's, ``proto_priv`` has the families' state by family name ("inet"), ``owner`` names the
    plugin in error reports. ``taps`` is net.ptype_all and the device's own taps together. ``rx_handler`` is called with
    each received packet before the protocols: see `netdev_rx_handler_register`; ``ingress`` before that and before the
    VLANs in ``vlan_group``, and answers the same (netdev_upper.py: netdev_ingress_register). ``master``, ``uppers`` and
    ``lowers`` are the devices stacked on it and below it.
    """

    __slots__ = (
        "addr_len", "alias", "allmulti", "broadcast", "carrier", "dev_addr", "dormant", "driver", "ethtool_ops",
        "features", "flags", "gflags", "gso_max_size", "hard_header_len", "header_ops", "holders", "hw_features",
        "ifindex", "ingress", "kernel", "link", "live_addr_change", "lowers", "master", "max_mtu", "mc", "min_mtu",
        "mtu", "name", "napi_list", "net", "netdev_ops", "nf", "no_queue", "num_rx_queues", "num_tx_queues",
        "operstate", "owner", "parent", "perm_addr", "present", "priv", "promiscuity", "proposed", "proto_priv",
        "ptype_all", "qdisc", "reg_state", "running", "rx_handler", "rx_queues", "rx_slow", "start_xmit", "stats",
        "taps", "tx_queue_len", "tx_started", "tx_stopped", "type", "uc", "uppers", "vlan_group", "wanted_features",
        "watchdog", "watchdog_timeo", "xmit_bypass", "xmit_direct", "xps",
    )  # fmt: skip

    def __init__(self, kernel: Kernel, net: Net, name: str) -> None:
        self.kernel = kernel
        self.net = net
        self.name = name
        self.ifindex = 0
        self.link = 0  # ifindex of the device below a stacked one
        self.type = ARPHRD_VOID
        self.mtu = self.min_mtu = self.max_mtu = 0
        self.flags = 0
        self.gflags = 0  # IFF_PROMISC and IFF_ALLMULTI as an administrator set them
        self.features = self.hw_features = self.wanted_features = 0
        self.gso_max_size = GSO_MAX_SIZE
        self.hard_header_len = self.addr_len = 0
        self.dev_addr = self.broadcast = self.perm_addr = b""
        self.tx_queue_len = 0
        self.no_queue = False  # IFF_NO_QUEUE: no queueing discipline unless one is asked for
        self.live_addr_change = False  # IFF_LIVE_ADDR_CHANGE
        self.netdev_ops: NetDeviceOps = _NO_OPS
        self.ethtool_ops: EthtoolOps = NO_ETHTOOL_OPS
        self.header_ops: HeaderOps | None = None
        self.start_xmit: Callable[[SkBuff, NetDevice], int] = _NO_OPS.ndo_start_xmit
        self.qdisc: Qdisc | None = None
        self.stats = DeviceStats()
        self.reg_state = NETREG_UNINITIALIZED
        self.present = True  # __LINK_STATE_PRESENT
        self.running = False  # __LINK_STATE_START
        self.carrier = True
        self.dormant = False
        self.operstate = IF_OPER_UNKNOWN
        self.tx_stopped = False
        self.tx_started = 0  # instant (monotonic ns) of the last transmission, for the watchdog
        self.num_rx_queues = self.num_tx_queues = 1
        self.rx_queues: tuple[RxQueue, ...] | None = None  # how what it receives is steered to CPUs
        self.alias = ""  # what the administrator calls it besides
        self.parent: object = None  # the hardware it belongs to, on its bus (SET_NETDEV_DEV)
        self.holders: dict[str, int] = {}  # who keeps a reference that it must give back, and how many
        self.xps: dict[int, tuple[int, ...]] | None = None  # transmit queues by CPU
        self.watchdog_timeo = 0
        self.watchdog: Timer | None = None
        self.xmit_direct = False
        self.xmit_bypass: Qdisc | None = None  # the discipline, where packets may go past its queue
        self.napi_list: list[NapiStruct] = []
        self.uc: dict[bytes, int] = {}  # secondary unicast addresses and how many want each
        self.mc: dict[bytes, int] = {}  # multicast addresses
        self.promiscuity = self.allmulti = 0
        self.ptype_all: tuple[Callable[[SkBuff, NetDevice], None], ...] = ()
        self.taps: tuple[Callable[[SkBuff, NetDevice], None], ...] = ()
        self.rx_handler: Callable[[SkBuff], int] | None = None
        self.ingress: Callable[[SkBuff], int] | None = None
        self.nf: DeviceHooks | None = None  # netfilter's
        self.vlan_group: VlanGroup | None = None
        self.rx_slow = False  # any of taps, ingress, nf, vlan_group, rx_handler looks at received packets first
        self.master: NetDevice | None = None
        self.uppers: tuple[NetDevice, ...] = ()
        self.lowers: tuple[NetDevice, ...] = ()
        self.proposed: object = None
        self.driver: Driver | None = None
        self.owner = ""
        self.priv: object = None
        self.proto_priv: dict[str, object] = {}

    # -- the packet path -----------------------------------------------------------------------------------

    def queue_xmit(self, skb: SkBuff) -> int:
        """Send ``skb``, a frame from ``skb.data`` on, through this device (__dev_queue_xmit). Takes the reference.

        0 (NET_XMIT_SUCCESS), a positive NET_XMIT_* of the queueing discipline, or minus an errno (-ENETDOWN). Never
        raises.
        """
        if self.xmit_direct:
            start_xmit = self.start_xmit
            try:
                result = start_xmit(skb, self)
            except Exception as exc:
                return dev_xmit.xmit_raised(self, skb, exc)
            if not result:
                return 0
            return dev_xmit.xmit_refused(self, skb) if result == NETDEV_TX_BUSY else 0
        qdisc = self.xmit_bypass
        return dev_xmit.xmit_slow(self, skb) if qdisc is None else qdisc.bypass(skb)

    def update_path(self) -> None:
        """Decide anew whether packets may go straight to the driver; call after any change to what that rests on."""
        self.taps = self.net.ptype_all + self.ptype_all
        watched = self.rx_handler or self.ingress or self.vlan_group or self.nf
        self.rx_slow = bool(self.taps) or watched is not None
        qdisc = self.qdisc
        straight = (
            self.flags & IFF_UP != 0
            and self.carrier
            and not self.tx_stopped
            and not self.taps
            and self.num_tx_queues == 1
            and self.nf is None
            and not self.net.tx_stamps
        )
        self.xmit_direct = (
            straight
            and (qdisc is None or qdisc.queueless)
            and self.features & NETIF_F_TAKES_ALL == NETIF_F_TAKES_ALL
            and self.gso_max_size >= GSO_MAX_SIZE
        )
        plain = straight and self.features & dev_xmit.PLAIN == dev_xmit.PLAIN
        self.xmit_bypass = qdisc if plain and qdisc is not None and qdisc.can_bypass else None

    # -- looking at it -------------------------------------------------------------------------------------

    def get_flags(self) -> int:
        """The flags as programs see them (dev_get_flags): with RUNNING, LOWER_UP and DORMANT as they are now."""
        flags = self.flags & ~(IFF_RUNNING | IFF_LOWER_UP | IFF_DORMANT | IFF_PROMISC | IFF_ALLMULTI)
        flags |= self.gflags  # promiscuity that only a packet socket asked for does not show
        if self.running:
            if self.operstate in (IF_OPER_UP, IF_OPER_UNKNOWN):
                flags |= IFF_RUNNING
            if self.carrier:
                flags |= IFF_LOWER_UP
            if self.dormant:
                flags |= IFF_DORMANT
        return flags

    def get_stats(self) -> DeviceStats:
        """The counters now (dev_get_stats): ask this, not `stats`, which some drivers keep only in part."""
        try:
            return self.netdev_ops.ndo_get_stats64(self)
        except Exception as exc:
            self.kernel.errors.report(self.owner, "ndo_get_stats64", exc)
            return self.stats

    def __repr__(self) -> str:
        up = "UP" if self.flags & IFF_UP else "DOWN"
        return f"<NetDevice {self.ifindex}: {self.name} {up} mtu {self.mtu} {NETREG_NAMES[self.reg_state]}>"


#: Whose reference a `PacketType` of one device has.
PACKET_TYPE = "packet type"

# --- references -----------------------------------------------------------------------------------------------------


def dev_hold(dev: NetDevice, who: str) -> None:
    """``who`` keeps a reference to ``dev`` and gives it back with `dev_put` when the device goes (NETDEV_UNREGISTER).

    Python frees what nobody refers to; this is so that unregistering can name those who did not let go (netdev_hold).
    """
    dev.holders[who] = dev.holders.get(who, 0) + 1


def dev_put(dev: NetDevice, who: str) -> None:
    """Give a reference back (netdev_put). ENOENT when ``who`` holds none."""
    count = dev.holders.get(who, 0) - 1
    if count < 0:
        raise err(errno.ENOENT, f"{who} holds no reference to {dev.name}")
    if count:
        dev.holders[who] = count
    else:
        del dev.holders[who]


# --- who takes what it receives -------------------------------------------------------------------------------------

# What an rx_handler says (rx_handler_result_t).
RX_HANDLER_CONSUMED = 0  # the packet is its own now
RX_HANDLER_ANOTHER = 1  # it changed skb.dev: received once more, by that device
RX_HANDLER_EXACT = 2  # only those packet types see it that want this very device's packets
RX_HANDLER_PASS = 3  # go on as if there were none


def netdev_rx_handler_register(dev: NetDevice, handler: Callable[[SkBuff], int]) -> None:
    """Show ``handler`` what ``dev`` receives, after the taps and before the protocols: RX_HANDLER_*. EBUSY when there
    is one already: a device has one master.
    """
    if dev.rx_handler is not None:
        raise err(errno.EBUSY, f"{dev.name} is part of another device")
    dev.rx_handler = handler
    dev.update_path()


def netdev_rx_handler_unregister(dev: NetDevice) -> None:
    """Take the handler off; there may be none."""
    dev.rx_handler = None
    dev.update_path()


# --- the transmit queue, as the driver turns it off and on ------------------------------------------------------


def netif_stop_queue(dev: NetDevice) -> None:
    """The driver has no room: no more ndo_start_xmit until netif_wake_queue. Starts the watchdog if there is one."""
    if not dev.tx_stopped:
        dev.tx_stopped = True
        dev.xmit_direct = False
        dev.xmit_bypass = None
        dev.tx_started = dev.kernel.now
        if dev.watchdog_timeo:
            dev_xmit.arm_watchdog(dev)


def netif_start_queue(dev: NetDevice) -> None:
    """Allow ndo_start_xmit, without looking whether something waits: for ndo_open."""
    dev.tx_stopped = False
    dev.update_path()


def netif_wake_queue(dev: NetDevice) -> None:
    """There is room again: what waits in the queueing discipline is sent by the NET_TX softirq."""
    if dev.tx_stopped:
        dev.tx_stopped = False
        dev.update_path()
        if dev.watchdog is not None:
            dev.kernel.timers.del_timer(dev.watchdog)
        if dev.qdisc is not None and not dev.qdisc.queueless:
            dev.qdisc.schedule()


def netif_queue_stopped(dev: NetDevice) -> bool:
    return dev.tx_stopped


def netif_running(dev: NetDevice) -> bool:
    """Between ndo_open and ndo_stop."""
    return dev.running


def netif_carrier_ok(dev: NetDevice) -> bool:
    return dev.carrier


def default_operstate(dev: NetDevice) -> int:
    """RFC 2863's state from carrier and dormancy (default_operstate); what stands on one device that has no carrier
    is not to blame itself.
    """
    if not dev.carrier:
        blameless = dev.link and any(not lower.carrier for lower in dev.lowers)
        return IF_OPER_LOWERLAYERDOWN if blameless else IF_OPER_DOWN
    return IF_OPER_DORMANT if dev.dormant else IF_OPER_UP


# --- NAPI -------------------------------------------------------------------------------------------------------


def netif_napi_add(dev: NetDevice, poll: Callable[[int], int], weight: int = NAPI_POLL_WEIGHT) -> NapiStruct:
    """Give ``dev`` a poll function; its interrupt handler calls `.schedule()` on the result."""
    napi = NapiStruct(dev.kernel.softnet, poll, weight, dev.owner or dev.name)
    dev.napi_list.append(napi)
    return napi


def netif_napi_del(dev: NetDevice, napi: NapiStruct) -> None:
    """Take it away again, off the poll list too."""
    napi_disable(napi)
    if napi in dev.napi_list:
        dev.napi_list.remove(napi)


def napi_disable(napi: NapiStruct) -> None:
    """Off the poll list: it is not polled any more until it is scheduled again."""
    napi.scheduled = False
    if napi.queued:
        napi.queued = False
        softnet = napi.at
        softnet.poll_list.remove(napi)
        if not softnet.poll_list and not softnet.input_pkt_queue:
            softnet.pending &= ~NET_RX_SOFTIRQ
