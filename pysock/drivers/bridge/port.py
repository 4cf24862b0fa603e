"""A port of a bridge, and what becomes of a frame that it receives. net/bridge/br_input.c.

The state is the spanning tree's (stp.py); without one a port forwards while its device and the bridge are up.
"""

from __future__ import annotations

from pysock.core.device import RX_HANDLER_ANOTHER, RX_HANDLER_CONSUMED, RX_HANDLER_PASS
from pysock.core.skb_copy import skb_clone
from pysock.core.skbuff import consume_skb, kfree_skb
from pysock.drivers.bridge.bpdu import receive_bpdu
from pysock.drivers.bridge.snoop import QUERY, REPORT, membership
from pysock.uapi.if_ import IFF_PROMISC
from pysock.uapi.if_ether import ETH_HLEN, ETH_P_802_2
from pysock.uapi.if_packet import PACKET_BROADCAST, PACKET_HOST, PACKET_MULTICAST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.drivers.bridge.device import BridgeOps
    from pysock.drivers.bridge.stp import StpPort

# States of a port (linux/if_bridge.h)
STATE_DISABLED: Final = 0
STATE_LISTENING: Final = 1
STATE_LEARNING: Final = 2
STATE_FORWARDING: Final = 3
STATE_BLOCKING: Final = 4
STATE_NAMES: Final = ("disabled", "listening", "learning", "forwarding", "blocking")

# What a port does, `Port.flags`
LEARNING: Final = 1 << 0  # senders' addresses are learned
FLOOD: Final = 1 << 1  # gets frames for unknown receivers
MCAST_FLOOD: Final = 1 << 2  # ... for groups
BCAST_FLOOD: Final = 1 << 3  # ... for all
HAIRPIN: Final = 1 << 4  # gets back what it received
ISOLATED: Final = 1 << 5  # nothing passes between isolated ports
ROOT_BLOCK: Final = 1 << 6  # never becomes the root port
BPDU_GUARD: Final = 1 << 7  # a BPDU disables it
ANY: Final = 1 << 8  # set in all: what the bridge itself sends to groups goes everywhere
DEFAULT_FLAGS: Final = LEARNING | FLOOD | MCAST_FLOOD | BCAST_FLOOD | ANY

#: 01:80:C2:00:00:00 to 0F is for this bridge alone, most of it (802.1D 7.12.6).
_LINK_LOCAL = b"\x01\x80\xc2\x00\x00"
_PAUSE = 0x01
_BROADCAST = b"\xff" * 6
_NOBODY = bytes(6)


