"""A card with an Intel 82559 on it: interrupts, SCB commands and resets (SDM 6.3); its parts are in hw_*.py.

    E100Card(mac)  --bars()--> Csr, what the driver reads and writes
        .cu CommandUnit   .ru ReceiveUnit   .stats   .config     fed by SCB commands and memory
        .eeprom           .phy                                   behind two registers
        .port                                                    the wire; `plug_wire` changes it
        .faults                                                  what it is to do wrong

The card knows registers, DMA memory, its interrupt line and the wire port: no packet, device or driver. Whatever is
written to a register or stands in memory, nothing raises. One liberty is taken with the board: the PHY's interrupt pin
leads to the SCB's MDI bit, so that a driver need not poll an idle link.
"""

from __future__ import annotations

from struct import error as StructError
from struct import pack, pack_into

from pysock.core.dma import BusError
from pysock.core.pci import (
    PCI_CAP_ID_PM,
    PCI_CAPABILITY_LIST,
    PCI_CLASS_DEVICE,
    PCI_COMMAND,
    PCI_COMMAND_MASTER,
    PCI_D0,
    PCI_PM_CTRL,
    PCI_PM_CTRL_PME_ENABLE,
    PCI_PM_CTRL_PME_STATUS,
    PCI_REVISION_ID,
    PCI_STATUS,
    PCI_STATUS_CAP_LIST,
    PCI_STATUS_REC_MASTER_ABORT,
    PCI_SUBSYSTEM_VENDOR_ID,
    PCI_VENDOR_ID,
    PciBar,
    PciCard,
)
from pysock.core.wire import WireClient, WirePort
from pysock.drivers.e100 import regs
from pysock.drivers.e100.hw_config import Config
from pysock.drivers.e100.hw_csr import Csr
from pysock.drivers.e100.hw_cu import CommandUnit
from pysock.drivers.e100.hw_eeprom import Eeprom, image
from pysock.drivers.e100.hw_faults import Faults
from pysock.drivers.e100.hw_phy import Phy
from pysock.drivers.e100.hw_ru import PAUSE_ADDRESS, ReceiveUnit
from pysock.drivers.e100.hw_stats import Statistics
from pysock.drivers.e100.regs import MASK_SI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_UNPROGRAMMED = b"\xff" * 6
_MAGIC = b"\xff" * 6
_PM = 0xDC  # the power management capability
#: By the value of the mask register, which bits of the interrupt byte pull the line.
_LISTENED = tuple(
    0 if mask & regs.MASK_ALL else 0xFF & ~(mask & 0xF0) & ~(mask >> 2 & regs.ACK_FCP) for mask in range(256)
)


