"""Ping sockets: ICMP echo for everybody (SOCK_DGRAM with IPPROTO_ICMP; icmp(7), net/ipv4/ping.c).

A ping socket sends echo requests and receives the replies to them; the ICMP identifier is its port, written over what
the program put there. Who may make one is decided by the group and net.ipv4.ping_group_range, not by a capability.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.core.sock import SEND_SHUTDOWN
from pysock.families.inet import ip_cmsg, ip_error
from pysock.families.inet.addr import ANY, host_text
from pysock.families.inet.datagram import DatagramProto, DatagramSock, autobind, queue_rcv, wait_for_room
from pysock.families.inet.icmp_rate import icmp_of
from pysock.families.inet.nexthop import icmp_says
from pysock.families.inet.raw_output import route_datagram, send_payload
from pysock.uapi.in_ import IPPROTO_ICMP
from pysock.uapi.socket import MSG_OOB
from pysock.uapi.tcp import TCP_ESTABLISHED
from pysock.wire.checksum import checksum
from pysock.wire.icmp import ECHO_REQUEST, HEADER_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.core.sock import Address, MsgHdr, Proto
    from pysock.families.inet.net import InetNet


class PingTable:
    """The ping sockets of one namespace by identifier, oldest first, and who may make them."""

    __slots__ = ("by_ident", "group_range", "inet", "rover")

    def __init__(self, inet: InetNet) -> None:
        self.inet = inet
        self.by_ident: dict[int, list[PingSock]] = {}
        self.rover: int | None = None  # chance says where it starts
        self.group_range: tuple[int, ...] = (1, 0)  # nobody, until an administrator says otherwise
        inet.net.sysctl.register_lazy("net.ipv4", self._register_sysctls)

    def _register_sysctls(self) -> None:
        self.inet.net.sysctl.register_ints(
            "net.ipv4.ping_group_range", self.group_range, minimum=0, on_change=self._set_group_range
        )

    def _set_group_range(self, value: tuple[int, ...]) -> None:
        self.group_range = value

    def allows(self, creds: Credentials) -> bool:
        """ping_init_sock(): is one of the groups in the range?"""
        low, high = self.group_range
        return any(low <= gid <= high for gid in (creds.gid, *creds.groups))

    def lookup(self, ident: int, local: bytes, ifindex: int) -> PingSock | None:
        """Whose an echo message to our address ``local`` is (ping_lookup); ``ifindex`` 0 matches every device."""
        for sk in self.by_ident.get(ident, ()):
            if sk.pinet6 is None and sk.rcv_saddr in (ANY, local) and (not ifindex or sk.bound_dev_if in (0, ifindex)):
                return sk
        return None


def table_of(inet: InetNet) -> PingTable:
    table = inet.state["ping"]
    assert isinstance(table, PingTable)
    return table


class PingSock(DatagramSock):
    """``sport`` is the ICMP identifier. EACCES for a group outside net.ipv4.ping_group_range."""

    __slots__ = ("table",)

    def __init__(self, net: Net, family: int, type: int, protocol: int, prot: Proto, creds: Credentials) -> None:
        DatagramSock.__init__(self, net, family, type, protocol, prot, creds)
        self.table = table_of(self.inet)
        if not self.table.allows(creds):
            raise err(errno.EACCES)


class PingProto(DatagramProto):
    """ping_prot."""

    __slots__ = ()
    name = "PING"

    def hash(self, sk: PingSock) -> None:
        if sk.sport:
            self.unhash(sk)
            sk.table.by_ident.setdefault(sk.sport, []).append(sk)

    def unhash(self, sk: PingSock) -> None:
        owners = sk.table.by_ident.get(sk.sport, [])
        if sk in owners:
            owners.remove(sk)
            if not owners:
                del sk.table.by_ident[sk.sport]

    def get_port(self, sk: PingSock, port: int) -> None:
        """Take an identifier, 0 for any; EADDRINUSE unless all who have it allow sharing (ping_get_port)."""
        table = sk.table
        if port == 0:
            rover = table.rover
            if rover is None:
                rover = sk.kernel.random("ping.ident").getrandbits(16)
            for _ in range(0x10000):
                rover = table.rover = (rover + 1) & 0xFFFF
                if rover and rover not in table.by_ident:
                    port = rover
                    break
            else:
                raise err(errno.EADDRINUSE)
        elif any(not (other.reuse and sk.reuse) for other in table.by_ident.get(port, ())):
            raise err(errno.EADDRINUSE)
        else:
            sk.port_locked = True
        sk.addr_locked = sk.rcv_saddr != ANY
        sk.sport = port
        self.hash(sk)

    def sendmsg(self, sk: PingSock, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        """Send an echo request: ``data`` is the whole ICMP message, whose identifier and checksum are filled in here.

        EINVAL unless it is one, of 8 bytes at least; EDESTADDRREQ without an address and a peer; errors as in UDP.
        """
        n = len(data)
        if n > 0xFFFF:
            raise err(errno.EMSGSIZE)
        if n < HEADER_SIZE:
            raise err(errno.EINVAL)
        if flags & MSG_OOB:
            raise err(errno.EOPNOTSUPP)
        if data[0] != ECHO_REQUEST or data[1]:
            raise err(errno.EINVAL)
        autobind(sk)
        rt, params = route_datagram(sk, msg)
        if sk.err:
            raise err(sk.take_error())
        if sk.shutdown & SEND_SHUTDOWN:
            raise err(errno.EPIPE)
        wait_for_room(sk, flags)
        head = data[:2] + b"\0\0" + sk.sport.to_bytes(2, "big") + data[6:]
        skb = SkBuff(head[:2] + checksum(head).to_bytes(2, "big") + head[4:], 0, n)
        send_payload(sk, rt, params, IPPROTO_ICMP, skb)
        return n

    def name_of(self, sk: PingSock, skb: SkBuff) -> Address:
        at = skb.network_header
        return host_text(bytes(skb.head[at + 12 : at + 16])), 0

    def receive_control(self, sk: PingSock, skb: SkBuff, msg: MsgHdr) -> None:
        ip_cmsg.receive(sk, skb, msg, ports=False)


# --- in -------------------------------------------------------------------------------------------------------


def rcv(inet: InetNet, skb: SkBuff) -> None:
    """An echo reply that passed ICMP's checks (ping_rcv): the socket gets it with its ICMP header."""
    head = skb.head
    at = skb.data
    network = skb.network_header
    dev = skb.dev
    sk = table_of(inet).lookup(
        head[at + 4] << 8 | head[at + 5],
        bytes(head[network + 16 : network + 20]),
        dev.ifindex if dev is not None else 0,
    )
    if sk is None:
        kfree_skb(skb, "NO_SOCKET")
    else:
        queue_rcv(sk, skb)


