"""The protocol switch (inetsw): which protocol answers for a socket type and protocol number.

`lookup` follows inet_create(): entries of the type are tried in order; an exact protocol match wins, protocol 0 from
the user means "the type's default", and an entry with protocol IPPROTO_IP is a wildcard that takes any number (raw).
An entry marked permanent cannot be overridden or removed; new entries are tried before the older non-permanent ones
but never before the permanent ones of the same protocol (inet_register_protosw).
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.uapi.in_ import IPPROTO_IP
from pysock.uapi.socket import SOCK_PACKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.sock import Proto, ProtoOps
    from pysock.families.inet.inet_sock import InetSock

SOCK_MAX = SOCK_PACKET + 1


class ProtoswEntry:
    """One row (struct inet_protosw). ``sock_class`` is the Sock to make; ``init`` finishes it once it is made."""

    __slots__ = ("capability", "ops", "permanent", "prot", "protocol", "reuse", "sock_class", "type")

    def __init__(
        self,
        type: int,
        protocol: int,
        prot: Proto,
        ops: ProtoOps,
        sock_class: type[InetSock],
        *,
        permanent: bool = False,
        reuse: bool = False,
        capability: int | None = None,
    ) -> None:
        self.type = type
        self.protocol = protocol
        self.prot = prot
        self.ops = ops
        self.sock_class = sock_class
        self.permanent = permanent
        self.reuse = reuse
        self.capability = capability


class ProtocolSwitch:
    """inetsw[]: rows by socket type. One per Kernel."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[int, list[ProtoswEntry]] = {}

    def register(self, entry: ProtoswEntry) -> None:
        """inet_register_protosw(). EINVAL for a type out of range, EPERM where a permanent row stands in the way."""
        if not 0 < entry.type < SOCK_MAX:
            raise err(errno.EINVAL, f"socket type {entry.type} is out of range")
        rows = self._rows.setdefault(entry.type, [])
        place = 0
        for index, row in enumerate(rows):
            if row.permanent:
                if row.protocol == entry.protocol:
                    raise err(errno.EPERM, f"protocol {entry.protocol} of type {entry.type} is permanent")
                place = index + 1
        rows.insert(place, entry)

    def unregister(self, entry: ProtoswEntry) -> None:
        """inet_unregister_protosw(). EPERM for a permanent row, ENOENT for one that is not there."""
        if entry.permanent:
            raise err(errno.EPERM)
        rows = self._rows.get(entry.type, [])
        if entry not in rows:
            raise err(errno.ENOENT)
        rows.remove(entry)

    def lookup(self, type: int, protocol: int) -> tuple[ProtoswEntry, int]:
        """The row for a new socket, and the protocol number it will have.

        ESOCKTNOSUPPORT when no row has the type, EPROTONOSUPPORT when none of them takes the protocol.
        """
        rows = self._rows.get(type)
        if not rows:
            raise err(errno.ESOCKTNOSUPPORT)
        for row in rows:
            if protocol == row.protocol:
                if protocol != IPPROTO_IP:
                    return row, protocol
            elif protocol == IPPROTO_IP:
                return row, row.protocol
            elif row.protocol == IPPROTO_IP:
                return row, protocol
        raise err(errno.EPROTONOSUPPORT)
