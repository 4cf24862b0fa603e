"""A small PCI bus: cards in slots, the drivers that want them, and what passes between. Documentation/PCI/pci.rst.

    bus = PciBus(kernel)
    bus.register_driver(driver)      it is offered every card that its id table matches
    pdev = bus.plug(card)            config space, BARs, an interrupt line, DMA memory; then driver.probe(pdev)
    bus.suspend(pdev); bus.resume(pdev); bus.unplug(pdev)

A card (the model of the hardware) is a `PciCard`. It gets from the bus what real silicon gets: its interrupt line, the
memory that it may master, and a clock. A driver sees the `PciDevice`: config space by its bytes, `bars` for registers,
`dma`, `irq`. Neither sees the other. Everything runs under the kernel lock.
"""

from __future__ import annotations

import errno
from struct import pack_into, unpack_from

from pysock.core.dma import DmaMemory
from pysock.core.errors import err
from pysock.core.irq import IrqController, IrqLine
from pysock.core.timer import Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.kernel import Kernel

# Offsets in config space
PCI_VENDOR_ID = 0x00
PCI_DEVICE_ID = 0x02
PCI_COMMAND = 0x04
PCI_STATUS = 0x06
PCI_REVISION_ID = 0x08
PCI_CLASS_DEVICE = 0x0A
PCI_BASE_ADDRESS_0 = 0x10
PCI_SUBSYSTEM_VENDOR_ID = 0x2C
PCI_SUBSYSTEM_ID = 0x2E
PCI_INTERRUPT_LINE = 0x3C
PCI_INTERRUPT_PIN = 0x3D

PCI_COMMAND_MEMORY = 0x2
PCI_COMMAND_MASTER = 0x4
PCI_STATUS_REC_MASTER_ABORT = 0x2000

PCI_D0 = 0
PCI_D3HOT = 3

#: The interrupt lines of the board, which its slots take in turn: the fifth card shares with the first.
IRQ_LINES = (9, 10, 11, 5)
_BAR_START = 0xE000_0000


class PciBar:
    """A window of a card's memory-mapped registers. Values are little endian numbers; nothing raises.

    The base class is what is behind a card that is gone: all ones, and writes are lost.
    """

    __slots__ = ()
    size = 4096

    def read8(self, offset: int) -> int:
        return 0xFF

    def read16(self, offset: int) -> int:
        return 0xFFFF

    def read32(self, offset: int) -> int:
        return 0xFFFF_FFFF

    def write8(self, offset: int, value: int) -> None:
        """Lost."""

    def write16(self, offset: int, value: int) -> None:
        """Lost."""

    def write32(self, offset: int, value: int) -> None:
        """Lost."""


class CardClock:
    """The oscillator on a card: the time, and calls after a while."""

    __slots__ = ("_kernel",)

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def now(self) -> int:
        """Nanoseconds since some instant."""
        return self._kernel.now

    def start(self, timer: Timer, delay: int) -> None:
        """Run ``timer`` in ``delay`` nanoseconds."""
        self._kernel.timers.mod_timer(timer, self._kernel.now + delay)

    def stop(self, timer: Timer) -> None:
        self._kernel.timers.del_timer(timer)


class PciCard:
    """The hardware's side: derive the model of a card from it. It fills ``pci_config`` with its identity."""

    __slots__ = ("clock", "dma", "irqs", "line", "pci_config")
    pci_config: bytearray
    clock: CardClock
    dma: DmaMemory
    irqs: IrqController
    line: IrqLine

    def bars(self) -> list[PciBar]:
        """Its register windows, at most six."""
        return []

    def plugged(self) -> None:
        """Power is on; config, clock, dma, irqs and line are there."""

    def unplugged(self) -> None:
        """Out of its slot: no more interrupts, memory or time."""

    def set_power(self, state: int) -> None:
        """PCI_D0 or PCI_D3HOT, in which it does nothing and forgets what it was told."""


