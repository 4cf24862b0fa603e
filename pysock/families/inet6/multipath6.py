"""Several ways to one destination (fib6_select_path, rt6_multipath_hash in net/ipv6/route.c).

Routes of one prefix and metric that lead over gateways are siblings: a flow takes one of them, by weight and a hash of
what it is, as in IPv4 (inet/fib_rules.py), but here protocol and flow label count in either policy. Unlike IPv4's next
hops, siblings are routes of their own: each can be added and taken away alone. Routes that routers advertise have none.

A flow whose way does not answer takes the route that the table would have taken without siblings (router_pref.py).
While the device of one is down, it waits, passed over; with the device of the last all are gone (fib6_ifdown).
"""

from __future__ import annotations

from pysock.core.skb_data import skb_copy_bits
from pysock.families.inet.fib_rules import Flow, Multipath, flow_of
from pysock.uapi.in_ import IPPROTO_TCP, IPPROTO_UDP
from pysock.wire import ipv6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet6.fib6 import Fib6Entry
    from pysock.families.inet6.net import Inet6Net

_LABEL = 0xFFFFF
#: How far into a packet we look for its ports, in bytes.
_ENOUGH = 256


def setup(inet6: Inet6Net) -> None:
    """Give a namespace its way of spreading flows."""
    inet6.state["multipath"] = Multipath(inet6.net, "net.ipv6", inet6.fib6.flush)


def flow_of_socket(sk: InetSock, daddr: bytes, saddr: bytes, dport: int, flowinfo: int) -> Flow:
    """What ``sk`` sends to ``daddr``, to tell flows apart; ``dport`` 0: to its peer's port."""
    flow = flow_of(sk, daddr, saddr, dport)
    flow.label = flowinfo & _LABEL
    return flow


def flow_in(inet6: Inet6Net, skb: SkBuff) -> Flow | None:
    """The flow of a received packet with its ``network_header``, ports only of a whole datagram; None while nothing
    depends on it.
    """
    if not inet6.fib6.multipath:
        return None
    size = skb.len + skb.data - skb.network_header
    packet = skb_copy_bits(skb, skb.network_header - skb.data, min(size, _ENOUGH))
    flow = Flow(packet[24:40], packet[8:24])
    flow.label = int.from_bytes(packet[:4], "big") & _LABEL
    offset, protocol, fragment = ipv6.skip_extensions(packet[6], packet, 40)
    flow.protocol = protocol
    if 0 < offset <= len(packet) - 4 and not fragment and protocol in (IPPROTO_TCP, IPPROTO_UDP):
        flow.sport = int.from_bytes(packet[offset : offset + 2], "big")
        flow.dport = int.from_bytes(packet[offset + 2 : offset + 4], "big")
    return flow


def choose(inet6: Inet6Net, entry: Fib6Entry, oif: int, flow: Flow) -> Fib6Entry:
    """The way of a flow where the table's answer is ``entry``."""
    siblings = [one for one in inet6.fib6.siblings(entry) if not oif or (one.dev and one.dev.ifindex == oif)]
    if len(siblings) < 2:
        return entry
    multipath = inet6.state["multipath"]
    assert isinstance(multipath, Multipath)
    chosen = multipath.choose(siblings, flow)
    assert chosen.dev is not None
    unreachable = not inet6.forwarding and (chosen.gateway, chosen.dev.ifindex) in inet6.routers.dead
    return entry if unreachable else chosen
