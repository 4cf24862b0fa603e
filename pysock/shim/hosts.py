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

    #: (family, numeric host)
    Entry = tuple[int, str]

DEFAULT_HOSTNAME = "pysock"
#: Debian's place for a host's own name.
_OWN_ADDRESS = (AF_INET, "127.0.1.1")


class Hosts:
    """/etc/hosts and /etc/hostname of one namespace. Names are compared without regard to case.

    What is not found here is looked up in ``beyond``, a table that many hosts share and that knows this host's own name
    too; ``bare`` makes such a table.
    """

    __slots__ = ("_beyond", "_by_name", "_lines", "hostname")

    def __init__(self, hostname: str = DEFAULT_HOSTNAME, *, beyond: Hosts | None = None, bare: bool = False) -> None:
        self.hostname = hostname
        self._beyond = beyond
        self._lines: list[tuple[Entry, tuple[str, ...]]] = []
        self._by_name: dict[str, list[Entry]] = {}
        if bare:
            return
        self.add("127.0.0.1", "localhost")
        self.add("::1", "localhost", "ip6-localhost", "ip6-loopback")
        if beyond is None:
            self.add("127.0.1.1", hostname)

    def add(self, address: str, *names: str) -> None:
        """Like a line of /etc/hosts: the first name is the canonical one. ValueError unless ``address`` is numeric."""
        entry = canonical(address)
        if entry is None:
            raise ValueError(f"not a numeric address: {address!r}")
        keys = tuple(map(_key, names))
        self._lines.append((entry, keys))
        for key in keys:
            entries = self._by_name.setdefault(key, [])
            if entry not in entries:
                entries.append(entry)

    def rename(self, hostname: str) -> None:
        """sethostname(2): the host's own line has the new name instead of the old one."""
        self._forget_own()
        self.hostname = hostname
        self.add(_OWN_ADDRESS[1], hostname)

    def widen(self, beyond: Hosts) -> None:
        """From now on look up in ``beyond`` what is not found here, this host's own name too."""
        self._forget_own()
        self._beyond = beyond

    def _forget_own(self) -> None:
        kept = [line for line in self._lines if line != (_OWN_ADDRESS, (_key(self.hostname),))]
        self._lines.clear()
        self._by_name.clear()
        for (_, address), names in kept:
            self.add(address, *names)

    def addresses(self, name: str) -> list[Entry] | None:
        """``(family, numeric host)`` of everything called ``name``, in the order of their lines; None when unknown."""
        found = self._by_name.get(_key(name))
        return found if found is not None or self._beyond is None else self._beyond.addresses(name)

    def names(self, address: str) -> list[str]:
        """The names of a numeric ``address``, the canonical one first; [] when it has none. The first line counts."""
        entry = canonical(address)
        for known, names in self._lines:
            if known == entry:
                return list(names)
        return [] if self._beyond is None else self._beyond.names(address)

    def aliases(self, name: str, family: int) -> list[str]:
        """All names on the lines where ``name`` stands, the canonical one first; only lines of ``family``."""
        key = _key(name)
        lines = [names for entry, names in self._lines if key in names and entry[0] == family]
        if not lines and self._beyond is not None:
            return self._beyond.aliases(name, family)
        return list(dict.fromkeys(name for names in lines for name in names))


def _key(name: str) -> str:
    return name.lower().rstrip(".")


def canonical(address: str) -> Entry | None:
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
