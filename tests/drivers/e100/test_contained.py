"""A driver that raises where it should not: the kernel goes on, and so does the device."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from support.devices import boot
from support.e100 import MAC, Single, to

from pysock.core.device import dev_close, dev_open
from pysock.drivers.e100.driver import E100PciDriver
from pysock.drivers.e100.driver_nic import E100Nic
from pysock.drivers.e100.driver_rx import RxRing
from pysock.drivers.e100.driver_tx import TxRing
from pysock.drivers.e100.driver_watch import PERIOD
from pysock.drivers.e100.hw_card import E100Card


class Breakage:
    """Makes a function raise for some calls, then work again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, times: int = 1) -> None:
        self.left = times
        inner: Callable[..., object] = getattr(owner, name)

        def broken(*args: object, **named: object) -> object:
            if self.left:
                self.left -= 1
                raise IndexError(name)
            return inner(*args, **named)

        monkeypatch.setattr(owner, name, broken)


def reported(one: Single) -> list[tuple[str, int]]:
    return [(record.where, record.count) for record in one.kernel.errors.records()]


@pytest.mark.parametrize("use_napi", [True, False])
def test_transmission(monkeypatch: pytest.MonkeyPatch, use_napi: bool) -> None:
    one = Single(napi=use_napi)
    Breakage(monkeypatch, TxRing, "send")
    one.send(b"lost")
    one.send(b"sent")
    assert [got[14:18] for got in one.peer.got] == [b"sent"]
    assert reported(one) == [("ndo_start_xmit", 1)]
    assert one.dev.stats.tx_errors == 1
    assert one.heard(to())  # interrupts are not off


def test_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its interrupts stay masked then, which the watchdog finds out."""
    one = Single()
    Breakage(monkeypatch, RxRing, "clean")
    assert not one.heard(to())
    assert not one.heard(to())
    one.kernel.sleep(PERIOD)
    assert one.dev.stats.rx_packets == 2
    assert one.heard(to())
    assert reported(one) == [("poll", 1)]
    assert one.nic.resets == 0


@pytest.mark.parametrize("times", [3, 1_000_000])
def test_interrupt_handler(times: int) -> None:
    """If it never stops, the line is switched off; the reset that follows switches it on."""
    one = Single()
    line = one.pdev.bus.irqs.line(one.pdev.irq)
    broken = [times]
    ((inner, dev_id, owner, shared),) = line.handlers

    def raising() -> bool:
        if broken[0]:
            broken[0] -= 1
            raise IndexError("status")
        return inner()

    line.handlers = ((raising, dev_id, owner, shared),)
    assert one.heard(to()) is (times == 3)
    assert line.muted is (times > 3)
    one.send(b"in between")  # there is traffic, so there is a watchdog
    one.kernel.sleep(2 * PERIOD)
    assert one.heard(to())
    assert one.nic.resets == (times > 3)
    assert reported(one) == [("interrupt handler", min(times, 1000))]


@pytest.mark.parametrize(("owner", "name"), [(RxRing, "__init__"), (TxRing, "__init__"), (E100Nic, "configure")])
def test_open(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    one = Single(open=False)
    used = one.pdev.dma.allocated
    Breakage(monkeypatch, owner, name)
    with pytest.raises(OSError) as caught:
        dev_open(one.dev)
    assert caught.value.errno == errno.EIO
    assert not one.dev.running
    assert one.pdev.dma.allocated == used
    assert not one.pdev.bus.irqs.line(one.pdev.irq).handlers
    dev_open(one.dev)
    assert one.heard(to())
    dev_close(one.dev)
    assert one.pdev.dma.allocated == used
    assert reported(one) == [("ndo_open", 1)]


def test_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    Breakage(monkeypatch, E100PciDriver, "probe")
    kernel = boot()
    with pytest.raises(OSError) as caught:
        kernel.dev_layer.create_device(kernel.init_net, "e100")
    assert caught.value.errno == errno.EIO
    assert kernel.pci.devices == []
    assert kernel.dev_layer.create_device(kernel.init_net, "e100").name == "eth0"


def test_probe_of_a_card_that_was_there_first(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = boot()
    (driver,) = kernel.pci.drivers
    kernel.pci.unregister_driver(driver)
    first, second = (kernel.pci.plug(E100Card(MAC[:5] + bytes((n,)))) for n in range(2))
    Breakage(monkeypatch, E100Nic, "identify")
    kernel.pci.register_driver(driver)
    assert (first.driver, second.driver) == (None, driver)
    assert [dev.name for dev in kernel.init_net.devices] == ["lo", "eth0"]
    assert [record.where for record in kernel.errors.records()] == ["probe"]


@pytest.mark.parametrize("method", ["suspend", "resume"])
def test_sleep(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    one = Single()
    Breakage(monkeypatch, E100PciDriver, method)
    for _ in range(2):
        one.pdev.bus.suspend(one.pdev)
        one.pdev.bus.resume(one.pdev)
    one.kernel.sleep(2 * PERIOD)
    assert one.heard(to())
    assert reported(one) == [(method, 1)]
