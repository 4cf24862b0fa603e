"""LACPDUs: the link aggregation control protocol's only message (IEEE 802.1AX 6.4.2), a slow protocol (0x8809).

Each side tells what it is (actor) and what it last heard of the other (partner).
"""

from __future__ import annotations

from struct import Struct

from pysock.wire.addr import mac_ntoa
from pysock.wire.errors import Malformed
from pysock.wire.header import Buf, Header, fits, need, sized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

# Layout --------------------------------------------------------------------------------------------

LACPDU: Final = Struct("!BB BBH6sHHHB3x BBH6sHHHB3x BBH12x BB50x")
"""subtype, version; TLV type and length, then system priority, system, key, port priority, port, state, for the actor
and for the partner; the collector's type, length and maximum delay; the terminator's."""

HEADER_SIZE: Final = 110
SUBTYPE: Final = 1
VERSION: Final = 1
GROUP_ADDRESS: Final = b"\x01\x80\xc2\0\0\2"
_ACTOR, _PARTNER, _COLLECTOR = (1, 20), (2, 20), (3, 16)

# A participant's state
ACTIVITY: Final = 0x01  # speaks without being spoken to
SHORT_TIMEOUT: Final = 0x02  # wants to hear once a second, not twice a minute
AGGREGATION: Final = 0x04  # would share its link with others
SYNCHRONIZATION: Final = 0x08  # is in the right aggregator
COLLECTING: Final = 0x10  # receives
DISTRIBUTING: Final = 0x20  # sends
DEFAULTED: Final = 0x40  # has heard nothing of the other
EXPIRED: Final = 0x80  # has heard nothing for too long


class Participant(Header):
    """One end of one link. ``system`` is 6 bytes, ``state`` the bits above."""

    fields: ClassVar[tuple[str, ...]] = ("system_priority", "system", "key", "port_priority", "port", "state")
    __slots__ = fields

    def __init__(
        self, system_priority: int, system: bytes, key: int, port_priority: int, port: int, state: int
    ) -> None:
        self.system_priority = system_priority
        self.system = system
        self.key = key
        self.port_priority = port_priority
        self.port = port
        self.state = state


class Lacpdu(Header):
    """``max_delay`` is the collector's, in tens of microseconds."""

    fields: ClassVar[tuple[str, ...]] = ("actor", "partner", "max_delay")
    __slots__ = fields

    def __init__(self, actor: Participant, partner: Participant, max_delay: int = 0) -> None:
        self.actor = actor
        self.partner = partner
        self.max_delay = max_delay

    @property
    def size(self) -> int:
        """Bytes of the message on the wire."""
        return HEADER_SIZE


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0) -> Lacpdu:
    """The LACPDU at ``offset``, behind the Ethernet header. Raises Malformed, also for other slow protocols."""
    need(buf, offset, HEADER_SIZE, "LACPDU")
    f = LACPDU.unpack_from(buf, offset)
    if f[0] != SUBTYPE:
        raise Malformed(f"slow protocol {f[0]}")
    if (f[2:4], f[10:12], f[18:20]) != (_ACTOR, _PARTNER, _COLLECTOR):
        raise Malformed("LACPDU whose parts are not where they should be")
    return Lacpdu(Participant(*f[4:10]), Participant(*f[12:18]), f[20])


# Build ---------------------------------------------------------------------------------------------


def build(pdu: Lacpdu) -> bytes:
    """A whole LACPDU."""
    return LACPDU.pack(
        SUBTYPE, VERSION, *_ACTOR, *_packed(pdu.actor), *_PARTNER, *_packed(pdu.partner), *_COLLECTOR,
        fits(pdu.max_delay, 16, "max delay"), 0, 0,
    )  # fmt: skip


def _packed(one: Participant) -> tuple[int, bytes, int, int, int, int]:
    return (
        fits(one.system_priority, 16, "system priority"),
        sized(one.system, 6, "system"),
        fits(one.key, 16, "key"),
        fits(one.port_priority, 16, "port priority"),
        fits(one.port, 16, "port"),
        fits(one.state, 8, "state"),
    )


# Pretty-print --------------------------------------------------------------------------------------

_NAMES = (
    "Activity", "Timeout", "Aggregation", "Synchronization", "Collecting", "Distributing", "Default", "Expired",
)  # fmt: skip


def state_text(state: int) -> str:
    """``Activity, Aggregation``; ``none`` for no bit."""
    return ", ".join(name for bit, name in enumerate(_NAMES) if state >> bit & 1) or "none"


def describe(pdu: Lacpdu, payload: bytes = b"") -> str:
    """``LACPv1, actor 02:00:00:00:00:01 port 1 [Activity], partner ... port 0 [none], length 110``."""
    ends = (
        f"{name} {mac_ntoa(one.system)} port {one.port} [{state_text(one.state)}]"
        for name, one in (("actor", pdu.actor), ("partner", pdu.partner))
    )
    return f"LACPv{VERSION}, {', '.join(ends)}, length {pdu.size}"
