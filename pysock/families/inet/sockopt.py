"""IP-level options. Skeleton."""

from __future__ import annotations

from pysock.families.inet.inet_sock import InetSock


def setsockopt(sk: InetSock, level: int, optname: int, value: bytes) -> None:
    sk.prot.setsockopt(sk, level, optname, value)


def getsockopt(sk: InetSock, level: int, optname: int, optlen: int) -> bytes:
    return sk.prot.getsockopt(sk, level, optname, optlen)
