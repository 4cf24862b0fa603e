"""The plugin that brings AF_INET: the family at boot, its tables in every namespace, 127.0.0.1/8 on every loopback."""

from __future__ import annotations

import pluggy

from pysock.core.capability import CAP_NET_RAW
from pysock.families.inet import (
    af_inet,
    arp,
    devinet,
    fib_rules,
    icmp,
    igmp,
    ip_forward,
    ip_input,
    ip_reasm,
    nexthop,
    ping,
    raw,
    udp,
    udplite,
)
from pysock.families.inet.protosw import ProtocolSwitch, ProtoswEntry
from pysock.families.inet.tcp import ipv4 as tcp
from pysock.families.inet.tcp.proto import TCP_PROT
from pysock.families.inet.tcp.sock import TcpSock
from pysock.uapi.in_ import IPPROTO_ICMP, IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE
from pysock.uapi.socket import AF_INET, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.net import Net
    from pysock.core.sock import NetProtoFamily

hookimpl = pluggy.HookimplMarker("pysock")


def make_switch() -> ProtocolSwitch:
    """inetsw_array: the rows that every kernel starts with."""
    switch = ProtocolSwitch()
    for entry in (
        ProtoswEntry(SOCK_STREAM, IPPROTO_TCP, TCP_PROT, af_inet.STREAM_OPS, TcpSock, permanent=True),
        ProtoswEntry(SOCK_DGRAM, IPPROTO_UDP, udp.UDP_PROT, af_inet.DGRAM_OPS, udp.UdpSock, permanent=True),
        ProtoswEntry(
            SOCK_DGRAM, IPPROTO_UDPLITE, udplite.UDPLITE_PROT, af_inet.DGRAM_OPS, udplite.UdpLiteSock, permanent=True
        ),
        ProtoswEntry(SOCK_DGRAM, IPPROTO_ICMP, ping.PING_PROT, af_inet.DGRAM_OPS, ping.PingSock, reuse=True),
        ProtoswEntry(
            SOCK_RAW, IPPROTO_IP, raw.RAW_PROT, af_inet.RAW_OPS, raw.RawSock, reuse=True, capability=CAP_NET_RAW
        ),
    ):
        switch.register(entry)
    return switch


@hookimpl
def pysock_register_families(register: Callable[[NetProtoFamily], None]) -> None:
    register(af_inet.InetFamily(make_switch()))


@hookimpl
def pysock_net_init(net: Net) -> None:
    family = net.kernel.families.table[AF_INET]
    assert isinstance(family, af_inet.InetFamily)
    inet = af_inet.setup_net(net, family.switch)
    devinet.setup(inet)
    arp.setup(inet)
    icmp.setup(inet)
    ip_reasm.setup(inet)
    fib_rules.setup(inet)
    igmp.setup(inet)
    nexthop.setup(inet)
    ip_forward.setup(inet)
    udp.setup(inet)
    udplite.setup(inet)
    ping.setup(inet)
    raw.setup(inet)
    tcp.setup(inet)
    ip_input.setup(inet)
