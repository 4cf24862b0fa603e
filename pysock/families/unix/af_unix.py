"""UnixFamily: what `socket(AF_UNIX, type, protocol)` makes, and which operations each type gets."""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.sock import NetProtoFamily
from pysock.families.unix.dgram import UnixDgramOps
from pysock.families.unix.seqpacket import UnixSeqpacketOps
from pysock.families.unix.stream import UnixStreamOps
from pysock.families.unix.unix_sock import UnixSock
from pysock.uapi.socket import AF_UNIX, PF_UNIX, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.core.sock import ProtoOps, Socket

#: Stateless, so one of each serves every socket of every kernel.
OPS_BY_TYPE: Final[dict[int, ProtoOps]] = {
    SOCK_STREAM: UnixStreamOps(),
    SOCK_DGRAM: UnixDgramOps(),
    SOCK_SEQPACKET: UnixSeqpacketOps(),
}


class UnixFamily(NetProtoFamily):
    """AF_UNIX (unix_family_ops)."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(AF_UNIX, "unix")

    def create(self, net: Net, creds: Credentials, sock: Socket, protocol: int) -> None:
        """unix_create(): EPROTONOSUPPORT but for protocol 0 and PF_UNIX; ESOCKTNOSUPPORT. SOCK_RAW is a
        datagram socket, as it has been since BSD.
        """
        if protocol not in (0, PF_UNIX):
            raise err(errno.EPROTONOSUPPORT)
        if sock.type == SOCK_RAW:
            sock.type = SOCK_DGRAM
        ops = OPS_BY_TYPE.get(sock.type)
        if ops is None:
            raise err(errno.ESOCKTNOSUPPORT)
        sk = UnixSock(net, sock.type, creds)
        sk.socket = sock
        sock.sk = sk
        sock.ops = ops
