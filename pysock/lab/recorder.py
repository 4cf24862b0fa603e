"""FlightRecorder: the last packets of a namespace, kept cheaply in case somebody asks what happened.

A packet is kept as a clone, its payload by reference; the frames that a capture would show are made when it is saved.
"""

from __future__ import annotations

import os
from collections import deque

from pysock.core.dev import PacketType, dev_add_pack, dev_remove_pack
from pysock.core.skb_copy import skb_clone
from pysock.lab.capture import packets_of, seen_elsewhere
from pysock.lab.pcapng import write_file
from pysock.uapi.if_ether import ETH_P_ALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

#: Bytes of packets to keep, and how many of them: headers and structs cost memory, too.
MAX_BYTES = 16 << 20
MAX_PACKETS = 20_000


class FlightRecorder:
    """Records all devices of ``net`` from now on until `stop`; the oldest packets give way to new ones."""

    __slots__ = ("_bytes", "_kernel", "_max_bytes", "_packets", "_type", "dropped")

    def __init__(self, net: Net, max_bytes: int = MAX_BYTES, max_packets: int = MAX_PACKETS) -> None:
        self._kernel = net.kernel
        self._packets: deque[tuple[int, NetDevice, SkBuff]] = deque(maxlen=max_packets)
        self._bytes = 0
        self._max_bytes = max_bytes
        #: How many packets had to give way.
        self.dropped = 0
        self._type: PacketType | None = PacketType(net, ETH_P_ALL, self._tap)
        self._kernel.enter()
        try:
            dev_add_pack(self._type)
        finally:
            self._kernel.leave()

    def _tap(self, skb: SkBuff, dev: NetDevice) -> None:
        if seen_elsewhere(skb, dev):
            return
        packets = self._packets
        if len(packets) == packets.maxlen:
            self._forget()
        packets.append((self._kernel.clock.time_ns(), dev, skb_clone(skb)))
        self._bytes += skb.len
        while self._bytes > self._max_bytes:
            self._forget()

    def _forget(self) -> None:
        _time, _dev, skb = self._packets.popleft()
        self._bytes -= skb.len
        self.dropped += 1

    def __len__(self) -> int:
        return len(self._packets)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what is kept to a new pcapng file; recording goes on."""
        self._kernel.enter()
        try:
            kept = list(self._packets)
        finally:
            self._kernel.leave()
        write_file(path, (packet for time_ns, dev, skb in kept for packet in packets_of(skb, dev, time_ns)))

    def stop(self) -> None:
        """Record no more. What is kept can still be saved. Harmless when it was stopped before."""
        kind, self._type = self._type, None
        if kind is None:
            return
        self._kernel.enter()
        try:
            dev_remove_pack(kind)
        finally:
            self._kernel.leave()

    def __repr__(self) -> str:
        return f"<FlightRecorder: {len(self)} packets, {self.dropped} forgotten>"
