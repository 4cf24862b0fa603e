"""The e100 as a kind of device: what the driver table holds once a card is made."""

from __future__ import annotations

import errno

from pysock.core.device_ops import Driver
from pysock.core.errors import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.drivers.e100.hw_card import E100Card


class E100Driver(Driver):
    """Makes cards, plugged into the PCI bus of the kernel."""

    __slots__ = ()
    name = "e100"
    device_name = "eth%d"
    options = ("irq", "mac", "napi", "rx_ring", "tx_ring", "weight", "wire")

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        """Plug a card in, whose device is in ``net``, down.

        ``wire``: the WirePort that its cable leads to (core/wire.py; default: none is plugged in). ``mac``: the 6 bytes
        in its EEPROM (default: from the kernel's random numbers). ``irq``: its interrupt line (default: one of four in
        turn). ``napi``: poll, or handle everything in the interrupt (False). ``rx_ring``, ``tx_ring``: descriptors.
        ``weight``: frames a poll may handle. EINVAL for what makes no sense, EEXIST for the name, ENODEV when no driver
        on the bus takes the card.
        """
        from pysock.core.eth import eth_random_addr, is_valid_ether_addr
        from pysock.core.netdev_register import dev_alloc_name
        from pysock.core.netdevice import NetDevice
        from pysock.core.wire import WirePort
        from pysock.drivers.e100.driver import Parameters
        from pysock.drivers.e100.driver_nic import RX_RING, TX_RING
        from pysock.drivers.e100.driver_tx import check_ring
        from pysock.drivers.e100.hw_card import E100Card

        for option in options:
            if option not in self.options:
                raise err(errno.EINVAL, f"driver 'e100' has no option {option!r} (it knows {', '.join(self.options)})")
        wire, mac, irq = options.get("wire"), options.get("mac"), options.get("irq")
        if not isinstance(wire, WirePort | None) or not isinstance(irq, int | None):
            raise err(errno.EINVAL, "e100 takes wire=WirePort and irq=number")
        if mac is None:
            mac = eth_random_addr(kernel.random("mac"))
        if not isinstance(mac, bytes) or not is_valid_ether_addr(mac):
            raise err(errno.EINVAL, f"not a card's address: {mac!r:.40}")
        parameters = Parameters(
            net,
            dev_alloc_name(net, name if name is not None else self.device_name),
            options.get("napi", True) is True,
            check_ring("rx_ring", options.get("rx_ring", RX_RING[0]), *RX_RING[1:]),
            check_ring("tx_ring", options.get("tx_ring", TX_RING[0]), *TX_RING[1:]),
            check_ring("weight", options.get("weight", 64), 1, 64),
        )
        card = E100Card(mac)
        bus = kernel.pci
        pdev = bus.plug(card, irq, parameters)
        dev = pdev.drvdata
        if not isinstance(dev, NetDevice):
            bus.unplug(pdev)
            raise err(errno.ENODEV, "no driver on the PCI bus takes this card")
        if wire is not None:
            card.plug_wire(wire)
        return dev


def card_of(dev: NetDevice) -> E100Card:
    """The simulated card below an e100 device: its wire, its faults. ENODEV when it is out of its slot."""
    from pysock.drivers.e100.driver import nic_of
    from pysock.drivers.e100.hw_card import E100Card

    card = nic_of(dev).pdev.card
    if not isinstance(card, E100Card):
        raise err(errno.ENODEV)
    return card
