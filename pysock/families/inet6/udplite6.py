"""UDP-Lite over IPv6 (udplitev6_prot): UDP's sockets of IPv6 with the checksums and options of inet.udplite."""

from __future__ import annotations

from functools import partial

from pysock.families.inet.udplite import UdpLiteProto, table_of
from pysock.families.inet6.udp6 import Udp6Proto
from pysock.uapi.in_ import IPPROTO_UDPLITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet6.net import Inet6Net


class UdpLite6Proto(Udp6Proto, UdpLiteProto):
    """udplitev6_prot."""

    __slots__ = ()
    name = "UDPLITEv6"


UDPLITEV6_PROT = UdpLite6Proto()


def setup(inet6: Inet6Net) -> None:
    """Let IPv6's datagrams, and errors about them, find the sockets of the namespace's UDP-Lite table."""
    from pysock.families.inet6 import udp6_input

    table = table_of(inet6.inet)
    table.mib6 = inet6.mibs.udplite6
    inet6.protos[IPPROTO_UDPLITE] = partial(udp6_input.rcv, table, inet6)
    inet6.errors[IPPROTO_UDPLITE] = partial(udp6_input.error, table, inet6)
