"""Media: what a network's cables are made of. One object for each network and kind of cable, not one for each cable.

    loopback    a veth pair: frames cross by reference, nothing leaves the process and nothing is copied
    e100        two simulated e100 cards, found by their driver on a PCI bus, and a wire between them that takes no
                time: descriptor rings, DMA memory, interrupts and NAPI on both sides
    tap         two TAP devices, between which the real Linux forwards (`tapcables.py`)

Whatever it is made of, a cable is as good as perfect; delay, loss and rate are queueing disciplines on top (`link.py`).
"""

from __future__ import annotations

import errno

from pysock.core.device import netif_carrier_off, netif_carrier_on, unregister_netdev
from pysock.drivers.veth import veth_peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.wire import Cable
    from pysock.drivers.tap.chardev import TunQueue
    from pysock.lab.link import Link

#: What `driver` may be, of networks and links.
DRIVERS: Final = ("loopback", "tap", "e100")


class Medium:
    """One kind of cable. `connect` and `set_link` need the kernel lock, `lay` and `close` must not be under it."""

    __slots__ = ("kernel",)
    name = ""
    max_mtu = 65535

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def lay(self, mtu: int) -> tuple[TunQueue, TunQueue] | None:
        """What the next cable needs from outside of the kernel. OSError where that cannot be had."""
        return None

    def connect(
        self, one: tuple[Net, str], other: tuple[Net, str], laid: tuple[TunQueue, TunQueue] | None
    ) -> tuple[NetDevice, NetDevice]:
        """A cable between two namespaces, each with the name of its device there; both devices are down. Errors of the
        driver; nothing is left then.
        """
        raise NotImplementedError

    def set_link(self, dev: NetDevice, peer: NetDevice, up: bool) -> None:
        """Plug the cable in, or pull it out: carrier comes and goes at both devices, as far as they are up."""
        raise NotImplementedError

    def close(self, links: list[Link]) -> None:
        """The network is closed, with these ``links`` of this kind: let go of what is outside of the kernel."""


class VethMedium(Medium):
    """The driver "loopback"."""

    __slots__ = ()
    name = "loopback"

    def connect(
        self, one: tuple[Net, str], other: tuple[Net, str], laid: tuple[TunQueue, TunQueue] | None
    ) -> tuple[NetDevice, NetDevice]:
        near = self.kernel.dev_layer.create_device(one[0], "veth", one[1], peer=other[1], peer_net=other[0])
        far = veth_peer(near)
        assert far is not None
        return near, far

    def set_link(self, dev: NetDevice, peer: NetDevice, up: bool) -> None:
        change = netif_carrier_on if up and dev.running and peer.running else netif_carrier_off
        change(dev)
        change(peer)


class E100Medium(Medium):
    """Cards of the driver "e100"."""

    __slots__ = ()
    name = "e100"
    max_mtu = 1500

    def connect(
        self, one: tuple[Net, str], other: tuple[Net, str], laid: tuple[TunQueue, TunQueue] | None
    ) -> tuple[NetDevice, NetDevice]:
        from pysock.core.wire import Cable

        cable = Cable()
        create = self.kernel.dev_layer.create_device
        near = create(one[0], "e100", one[1], wire=cable.a)
        try:
            far = create(other[0], "e100", other[1], wire=cable.b)
        except BaseException:
            unregister_netdev(near)
            raise
        return near, far

    def set_link(self, dev: NetDevice, peer: NetDevice, up: bool) -> None:
        cable = _cable(dev) or _cable(peer)
        if cable is not None:
            cable.set_link(up)  # the PHYs tell the drivers


def _cable(dev: NetDevice) -> Cable | None:
    """What the card of an e100 device is plugged into; None when it is out of its slot, or somewhere else by now."""
    from pysock.core.wire import CablePort
    from pysock.drivers.e100.kind import card_of

    try:
        port = card_of(dev).port
    except OSError as exc:
        if exc.errno != errno.ENODEV:
            raise
        return None
    return port.cable if isinstance(port, CablePort) else None


def medium(name: object, kernel: Kernel) -> Medium:
    """The medium called ``name``. ValueError for one that there is not, or not in virtual time."""
    if name == "loopback":
        return VethMedium(kernel)
    if name == "e100":
        return E100Medium(kernel)
    if name != "tap":
        raise ValueError(f"driver is {' or '.join(map(repr, DRIVERS))}, not {name!r}")
    if kernel.clock.virtual:
        raise ValueError('driver="tap" connects to real time, so the network needs clock="real"')
    from pysock.lab.tapcables import TapMedium

    return TapMedium(kernel)
