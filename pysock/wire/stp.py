"""The BPDUs of the spanning tree protocol: IEEE 802.1D-1998 clause 9, behind an 802.2 header with SAP 0x42.

A bridge identifier is 8 bytes, a priority and an Ethernet address; identifiers and costs compare as bytes and numbers,
lower is better. Times are units of 1/256 second.
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

LLC: Final = b"\x42\x42\x03"
"""DSAP, SSAP and control (an unnumbered information frame) in front of a BPDU."""

HEADER: Final = Struct("!HBB")
"""protocol (0), version (0), type."""

CONFIG: Final = Struct("!B8sI8sHHHHH")
"""What a configuration BPDU adds: flags, root, cost, bridge, port, message age, max age, hello time, forward delay."""

HEADER_SIZE: Final = 4
CONFIG_SIZE: Final = 31

TYPE_CONFIG: Final = 0x00
TYPE_TCN: Final = 0x80

FLAG_TC: Final = 0x01
FLAG_TC_ACK: Final = 0x80

TICKS: Final = 256  # a second's
GROUP_ADDRESS: Final = b"\x01\x80\xc2\0\0\0"


class ConfigBpdu(Header):
    """``root`` and ``bridge`` are 8 bytes; ``port`` is the sender's port identifier; times are in 1/256 s."""

    fields: ClassVar[tuple[str, ...]] = (
        "flags", "root", "cost", "bridge", "port", "message_age", "max_age", "hello_time", "forward_delay",
    )  # fmt: skip
    __slots__ = fields

    def __init__(
        self,
        flags: int,
        root: bytes,
        cost: int,
        bridge: bytes,
        port: int,
        message_age: int,
        max_age: int,
        hello_time: int,
        forward_delay: int,
    ) -> None:
        self.flags = flags
        self.root = root
        self.cost = cost
        self.bridge = bridge
        self.port = port
        self.message_age = message_age
        self.max_age = max_age
        self.hello_time = hello_time
        self.forward_delay = forward_delay

    @property
    def size(self) -> int:
        """Bytes of the BPDU on the wire, without the 802.2 header."""
        return HEADER_SIZE + CONFIG_SIZE


class TcnBpdu(Header):
    """A topology change notification: nothing but its type."""

    __slots__ = ()

    @property
    def size(self) -> int:
        """Bytes of the BPDU on the wire, without the 802.2 header."""
        return HEADER_SIZE


# Parse ---------------------------------------------------------------------------------------------


def parse(buf: Buf, offset: int = 0) -> ConfigBpdu | TcnBpdu:
    """The BPDU at ``offset``, behind the 802.2 header. Raises Malformed, also for the versions of the rapid and the
    multiple spanning tree, which Linux does not listen to either.
    """
    need(buf, offset, HEADER_SIZE, "BPDU")
    protocol, version, kind = HEADER.unpack_from(buf, offset)
    if protocol or version:
        raise Malformed(f"BPDU of protocol {protocol} version {version}")
    if kind == TYPE_TCN:
        return TcnBpdu()
    if kind != TYPE_CONFIG:
        raise Malformed(f"BPDU of type {kind:#04x}")
    need(buf, offset + HEADER_SIZE, CONFIG_SIZE, "configuration BPDU")
    return ConfigBpdu(*CONFIG.unpack_from(buf, offset + HEADER_SIZE))


# Build ---------------------------------------------------------------------------------------------


def build(bpdu: ConfigBpdu | TcnBpdu) -> bytes:
    """A BPDU without the 802.2 header."""
    if isinstance(bpdu, TcnBpdu):
        return HEADER.pack(0, 0, TYPE_TCN)
    return HEADER.pack(0, 0, TYPE_CONFIG) + CONFIG.pack(
        fits(bpdu.flags, 8, "flags"),
        sized(bpdu.root, 8, "root"),
        fits(bpdu.cost, 32, "cost"),
        sized(bpdu.bridge, 8, "bridge"),
        fits(bpdu.port, 16, "port"),
        fits(bpdu.message_age, 16, "message age"),
        fits(bpdu.max_age, 16, "max age"),
        fits(bpdu.hello_time, 16, "hello time"),
        fits(bpdu.forward_delay, 16, "forward delay"),
    )


# Pretty-print --------------------------------------------------------------------------------------

_FLAG_NAMES = ((FLAG_TC, "Topology change"), (FLAG_TC_ACK, "Topology change ACK"))


def bridge_id_text(identifier: bytes) -> str:
    """``8000.02:00:00:00:00:01``."""
    return f"{identifier[:2].hex()}.{mac_ntoa(identifier[2:])}"


def describe(bpdu: ConfigBpdu | TcnBpdu, payload: bytes = b"") -> str:
    """``STP 802.1d, Config, Flags [none], bridge-id 8000.02:00:00:00:00:01.8001, length 35``; payload is not needed."""
    if isinstance(bpdu, TcnBpdu):
        return "STP 802.1d, Topology Change"
    flags = ", ".join(name for bit, name in _FLAG_NAMES if bpdu.flags & bit) or "none"
    sender = f"{bridge_id_text(bpdu.bridge)}.{bpdu.port:04x}"
    return f"STP 802.1d, Config, Flags [{flags}], bridge-id {sender}, length {bpdu.size}"
