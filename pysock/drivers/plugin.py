"""The plugin that brings pysock's own drivers. All but the loopback's are imported when their first device is made."""

from __future__ import annotations

from pysock.drivers.lazy import LazyDriver
from pysock.drivers.loopback import LoopbackDriver
from pysock.uapi.ioctl import SIOCBRADDBR, SIOCBRADDIF, SIOCBRDELBR, SIOCBRDELIF, SIOCGIFVLAN, SIOCSIFVLAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.device_ops import Driver
    from pysock.core.pci import PciDriver

_BRIDGE_IOCTLS = (SIOCBRADDBR, SIOCBRDELBR, SIOCBRADDIF, SIOCBRDELIF)


def pysock_register_drivers(register: Callable[[Driver], None]) -> None:
    register(LoopbackDriver())
    register(LazyDriver("dummy", "pysock.drivers.dummy", "DummyDriver"))
    register(LazyDriver("veth", "pysock.drivers.veth", "VethDriver"))
    register(LazyDriver("vlan", "pysock.drivers.vlan.device", "VlanDriver", (SIOCGIFVLAN, SIOCSIFVLAN)))
    register(LazyDriver("bond", "pysock.drivers.bonding.device", "BondDriver"))
    register(LazyDriver("macvlan", "pysock.drivers.macvlan", "MacvlanDriver"))
    register(LazyDriver("ifb", "pysock.drivers.ifb", "IfbDriver"))
    register(LazyDriver("bridge", "pysock.drivers.bridge.device", "BridgeDriver", _BRIDGE_IOCTLS))
    register(LazyDriver("tap", "pysock.drivers.tap.driver", "TapDriver"))
    register(LazyDriver("e100", "pysock.drivers.e100.kind", "E100Driver"))


def pysock_register_pci_drivers(register: Callable[[PciDriver], None]) -> None:
    from pysock.drivers.e100.driver import E100PciDriver

    register(E100PciDriver())
