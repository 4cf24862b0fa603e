"""The device layer of one Kernel: between protocols and devices, in both directions.

    down:  dev_queue_xmit(skb) -> dev.queue_xmit -> (qdisc) -> ndo_start_xmit
    up:    netif_rx(skb) -> softnet backlog -> receive_skb -> taps, then the handlers of skb.protocol
           a NAPI poll   ----------------------^

Protocols register `PacketType`s: those of ETH_P_ALL are taps, which see every packet in both directions before anybody
else does; the others are handlers of what arrives with their EtherType. Registering replaces tuples, never changes one,
so a handler may take itself off while it runs.

Rules that keep it true:

* A handler owns the packet it is called with. A tap does not: it looks, and clones what it wants to keep.
* When several handlers take one EtherType each gets a reference of its own: `skb_share_check` before changing anything.
* What a handler or a tap raises costs that packet and is reported once; nothing else notices.

Source: net/core/dev.c, by function name.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from functools import partial

from pysock.core.dev_xmit import deliver_taps
from pysock.core.device import dev_change_net, dev_close, dev_open, register_netdev, unregister_netdev
from pysock.core.device_ops import Driver
from pysock.core.errors import err
from pysock.core.gso import gso_segment
from pysock.core.netdev_events import NETDEV_DOWN, NETDEV_GOING_DOWN, NETDEV_REGISTER, NETDEV_UNREGISTER, NETDEV_UP
from pysock.core.netdevice import (
    PACKET_TYPE,
    RX_HANDLER_ANOTHER,
    RX_HANDLER_EXACT,
    RX_HANDLER_PASS,
    dev_hold,
    dev_put,
)
from pysock.core.netfilter import NF_NETDEV_INGRESS
from pysock.core.notifier import RawNotifierChain, notifier_to_errno
from pysock.core.procfs_dev import net_dev_text, softnet_stat_text
from pysock.core.qdisc import DEV_TX_WEIGHT, QdiscOps
from pysock.core.skbuff import consume_skb, kfree_skb
from pysock.core.softirq import FLOW_LIMIT_TABLE, NET_RX_DROP, NET_RX_SUCCESS, NETDEV_BUDGET, NETDEV_MAX_BACKLOG
from pysock.uapi.if_ import IFF_UP
from pysock.uapi.if_ether import ETH_P_8021AD, ETH_P_8021Q, ETH_P_ALL

_VLAN_TYPES = (ETH_P_8021Q, ETH_P_8021AD)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.notifier import Callback
    from pysock.core.skbuff import SkBuff
    from pysock.core.sysctl import SysctlTable

    Handler = Callable[[SkBuff], object]
    Tap = Callable[[SkBuff, NetDevice], None]


class DeviceLayer:
    """The drivers and queueing disciplines that plugins registered, the device notifier chain, and the receive path.

    ``gso_segment(skb, features)`` cuts a super-segment into a list of packets for a device that can't (core/gso.py; a
    plugin that knows more protocols may put its own there). ``gifconf`` has, by address family, a function that lists a
    device's addresses for SIOCGIFCONF, as the 16 bytes of a struct sockaddr each. ``ioctls`` has the driver that
    answers a command (`Driver.ioctls`).
    """

    __slots__ = (
        "_driver_owners", "_qdisc_owners", "default_qdisc", "drivers", "flow_table_len", "gifconf", "gso_segment",
        "ioctls", "kernel", "netdev_chain", "qdiscs", "tx_weight",
    )  # fmt: skip

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.drivers: dict[str, Driver] = {}
        self._driver_owners: dict[str, str] = {}
        self.qdiscs: dict[str, QdiscOps] = {}
        self._qdisc_owners: dict[str, str] = {}
        self.netdev_chain = RawNotifierChain("netdev_chain", kernel.errors)
        self.gso_segment: Callable[[SkBuff, int], list[SkBuff]] = gso_segment
        self.ioctls: dict[int, Driver] = {}
        self.gifconf: dict[int, Callable[[NetDevice], list[bytes]]] = {}
        self.default_qdisc = "pfifo_fast"
        self.tx_weight = DEV_TX_WEIGHT
        self.flow_table_len = FLOW_LIMIT_TABLE

    # -- receiving -----------------------------------------------------------------------------------------

    def receive_skb(self, skb: SkBuff) -> int:
        """Give a received packet to the taps and to the handler of its protocol (netif_receive_skb).

        ``skb.dev`` is where it came in, ``skb.protocol`` its EtherType, ``skb.data`` behind the link-layer header.
        NET_RX_SUCCESS or NET_RX_DROP; never raises.
        """
        dev: NetDevice = skb.dev  # type: ignore[assignment]  # netif_rx and the drivers see to it
        if dev.rx_slow:
            if self._receive_slow(skb):
                return NET_RX_SUCCESS
            dev = skb.dev  # type: ignore[assignment]  # as above
        skb.network_header = skb.data
        try:
            handlers = dev.net.ptype_base[skb.protocol]
        except KeyError:  # 20 ns less than get() for the packets that have a handler
            if skb.protocol in _VLAN_TYPES:
                return NET_RX_DROP if self._strip_tag(skb) else self.receive_skb(skb)
            dev.stats.rx_nohandler += 1
            kfree_skb(skb, "UNHANDLED_PROTO")
            return NET_RX_DROP
        try:
            if len(handlers) == 1:
                handlers[0](skb)
            else:
                self._deliver_all(skb, handlers)
        except Exception as exc:
            self._handler_raised(dev, skb.protocol, handlers[0], exc)
            return NET_RX_DROP
        return NET_RX_SUCCESS

    def _receive_slow(self, skb: SkBuff) -> bool:
        """The taps, what was put at the device's ingress, netfilter's hooks there, its VLANs, its rx_handler
        (__netif_receive_skb_core). Each of them may hand the packet to another device. True: it is gone.
        """
        while True:
            dev: NetDevice = skb.dev  # type: ignore[assignment]  # as above
            ext = skb.ext
            result = RX_HANDLER_PASS
            handler: Callable[[SkBuff], int] | None = None
            try:
                if ext is not None and ext.redirect is not None:
                    ext.redirect = None  # it is back: the taps and the ingress had it before
                else:
                    if dev.taps:
                        deliver_taps(dev, skb)
                    if (handler := dev.ingress) is not None:
                        result = handler(skb)
                    if result == RX_HANDLER_PASS and dev.nf is not None and dev.nf.points[NF_NETDEV_INGRESS]:
                        dev.nf.ingress(skb, self._accepted)
                        return True
                if result == RX_HANDLER_PASS and dev.vlan_group is not None:
                    handler = dev.vlan_group.receive
                    result = handler(skb)
                if result == RX_HANDLER_PASS and dev.rx_handler is not None:
                    handler = dev.rx_handler
                    result = handler(skb)
            except Exception as exc:
                self._handler_raised(dev, skb.protocol, handler, exc)
                return True
            if result == RX_HANDLER_PASS:
                in_frame = skb.protocol in _VLAN_TYPES and skb.protocol not in dev.net.ptype_base
                return (in_frame or skb.vlan_tci is not None) and self._strip_tag(skb)
            if result == RX_HANDLER_EXACT:
                self._deliver_exact(skb, dev)
            if result != RX_HANDLER_ANOTHER:
                return True

    def _accepted(self, skb: SkBuff) -> int:
        """The hooks at a device's ingress let it pass: on with what comes behind them."""
        dev = skb.dev
        if dev is not None and dev.rx_slow:
            skb.need_ext().redirect = dev
        return self.receive_skb(skb)

    def _strip_tag(self, skb: SkBuff) -> bool:
        """Make a packet that no VLAN device took a plain one. True: it is gone, another VLAN's or malformed."""
        from pysock.core.vlan import vlan_strip

        result = vlan_strip(skb)
        if result == RX_HANDLER_ANOTHER:
            self.receive_skb(skb)
        return result != RX_HANDLER_PASS

    def _deliver_exact(self, skb: SkBuff, dev: NetDevice) -> None:
        """RX_HANDLER_EXACT: to those alone who asked for the packets of ``dev`` (deliver_exact)."""
        handlers = dev.net.ptype_base.get(skb.protocol, ())
        exact = tuple(one for one in handlers if getattr(one, "__func__", None) is PacketType._on_my_device)
        skb.network_header = skb.data
        if exact:
            self._deliver_all(skb, exact)
        else:
            dev.stats.rx_nohandler += 1
            kfree_skb(skb, "UNHANDLED_PROTO")

    def _deliver_all(self, skb: SkBuff, handlers: tuple[Handler, ...]) -> None:
        dev = skb.dev
        protocol = skb.protocol
        skb.users += len(handlers) - 1
        for handler in handlers:
            try:
                handler(skb)
            except Exception as exc:
                self._handler_raised(dev, protocol, handler, exc)

    def _handler_raised(self, dev: NetDevice | None, protocol: int, handler: object, exc: Exception) -> None:
        # The packet is not freed here: whether the handler had queued it already nobody knows.
        if dev is not None:
            dev.stats.rx_dropped += 1
        name = getattr(handler, "__qualname__", type(handler).__name__)
        self.kernel.errors.report(f"packet type {protocol:#06x}", name, exc)

    # -- what plugins register -----------------------------------------------------------------------------

    def driver_registrar(self, owner: str) -> tuple[Callable[[Driver], None], Callable[[], None]]:
        """What one plugin registers drivers with, and how to take back what it registered. Devices live on."""
        mine: list[str] = []

        def register(driver: Driver) -> None:
            if not isinstance(driver, Driver):
                raise TypeError(f"register() takes a Driver, not {driver!r:.80}")
            name = driver.name
            if not name:
                raise err(errno.EINVAL, f"{type(driver).__name__} has no name")
            if name in self.drivers:
                raise err(errno.EEXIST, f"driver {name!r} is already registered by {self._driver_owners[name]}")
            self.drivers[name] = driver
            self._driver_owners[name] = owner
            self.ioctls.update(dict.fromkeys(driver.ioctls, driver))
            mine.append(name)

        def rollback() -> None:
            for name in mine:
                for cmd in self.drivers[name].ioctls:
                    self.ioctls.pop(cmd, None)
                del self.drivers[name], self._driver_owners[name]
            mine.clear()

        return register, rollback

    def qdisc_registrar(self, owner: str) -> tuple[Callable[[QdiscOps], None], Callable[[], None]]:
        """The same for queueing disciplines. Those attached to devices live on."""
        mine: list[str] = []

        def register(ops: QdiscOps) -> None:
            if not isinstance(ops, QdiscOps):
                raise TypeError(f"register() takes a QdiscOps, not {ops!r:.80}")
            id = ops.id
            if not id:
                raise err(errno.EINVAL, f"{type(ops).__name__} has no id")
            if id in self.qdiscs:
                raise err(errno.EEXIST, f"qdisc {id!r} is already registered by {self._qdisc_owners[id]}")
            self.qdiscs[id] = ops
            self._qdisc_owners[id] = owner
            mine.append(id)

        def rollback() -> None:
            for id in mine:
                del self.qdiscs[id], self._qdisc_owners[id]
            mine.clear()

        return register, rollback

    def driver_owner(self, name: str) -> str:
        """The plugin that registered driver ``name``; the name itself if nobody did."""
        return self._driver_owners.get(name, name)

    def qdisc_owner(self, id: str) -> str:
        """The plugin that registered queueing discipline ``id``; the id itself if nobody did."""
        return self._qdisc_owners.get(id, id)

    # -- devices -------------------------------------------------------------------------------------------

    def create_device(self, net: Net, kind: str, name: str | None = None, **options: object) -> NetDevice:
        """Make a device by the driver registered as ``kind`` and register it, down: `ip link add NAME type KIND`.

        EOPNOTSUPP for an unknown kind, EINVAL for bad options, errors of register_netdev. A driver that raises
        something else is reported, and the caller gets EIO.
        """
        driver = self.drivers.get(kind)
        if driver is None:
            known = ", ".join(sorted(self.drivers))
            raise err(errno.EOPNOTSUPP, f"no driver {kind!r} (there are: {known})")
        try:
            dev = driver.create(self.kernel, net, name, **options)
        except OSError:
            raise
        except Exception as exc:
            self.kernel.errors.report(self.driver_owner(kind), f"create {kind} device", exc)
            raise err(errno.EIO) from exc
        dev.driver = driver
        register_netdev(dev)
        return dev

    def setup_loopback(self, net: Net) -> NetDevice | None:
        """Give a new namespace its sysctls and its loopback device, up. None when no such driver is registered."""
        self._setup_net(net)
        if "loopback" not in self.drivers:
            return None
        dev = self.create_device(net, "loopback", "lo")
        dev_open(dev)
        return dev

    def shutdown_net(self, net: Net) -> None:
        """The devices of a namespace that goes away (default_device_exit_net): hardware moves to the first one, as
        "dev%d" where its name is taken; the others are unregistered, the loopback device last.
        """
        home = self.kernel.netns[0]
        for dev in [dev for dev in net.devices if dev.parent is not None and net is not home]:
            with suppress(OSError):  # somebody objects to its arrival: it is unregistered
                dev_change_net(dev, home, "dev%d" if dev.name in home.dev_by_name else None)
        for dev in sorted(net.devices, key=lambda dev: dev is net.loopback_dev):
            dev_close(dev)
        for dev in sorted(net.devices, key=lambda dev: dev is net.loopback_dev):
            unregister_netdev(dev)

    def _setup_net(self, net: Net) -> None:
        net.proc["net/dev"] = lambda: net_dev_text(net)
        net.proc["net/softnet_stat"] = lambda: softnet_stat_text(self.kernel)
        if self.kernel.netns and self.kernel.netns[0] is not net:
            return  # the tunables of the queues are the kernel's: the first namespace shows them, as in Linux
        net.sysctl.register_lazy("net.core", partial(self._register_sysctls, net.sysctl))

    def _register_sysctls(self, table: SysctlTable) -> None:
        table.register_int("net.core.netdev_max_backlog", NETDEV_MAX_BACKLOG, 0, on_change=self._set_max_backlog)
        table.register_int("net.core.netdev_budget", NETDEV_BUDGET, 1, on_change=self._set_budget)
        table.register_int("net.core.rps_sock_flow_entries", 0, 0, on_change=self._set_sock_flows)
        table.register_str("net.core.flow_limit_cpu_bitmap", "0", 127, on_change=self._set_flow_limit)
        table.register_int("net.core.flow_limit_table_len", FLOW_LIMIT_TABLE, 1, on_change=self._set_flow_table)
        table.register_int("net.core.dev_weight", DEV_TX_WEIGHT, 1, on_change=self._set_tx_weight)
        table.register_str("net.core.default_qdisc", self.default_qdisc, 15, on_change=self._set_default_qdisc)

    def _set_max_backlog(self, packets: int) -> None:
        self.kernel.softnet.max_backlog = packets

    def _set_sock_flows(self, entries: int) -> None:
        if len(self.kernel.cpus) > 1:
            self.kernel.softnet.readers.resize(entries)  # type: ignore[attr-defined]  # a Front, of several CPUs

    def _set_flow_limit(self, bitmap: str) -> None:
        """EINVAL for what is no bitmap in hexadecimal; new limits know nothing of the past."""
        from pysock.core.rps import FlowLimit

        try:
            mask = int(bitmap.replace(",", "").strip() or "0", 16)
        except ValueError:
            raise err(errno.EINVAL) from None
        for cpu in self.kernel.cpus:
            on = mask >> cpu.cpu & 1
            cpu.limit_flows((cpu.flow_limit or FlowLimit(self.flow_table_len)) if on else None)

    def _set_flow_table(self, entries: int) -> None:
        """For limits made later (flow_limit_table_len_sysctl). EINVAL unless it is a power of two."""
        if entries & (entries - 1):
            raise err(errno.EINVAL)
        self.flow_table_len = entries

    def _set_budget(self, packets: int) -> None:
        for cpu in self.kernel.cpus:
            cpu.budget = packets

    def _set_tx_weight(self, packets: int) -> None:
        self.tx_weight = packets

    def _set_default_qdisc(self, id: str) -> None:
        if id not in self.qdiscs:
            raise err(errno.ENOENT)
        self.default_qdisc = id

    # -- who wants to know ---------------------------------------------------------------------------------

    def register_netdevice_notifier(self, callback: Callback, priority: int = 0, name: str | None = None) -> None:
        """Call ``callback(event, dev)`` for every device event, starting with a replay of REGISTER, and UP where it
        is, for the devices that exist. If it objects to one, it is told the end of those before, taken off, and its
        errno raised. EEXIST when it is on the chain already.
        """
        self.netdev_chain.register(callback, priority, name)
        told: list[NetDevice] = []
        replay = RawNotifierChain("netdev_chain", self.kernel.errors)  # contains what it raises, under its name
        replay.register(callback, 0, name)
        for dev in self._all_devices():
            number = notifier_to_errno(replay.call_chain(NETDEV_REGISTER, dev))
            if number:
                self.netdev_chain.unregister(callback)
                self._replay_end(replay, told)
                raise err(number)
            told.append(dev)
            if dev.flags & IFF_UP:
                replay.call_chain(NETDEV_UP, dev)

    def unregister_netdevice_notifier(self, callback: Callback) -> None:
        """Take ``callback`` off, after telling it the end of every device that exists. ENOENT when it is not on."""
        self.netdev_chain.unregister(callback)
        replay = RawNotifierChain("netdev_chain", self.kernel.errors)
        replay.register(callback)
        self._replay_end(replay, self._all_devices())

    def _all_devices(self) -> list[NetDevice]:
        return [dev for net in self.kernel.netns for dev in net.devices]

    @staticmethod
    def _replay_end(chain: RawNotifierChain, devices: list[NetDevice]) -> None:
        for dev in devices:
            if dev.flags & IFF_UP:
                chain.call_chain(NETDEV_GOING_DOWN, dev)
                chain.call_chain(NETDEV_DOWN, dev)
            chain.call_chain(NETDEV_UNREGISTER, dev)


