"""Features through SIOCETHTOOL: as sets of bits, and one by one as programs did it first. net/ethtool/ioctl.c.

Every change goes through `netdev_update_features`: what a program asks for is remembered in dev.wanted_features, what
the device gets is what the rules leave of it.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.netdev_config import netdev_update_features
from pysock.core.netdev_features import (
    FEATURE_COUNT,
    NETIF_F_ALL_TSO,
    NETIF_F_CSUM_MASK,
    NETIF_F_FRAGLIST,
    NETIF_F_GRO,
    NETIF_F_GSO,
    NETIF_F_HW_VLAN_CTAG_RX,
    NETIF_F_HW_VLAN_CTAG_TX,
    NETIF_F_LRO,
    NETIF_F_NEVER_CHANGE,
    NETIF_F_NTUPLE,
    NETIF_F_RXCSUM,
    NETIF_F_RXHASH,
    NETIF_F_SG,
)
from pysock.uapi import ethtool as et

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.core.uaccess import UserMemory

    Handler = Callable[[NetDevice, UserMemory], int | None]

_BLOCKS: Final = (FEATURE_COUNT + 31) // 32
_FLAGS: Final = {
    et.ETH_FLAG_LRO: NETIF_F_LRO,
    et.ETH_FLAG_RXVLAN: NETIF_F_HW_VLAN_CTAG_RX,
    et.ETH_FLAG_TXVLAN: NETIF_F_HW_VLAN_CTAG_TX,
    et.ETH_FLAG_NTUPLE: NETIF_F_NTUPLE,
    et.ETH_FLAG_RXHASH: NETIF_F_RXHASH,
}
#: get, set, and the features that they stand for (ethtool_get_feature_mask).
_ONE_BY_ONE: Final = (
    (et.ETHTOOL_GRXCSUM, et.ETHTOOL_SRXCSUM, NETIF_F_RXCSUM),
    (et.ETHTOOL_GTXCSUM, et.ETHTOOL_STXCSUM, NETIF_F_CSUM_MASK),
    (et.ETHTOOL_GSG, et.ETHTOOL_SSG, NETIF_F_SG | NETIF_F_FRAGLIST),
    (et.ETHTOOL_GTSO, et.ETHTOOL_STSO, NETIF_F_ALL_TSO),
    (et.ETHTOOL_GGSO, et.ETHTOOL_SGSO, NETIF_F_GSO),
    (et.ETHTOOL_GGRO, et.ETHTOOL_SGRO, NETIF_F_GRO),
)


def _gfeatures(dev: NetDevice, user: UserMemory) -> None:
    """ethtool_get_features(): as many blocks as the program has room for, and how many there are."""
    room: int = et.ETHTOOL_FEATURES_HEAD.unpack(user.read(et.ETHTOOL_FEATURES_HEAD.size))[1]
    sets = (dev.hw_features, dev.wanted_features, dev.features, NETIF_F_NEVER_CHANGE)
    answer = et.ETHTOOL_FEATURES_HEAD.pack(et.ETHTOOL_GFEATURES, _BLOCKS)
    for block in range(min(room, _BLOCKS)):
        answer += et.ETHTOOL_GET_FEATURES_BLOCK.pack(*(one >> 32 * block & 0xFFFFFFFF for one in sets))
    user.write(answer)


def _sfeatures(dev: NetDevice, user: UserMemory) -> int:
    """ethtool_set_features(): 0, or ETHTOOL_F_* when not all went as asked. EINVAL for another number of blocks, and
    for features that never change.
    """
    size = et.ETHTOOL_FEATURES_HEAD.size
    count: int = et.ETHTOOL_FEATURES_HEAD.unpack(user.read(size))[1]
    if count != _BLOCKS:
        raise err(errno.EINVAL)
    valid = requested = 0
    for block in range(_BLOCKS):
        raw = user.read(et.ETHTOOL_SET_FEATURES_BLOCK.size, size + block * et.ETHTOOL_SET_FEATURES_BLOCK.size)
        low, high = et.ETHTOOL_SET_FEATURES_BLOCK.unpack(raw)
        valid |= low << 32 * block
        requested |= high << 32 * block
    if valid & NETIF_F_NEVER_CHANGE or valid >> FEATURE_COUNT:
        raise err(errno.EINVAL)
    result = 0
    if valid & ~dev.hw_features:
        valid &= dev.hw_features
        result |= et.ETHTOOL_F_UNSUPPORTED
    _want(dev, valid, requested)
    if (dev.wanted_features ^ dev.features) & valid:
        result |= et.ETHTOOL_F_WISH
    return result


def _want(dev: NetDevice, valid: int, requested: int) -> None:
    dev.wanted_features = dev.wanted_features & ~valid | requested & valid
    netdev_update_features(dev)


def _get_one(mask: int) -> Handler:
    def get(dev: NetDevice, user: UserMemory) -> None:
        user.write(et.U32.pack(int(dev.features & mask != 0)), 4)

    return get


def _set_one(mask: int) -> Handler:
    def set(dev: NetDevice, user: UserMemory) -> None:
        """EOPNOTSUPP when the device can change none of them."""
        on: int = et.U32.unpack(user.read(4, 4))[0]
        can = mask & dev.hw_features
        if not can:
            raise err(errno.EOPNOTSUPP)
        _want(dev, can, can if on else 0)

    return set


def _gflags(dev: NetDevice, user: UserMemory) -> None:
    user.write(et.U32.pack(sum(flag for flag, feature in _FLAGS.items() if dev.features & feature)), 4)


def _sflags(dev: NetDevice, user: UserMemory) -> None:
    """__ethtool_set_flags(). EINVAL for other flags, and for a change that the device cannot make."""
    flags: int = et.U32.unpack(user.read(4, 4))[0]
    if flags & ~sum(_FLAGS):
        raise err(errno.EINVAL)
    features = sum(feature for flag, feature in _FLAGS.items() if flags & flag)
    changed = (features ^ dev.features) & sum(_FLAGS.values())
    if changed & ~dev.hw_features:
        raise err(errno.EOPNOTSUPP if changed & dev.hw_features == 0 else errno.EINVAL)
    _want(dev, changed, features)


HANDLERS: Final[dict[int, Handler]] = {
    et.ETHTOOL_GFEATURES: _gfeatures,
    et.ETHTOOL_SFEATURES: _sfeatures,
    et.ETHTOOL_GFLAGS: _gflags,
    et.ETHTOOL_SFLAGS: _sflags,
    **{get: _get_one(mask) for get, _, mask in _ONE_BY_ONE},
    **{set: _set_one(mask) for _, set, mask in _ONE_BY_ONE},
}
