"""Several hosts in one kernel: a namespace and a task each, veth cables between them.

    lab = Hosts()
    a, b = lab.host("a"), lab.host("b")
    lab.cable(a, "10.0.0.1/24", b, "10.0.0.2/24")

A host has the methods of `dgram_api.Ours`, in its own namespace; `lab.taps(dev)` records what passes a device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pysock.core.dev import PacketType, dev_add_pack
from pysock.core.device import NetDevice, dev_open
from pysock.core.kernel import Kernel
from pysock.core.net import Net
from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import SkBuff
from pysock.families.inet.devinet import add_address
from pysock.families.inet.fib import RTN_UNICAST, FibEntry
from pysock.families.inet.fib_config import add_route
from pysock.families.inet.net import InetNet
from pysock.syscalls.message import sys_recv
from pysock.syscalls.socket import sys_accept, sys_listen
from pysock.uapi.if_ether import ETH_P_ALL, ETH_P_IPV6
from pysock.uapi.in_ import IPPROTO_TCP
from pysock.uapi.socket import SOCK_STREAM
from pysock.vfs.task import Task
from pysock.wire.addr import inet_aton
from support.dgram_api import Ours

T = TypeVar("T")


def network(text: str) -> tuple[bytes, int]:
    """("10.0.0.1/24") -> wire bytes and prefix length."""
    host, _, plen = text.partition("/")
    return inet_aton(host), int(plen or 32)


class HostApi(Ours):
    """One host of a `Hosts`."""

    def __init__(self, kernel: Kernel, net: Net, log: list[str]) -> None:
        self.kernel = kernel
        self.net = net
        self.log = log
        net.sysctl.set("net.ipv6.conf.default.disable_ipv6", 1)  # devices to come speak IPv4 alone
        self.task = Task.for_kernel(kernel, net=net)
        self.inet = net.get(InetNet)

    def call(self, function: Callable[..., T], *args: object, **named: object) -> T:
        """Do something inside the kernel."""
        self.kernel.enter()
        try:
            return function(*args, **named)
        finally:
            self.kernel.leave()

    def dev(self, name: str = "eth0") -> NetDevice:
        return self.net.dev_by_name[name]

    def route(self, prefix: str, via: str | None = None, dev: str | None = None, type: int = RTN_UNICAST) -> FibEntry:
        """`ip route add TYPE PREFIX via VIA dev DEV`."""
        address, plen = network(prefix)
        gateway = inet_aton(via) if via else None
        device = self.dev(dev) if dev else None
        return self.call(add_route, self.inet, address, plen, gateway=gateway, dev=device, type=type)

    def sysctl(self, name: str, value: int) -> None:
        self.call(self.net.sysctl.set, name, value)

    def recv(self, fd: int, size: int = 1 << 20, flags: int = 0) -> bytes:
        """recv() that may block: virtual time passes."""
        return sys_recv(self.task, fd, size, flags)

    def listen(self, host: str, port: int) -> int:
        fd = self.socket(SOCK_STREAM, IPPROTO_TCP)
        self.bind(fd, (host, port))
        sys_listen(self.task, fd, 5)
        return fd

    def accept(self, fd: int) -> int:
        return sys_accept(self.task, fd)[0]

    def tcp(self) -> int:
        return self.socket(SOCK_STREAM, IPPROTO_TCP)


class Hosts:
    """The kernel and what belongs to all of its hosts."""

    def __init__(self, seed: int = 1) -> None:
        self.log: list[str] = []
        self.kernel = Kernel.boot(clock="virtual", seed=seed, entry_points=False, strict=True, log=self.log.append)
        self._first = True

    def host(self, name: str) -> HostApi:
        if self._first:
            self._first = False
            return HostApi(self.kernel, self.kernel.init_net, self.log)
        self.kernel.enter()
        net = self.kernel.new_net(name)
        self.kernel.leave()
        return HostApi(self.kernel, net, self.log)

    def cable(self, a: HostApi, a_addr: str, b: HostApi, b_addr: str, mtu: int = 1500) -> tuple[NetDevice, NetDevice]:
        """Connect two hosts; the devices are the next free ethN of each and up."""
        create = self.kernel.dev_layer.create_device
        one = a.call(create, a.net, "veth", "eth%d", peer="eth%d", peer_net=b.net)
        other = next(dev for dev in reversed(b.net.devices) if dev.name.startswith("eth") and dev is not one)
        for host, dev, addr in ((a, one, a_addr), (b, other, b_addr)):
            dev.mtu = mtu
            host.call(dev_open, dev)
            host.call(add_address, host.inet, dev, *network(addr))
        return one, other

    def pair(self) -> tuple[HostApi, HostApi]:
        """Two hosts, 10.0.0.1 and 10.0.0.2."""
        a, b = self.host("a"), self.host("b")
        self.cable(a, "10.0.0.1/24", b, "10.0.0.2/24")
        return a, b

    def routed(self, mtu: int = 1500) -> tuple[HostApi, HostApi, HostApi]:
        """10.0.1.1 - router 10.0.1.254, 10.0.2.254 - 10.0.2.2, the second cable with ``mtu``."""
        a, router, b = self.host("a"), self.host("router"), self.host("b")
        self.cable(a, "10.0.1.1/24", router, "10.0.1.254/24")
        self.cable(router, "10.0.2.254/24", b, "10.0.2.2/24", mtu)
        a.route("0.0.0.0/0", via="10.0.1.254")
        b.route("0.0.0.0/0", via="10.0.2.254")
        router.sysctl("net.ipv4.ip_forward", 1)
        return a, router, b

    def sleep(self, seconds: float) -> None:
        self.kernel.sleep(int(seconds * 1e9))

    def record(self, dev: NetDevice) -> list[bytes]:
        """Every frame that passes ``dev`` in either direction from now on, but those of IPv6."""
        frames: list[bytes] = []

        def tap(skb: SkBuff, dev: NetDevice) -> None:
            if skb.protocol != ETH_P_IPV6:
                frames.append(skb_to_bytes(skb))

        self.kernel.enter()
        dev_add_pack(PacketType(dev.net, ETH_P_ALL, tap, dev))
        self.kernel.leave()
        return frames
