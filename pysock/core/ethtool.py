"""SIOCETHTOOL: what ethtool(8) asks and changes. dev_ethtool() in net/ethtool/ioctl.c.

    dev_ethtool(net, creds, "eth0", UserMemory(address))     a command word at the address, then its structure

The checks that Linux makes for every driver are here, one function a command; then the driver's `EthtoolOps` decides.
Features and the link's settings, which have layouts of their own, are in ethtool_features.py and ethtool_link.py.
Loaded by the first program that asks. Needs the kernel lock, which stands for rtnl.
"""

from __future__ import annotations

import errno

from pysock._version import __version__
from pysock.core import ethtool_features, ethtool_link
from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.errors import err
from pysock.core.ethtool_ops import EthtoolOps, need
from pysock.core.ethtool_types import Channels, Coalesce, DrvInfo, PauseParam, RingParam, WolInfo
from pysock.core.netdev_features import feature_strings
from pysock.uapi import ethtool as et

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.uaccess import UserMemory

    Handler = Callable[[NetDevice, UserMemory], int | None]

#: What a program without CAP_NET_ADMIN may ask; some of it nobody answers.
_ANYONE: Final = frozenset((
    et.ETHTOOL_GSET, et.ETHTOOL_GDRVINFO, et.ETHTOOL_GMSGLVL, et.ETHTOOL_GLINK, et.ETHTOOL_GCOALESCE,
    et.ETHTOOL_GRINGPARAM, et.ETHTOOL_GPAUSEPARAM, et.ETHTOOL_GRXCSUM, et.ETHTOOL_GTXCSUM, et.ETHTOOL_GSG,
    et.ETHTOOL_GSTRINGS, et.ETHTOOL_GSTATS, et.ETHTOOL_GTSO, et.ETHTOOL_GPERMADDR, et.ETHTOOL_GUFO, et.ETHTOOL_GGSO,
    et.ETHTOOL_GFLAGS, et.ETHTOOL_GPFLAGS, et.ETHTOOL_GRXFH, et.ETHTOOL_GGRO, et.ETHTOOL_GRXRINGS,
    et.ETHTOOL_GRXCLSRLCNT, et.ETHTOOL_GRXCLSRULE, et.ETHTOOL_GRXCLSRLALL, et.ETHTOOL_GSSET_INFO,
    et.ETHTOOL_GRXFHINDIR, et.ETHTOOL_GFEATURES, et.ETHTOOL_GCHANNELS, et.ETHTOOL_GET_TS_INFO, et.ETHTOOL_GEEE,
    et.ETHTOOL_GRSSH, et.ETHTOOL_GTUNABLE, et.ETHTOOL_GPHYSTATS, et.ETHTOOL_GLINKSETTINGS, et.ETHTOOL_PHY_GTUNABLE,
    et.ETHTOOL_GFECPARAM,
))  # fmt: skip
_ETOOSMALL: Final = 525  # include/linux/errno.h; it does come out of ETHTOOL_GPERMADDR
_MAX_EEPROM_CHUNK: Final = 1 << 20


def dev_ethtool(net: Net, creds: Credentials, name: str, user: UserMemory) -> int:
    """Do the command that stands at ``user`` for device ``name``; the answer is written there. Returns what ioctl(2)
    does: 0, or ETHTOOL_F_* of ETHTOOL_SFEATURES.

    EFAULT for memory that is not the program's, ENODEV, EPERM without CAP_NET_ADMIN for all but questions, EOPNOTSUPP
    for what device or stack do not have, EINVAL for values out of bounds, and what the driver objects with.
    """
    cmd: int = et.U32.unpack(user.read(4))[0]
    dev = net.dev_by_name.get(name.partition(":")[0])
    if dev is None:
        raise err(errno.ENODEV)
    if cmd not in _ANYONE and not creds.capable(CAP_NET_ADMIN):
        raise err(errno.EPERM)
    if not dev.present:
        raise err(errno.ENODEV)
    handler = _HANDLERS.get(cmd)
    if handler is None:
        raise err(errno.EOPNOTSUPP)
    try:
        return handler(dev, user) or 0
    except OSError:
        raise
    except Exception as exc:
        dev.kernel.errors.report(dev.owner or dev.name, f"ethtool command {cmd:#x}", exc)
        raise err(errno.EIO) from exc


