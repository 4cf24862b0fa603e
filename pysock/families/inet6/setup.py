"""Making the family, and a namespace's IPv6: every part adds what is its own. Imports all of the package."""

from __future__ import annotations

from pysock.families.inet.net import InetNet
from pysock.families.inet.protosw import ProtoswEntry
from pysock.families.inet.udplite import UdpLiteSock
from pysock.families.inet6 import (
    addrconf,
    af_inet6,
    icmp6,
    ip6_input,
    multipath6,
    ndisc,
    ping6,
    procfs6,
    raw6,
    reassembly,
    router_pref,
    tcp6,
    udp6,
    udplite6,
)
from pysock.families.inet6.net import Inet6Net
from pysock.uapi.in_ import IPPROTO_UDPLITE
from pysock.uapi.socket import SOCK_DGRAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.net import Net


def make_family() -> af_inet6.Inet6Family:
    """AF_INET6 with the protocols that every kernel starts with."""
    switch = af_inet6.make_switch()
    switch.register(
        ProtoswEntry(
            SOCK_DGRAM, IPPROTO_UDPLITE, udplite6.UDPLITEV6_PROT, af_inet6.DGRAM_OPS, UdpLiteSock, permanent=True
        )
    )
    return af_inet6.Inet6Family(switch)


def setup_net(net: Net) -> Inet6Net:
    """Give ``net`` its IPv6: tables, sysctls, counters, and the handler of its packets."""
    inet6 = Inet6Net(net, net.get(InetNet))
    net.set(inet6)
    procfs6.setup(inet6)
    icmp6.setup(inet6)
    tcp6.setup(inet6)
    udp6.setup(inet6)
    udplite6.setup(inet6)
    ping6.setup(inet6)
    raw6.setup(inet6)
    reassembly.setup(inet6)
    ndisc.setup(inet6)
    router_pref.setup(inet6)
    multipath6.setup(inet6)
    addrconf.setup(inet6)
    ip6_input.setup(inet6)
    return inet6
