"""The hosts table of a network namespace: the only name server that a program under pysock can reach.

It knows "localhost", the host's own name, and what was added; it never asks the machine's resolver, so that a test
means the same everywhere. `names.py` answers getaddrinfo and its relatives from it.
"""

from __future__ import annotations

from pysock.shim.real import inet_ntop, inet_pton
from pysock.uapi.socket import AF_INET, AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.net import Net

DEFAULT_HOSTNAME = "pysock"


class Hosts:
    """/etc/hosts and /etc/hostname of one namespace. Names are compared without regard to case."""

    __slots__ = ("_by_address", "_by_name", "hostname")

    def __init__(self, hostname: str = DEFAULT_HOSTNAME) -> None:
        self.hostname = hostname
        self._by_name: dict[str, list[tuple[int, str]]] = {}
        self._by_address: dict[tuple[int, str], list[str]] = {}
        self.add("127.0.0.1", "localhost")
        self.add("::1", "localhost", "ip6-localhost", "ip6-loopback")
        self.add("127.0.1.1", hostname)

    def add(self, address: str, *names: str) -> None:
        """Like a line of /etc/hosts: the first name is the canonical one. ValueError unless ``address`` is numeric."""
        entry = canonical(address)
        if entry is None:
            raise ValueError(f"not a numeric address: {address!r}")
        known = self._by_address.setdefault(entry, [])
        for name in names:
            key = name.lower().rstrip(".")
            if key not in known:
                known.append(key)
            entries = self._by_name.setdefault(key, [])
            if entry not in entries:
                entries.append(entry)

    def addresses(self, name: str) -> list[tuple[int, str]] | None:
        """``(family, numeric host)`` of everything called ``name``, in the order of their lines; None when unknown."""
        return self._by_name.get(name.lower().rstrip("."))

    def names(self, address: str) -> list[str]:
        """All names of a numeric ``address``, the canonical one first; [] when it has none."""
        entry = canonical(address)
        return list(self._by_address.get(entry, ())) if entry is not None else []


def canonical(address: str) -> tuple[int, str] | None:
    """``(family, address)`` in the spelling of inet_ntop; None when ``address`` is no numeric address."""
    for family in (AF_INET, AF_INET6):
        try:
            return family, inet_ntop(family, inet_pton(family, address))
        except OSError:
            continue
    return None


def hosts_of(net: Net) -> Hosts:
    """The hosts table of ``net``, made on first use."""
    if not net.has(Hosts):
        net.set(Hosts())
    return net.get(Hosts)
