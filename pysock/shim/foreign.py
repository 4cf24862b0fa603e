"""The operating system's descriptors among ours: pipes, ttys and files in the same poll, select or epoll.

They are kept in a real epoll. A thread that waits sleeps on that epoll's own descriptor beside its wake-up
(`Sleeper.wait_on`).
"""

from __future__ import annotations

from pysock.shim.real import select_epoll
from pysock.uapi.poll import POLLNVAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: What poll(2) says at once of a file that always is ready, such as a regular one: epoll refuses those.
_ALWAYS = 0x1 | 0x4 | 0x40 | 0x100


class Foreign:
    """A `ForeignPoller`: a real epoll in a thin coat."""

    __slots__ = ("_epoll", "fileno", "modify", "register", "unregister")

    def __init__(self) -> None:
        self._epoll = real = select_epoll()
        self.fileno = real.fileno
        self.register = real.register
        self.modify = real.modify
        self.unregister = real.unregister

    def poll(self) -> list[tuple[int, int]]:
        """``(fd, events)`` of what is ready now."""
        return self._epoll.poll(0)

    def close(self) -> None:
        """Close the real epoll."""
        self._epoll.close()


class ForeignSet(Foreign):
    """The real descriptors of one call to poll or select: ``answers`` holds what is known without waiting."""

    __slots__ = ("answers",)

    def __init__(self, ufds: Iterable[tuple[int, int]]) -> None:
        super().__init__()
        self.answers: list[tuple[int, int]] = []
        for fd, events in ufds:
            try:
                self.register(fd, events)
            except PermissionError:
                if events & _ALWAYS:
                    self.answers.append((fd, events & _ALWAYS))
            except OSError:
                self.answers.append((fd, POLLNVAL))
