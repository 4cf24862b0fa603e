"""The table of protocol families of one Kernel (net_families), and the way into it.

sock_register() takes a family in, sock_unregister() out; `FamilyRegistry.create` is __sock_create(): it asks the
plugins once for a family nobody has registered (Linux: request_module("net-pf-N")) before it answers EAFNOSUPPORT.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.sock import NetProtoFamily, Socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.capability import Credentials
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net

#: Highest family number + 1 (AF_MAX of Linux 6).
AF_MAX = 46


class LazyFamily(NetProtoFamily):
    """Stands in the table for the family that ``load`` imports and makes, until its first socket."""

    __slots__ = ("load",)

    def __init__(self, family: int, name: str, load: Callable[[], NetProtoFamily]) -> None:
        super().__init__(family, name)
        self.load = load

    def create(self, net: Net, creds: Credentials, sock: Socket, protocol: int) -> None:
        net.kernel.families.loaded(self.family).create(net, creds, sock, protocol)


class FamilyRegistry:
    """net_families[]: AF_ number -> NetProtoFamily."""

    __slots__ = ("_asked", "_kernel", "_owner", "table")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.table: dict[int, NetProtoFamily] = {}
        self._owner: dict[int, str] = {}
        self._asked: set[int] = set()

    def register(self, family: NetProtoFamily, owner: str = "caller") -> None:
        """sock_register(): EEXIST when the number is taken, ENOBUFS when it is out of range."""
        number = family.family
        if not 0 < number < AF_MAX:
            raise err(errno.ENOBUFS, f"protocol family number {number} is not in 1..{AF_MAX - 1}")
        if number in self.table:
            raise err(errno.EEXIST, f"family {number} is already registered by {self._owner[number]}")
        self.table[number] = family
        self._owner[number] = owner

    def unregister(self, number: int) -> None:
        """sock_unregister(): sockets that exist live on, new ones get EAFNOSUPPORT."""
        if self.table.pop(number, None) is None:
            raise err(errno.ENOENT)
        del self._owner[number]

    def loaded(self, number: int) -> NetProtoFamily:
        """The family itself, imported now if it was not. KeyError when nobody has registered it."""
        family = self.table[number]
        if isinstance(family, LazyFamily):
            family = self.table[number] = family.load()
        return family

    def create(self, net: Net, creds: Credentials, family: int, type: int, protocol: int) -> Socket:
        """Make a Socket of ``family``. EAFNOSUPPORT when nobody knows the family, else what the family says.

        A plugin's create() that raises something that is no OSError is reported under its name and becomes ENFILE-like
        EPROTONOSUPPORT for the caller: one broken family takes nothing else down.
        """
        entry = self.table.get(family)
        if entry is None:
            entry = self._request(family)
        sock = Socket(type)
        try:
            entry.create(net, creds, sock, protocol)
        except OSError:
            raise
        except Exception as exc:
            self._kernel.errors.report(self._owner[family], f"create socket of family {family}", exc)
            raise err(errno.EPROTONOSUPPORT) from exc
        if len(self._kernel.cpus) > 1:
            from pysock.core.smp import watch_socket

            watch_socket(sock)
        return sock

    def _request(self, family: int) -> NetProtoFamily:
        if 0 < family < AF_MAX and family not in self._asked:
            self._asked.add(family)
            self._kernel.plugins.call_registration("pysock_request_family", self.registrar, family=family)
        entry = self.table.get(family)
        if entry is None:
            raise err(errno.EAFNOSUPPORT)
        return entry

    def registrar(self, owner: str) -> tuple[Callable[[NetProtoFamily], None], Callable[[], None]]:
        """What one plugin gets to register with, and how to take back what it registered if it fails halfway."""
        mine: list[int] = []

        def register(family: NetProtoFamily) -> None:
            self.register(family, owner)
            mine.append(family.family)

        def rollback() -> None:
            for number in mine:
                self.unregister(number)

        return register, rollback
