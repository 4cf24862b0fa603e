"""Whole frames: every layer as a header object, or one line of text as tcpdump would print it.

Nothing here raises, whatever the bytes: a layer that does not parse becomes ``Broken`` and ends the walk.
"""

from __future__ import annotations

from pysock.uapi.if_ether import ETH_P_802_3_MIN, ETH_P_8021AD, ETH_P_8021Q, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6, ETH_P_SLOW
from pysock.uapi.in_ import (
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_IGMP,
    IPPROTO_IPIP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
)
from pysock.wire import arp, ethernet, icmp, icmpv6, igmp, ipv4, ipv6, lacp, stp, tcp, udp, vlan
from pysock.wire.addr import inet6_ntoa, inet_ntoa
from pysock.wire.errors import Malformed
from pysock.wire.header import Buf, Header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

_LACP = bytes((lacp.SUBTYPE,))
MAX_NESTING: Final = 8  # tunnels and tags in one frame that are followed


class Data(Header):
    """What is left when no format claims it: a payload."""

    fields: ClassVar[tuple[str, ...]] = ("data",)
    __slots__ = fields

    def __init__(self, data: bytes) -> None:
        self.data = data


class Broken(Header):
    """A layer that did not parse: which, why, and its bytes."""

    fields: ClassVar[tuple[str, ...]] = ("layer", "reason", "data")
    __slots__ = fields

    def __init__(self, layer: str, reason: str, data: bytes) -> None:
        self.layer = layer
        self.reason = reason
        self.data = data


# Layers --------------------------------------------------------------------------------------------


def decode_frame(frame: Buf) -> list[Header]:
    """The layers of an Ethernet frame, outermost first; a non-empty payload comes last as Data."""
    raw = bytes(frame)
    layers: list[Header] = []
    try:
        header = ethernet.parse(raw)
    except Malformed as error:
        return [Broken("Ethernet", error.reason, raw)]
    layers.append(header)
    _link(layers, header.ethertype, raw[header.size :], 0)
    return layers


def decode_packet(packet: Buf) -> list[Header]:
    """The layers of a bare IP packet, as a TUN device or a raw socket carries it; its version says which."""
    raw = bytes(packet)
    layers: list[Header] = []
    _link(layers, ETH_P_IPV6 if raw[:1] and raw[0] >> 4 == 6 else ETH_P_IP, raw, 0)
    return layers


def _link(layers: list[Header], ethertype: int, raw: bytes, depth: int) -> None:
    name = "packet"
    try:
        if depth >= MAX_NESTING:
            raise Malformed(f"more than {MAX_NESTING} nested headers")
        if ethertype == ETH_P_IP:
            name = "IP"
            ip = ipv4.parse(raw)
            layers.append(ip)
            payload = raw[ip.size : ip.total_length]
            _transport(layers, -1 if ip.fragment else ip.protocol, payload, depth)
        elif ethertype == ETH_P_IPV6:
            name = "IP6"
            ip6 = ipv6.parse(raw)
            layers.append(ip6)
            packet = raw[: ipv6.HEADER_SIZE + ip6.payload_length]
            extensions, protocol, at = ipv6.walk(ip6.next_header, packet, ipv6.HEADER_SIZE)
            layers.extend(extensions)
            later = bool(extensions) and extensions[-1].fragment != 0
            _transport(layers, -1 if later else protocol, packet[at:], depth)
        elif ethertype == ETH_P_ARP:
            name = "ARP"
            packet_arp = arp.parse(raw)
            layers.append(packet_arp)
            _data(layers, raw[packet_arp.size :])
        elif ethertype in (ETH_P_8021Q, ETH_P_8021AD):
            name = "802.1Q"
            tag = vlan.parse(raw)
            layers.append(tag)
            _link(layers, tag.ethertype, raw[tag.size :], depth + 1)
        elif ethertype < ETH_P_802_3_MIN and raw.startswith(stp.LLC):
            name = "STP"
            layers.append(stp.parse(raw[:ethertype], len(stp.LLC)))
        elif ethertype == ETH_P_SLOW and raw[:1] == _LACP:
            name = "LACP"
            layers.append(lacp.parse(raw))
        else:
            _data(layers, raw)
    except Malformed as error:
        layers.append(Broken(name, error.reason, raw))


