"""The board below the card: interrupt lines, DMA memory, the PCI bus (core/irq.py, core/dma.py, core/pci.py)."""

from __future__ import annotations

import errno
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import boot
from support.e100 import MAC
from support.pci import LargeCard, Recorder

from pysock.core.contain import ErrorReporter
from pysock.core.device import dev_open
from pysock.core.dma import PAGE, BusError, DmaMemory
from pysock.core.irq import STORM, IrqController
from pysock.core.netdevice import NETREG_REGISTERED
from pysock.core.pci import (
    IRQ_LINES,
    PCI_ANY_ID,
    PCI_BASE_ADDRESS_0,
    PCI_CAP_ID_PM,
    PCI_COMMAND,
    PCI_DEVICE_ID,
    PCI_INTERRUPT_LINE,
    PCI_INTERRUPT_PIN,
    PCI_PM_CTRL,
    PCI_PM_CTRL_PME_ENABLE,
    PCI_REVISION_ID,
    PCI_STATUS,
    PCI_STATUS_CAP_LIST,
    PCI_SUBSYSTEM_VENDOR_ID,
    PCI_VENDOR_ID,
    PciBus,
    PciDeviceId,
)
from pysock.drivers.e100.hw_card import E100Card

# --- interrupt lines --------------------------------------------------------------------------------------------------


class Lines:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.irqs = IrqController(ErrorReporter(self.log.append))
        self.calls: list[str] = []

    def device(self, name: str, number: int = 9, shared: bool = True) -> None:
        """A device whose handler says yes and quiets it if it was its own."""
        line = self.irqs.line(number)

        def handler() -> bool:
            self.calls.append(name)
            mine = name in line.sources
            self.irqs.release(line, name)
            return mine

        self.irqs.request_irq(number, handler, name, name, shared)

    def pull(self, name: str, number: int = 9) -> None:
        self.irqs.pull(self.irqs.line(number), name)


def test_everybody_on_a_shared_line_is_asked() -> None:
    board = Lines()
    board.device("a")
    board.device("b")
    board.pull("b")
    assert board.calls == ["a", "b"]
    assert board.irqs.line(9).unhandled == 0
    board.irqs.free_irq(9, "a")
    board.pull("b")
    assert board.calls == ["a", "b", "b"]


def test_a_line_is_shared_only_by_consent() -> None:
    board = Lines()
    board.device("a", shared=False)
    with pytest.raises(OSError) as caught:
        board.device("b")
    assert caught.value.errno == errno.EBUSY


def test_handlers_wait_while_interrupts_are_off_and_never_nest() -> None:
    board = Lines()
    depth: list[int] = []

    def handler() -> bool:
        depth.append(len(depth))
        if len(depth) < 3:
            board.pull("other", 10)  # another device wants attention meanwhile
        board.irqs.release(board.irqs.line(9), "a")
        depth.append(-1)
        return True

    board.irqs.request_irq(9, handler, "a", "a")
    board.device("other", 10)
    board.irqs.local_irq_save()
    board.irqs.local_irq_save()
    board.pull("a")
    board.irqs.local_irq_restore()
    assert depth == []
    board.irqs.local_irq_restore()
    assert depth == [0, -1]
    assert board.calls == ["other"]


def test_a_level_that_fell_again_is_not_delivered() -> None:
    board = Lines()
    board.device("a")
    board.irqs.local_irq_save()
    board.pull("a")
    board.irqs.release(board.irqs.line(9), "a")
    board.irqs.local_irq_restore()
    assert board.calls == []


def test_a_line_pulled_before_anybody_listens() -> None:
    board = Lines()
    board.pull("a")
    board.device("a")
    assert board.calls == ["a"]


