"""The model's register block alone: interrupts and masks, PORT, EEPROM, MDI, statistics (SDM 6.3)."""

from __future__ import annotations

from struct import unpack

import pytest
from support.e100 import MAC, Bench, to

from pysock.core.pci import PCI_D0, PCI_D3HOT, PCI_STATUS, PCI_STATUS_REC_MASTER_ABORT, PciBar
from pysock.drivers.e100 import driver_access as access
from pysock.drivers.e100 import regs
from pysock.drivers.e100.hw_eeprom import Eeprom, image


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- interrupts -------------------------------------------------------------------------------------------------------


def test_a_software_interrupt_until_acknowledged(bench: Bench) -> None:
    bench.csr.write8(regs.SCB_MASK, regs.MASK_SI)
    assert bench.interrupts == [regs.ACK_SWI]
    assert not bench.card.line.sources
    assert bench.csr.read8(regs.SCB_MASK) == 0  # the request does not stay


def test_a_masked_interrupt_waits(bench: Bench) -> None:
    bench.csr.write8(regs.SCB_MASK, regs.MASK_ALL | regs.MASK_SI)
    assert bench.interrupts == []
    assert bench.csr.read8(regs.SCB_ACK) == regs.ACK_SWI
    bench.csr.write8(regs.SCB_MASK, 0)
    assert bench.interrupts == [regs.ACK_SWI]


@pytest.mark.parametrize(
    ("mask", "why"),
    [(regs.MASK_CX, regs.ACK_CX), (regs.MASK_CNA, regs.ACK_CNA), (regs.MASK_FR, regs.ACK_FR),
     (regs.MASK_RNR, regs.ACK_RNR), (regs.MASK_FCP, regs.ACK_FCP)],
)  # fmt: skip
def test_each_cause_has_its_mask(bench: Bench, mask: int, why: int) -> None:
    bench.csr.write8(regs.SCB_MASK, mask)
    bench.card.interrupt(why)
    assert bench.interrupts == []
    bench.csr.write8(regs.SCB_MASK, 0)
    assert bench.interrupts == [why]


def test_widths(bench: Bench) -> None:
    """A register is the same whichever way it is read."""
    csr = bench.csr
    csr.write8(regs.SCB_MASK, regs.MASK_ALL)
    bench.card.interrupt(regs.ACK_CX)
    assert csr.read16(regs.SCB_STATUS) == regs.ACK_CX << 8
    assert csr.read32(regs.SCB_STATUS) == regs.MASK_ALL << 24 | regs.ACK_CX << 8
    csr.write16(regs.SCB_POINTER, 0x5678)
    csr.write16(regs.SCB_POINTER + 2, 0x1234)
    assert csr.read32(regs.SCB_POINTER) == 0x12345678
    assert csr.read32(regs.SCB_POINTER + 1) & 0xFFFF == 0x3456
    csr.write16(regs.SCB_STATUS, regs.ACK_CX << 8)
    assert csr.read8(regs.SCB_ACK) == 0


# --- PORT, power ------------------------------------------------------------------------------------------------------


def test_self_test(bench: Bench) -> None:
    access.self_test(bench.csr, bench.dma)


def test_software_reset_forgets_selective_reset_remembers(bench: Bench) -> None:
    bench.set_address()
    bench.configure(b15=0x49)
    access.hw_reset(bench.csr)
    assert (bench.card.address, bench.card.config.promiscuous) == (b"\xff" * 6, False)
    bench.set_address()
    bench.configure(b15=0x49)
    bench.command(regs.RUC_START, bench.receive_area(1)[0])
    bench.csr.write32(regs.PORT, regs.PORT_SELECTIVE_RESET)
    assert (bench.card.address, bench.card.config.promiscuous) == (MAC, True)
    assert bench.state() == (regs.CU_IDLE, regs.RU_IDLE)


def test_port_dump(bench: Bench) -> None:
    bench.set_address()
    area = bench.dma.alloc(regs.DUMP_BYTES)
    bench.csr.write32(regs.PORT, area | regs.PORT_DUMP)
    assert bench.dma.read(area + regs.CONFIG_BYTES, 6) == MAC


@pytest.mark.parametrize("function", [regs.PORT_SELFTEST, regs.PORT_DUMP])
def test_port_to_nowhere_is_a_master_abort(bench: Bench, function: int) -> None:
    bench.csr.write32(regs.PORT, 0xFFFF_FFF0 | function)
    assert bench.pdev.read_config_word(PCI_STATUS) & PCI_STATUS_REC_MASTER_ABORT


def test_without_power_everything_reads_as_ones(bench: Bench) -> None:
    bench.card.set_power(PCI_D3HOT)
    assert (bench.csr.read8(0), bench.csr.read16(2), bench.csr.read32(4)) == (0xFF, 0xFFFF, 0xFFFF_FFFF)
    bench.csr.write8(regs.SCB_MASK, regs.MASK_SI)
    bench.card.receive(to(), 0)
    bench.card.set_power(PCI_D0)
    assert bench.csr.read8(regs.SCB_ACK) & regs.ACK_SWI == 0
    dead = PciBar()
    assert (dead.read8(0), dead.read16(0), dead.read32(0)) == (0xFF, 0xFFFF, 0xFFFF_FFFF)


def test_no_bus_mastering_no_commands(bench: Bench) -> None:
    bench.pdev.disable()
    bench.command(regs.RUC_START, bench.receive_area(1)[0])
    assert bench.state() == (regs.CU_IDLE, regs.RU_IDLE)


# --- EEPROM -----------------------------------------------------------------------------------------------------------


