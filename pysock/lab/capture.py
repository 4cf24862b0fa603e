"""Capture: the packets of some or all devices of a namespace, in memory or in a pcapng file.

    with Capture(net, "out.pcapng"):          # or Capture(net), and look at .packets
        ...

What it shows is what a wire would carry, so that Wireshark has nothing to complain about: checksums that were left to
the device are finished in the copy, super-segments are cut in the copy, a VLAN tag that a device took out is put back.

The loopback device hands every packet to its taps twice, on its way out and on its way in. Here, as in libpcap, the
second counts: each packet is captured once, as inbound, when the receiving side is about to see it.
"""

from __future__ import annotations

import errno
import os

from pysock.core.dev import PacketType, dev_add_pack, dev_remove_pack
from pysock.core.errors import err
from pysock.core.gso import gso_segment
from pysock.core.skb_data import skb_checksum_help, skb_to_bytes
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff
from pysock.lab.pcapng import MAX_SNAPLEN, Packet, PcapngWriter
from pysock.uapi.if_ import ARPHRD_ETHER, ARPHRD_LOOPBACK, IFF_LOOPBACK
from pysock.uapi.if_ether import ETH_P_ALL, VLAN_HLEN
from pysock.uapi.if_packet import PACKET_LOOPBACK, PACKET_OUTGOING
from pysock.wire import ethernet
from pysock.wire.pcapng import LINKTYPE_ETHERNET, LINKTYPE_RAW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import BinaryIO

    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice


class Capture:
    """Captures from the moment it is made until `close`; a context manager.

    ``target`` is a path (created, or emptied) or a binary file open for writing (left open); without one, packets are
    kept in `packets`. ``devices`` are NetDevices or names, None: all of the namespace, those to come included.
    ``snaplen`` is how many bytes of a packet are kept. ENODEV for a name that does not exist; errors of opening the
    file.
    """

    __slots__ = ("_file", "_net", "_owns_file", "_snaplen", "_types", "_writer", "count", "packets")

    def __init__(
        self,
        net: Net,
        target: str | os.PathLike[str] | BinaryIO | None = None,
        *,
        devices: Iterable[NetDevice | str] | None = None,
        snaplen: int = MAX_SNAPLEN,
    ) -> None:
        if snaplen <= 0:
            raise ValueError(f"snaplen must be positive, not {snaplen}")
        self._net = net
        self._snaplen = snaplen
        self.packets: list[Packet] = []
        self.count = 0
        chosen = None if devices is None else [_device(net, one) for one in devices]
        self._owns_file = isinstance(target, (str, os.PathLike))
        self._file: BinaryIO | None = None
        self._writer: PcapngWriter | None = None
        if target is not None:
            if isinstance(target, (str, os.PathLike)):
                self._file = open(target, "wb")  # noqa: SIM115  # close() closes it
            else:
                self._file = target
            self._writer = PcapngWriter(self._file, snaplen, net.kernel.clock.time_ns())
            for dev in net.devices if chosen is None else chosen:
                self._writer.interface(dev.name, _linktype(dev))  # so that an empty capture has its interfaces too
        if chosen is None:
            self._types = [PacketType(net, ETH_P_ALL, self._tap)]
        else:
            self._types = [PacketType(net, ETH_P_ALL, self._tap, dev) for dev in chosen]
        kernel = net.kernel
        kernel.enter()
        try:
            for one in self._types:
                dev_add_pack(one)
        finally:
            kernel.leave()

    # -- the tap -------------------------------------------------------------------------------------------

    def _tap(self, skb: SkBuff, dev: NetDevice) -> None:
        """Called by the device layer under the kernel lock; what it raises is reported there and costs nobody a
        packet.
        """
        if seen_elsewhere(skb, dev):
            return
        for packet in packets_of(skb, dev, self._net.kernel.clock.time_ns(), self._snaplen):
            self.count += 1
            if self._writer is None:
                self.packets.append(packet)
            else:
                self._writer.write(packet)

    # -- for those who look --------------------------------------------------------------------------------

    def snapshot(self) -> list[Packet]:
        """What was captured so far, while it goes on. With a file, that is brought up to date instead: []."""
        kernel = self._net.kernel
        kernel.enter()
        try:
            if self._file is not None:
                self._file.flush()
            return list(self.packets)
        finally:
            kernel.leave()

    @property
    def frames(self) -> list[bytes]:
        """The bytes of the packets in memory, for comparisons."""
        return [packet.frame for packet in self.snapshot()]

    def close(self) -> None:
        """Stop capturing; write the statistics and close the file. Harmless when it was closed before."""
        types, self._types = self._types, []
        if not types:
            return
        kernel = self._net.kernel
        kernel.enter()
        try:
            for one in types:
                try:
                    dev_remove_pack(one)
                except OSError as exc:
                    if exc.errno != errno.ENOENT:  # its device is gone, and its taps with it
                        raise
        finally:
            kernel.leave()
        file, writer = self._file, self._writer
        if file is None or writer is None:
            return
        try:
            writer.close(kernel.clock.time_ns())
            file.flush()
        finally:
            if self._owns_file:
                file.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "running" if self._types else "closed"
        return f"<Capture {self._net.name!r} {state}: {self.count} packets>"


