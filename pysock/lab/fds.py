"""The fd tables of hosts that live in one program.

Each host owns its descriptors and loses them when it crashes; but one program holds them all, and its event loop may
wait for sockets of several hosts at once. So a number means the same everywhere: the tables show one dict, and keep
who owns what.
"""

from __future__ import annotations

from pysock.vfs.fdnum import FdNumbers, PlaceholderFds, VirtualFds
from pysock.vfs.fdtable import FdTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    from pysock.vfs.file import File
    from pysock.vfs.task import Task

_VIRTUAL = VirtualFds().base


class ProgramFds(FdNumbers):
    """Virtual numbers, which cost nothing; placeholders while ``real`` is set, for programs that are patched."""

    __slots__ = ("_placeholders", "_virtual", "real")

    def __init__(self, real: bool = False) -> None:
        self.real = real
        self._virtual = VirtualFds()
        self._placeholders = PlaceholderFds()

    def _of(self, fd: int) -> FdNumbers:
        return self._virtual if fd >= _VIRTUAL else self._placeholders

    def reserve(self, used: Container[int], limit: int, cloexec: bool, nonblock: bool) -> int:
        chosen = self._placeholders if self.real else self._virtual
        return chosen.reserve(used, limit, cloexec, nonblock)

    def duplicate(self, used: Container[int], limit: int, fd: int, minimum: int, cloexec: bool) -> int:
        return self._of(fd).duplicate(used, limit, fd, minimum, cloexec)

    def replace(self, limit: int, fd: int, target: int, cloexec: bool) -> None:
        self._of(fd).replace(limit, fd, target, cloexec)

    def release(self, fd: int) -> None:
        self._of(fd).release(fd)

    def set_cloexec(self, fd: int, cloexec: bool) -> None:
        self._of(fd).set_cloexec(fd, cloexec)

    def set_nonblock(self, fd: int, nonblock: bool) -> None:
        self._of(fd).set_nonblock(fd, nonblock)


class Program:
    """What the tables of one program share."""

    __slots__ = ("cloexec", "files", "numbers", "owners")

    def __init__(self, real: bool = False) -> None:
        self.numbers = ProgramFds(real)
        self.files: dict[int, File] = {}
        self.cloexec: set[int] = set()
        self.owners: dict[int, HostFds] = {}

    def adopt(self, task: Task) -> None:
        """Make this the program that ``task`` runs already, with what it has open."""
        self.files = task.files.files
        self.cloexec = task.files.cloexec
        table = HostFds(self)
        self.owners.update(dict.fromkeys(self.files, table))
        task.files = table


class HostFds(FdTable):
    """One host's share. Every open fd of the program is found in it; `close_all` closes the host's own."""

    __slots__ = ("_owners",)

    def __init__(self, program: Program) -> None:
        super().__init__(program.numbers)
        self.files = program.files
        self.cloexec = program.cloexec
        self._owners = program.owners

    def install(self, file: File, cloexec: bool = False) -> int:
        fd = super().install(file, cloexec)
        self._owners[fd] = self
        return fd

    def _put_in(self, fd: int, file: File, cloexec: bool) -> None:
        super()._put_in(fd, file, cloexec)
        self._owners[fd] = self

    def close(self, fd: int) -> None:
        self._owners.pop(fd, None)
        super().close(fd)

    def forget(self, fd: int) -> None:
        self._owners.pop(fd, None)
        super().forget(fd)

    def owned(self) -> list[int]:
        """The host's fds, lowest first."""
        return sorted(fd for fd, owner in self._owners.items() if owner is self)

    def __repr__(self) -> str:
        return f"<HostFds: {len(self.owned())} open>"
