"""What a driver tells and lets be changed through SIOCETHTOOL (struct ethtool_ops).

A driver derives from `EthtoolOps`, overrides what its device has, and puts an instance into `dev.ethtool_ops`; one may
serve many devices. What it does not override is answered with EOPNOTSUPP, as Linux answers for a missing function. The
values that go in and out are in core/ethtool_types.py; core/ethtool.py checks what a program asks for before it calls.

Every method runs under the kernel lock, the device registered and present. It may raise OSError, which the program
gets; anything else is reported and comes out as EIO.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysock.core.ethtool_types import (
        Channels,
        Coalesce,
        DrvInfo,
        LinkSettings,
        PauseParam,
        RingParam,
        TsInfo,
        WolInfo,
    )
    from pysock.core.netdevice import NetDevice


class EthtoolOps:
    """A device that has nothing of its own to tell."""

    __slots__ = ()

    #: The fields of `Coalesce` that set_coalesce understands; another that is not zero is refused (EOPNOTSUPP).
    supported_coalesce: tuple[str, ...] = ()

    # -- what it is ------------------------------------------------------------------------------------------

    def get_drvinfo(self, dev: NetDevice) -> DrvInfo:
        """Name and versions of the driver. A device made by `create_device` has its kind's name without this."""
        raise err(errno.EOPNOTSUPP)

    def get_link(self, dev: NetDevice) -> bool:
        """Whether there is a link; asked of a running device only. `ethtool_op_get_link` is the usual answer."""
        raise err(errno.EOPNOTSUPP)

    def get_ts_info(self, dev: NetDevice) -> TsInfo:
        """Who puts time stamps on packets; the default is what the stack does for every device."""
        from pysock.core.ethtool_types import TsInfo

        return TsInfo()

    def get_strings(self, dev: NetDevice, stringset: int) -> Sequence[str]:
        """The names of what the set (ETH_SS_TEST, ETH_SS_STATS) has, at most 31 bytes each; EOPNOTSUPP for one that
        the device does not have. Their number is the answer to get_sset_count.
        """
        raise err(errno.EOPNOTSUPP)

    def get_ethtool_stats(self, dev: NetDevice) -> Sequence[int]:
        """The device's own counters, one for each string of ETH_SS_STATS."""
        raise err(errno.EOPNOTSUPP)

    def get_regs(self, dev: NetDevice) -> tuple[int, bytes]:
        """A version for whoever interprets them, and the registers."""
        raise err(errno.EOPNOTSUPP)

    def get_eeprom_len(self, dev: NetDevice) -> int:
        """How many bytes the EEPROM has."""
        raise err(errno.EOPNOTSUPP)

    def get_eeprom(self, dev: NetDevice, offset: int, length: int) -> tuple[int, bytes]:
        """The driver's magic number and ``length`` bytes; they lie within get_eeprom_len."""
        raise err(errno.EOPNOTSUPP)

    def set_eeprom(self, dev: NetDevice, magic: int, offset: int, data: bytes) -> None:
        """Write; the same bounds. EINVAL for another magic number than get_eeprom gave."""
        raise err(errno.EOPNOTSUPP)

    def self_test(self, dev: NetDevice, flags: int) -> tuple[int, Sequence[int]]:
        """Test the device, with ETH_TEST_FL_OFFLINE in ``flags`` as thoroughly as disturbs it. The flags with
        ETH_TEST_FL_FAILED if something failed, and a result for each string of ETH_SS_TEST (0: good).
        """
        raise err(errno.EOPNOTSUPP)

    # -- the link --------------------------------------------------------------------------------------------

    def get_link_ksettings(self, dev: NetDevice) -> LinkSettings:
        raise err(errno.EOPNOTSUPP)

    def set_link_ksettings(self, dev: NetDevice, settings: LinkSettings) -> None:
        """EINVAL for what the device cannot do."""
        raise err(errno.EOPNOTSUPP)

    def nway_reset(self, dev: NetDevice) -> None:
        """Negotiate anew. EINVAL when negotiation is off."""
        raise err(errno.EOPNOTSUPP)

    def get_pauseparam(self, dev: NetDevice) -> PauseParam:
        raise err(errno.EOPNOTSUPP)

    def set_pauseparam(self, dev: NetDevice, pause: PauseParam) -> None:
        raise err(errno.EOPNOTSUPP)

    def get_wol(self, dev: NetDevice) -> WolInfo:
        raise err(errno.EOPNOTSUPP)

    def set_wol(self, dev: NetDevice, wol: WolInfo) -> None:
        """``wol.wolopts`` is within what get_wol supports."""
        raise err(errno.EOPNOTSUPP)

    # -- rings, queues, interrupts ---------------------------------------------------------------------------

    def get_ringparam(self, dev: NetDevice) -> RingParam:
        raise err(errno.EOPNOTSUPP)

    def set_ringparam(self, dev: NetDevice, ring: RingParam) -> None:
        """Use rings of these sizes; none is above the maximum that get_ringparam tells."""
        raise err(errno.EOPNOTSUPP)

    def get_channels(self, dev: NetDevice) -> Channels:
        raise err(errno.EOPNOTSUPP)

    def set_channels(self, dev: NetDevice, channels: Channels) -> None:
        """Use so many queues; none is above its maximum, and one can receive and one send."""
        raise err(errno.EOPNOTSUPP)

    def get_coalesce(self, dev: NetDevice) -> Coalesce:
        raise err(errno.EOPNOTSUPP)

    def set_coalesce(self, dev: NetDevice, coalesce: Coalesce) -> None:
        """Only fields of `supported_coalesce` are not zero."""
        raise err(errno.EOPNOTSUPP)

    def get_msglevel(self, dev: NetDevice) -> int:
        raise err(errno.EOPNOTSUPP)

    def set_msglevel(self, dev: NetDevice, level: int) -> None:
        raise err(errno.EOPNOTSUPP)


def ethtool_op_get_link(dev: NetDevice) -> bool:
    """Carrier is the link: get_link of most drivers."""
    return dev.carrier


def need(dev: NetDevice, *methods: str) -> EthtoolOps:
    """The device's operations; EOPNOTSUPP unless its driver has all of ``methods``."""
    ops = dev.ethtool_ops
    for method in methods:
        if getattr(type(ops), method) is getattr(EthtoolOps, method):
            raise err(errno.EOPNOTSUPP)
    return ops


#: Of devices whose driver says nothing.
NO_ETHTOOL_OPS = EthtoolOps()