def test_a_storm_ends_and_a_new_handler_revives_the_line() -> None:
    board = Lines()
    board.device("a")
    board.pull("nobody")
    assert len(board.calls) == STORM
    assert board.log == ["pysock: irq 9: nobody cared; the line is off"]
    board.irqs.release(board.irqs.line(9), "nobody")
    board.pull("a")
    assert len(board.calls) == STORM
    board.irqs.release(board.irqs.line(9), "a")
    board.device("b")
    board.pull("b")
    assert board.calls[-1] == "b"


def test_a_handler_that_raises_is_reported() -> None:
    board = Lines()
    board.irqs.request_irq(9, lambda: bool(1 // 0), "broken", "broken")
    board.device("a")
    board.pull("a")
    assert board.calls == ["a"]
    assert "broken: interrupt handler raised ZeroDivisionError" in board.log[0]


# --- DMA memory -------------------------------------------------------------------------------------------------------


def test_memory_is_bounded_and_checked() -> None:
    dma = DmaMemory(limit=1 << 16)
    at = dma.alloc(100)
    dma.write(at, b"x" * 100)
    assert dma.read(at, 100) == b"x" * 100
    for address, size in ((len(dma.mem), 1), (-1, 1), (1 << 32, 4), (len(dma.mem) - 1, 2)):
        with pytest.raises(BusError):
            dma.read(address, size)
        with pytest.raises(BusError):
            dma.write(address, bytes(size))
    with pytest.raises(BusError):
        dma.write(0, b"null")
    with pytest.raises(OSError) as caught:
        dma.alloc(1 << 16)
    assert caught.value.errno == errno.ENOMEM


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5000))))
def test_allocations_never_overlap_and_all_comes_back(steps: list[tuple[bool, int]]) -> None:
    dma = DmaMemory()
    live: dict[int, int] = {}
    for allocate, number in steps:
        if allocate or not live:
            at = dma.alloc(number)
            assert at % 64 == 0
            assert dma.read(at, number) == bytes(number)
            dma.write(at, b"\xff" * number)
            assert all(at + number <= other or other + size <= at for other, size in live.items())
            live[at] = number
        else:
            at = sorted(live)[number % len(live)]
            del live[at]
            dma.free(at)
    for at in live:
        dma.free(at)
    assert dma.allocated == 0
    assert len(dma.mem) == PAGE


# --- the bus ----------------------------------------------------------------------------------------------------------


def test_life_of_a_card() -> None:
    bus = PciBus(boot())
    driver = Recorder()
    bus.register_driver(driver)
    pdev = bus.plug(E100Card(MAC))
    bus.suspend(pdev)
    assert pdev.bars[0].read8(1) == 0xFF
    bus.suspend(pdev)
    bus.resume(pdev)
    bus.resume(pdev)
    bus.unplug(pdev)
    bus.unplug(pdev)
    assert driver.calls == ["probe", "suspend 0x0", "resume 0x0", "remove"]
    assert bus.devices == []
    assert pdev.bars[0].read32(0) == 0xFFFF_FFFF


def test_config_space() -> None:
    bus = PciBus(boot())
    cards = [bus.plug(E100Card(MAC)) for _ in range(5)]
    pdev = cards[1]
    assert pdev.read_config_word(PCI_VENDOR_ID) == 0x8086
    assert pdev.read_config_word(PCI_DEVICE_ID) == 0x1229
    assert pdev.config[PCI_REVISION_ID] == 8
    assert [one.config[PCI_INTERRUPT_LINE] for one in cards] == [*IRQ_LINES, IRQ_LINES[0]]
    assert len({bytes(one.config[PCI_BASE_ADDRESS_0 : PCI_BASE_ADDRESS_0 + 4]) for one in cards}) == 5
    pdev.enable()
    assert pdev.read_config_word(PCI_COMMAND) == 6
    pdev.disable()
    assert pdev.read_config_word(PCI_COMMAND) == 2
    assert pdev.name == "0000:00:01.0"