# --- what the device is -----------------------------------------------------------------------------------------------


def get_drvinfo(dev: NetDevice) -> DrvInfo:
    """ethtool_get_drvinfo(): the driver's own words, else the kind's name. EOPNOTSUPP for a device of neither."""
    ops = dev.ethtool_ops
    if type(ops).get_drvinfo is not EthtoolOps.get_drvinfo:
        info = ops.get_drvinfo(dev)
    elif dev.driver is not None:
        info = DrvInfo(dev.driver.name)
    else:
        raise err(errno.EOPNOTSUPP)
    return info._replace(version=info.version or __version__)


def _drvinfo(dev: NetDevice, user: UserMemory) -> None:
    info = get_drvinfo(dev)
    texts = [text.encode()[:31] for text in (info.driver, info.version, info.fw_version, info.bus_info, "")]
    sizes = (
        0,
        _count(dev, et.ETH_SS_STATS),
        _count(dev, et.ETH_SS_TEST),
        _optional(lambda: dev.ethtool_ops.get_eeprom_len(dev)),
        _optional(lambda: len(dev.ethtool_ops.get_regs(dev)[1])),
    )
    user.write(et.ETHTOOL_DRVINFO.pack(et.ETHTOOL_GDRVINFO, *texts, *sizes))


def _optional(ask: Callable[[], int]) -> int:
    try:
        return ask()
    except OSError:
        return 0


def _count(dev: NetDevice, stringset: int) -> int:
    return _optional(lambda: len(_strings(dev, stringset)))


def _strings(dev: NetDevice, stringset: int) -> list[bytes]:
    if stringset == et.ETH_SS_FEATURES:
        names = feature_strings()
    else:
        names = list(need(dev, "get_strings").get_strings(dev, stringset))
    return [name.encode()[: et.ETH_GSTRING_LEN - 1] for name in names]


def _sset_info(dev: NetDevice, user: UserMemory) -> None:
    """The sizes of those of the sets asked for that there are (ethtool_get_sset_info)."""
    mask: int = et.ETHTOOL_SSET_INFO.unpack(user.read(et.ETHTOOL_SSET_INFO.size))[2]
    found = {n: count for n in range(64) if mask >> n & 1 and (count := _count(dev, n))}
    if not mask:
        return
    user.write(
        et.ETHTOOL_SSET_INFO.pack(et.ETHTOOL_GSSET_INFO, 0, sum(1 << n for n in found))
        + b"".join(et.U32.pack(count) for count in found.values())
    )


def _gstrings(dev: NetDevice, user: UserMemory) -> None:
    """ethtool_get_strings(). A program that made room for another number gets none."""
    _, stringset, room = et.ETHTOOL_GSTRINGS_HEAD.unpack(user.read(et.ETHTOOL_GSTRINGS_HEAD.size))
    names = _strings(dev, stringset)
    if room and room != len(names):
        names = []
    head = et.ETHTOOL_GSTRINGS_HEAD.pack(et.ETHTOOL_GSTRINGS, stringset, len(names))
    user.write(head + b"".join(name.ljust(et.ETH_GSTRING_LEN, b"\0") for name in names))


def _gstats(dev: NetDevice, user: UserMemory) -> None:
    ops = need(dev, "get_ethtool_stats", "get_strings")
    room: int = et.ETHTOOL_STATS_HEAD.unpack(user.read(et.ETHTOOL_STATS_HEAD.size))[1]
    values = list(ops.get_ethtool_stats(dev))
    assert len(values) == len(ops.get_strings(dev, et.ETH_SS_STATS)), "a value for each name"
    if room and room != len(values):
        values = []
    user.write(et.ETHTOOL_STATS_HEAD.pack(et.ETHTOOL_GSTATS, len(values)) + _u64s(values))


def _u64s(values: list[int]) -> bytes:
    return b"".join((value & (1 << 64) - 1).to_bytes(8, "little") for value in values)


def _permaddr(dev: NetDevice, user: UserMemory) -> None:
    size: int = et.ETHTOOL_PERM_ADDR.unpack(user.read(et.ETHTOOL_PERM_ADDR.size))[1]
    if size < dev.addr_len:
        raise err(_ETOOSMALL)
    user.write(
        et.ETHTOOL_PERM_ADDR.pack(et.ETHTOOL_GPERMADDR, dev.addr_len) + dev.perm_addr.ljust(dev.addr_len, b"\0")
    )


