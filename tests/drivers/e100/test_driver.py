"""The e100 driver against the model: probe, up and down, filters, addresses, counters, suspend, removal."""

from __future__ import annotations

import ast
import errno
from pathlib import Path

import pytest
from support.devices import boot, frame
from support.e100 import MAC, OTHER, E100Hosts, Single, card, nic, to

import pysock.drivers.e100
from pysock.core.device import (
    dev_change_flags,
    dev_close,
    dev_mc_add,
    dev_mc_del,
    dev_open,
    dev_set_mac_address,
    dev_set_mtu,
    dev_uc_add,
    netif_wake_queue,
    unregister_netdev,
)
from pysock.core.netdev_events import NETDEV_REGISTER
from pysock.core.notifier import notifier_from_errno
from pysock.core.wire import ABLE_10HALF, DAMAGE_CRC, WirePort
from pysock.drivers.e100 import regs
from pysock.drivers.e100.driver_rx import BUFFER
from pysock.drivers.e100.kind import card_of
from pysock.uapi.if_ import IFF_ALLMULTI, IFF_PROMISC, IFF_UP

GROUP = b"\x01\0\x5e\x01\x02\x03"


# --- probe ------------------------------------------------------------------------------------------------------------


def test_probe_reads_the_card() -> None:
    one = Single(open=False)
    assert (one.dev.dev_addr, one.nic.phy, one.dev.mtu, one.dev.max_mtu) == (MAC, 1, 1500, 1500)
    assert not one.dev.carrier
    assert one.nic.eeprom == card_of(one.dev).eeprom.words


def test_the_kernel_chooses_an_address() -> None:
    first, second = (Single(open=False, mac=None).dev.dev_addr for _ in range(2))
    assert first == second  # the same seed
    assert first[0] & 3 == 2


@pytest.mark.parametrize(
    "options", [{"wire": 3}, {"irq": "x"}, {"mac": b"\xff" * 6}, {"rx_ring": 4}, {"tx_ring": 1 << 20}, {"speed": 1}]
)
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    kernel = boot()
    with pytest.raises(OSError) as caught:
        kernel.dev_layer.create_device(kernel.init_net, "e100", None, **options)
    assert caught.value.errno == errno.EINVAL
    assert kernel.pci.devices == []


def test_a_name_that_is_taken_and_a_veto_leave_no_card_behind() -> None:
    one = Single()
    create = one.kernel.dev_layer.create_device
    with pytest.raises(FileExistsError):
        create(one.kernel.init_net, "e100", "eth0")
    one.kernel.dev_layer.register_netdevice_notifier(
        lambda event, dev: notifier_from_errno(errno.EPERM) if event == NETDEV_REGISTER and dev.name == "no" else None
    )
    with pytest.raises(PermissionError):
        create(one.kernel.init_net, "e100", "no")
    assert one.kernel.pci.devices == [one.pdev]


def test_a_card_with_a_broken_eeprom_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysock.drivers.e100.hw_card.image", lambda mac: [0] * 64)
    kernel = boot()
    with pytest.raises(BlockingIOError):
        kernel.dev_layer.create_device(kernel.init_net, "e100")
    assert kernel.pci.devices == []


def test_model_and_driver_do_not_know_each_other() -> None:
    folder = Path(pysock.drivers.e100.__file__).parent
    for path in folder.glob("[hd]*_*.py"):
        mine, theirs = ("hw_", "driver") if path.name.startswith("hw_") else ("driver", "hw_")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert not any(name.rpartition(".")[2].startswith(theirs) for name in names), (mine, path.name, names)


# --- up and down ------------------------------------------------------------------------------------------------------


def test_open_and_close() -> None:
    one = Single()
    assert one.dev.carrier
    assert card_of(one.dev).address == MAC
    used = one.pdev.dma.allocated
    one.send()
    assert one.peer.got == [frame(dst=OTHER, src=MAC).ljust(60, b"\0")]
    assert one.heard(to())
    for _ in range(3):
        dev_close(one.dev)
        assert not one.heard(to())
        dev_open(one.dev)
    one.kernel.enter()
    one.kernel.leave()
    assert one.pdev.dma.allocated == used
    assert one.heard(to())
    assert not one.kernel.errors.records()


def test_no_address_no_open() -> None:
    one = Single(open=False)
    one.dev.dev_addr = bytes(6)
    with pytest.raises(OSError) as caught:
        dev_open(one.dev)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_carrier_follows_the_cable() -> None:
    one = Single()

    def carrier() -> bool:
        one.kernel.enter()
        one.kernel.leave()
        return one.dev.carrier

    one.cable.set_link(False)
    assert not carrier()
    one.cable.set_link(True)
    assert carrier()
    one.peer.abilities = ABLE_10HALF
    one.peer.link_changed()
    assert carrier()
    assert (one.nic.speed, one.nic.full, one.nic.pause) == (10, False, False)
    card_of(one.dev).plug_wire(WirePort())
    assert not carrier()


