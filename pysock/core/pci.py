"""A small PCI bus: cards in slots, the drivers that want them, and what passes between. Documentation/PCI/pci.rst.

    bus = kernel.pci                 made when first asked for; plugins' drivers are registered with it then
    bus.register_driver(driver)      it is offered every card that its id table matches, those to come as well
    pdev = bus.plug(card)            config space, BARs, an interrupt line, DMA memory; then driver.probe(pdev)
    bus.suspend(pdev); bus.resume(pdev); bus.unplug(pdev)

A card (the model of the hardware) is a `PciCard`. It gets from the bus what real silicon gets: its interrupt line, the
memory that it may master, a clock, and a wire to wake the machine with (PME#). A driver sees the `PciDevice`: config
space, `bars` for registers, `dma`, `irq`. Neither sees the other. Everything runs under the kernel lock.

Not here: bridges, functions, MSI; memory is decoded whether or not the command register says so.
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
    from collections.abc import Callable, Iterable

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
PCI_CAPABILITY_LIST = 0x34
PCI_INTERRUPT_LINE = 0x3C
PCI_INTERRUPT_PIN = 0x3D

PCI_COMMAND_MEMORY = 0x2
PCI_COMMAND_MASTER = 0x4
PCI_STATUS_CAP_LIST = 0x0010
PCI_STATUS_REC_MASTER_ABORT = 0x2000

# The power management capability: its id, and in its control register, 4 bytes on, PME# enabled and asserted.
PCI_CAP_ID_PM = 1
PCI_PM_CTRL = 4
PCI_PM_CTRL_PME_ENABLE = 0x0100
PCI_PM_CTRL_PME_STATUS = 0x8000

PCI_D0 = 0
PCI_D3HOT = 3

#: In an id table: any.
PCI_ANY_ID = -1

#: The interrupt lines of the board, which its slots take in turn: the fifth card shares with the first.
IRQ_LINES = (9, 10, 11, 5)
_BAR_START = 0xE000_0000
_BAR_END = PCI_BASE_ADDRESS_0 + 24
_HEADER_END = 0x40
_CLEARABLE = 0xF9  # the errors in the upper byte of the status register
#: What a driver may write in the header, besides status and BARs: command, cache line size, latency, interrupt line.
_WRITABLE = (0x04, 0x05, 0x0C, 0x0D, PCI_INTERRUPT_LINE)


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
    """The hardware's side: derive the model of a card from it. It fills ``pci_config`` with its identity. ``pme()``
    asks for power, from D3.
    """

    __slots__ = ("clock", "dma", "irqs", "line", "pci_config", "pme")
    pci_config: bytearray
    pme: Callable[[], None]
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

    __slots__ = (
        "bars", "bus", "card", "config", "dma", "driver", "drvdata", "irq", "option", "power", "saved",
        "slot",
    )  # fmt: skip

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
        self.saved = bytes(self.config)

    @property
    def name(self) -> str:
        """As lspci writes it: domain, bus, device and function."""
        return f"0000:00:{self.slot:02x}.0"

    def read_config_byte(self, offset: int) -> int:
        return self.config[offset]

    def read_config_word(self, offset: int) -> int:
        value: int = unpack_from("<H", self.config, offset)[0]
        return value

    def read_config_dword(self, offset: int) -> int:
        value: int = unpack_from("<I", self.config, offset)[0]
        return value

    def write_config_byte(self, offset: int, value: int) -> None:
        self._write_config(offset, bytes((value & 0xFF,)))

    def write_config_word(self, offset: int, value: int) -> None:
        self._write_config(offset, (value & 0xFFFF).to_bytes(2, "little"))

    def write_config_dword(self, offset: int, value: int) -> None:
        """All ones written to a BAR leave its size there, as the bits of an address that count: -size."""
        self._write_config(offset, (value & 0xFFFF_FFFF).to_bytes(4, "little"))

    def _write_config(self, offset: int, data: bytes) -> None:
        """Identity can't be written; ones clear bits of the status register; a BAR keeps what is above its size."""
        config = self.config
        for at, byte in enumerate(data, offset):
            if at == PCI_STATUS + 1:
                config[at] &= ~(byte & _CLEARABLE)
            elif PCI_BASE_ADDRESS_0 <= at < _BAR_END:
                bar, place = divmod(at - PCI_BASE_ADDRESS_0, 4)
                size = self.bars[bar].size if bar < len(self.bars) else 0
                config[at] = byte & (-size >> 8 * place)
            elif at in _WRITABLE or at >= _HEADER_END:
                config[at] = byte

    def resource_start(self, bar: int) -> int:
        """The bus address of a register window (pci_resource_start)."""
        return self.read_config_dword(PCI_BASE_ADDRESS_0 + 4 * bar) & ~0xF

    def enable(self) -> None:
        """Decode memory and master the bus (pci_enable_device, pci_set_master)."""
        command = self.read_config_word(PCI_COMMAND)
        self.write_config_word(PCI_COMMAND, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

    def find_capability(self, id: int) -> int:
        """Where a capability is in config space; 0 when the card does not have it (pci_find_capability)."""
        at = self.config[PCI_CAPABILITY_LIST] if self.read_config_word(PCI_STATUS) & PCI_STATUS_CAP_LIST else 0
        for _ in range(48):  # as many as there is room for: a list may go round
            if at < _HEADER_END or self.config[at] == id:
                break
            at = self.config[at + 1]
        return at if at >= _HEADER_END and self.config[at] == id else 0

    def enable_wake(self, enable: bool) -> bool:
        """Let the card ask for power while it has none (pci_enable_wake); whether it can."""
        at = self.find_capability(PCI_CAP_ID_PM)
        if at:
            self.write_config_word(at + PCI_PM_CTRL, PCI_PM_CTRL_PME_ENABLE if enable else 0)
        return at != 0

    def disable(self) -> None:
        """No more DMA from the card (pci_disable_device)."""
        self.write_config_word(PCI_COMMAND, self.read_config_word(PCI_COMMAND) & ~PCI_COMMAND_MASTER)


class PciDeviceId:
    """An entry of an id table (struct pci_device_id): the cards that a driver knows. PCI_ANY_ID for what may be
    anything; the class code (PCI_CLASS_DEVICE) counts as far as ``class_mask`` says.
    """

    __slots__ = ("class_code", "class_mask", "device", "subdevice", "subvendor", "vendor")

    def __init__(
        self,
        vendor: int,
        device: int = PCI_ANY_ID,
        subvendor: int = PCI_ANY_ID,
        subdevice: int = PCI_ANY_ID,
        class_code: int = 0,
        class_mask: int = 0,
    ) -> None:
        self.vendor = vendor
        self.device = device
        self.subvendor = subvendor
        self.subdevice = subdevice
        self.class_code = class_code
        self.class_mask = class_mask

    def matches(self, pdev: PciDevice) -> bool:
        """pci_match_one_device()."""
        for wanted, offset in (
            (self.vendor, PCI_VENDOR_ID),
            (self.device, PCI_DEVICE_ID),
            (self.subvendor, PCI_SUBSYSTEM_VENDOR_ID),
            (self.subdevice, PCI_SUBSYSTEM_ID),
        ):
            if wanted not in (PCI_ANY_ID, pdev.read_config_word(offset)):
                return False
        return not (pdev.read_config_word(PCI_CLASS_DEVICE) ^ self.class_code) & self.class_mask


class PciDriver:
    """The driver's side (struct pci_driver). ``id_table`` lists the cards that it knows. What its methods raise, other
    than probe's OSError, is reported and goes no further.
    """

    __slots__ = ()
    name = ""
    id_table: tuple[PciDeviceId, ...] = ()

    def probe(self, pdev: PciDevice) -> None:
        """Take the card, or raise OSError: ENODEV to leave it for another driver."""
        raise err(errno.ENODEV)

    def remove(self, pdev: PciDevice) -> None:
        """Let go of the card, which may be gone already."""

    def suspend(self, pdev: PciDevice) -> None:
        """The card loses its state after this."""

    def resume(self, pdev: PciDevice) -> None:
        """It has power again, as after `PciCard.plugged`, and its config space is what it was."""


class PciBus:
    """The bus of one Kernel. It has as many slots as it takes."""

    __slots__ = ("_next_bar", "_next_slot", "_owners", "clock", "devices", "drivers", "irqs", "kernel")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.irqs = IrqController(kernel.errors)
        self.clock = CardClock(kernel)
        self.drivers: list[PciDriver] = []
        self._owners: dict[str, str] = {}
        self.devices: list[PciDevice] = []
        self._next_slot = 0
        self._next_bar = _BAR_START

    # -- drivers ---------------------------------------------------------------------------------------------

    def register_driver(self, driver: PciDriver, owner: str | None = None) -> None:
        """Offer it the cards that nobody drives, now and later (pci_register_driver). EEXIST, EINVAL for its name. A
        probe that fails leaves that card alone, and is reported.
        """
        if not isinstance(driver, PciDriver):
            raise TypeError(f"register() takes a PciDriver, not {driver!r:.80}")
        name = driver.name
        if not name:
            raise err(errno.EINVAL, f"{type(driver).__name__} has no name")
        if name in self._owners:
            raise err(errno.EEXIST, f"PCI driver {name!r} is already registered by {self._owners[name]}")
        self._owners[name] = owner or name
        self.drivers.append(driver)
        for pdev in list(self.devices):
            if pdev.driver is None:
                self._offer(driver, pdev)

    def _offer(self, driver: PciDriver, pdev: PciDevice) -> None:
        self._contain(driver, "probe", lambda: self._probe(pdev, (driver,)))

    def unregister_driver(self, driver: PciDriver) -> None:
        """Take it off its cards, which stay in their slots (pci_unregister_driver)."""
        if driver not in self.drivers:
            return
        self.drivers.remove(driver)
        for pdev in list(self.devices):
            if pdev.driver is driver:
                pdev.driver = None
                self._remove(driver, pdev)
        del self._owners[driver.name]

    def driver_registrar(self, owner: str) -> tuple[Callable[[PciDriver], None], Callable[[], None]]:
        """What one plugin registers drivers with, and how to take back what it registered."""
        mine: list[PciDriver] = []

        def register(driver: PciDriver) -> None:
            self.register_driver(driver, owner)
            mine.append(driver)

        def rollback() -> None:
            for driver in mine:
                self.unregister_driver(driver)
            mine.clear()

        return register, rollback

    # -- cards -----------------------------------------------------------------------------------------------

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
        pdev = PciDevice(self, slot, card, number)
        woken = Timer(lambda: self.resume(pdev))
        card.pme = lambda: self.clock.start(woken, 0)
        card.plugged()
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
            self._remove(driver, pdev)

    def suspend(self, pdev: PciDevice) -> None:
        """To D3: the driver puts the device to sleep, then it loses power."""
        if pdev.card is None or pdev.power != PCI_D0:
            return
        driver = pdev.driver
        if driver is not None:
            self._contain(driver, "suspend", lambda: driver.suspend(pdev))
        pdev.saved = bytes(pdev.config)  # pci_save_state
        pdev.power = PCI_D3HOT
        pdev.card.set_power(PCI_D3HOT)

    def resume(self, pdev: PciDevice) -> None:
        """Back to D0, and the driver starts it again."""
        if pdev.card is None or pdev.power == PCI_D0:
            return
        pdev.power = PCI_D0
        pdev.config[:] = pdev.saved
        pdev.card.set_power(PCI_D0)
        driver = pdev.driver
        if driver is not None:
            self._contain(driver, "resume", lambda: driver.resume(pdev))

    def _assign(self, pdev: PciDevice) -> None:
        """What a BIOS does: addresses for the BARs, a line for the interrupt pin."""
        for index, bar in enumerate(pdev.bars):
            size = max(bar.size, 4096)
            self._next_bar = -(-self._next_bar // size) * size  # a window lies at a multiple of its size
            pack_into("<I", pdev.config, PCI_BASE_ADDRESS_0 + 4 * index, self._next_bar)
            self._next_bar += size
        pdev.config[PCI_INTERRUPT_LINE] = pdev.irq
        pdev.config[PCI_INTERRUPT_PIN] = 1

    def _probe(self, pdev: PciDevice, drivers: Iterable[PciDriver]) -> None:
        for driver in drivers:
            if not any(entry.matches(pdev) for entry in driver.id_table):
                continue
            try:
                driver.probe(pdev)
            except OSError as exc:
                if exc.errno == errno.ENODEV:
                    continue
                raise
            pdev.driver = driver
            return

    def _remove(self, driver: PciDriver, pdev: PciDevice) -> None:
        self._contain(driver, "remove", lambda: driver.remove(pdev))
        pdev.drvdata = None

    def _contain(self, driver: PciDriver, where: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as exc:
            self.kernel.errors.report(self._owners.get(driver.name, driver.name), where, exc)
