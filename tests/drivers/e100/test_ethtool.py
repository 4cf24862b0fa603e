"""What an e100 answers to ethtool(8), asked as a program asks (driver_ethtool.py, driver_selftest.py)."""

from __future__ import annotations

import errno

import pytest
from support.e100 import MAC, OTHER, E100Hosts, Single, nic, to
from support.ethtool import ask, numbers, put, refused, strings

from pysock.core.device import dev_close
from pysock.core.wire import ABLE_10HALF, DAMAGE_CRC
from pysock.drivers.e100 import driver_access, regs
from pysock.drivers.e100.driver_nic import RX_RING, TX_RING
from pysock.drivers.e100.kind import card_of
from pysock.uapi import ethtool as et
from pysock.uapi.socket import MSG_DONTWAIT

EEPROM = 2 * regs.EEPROM_WORDS


@pytest.fixture
def one() -> Single:
    return Single()


def settle(one: Single) -> None:
    """What interrupts asked for is done."""
    one.kernel.enter()
    one.kernel.leave()


def get(one: Single, cmd: int, count: int) -> tuple[int, ...]:
    return numbers(one.kernel, "eth0", cmd, count)


def test_drvinfo(one: Single) -> None:
    raw = ask(one.kernel, "eth0", et.U32.pack(et.ETHTOOL_GDRVINFO))[1]
    fields = et.ETHTOOL_DRVINFO.unpack(raw[: et.ETHTOOL_DRVINFO.size])
    assert (fields[1].rstrip(b"\0"), fields[4].rstrip(b"\0")) == (b"e100", b"0000:00:00.0")
    assert fields[-3:] == (5, EEPROM, 4 + 4 * 0x1D + regs.DUMP_BYTES)


def test_link(one: Single) -> None:
    assert get(one, et.ETHTOOL_GLINK, 1) == (1,)
    one.cable.set_link(False)
    driver_access.mdio_read(one.nic.csr, 1, regs.MII_BMSR)  # the failure was latched
    assert get(one, et.ETHTOOL_GLINK, 1) == (0,)


def settings(one: Single) -> tuple[int, int, int, int]:
    """Speed, duplex, whether it negotiates, and what the partner advertises."""
    found = et.ETHTOOL_CMD.unpack(ask(one.kernel, "eth0", et.U32.pack(et.ETHTOOL_GSET))[1][: et.ETHTOOL_CMD.size])
    return found[3], found[4], found[8], found[15]


def wish(one: Single, speed: int = 0, duplex: int = 0, autoneg: int = 1, advertising: int = 0, port: int = 2) -> None:
    fields = (et.ETHTOOL_SSET, 0, advertising, speed, duplex, port, 1, 0, autoneg, 0, 0, 0, 0, 0, 0, 0)
    ask(one.kernel, "eth0", et.ETHTOOL_CMD.pack(*fields))
    settle(one)


def test_link_settings(one: Single) -> None:
    everything = et.LINK_10_HALF | et.LINK_10_FULL | et.LINK_100_HALF | et.LINK_100_FULL
    assert settings(one) == (100, et.DUPLEX_FULL, 1, everything | et.LINK_PAUSE | et.LINK_AUTONEG)
    wish(one, advertising=et.LINK_10_FULL)
    assert settings(one)[:3] == (10, et.DUPLEX_FULL, 1)
    assert (one.nic.speed, one.dev.carrier) == (10, True)
    wish(one, speed=100, duplex=et.DUPLEX_HALF, autoneg=0)
    assert settings(one)[:3] == (100, et.DUPLEX_HALF, 0)
    assert not one.nic.full
    one.peer.abilities = ABLE_10HALF
    one.peer.link_changed()
    assert settings(one)[:2] == (100, et.DUPLEX_HALF)  # told, not negotiated
    wish(one, advertising=everything)
    assert settings(one)[:3] == (10, et.DUPLEX_HALF, 1)
    for wrong in ({"advertising": 0}, {"autoneg": 0, "speed": 1000}, {"autoneg": 0, "speed": 10, "duplex": 2},
                  {"advertising": 1, "port": 3}):  # fmt: skip
        assert refused(lambda wrong=wrong: wish(one, **wrong)) == errno.EINVAL


