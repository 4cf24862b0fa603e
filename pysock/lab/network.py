"""Network: many hosts in one program, and everything that can go wrong between them.

    net = pysock.Network(seed=7, clock="virtual")
    a, b = net.hosts("a", "b")
    net.link(a, b, delay="20ms", jitter="5ms", loss="1%", rate="10mbit")
    with net:                               # socket, select, asyncio, threading are pysock's in here
        with a:
            server = socket.create_server(("a", 80))
        with b:
            client = socket.create_connection(("a", 80))

``with a`` alone patches too, until it is left: no program reaches the real network because its author forgot ``with
net``, which what goes on after the block needs. One kernel is under it all: one clock, one seed, so two runs are alike.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable

from pysock.core.device import dev_open
from pysock.core.kernel import Kernel
from pysock.lab.addressing import Plan, Segment, subnet_of
from pysock.lab.fds import HostFds, Program
from pysock.lab.host import Host
from pysock.lab.link import End, Link
from pysock.lab.media import Medium, medium
from pysock.lab.netcapture import NetworkCapture
from pysock.lab.routing import route
from pysock.lab.switch import Switch
from pysock.lab.units import impairments, nanoseconds
from pysock.shim.foreign import Foreign
from pysock.shim.hosts import Hosts, hosts_of
from pysock.shim.patching import patch_for_task
from pysock.vfs.task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Final

    from pysock.core.clock import Clock
    from pysock.shim.patching import Patch

    Node = Host | Switch


class Network:
    """``seed`` (None: any) and ``clock`` ("virtual", "real") are its kernel's; or give it a ``kernel`` that runs, and
    the ``task`` whose program the hosts belong to. ``ipv6=False`` makes hosts that speak IPv4 alone.

    ``driver`` is what its cables are made of (media.py): "loopback", which stays in memory; "e100", simulated network
    cards; "tap", where the real Linux forwards: that takes the real clock, which is the default then, and a `close` at
    the end.

    ``nodes`` are hosts and switches by name, ``links`` all cables, ``names`` the table in which every host looks up all
    others. Hosts are found as ``net["a"]``.
    """

    __slots__ = (
        "__weakref__", "_captures", "_dirty", "_here", "_holders", "_media", "_patch", "_plan", "driver", "ipv6",
        "kernel", "links", "names", "nodes", "program", "task",
    )  # fmt: skip

    def __init__(
        self,
        seed: int | None = None,
        clock: str | Clock | None = None,
        *,
        kernel: Kernel | None = None,
        task: Task | None = None,
        ipv6: bool = True,
        driver: str = "loopback",
    ) -> None:
        if kernel is None:
            kernel = Kernel.boot(clock=clock or ("real" if driver == "tap" else "virtual"), seed=seed)
        self.kernel = kernel
        self.driver = driver
        self._media: dict[str, Medium] = {driver: medium(driver, kernel)}
        self._here: Host | None = None
        self.ipv6 = ipv6
        self.nodes: dict[str, Node] = {}
        self.links: list[Link] = []
        self.names = Hosts(bare=True)
        self.program = Program(real=task is not None)
        if task is None:
            task = Task(kernel, kernel.init_net, kernel.creds, HostFds(self.program), os.getpid())
            task.make_foreign = Foreign
        else:
            self.program.adopt(task)
        self.task = task
        self._plan = Plan()
        self._captures: weakref.WeakSet[NetworkCapture] = weakref.WeakSet()
        self._holders = 0
        self._patch: Patch | None = None
        self._dirty = False

    # -- building --------------------------------------------------------------------------------------------

    def host(self, name: str) -> Host:
        """A new host. ValueError for a name that is taken or no host name."""
        return self._host(name, False)

    def hosts(self, *names: str) -> tuple[Host, ...]:
        """New hosts, in the order of their names."""
        return tuple(self._host(name, False) for name in names)

    def router(self, name: str, *to: Node) -> Host:
        """A new host that forwards between its links, linked to each of ``to``."""
        router = self._host(name, True)
        for node in to:
            self.link(router, node)
        return router

    @property
    def here(self) -> Host:
        """The machine that a program is on outside of all hosts, as a host: it can be linked, and has a name that the
        others resolve.
        """
        if self._here is None:
            table = hosts_of(self.task.net)
            self._check_name(table.hostname)
            self.kernel.enter()
            try:
                table.widen(self.names)
                self._here = self.nodes[table.hostname] = Host(self, table.hostname, False, self.task)
            finally:
                self.kernel.leave()
        return self._here

    def _host(self, name: str, router: bool) -> Host:
        self._check_name(name)
        self.kernel.enter()
        try:
            host = self.nodes[name] = Host(self, name, router)
        finally:
            self.kernel.leave()
        return host

    def _check_name(self, name: object) -> None:
        if not isinstance(name, str) or not name or len(name) > 63 or any(c.isspace() or c in "/%" for c in name):
            raise ValueError(f'a name is a word such as "a" or "db-1", not {name!r}')
        if name in self.nodes or name == "localhost":
            raise ValueError(f"there is a {name!r} already")

    def switch(
        self,
        name: str,
        *nodes: Node,
        subnet: str | None = None,
        stp: bool = False,
        driver: str | None = None,
        **wishes: object,
    ) -> Switch:
        """A new switch, linked to each of ``nodes`` by a cable as bad as ``wishes`` say (see `Link.set`). All that are
        plugged in share ``subnet`` ("10.1.0.0/16"; default: the next free one). With ``stp`` it takes part in a
        spanning tree: nothing passes for the first 30 s after a cable is plugged in, and switches may form loops.
        ``driver`` is as for `link`.
        """
        self._check_name(name)
        made_of = self._medium(driver)
        options = impairments(wishes)
        net4 = self._plan.subnet(subnet, len(nodes))
        self.kernel.enter()
        try:
            segment = Segment(net4, self._plan.subnet6() if self.ipv6 else None)
            switch = self.nodes[name] = Switch(self, name, segment, stp)
        finally:
            self.kernel.leave()
        for node in nodes:
            self._link(node, switch, [], [], 1500, options, made_of)
        return switch

    def link(
        self,
        one: Node,
        other: Node,
        *,
        address: str | Iterable[str] | None = None,
        peer_address: str | Iterable[str] | None = None,
        mtu: int = 1500,
        driver: str | None = None,
        **wishes: object,
    ) -> Link:
        """Plug a cable between two hosts, a host and a switch, or two switches (the second without hosts so far), as
        bad as ``wishes`` say: delay, jitter, loss, rate, ... of `Link.set`.

        ``address`` and ``peer_address`` are what ``one`` and ``other`` get in place of automatic addresses:
        "10.1.0.1/24", or a list of IPv4 and IPv6. ``driver`` is what it is made of, by default what the network's
        cables are. ValueError, naming what is right, for what does not fit, and OSError where there are no TAP devices;
        nothing is linked then.
        """
        options, made_of = impairments(wishes), self._medium(driver)
        if not 68 <= mtu <= made_of.max_mtu:
            raise ValueError(f"over {made_of.name} the mtu of a link is from 68 to {made_of.max_mtu}, not {mtu!r}")
        return self._link(one, other, _texts(address), _texts(peer_address), mtu, options, made_of)

    def _medium(self, driver: str | None) -> Medium:
        name = self.driver if driver is None else driver
        found = self._media.get(name)
        if found is None:
            found = self._media[name] = medium(name, self.kernel)
        return found

    def _link(
        self, one: Node, other: Node, here: list[str], there: list[str], mtu: int, options: dict[str, object],
        made_of: Medium,
    ) -> Link:  # fmt: skip
        segment = self._segment(one, other, here + there)
        try:
            granted = [
                segment.addresses(wanted) if isinstance(node, Host) else []
                for node, wanted in ((one, here), (other, there))
            ]
        except ValueError:
            if isinstance(one, Host) and isinstance(other, Host):
                self._plan.give_back(segment.net4)
            raise
        laid = made_of.lay(mtu)
        kernel = self.kernel
        kernel.enter()
        try:
            names = [node.next_port() if isinstance(node, Switch) else f"eth{len(node.ends)}" for node in (one, other)]
            near, far = made_of.connect((one.net, names[0]), (other.net, names[1]), laid)
            for dev in (near, far):
                dev.mtu = mtu
            for dev in (near, far):
                dev_open(dev)
            ends = End(one, near), End(other, far)
            link = Link(self, *ends, made_of)
            for end, addresses in zip(ends, granted, strict=True):
                node = end.owner
                if isinstance(node, Host):
                    end.segment = segment
                    segment.ends.append(end)
                    node.ends.append(end)
                    node.macs.add(end.dev.dev_addr)
                    for address_ in addresses:
                        node.add_address(end, address_)
                else:
                    node.plug(end)
            self.links.append(link)
            self._dirty = True
        finally:
            kernel.leave()
        for end in ends:
            end.options = options
            end.refresh()
        for capture in self._captures:
            capture.see(link)
        if self._here is not None and self._here.ends:
            self.route_all()  # its program runs already
        return link

    def _segment(self, one: Node, other: Node, wanted: list[str]) -> Segment:
        if one is other or not all(self.nodes.get(getattr(node, "name", "")) is node for node in (one, other)):
            raise ValueError(f"a link is between two nodes of this network, not {one!r} and {other!r}")
        switches = [node for node in (one, other) if isinstance(node, Switch)]
        if len(switches) == 2:
            near, far = switches
            if near.segment is far.segment:
                alike = [node for node in self.nodes.values() if isinstance(node, Switch)]
                if not all(node.stp for node in alike if node.segment is near.segment):
                    names = f"{near.name!r} and {far.name!r}"
                    raise ValueError(f"{names} are connected already: a loop takes stp=True of all its switches")
                return near.segment
            if far.segment.ends:
                raise ValueError(f"plug switch {far.name!r} in before its hosts, or put a router between the two")
            for node in self.nodes.values():
                if isinstance(node, Switch) and node.segment is far.segment and node is not far:
                    node.segment = near.segment
            far.segment = near.segment
        if switches:
            return switches[0].segment
        return Segment(self._plan.subnet(subnet_of(wanted), 2), self._plan.subnet6() if self.ipv6 else None)

    def route_all(self) -> None:
        """Compute the automatic routes, if links were added since. Done by itself before a program runs on a host."""
        if self._dirty:
            self._dirty = False
            self.kernel.enter()
            try:
                route(node for node in self.nodes.values() if isinstance(node, Host))
            finally:
                self.kernel.leave()

    # -- breaking --------------------------------------------------------------------------------------------

    def partition(self, one: Host | Iterable[Host], other: Host | Iterable[Host]) -> None:
        """From now on nothing that one of the first sends arrives at one of the second, nor the other way round; who
        is in the middle still reaches both.
        """
        ones, others = _hosts(one), _hosts(other)
        self._cut(ones, others)
        self._cut(others, ones)

    def one_way(self, one: Host | Iterable[Host], other: Host | Iterable[Host]) -> None:
        """From now on packets pass from the first to the second only."""
        self._cut(_hosts(other), _hosts(one))

    def _cut(self, senders: list[Host], receivers: list[Host]) -> None:
        for receiver in receivers:
            for end in receiver.ends:
                end.peer.cut += [sender for sender in senders if sender is not receiver and sender not in end.peer.cut]
                end.peer.refresh()

    def heal(
        self, one: Host | Iterable[Host] | None = None, other: Host | Iterable[Host] | None = None
    ) -> None:
        """Undo every `partition` and `one_way`, or those between these two (sides) alone; ``heal(a)``: all that part
        ``a`` from anybody.
        """
        everybody = [node for node in self.nodes.values() if isinstance(node, Host)]
        ones, others = (everybody if side is None else _hosts(side) for side in (one, other))
        self._mend(ones, others)
        self._mend(others, ones)

    def _mend(self, senders: list[Host], receivers: list[Host]) -> None:
        for receiver in receivers:
            for end in receiver.ends:
                left = [sender for sender in end.peer.cut if sender not in senders]
                if len(left) < len(end.peer.cut):
                    end.peer.cut[:] = left
                    end.peer.refresh()

    # -- time ------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The clock of all hosts."""
        return self.kernel.clock

    @property
    def seed(self) -> int:
        """The seed of everything that is left to chance."""
        return self.kernel.seed

    def sleep(self, time: str | float) -> None:
        """Let so much simulated time pass: "500ms", or seconds."""
        self.kernel.sleep(nanoseconds(time))

    # -- looking at it ---------------------------------------------------------------------------------------

    def capture(
        self, path: str | os.PathLike[str] | None = None, *, links: Iterable[Link] | None = None
    ) -> NetworkCapture:
        """All packets from now on, of all links (those to come, too) or of some, in memory or in a pcapng file."""
        capture = NetworkCapture(self.kernel, self.links if links is None else links, path, links is None)
        self._captures.add(capture)
        return capture

    def __getitem__(self, name: str) -> Node:
        """The host or switch called ``name``. KeyError, naming those that there are."""
        try:
            return self.nodes[name]
        except KeyError:
            raise KeyError(f"no {name!r} here: there are {', '.join(self.nodes) or 'none'}") from None

    # -- as the network of a program -------------------------------------------------------------------------

    def __enter__(self) -> Network:
        """Patch: see `pysock.patch`. Outside of hosts, a program is on a machine of its own without cables."""
        self.hold()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def hold(self) -> None:
        """Patch until `release` was called as often: by those who enter the network, or a host of it."""
        self.route_all()
        with _holding:
            self._holders += 1
            if self._patch is None:
                self.program.numbers.real = True
                self._patch = patch_for_task(self.task)

    def release(self) -> None:
        """Undo what `hold` did, unless somebody else still needs it."""
        with _holding:
            self._holders -= 1
            if not self._holders and self._patch is not None:
                self._patch.undo()
                self._patch = None

    def close(self) -> None:
        """Finish the captures and close what is left open on the hosts; TAP devices are gone then."""
        for capture in list(self._captures):
            capture.close()
        for node in self.nodes.values():
            if isinstance(node, Host) and node is not self._here:
                node.task.exit()
        for made_of in self._media.values():
            made_of.close([link for link in self.links if link.medium is made_of])

    def __repr__(self) -> str:
        kind = "virtual" if self.clock.virtual else "real"
        return f"<Network clock={kind} seed={self.seed}: {', '.join(self.nodes) or 'empty'}>"


#: One thread at a time comes to a network, or leaves it.
_holding: Final = threading.Lock()


def _texts(wanted: str | Iterable[str] | None) -> list[str]:
    return [wanted] if isinstance(wanted, str) else list(wanted or ())


def _hosts(wanted: Host | Iterable[Host]) -> list[Host]:
    found = [wanted] if isinstance(wanted, Host) or not isinstance(wanted, Iterable) else list(wanted)
    if not all(isinstance(each, Host) for each in found):
        raise ValueError(f"a side of a partition is a Host or a list of them, not {wanted!r}")
    return found
