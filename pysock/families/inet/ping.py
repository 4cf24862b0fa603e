"""ping sockets. Skeleton."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysock.core.sock import Proto
from pysock.families.inet.inet_sock import InetSock

if TYPE_CHECKING:
    from pysock.families.inet.net import InetNet


class PingSock(InetSock):
    __slots__ = ()


class PingProto(Proto):
    __slots__ = ()


PING_PROT = PingProto()


def setup(inet: InetNet) -> None:
    pass