def test_negotiating_anew(one: Single) -> None:
    put(one.kernel, "eth0", et.ETHTOOL_NWAY_RST)
    assert get(one, et.ETHTOOL_GLINK, 1) == (1,)
    wish(one, speed=10, duplex=1, autoneg=0)
    assert refused(put, one.kernel, "eth0", et.ETHTOOL_NWAY_RST) == errno.EINVAL


def test_messages_and_waking(one: Single) -> None:
    put(one.kernel, "eth0", et.ETHTOOL_SMSGLVL, 3)
    assert get(one, et.ETHTOOL_GMSGLVL, 1) == (3,)
    assert get(one, et.ETHTOOL_GWOL, 2) == (et.WAKE_MAGIC, 0)
    assert card_of(one.dev).config.raw[19] & 2
    put(one.kernel, "eth0", et.ETHTOOL_SWOL, 0, et.WAKE_MAGIC, 0, 0)
    assert get(one, et.ETHTOOL_GWOL, 2) == (et.WAKE_MAGIC, et.WAKE_MAGIC)
    assert not card_of(one.dev).config.raw[19] & 2
    assert refused(put, one.kernel, "eth0", et.ETHTOOL_SWOL, 0, et.WAKE_PHY, 0, 0) in (errno.EOPNOTSUPP, errno.EINVAL)


# --- rings ------------------------------------------------------------------------------------------------------------


def test_rings_of_other_sizes_under_a_connection() -> None:
    lab = E100Hosts()
    a, b = lab.two()
    server = b.bound("10.0.0.2", 99)
    client = a.socket()
    for rx, tx in ((16, 8), (1024, 1024), (3, 3), (300, 20)):
        a.call(put, lab.kernel, "eth0", et.ETHTOOL_SRINGPARAM, 0, 0, 0, 0, rx, 0, 0, tx)
        rx, tx = max(rx, RX_RING[1]), max(tx, TX_RING[1])
        got = numbers(lab.kernel, "eth0", et.ETHTOOL_GRINGPARAM, 8)
        assert got == (RX_RING[2], 0, 0, TX_RING[2], rx, 0, 0, tx)
        rings = nic(a).rx, nic(a).tx
        assert rings[0] is not None
        assert rings[1] is not None
        assert (rings[0].count, rings[1].count) == (rx, tx)
        for n in range(2 * rx):
            a.sendto(client, b"%d" % n, ("10.0.0.2", 99))
            assert b.recv(server, flags=MSG_DONTWAIT) == b"%d" % n
    assert nic(a).resets == 0
    assert lab.log == []


def test_rings_of_a_device_that_is_down_and_wrong_ones(one: Single) -> None:
    dev_close(one.dev)
    put(one.kernel, "eth0", et.ETHTOOL_SRINGPARAM, 0, 0, 0, 0, 64, 0, 0, 64)
    assert one.nic.rx is None
    for wrong in ((1025, 0, 0, 64), (64, 1, 0, 64), (64, 0, 0, 2000)):
        assert refused(put, one.kernel, "eth0", et.ETHTOOL_SRINGPARAM, 0, 0, 0, 0, *wrong) == errno.EINVAL
    assert (one.nic.rx_count, one.nic.tx_count) == (64, 64)


# --- counters, registers, EEPROM --------------------------------------------------------------------------------------


def test_statistics(one: Single) -> None:
    one.send(size=100)
    one.arrive(to(size=200))
    one.arrive(to(), DAMAGE_CRC)
    one.arrive(to()[:30])
    one.arrive(bytes.fromhex("0180c2000001") + OTHER + bytes.fromhex("88080002") + bytes(44))
    names = strings(one.kernel, "eth0", et.ETH_SS_STATS)
    raw = ask(one.kernel, "eth0", et.ETHTOOL_STATS_HEAD.pack(et.ETHTOOL_GSTATS, len(names)))[1]
    values = [int.from_bytes(raw[8 + 8 * n : 16 + 8 * n], "little") for n in range(len(names))]
    found = {name: value for name, value in zip(names, values, strict=True) if value}
    assert found == {
        "rx_packets": 1, "tx_packets": 1, "rx_bytes": 200, "tx_bytes": 100, "rx_errors": 2, "rx_length_errors": 1,
        "rx_crc_errors": 1, "rx_flow_control_unsupported": 1, "rx_short_frame_errors": 1,
    }  # fmt: skip


