"""Inode: what fstat(2) sees of an open file."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.sock import Socket


class Inode:
    """struct inode, as far as sockets need one. ``i_mode`` holds an S_IF* type and permission bits."""

    __slots__ = ("i_ino", "i_mode", "socket")

    def __init__(self, i_ino: int, i_mode: int, socket: Socket | None = None) -> None:
        self.i_ino = i_ino
        self.i_mode = i_mode
        self.socket = socket

    def __repr__(self) -> str:
        return f"<Inode {self.i_ino} mode={self.i_mode:o}>"