def _ts_info(dev: NetDevice, user: UserMemory) -> None:
    user.write(et.ETHTOOL_TS_INFO.pack(et.ETHTOOL_GET_TS_INFO, *dev.ethtool_ops.get_ts_info(dev)))


# --- its memory and tests ---------------------------------------------------------------------------------------------


def _gregs(dev: NetDevice, user: UserMemory) -> None:
    """ethtool_get_regs(): as many bytes as there are and the program has room for."""
    ops = need(dev, "get_regs")
    room: int = et.ETHTOOL_REGS.unpack(user.read(et.ETHTOOL_REGS.size))[2]
    version, registers = ops.get_regs(dev)
    registers = registers[:room]
    user.write(et.ETHTOOL_REGS.pack(et.ETHTOOL_GREGS, version, len(registers)) + registers)


def _eeprom_bounds(dev: NetDevice, user: UserMemory) -> tuple[int, int, int]:
    """Magic, offset and length that the program gave. EINVAL beyond the end."""
    _, magic, offset, length = et.ETHTOOL_EEPROM.unpack(user.read(et.ETHTOOL_EEPROM.size))
    if offset + length > min(dev.ethtool_ops.get_eeprom_len(dev), _MAX_EEPROM_CHUNK):
        raise err(errno.EINVAL)
    return magic, offset, length


def _geeprom(dev: NetDevice, user: UserMemory) -> None:
    ops = need(dev, "get_eeprom", "get_eeprom_len")
    _, offset, length = _eeprom_bounds(dev, user)
    magic, data = ops.get_eeprom(dev, offset, length)
    user.write(et.ETHTOOL_EEPROM.pack(et.ETHTOOL_GEEPROM, magic, offset, len(data)) + data)


def _seeprom(dev: NetDevice, user: UserMemory) -> None:
    ops = need(dev, "set_eeprom", "get_eeprom_len")
    magic, offset, length = _eeprom_bounds(dev, user)
    ops.set_eeprom(dev, magic, offset, user.read(length, et.ETHTOOL_EEPROM.size))


def _test(dev: NetDevice, user: UserMemory) -> None:
    ops = need(dev, "self_test", "get_strings")
    flags: int = et.ETHTOOL_TEST_HEAD.unpack(user.read(et.ETHTOOL_TEST_HEAD.size))[1]
    flags, results = ops.self_test(dev, flags)
    user.write(et.ETHTOOL_TEST_HEAD.pack(et.ETHTOOL_TEST, flags, 0, len(results)) + _u64s(list(results)))


# --- numbers ----------------------------------------------------------------------------------------------------------


def _numbers(user: UserMemory, count: int) -> tuple[int, ...]:
    """The ``count`` numbers behind the command."""
    raw = user.read(4 * count, 4)
    return tuple(int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4))


def _store(user: UserMemory, values: tuple[int, ...]) -> None:
    user.write(b"".join(et.U32.pack(value) for value in values), 4)


def _glink(dev: NetDevice, user: UserMemory) -> None:
    ops = need(dev, "get_link")
    _store(user, (int(dev.running and ops.get_link(dev)),))


def _gmsglvl(dev: NetDevice, user: UserMemory) -> None:
    _store(user, (dev.ethtool_ops.get_msglevel(dev),))


def _smsglvl(dev: NetDevice, user: UserMemory) -> None:
    need(dev, "set_msglevel").set_msglevel(dev, _numbers(user, 1)[0])


def _nway_rst(dev: NetDevice, user: UserMemory) -> None:
    dev.ethtool_ops.nway_reset(dev)


def _gring(dev: NetDevice, user: UserMemory) -> None:
    _store(user, dev.ethtool_ops.get_ringparam(dev))


def _sring(dev: NetDevice, user: UserMemory) -> None:
    """ethtool_set_ringparam(). EINVAL above the device's maximum."""
    ops = need(dev, "get_ringparam", "set_ringparam")
    ring = RingParam(*_numbers(user, len(RingParam._fields)))
    limit = ops.get_ringparam(dev)
    if any(asked > most for asked, most in zip(ring[4:], limit[:4], strict=True)):
        raise err(errno.EINVAL)
    ops.set_ringparam(dev, ring)