# --- for protocols ----------------------------------------------------------------------------------------------------


def dev_queue_xmit(skb: SkBuff) -> int:
    """Send ``skb`` through ``skb.dev``: see `NetDevice.queue_xmit`, which a route or neighbour may keep and call."""
    dev = skb.dev
    if dev is None:
        kfree_skb(skb, "DEV_READY")
        return -errno.ENODEV
    return dev.queue_xmit(skb)


class PacketType:
    """Who wants which packets (struct packet_type): those of EtherType ``type``, or all (ETH_P_ALL), which makes it a
    tap; of one device only if ``dev``.

    ``func(skb, dev)`` for a tap. ``func(skb)`` for a handler, which owns the packet.
    """

    __slots__ = ("dev", "func", "net", "type")

    def __init__(self, net: Net, type: int, func: Handler | Tap, dev: NetDevice | None = None) -> None:
        self.net = net
        self.type = type
        self.func = func
        self.dev = dev

    @property
    def entry(self) -> Callable[..., Any]:
        """What stands in the table: a handler or a tap, which ``type`` decides and the checker can't see."""
        return self.func if self.dev is None or self.type == ETH_P_ALL else self._on_my_device

    def _on_my_device(self, skb: SkBuff) -> None:
        if skb.dev is self.dev:
            self.func(skb)  # type: ignore[call-arg]  # no tap, or it would not stand here
        else:
            consume_skb(skb)


