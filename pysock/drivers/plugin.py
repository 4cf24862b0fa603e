"""The plugin that brings pysock's own drivers."""

from __future__ import annotations

from pysock.drivers.dummy import DummyDriver
from pysock.drivers.loopback import LoopbackDriver
from pysock.drivers.veth import VethDriver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.device_ops import Driver


def pysock_register_drivers(register: Callable[[Driver], None]) -> None:
    register(LoopbackDriver())
    register(DummyDriver())
    register(VethDriver())