def _gchannels(dev: NetDevice, user: UserMemory) -> None:
    _store(user, dev.ethtool_ops.get_channels(dev))


def _schannels(dev: NetDevice, user: UserMemory) -> None:
    """ethtool_set_channels(). EINVAL above a maximum, and when none would be left to receive or to send."""
    ops = need(dev, "get_channels", "set_channels")
    channels = Channels(*_numbers(user, len(Channels._fields)))
    current = ops.get_channels(dev)
    if channels[4:] == current[4:]:
        return
    if any(asked > most for asked, most in zip(channels[4:], current[:4], strict=True)):
        raise err(errno.EINVAL)
    if not channels.combined_count and not (channels.rx_count and channels.tx_count):
        raise err(errno.EINVAL)
    ops.set_channels(dev, channels)


def _gcoalesce(dev: NetDevice, user: UserMemory) -> None:
    _store(user, dev.ethtool_ops.get_coalesce(dev))


def _scoalesce(dev: NetDevice, user: UserMemory) -> None:
    """ethtool_set_coalesce(). EOPNOTSUPP for a field that the driver does not know."""
    ops = need(dev, "get_coalesce", "set_coalesce")
    coalesce = Coalesce(*_numbers(user, len(Coalesce._fields)))
    if any(value and field not in ops.supported_coalesce for field, value in coalesce._asdict().items()):
        raise err(errno.EOPNOTSUPP)
    ops.set_coalesce(dev, coalesce)


def _gpause(dev: NetDevice, user: UserMemory) -> None:
    _store(user, dev.ethtool_ops.get_pauseparam(dev))


def _spause(dev: NetDevice, user: UserMemory) -> None:
    ops = need(dev, "set_pauseparam")
    ops.set_pauseparam(dev, PauseParam(*_numbers(user, len(PauseParam._fields))))


def _gwol(dev: NetDevice, user: UserMemory) -> None:
    user.write(et.ETHTOOL_WOLINFO.pack(et.ETHTOOL_GWOL, *dev.ethtool_ops.get_wol(dev)))


def _swol(dev: NetDevice, user: UserMemory) -> None:
    """ethtool_set_wol(). EINVAL for what the device does not support."""
    ops = need(dev, "get_wol", "set_wol")
    wol = WolInfo(*et.ETHTOOL_WOLINFO.unpack(user.read(et.ETHTOOL_WOLINFO.size))[1:])
    if wol.wolopts & ~ops.get_wol(dev).supported:
        raise err(errno.EINVAL)
    ops.set_wol(dev, wol)


_HANDLERS: Final[dict[int, Handler]] = {
    et.ETHTOOL_GDRVINFO: _drvinfo,
    et.ETHTOOL_GREGS: _gregs,
    et.ETHTOOL_GWOL: _gwol,
    et.ETHTOOL_SWOL: _swol,
    et.ETHTOOL_GMSGLVL: _gmsglvl,
    et.ETHTOOL_SMSGLVL: _smsglvl,
    et.ETHTOOL_NWAY_RST: _nway_rst,
    et.ETHTOOL_GLINK: _glink,
    et.ETHTOOL_GEEPROM: _geeprom,
    et.ETHTOOL_SEEPROM: _seeprom,
    et.ETHTOOL_GCOALESCE: _gcoalesce,
    et.ETHTOOL_SCOALESCE: _scoalesce,
    et.ETHTOOL_GRINGPARAM: _gring,
    et.ETHTOOL_SRINGPARAM: _sring,
    et.ETHTOOL_GPAUSEPARAM: _gpause,
    et.ETHTOOL_SPAUSEPARAM: _spause,
    et.ETHTOOL_TEST: _test,
    et.ETHTOOL_GSTRINGS: _gstrings,
    et.ETHTOOL_GSTATS: _gstats,
    et.ETHTOOL_GPERMADDR: _permaddr,
    et.ETHTOOL_GSSET_INFO: _sset_info,
    et.ETHTOOL_GCHANNELS: _gchannels,
    et.ETHTOOL_SCHANNELS: _schannels,
    et.ETHTOOL_GET_TS_INFO: _ts_info,
    **ethtool_features.HANDLERS,
    **ethtool_link.HANDLERS,
}