def dev_add_pack(pt: PacketType) -> None:
    """Start to deliver packets to ``pt`` (dev_add_pack), behind those that are registered already."""
    net, dev, entry = pt.net, pt.dev, pt.entry
    if dev is not None:
        dev_hold(dev, PACKET_TYPE)
    if pt.type != ETH_P_ALL:
        net.ptype_base[pt.type] = (*net.ptype_base.get(pt.type, ()), entry)
    elif dev is not None:
        dev.ptype_all = (*dev.ptype_all, entry)
        dev.update_path()
    else:
        net.ptype_all = (*net.ptype_all, entry)
        _update_paths(net)


def dev_remove_pack(pt: PacketType) -> None:
    """Stop delivering to ``pt``. ENOENT when it was not registered."""
    net, dev, entry = pt.net, pt.dev, pt.entry
    if pt.type != ETH_P_ALL:
        left = _without(net.ptype_base.get(pt.type, ()), entry)
        if left:
            net.ptype_base[pt.type] = left
        else:
            del net.ptype_base[pt.type]
    elif dev is not None:
        dev.ptype_all = _without(dev.ptype_all, entry)
        dev.update_path()
    else:
        net.ptype_all = _without(net.ptype_all, entry)
        _update_paths(net)
    if dev is not None:
        dev_put(dev, PACKET_TYPE)


