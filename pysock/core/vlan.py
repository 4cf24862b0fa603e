"""802.1Q tags on their way through the device layer: taking them out of frames and putting them in.

A tag is either in the frame, behind the addresses, where `skb.protocol` names its EtherType; or beside it, in
`skb.vlan_tci` and `ext.vlan_proto`, as hardware delivers and takes it.

    in:   `dev.vlan_group` finds the VLAN device, takes the tag out and hands the packet on. What no VLAN device takes
          goes to the rx_handler as it is, and without one to `vlan_strip`: VID 0 is a priority and no VLAN, any other
          is somebody else's
    out:  a VLAN device puts the tag beside the frame and calls `dev_xmit.xmit_slow`, whose validate_xmit calls
          `vlan_push_inside` for a device that does not insert it itself

Whoever sends a packet with a tag beside it goes by `dev_xmit.xmit_slow`, never by a device's direct path. Nothing here
raises on what arrives. Source: net/8021q/vlan_core.c, include/linux/if_vlan.h, by function name.
"""

from __future__ import annotations

from pysock.core.netdevice import RX_HANDLER_CONSUMED, RX_HANDLER_PASS
from pysock.core.skb_data import pskb_may_pull, skb_header_pointer
from pysock.core.skbuff import kfree_skb, skb_release_data, skb_shift_headers
from pysock.uapi.if_ether import (
    ETH_HLEN,
    ETH_P_802_2,
    ETH_P_802_3,
    ETH_P_802_3_MIN,
    ETH_P_8021AD,
    ETH_P_8021Q,
    VLAN_HLEN,
)
from pysock.wire.vlan import VID_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.skbuff import SkBuff

_MACS = 12  # bytes of the two addresses
VLAN_TYPES = (ETH_P_8021Q, ETH_P_8021AD)


class VlanGroup:
    """The VLAN devices on one device (struct vlan_group): `takers[protocol << 12 | vid]` is called with a packet whose
    tag was taken out and is still in `skb.vlan_tci`; it answers RX_HANDLER_ANOTHER or RX_HANDLER_CONSUMED.
    """

    __slots__ = ("takers",)

    def __init__(self) -> None:
        self.takers: dict[int, Callable[[SkBuff], int]] = {}

    def receive(self, skb: SkBuff) -> int:
        """vlan_do_receive(): RX_HANDLER_PASS, and the packet unchanged, when it is in none of these VLANs."""
        tci = skb.vlan_tci
        if tci is not None:
            taker = self.takers.get(skb.need_ext().vlan_proto << 12 | tci & VID_MASK)
            return RX_HANDLER_PASS if taker is None else taker(skb)
        if skb.protocol not in VLAN_TYPES:
            return RX_HANDLER_PASS
        tag = skb_header_pointer(skb, 0, 2)
        if tag is None:
            return RX_HANDLER_PASS
        taker = self.takers.get(skb.protocol << 12 | (tag[0] << 8 | tag[1]) & VID_MASK)
        if taker is None:
            return RX_HANDLER_PASS
        return taker(skb) if vlan_untag(skb) else _malformed(skb)


def _malformed(skb: SkBuff) -> int:
    dev = skb.dev
    if dev is not None:
        dev.stats.rx_errors += 1
        dev.stats.rx_length_errors += 1
    kfree_skb(skb, "VLAN_MALFORMED")
    return RX_HANDLER_CONSUMED


def vlan_untag(skb: SkBuff) -> bool:
    """Move the tag of a received packet, whose data starts with it, from the frame to beside it (skb_vlan_untag).

    False, and no change, when the packet ends within the tag.
    """
    if not pskb_may_pull(skb, VLAN_HLEN):
        return False
    at = skb.data
    head = skb.head
    ext = skb.need_ext()
    ext.vlan_tci = head[at] << 8 | head[at + 1]
    ext.vlan_proto = skb.protocol
    protocol = head[at + 2] << 8 | head[at + 3]
    mac = skb.mac_header
    if 0 <= mac <= at - ETH_HLEN:  # the inner EtherType comes to stand behind the addresses
        view = memoryview(head)
        new = b"".join((view[: mac + _MACS], view[at + 2 :]))
        skb_release_data(skb)
        skb.head = new
        skb_shift_headers(skb, mac + _MACS - at - 2)
        skb.mac_header = mac
        skb.data = mac + ETH_HLEN
    else:
        skb.data = at + VLAN_HLEN
    skb.len -= VLAN_HLEN
    if protocol < ETH_P_802_3_MIN:  # vlan_set_encap_proto: a length
        start = skb_header_pointer(skb, 0, 2)
        protocol = ETH_P_802_3 if start == b"\xff\xff" else ETH_P_802_2
    skb.protocol = protocol
    return True


def vlan_restore(skb: SkBuff) -> None:
    """Put the tag beside a received packet back into its link-layer header (vlan_insert_inner_tag), where programs that
    look at whole frames find it; its data starts behind it as before. The tag stays beside it, too.
    """
    mac, at = skb.mac_header, skb.data
    ext = skb.ext
    if mac < 0 or at - mac < ETH_HLEN or ext is None or ext.vlan_tci is None:
        return
    view = memoryview(skb.head)
    tag = ext.vlan_proto << 16 | ext.vlan_tci
    new = b"".join((view[: mac + _MACS], tag.to_bytes(VLAN_HLEN, "big"), view[mac + _MACS :]))
    skb_release_data(skb)
    skb.head = new
    skb_shift_headers(skb, VLAN_HLEN)
    skb.mac_header = mac
    skb.data = at + VLAN_HLEN


def vlan_strip(skb: SkBuff) -> int:
    """For a tagged packet that no VLAN device took and that goes to the protocols: RX_HANDLER_PASS when it was only
    tagged with a priority and is plain now; RX_HANDLER_ANOTHER when there was a VLAN's tag behind that, and its
    device took it; else it is freed and counted: in rx_otherhost_dropped for another VLAN, in rx_errors and
    rx_length_errors for what ends within a tag.
    """
    dev = skb.dev
    while True:
        if skb.vlan_tci is None:
            if skb.protocol not in VLAN_TYPES:
                return RX_HANDLER_PASS
            if not vlan_untag(skb):
                return _malformed(skb)
        if (skb.vlan_tci or 0) & VID_MASK:
            if dev is not None:
                dev.stats.rx_otherhost_dropped += 1
            kfree_skb(skb, "OTHERHOST")
            return RX_HANDLER_CONSUMED
        skb.vlan_tci = None
        if dev is not None and dev.vlan_group is not None:
            result = dev.vlan_group.receive(skb)
            if result != RX_HANDLER_PASS:
                return result


def vlan_push_inside(skb: SkBuff) -> bool:
    """Put the tag beside an outgoing frame into it (__vlan_hwaccel_push_inside). False, and no change, for a frame
    that is too short to have addresses.
    """
    ext = skb.ext
    if ext is None or ext.vlan_tci is None:
        return True
    if not pskb_may_pull(skb, _MACS):
        return False
    data = skb.data
    view = memoryview(skb.head)
    tag = ext.vlan_proto << 16 | ext.vlan_tci
    new = b"".join((view[data : data + _MACS], tag.to_bytes(VLAN_HLEN, "big"), view[data + _MACS :]))
    skb_release_data(skb)
    skb.head = new
    skb_shift_headers(skb, VLAN_HLEN - data)
    skb.mac_header = skb.data = 0
    skb.len += VLAN_HLEN
    skb.protocol = ext.vlan_proto
    ext.vlan_tci = None
    return True
