"""net.ipv4.conf.*: how each device treats ARP, redirects, forwarding and sources (struct ipv4_devconf, ip-sysctl.rst).

A namespace has two more of them: "all", which each rule combines with the device's own in its way (maximum, or, and),
and "default", which devices that come copy.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.net import InetNet

class IpDevConf:
    """The settings of one device, of "all", or of "default", under their sysctl names. An instance holds only what was
    changed, the class the rest: there are three for each device of each host, and nearly all are as they were born.
    """

    forwarding: int = 0
    mc_forwarding: int = 0
    accept_redirects: int = 1
    secure_redirects: int = 1
    shared_media: int = 1
    send_redirects: int = 1
    accept_source_route: int = 0
    accept_local: int = 0
    route_localnet: int = 0
    rp_filter: int = 0
    log_martians: int = 0
    proxy_arp: int = 0
    arp_filter: int = 0
    arp_announce: int = 0
    arp_ignore: int = 0
    arp_accept: int = 0
    arp_notify: int = 0
    arp_evict_nocarrier: int = 1
    drop_gratuitous_arp: int = 0
    ignore_routes_with_linkdown: int = 0
    force_igmp_version: int = 0
    igmpv2_unsolicited_report_interval: int = 10000
    igmpv3_unsolicited_report_interval: int = 1000

    def __init__(self, template: IpDevConf | None = None) -> None:
        if template is not None:
            vars(self).update(vars(template))


_NAMES: Final = tuple(IpDevConf.__annotations__)


class DevConfs:
    """The settings of a namespace: ``all``, ``default``, and by device."""

    __slots__ = ("_below", "all", "by_dev", "default", "inet")

    def __init__(self, inet: InetNet) -> None:
        self.inet = inet
        self.all = IpDevConf()
        self.default = IpDevConf()
        self.default.accept_source_route = 1
        self.by_dev: dict[NetDevice, IpDevConf] = {}
        self._below: dict[NetDevice, str] = {}
        for name, conf in (("all", self.all), ("default", self.default)):
            self._register(f"net.ipv4.conf.{name}", conf)

    def of(self, dev: NetDevice) -> IpDevConf:
        """The settings of ``dev``, a copy of the defaults when it is first asked for."""
        conf = self.by_dev.get(dev)
        if conf is None:
            conf = self.by_dev[dev] = IpDevConf(self.default)
        return conf

    def add_device(self, dev: NetDevice) -> None:
        """``dev`` came, or has another name: its sysctls are there."""
        self._unregister(dev)
        below = self._below[dev] = f"net.ipv4.conf.{dev.name.replace('.', '/')}"
        self._register(below, self.of(dev))

    def remove_device(self, dev: NetDevice) -> None:
        """``dev`` is gone."""
        self._unregister(dev)
        self.by_dev.pop(dev, None)

    def set_forwarding(self, value: int) -> None:
        """ip_forward was written: every device forwards, or none (inet_forward_change)."""
        for conf in (self.all, self.default, *self.by_dev.values()):
            conf.forwarding = value
        sysctl = self.inet.net.sysctl
        for name in sysctl.names("net.ipv4.conf"):
            if name.endswith(".forwarding"):
                sysctl.show(name, bool(value))
        sysctl.show("net.ipv4.ip_forward", bool(value))
        if value:  # routers do not listen to redirects, nor does LRO suit them
            self.all.accept_redirects = 0
        else:
            self.all.accept_redirects = 1
        sysctl.show("net.ipv4.conf.all.accept_redirects", self.all.accept_redirects)
        self.inet.fib.flush()

    def change_mc_forwarding(self, dev: NetDevice | None, change: int) -> None:
        """One multicast interface more or less (1 or -1) on ``dev``; None: one routing daemon."""
        conf = self.all if dev is None else self.of(dev)
        conf.mc_forwarding += change
        below = "net.ipv4.conf.all" if dev is None else self._below.get(dev)
        if below is not None:
            self.inet.net.sysctl.show(f"{below}.mc_forwarding", conf.mc_forwarding)
        self.inet.fib.flush()

    def _register(self, below: str, conf: IpDevConf) -> None:
        sysctl = self.inet.net.sysctl

        def register() -> None:
            for name in _NAMES:
                value = getattr(conf, name)
                if name == "mc_forwarding":
                    sysctl.register_int(f"{below}.{name}", value, writable=False)  # a routing daemon's business
                elif name == "forwarding":
                    sysctl.register_bool(f"{below}.{name}", bool(value), on_change=self._forwarding_setter(conf))
                else:
                    sysctl.register_int(f"{below}.{name}", value, on_change=self._setter(conf, name))

        sysctl.register_lazy(below, register)

    def _unregister(self, dev: NetDevice) -> None:
        below = self._below.pop(dev, None)
        if below is not None:
            self.inet.net.sysctl.unregister_below(below)

    def _setter(self, conf: IpDevConf, name: str) -> Callable[[int], None]:
        def store(value: int) -> None:
            setattr(conf, name, value)
            self.inet.fib.flush()
            if name == "ignore_routes_with_linkdown":
                from pysock.families.inet.devinet import carrier_changed

                for dev in self.inet.net.devices:
                    carrier_changed(self.inet, dev)

        return store

    def _forwarding_setter(self, conf: IpDevConf) -> Callable[[bool], None]:
        def store(value: bool) -> None:
            if conf is self.all:
                self.inet.net.sysctl.set("net.ipv4.ip_forward", value)
            else:
                conf.forwarding = int(value)
                self.inet.fib.flush()

        return store


def confs_of(inet: InetNet) -> DevConfs:
    """The device settings of a namespace."""
    state = inet.state["devconf"]
    assert isinstance(state, DevConfs)
    return state
