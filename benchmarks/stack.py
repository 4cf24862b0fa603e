"""A stack is one side of a comparison: which socket module a row calls, and inside which patch it runs."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import socket


class SocketModule(Protocol):
    """The part of the `socket` module that the rows use; `socket` and `pysock` both have this shape."""

    @property
    def socket(self) -> type[socket.socket]:
        """The socket class."""
        ...

    @property
    def AF_INET(self) -> int: ...
    @property
    def SOCK_STREAM(self) -> int: ...
    @property
    def SOCK_DGRAM(self) -> int: ...
    @property
    def IPPROTO_TCP(self) -> int: ...
    @property
    def TCP_NODELAY(self) -> int: ...


class PatchingModule(Protocol):
    """The part of `pysock` that swaps the network under unmodified programs."""

    def patch(self) -> AbstractContextManager[object]:
        """A context in which socket, select and what stands on them use pysock."""
        ...


@dataclass(frozen=True, slots=True)
class Stack:
    """One side.

    `module` is what rows that take a socket module call directly; `imports` is what the import row imports.
    `patch_programs` runs the rows that are whole programs (asyncio, http) inside `pysock.patch()`;
    `patch_sockets` does the same to the rows that take a module.
    """

    name: str
    module: str
    imports: str
    patch_programs: bool = False
    patch_sockets: bool = False

    @property
    def net(self) -> SocketModule:
        """The socket module, imported when first asked for."""
        return cast(SocketModule, importlib.import_module(self.module))

    def environment(self, *, program: bool) -> AbstractContextManager[object]:
        """The context to run a row in; `program` says that the row uses the stdlib's modules by name."""
        if self.patch_programs if program else self.patch_sockets:
            return cast(PatchingModule, importlib.import_module("pysock")).patch()
        return nullcontext()


KERNEL = Stack("kernel", module="socket", imports="socket")
PYSOCK = Stack("pysock", module="pysock", imports="pysock", patch_programs=True)
PATCHED = Stack("patched", module="socket", imports="pysock", patch_programs=True, patch_sockets=True)

STACKS = {stack.name: stack for stack in (KERNEL, PYSOCK, PATCHED)}
