"""Switch: a namespace with a bridge in it, whose ports are the far ends of the cables that hosts plug in.

Its spanning tree is off unless asked for, as a Linux bridge's is. A loop of switches without one is a storm, here as
there, and in simulated time one that no time passes in; so `Network.link` refuses to make it.
"""

from __future__ import annotations

from pysock.core.device import dev_open
from pysock.drivers.bridge import br_add_if
from pysock.families.inet6.addrconf import addrconf_of
from pysock.families.inet6.net import Inet6Net

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.lab.addressing import Segment
    from pysock.lab.link import End, Link
    from pysock.lab.network import Network


class Switch:
    """Make it with `Network.switch`. ``bridge`` is its device, ``ports`` are its ends of links; ``stp`` says that it
    takes part in a spanning tree."""

    __slots__ = ("bridge", "name", "net", "network", "ports", "powered", "segment", "stp")

    def __init__(self, network: Network, name: str, segment: Segment, stp: bool = False) -> None:
        kernel = network.kernel
        self.network = network
        self.name = name
        self.segment = segment
        self.stp = stp
        self.powered = True
        self.ports: list[End] = []
        self.net = kernel.new_net(name)
        if self.net.has(Inet6Net):
            addrconf_of(self.net.get(Inet6Net)).default.disable_ipv6 = 1  # it has no address of its own
        options: dict[str, object] = {"stp_state": 1} if stp else {}
        self.bridge: NetDevice = kernel.dev_layer.create_device(self.net, "bridge", "br0", **options)
        dev_open(self.bridge)

    def next_port(self) -> str:
        """The name of the next port."""
        return f"p{len(self.ports)}"

    def plug(self, end: End) -> None:
        """Take in a cable, whose device is up. Needs the kernel lock."""
        self.ports.append(end)
        br_add_if(self.bridge, end.dev)

    def link(self, to: object) -> Link:
        """The cable to a host or switch. LookupError when there is none."""
        for link in self.network.links:
            if {link.a, link.b} == {self, to}:
                return link
        raise LookupError(f"{to!r} is not plugged into {self.name}")

    def __repr__(self) -> str:
        return f"<Switch {self.name}: {len(self.ports)} ports>"