@pytest.mark.parametrize("up", [True, False])
def test_registers(one: Single, up: bool) -> None:
    if not up:
        dev_close(one.dev)
    used = one.nic.dma.allocated
    size = 4 + 4 * 0x1D + regs.DUMP_BYTES
    raw = ask(one.kernel, "eth0", et.ETHTOOL_REGS.pack(et.ETHTOOL_GREGS, 0, size))[1]
    assert et.ETHTOOL_REGS.unpack(raw[:12]) == (et.ETHTOOL_GREGS, 1 << 24 | regs.REVISION_82559, size)
    words = [int.from_bytes(raw[at : at + 4], "little") for at in range(12, 12 + 4 + 4 * 0x1D, 4)]
    assert words[0] & 0xFF == (regs.CU_SUSPENDED | regs.RU_READY if up else 0)
    assert (words[-3], words[-4]) == (regs.PHY_82555_ID >> 16, regs.PHY_82555_ID & 0xFFFF)
    dump = raw[12 + 4 + 4 * 0x1D :][: regs.DUMP_BYTES]
    assert dump[regs.CONFIG_BYTES : regs.CONFIG_BYTES + 6] == (MAC if up else bytes(6))
    assert one.nic.dma.allocated == used


def eeprom(one: Single, cmd: int, magic: int, offset: int, data: bytes) -> bytes:
    request = et.ETHTOOL_EEPROM.pack(cmd, magic, offset, len(data)) + data
    return ask(one.kernel, "eth0", request)[1][: 16 + len(data)]


def test_eeprom(one: Single) -> None:
    part = card_of(one.dev).eeprom
    got = eeprom(one, et.ETHTOOL_GEEPROM, 0, 0, bytes(EEPROM))
    assert et.ETHTOOL_EEPROM.unpack(got[:16])[1:] == (0x1234, 0, EEPROM)
    assert got[16:22] == MAC
    eeprom(one, et.ETHTOOL_SEEPROM, 0x1234, 1, OTHER[1:])
    assert b"".join(word.to_bytes(2, "little") for word in part.words[:3]) == MAC[:1] + OTHER[1:]
    assert sum(part.words) & 0xFFFF == regs.EEPROM_SUM
    assert one.nic.eeprom == part.words
    assert refused(eeprom, one, et.ETHTOOL_SEEPROM, 0x4321, 0, b"x") == errno.EINVAL


# --- the self test ----------------------------------------------------------------------------------------------------


def self_test(one: Single, flags: int) -> tuple[int, list[int]]:
    request = et.ETHTOOL_TEST_HEAD.pack(et.ETHTOOL_TEST, flags, 0, 5)
    raw = ask(one.kernel, "eth0", request)[1]
    return et.ETHTOOL_TEST_HEAD.unpack(raw[:16])[1], [
        int.from_bytes(raw[at : at + 8], "little") for at in range(16, 56, 8)
    ]


@pytest.mark.parametrize("up", [True, False])
def test_self_test(one: Single, up: bool) -> None:
    if not up:
        dev_close(one.dev)
    used = one.nic.dma.allocated
    assert self_test(one, et.ETH_TEST_FL_OFFLINE) == (et.ETH_TEST_FL_OFFLINE, [0] * 5)
    assert one.nic.dma.allocated == used
    assert one.peer.got == []  # nothing of it went out
    settle(one)
    assert one.heard(to()) is up
    assert len(strings(one.kernel, "eth0", et.ETH_SS_TEST)) == 5


def test_self_test_of_a_card_with_something_wrong(one: Single) -> None:
    one.cable.set_link(False)
    card_of(one.dev).eeprom.words[20] ^= 1
    assert self_test(one, 0) == (et.ETH_TEST_FL_FAILED, [1, errno.EAGAIN, 0, 0, 0])
    faults = card_of(one.dev).faults
    faults.stall_cu = faults.stall_sticks = True
    flags, results = self_test(one, et.ETH_TEST_FL_OFFLINE)
    assert flags == et.ETH_TEST_FL_OFFLINE | et.ETH_TEST_FL_FAILED
    assert results[2:] == [0, 1, 1]
