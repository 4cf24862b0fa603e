"""ICMP for IPv4 (RFC 792, RFC 1122 3.2.2). Skeleton."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysock.wire.icmp import DEST_UNREACH, FRAG_NEEDED, PORT_UNREACH, PROT_UNREACH, TIME_EXCEEDED

if TYPE_CHECKING:
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.net import InetNet

__all__ = ["DEST_UNREACH", "FRAG_NEEDED", "PORT_UNREACH", "PROT_UNREACH", "TIME_EXCEEDED", "send", "setup"]


def setup(inet: InetNet) -> None:
    pass


def send(inet: InetNet, skb: SkBuff, type: int, code: int, info: int) -> None:
    pass
