"""A device with a queueing discipline, and when each of its packets left."""

from __future__ import annotations

import struct

from pysock.core.device import NetDevice
from pysock.core.kernel import Kernel
from pysock.core.qdisc import Qdisc, qdisc_replace
from pysock.core.skbuff import SkBuff
from pysock.uapi.if_ether import ETH_P_IP
from pysock.wire.checksum import checksum
from support.devices import WireOps, boot, frame, wire


class TimedOps(WireOps):
    """Notes in `log` when each frame was sent (ns since the kernel's start) and its last byte."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[int, int]] = []

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        result = super().ndo_start_xmit(skb, dev)
        if not result:
            self.log.append((dev.kernel.now, self.sent[-1][-1]))
        return result


class Line:
    """`Line("tbf", rate=...)`: a device of that discipline; instants count from its making, in ns."""

    def __init__(self, id: str, **options: object) -> None:
        self.kernel: Kernel = boot()
        self.ops = TimedOps()
        self.dev: NetDevice = wire(self.kernel, queue=True, ops=self.ops)
        self.dev.mtu = 1500
        self.qdisc: Qdisc = qdisc_replace(self.dev, id, options)
        self.start = self.kernel.now

    def send(self, *packets: SkBuff) -> list[int]:
        results = []
        for skb in packets:
            skb.dev = self.dev
            results.append(self.dev.queue_xmit(skb))
        return results

    def run(self) -> list[tuple[int, int]]:
        """Let time pass until nothing waits for it; (instant, last byte) of each packet since the last time."""
        while self.kernel.advance():
            pass
        log = [(at - self.start, name) for at, name in self.ops.log]
        self.ops.log.clear()
        return log

    def until(self, instant: int) -> None:
        """Let time pass until ``instant``."""
        self.kernel.sleep(self.start + instant - self.kernel.now)


def raw(size: int, name: int = 0, priority: int = 0) -> SkBuff:
    """A frame of ``size`` bytes, of no protocol that anybody knows, that ends in ``name``."""
    data = frame(bytes(size - 15) + bytes((name,)))
    skb = SkBuff(data, 0, len(data))
    skb.protocol = 0x88B5
    skb.network_header = 14
    if priority:
        skb.priority = priority
    return skb


def udp(size: int, name: int = 0, sport: int = 1, tos: int = 0) -> SkBuff:
    """A frame of ``size`` bytes: UDP over IPv4 from port ``sport``, with a right header checksum."""
    ip = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, tos, size - 14, 0, 0, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2"))
    ip[10:12] = checksum(ip).to_bytes(2, "big")
    data = frame(bytes(ip) + struct.pack("!HHHH", sport, 9, size - 34, 0) + bytes(size - 43) + bytes((name,)), ETH_P_IP)
    skb = SkBuff(data, 0, len(data))
    skb.protocol = ETH_P_IP
    skb.network_header = 14
    skb.transport_header = 34
    return skb
