"""NetworkCapture: what is on the cables of a network, each frame once, at the instant when it gets through.

An interface of the file is a link. A frame is seen when the sending end's discipline lets it go, so behind its delay
and rate; what chance or a fault takes away was never on the wire.
"""

from __future__ import annotations

import errno

from pysock.core.dev import PacketType, dev_add_pack, dev_remove_pack
from pysock.lab.capture import packets_of
from pysock.lab.pcapng import MAX_SNAPLEN, PcapngWriter
from pysock.uapi.if_ether import ETH_P_ALL
from pysock.uapi.if_packet import PACKET_OUTGOING
from pysock.wire.decode import summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from types import TracebackType
    from typing import BinaryIO

    from pysock.core.kernel import Kernel
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.lab.link import Link
    from pysock.lab.pcapng import Packet


class NetworkCapture:
    """Captures from its making until `close`; a context manager. Without a path, packets are kept in `packets`."""

    __slots__ = ("__weakref__", "_all", "_file", "_kernel", "_names", "_types", "_writer", "count", "packets")

    def __init__(
        self, kernel: Kernel, links: Iterable[Link], path: str | os.PathLike[str] | None = None, all: bool = False
    ) -> None:
        self._kernel = kernel
        self._all = all
        self.packets: list[Packet] = []
        self.count = 0
        self._names: dict[NetDevice, str] = {}
        self._types: list[PacketType] = []
        self._file: BinaryIO | None = None
        self._writer: PcapngWriter | None = None
        if path is not None:
            self._file = open(path, "wb")  # noqa: SIM115  # close() closes it
            self._writer = PcapngWriter(self._file, MAX_SNAPLEN, kernel.clock.time_ns())
        for link in links:
            self.add(link)

    def see(self, link: Link) -> None:
        """There is a new link: captured if all are."""
        if self._all:
            self.add(link)

    def add(self, link: Link) -> None:
        """Capture this link, too."""
        kernel = self._kernel
        kernel.enter()
        try:
            if self._writer is not None:
                self._writer.interface(link.name)
            for end in link.ends:
                self._names[end.dev] = link.name
                kind = PacketType(end.dev.net, ETH_P_ALL, self._tap, end.dev)
                dev_add_pack(kind)
                self._types.append(kind)
        finally:
            kernel.leave()

    def _tap(self, skb: SkBuff, dev: NetDevice) -> None:
        if skb.pkt_type != PACKET_OUTGOING:
            return  # the other end has shown it
        name = self._names[dev]
        for packet in packets_of(skb, dev, self._kernel.clock.time_ns()):
            self.count += 1
            shown = packet._replace(dev=name, inbound=None)
            if self._writer is None:
                self.packets.append(shown)
            else:
                self._writer.write(shown)

    @property
    def frames(self) -> list[bytes]:
        """The bytes of the packets in memory."""
        return [packet.frame for packet in self.packets]

    def lines(self) -> list[str]:
        """The packets in memory as tcpdump would print them: seconds since the first, link, summary."""
        if not self.packets:
            return []
        first = self.packets[0].time_ns
        return [f"{(p.time_ns - first) / 1e9:.6f} {p.dev} {summary(p.frame)}" for p in self.packets]

    @property
    def closed(self) -> bool:
        return not self._names

    def close(self) -> None:
        """Stop, and finish the file. Harmless when it was closed before."""
        kernel = self._kernel
        kernel.enter()
        try:
            self._all = False
            types, self._types = self._types, []
            self._names = {}
            for kind in types:
                try:
                    dev_remove_pack(kind)
                except OSError as exc:
                    if exc.errno != errno.ENOENT:  # its device is gone, and its taps with it
                        raise
            if self._file is not None and self._writer is not None:
                self._writer.close(kernel.clock.time_ns())
                self._file.close()
                self._file = None
        finally:
            kernel.leave()

    def __enter__(self) -> NetworkCapture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<NetworkCapture {self.count} packets>"