def test_mtu() -> None:
    one = Single()
    dev_set_mtu(one.dev, 68)
    with pytest.raises(OSError) as caught:
        dev_set_mtu(one.dev, 1501)
    assert caught.value.errno == errno.EINVAL


# --- filters and addresses --------------------------------------------------------------------------------------------


def test_what_is_received() -> None:
    one = Single()
    assert one.heard(to(b"\xff" * 6))
    assert not one.heard(to(OTHER))
    assert not one.heard(to(GROUP))
    dev_mc_add(one.dev, GROUP)
    assert one.heard(to(GROUP))
    dev_mc_del(one.dev, GROUP)
    assert not one.heard(to(GROUP))
    dev_change_flags(one.dev, IFF_UP | IFF_ALLMULTI)
    assert one.heard(to(GROUP))
    dev_change_flags(one.dev, IFF_UP | IFF_PROMISC)
    assert one.heard(to(OTHER))
    dev_change_flags(one.dev, IFF_UP)
    assert not one.heard(to(OTHER))
    dev_uc_add(one.dev, OTHER)
    assert one.heard(to(OTHER))


def test_more_groups_than_the_chip_takes() -> None:
    one = Single()
    for n in range(regs.MC_MAX + 1):
        dev_mc_add(one.dev, GROUP[:5] + bytes((n,)))
    assert card_of(one.dev).config.multicast_all


def test_the_address_changes_while_up() -> None:
    one = Single()
    dev_set_mac_address(one.dev, OTHER)
    assert one.heard(to(OTHER))
    assert not one.heard(to(MAC))
    with pytest.raises(OSError) as caught:
        dev_set_mac_address(one.dev, GROUP)
    assert caught.value.errno == errno.EADDRNOTAVAIL


# --- counters ---------------------------------------------------------------------------------------------------------


def test_counters_come_from_the_chip() -> None:
    one = Single()
    one.arrive(to(), DAMAGE_CRC)
    one.arrive(to()[:30])
    card_of(one.dev).faults.overruns = 1
    one.arrive(to())
    stats = one.dev.get_stats()
    assert (stats.rx_crc_errors, stats.rx_length_errors, stats.rx_over_errors, stats.rx_errors) == (1, 1, 1, 2)
    one.arrive(to(), DAMAGE_CRC)
    dev_close(one.dev)  # the chip forgets
    assert one.dev.get_stats().rx_crc_errors == 2
    dev_open(one.dev)
    assert one.dev.get_stats().rx_crc_errors == 2


def test_bytes_and_packets() -> None:
    one = Single()
    one.send(size=1000)
    one.arrive(to(size=500))
    stats = one.dev.get_stats()
    assert (stats.tx_packets, stats.tx_bytes, stats.rx_packets, stats.rx_bytes) == (1, 1000, 1, 500)


@pytest.mark.parametrize("size", [1518, BUFFER, BUFFER + 1, 16000])
def test_giants_are_dropped_or_cut_never_worse(size: int) -> None:
    one = Single()
    one.arrive(to(size=size))
    assert one.dev.stats.rx_packets == (1 if size <= BUFFER else 0)
    assert one.dev.stats.rx_errors == (0 if size <= BUFFER else 1)
    assert one.heard(to())


def test_a_frame_too_long_to_send() -> None:
    one = Single()
    one.send(size=2000)
    assert one.dev.stats.tx_errors == 1
    assert one.peer.got == []


# --- rings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_napi", [True, False])
def test_both_rings_go_round(use_napi: bool) -> None:
    one = Single(rx_ring=16, tx_ring=8, napi=use_napi)
    for n in range(100):
        one.send(b"%d" % n)
        assert one.heard(to(payload=b"%d" % n))
    assert [got[14:].rstrip(b"\0") for got in one.peer.got] == [b"%d" % n for n in range(100)]
    assert one.nic.resets == 0


def test_a_full_ring_stops_the_queue_and_a_clean_one_wakes_it() -> None:
    one = Single(timed=True, tx_ring=8)
    for n in range(20):
        one.send(b"%d" % n)
    assert one.dev.tx_stopped
    assert one.nic.tx is not None
    assert one.nic.tx.avail <= 3
    one.kernel.sleep(1_000_000_000)
    assert [got[14:].rstrip(b"\0") for got in one.peer.got] == [b"%d" % n for n in range(20)]
    assert not one.dev.tx_stopped
    assert (one.dev.stats.tx_packets, one.nic.resets, one.dev.stats.tx_dropped) == (20, 0, 0)


def test_no_resources_and_on_again() -> None:
    """More frames in one go than there are descriptors: the rest is lost and counted, then it goes on in order."""
    one = Single(rx_ring=16)
    for _ in range(3):
        before = one.dev.stats.rx_packets
        one.kernel.enter()
        for _ in range(20):
            card_of(one.dev).receive(to(), 0)
        assert one.dev.stats.rx_packets == before
        one.kernel.leave()
        assert one.dev.stats.rx_packets == before + 16
    assert one.dev.get_stats().rx_missed_errors == 12
    assert one.nic.rx is not None
    assert one.nic.rx.restarts == 3
    assert one.heard(to())


