"""Ethernet for devices: how a frame is framed and read, and the defaults of an Ethernet device.

`ether_setup` fills a NetDevice in, `EthHeaderOps` builds headers, `eth_type_trans` is what a driver calls on a received
frame, `EthDeviceOps` checks addresses. Source: net/ethernet/eth.c, by function name.
"""

from __future__ import annotations

import errno

from pysock.core.device_ops import HeaderOps, NetDeviceOps
from pysock.core.errors import err
from pysock.core.skb_data import pskb_may_pull
from pysock.core.skbuff import skb_push_data
from pysock.uapi.if_ import ARPHRD_ETHER, IFF_BROADCAST, IFF_LOOPBACK, IFF_MULTICAST, IFF_NOARP
from pysock.uapi.if_ether import (
    ETH_ALEN,
    ETH_DATA_LEN,
    ETH_HLEN,
    ETH_MIN_MTU,
    ETH_P_802_2,
    ETH_P_802_3,
    ETH_P_802_3_MIN,
)
from pysock.uapi.if_packet import PACKET_BROADCAST, PACKET_HOST, PACKET_MULTICAST, PACKET_OTHERHOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from random import Random

    from pysock.core.device import NetDevice
    from pysock.core.skbuff import SkBuff

ZERO_ADDR = bytes(ETH_ALEN)
BROADCAST_ADDR = b"\xff" * ETH_ALEN


def is_valid_ether_addr(addr: bytes) -> bool:
    """Six bytes that are neither zero nor a group address."""
    return len(addr) == ETH_ALEN and addr != ZERO_ADDR and not addr[0] & 1


def eth_random_addr(rng: Random) -> bytes:
    """A locally administered unicast address; give it a stream of `kernel.random`."""
    addr = bytearray(rng.randbytes(ETH_ALEN))
    addr[0] = addr[0] & 0xFE | 0x02
    return bytes(addr)


class EthHeaderOps(HeaderOps):
    """eth_header_ops. Addresses are 6 bytes."""

    __slots__ = ()

    def build(self, dev: NetDevice, type: int, daddr: bytes | None, saddr: bytes | None) -> bytes | None:
        """14 bytes. Without ``daddr``: zeros on a loopback or NOARP device, else None."""
        if daddr is None:
            if not dev.flags & (IFF_LOOPBACK | IFF_NOARP):
                return None
            daddr = ZERO_ADDR
        return daddr + (saddr or dev.dev_addr) + type.to_bytes(2, "big")

    def create(self, skb: SkBuff, dev: NetDevice, type: int, daddr: bytes | None, saddr: bytes | None) -> int:
        header = self.build(dev, type, daddr, saddr)
        if header is None:
            return -ETH_HLEN
        skb_push_data(skb, header)
        return ETH_HLEN

    def parse(self, skb: SkBuff) -> bytes:
        mac = skb.mac_header
        return bytes(skb.head[mac + 6 : mac + 12]) if mac >= 0 else b""


ETH_HEADER_OPS = EthHeaderOps()


def eth_type_trans(skb: SkBuff, dev: NetDevice) -> bool:
    """Take the Ethernet header off a received frame: sets dev, mac_header, protocol and pkt_type.

    False for a frame shorter than a header: counted in rx_length_errors and rx_errors, and the caller frees it.
    An 802.3 length gives ETH_P_802_2 (or ETH_P_802_3 for raw IPX), as in Linux.
    """
    skb.dev = dev
    if skb.len - skb.data_len < ETH_HLEN and not pskb_may_pull(skb, ETH_HLEN):
        dev.stats.rx_length_errors += 1
        dev.stats.rx_errors += 1
        return False
    at = skb.data
    head = skb.head
    skb.mac_header = at
    skb.data = at + ETH_HLEN
    skb.len -= ETH_HLEN
    dest = head[at : at + ETH_ALEN]
    if dest == dev.dev_addr:
        if skb.ext is not None:
            skb.ext.pkt_type = PACKET_HOST
    elif dest[0] & 1:
        skb.pkt_type = PACKET_BROADCAST if dest == dev.broadcast else PACKET_MULTICAST
    else:
        skb.pkt_type = PACKET_OTHERHOST
    protocol = head[at + 12] << 8 | head[at + 13]
    if protocol < ETH_P_802_3_MIN:
        raw = skb.len - skb.data_len >= 2 and head[at + 14 : at + 16] == b"\xff\xff"
        protocol = ETH_P_802_3 if raw else ETH_P_802_2
    skb.protocol = protocol
    return True


class EthDeviceOps(NetDeviceOps):
    """Address handling that every Ethernet driver wants: derive from it."""

    __slots__ = ()

    def ndo_set_mac_address(self, dev: NetDevice, addr: bytes) -> None:
        """eth_mac_addr(): EBUSY while the device is up, unless it says live_addr_change; EADDRNOTAVAIL for zero or
        a group address.
        """
        if not dev.live_addr_change and dev.running:
            raise err(errno.EBUSY)
        if not is_valid_ether_addr(addr):
            raise err(errno.EADDRNOTAVAIL)

    def ndo_validate_addr(self, dev: NetDevice) -> None:
        if not is_valid_ether_addr(dev.dev_addr):
            raise err(errno.EADDRNOTAVAIL)


def ether_setup(dev: NetDevice) -> None:
    """The defaults of an Ethernet device (ether_setup). The address stays zero: the driver gives it one."""
    dev.header_ops = ETH_HEADER_OPS
    dev.type = ARPHRD_ETHER
    dev.hard_header_len = ETH_HLEN
    dev.mtu = ETH_DATA_LEN
    dev.min_mtu = ETH_MIN_MTU
    dev.max_mtu = ETH_DATA_LEN
    dev.addr_len = ETH_ALEN
    dev.dev_addr = ZERO_ADDR
    dev.broadcast = BROADCAST_ADDR
    dev.tx_queue_len = 1000
    dev.flags = IFF_BROADCAST | IFF_MULTICAST