def test_config_space_as_a_driver_writes_it() -> None:
    bus = PciBus(boot())
    pdev = bus.plug(E100Card(MAC))
    before = bytes(pdev.config)
    for offset in (0, 0x08, PCI_SUBSYSTEM_VENDOR_ID, PCI_INTERRUPT_PIN - 1):
        pdev.write_config_dword(offset, 0xFFFF_FFFF)  # identity, and beside the interrupt line its pin
    assert pdev.read_config_byte(PCI_INTERRUPT_LINE) == 0xFF
    pdev.write_config_byte(PCI_INTERRUPT_LINE, before[PCI_INTERRUPT_LINE])
    pdev.write_config_word(0x0C, 0)
    assert bytes(pdev.config) == before
    start = pdev.resource_start(0)
    assert start == pdev.read_config_dword(PCI_BASE_ADDRESS_0) >= 0xE000_0000
    pdev.write_config_dword(PCI_BASE_ADDRESS_0, 0xFFFF_FFFF)
    assert pdev.read_config_dword(PCI_BASE_ADDRESS_0) + pdev.bars[0].size == 1 << 32
    pdev.write_config_dword(PCI_BASE_ADDRESS_0, start)
    pdev.write_config_dword(PCI_BASE_ADDRESS_0 + 4, 0xFFFF_FFFF)  # no such BAR
    assert pdev.read_config_dword(PCI_BASE_ADDRESS_0 + 4) == 0
    pdev.config[PCI_STATUS + 1] = 0x30
    pdev.write_config_word(PCI_STATUS, 0x2000)
    assert pdev.read_config_word(PCI_STATUS) == 0x1000 | PCI_STATUS_CAP_LIST  # ones clear


def test_windows_do_not_overlap_and_lie_at_multiples_of_their_size() -> None:
    bus = PciBus(boot())
    windows = []
    for card in (E100Card(MAC), LargeCard(), E100Card(MAC), LargeCard()):
        pdev = bus.plug(card)
        windows += [(pdev.resource_start(n), bar.size) for n, bar in enumerate(pdev.bars)]
    assert all(start % size == 0 for start, size in windows)
    windows.sort()
    assert all(start + size <= behind for (start, size), (behind, _) in pairwise(windows))


def test_capabilities() -> None:
    bus = PciBus(boot())
    pdev = bus.plug(E100Card(MAC))
    at = pdev.find_capability(PCI_CAP_ID_PM)
    assert pdev.read_config_byte(at) == PCI_CAP_ID_PM
    assert pdev.find_capability(5) == 0
    pdev.config[at + 1] = at  # a list that goes round
    assert pdev.find_capability(5) == 0
    assert pdev.enable_wake(True)
    assert pdev.read_config_word(at + PCI_PM_CTRL) == PCI_PM_CTRL_PME_ENABLE
    pdev.enable_wake(False)
    assert pdev.read_config_word(at + PCI_PM_CTRL) == 0
    assert not bus.plug(LargeCard()).enable_wake(True)


def test_power_is_not_what_config_space_depends_on() -> None:
    bus = PciBus(boot())
    pdev = bus.plug(E100Card(MAC))
    pdev.enable()
    before = bytes(pdev.config)
    bus.suspend(pdev)
    pdev.config[:] = bytes(256)  # lost
    bus.resume(pdev)
    assert bytes(pdev.config) == before


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        (PciDeviceId(0x8086, 0x1229), True),
        (PciDeviceId(0x8086), True),
        (PciDeviceId(PCI_ANY_ID, 0x1229, 0x8086, 0x000C), True),
        (PciDeviceId(0x8086, 0x1229, 0x8086, 0x000D), False),
        (PciDeviceId(PCI_ANY_ID, class_code=0x0200, class_mask=0xFFFF), True),
        (PciDeviceId(PCI_ANY_ID, class_code=0x0280, class_mask=0xFF00), True),
        (PciDeviceId(PCI_ANY_ID, class_code=0x0280, class_mask=0xFFFF), False),
        (PciDeviceId(0x8086, 0x122A), False),
    ],
)
def test_id_tables(entry: PciDeviceId, wanted: bool) -> None:
    bus = PciBus(boot())
    driver = Recorder(entry=entry)
    bus.register_driver(driver)
    pdev = bus.plug(E100Card(MAC))
    assert (pdev.driver is driver) is wanted


