"""Host: a machine of the network: a namespace, a task with fds of its own, a name that all others resolve.

    with a:                     sockets that are made here belong to a; so do threads and asyncio tasks that start here
        ...
    a.run(function, *args)      the same for one call
    a.start(function, *args)    the same in a thread; its result can be waited for in simulated time
"""

from __future__ import annotations

from contextvars import ContextVar, copy_context

from pysock.core.snmp import Mibs
from pysock.families.inet import devinet, fib_config
from pysock.families.inet.fib import FibEntry
from pysock.families.inet.net import InetNet
from pysock.families.inet6 import addrconf, fib6_config
from pysock.families.inet6.devconf import IFA_F_NODAD, IFA_F_PERMANENT
from pysock.families.inet6.net import Inet6Net
from pysock.lab import crash
from pysock.lab.addressing import prefix
from pysock.lab.fds import HostFds
from pysock.lab.program import RunningProgram
from pysock.shim.foreign import Foreign
from pysock.shim.hosts import Hosts
from pysock.vfs.task import Task, current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
    from types import TracebackType
    from typing import Final, ParamSpec, TypeVar

    from pysock.families.inet6.fib6 import Fib6Entry
    from pysock.lab.link import End, Link
    from pysock.lab.network import Network
    from pysock.lab.packet import Seen

    P = ParamSpec("P")
    T = TypeVar("T")

#: The tasks that `with host:` blocks of this context will put back, the innermost last.
_left: Final[ContextVar[tuple[Task | None, ...]]] = ContextVar("pysock.lab.left", default=())