class ErrorInput:
    """What ICMP says about our echo requests (ping_err); see `net.ErrorHandler`."""

    __slots__ = ("inet",)

    def __init__(self, inet: InetNet) -> None:
        self.inet = inet

    def __call__(self, quoted: bytes, header_len: int, type: int, code: int, info: int) -> None:
        if quoted[header_len] != ECHO_REQUEST or quoted[header_len + 1]:
            return
        ident = int.from_bytes(quoted[header_len + 4 : header_len + 6], "big")
        sk = table_of(self.inet).lookup(ident, quoted[12:16], 0)
        if sk is None:
            return
        icmp_says(sk, quoted, type, code, info)
        number, hard = ip_error.meaning(sk, type, code)
        if not number:
            return
        if sk.recverr:
            name = host_text(quoted[16:20]), 0
            offender = icmp_of(self.inet).offender
            ip_error.icmp_error(sk, number, type, code, info, name, offender, quoted[header_len:])
        elif not hard or sk.state != TCP_ESTABLISHED:
            return
        sk.set_error(number)


PING_PROT = PingProto()


def setup(inet: InetNet) -> None:
    """Give a namespace its ping table."""
    inet.state["ping"] = PingTable(inet)
    inet.errors[IPPROTO_ICMP] = ErrorInput(inet)