class PciDevice:
    """The driver's view of one card (struct pci_dev). ``drvdata`` is the driver's; ``option`` what the creator of a
    simulated card wants its driver to know (module parameters, so to speak).
    """

    __slots__ = ("bars", "bus", "card", "config", "dma", "driver", "drvdata", "irq", "option", "power", "slot")

    def __init__(self, bus: PciBus, slot: int, card: PciCard, irq: int) -> None:
        self.bus = bus
        self.slot = slot
        self.card: PciCard | None = card
        self.config = card.pci_config
        self.dma = card.dma
        self.bars = card.bars()
        self.irq = irq
        self.driver: PciDriver | None = None
        self.drvdata: object = None
        self.option: object = None
        self.power = PCI_D0

    @property
    def name(self) -> str:
        """As lspci writes it: domain, bus, device and function."""
        return f"0000:00:{self.slot:02x}.0"

    def read_config_word(self, offset: int) -> int:
        value: int = unpack_from("<H", self.config, offset)[0]
        return value

    def write_config_word(self, offset: int, value: int) -> None:
        pack_into("<H", self.config, offset, value & 0xFFFF)

    def enable(self) -> None:
        """Decode memory and master the bus (pci_enable_device, pci_set_master)."""
        command = self.read_config_word(PCI_COMMAND)
        self.write_config_word(PCI_COMMAND, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

    def disable(self) -> None:
        """No more DMA from the card (pci_disable_device)."""
        self.write_config_word(PCI_COMMAND, self.read_config_word(PCI_COMMAND) & ~PCI_COMMAND_MASTER)


class PciDriver:
    """The driver's side (struct pci_driver). ``id_table`` lists (vendor, device)."""

    __slots__ = ()
    name = ""
    id_table: tuple[tuple[int, int], ...] = ()

    def probe(self, pdev: PciDevice) -> None:
        """Take the card, or raise OSError: ENODEV to leave it for another driver."""
        raise err(errno.ENODEV)

    def remove(self, pdev: PciDevice) -> None:
        """Let go of the card, which may be gone already."""

    def suspend(self, pdev: PciDevice) -> None:
        """The card loses its state after this."""

    def resume(self, pdev: PciDevice) -> None:
        """It has power again, as after `PciCard.plugged`."""


class PciBus:
    """The bus of one Kernel. It has as many slots as it takes."""

    __slots__ = ("_next_bar", "_next_slot", "clock", "devices", "drivers", "irqs", "kernel")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.irqs = IrqController(kernel.errors)
        self.clock = CardClock(kernel)
        self.drivers: list[PciDriver] = []
        self.devices: list[PciDevice] = []
        self._next_slot = 0
        self._next_bar = _BAR_START

    def register_driver(self, driver: PciDriver) -> None:
        """Offer it the cards that nobody drives, now and later (pci_register_driver)."""
        self.drivers.append(driver)
        for pdev in self.devices:
            if pdev.driver is None:
                self._probe(pdev, (driver,))

    def plug(self, card: PciCard, irq: int | None = None, option: object = None) -> PciDevice:
        """Put a card in the next slot and find it a driver; ``irq`` chooses its line. What the driver's probe raises
        comes out, and the card is out again; no driver at all leaves it there, undriven.
        """
        slot = self._next_slot
        self._next_slot += 1
        number = IRQ_LINES[slot % len(IRQ_LINES)] if irq is None else irq
        card.irqs = self.irqs
        card.line = self.irqs.line(number)
        card.clock = self.clock
        card.dma = DmaMemory()
        card.plugged()
        pdev = PciDevice(self, slot, card, number)
        pdev.option = option
        self._assign(pdev)
        self.devices.append(pdev)
        try:
            self._probe(pdev, self.drivers)
        except BaseException:
            self.unplug(pdev)
            raise
        return pdev

    def unplug(self, pdev: PciDevice) -> None:
        """Pull the card out, ready or not; its driver is told to let go. Nothing happens the second time."""
        card, pdev.card = pdev.card, None
        if card is None:
            return
        pdev.bars = [PciBar() for _ in pdev.bars]
        card.unplugged()
        self.devices.remove(pdev)
        driver, pdev.driver = pdev.driver, None
        if driver is not None:
            self._contain(driver, "remove", lambda: driver.remove(pdev))

    def suspend(self, pdev: PciDevice) -> None:
        """To D3: the driver puts the device to sleep, then it loses power."""
        if pdev.card is None or pdev.power != PCI_D0:
            return
        driver = pdev.driver
        if driver is not None:
            self._contain(driver, "suspend", lambda: driver.suspend(pdev))
        pdev.power = PCI_D3HOT
        pdev.card.set_power(PCI_D3HOT)

    def resume(self, pdev: PciDevice) -> None:
        """Back to D0, and the driver starts it again."""
        if pdev.card is None or pdev.power == PCI_D0:
            return
        pdev.power = PCI_D0
        pdev.card.set_power(PCI_D0)
        driver = pdev.driver
        if driver is not None:
            self._contain(driver, "resume", lambda: driver.resume(pdev))

    def _assign(self, pdev: PciDevice) -> None:
        """What a BIOS does: addresses for the BARs, a line for the interrupt pin."""
        for index, bar in enumerate(pdev.bars):
            pack_into("<I", pdev.config, PCI_BASE_ADDRESS_0 + 4 * index, self._next_bar)
            self._next_bar = (self._next_bar + max(bar.size, 4096)) & 0xFFFF_F000
        pdev.config[PCI_INTERRUPT_LINE] = pdev.irq
        pdev.config[PCI_INTERRUPT_PIN] = 1

    def _probe(self, pdev: PciDevice, drivers: list[PciDriver] | tuple[PciDriver, ...]) -> None:
        ids = (pdev.read_config_word(PCI_VENDOR_ID), pdev.read_config_word(PCI_DEVICE_ID))
        for driver in drivers:
            if ids not in driver.id_table:
                continue
            try:
                driver.probe(pdev)
            except OSError as exc:
                if exc.errno == errno.ENODEV:
                    continue
                raise
            pdev.driver = driver
            return

    def _contain(self, driver: PciDriver, where: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as exc:
            self.kernel.errors.report(driver.name, where, exc)