class Port:
    """A device of the bridge (net_bridge_port); its method `receive` is the device's rx_handler. ``number`` counts from
    1 within the bridge; ``stp`` is what the spanning tree knows of it.
    """

    __slots__ = ("bridge", "dev", "flags", "number", "state", "stp")

    def __init__(self, bridge: BridgeOps, dev: NetDevice, number: int) -> None:
        self.bridge = bridge
        self.dev = dev
        self.number = number
        self.flags = DEFAULT_FLAGS
        self.state = STATE_DISABLED
        self.stp: StpPort | None = None

    @property
    def has_link(self) -> bool:
        """Up, and there is somebody at the other end (netif_running and netif_oper_up)."""
        dev = self.dev
        return dev.running and dev.carrier and not dev.dormant

    def receive(self, skb: SkBuff) -> int:
        """br_handle_frame() and br_handle_frame_finish(): learn, then on to where it goes."""
        head = skb.head
        at = skb.mac_header
        if at < 0:
            return RX_HANDLER_PASS  # no link-layer header, so no addresses
        dst, src = bytes(head[at : at + 6]), bytes(head[at + 6 : at + 12])
        if src[0] & 1 or src == _NOBODY:
            return _drop(skb, "MAC_INVALID_SOURCE")
        if dst[:5] == _LINK_LOCAL and dst[5] < 16 and (result := self._reserved(skb, dst[5], src)) is not None:
            return result
        state = self.state
        if state != STATE_FORWARDING:
            if state == STATE_LEARNING:
                self._learn(src)
            return _drop(skb, "BRIDGE_INGRESS_STP_STATE")
        bridge = self.bridge
        br = bridge.dev
        now = br.kernel.now
        learned = bridge.learned
        if self.flags & LEARNING:
            known = learned.get(src)
            if known is not None and known.port is self:
                if known.heard < now:
                    known.heard = now
            else:
                bridge.fdb.update(src, self, now)
        if dst[0] & 1:
            return self._to_group(skb, dst)
        known = learned.get(dst)
        if known is None or now - known.heard >= bridge.fdb.hold:
            if br.flags & IFF_PROMISC:
                return self._up_too(skb, None)
            bridge.flood(skb, self, FLOOD)
            return RX_HANDLER_CONSUMED
        port = known.port
        if known.local or port is None:
            return self._up(skb, PACKET_HOST)
        if br.flags & IFF_PROMISC:
            return self._up_too(skb, port)
        bridge.forward(skb, self, port)
        return RX_HANDLER_CONSUMED

    def _to_group(self, skb: SkBuff, dst: bytes) -> int:
        """A copy for the bridge itself, the others for its ports; reports of membership for queriers alone."""
        bridge = self.bridge
        if dst == _BROADCAST:
            bridge.flood(skb_clone(skb), self, BCAST_FLOOD)
            return self._up(skb, PACKET_BROADCAST)
        kind = membership(skb)
        if kind == QUERY and self not in bridge.queriers:
            bridge.queriers.append(self)
        bridge.flood(skb_clone(skb), self, MCAST_FLOOD, bridge.queriers if kind == REPORT else None)
        bridge.dev.stats.multicast += 1
        return self._up(skb, PACKET_MULTICAST)

    def _up_too(self, skb: SkBuff, port: Port | None) -> int:
        """Somebody looks at all that the bridge sees: a copy for them, as it came."""
        one = skb_clone(skb)
        if port is None:
            self.bridge.flood(one, self, FLOOD)
        else:
            self.bridge.forward(one, self, port)
        return self._up(skb, skb.pkt_type)

    def _up(self, skb: SkBuff, kind: int) -> int:
        """br_pass_frame_up()."""
        br = self.bridge.dev
        skb.pkt_type = kind
        skb.dev = br
        br.stats.rx_packets += 1
        br.stats.rx_bytes += skb.len + ETH_HLEN
        return RX_HANDLER_ANOTHER

    # -- what a bridge keeps to itself -----------------------------------------------------------------------

    def _reserved(self, skb: SkBuff, last: int, src: bytes) -> int | None:
        """A frame for a reserved group: what br_handle_frame() does with it, None for one to be forwarded as others."""
        bridge = self.bridge
        if last == 0 and bridge.stp_enabled == 0:
            return None  # who has no spanning tree hands on the BPDUs of those who have
        if last == _PAUSE:
            return _drop(skb, "MAC_INVALID_SOURCE")
        if last and bridge.group_fwd_mask >> last & 1:
            return None
        if self.state in (STATE_LEARNING, STATE_FORWARDING) and not bridge.no_linklocal_learn:
            self._learn(src)
        if skb.protocol == ETH_P_802_2 and bridge.stp_enabled:
            receive_bpdu(self, skb)
        if skb.protocol in self.dev.net.ptype_base:
            return RX_HANDLER_PASS
        consume_skb(skb)  # nobody listens to the port itself, which is no fault
        return RX_HANDLER_CONSUMED

    def _learn(self, src: bytes) -> None:
        if self.flags & LEARNING:
            self.bridge.fdb.update(src, self, self.dev.kernel.now)

    def __repr__(self) -> str:
        return f"<Port {self.number}: {self.dev.name} {STATE_NAMES[self.state]}>"


def _drop(skb: SkBuff, reason: str) -> int:
    kfree_skb(skb, reason)
    return RX_HANDLER_CONSUMED
