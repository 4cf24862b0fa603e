"""Writing and reading captures: streams of packets to pcapng files and back.

One section a file, written in this machine's byte order; interfaces appear when they are first needed; times are ns.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pysock._version import __version__
from pysock.wire import pcapng
from pysock.wire.errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

#: tcpdump's and Wireshark's idea of "everything", in bytes.
MAX_SNAPLEN = 262_144


class Packet(NamedTuple):
    """One captured packet: when (ns since 1970), on which device (its name), its first bytes from the link-layer
    header on.

    ``inbound`` is None where nobody knows; ``length`` is that of the whole packet, of which ``frame`` has at most
    snaplen; ``linktype`` is pcapng.LINKTYPE_ETHERNET or LINKTYPE_RAW.
    """

    time_ns: int
    dev: str
    frame: bytes
    inbound: bool | None = None
    length: int = 0
    linktype: int = pcapng.LINKTYPE_ETHERNET
    comment: str = ""


class PcapngWriter:
    """Writes packets to ``file`` as one section. Statistics are written by `close`, which leaves the file open.

    Errors of the file pass through.
    """

    __slots__ = ("_counts", "_interfaces", "_snaplen", "_start", "_write", "file")

    def __init__(self, file: BinaryIO, snaplen: int = MAX_SNAPLEN, start_ns: int | None = None) -> None:
        self.file = file
        self._write = file.write
        self._snaplen = snaplen
        self._start = start_ns
        self._interfaces: dict[tuple[str, int], int] = {}
        self._counts: list[int] = []
        options = (pcapng.SHB_USERAPPL, f"pysock {__version__}".encode())
        self._write(pcapng.build(pcapng.SectionHeader(options=(options,))))

    def interface(self, name: str, linktype: int = pcapng.LINKTYPE_ETHERNET) -> int:
        """The number of an interface, described in the file when it is new."""
        number = self._interfaces.get((name, linktype))
        if number is None:
            number = self._interfaces[name, linktype] = len(self._interfaces)
            self._counts.append(0)
            options = ((pcapng.IF_NAME, name.encode()), (pcapng.IF_TSRESOL, bytes((pcapng.TSRESOL_NS,))))
            self._write(pcapng.build(pcapng.InterfaceDescription(linktype, self._snaplen, options)))
        return number

    def write(self, packet: Packet) -> None:
        """Append one packet."""
        number = self.interface(packet.dev, packet.linktype)
        self._counts[number] += 1
        flags = None
        if packet.inbound is not None:
            flags = pcapng.INBOUND if packet.inbound else pcapng.OUTBOUND
        options = ((pcapng.OPT_COMMENT, packet.comment.encode()),) if packet.comment else ()
        length = packet.length or len(packet.frame)
        self._write(pcapng.build(pcapng.EnhancedPacket(number, packet.time_ns, packet.frame, length, flags, options)))

    def close(self, end_ns: int) -> None:
        """Write each interface's statistics, as of ``end_ns``."""
        for number, count in enumerate(self._counts):
            self._write(pcapng.build(pcapng.InterfaceStatistics(number, end_ns, self._start, end_ns, count, 0)))


def write_file(path: str | os.PathLike[str], packets: Iterable[Packet]) -> None:
    """Write ``packets`` to a new file."""
    with open(path, "wb") as file:
        writer = PcapngWriter(file)
        for packet in packets:
            writer.write(packet)


def read_file(path: str | os.PathLike[str]) -> list[Packet]:
    """The packets of a pcapng file, whoever wrote it. Raises Malformed."""
    with open(path, "rb") as file:
        return list(read_packets(file.read()))


def read_packets(data: bytes) -> Iterator[Packet]:
    """The packets in the bytes of a pcapng file. Raises Malformed."""
    interfaces: list[pcapng.InterfaceDescription] = []
    for block in pcapng.walk(data):
        if isinstance(block, pcapng.SectionHeader):
            interfaces.clear()
        elif isinstance(block, pcapng.InterfaceDescription):
            interfaces.append(block)
        elif isinstance(block, pcapng.EnhancedPacket):
            if block.interface >= len(interfaces):
                raise Malformed(f"a packet of interface {block.interface}, which was not described")
            yield _packet(block, interfaces[block.interface])


def _packet(block: pcapng.EnhancedPacket, interface: pcapng.InterfaceDescription) -> Packet:
    options = dict(interface.options)
    name = options.get(pcapng.IF_NAME, b"").decode("utf-8", "replace") or f"if{block.interface}"
    resolution = options.get(pcapng.IF_TSRESOL, b"\x06")[:1] or b"\x06"  # microseconds unless it says otherwise
    exponent = resolution[0] & 0x7F
    per_second = 1 << exponent if resolution[0] & 0x80 else 10**exponent
    direction = (block.flags or 0) & pcapng.DIRECTION_MASK
    comment = dict(block.options).get(pcapng.OPT_COMMENT, b"").decode("utf-8", "replace")
    return Packet(
        block.timestamp * 1_000_000_000 // per_second,
        name,
        block.data,
        direction == pcapng.INBOUND if direction else None,
        block.original_length,
        interface.linktype,
        comment,
    )