def _transport(layers: list[Header], protocol: int, raw: bytes, depth: int) -> None:
    name = "packet"
    try:
        if protocol == IPPROTO_TCP:
            name = "TCP"
            segment = tcp.parse(raw)
            layers.append(segment)
            _data(layers, raw[segment.size :])
        elif protocol == IPPROTO_UDP:
            name = "UDP"
            # The first fragment of a datagram has its header, but not all its data.
            datagram = udp.parse(raw, partial=_in_fragment(layers))
            layers.append(datagram)
            _data(layers, raw[datagram.size : datagram.length])
        elif protocol == IPPROTO_ICMP:
            name = "ICMP"
            layers.append(icmp.parse(raw))
            _data(layers, raw[icmp.HEADER_SIZE :])
        elif protocol == IPPROTO_ICMPV6:
            name = "ICMP6"
            layers.append(icmpv6.parse(raw))
            _data(layers, raw[icmpv6.HEADER_SIZE :])
        elif protocol == IPPROTO_IGMP:
            name = "igmp"
            layers.append(igmp.parse(raw))
        elif protocol in (IPPROTO_IPIP, IPPROTO_IPV6):
            _link(layers, ETH_P_IP if protocol == IPPROTO_IPIP else ETH_P_IPV6, raw, depth + 1)
        else:
            _data(layers, raw)
    except Malformed as error:
        layers.append(Broken(name, error.reason, raw))


def _data(layers: list[Header], raw: bytes) -> None:
    if raw:
        layers.append(Data(raw))


def _in_fragment(layers: list[Header]) -> bool:
    last = layers[-1]
    return last.is_fragment if isinstance(last, ipv4.Ipv4Header) else isinstance(last, ipv6.Extension) and last.more


# One line ------------------------------------------------------------------------------------------


def summary(frame: Buf) -> str:
    """One line about an Ethernet frame, as tcpdump prints it, without time.

    ``IP 127.0.0.1.43210 > 127.0.0.1.80: Flags [S], seq 1, win 65495, options [mss 65495], length 0``.
    """
    return describe_layers(decode_frame(frame))


def summary_packet(packet: Buf) -> str:
    """The same line about a bare IP packet."""
    return describe_layers(decode_packet(packet))


def describe_layers(layers: list[Header]) -> str:
    """The line for layers that decode_frame or decode_packet made."""
    last = layers[-1] if layers else Data(b"")
    payload = last.data if isinstance(last, Data) else b""
    text = ""
    for at, layer in enumerate(layers):
        following = layers[at + 1] if at + 1 < len(layers) else None
        if isinstance(layer, ethernet.EthernetHeader):
            if following is None or isinstance(following, Data):
                text += ethernet.describe(layer, payload)
        elif isinstance(layer, vlan.VlanTag):
            text += f"{vlan.describe(layer)}, "
        elif isinstance(layer, (ipv4.Ipv4Header, ipv6.Ipv6Header)):
            text += _network(layer, layers[at + 1 :])
        elif isinstance(layer, ipv6.Extension):
            text += f"{ipv6.describe_extension(layer)} "
        elif isinstance(layer, Broken):
            text += f"[|{layer.layer}] {layer.reason}"
        else:
            text += _upper(layer, payload)
    return text.rstrip(" :,")


def _network(header: ipv4.Ipv4Header | ipv6.Ipv6Header, inner: list[Header]) -> str:
    """``IP a.port > b.port: ``, and all there is to say if no known protocol is inside."""
    upper = next((layer for layer in inner if not isinstance(layer, ipv6.Extension)), None)
    name = "IP" if isinstance(header, ipv4.Ipv4Header) else "IP6"
    if upper is None or isinstance(upper, Data):
        if isinstance(header, ipv4.Ipv4Header):
            return f"{name} {ipv4.describe(header)}"
        if not inner or inner[0] is upper:
            return f"{name} {ipv6.describe(header)}"
    text = inet_ntoa if isinstance(header, ipv4.Ipv4Header) else inet6_ntoa
    src, dst = text(header.src), text(header.dst)
    if isinstance(upper, (tcp.TcpHeader, udp.UdpHeader)):
        return f"{name} {src}.{upper.src_port} > {dst}.{upper.dst_port}: "
    return f"{name} {src} > {dst}: "


def _upper(layer: Header, payload: bytes) -> str:
    if isinstance(layer, tcp.TcpHeader):
        return tcp.describe(layer, payload)
    if isinstance(layer, udp.UdpHeader):
        return udp.describe(layer, payload)
    if isinstance(layer, icmp.IcmpHeader):
        return icmp.describe(layer, payload)
    if isinstance(layer, icmpv6.Icmpv6Header):
        return icmpv6.describe(layer, payload)
    if isinstance(layer, igmp.IgmpMessage):
        return igmp.describe(layer)
    if isinstance(layer, arp.ArpPacket):
        return arp.describe(layer, payload)
    if isinstance(layer, stp.ConfigBpdu | stp.TcnBpdu):
        return stp.describe(layer)
    if isinstance(layer, lacp.Lacpdu):
        return lacp.describe(layer)
    return ""
