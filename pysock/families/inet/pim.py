"""The register interface of PIM sparse mode (RFC 7761 4.4; pimreg in net/ipv4/ipmr.c).

What leaves by it is not sent but given to the daemon, whole (IGMPMSG_WHOLEPKT), which wraps it for the rendezvous
point; PIM registers that arrive are unwrapped, and their multicasts come in on it. Its device is "pimreg".
"""

from __future__ import annotations

import errno
from functools import partial

from pysock.core.dev import netif_rx
from pysock.core.device import alloc_netdev, dev_open, register_netdev, unregister_netdev
from pysock.core.device_ops import NETDEV_TX_OK, NetDeviceOps
from pysock.core.errors import err
from pysock.core.skb_data import pskb_may_pull, skb_checksum
from pysock.core.skbuff import CHECKSUM_NONE, SkBuff, consume_skb, kfree_skb, skb_pull
from pysock.families.inet.addr import is_multicast
from pysock.uapi.if_ import ARPHRD_PIMREG, IFF_NOARP
from pysock.uapi.if_ether import ETH_DATA_LEN, ETH_P_IP
from pysock.uapi.if_packet import PACKET_HOST
from pysock.uapi.in_ import IPPROTO_PIM
from pysock.uapi.mroute import IGMPMSG_WHOLEPKT
from pysock.wire.checksum import fold, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.ipmr import Ipmr

_NAME: Final = "pimreg"
#: A register's header: version 2 and type 1, a byte, the checksum, flags
_HEADER: Final = 8
_REGISTER: Final = 0x21
_NULL_REGISTER: Final = 0x40


class RegisterOps(NetDeviceOps):
    """What is sent to the device goes to the daemon (reg_vif_xmit)."""

    __slots__ = ("table",)

    def __init__(self, table: Ipmr) -> None:
        self.table = table

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        dev.stats.tx_packets += 1
        dev.stats.tx_bytes += skb.len
        if skb.protocol == ETH_P_IP and pskb_may_pull(skb, 20):
            skb.network_header = skb.data
            self.table.report(skb, self.table.reg_vif, IGMPMSG_WHOLEPKT)
        consume_skb(skb)
        return NETDEV_TX_OK


def register_device(table: Ipmr, index: int) -> NetDevice:
    """Make the device for the interface ``index``, which is the register one from now on (ipmr_reg_vif). EADDRINUSE
    when there is one, ENOBUFS when there can be none.
    """
    if table.reg_vif >= 0:
        raise err(errno.EADDRINUSE)

    def setup(dev: NetDevice) -> None:
        dev.type = ARPHRD_PIMREG
        dev.mtu = ETH_DATA_LEN - 20 - _HEADER
        dev.flags = IFF_NOARP
        dev.netdev_ops = RegisterOps(table)

    inet = table.inet
    dev = alloc_netdev(inet.kernel, _NAME, setup, inet.net)
    try:
        register_netdev(dev)
    except OSError as exc:
        raise err(errno.ENOBUFS) from exc
    try:
        dev_open(dev)
    except OSError as exc:
        unregister_netdev(dev)
        raise err(errno.ENOBUFS) from exc
    table.reg_vif = index
    inet.protos.setdefault(IPPROTO_PIM, partial(rcv, table))
    return dev


def rcv(table: Ipmr, skb: SkBuff) -> None:
    """The handler of protocol 103 (pim_rcv): ``skb.data`` at the PIM header. All but registers is for raw sockets,
    which have it already.
    """
    if not _unwrap(table, skb):
        kfree_skb(skb, "NOT_SPECIFIED")


def _unwrap(table: Ipmr, skb: SkBuff) -> bool:
    """__pim_rcv(): whether it was a register with a multicast in it, which came in on our device then."""
    vif = table.vif(table.reg_vif)
    if vif is None or not pskb_may_pull(skb, _HEADER + 20):
        return False
    at = skb.data
    header = bytes(skb.head[at : at + _HEADER + 20])
    if header[0] != _REGISTER or header[4] & _NULL_REGISTER:
        return False
    # The sum is over the header alone; some senders take all (RFC 7761 4.9.3).
    if not verify(header[:_HEADER]) and fold(skb_checksum(skb, 0, skb.len)) != 0xFFFF:
        return False
    inner = header[_HEADER:]
    length = int.from_bytes(inner[2:4], "big")
    if not is_multicast(inner[16:20]) or not length or length + _HEADER > skb.len:
        return False
    skb_pull(skb, _HEADER)
    skb.mac_header = skb.network_header = skb.data
    skb.transport_header = -1
    skb.protocol = ETH_P_IP
    skb.ip_summed = CHECKSUM_NONE
    skb.pkt_type = PACKET_HOST
    skb.dst = None
    skb.dev = vif.dev
    vif.dev.stats.rx_packets += 1
    vif.dev.stats.rx_bytes += skb.len
    netif_rx(skb)
    return True