def test_eeprom(bench: Bench) -> None:
    words = access.eeprom_load(bench.csr)
    assert words == image(MAC)
    assert b"".join(word.to_bytes(2, "little") for word in words[:3]) == MAC
    assert sum(words) & 0xFFFF == regs.EEPROM_SUM


@pytest.mark.parametrize("first", [0, 1, 63])
def test_eeprom_reads_on(bench: Bench, first: int) -> None:
    words = image(MAC)
    assert access.eeprom_read(bench.csr, 6, first, 70) == [words[(first + n) % 64] for n in range(70)]


def test_an_eeprom_that_reads_one_word_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Eeprom._clock

    def clock_one_word(self: Eeprom, bit: int) -> None:
        clock(self, bit)
        self._out = self._out[:16] + "1" * (4096 if self._out else 0)

    monkeypatch.setattr(Eeprom, "_clock", clock_one_word)
    assert access.eeprom_read(bench.csr, 6, 0, 2)[1] == 0xFFFF
    assert access.eeprom_load(bench.csr) == image(MAC)


def test_eeprom_write_and_a_wrong_checksum(bench: Bench) -> None:
    access.eeprom_write(bench.csr, 20, 0xBEEF)
    assert bench.card.eeprom.words[20] == 0xBEEF
    with pytest.raises(BlockingIOError):
        access.eeprom_load(bench.csr)
    last = bench.card.eeprom.words[-1]
    access.eeprom_write(bench.csr, 63, last - 0xBEEF & 0xFFFF)
    assert access.eeprom_load(bench.csr)[20] == 0xBEEF


def test_eeprom_needs_write_enable() -> None:
    part = Eeprom(image(MAC))
    for bits, count in ((0b101 << 22 | 20 << 16 | 0xBEEF, 25), (0b111 << 6 | 20, 9)):
        part.set_pins(regs.EECS)
        for at in range(count - 1, -1, -1):
            pins = regs.EECS | (regs.EEDI if bits >> at & 1 else 0)
            part.set_pins(pins)
            part.set_pins(pins | regs.EESK)
        part.set_pins(0)
    assert part.words == image(MAC)


# --- MDI and the PHY --------------------------------------------------------------------------------------------------


def test_phy_is_found_and_identifies_itself(bench: Bench) -> None:
    phy = access.find_phy(bench.csr)
    high, low = (access.mdio_read(bench.csr, phy, n) for n in (regs.MII_PHYSID1, regs.MII_PHYSID2))
    assert (phy, high << 16 | low) == (1, regs.PHY_82555_ID)
    assert access.mdio_read(bench.csr, 7, regs.MII_BMSR) == 0xFFFF


def test_mdi_interrupt_on_request(bench: Bench) -> None:
    bench.csr.write32(regs.MDI_CTRL, 1 << 21 | regs.MII_BMSR << 16 | regs.MDI_READ | regs.MDI_IE)
    assert bench.interrupts == [regs.ACK_MDI]


def test_a_link_failure_is_latched_until_read(bench: Bench) -> None:
    def linked() -> bool:
        return access.mdio_read(bench.csr, 1, regs.MII_BMSR) & regs.BMSR_LSTATUS != 0

    linked()
    assert linked()
    bench.cable.set_link(False)
    bench.cable.set_link(True)
    assert bench.interrupts == [regs.ACK_MDI, regs.ACK_MDI]
    assert not linked()
    assert linked()


@pytest.mark.parametrize(
    ("advertised", "fast", "full"),
    [(0x05E1, 1, 1), (0x00A1, 1, 0), (0x0061, 0, 1), (0x0021, 0, 0)],
)
def test_autonegotiation_takes_the_best_in_common(bench: Bench, advertised: int, fast: int, full: int) -> None:
    access.mdio_write(bench.csr, 1, regs.MII_ADVERTISE, advertised)
    assert access.mdio_read(bench.csr, 1, regs.MII_82555_STATUS) == full | fast << 1
    assert bench.csr.read8(regs.GENERAL_STATUS) == regs.GS_LINK | fast << 1 | full << 2
    assert access.mdio_read(bench.csr, 1, regs.MII_LPA) & 0x05E0 == 0x05E0


def test_forced_modes_and_power_down(bench: Bench) -> None:
    access.mdio_write(bench.csr, 1, regs.MII_BMCR, regs.BMCR_FULLDPLX)
    assert access.mdio_read(bench.csr, 1, regs.MII_82555_STATUS) == 1
    access.mdio_write(bench.csr, 1, regs.MII_BMCR, regs.BMCR_PDOWN)
    assert not bench.csr.read8(regs.GENERAL_STATUS) & regs.GS_LINK
    access.mdio_write(bench.csr, 1, regs.MII_BMCR, regs.BMCR_RESET)
    assert bench.csr.read8(regs.GENERAL_STATUS) == regs.GS_LINK | regs.GS_100 | regs.GS_FULL


# --- statistics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("byte6", "counters"), [(0x32, 16), (0x12, 19)])
def test_dump_statistics(bench: Bench, byte6: int, counters: int) -> None:
    bench.configure(b6=byte6)
    bench.card.stats.counts = list(range(1, 20))
    area = bench.dma.alloc(80)
    bench.command(regs.CUC_DUMP_ADDR, area)
    bench.command(regs.CUC_DUMP_STATS)
    *counts, done = unpack(f"<{counters + 1}I", bench.dma.read(area, 4 * counters + 4))
    assert (counts, done) == (list(range(1, counters + 1)), regs.DUMP_DONE)
    bench.command(regs.CUC_DUMP_RESET)
    assert unpack(f"<{counters + 1}I", bench.dma.read(area, 4 * counters + 4))[-1] == regs.DUMP_RESET_DONE
    assert not any(bench.card.stats.counts)
