"""Net: one network namespace. Devices, packet types, sysctls, counters, and what the families keep per namespace.

The core knows no family. A family's state for a namespace (its tables, its routing, its counters) is one object that
it stores here by its class, with `Net.set`, when `pysock_net_init` runs, and fetches with `Net.get`. Packet handlers
are bound methods of such objects, so the packet path never looks a namespace up. A family that many namespaces never
use has `Net.later` make its object when somebody asks.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pysock.core.sock_limits import SockLimits
from pysock.core.sysctl import SysctlTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pysock.core.device import NetDevice
    from pysock.core.kernel import Kernel
    from pysock.core.skbuff import SkBuff

T = TypeVar("T")


class Net:
    """A network namespace (struct net).

    ``ptype_base`` maps an EtherType to the handlers of received packets, ``ptype_all`` lists the taps that see every
    packet of every device in both directions. Both hold tuples that are replaced, never changed: the packet path
    iterates over them while a handler may unregister itself.

    ``udp_gro(names, ifindex)`` tells GRO whether the socket that a datagram is for, by the addresses and ports in its
    header and the device it came in on, takes several glued together; None while no socket does. ``tx_stamps`` says
    that a socket asked when its packets leave (dev_xmit.enable_tx_stamps).
    """

    __slots__ = (
        "_later",
        "_state",
        "dev_by_index",
        "dev_by_name",
        "devices",
        "kernel",
        "last_ifindex",
        "loopback_dev",
        "name",
        "proc",
        "ptype_all",
        "ptype_base",
        "sock_limits",
        "sysctl",
        "tx_stamps",
        "udp_gro",
    )

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.name = name
        self.devices: list[NetDevice] = []
        self.dev_by_name: dict[str, NetDevice] = {}
        self.dev_by_index: dict[int, NetDevice] = {}
        self.last_ifindex = 0
        self.loopback_dev: NetDevice | None = None
        self.ptype_all: tuple[Callable[[SkBuff, NetDevice], None], ...] = ()
        self.ptype_base: dict[int, tuple[Callable[[SkBuff], object], ...]] = {}
        self.tx_stamps = False
        self.udp_gro: Callable[[bytes, int], bool] | None = None
        self.sysctl = SysctlTable()
        self.sock_limits = SockLimits(self.sysctl)
        self.proc: dict[str, Callable[[], str]] = {}  # "net/snmp" -> its text, as under /proc
        self._state: dict[type, object] = {}
        self._later: dict[str, Callable[[], None]] = {}

    def set(self, state: object) -> None:
        """Keep ``state`` as the namespace's object of its class."""
        self._state[type(state)] = state

    def get(self, cls: type[T]) -> T:
        """The object of class ``cls`` that `set` stored; KeyError when its family is not loaded."""
        try:
            return self._state[cls]  # type: ignore[return-value]  # keyed by its own class
        except KeyError:
            self.make(f"{cls.__module__}.{cls.__qualname__}")
            return self._state[cls]  # type: ignore[return-value]  # as above

    def has(self, cls: type) -> bool:
        """Whether `get` has an answer."""
        return cls in self._state or f"{cls.__module__}.{cls.__qualname__}" in self._later

    def made(self, cls: type[T]) -> T | None:
        """The object of class ``cls`` if it is there already."""
        return self._state.get(cls)  # type: ignore[return-value]  # as above

    def later(self, name: str, make: Callable[[], None], *, sysctl: str, proc: Iterable[str] = ()) -> None:
        """Call ``make``, which stores the object of the class ``name`` ("package.module.Class") and sets up what goes
        with it, when somebody first asks for the object, a sysctl below the directory ``sysctl``, or one of the files
        ``proc``, which it makes, too.
        """
        self._later[name] = make
        self.sysctl.register_lazy(sysctl, partial(self.make, name))
        for file in proc:
            self.proc[file] = partial(self._proc_text, name, file)

    def waits_for(self, name: str) -> bool:
        """Whether what `later` put off under ``name`` is still to be done."""
        return name in self._later

    def make(self, name: str) -> None:
        """Do now what `later` put off under ``name``, unless that is done."""
        if name in self._later:
            with self.kernel.lock:
                make = self._later.pop(name, None)
                if make is not None:
                    make()

    def _proc_text(self, name: str, file: str) -> str:
        self.make(name)
        return self.proc[file]()

    def new_ifindex(self) -> int:
        """dev_new_index()."""
        self.last_ifindex += 1
        return self.last_ifindex

    def __repr__(self) -> str:
        return f"<Net {self.name!r}: {', '.join(d.name for d in self.devices) or 'no devices'}>"