def test_a_poll_with_a_small_budget_does_not_overwrite_what_waits() -> None:
    one = Single(rx_ring=16, weight=3)
    seen: list[bytes] = []
    one.dev.ptype_all = (lambda skb, dev: seen.append(bytes(skb.head[14:16])),)
    one.dev.update_path()
    for start in range(0, 60, 20):
        one.kernel.enter()
        for n in range(start, start + 16):
            card_of(one.dev).receive(to(payload=b"%02d" % n), 0)
        one.kernel.leave()
    assert seen == [b"%02d" % n for start in range(0, 60, 20) for n in range(start, start + 16)]


def test_control_commands_wait_for_room() -> None:
    one = Single(timed=True, tx_ring=8)
    for _ in range(8):
        one.send(size=1500)
    for n in range(6):
        one.kernel.enter()
        dev_mc_add(one.dev, GROUP[:5] + bytes((n,)))
        one.kernel.leave()
    assert one.nic.dirty
    one.kernel.sleep(1_000_000_000)
    assert not one.nic.dirty
    assert one.heard(to(GROUP[:5] + b"\5"))


# --- power and removal ------------------------------------------------------------------------------------------------


def test_suspend_and_resume() -> None:
    one = Single()
    dev_mc_add(one.dev, GROUP)
    bus = one.pdev.bus
    bus.suspend(one.pdev)
    assert not one.dev.present
    assert one.nic.csr.read8(regs.SCB_ACK) == 0xFF
    one.send(b"waits")
    one.kernel.sleep(10_000_000_000)  # no watchdog complains meanwhile
    assert (one.peer.got, one.dev.stats.tx_errors) == ([], 0)
    bus.resume(one.pdev)
    one.kernel.enter()
    one.kernel.leave()
    assert [got[14:].rstrip(b"\0") for got in one.peer.got] == [b"waits"]
    assert one.heard(to(GROUP))
    assert one.dev.carrier
    assert not one.kernel.errors.records()


def test_suspend_while_down() -> None:
    one = Single(open=False)
    one.pdev.bus.suspend(one.pdev)
    with pytest.raises(OSError) as caught:
        dev_open(one.dev)
    assert caught.value.errno == errno.ENODEV
    one.pdev.bus.resume(one.pdev)
    dev_open(one.dev)
    assert one.heard(to())


def magic(address: bytes = MAC, to: bytes = b"\xff" * 6) -> bytes:
    return to + OTHER + b"\x08\x42" + b"\xff" * 6 + address * 16


def test_wake_on_lan() -> None:
    one = Single()
    one.nic.wake = True
    bus = one.pdev.bus

    def awake(frame: bytes, damage: int = 0) -> bool:
        one.kernel.enter()
        bus.suspend(one.pdev)
        one.kernel.leave()
        one.arrive(frame, damage)
        one.kernel.sleep(1_000_000)
        return one.dev.present

    assert awake(magic())
    assert one.heard(to())
    assert awake(magic(to=MAC))
    for other in (to(), magic(OTHER), magic(to=OTHER), magic()[:-1]):
        assert not awake(other)
    assert not awake(magic(), DAMAGE_CRC)
    bus.resume(one.pdev)
    assert one.heard(to())
    one.nic.wake = False
    assert not awake(magic())
    assert one.cable.b.partner() == 0  # and the PHY is off, too
    bus.resume(one.pdev)
    assert one.dev.carrier
    assert not one.kernel.errors.records()


@pytest.mark.parametrize("how", ["unregister", "unplug"])
def test_removal_with_frames_in_flight(how: str) -> None:
    one = Single(timed=True, tx_ring=16)
    pdev, nic_before = one.pdev, one.nic
    for n in range(30):
        one.send(b"%d" % n, size=1000)
    one.arrive(to())
    one.kernel.enter()
    card_of(one.dev).receive(to(), 0)
    if how == "unregister":
        unregister_netdev(one.dev)
    else:
        pdev.bus.unplug(pdev)
    one.kernel.leave()
    one.kernel.sleep(10_000_000_000)
    assert one.kernel.init_net.dev_by_name.keys() == {"lo"}
    assert pdev.bus.devices == []
    assert nic_before.tx is None
    assert not pdev.bus.irqs.line(pdev.irq).handlers
    assert len(one.peer.got) == 0  # the first frame was still on the wire
    assert not one.kernel.errors.records()
    netif_wake_queue(one.dev)  # nothing left that this could start
    with pytest.raises(OSError) as caught:
        card_of(one.dev)
    assert caught.value.errno == errno.ENODEV


def test_hosts_have_their_own_cards() -> None:
    lab = E100Hosts()
    a, b = lab.two()
    assert card(a) is not card(b)
    assert nic(a).pdev.bus is nic(b).pdev.bus
    assert nic(a).pdev.name == "0000:00:00.0"