class E100Card(PciCard, WireClient):
    """One card. ``ack`` is the SCB's interrupt byte, ``mask`` its mask."""

    __slots__ = (
        "_holding", "_listened", "_pause_due", "_pulling", "ack", "address", "command", "config", "cu", "eeprom",
        "faults", "mask", "mdi", "phy", "port", "powered", "ru", "stats",
    )  # fmt: skip

    def __init__(self, mac: bytes, device_id: int = regs.DEVICE_82557, revision: int = regs.REVISION_82559) -> None:
        self.pci_config = bytearray(256)
        pack_into("<HH", self.pci_config, PCI_VENDOR_ID, regs.VENDOR_INTEL, device_id)
        self.pci_config[PCI_REVISION_ID] = revision
        pack_into("<H", self.pci_config, PCI_CLASS_DEVICE, 0x0200)
        pack_into("<HH", self.pci_config, PCI_SUBSYSTEM_VENDOR_ID, regs.VENDOR_INTEL, 0x000C)
        self.pci_config[PCI_STATUS] |= PCI_STATUS_CAP_LIST
        self.pci_config[PCI_CAPABILITY_LIST] = _PM
        self.pci_config[_PM] = PCI_CAP_ID_PM
        pack_into("<H", self.pci_config, _PM + 2, 0xFE22)  # PME# from every state
        self.faults = Faults()
        self.eeprom = Eeprom(image(mac))
        self.config = Config()
        self.stats = Statistics()
        self.port = WirePort()
        self.phy = Phy(self.port)
        self.powered = False
        self.address = _UNPROGRAMMED
        self.ack = self.mask = self.command = 0
        self._listened = _LISTENED[0]
        self.mdi = regs.MDI_READY
        self._pulling = False
        self._pause_due: int | None = None  # the quanta of a pause frame to send
        self._holding = False  # the last one asked the peer to hold back

    # -- the slot ------------------------------------------------------------------------------------------

    def bars(self) -> list[PciBar]:
        return [Csr(self)]

    def plugged(self) -> None:
        self.cu = CommandUnit(self)
        self.ru = ReceiveUnit(self)
        self.powered = True
        self.phy.update()

    def unplugged(self) -> None:
        self.port.detach()
        self._power_off()

    def set_power(self, state: int) -> None:
        if state == PCI_D0:
            self.powered = True
            self.phy.reset()
        elif self.powered:
            self._power_off()
            if not self._wakes():  # else the PHY goes on
                self.port.advertise(0)

    def _wakes(self) -> bool:
        return self.pci_config[_PM + PCI_PM_CTRL + 1] & PCI_PM_CTRL_PME_ENABLE >> 8 != 0

    def _power_off(self) -> None:
        self.reset(software=True)
        self.set_mask(regs.MASK_ALL)
        self.powered = False

    def master_abort(self) -> None:
        """It reached for memory that is not there: remembered in PCI status."""
        self.pci_config[PCI_STATUS + 1] |= PCI_STATUS_REC_MASTER_ABORT >> 8

    # -- interrupts ----------------------------------------------------------------------------------------

    def interrupt(self, why: int) -> None:
        """Set bits of the SCB's interrupt byte, and pull the line if they are not masked."""
        if self.faults.glitches:
            self.faults.glitches -= 1
            self.irqs.pulse(self.line)
        ack = self.ack = self.ack | why
        if ack & self._listened and not self._pulling:
            if self.faults.drop_interrupts:
                self.faults.drop_interrupts -= 1
                return
            self._pulling = True
            self.irqs.pull(self.line, self)

    def acknowledge(self, bits: int) -> None:
        self.ack &= ~bits
        if self._pulling and not self.ack & self._listened:
            self._pulling = False
            self.irqs.release(self.line, self)

    def set_mask(self, value: int) -> None:
        if value & MASK_SI:
            value &= ~MASK_SI
            self.ack |= regs.ACK_SWI
        self.mask = value
        self._listened = listened = _LISTENED[value]
        if self._pulling:
            if not self.ack & listened:
                self._pulling = False
                self.irqs.release(self.line, self)
        elif self.ack & listened:
            self.interrupt(0)

    # -- commands ------------------------------------------------------------------------------------------

    def scb_command(self, command: int, pointer: int) -> None:
        """Take a command for the units. Lost without the right to master the bus."""
        if self.faults.stall_scb:
            self.command = command
            return
        if not self.pci_config[PCI_COMMAND] & PCI_COMMAND_MASTER:
            return
        if command == regs.CUC_RESUME:  # by far the most frequent
            self.cu.resume()
            return
        unit = command & 0xF0
        if unit == regs.CUC_RESUME:
            self.cu.resume()
        elif unit == regs.CUC_START:
            self.cu.start(pointer)
        elif unit == regs.CUC_LOAD_BASE:
            self.cu.base = pointer
        elif unit == regs.CUC_DUMP_ADDR:
            self.stats.address = pointer
        elif unit in (regs.CUC_DUMP_STATS, regs.CUC_DUMP_RESET):
            self._try(lambda: self.stats.dump(self, unit == regs.CUC_DUMP_RESET))
        unit = command & 0x0F
        if unit == regs.RUC_START:
            self.ru.start(pointer)
            if self._holding:
                self._pause_peer(0)
        elif unit == regs.RUC_RESUME:
            self.ru.resume()
        elif unit == regs.RUC_ABORT:
            self.ru.abort()
        elif unit == regs.RUC_LOAD_BASE:
            self.ru.base = pointer

    def port_command(self, function: int, address: int) -> None:
        """The PORT register: what works when nothing else does."""
        if function in (regs.PORT_RESET, regs.PORT_SELFTEST):
            self.faults.was_reset()
            self.reset(software=True)
            if function == regs.PORT_SELFTEST:
                self._try(lambda: self.dma.write(address, pack("<II", 0x04F4_0523, 0)))
        elif function == regs.PORT_SELECTIVE_RESET:
            self.faults.was_reset()
            self.reset(software=False)
        elif function == regs.PORT_DUMP:
            self._try(lambda: self.dma.write(address, self.internal_state()))

    def reset(self, software: bool) -> None:
        """Stop both units; a software reset forgets the configuration and the counters, too."""
        self.command = 0
        self.cu.reset()
        self.ru.reset()
        self._pause_due = None
        self._holding = False
        if software:
            self.config = Config()
            self.stats = Statistics()
            self.address = _UNPROGRAMMED
            self.mask = 0
            self._listened = _LISTENED[0]
        self.acknowledge(0xFF)

    def internal_state(self) -> bytes:
        """What a DUMP writes: the configuration and the address, and zeros for silicon that is not there."""
        state = self.config.raw + self.address + bytes((self.cu.state | self.ru.state,))
        return state.ljust(regs.DUMP_BYTES, b"\0")

    def _try(self, dma: Callable[[], None]) -> None:
        try:
            dma()
        except (BusError, StructError):
            self.master_abort()

    def mdi_cycle(self, value: int) -> None:
        """One cycle on the management interface to the PHY."""
        phy, register = value >> 21 & 31, value >> 16 & 31
        changed = False
        if value & regs.MDI_READ:
            value = value & ~0xFFFF | self.phy.read(phy, register)
        elif value & regs.MDI_WRITE:
            changed = self.phy.write(phy, register, value & 0xFFFF)
        self.mdi = value | regs.MDI_READY
        if value & regs.MDI_IE or changed:
            self.interrupt(regs.ACK_MDI)

    # -- the wire ------------------------------------------------------------------------------------------

    def plug_wire(self, port: WirePort) -> None:
        """Pull the cable out and plug another one in."""
        self.port.detach()
        self.cu.transmit_done()
        self.port = self.phy.port = port
        port.attach(self)
        self.link_changed()

    def receive(self, frame: bytes, damage: int) -> None:
        if self.powered:
            self.ru.receive(frame, damage)
        elif not damage and self._wakes():
            # Asleep, all that it looks for is a magic packet, with the address in the EEPROM.
            mac = b"".join(word.to_bytes(2, "little") for word in self.eeprom.words[:3])
            if _MAGIC + mac * 16 in frame and (frame[:6] == mac or frame[0] & 1):
                self.pci_config[_PM + PCI_PM_CTRL + 1] |= PCI_PM_CTRL_PME_STATUS >> 8
                self.pme()

    def transmit_done(self) -> None:
        self.cu.transmit_done()

    def link_changed(self) -> None:
        if self.powered and self.phy.update():
            self.interrupt(regs.ACK_MDI)

    # -- flow control, sending -----------------------------------------------------------------------------

    def flow_command(self, value: int) -> None:
        """The driver asks for a pause frame."""
        if value & regs.FC_XOFF:
            self.pause_peer()
        elif value & regs.FC_XON:
            self._pause_peer(0)

    def pause_peer(self) -> None:
        """No more room: ask the peer to hold back for as long as the configuration says (bytes 16 and 17)."""
        self._pause_peer(int.from_bytes(self.config.raw[16:18], "little"))

    def _pause_peer(self, quanta: int) -> None:
        if self.config.pause_off or not self.phy.pause:
            return
        self._pause_due = quanta
        self._holding = quanta > 0
        if not self.cu.busy:
            self.send_pending_pause()

    def send_pending_pause(self) -> None:
        """Pause frames go between two others, ahead of what waits."""
        quanta, self._pause_due = self._pause_due, None
        if quanta is None or not self.phy.link:
            return
        self.stats.add("tx_pause")
        frame = PAUSE_ADDRESS + self.address + b"\x88\x08\0\x01" + quanta.to_bytes(2, "big") + bytes(42)
        if not self.port.transmit(frame):
            self.cu.busy = True
