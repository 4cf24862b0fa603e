"""A port's BPDUs: out as a frame, in from one. net/bridge/br_stp_bpdu.c; the format is wire/stp.py's."""

from __future__ import annotations

from pysock.core.skb_data import skb_header_pointer
from pysock.core.skbuff import SkBuff
from pysock.uapi.if_ether import ETH_P_802_2
from pysock.wire import stp as wire
from pysock.wire.errors import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.bridge.port import Port

_NS_PER_TICK = 1_000_000_000 // wire.TICKS  # without a remainder
#: Linux gives control traffic its own band (TC_PRIO_CONTROL).
_PRIO_CONTROL = 7


def to_ticks(ns: int) -> int:
    """A time as BPDUs have it (br_set_ticks)."""
    return min(ns // _NS_PER_TICK, 0xFFFF)


def from_ticks(ticks: int) -> int:
    """The other way round, ns (br_get_ticks)."""
    return ticks * _NS_PER_TICK


def send_bpdu(port: Port, bpdu: wire.ConfigBpdu | wire.TcnBpdu) -> None:
    """br_send_bpdu()."""
    dev = port.dev
    payload = wire.LLC + wire.build(bpdu)
    raw = port.bridge.group_addr + dev.dev_addr + len(payload).to_bytes(2, "big") + payload
    skb = SkBuff(raw, 0, len(raw))
    skb.dev = dev
    skb.protocol = ETH_P_802_2
    skb.need_ext().priority = _PRIO_CONTROL
    dev.queue_xmit(skb)


def receive_bpdu(port: Port, skb: SkBuff) -> None:
    """br_stp_rcv(): what arrived for the bridges' group, ``skb.data`` at the 802.2 header. The packet stays the
    caller's. What is no BPDU of ours, or stands where it must not, has no effect.
    """
    tree = port.bridge.stp
    state = port.stp
    raw = skb_header_pointer(skb, 0, min(skb.len, len(wire.LLC) + wire.HEADER_SIZE + wire.CONFIG_SIZE))
    if tree is None or state is None or raw is None or bytes(raw[:3]) != wire.LLC:
        return
    if bytes(skb.head[skb.mac_header : skb.mac_header + 6]) != port.bridge.group_addr:
        return
    try:
        bpdu = wire.parse(raw, len(wire.LLC))
    except Malformed:
        port.bridge.dev.stats.rx_frame_errors += 1
        return
    tree.received(state, bpdu)
