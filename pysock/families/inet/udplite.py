"""UDP-Lite (RFC 3828, udplite(7)): UDP whose checksum may cover only the first part of a datagram, so that damage
behind it does not cost the whole.

All of it is UDP, in a port space of its own (a `UdpTable` with a `Coverage`) and with counters of its own. Where UDP's
header says how long the datagram is, which IP knows anyway, this one says how many bytes from the header on are
covered: at least the header's 8, or 0 for all. The pseudo header is always covered, and its length is the datagram's.
A checksum of zero means nothing and is an error.

Checksums are computed here, not left to the device, as in Linux; nothing takes UDP's short ways.
"""

from __future__ import annotations

from functools import partial

from pysock.core.skb_data import skb_checksum, skb_store_bits
from pysock.core.skbuff import CHECKSUM_NONE, SkBuff, kfree_skb
from pysock.core.sock_cmsg import count_drop
from pysock.families.inet.udp import UdpProto, UdpSock
from pysock.families.inet.udp_table import UdpTable
from pysock.uapi.in_ import IPPROTO_UDPLITE
from pysock.uapi.socket import SOL_UDP, SOL_UDPLITE
from pysock.uapi.udp import UDPLITE_RECV_CSCOV, UDPLITE_SEND_CSCOV
from pysock.wire.checksum import finish, fold
from pysock.wire.checksum import partial as sum_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.core.sock import Proto
    from pysock.families.inet.net import InetNet

_HEADER: Final = 8
_LENGTH: Final = 4  # where the coverage is in the header; the checksum is behind it
_UNSET: Final = -1


def table_of(inet: InetNet) -> UdpTable:
    """The UDP-Lite sockets of a namespace."""
    table = inet.state["udplite"]
    assert isinstance(table, UdpTable)
    return table


class UdpLiteSock(UdpSock):
    """``send_coverage`` and ``recv_coverage`` are UDPLITE_SEND_CSCOV and UDPLITE_RECV_CSCOV: bytes, 0 for all,
    `_UNSET` until the program sets them.
    """

    __slots__ = ("recv_coverage", "send_coverage")

    def __init__(self, net: Net, family: int, type: int, protocol: int, prot: Proto, creds: Credentials) -> None:
        UdpSock.__init__(self, net, family, type, protocol, prot, creds)
        self.table = table_of(self.inet)
        self.send_coverage = self.recv_coverage = _UNSET


class Coverage:
    """What UDP asks when a datagram is UDP-Lite's."""

    __slots__ = ()

    def finish(self, sk: UdpSock, skb: SkBuff, at: int) -> None:
        """Complete the header of an outgoing datagram, which is ``at`` bytes behind its data and as UDP would leave it
        to a device: fill in the coverage, and turn the sum of the pseudo header into the checksum (udplite_csum).
        """
        assert isinstance(sk, UdpLiteSock)
        size = skb.len - at
        covered = field = size
        if 0 <= sk.send_coverage < size:
            field = sk.send_coverage
            covered = field or size
        head = skb.head
        start = skb.data + at
        ports_and_coverage = head[start : start + _LENGTH] + field.to_bytes(2, "big")
        pseudo = head[start + 6] << 8 | head[start + 7]
        total = sum_of(ports_and_coverage) + pseudo + skb_checksum(skb, at + _HEADER, covered - _HEADER)
        check = finish(total) or 0xFFFF
        skb_store_bits(skb, at + _LENGTH, (field << 16 | check).to_bytes(4, "big"))
        skb.ip_summed = CHECKSUM_NONE

    def verify(self, skb: SkBuff, addresses: bytes) -> bool:
        """Whether an incoming datagram between ``addresses`` (of 4 or 16 bytes each, source first) is as RFC 3828 3.1
        wants it (udplite_checksum_init). Its data is at the UDP-Lite header.
        """
        head = skb.head
        at = skb.data
        covered = coverage_of(skb)
        if not (head[at + 6] or head[at + 7]) or not _HEADER <= covered <= skb.len:
            return False
        if skb.ip_summed != CHECKSUM_NONE:
            return True
        pseudo = int.from_bytes(addresses, "big") + IPPROTO_UDPLITE + skb.len
        return fold(skb_checksum(skb, 0, covered) + pseudo) == 0xFFFF

    def accepts(self, sk: UdpSock, skb: SkBuff) -> bool:
        """Whether a datagram that is covered in part is covered enough for the program; else it is counted as dropped
        there and freed (udp_queue_rcv_one_skb).
        """
        assert isinstance(sk, UdpLiteSock)
        wanted = sk.recv_coverage
        covered = coverage_of(skb)
        if wanted == _UNSET or covered == skb.len or 0 < wanted <= covered:
            return True
        count_drop(sk)
        kfree_skb(skb, "NOT_SPECIFIED")
        return False


def coverage_of(skb: SkBuff) -> int:
    """How many bytes of an incoming datagram, whose data is at the UDP-Lite header, its checksum covers."""
    head = skb.head
    at = skb.data + _LENGTH
    return head[at] << 8 | head[at + 1] or skb.len


class UdpLiteProto(UdpProto):
    """udplite_prot."""

    __slots__ = ()
    name = "UDP-Lite"

    def setsockopt(self, sk: UdpSock, level: int, optname: int, value: bytes) -> None:
        """UDP's options and the two of our own, at either level. A coverage that cannot be becomes one that can: 8
        bytes, the header's, below that, 65535 above that.
        """
        if not _ours(level, optname) or len(value) < 4:
            UdpProto.setsockopt(self, sk, level, optname, value)
            return
        assert isinstance(sk, UdpLiteSock)
        number = int.from_bytes(value[:4], "little", signed=True)
        coverage = min(max(number, _HEADER), 0xFFFF) if number else 0
        if optname == UDPLITE_SEND_CSCOV:
            sk.send_coverage = coverage
        else:
            sk.recv_coverage = coverage

    def getsockopt(self, sk: UdpSock, level: int, optname: int, optlen: int) -> bytes:
        if not _ours(level, optname):
            return UdpProto.getsockopt(self, sk, level, optname, optlen)
        assert isinstance(sk, UdpLiteSock)
        coverage = sk.send_coverage if optname == UDPLITE_SEND_CSCOV else sk.recv_coverage
        return max(coverage, 0).to_bytes(4, "little")[:optlen]


def _ours(level: int, optname: int) -> bool:
    return level in (SOL_UDP, SOL_UDPLITE) and optname in (UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV)


UDPLITE_PROT = UdpLiteProto()
_COVERAGE = Coverage()


def setup(inet: InetNet) -> None:
    """Give a namespace its UDP-Lite table and handlers."""
    from pysock.families.inet import udp_input

    table = inet.state["udplite"] = UdpTable(inet, "udplite", inet.mibs.udplite, _COVERAGE)
    inet.protos[IPPROTO_UDPLITE] = partial(udp_input.rcv, table)
    inet.errors[IPPROTO_UDPLITE] = udp_input.ErrorInput(table)
