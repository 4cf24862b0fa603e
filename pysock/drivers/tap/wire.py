"""TapPort: the wire end of a simulated card, in a TAP device of the operating system.

    create_device(net, "e100", "eth0", wire=TapPort(kernel, "pysock0"))

What the card sends the real kernel receives, and the other way round, bare frames. There is a link while the real
device is up. Frames from there are padded to what a wire carries; a card has no use for offloads.
"""

from __future__ import annotations

import errno
import os

from pysock.core.errors import err
from pysock.core.wire import ABLE_10FULL, ABLE_10HALF, ABLE_100FULL, ABLE_100HALF, WireClient, WirePort
from pysock.drivers.tap.chardev import TunQueue
from pysock.drivers.tap.driver import TapDriver
from pysock.drivers.tap.service import IN, OUT, Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.kernel import Kernel

_read = os.read  # before a patch
_write = os.write

_ABILITIES: Final = ABLE_10HALF | ABLE_10FULL | ABLE_100HALF | ABLE_100FULL
_BURST: Final = 64  # frames read before others have their turn
_FRAME_MAX: Final = 65536 + 64
_FRAME_MIN: Final = 60


class TapPort(WirePort):
    """``queue`` is the real device. Counts ``lost`` frames, which the real device did not take. Under the kernel lock,
    but for making one.
    """

    __slots__ = ("_linked", "_service", "_waits", "lost", "queue")

    def __init__(self, kernel: Kernel, tap: str | None = None) -> None:
        """Open the device ``tap``, made if there is none (None: the kernel chooses a name). EINVAL in virtual time,
        errors of `TunQueue`.
        """
        if kernel.clock.virtual:
            raise err(errno.EINVAL, "a TAP connects to real time: boot the kernel with clock='real'")
        WirePort.__init__(self)
        driver = kernel.dev_layer.drivers.get("tap")
        self._service = driver.service(kernel) if isinstance(driver, TapDriver) else Service(kernel)
        self._linked = False
        self._waits = b""  # a frame for which there is no room yet
        self.lost = 0
        self.queue = TunQueue(tap, vnet_hdr=False)

    # -- the card ------------------------------------------------------------------------------------------

    def attach(self, client: WireClient) -> None:
        """Start to listen. ENODEV when it was unplugged before: the real device is let go of then."""
        if self.queue.fd < 0:
            raise err(errno.ENODEV, f"the port in {self.queue.name} is closed: make another")
        self.client = client
        self._service.add(self.queue.fd, self._ready)
        self._service.want_write(self.queue.fd, True)  # which it is at once when the real end is up
        self._service.look()

    def detach(self) -> None:
        self.client = None
        self._linked = False
        self._service.remove(self.queue.fd)
        self.queue.close()

    def link(self) -> bool:
        return self._linked

    def partner(self) -> int:
        return _ABILITIES if self._linked else 0

    def transmit(self, frame: bytes) -> bool:
        if not self._linked:
            self.lost += 1
            return True
        try:
            _write(self.queue.fd, frame)
        except BlockingIOError:
            self._waits = frame
            self._service.want_write(self.queue.fd, True)
            return False
        except OSError as exc:
            self.lost += 1
            self._set_link(False)
            if exc.errno == errno.EIO:  # it is down, and can be written to again when it is up
                self._service.want_write(self.queue.fd, True)
            else:
                self._service.remove(self.queue.fd)
        return True

    # -- the real device -----------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        """The descriptor is ready. Under the kernel lock, in the service thread."""
        if events & OUT:
            self._service.want_write(self.queue.fd, False)
            self._set_link(True)
            frame, self._waits = self._waits, b""
            if frame and self.transmit(frame) and self.client is not None:
                self.client.transmit_done()
        if events & IN:
            self._receive()
        elif events & ~OUT:
            self._gone()

    def _receive(self) -> None:
        try:
            for _ in range(_BURST):
                frame = _read(self.queue.fd, _FRAME_MAX)
                if self.client is None:
                    return
                self.client.receive(frame.ljust(_FRAME_MIN, b"\0"), 0)
        except BlockingIOError:
            pass
        except OSError:
            self._gone()

    def _gone(self) -> None:
        """The real device was removed: nobody will ever write to it or read from it."""
        self._service.remove(self.queue.fd)
        self._set_link(False)

    def _set_link(self, up: bool) -> None:
        if up != self._linked:
            self._linked = up
            if self.client is not None:
                self.client.link_changed()
