"""InetSock: what every AF_INET protocol keeps about a socket (struct inet_sock)."""

from __future__ import annotations

from pysock.core.sock import Proto, Sock
from pysock.families.inet.addr import ANY
from pysock.families.inet.net import InetNet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.families.inet.igmp_sock import Membership
    from pysock.families.inet.route import Rtable
    from pysock.families.inet.v6part import V6Part

# InetSock.cmsg_flags: what recvmsg reports besides the data.
CMSG_PKTINFO = 1
CMSG_TTL = 2
CMSG_TOS = 4
CMSG_ORIGDSTADDR = 16
CMSG_RECVOPTS = 32
CMSG_RETOPTS = 64


class InetSock(Sock):
    """Addresses are 4 wire bytes, ports ints in host order.

    ``saddr``/``sport`` is what packets leave with, ``rcv_saddr`` what the socket was bound to (both ANY before that);
    ``daddr``/``dport`` the peer of a connected socket. ``dst`` caches the route to the peer.
    """

    __slots__ = (
        "bind_address_no_port",
        "cmsg_flags",
        "daddr",
        "dport",
        "dst",
        "freebind",
        "hdrincl",
        "inet",
        "ip_header",
        "ip_id",
        "ip_options",
        "mc_all",
        "mc_index",
        "mc_list",
        "mc_loop",
        "mc_ttl",
        "min_ttl",
        "pinet6",
        "pmtudisc",
        "rcv_saddr",
        "recverr",
        "saddr",
        "sport",
        "tos",
        "ttl",
        "user_bound",
    )

    def __init__(self, net: Net, family: int, type: int, protocol: int, prot: Proto, creds: Credentials) -> None:
        Sock.__init__(self, net, family, type, protocol, prot, creds)
        self.inet: InetNet = net.get(InetNet)
        self.pinet6: V6Part | None = None  # an AF_INET6 socket's other half
        self.saddr = self.rcv_saddr = self.daddr = ANY
        self.sport = self.dport = 0
        self.dst: Rtable | None = None
        #: Constant parts of this connection's IP header, see ip_output.xmit_segment.
        self.ip_header: tuple[bytes, bytes, bytes, int] | None = None
        self.ip_id = 0
        self.ttl = -1  # -1: the namespace's default
        self.tos = self.cmsg_flags = self.min_ttl = self.mc_index = 0
        self.mc_ttl = 1
        self.mc_loop = self.mc_all = True
        self.mc_list: list[Membership] | None = None
        self.hdrincl = self.recverr = self.freebind = self.bind_address_no_port = self.user_bound = False
        self.pmtudisc = 1  # IP_PMTUDISC_WANT
        self.ip_options = b""

    def reset_flows(self) -> None:
        """An option that goes with every packet changed (sk_dst_reset): the next one is routed anew."""
        self.dst = None

    def progress(self) -> int:
        """A number that grows whenever the peer proves that what we send arrives; see `Neighbour.hint_progress`."""
        return 0
