"""pysock_register_pci_drivers: drivers of simulated cards from plugins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.devices import boot
from support.pci import LargeCard, Recorder

from pysock.core.device import dev_open
from pysock.core.pci import PciDeviceId, PciDriver
from pysock.plugin.discover import Candidate


def test_a_driver_comes_with_the_first_card_and_shares_the_bus() -> None:
    kernel = boot()
    assert kernel._pci is None  # nobody has asked for it: boot is as fast as without
    mine = Recorder(entry=PciDeviceId(0x1234), name="mine")

    class Plugin:
        @staticmethod
        def pysock_register_pci_drivers(register: Callable[[PciDriver], None]) -> None:
            register(mine)
            with pytest.raises(FileExistsError, match=r"pysock\.drivers\.plugin"):
                register(Recorder(name="e100"))

    kernel.plugins.add(Candidate("plugin-of-mine", Plugin))
    kernel.enter()
    pdev = kernel.pci.plug(LargeCard(), irq=7)
    dev = kernel.dev_layer.create_device(kernel.init_net, "e100", "eth0", irq=7)
    kernel.leave()
    assert mine.calls == ["probe"]
    assert [one.driver and one.driver.name for one in kernel.pci.devices] == ["mine", "e100"]
    kernel.pci.irqs.request_irq(7, lambda: False, mine, "mine")
    dev_open(dev)
    assert len(kernel.pci.irqs.line(7).handlers) == 2
    kernel.pci.unplug(pdev)
    assert mine.calls == ["probe", "remove"]


def test_what_a_failing_plugin_registered_is_taken_back() -> None:
    kernel = boot()
    mine = Recorder(entry=PciDeviceId(0x1234), name="mine")

    class Plugin:
        @staticmethod
        def pysock_register_pci_drivers(register: Callable[[PciDriver], None]) -> None:
            register(mine)
            raise ZeroDivisionError

    kernel.plugins.add(Candidate("plugin-of-mine", Plugin))
    assert [driver.name for driver in kernel.pci.drivers] == ["e100"]
    record = next(one for one in kernel.plugins.report() if one.name == "plugin-of-mine")
    assert record.state == "failed"
    assert kernel.pci.plug(LargeCard()).driver is None
