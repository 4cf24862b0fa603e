"""SIOCETHTOOL: what any driver gets for nothing, what Linux checks before it asks one, and what ours answer."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import boot, wire
from support.ethtool import U32, USER, ask, numbers, put, refused, strings

from pysock.core.device import NetDevice, dev_close, dev_open, dev_set_mac_address, netif_carrier_off
from pysock.core.ethtool import dev_ethtool
from pysock.core.ethtool_ops import EthtoolOps, ethtool_op_get_link
from pysock.core.ethtool_types import Channels, Coalesce, DrvInfo, LinkSettings, PauseParam, RingParam, WolInfo
from pysock.core.kernel import Kernel
from pysock.core.uaccess import UserMemory, copy_from_user, copy_to_user
from pysock.drivers.bridge import br_add_if
from pysock.uapi import ethtool as et


class FullOps(EthtoolOps):
    """A driver that has everything."""

    supported_coalesce = ("rx_coalesce_usecs", "rx_max_coalesced_frames")

    def __init__(self) -> None:
        self.ring = RingParam(256, 0, 0, 128, 64, 0, 0, 32)
        self.channels = Channels(4, 4, 0, 2, 1, 1, 0, 0)
        self.coalesce = Coalesce(rx_coalesce_usecs=50)
        self.pause = PauseParam(1, 1, 0)
        self.wol = WolInfo(et.WAKE_MAGIC | et.WAKE_PHY)
        self.link = LinkSettings(100, et.DUPLEX_FULL, et.PORT_MII, 1, 1, supported=0xF | 1 << 67, lp_advertising=3)
        self.eeprom = bytearray(range(128))
        self.msglevel = 7
        self.calls: list[object] = []

    def get_drvinfo(self, dev: NetDevice) -> DrvInfo:
        return DrvInfo("full", "1.2", "fw3", "0000:00:03.0" * 9)

    def get_link(self, dev: NetDevice) -> bool:
        return ethtool_op_get_link(dev)

    def get_strings(self, dev: NetDevice, stringset: int) -> Sequence[str]:
        if stringset == et.ETH_SS_STATS:
            return ("tx_deferred", "a name that is longer than what a string may be")
        if stringset == et.ETH_SS_TEST:
            return ("Link test", "Eeprom test", "Loopback test")
        return super().get_strings(dev, stringset)

    def get_ethtool_stats(self, dev: NetDevice) -> Sequence[int]:
        return (1 << 40, -1)

    def get_regs(self, dev: NetDevice) -> tuple[int, bytes]:
        return 0x0100_0008, bytes(range(100))

    def get_eeprom_len(self, dev: NetDevice) -> int:
        return len(self.eeprom)

    def get_eeprom(self, dev: NetDevice, offset: int, length: int) -> tuple[int, bytes]:
        return 0x1234, bytes(self.eeprom[offset : offset + length])

    def set_eeprom(self, dev: NetDevice, magic: int, offset: int, data: bytes) -> None:
        self.eeprom[offset : offset + len(data)] = data

    def self_test(self, dev: NetDevice, flags: int) -> tuple[int, Sequence[int]]:
        return flags | et.ETH_TEST_FL_FAILED, (0, 1, 0)

    def get_link_ksettings(self, dev: NetDevice) -> LinkSettings:
        return self.link

    def set_link_ksettings(self, dev: NetDevice, settings: LinkSettings) -> None:
        self.link = settings

    def nway_reset(self, dev: NetDevice) -> None:
        self.calls.append("nway_reset")

    def get_pauseparam(self, dev: NetDevice) -> PauseParam:
        return self.pause

    def set_pauseparam(self, dev: NetDevice, pause: PauseParam) -> None:
        self.pause = pause

    def get_wol(self, dev: NetDevice) -> WolInfo:
        return self.wol

    def set_wol(self, dev: NetDevice, wol: WolInfo) -> None:
        self.wol = self.wol._replace(wolopts=wol.wolopts)

    def get_ringparam(self, dev: NetDevice) -> RingParam:
        return self.ring

    def set_ringparam(self, dev: NetDevice, ring: RingParam) -> None:
        self.ring = self.ring._replace(rx_pending=ring.rx_pending, tx_pending=ring.tx_pending)

    def get_channels(self, dev: NetDevice) -> Channels:
        return self.channels

    def set_channels(self, dev: NetDevice, channels: Channels) -> None:
        self.calls.append(channels)

    def get_coalesce(self, dev: NetDevice) -> Coalesce:
        return self.coalesce

    def set_coalesce(self, dev: NetDevice, coalesce: Coalesce) -> None:
        self.coalesce = coalesce

    def get_msglevel(self, dev: NetDevice) -> int:
        return self.msglevel

    def set_msglevel(self, dev: NetDevice, level: int) -> None:
        self.msglevel = level


@pytest.fixture
def kernel() -> Kernel:
    return boot()


@pytest.fixture
def full(kernel: Kernel) -> FullOps:
    ops = FullOps()
    dev = wire(kernel, "eth0")
    dev.ethtool_ops = ops
    dev_open(dev)
    return ops


_GETS = {name: value for name, value in vars(et).items() if name.startswith("ETHTOOL_") and isinstance(value, int)}


def test_a_driver_that_says_nothing(kernel: Kernel) -> None:
    """EOPNOTSUPP for all but what the stack knows itself."""
    wire(kernel, "eth0")
    answered = set()
    for name, cmd in _GETS.items():
        if name.startswith("ETHTOOL_F_"):
            continue
        try:
            ask(kernel, "eth0", U32.pack(cmd) + bytes(200))
            answered.add(name)
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL, 525):
                raise
    assert answered == {
        "ETHTOOL_GET_TS_INFO", "ETHTOOL_GFEATURES", "ETHTOOL_GFLAGS", "ETHTOOL_SFLAGS",
        "ETHTOOL_GSSET_INFO", "ETHTOOL_GRXCSUM", "ETHTOOL_GTXCSUM", "ETHTOOL_GSG", "ETHTOOL_GTSO", "ETHTOOL_GGSO",
        "ETHTOOL_GGRO", "ETHTOOL_SGSO", "ETHTOOL_SGRO",
    }  # fmt: skip
    assert kernel.errors.total == 0


def test_who_may_what(kernel: Kernel, full: FullOps) -> None:
    """As measured on Linux 6.18: the questions that anyone may ask."""
    anyone = []
    for cmd in range(1, 0x60):
        try:
            ask(kernel, "eth0", U32.pack(cmd) + bytes(200), USER)
        except OSError as exc:
            if exc.errno == errno.EPERM:
                continue
        anyone.append(cmd)
    assert anyone == [
        0x01, 0x03, 0x07, 0x0A, 0x0E, 0x10, 0x12, 0x14, 0x16, 0x18, 0x1B, 0x1D, 0x1E, 0x20, 0x21, 0x23, 0x25, 0x27,
        0x29, 0x2B, 0x2D, 0x2E, 0x2F, 0x30, 0x37, 0x38, 0x3A, 0x3C, 0x41, 0x44, 0x46, 0x48, 0x4A, 0x4C, 0x4E, 0x50,
    ]  # fmt: skip


def test_refusals_come_in_order(kernel: Kernel) -> None:
    """Memory, device, permission, presence, command."""
    dev = wire(kernel, "eth0")
    assert refused(dev_ethtool, kernel.init_net, USER, "nope", UserMemory(1)) == errno.EFAULT
    assert refused(ask, kernel, "nope", U32.pack(0x7777), USER) == errno.ENODEV
    assert refused(ask, kernel, "eth0", U32.pack(0x7777), USER) == errno.EPERM
    dev.present = False
    assert refused(ask, kernel, "eth0", U32.pack(0x7777)) == errno.ENODEV
    dev.present = True
    assert refused(ask, kernel, "eth0", U32.pack(0x7777)) == errno.EOPNOTSUPP
    assert ask(kernel, "eth0:1", U32.pack(et.ETHTOOL_GGSO))[0] == 0  # an alias is its device


def test_a_driver_that_raises(kernel: Kernel, full: FullOps, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, dev: NetDevice) -> RingParam:
        raise ZeroDivisionError

    monkeypatch.setattr(FullOps, "get_ringparam", broken)
    assert refused(ask, kernel, "eth0", U32.pack(et.ETHTOOL_GRINGPARAM)) == errno.EIO
    assert kernel.errors.total == 1


def test_drvinfo(kernel: Kernel, full: FullOps) -> None:
    raw = ask(kernel, "eth0", U32.pack(et.ETHTOOL_GDRVINFO))[1]
    fields = et.ETHTOOL_DRVINFO.unpack_from(raw)
    texts = [text.split(b"\0")[0].decode() for text in fields[1:6]]
    assert texts == ["full", "1.2", "fw3", ("0000:00:03.0" * 9)[:31], ""]
    assert fields[6:] == (0, 2, 3, 128, 100)  # private flags, statistics, tests, EEPROM, registers
    kernel.dev_layer.create_device(kernel.init_net, "dummy", "dummy0")
    raw = ask(kernel, "dummy0", U32.pack(et.ETHTOOL_GDRVINFO))[1]
    driver, version = (text.rstrip(b"\0") for text in et.ETHTOOL_DRVINFO.unpack_from(raw)[1:3])
    assert driver == b"dummy"
    assert version  # the kernel's own


def test_link(kernel: Kernel, full: FullOps) -> None:
    dev = kernel.init_net.dev_by_name["eth0"]
    assert numbers(kernel, "eth0", et.ETHTOOL_GLINK, 1, USER) == (1,)
    netif_carrier_off(dev)
    assert numbers(kernel, "eth0", et.ETHTOOL_GLINK, 1) == (0,)
    assert numbers(kernel, "lo", et.ETHTOOL_GLINK, 1) == (1,)
    dev_close(kernel.init_net.dev_by_name["lo"])
    assert numbers(kernel, "lo", et.ETHTOOL_GLINK, 1) == (0,)  # a device that is down is not asked


def test_rings(kernel: Kernel, full: FullOps) -> None:
    assert numbers(kernel, "eth0", et.ETHTOOL_GRINGPARAM, 8) == full.ring
    put(kernel, "eth0", et.ETHTOOL_SRINGPARAM, 0, 0, 0, 0, 256, 0, 0, 128)
    assert numbers(kernel, "eth0", et.ETHTOOL_GRINGPARAM, 8) == (256, 0, 0, 128, 256, 0, 0, 128)
    for wrong in ((257, 0, 0, 1), (1, 1, 0, 1), (1, 0, 1, 1), (1, 0, 0, 129)):
        assert refused(put, kernel, "eth0", et.ETHTOOL_SRINGPARAM, 999, 999, 999, 999, *wrong) == errno.EINVAL
    assert full.ring[4:] == (256, 0, 0, 128)


def test_channels(kernel: Kernel, full: FullOps) -> None:
    assert numbers(kernel, "eth0", et.ETHTOOL_GCHANNELS, 8) == full.channels
    put(kernel, "eth0", et.ETHTOOL_SCHANNELS, *full.channels)
    assert full.calls == []  # nothing changes, so the driver is not troubled
    for wrong in ((5, 1, 0, 0), (1, 5, 0, 0), (1, 1, 1, 0), (1, 1, 0, 3), (0, 1, 0, 0), (1, 0, 0, 0)):
        assert refused(put, kernel, "eth0", et.ETHTOOL_SCHANNELS, 0, 0, 0, 0, *wrong) == errno.EINVAL
    put(kernel, "eth0", et.ETHTOOL_SCHANNELS, 0, 0, 0, 0, 0, 0, 0, 2)
    assert full.calls == [Channels(combined_count=2)]


def test_coalesce(kernel: Kernel, full: FullOps) -> None:
    assert numbers(kernel, "eth0", et.ETHTOOL_GCOALESCE, 22)[0] == 50
    put(kernel, "eth0", et.ETHTOOL_SCOALESCE, 10, 20, *[0] * 20)
    assert full.coalesce == Coalesce(10, 20)
    assert refused(put, kernel, "eth0", et.ETHTOOL_SCOALESCE, 10, 20, 1, *[0] * 19) == errno.EOPNOTSUPP


def test_pause_messages_wake_and_negotiation(kernel: Kernel, full: FullOps) -> None:
    put(kernel, "eth0", et.ETHTOOL_SPAUSEPARAM, 0, 1, 1)
    assert numbers(kernel, "eth0", et.ETHTOOL_GPAUSEPARAM, 3) == full.pause == (0, 1, 1)
    put(kernel, "eth0", et.ETHTOOL_SMSGLVL, 0xFFFF)
    assert numbers(kernel, "eth0", et.ETHTOOL_GMSGLVL, 1) == (0xFFFF,)
    put(kernel, "eth0", et.ETHTOOL_NWAY_RST)
    assert full.calls == ["nway_reset"]
    put(kernel, "eth0", et.ETHTOOL_SWOL, 0, et.WAKE_MAGIC, 0, 0)
    assert numbers(kernel, "eth0", et.ETHTOOL_GWOL, 2) == (et.WAKE_MAGIC | et.WAKE_PHY, et.WAKE_MAGIC)
    assert refused(put, kernel, "eth0", et.ETHTOOL_SWOL, 0, 1 << 1, 0, 0) == errno.EINVAL


def test_strings_and_statistics(kernel: Kernel, full: FullOps) -> None:
    names = ["tx_deferred", "a name that is longer than what "[:31]]
    assert strings(kernel, "eth0", et.ETH_SS_STATS) == strings(kernel, "eth0", et.ETH_SS_STATS, 2) == names
    assert strings(kernel, "eth0", et.ETH_SS_STATS, 3) == []  # room for another number
    assert refused(strings, kernel, "eth0", et.ETH_SS_PRIV_FLAGS) == errno.EOPNOTSUPP
    raw = ask(kernel, "eth0", struct.pack("=II", et.ETHTOOL_GSTATS, 2))[1]
    assert struct.unpack_from("=IIQQ", raw) == (et.ETHTOOL_GSTATS, 2, 1 << 40, (1 << 64) - 1)
    raw = ask(kernel, "eth0", struct.pack("=II", et.ETHTOOL_GSTATS, 1))[1]
    assert struct.unpack_from("=IIQ", raw) == (et.ETHTOOL_GSTATS, 0, 0)
    sets = 1 << et.ETH_SS_TEST | 1 << et.ETH_SS_STATS | 1 << et.ETH_SS_PRIV_FLAGS | 1 << et.ETH_SS_FEATURES
    raw = ask(kernel, "eth0", et.ETHTOOL_SSET_INFO.pack(et.ETHTOOL_GSSET_INFO, 0, sets))[1]
    assert struct.unpack_from("=IIQIII", raw)[2:] == (sets & ~(1 << et.ETH_SS_PRIV_FLAGS), 3, 2, 64)


def test_registers_eeprom_and_self_test(kernel: Kernel, full: FullOps) -> None:
    raw = ask(kernel, "eth0", et.ETHTOOL_REGS.pack(et.ETHTOOL_GREGS, 0, 8))[1]
    assert et.ETHTOOL_REGS.unpack_from(raw) == (et.ETHTOOL_GREGS, 0x0100_0008, 8)
    assert raw[12:24] == bytes(range(8)) + bytes(4)  # no more than there is room for
    raw = ask(kernel, "eth0", et.ETHTOOL_REGS.pack(et.ETHTOOL_GREGS, 0, 4000))[1]
    assert et.ETHTOOL_REGS.unpack_from(raw)[2] == 100
    raw = ask(kernel, "eth0", et.ETHTOOL_EEPROM.pack(et.ETHTOOL_GEEPROM, 0, 100, 28))[1]
    assert et.ETHTOOL_EEPROM.unpack_from(raw) == (et.ETHTOOL_GEEPROM, 0x1234, 100, 28)
    assert raw[16:44] == bytes(range(100, 128))
    ask(kernel, "eth0", et.ETHTOOL_EEPROM.pack(et.ETHTOOL_SEEPROM, 0x1234, 126, 2) + b"\xaa\xbb")
    assert full.eeprom[126:] == b"\xaa\xbb"
    for cmd in (et.ETHTOOL_GEEPROM, et.ETHTOOL_SEEPROM):
        for offset, length in ((101, 28), (129, 0), (0xFFFFFFFF, 2)):
            assert refused(ask, kernel, "eth0", et.ETHTOOL_EEPROM.pack(cmd, 0, offset, length)) == errno.EINVAL
    raw = ask(kernel, "eth0", et.ETHTOOL_TEST_HEAD.pack(et.ETHTOOL_TEST, et.ETH_TEST_FL_OFFLINE, 0, 3))[1]
    assert struct.unpack_from("=4I3Q", raw) == (et.ETHTOOL_TEST, 3, 0, 3, 0, 1, 0)


def test_permanent_address(kernel: Kernel, full: FullOps) -> None:
    dev = kernel.init_net.dev_by_name["eth0"]
    dev.perm_addr = b"\x00\xaa\xbb\xcc\xdd\xee"
    dev_close(dev)
    dev_set_mac_address(dev, b"\x02\0\0\0\0\x99")
    raw = ask(kernel, "eth0", struct.pack("=II", et.ETHTOOL_GPERMADDR, 32))[1]
    assert raw[4:14] == U32.pack(6) + dev.perm_addr
    assert refused(ask, kernel, "eth0", struct.pack("=II", et.ETHTOOL_GPERMADDR, 5)) == 525  # ETOOSMALL


def test_link_settings(kernel: Kernel, full: FullOps) -> None:
    """A program learns the number of words first; what it stores comes back."""
    layout = et.ETHTOOL_LINK_SETTINGS
    raw = ask(kernel, "eth0", U32.pack(et.ETHTOOL_GLINKSETTINGS) + bytes(44))[1]
    assert layout.unpack_from(raw) == (et.ETHTOOL_GLINKSETTINGS, *[0] * 8, -4, *[0] * 4)
    head = bytearray(layout.size)
    layout.pack_into(head, 0, et.ETHTOOL_GLINKSETTINGS, *[0] * 8, 4, *[0] * 4)
    raw = ask(kernel, "eth0", bytes(head))[1]
    fields = layout.unpack_from(raw)
    assert fields[:6] == (et.ETHTOOL_GLINKSETTINGS, 100, et.DUPLEX_FULL, et.PORT_MII, 1, 1)
    modes = [int.from_bytes(raw[48 + 16 * n : 64 + 16 * n], "little") for n in range(3)]
    assert modes == [0xF | 1 << 67, 0, 3]
    change = layout.pack(et.ETHTOOL_SLINKSETTINGS, 10, 0, 0, 1, 0, 0, 1, 2, 4, 1, 0, 0, 0)
    ask(kernel, "eth0", change + (1 << 100).to_bytes(16, "little") + (5).to_bytes(16, "little") + bytes(16))
    assert full.link == LinkSettings(10, 0, 0, 1, 0, 0, 1, 2, 1, 1 << 100, 5, 0)
    wrong = layout.pack(et.ETHTOOL_SLINKSETTINGS, 10, 0, 0, 1, 0, 0, 1, 2, 3, 1, 0, 0, 0)
    assert refused(ask, kernel, "eth0", wrong) == errno.EINVAL


def test_the_older_link_settings(kernel: Kernel, full: FullOps) -> None:
    raw = ask(kernel, "eth0", U32.pack(et.ETHTOOL_GSET))[1]
    assert et.ETHTOOL_CMD.unpack_from(raw)[1:6] == (0xF, 0, 100, et.DUPLEX_FULL, et.PORT_MII)
    full.link = full.link._replace(speed=100_000)
    raw = ask(kernel, "eth0", U32.pack(et.ETHTOOL_GSET))[1]
    request = bytearray(raw[: et.ETHTOOL_CMD.size])
    request[:4] = U32.pack(et.ETHTOOL_SSET)
    ask(kernel, "eth0", bytes(request))
    assert full.link == LinkSettings(100_000, et.DUPLEX_FULL, et.PORT_MII, 1, 1, supported=0xF, lp_advertising=3)


def test_our_own_drivers(kernel: Kernel) -> None:
    """What Linux 6.18 answers for its devices of these kinds."""
    net = kernel.init_net
    create = kernel.dev_layer.create_device
    veth = create(net, "veth", "v0", peer="v1")
    peer = net.dev_by_name["v1"]
    dev_open(veth)
    dev_open(peer)
    create(net, "vlan", "v0.5", link=veth, id=5)
    create(net, "macvlan", "mv0", link=peer)
    create(net, "dummy", "d0")
    create(net, "ifb", "ifb0")
    bridge = create(net, "bridge", "br0")
    bond = create(net, "bond", "bond0")

    def driver(name: str) -> list[str]:
        raw = ask(kernel, name, U32.pack(et.ETHTOOL_GDRVINFO))[1]
        return [text.split(b"\0")[0].decode() for text in et.ETHTOOL_DRVINFO.unpack_from(raw)[1:5]]

    def speed(name: str) -> tuple[int, int, int]:
        fields = et.ETHTOOL_CMD.unpack_from(ask(kernel, name, U32.pack(et.ETHTOOL_GSET))[1])
        return fields[3] | fields[12] << 16, fields[4], fields[5]

    assert refused(driver, "lo") == errno.EOPNOTSUPP
    assert driver("v0") == ["veth", "1.0", "", ""]
    assert driver("v0.5") == ["802.1Q VLAN Support", "1.8", "N/A", ""]
    assert driver("mv0") == ["macvlan", "0.1", "", ""]
    assert driver("br0") == ["bridge", "2.3", "N/A", "N/A"]
    assert (driver("bond0")[0], driver("bond0")[2]) == ("bonding", "2")
    assert (driver("d0")[0], driver("ifb0")[0]) == ("dummy", "ifb")
    for name in ("v0", "v0.5", "mv0"):
        assert speed(name) == (10_000, et.DUPLEX_FULL, et.PORT_TP)
    for name in ("lo", "d0", "ifb0"):
        assert refused(speed, name) == errno.EOPNOTSUPP
    unknown = (et.SPEED_UNKNOWN, et.DUPLEX_UNKNOWN, et.PORT_OTHER)
    assert speed("br0") == speed("bond0") == unknown
    create(net, "veth", "v2", peer="v3")
    for name in ("v2", "v3"):
        dev_open(net.dev_by_name[name])
    br_add_if(bridge, net.dev_by_name["v2"])
    assert speed("br0")[0] == 10_000
    for name in ("w0", "w2"):
        dev = create(net, "veth", name, peer=f"{name}p")
        dev_open(net.dev_by_name[f"{name}p"])
        bond.netdev_ops.ndo_add_slave(bond, dev)
    dev_open(bond)
    assert speed("bond0") == (20_000, et.DUPLEX_FULL, et.PORT_OTHER)
    assert strings(kernel, "v0", et.ETH_SS_STATS) == ["peer_ifindex"]
    raw = ask(kernel, "v0", struct.pack("=II", et.ETHTOOL_GSTATS, 1))[1]
    assert struct.unpack_from("=Q", raw, 8) == (peer.ifindex,)
    stamps = {name: numbers(kernel, name, et.ETHTOOL_GET_TS_INFO, 1)[0] for name in ("lo", "v0.5", "d0", "br0")}
    assert stamps == {"lo": 26, "v0.5": 26, "d0": 26, "br0": 24}


def test_user_memory() -> None:
    buffer = ctypes.create_string_buffer(b"hello", 8)
    at = ctypes.addressof(buffer)
    copy_to_user(at + 1, b"a")
    assert copy_from_user(at, 8) == b"hallo\0\0\0"
    copy_to_user(0, b"")
    assert copy_from_user(0, 0) == b""
    for address in (0, 1, 1 << 63, (1 << 64) - 4):
        assert refused(copy_from_user, address, 8) == errno.EFAULT
        assert refused(copy_to_user, address, b"12345678") == errno.EFAULT


@given(st.integers(0, 0x60), st.binary(max_size=120), st.booleans())
def test_any_request_gets_an_answer_or_an_errno(cmd: int, rest: bytes, with_ops: bool) -> None:
    kernel = boot()
    dev = wire(kernel, "eth0")
    if with_ops:
        dev.ethtool_ops = FullOps()
    with contextlib.suppress(OSError):
        assert ask(kernel, "eth0", U32.pack(cmd) + rest, room=65536)[0] in (0, 1, 2, 3)
    assert kernel.errors.total == 0