def test_who_gets_a_card() -> None:
    bus = PciBus(boot())
    pdev = bus.plug(E100Card(MAC))
    stranger = Recorder(entry=PciDeviceId(1, 2), name="stranger")
    shy, taker, late = Recorder(errno.ENODEV, name="shy"), Recorder(name="taker"), Recorder(name="late")
    for driver in (stranger, shy, taker, late):
        bus.register_driver(driver)
    assert [driver.calls for driver in (stranger, shy, taker, late)] == [[], ["probe"], ["probe"], []]
    assert pdev.driver is taker
    for driver in (shy, taker, late):
        bus.unregister_driver(driver)
    assert taker.calls == ["probe", "remove"]
    assert (pdev.driver, bus.devices) == (None, [pdev])  # the card is still there
    bus.register_driver(Recorder(errno.EIO, name="broken"))  # reported, and no more
    with pytest.raises(OSError) as caught:
        bus.plug(E100Card(MAC))
    assert caught.value.errno == errno.EIO
    assert bus.devices == [pdev]
    bus.register_driver(late)
    assert pdev.driver is late


def test_names_of_drivers() -> None:
    bus = PciBus(boot())
    bus.register_driver(Recorder(), "somebody")
    for broken, number in ((Recorder(), errno.EEXIST), (Recorder(name=""), errno.EINVAL)):
        with pytest.raises(OSError) as caught:
            bus.register_driver(broken)
        assert caught.value.errno == number
    with pytest.raises(TypeError, match="PciDriver"):
        bus.register_driver(Recorder)  # type: ignore[arg-type]  # the class, not an instance
    assert len(bus.drivers) == 1


@pytest.mark.parametrize("method", ["remove", "suspend", "resume"])
def test_a_driver_that_raises_is_reported(method: str) -> None:
    kernel = boot()
    bus = PciBus(kernel)
    bus.register_driver(Recorder(raises=method), "somebody's plugin")
    pdev = bus.plug(E100Card(MAC))
    bus.suspend(pdev)
    bus.resume(pdev)
    bus.unplug(pdev)
    assert bus.devices == []
    (record,) = kernel.errors.records()
    assert (record.owner, record.where) == ("somebody's plugin", method)


def test_an_e100_that_nobody_asked_for_gets_a_device() -> None:
    """A card is plugged in while the machine runs; its driver leaves and comes back; the card is pulled out."""
    kernel = boot()
    bus = kernel.pci
    (driver,) = bus.drivers
    pdev = bus.plug(E100Card(MAC))
    used = pdev.dma.allocated
    devices = kernel.init_net.dev_by_name
    for _ in range(3):
        dev = devices["eth0"]
        assert (dev.dev_addr, dev.reg_state) == (MAC, NETREG_REGISTERED)
        dev_open(dev)
        bus.unregister_driver(driver)
        assert "eth0" not in devices
        assert bus.devices == [pdev]
        assert pdev.dma.allocated == 0
        bus.register_driver(driver)
        assert pdev.dma.allocated == used
    bus.unplug(pdev)
    assert "eth0" not in devices
    assert not kernel.errors.records()


def test_without_its_driver_the_card_makes_no_device() -> None:
    kernel = boot()
    kernel.pci.unregister_driver(kernel.pci.drivers[0])
    with pytest.raises(OSError) as caught:
        kernel.dev_layer.create_device(kernel.init_net, "e100")
    assert caught.value.errno == errno.ENODEV
    assert kernel.pci.devices == []