def _without(entries: tuple[Callable[..., Any], ...], entry: object) -> tuple[Callable[..., Any], ...]:
    for at, one in enumerate(entries):
        if one == entry:
            return entries[:at] + entries[at + 1 :]
    raise err(errno.ENOENT)


def _update_paths(net: Net) -> None:
    for dev in net.devices:
        dev.update_path()


# --- for drivers ------------------------------------------------------------------------------------------------------


def netif_rx(skb: SkBuff) -> int:
    """Hand in a received packet, with dev, protocol and data as `DeviceLayer.receive_skb` wants them (netif_rx).

    Counts rx_packets and rx_bytes (link-layer header included), or rx_dropped when the backlog is full or the device
    is down: the packet is freed then, and NET_RX_DROP returned.
    """
    dev = skb.dev
    if dev is None:
        kfree_skb(skb, "DEV_READY")
        return NET_RX_DROP
    stats = dev.stats
    if not dev.running or dev.kernel.softnet.netif_rx(skb):
        stats.rx_dropped += 1
        kfree_skb(skb, "CPU_BACKLOG")
        return NET_RX_DROP
    stats.rx_packets += 1
    stats.rx_bytes += skb.len if skb.mac_header < 0 else skb.len + skb.data - skb.mac_header
    return NET_RX_SUCCESS


def netif_receive_skb(skb: SkBuff) -> int:
    """The same for a NAPI poll, which runs in the softirq already: delivered at once, without the backlog."""
    dev = skb.dev
    if dev is None:
        kfree_skb(skb, "DEV_READY")
        return NET_RX_DROP
    stats = dev.stats
    stats.rx_packets += 1
    stats.rx_bytes += skb.len if skb.mac_header < 0 else skb.len + skb.data - skb.mac_header
    return dev.kernel.softnet.napi_receive(skb)
