"""A driver that is imported when its first device is made: for kinds that most kernels never have."""

from __future__ import annotations

from importlib import import_module

from pysock.core.device_ops import Driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.capability import Credentials
    from pysock.core.device import NetDevice
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net


class LazyDriver(Driver):
    """Stands in the driver table for the class ``driver`` of ``module``, which answers to the same ``ioctls``."""

    __slots__ = ("_class", "_driver", "_module", "ioctls", "name")

    def __init__(self, name: str, module: str, driver: str, ioctls: tuple[int, ...] = ()) -> None:
        self.name = name
        self.ioctls = ioctls
        self._module = module
        self._class = driver
        self._driver: Driver | None = None

    def driver(self) -> Driver:
        """The driver itself, imported now if it was not."""
        if self._driver is None:
            driver = getattr(import_module(self._module), self._class)()
            assert isinstance(driver, Driver)
            self._driver = driver
        return self._driver

    def setup(self, dev: NetDevice) -> None:
        self.driver().setup(dev)

    def ioctl(self, net: Net, creds: Credentials, cmd: int, arg: bytes) -> bytes:
        return self.driver().ioctl(net, creds, cmd, arg)

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        return self.driver().create(kernel, net, name, **options)