# --- from packets to frames -------------------------------------------------------------------------------------------


def seen_elsewhere(skb: SkBuff, dev: NetDevice) -> bool:
    """Whether the same packet comes, or came, to the taps by another way, which is the one that counts."""
    kind = skb.pkt_type
    return kind == PACKET_LOOPBACK or (kind == PACKET_OUTGOING and bool(dev.flags & IFF_LOOPBACK))


def packets_of(skb: SkBuff, dev: NetDevice, time_ns: int, snaplen: int = MAX_SNAPLEN) -> list[Packet]:
    """What a capture writes for ``skb`` as a tap of ``dev`` saw it at ``time_ns`` (since 1970)."""
    inbound = skb.pkt_type != PACKET_OUTGOING
    linktype = _linktype(dev)
    return [
        Packet(time_ns, dev.name, frame[:snaplen], inbound, len(frame), linktype) for frame in frames_of(skb, dev)
    ]


def frames_of(skb: SkBuff, dev: NetDevice) -> list[bytes]:
    """The frames that a wire would carry for ``skb``, as a tap of ``dev`` sees it; nothing is changed but a copy."""
    raw = skb_to_bytes(skb)
    at = skb.mac_header
    start = at if 0 <= at < skb.data else skb.data
    outgoing = skb.pkt_type == PACKET_OUTGOING
    if skb.ip_summed == CHECKSUM_PARTIAL or skb.gso_size:
        copy = SkBuff(raw, 0, len(raw))
        copy.protocol = skb.protocol
        copy.network_header = (skb.network_header if outgoing else skb.data) - start
        copy.ip_summed = skb.ip_summed
        copy.csum_start = skb.csum_start - start
        copy.csum_offset = skb.csum_offset
        copy.gso_size, copy.gso_type = skb.gso_size, skb.gso_type
        found = []
        for one in gso_segment(copy) or [copy]:
            skb_checksum_help(one)
            found.append(skb_to_bytes(one))
    else:
        found = [raw]
    if _linktype(dev) == LINKTYPE_ETHERNET and not outgoing and start == skb.data:
        # Handed in without a link-layer header (a raw netif_rx): the file's format wants one.
        found = [ethernet.build(dev.dev_addr, bytes(6), skb.protocol) + frame for frame in found]
    tci = skb.vlan_tci
    if tci is not None:
        tag = (skb.need_ext().vlan_proto << 16 | tci).to_bytes(VLAN_HLEN, "big")
        found = [frame[:12] + tag + frame[12:] for frame in found]
    return found


def _linktype(dev: NetDevice) -> int:
    return LINKTYPE_ETHERNET if dev.type in (ARPHRD_ETHER, ARPHRD_LOOPBACK) else LINKTYPE_RAW


def _device(net: Net, which: NetDevice | str) -> NetDevice:
    if not isinstance(which, str):
        return which
    dev = net.dev_by_name.get(which)
    if dev is None:
        raise err(errno.ENODEV, f"no device {which!r} (there are: {', '.join(sorted(net.dev_by_name)) or 'none'})")
    return dev
