"""UDP output: from sendmsg to a finished datagram (udp_sendmsg, ip_make_skb, udp_send_skb).

Where a socket sends to and how is worked out once and kept as a `Flow`: route, addresses and ports as wire bytes, the constant
part of both checksums. The next datagram to the same address tuple is one dict lookup and one pack. A flow lives in
``sk.flows`` under the tuple that the program passed (None: the connected peer); it is good as long as the FIB's generation
and SO_BINDTODEVICE are what they were. Everything else that goes into it is changed by calls that empty ``flows``.

Only flows of the common kind are kept: a resolved next hop, don't-fragment set (so that the identification is free to be zero,
RFC 6864), no broadcast, no per-datagram options.
"""

from __future__ import annotations

import errno
from struct import Struct
from typing import TYPE_CHECKING

from pysock.core.errors import err
from pysock.core.sock import SEND_SHUTDOWN, SOCK_BROADCAST, SOCK_NO_CHECK
from pysock.core.skbuff import CHECKSUM_NONE, CHECKSUM_PARTIAL, SKB_OVERHEAD, SkBuff
from pysock.families.inet import ip_cmsg, ip_error, route
from pysock.families.inet.addr import ANY, is_multicast, parse
from pysock.families.inet.fib import RTN_BROADCAST, RTN_MULTICAST
from pysock.families.inet.ip_output import IP_PMTUDISC_DO, IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE, build_header_template
from pysock.families.inet.ip_output import finish_output, loop_back
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.in_ import IPPROTO_UDP
from pysock.uapi.socket import MSG_CONFIRM, MSG_DONTROUTE, MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, MSG_OOB
from pysock.uapi.tcp import TCP_ESTABLISHED
from pysock.wire.ipv4 import DF

if TYPE_CHECKING:
    from pysock.core.sock import Address, MsgHdr
    from pysock.families.inet.udp import UdpSock

#: version+IHL and TOS | total length | identification | flags, TTL, protocol | checksum | addresses and ports | UDP length, sum
_pack = Struct("!2sHH4sH12sHH").pack
HEADERS = 28
#: The longest payload: 65535 less the two headers.
MAX_PAYLOAD = 0xFFFF - HEADERS

_PLAIN = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CONFIRM
