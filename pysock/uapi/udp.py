"""UDP and UDP-Lite numbers: options at levels SOL_UDP and SOL_UDPLITE, which are one, and encapsulation types (udp(7),
udplite(7), ``<linux/udp.h>``).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

UDP_CORK: Final = 1
UDP_ENCAP: Final = 100
UDP_NO_CHECK6_TX: Final = 101
UDP_NO_CHECK6_RX: Final = 102
UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104

# Of UDP-Lite's sockets: bytes that checksums cover, from the header on; 0: all
UDPLITE_SEND_CSCOV: Final = 10
UDPLITE_RECV_CSCOV: Final = 11

# Values of UDP_ENCAP
UDP_ENCAP_ESPINUDP_NON_IKE: Final = 1
UDP_ENCAP_ESPINUDP: Final = 2
UDP_ENCAP_L2TPINUDP: Final = 3

UDP_MAX_SEGMENTS: Final = 128  # datagrams that one UDP_SEGMENT send may be (64 before Linux 6.9)
