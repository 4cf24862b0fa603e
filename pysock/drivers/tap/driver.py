"""The TAP driver as plugins see it. What a device needs is imported when the first one is made: cffi is not free."""

from __future__ import annotations

import errno

from pysock.core.device_ops import Driver
from pysock.core.errors import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.drivers.tap.service import Service


class TapDriver(Driver):
    """A device of ours, wired to a TUN or TAP device of the operating system.

        create_device(net, "tap", "eth0", tap="pysock0")

    Options: ``tap``, the real device's name (made if there is none; by default the kernel chooses one; see
    `TapOps.queue.name`), or ``queue``, a `TunQueue` that is attached to one already; ``mode``, "tap" (Ethernet) or
    "tun" (IP); ``vnet_hdr`` and ``offloads`` (both True): packets without checksums, and super-segments, to the kernel
    and from it; ``multi_queue``, to attach to a device made with several queues; ``persist``, True or False: whether
    the real device stays after us; ``owner``, the user id that may attach to it without being root.
    """

    __slots__ = ("_service",)
    name = "tap"
    device_name = "tap%d"
    options = ("tap", "mode", "vnet_hdr", "offloads", "multi_queue", "persist", "owner", "queue")

    def __init__(self) -> None:
        self._service: Service | None = None

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        """EINVAL in virtual time, where the real network has no place, and for options of another type. The real device
        is opened when ours is registered: see `TunQueue` for what can be missing.
        """
        if kernel.clock.virtual:
            raise err(errno.EINVAL, "a TAP connects to real time: boot the kernel with clock='real'")
        from pysock.core.device import alloc_netdev
        from pysock.drivers.tap.device import Settings, TapOps, setup

        ops = TapOps(Settings(options), self.service(kernel))
        dev = alloc_netdev(kernel, name or ops.settings.tap or self.device_name, lambda dev: setup(dev, ops), net)
        dev.driver = self
        return dev

    def service(self, kernel: Kernel) -> Service:
        """The thread that waits for the real devices of ``kernel``."""
        if self._service is None:
            from pysock.drivers.tap.service import Service

            self._service = Service(kernel)
        return self._service