class Host:
    """Make it with `Network.host`, `hosts` or `router`. ``net`` is its namespace, ``task`` its process, ``ends`` its
    network cards. ``powered`` is False between `crash` and `restart`.
    """

    __slots__ = (
        "_inet", "_inet6", "addresses", "ends", "macs", "name", "net", "network", "powered", "routed", "router", "task",
    )  # fmt: skip

    def __init__(self, network: Network, name: str, router: bool, task: Task | None = None) -> None:
        """``task`` is that of a machine which exists already (`Network.here`)."""
        kernel = network.kernel
        self.network = network
        self.name = name
        self.router = router
        self.powered = True
        self.ends: list[End] = []
        self.addresses: list[IPv4Address | IPv6Address] = []
        self.macs: set[bytes] = set()
        self.routed: list[FibEntry | Fib6Entry] = []  # the automatic routes
        if task is None:
            net = kernel.new_net(name)
            net.set(Hosts(name, beyond=network.names))
            task = Task(kernel, net, kernel.creds, HostFds(network.program), network.task.pid)
            task.make_foreign = Foreign
        self.task = task
        self.net = task.net
        self._inet = self.net.get(InetNet)
        self._inet6 = self.net.get(Inet6Net) if network.ipv6 and self.net.has(Inet6Net) else None
        if self.net.has(Inet6Net):
            conf = addrconf.addrconf_of(self.net.get(Inet6Net)).default
            conf.accept_dad = 0  # the laboratory sees to it that addresses are unique
            conf.router_solicitations = 0
            conf.disable_ipv6 = int(self._inet6 is None)
        if router:
            self.net.sysctl.set("net.ipv4.ip_forward", 1)
            if self._inet6 is not None:
                self.net.sysctl.set("net.ipv6.conf.all.forwarding", 1)

    # -- programs --------------------------------------------------------------------------------------------

    def __enter__(self) -> Host:
        """From here on, this context (this thread, this asyncio task) works on this host; `socket` and its like are
        pysock's at least as long (see `Network.__enter__`).
        """
        self._ready()
        self.network.hold()
        _left.set((*_left.get(), current.get()))
        current.set(self.task)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        *left, before = _left.get()
        _left.set(tuple(left))
        current.set(before)
        self.network.release()

    def _ready(self) -> None:
        if not self.powered:
            raise RuntimeError(f"host {self.name!r} has crashed: restart() it first")

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function`` on this host and return what it returns."""

        def on_this_host() -> T:
            with self:
                return function(*args, **kwargs)

        return copy_context().run(on_this_host)

    def start(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> RunningProgram[T]:
        """Call ``function`` on this host in a thread of its own; see `RunningProgram.result`."""
        self._ready()
        self.network.hold()

        def on_this_host() -> T:
            try:
                return function(*args, **kwargs)
            finally:
                self.network.release()

        return RunningProgram(self.task, f"{self.name}:{getattr(function, '__name__', 'program')}", on_this_host)

    # -- addresses and routes --------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """Its first IPv4 address. LookupError when it is not connected."""
        return self._address(4)

    @property
    def address6(self) -> str:
        """Its first IPv6 address. LookupError when it has none."""
        return self._address(6)

    def _address(self, version: int) -> str:
        found = next((str(one) for one in self.addresses if one.version == version), None)
        if found is None:
            raise LookupError(f"host {self.name!r} has no IPv{version} address: link it to something")
        return found

    def add_address(self, end: End, one: IPv4Interface | IPv6Interface) -> None:
        """Give the card at ``end`` an address. Needs the kernel lock; errors of `ip address add`."""
        if one.version == 4:
            devinet.add_address(self._inet, end.dev, one.packed, one.network.prefixlen)
        elif self._inet6 is not None:
            flags = IFA_F_PERMANENT | IFA_F_NODAD
            addrconf.add_address(self._inet6, end.dev, one.packed, one.network.prefixlen, flags)
        self.addresses.append(one.ip)
        end.addresses.append(one.ip)
        self.network.names.add(str(one.ip), self.name)

    def route(self, to: str, via: str, metric: int = 0) -> None:
        """`ip route add TO via VIA metric METRIC`: beside what the network finds out by itself, whose routes have the
        least. ``to`` is "10.1.0.0/16", "default" or of IPv6; ``via`` a neighbour's address. ValueError, or OSError as
        `ip route` would say.
        """
        network, gateway = prefix(to), prefix(via)
        if network.version != gateway.version or gateway.num_addresses != 1:
            raise ValueError(f"via is the address of a neighbour, of the same version as {to}, not {via!r}")
        kernel = self.network.kernel
        kernel.enter()
        try:
            self.add_route(network.version == 6, network.network_address.packed, network.prefixlen,
                           gateway.network_address.packed, metric)  # fmt: skip
        finally:
            kernel.leave()

    def add_route(self, v6: bool, to: bytes, plen: int, via: bytes, metric: int = 0) -> FibEntry | Fib6Entry | None:
        """The same with wire bytes, under the kernel lock; None for IPv6 when there is none."""
        if not v6:
            return fib_config.add_route(self._inet, to, plen, gateway=via, metric=metric)
        if self._inet6 is None:
            return None
        return fib6_config.add_route(self._inet6, to, plen, gateway=via, metric=metric)

    def forget_routes(self) -> None:
        """Take the automatic routes away. Needs the kernel lock."""
        for entry in self.routed:
            if isinstance(entry, FibEntry):
                if entry in self._inet.fib:
                    self._inet.fib.remove(entry)
            elif self._inet6 is not None:
                self._inet6.fib6.discard(entry)
        self.routed.clear()

    # -- accidents -------------------------------------------------------------------------------------------

    def crash(self) -> None:
        """Power off, without a word to anybody: cables go dead, sockets and what they would have sent are gone. A
        program that is blocked in one of them gets ENETDOWN; using one afterwards is EBADF. Harmless when it is off.

        Addresses, routes and sysctls are as before when it comes back; programs are not started again.
        """
        if not self.powered:
            return
        kernel = self.network.kernel
        kernel.enter()
        try:
            self.powered = False
            for link in self.links:
                link.refresh_carrier()
            crash.lose_sockets(self.net, self.task)
        finally:
            kernel.leave()

    def restart(self) -> None:
        """Power on again. Peers that still talk to the sockets of old get resets."""
        if self.powered:
            return
        kernel = self.network.kernel
        kernel.enter()
        try:
            self.powered = True
            for link in self.links:
                link.refresh_carrier()
        finally:
            kernel.leave()

    # -- looking at it ---------------------------------------------------------------------------------------

    @property
    def links(self) -> list[Link]:
        """The links that it is connected to."""
        return [link for link in self.network.links if self in (link.a, link.b)]

    def link(self, to: object) -> Link:
        """The link to a host or switch. LookupError when there is none."""
        for link in self.links:
            if to in (link.a, link.b):
                return link
        raise LookupError(f"{self.name} has no link to {to!r}")

    def sysctl(self, name: str, value: int | str | None = None) -> object:
        """Read a sysctl ("net.ipv4.ip_forward"), or write it. Errors of the table: ENOENT, EINVAL."""
        kernel = self.network.kernel
        kernel.enter()
        try:
            if value is not None:
                self.net.sysctl.set(name, value)
            return self.net.sysctl.get(name)
        finally:
            kernel.leave()

    @property
    def counters(self) -> Mibs:
        """What `nstat` shows, of IPv4 and the transports: ``host.counters.tcp.RetransSegs``."""
        return self._inet.mibs

    def sockets(self) -> str:
        """The table that `ss` would print."""
        from pysock.tools.ss import ss_table

        return ss_table(self.net, timers=True)

    def sent(self, packet: Seen) -> bool:
        """Whether ``packet`` comes from this host: by its link-layer or its network-layer source."""
        frame = packet.frame
        if frame[6:12] in self.macs:
            return True
        header = packet.ip
        if header is not None:
            return any(one.packed == header.src for one in self.addresses)
        return False

    def __repr__(self) -> str:
        state = "" if self.powered else " crashed"
        return f"<{'Router' if self.router else 'Host'} {self.name}{state}: {', '.join(map(str, self.addresses))}>"
