"""Which of several routers: one that answers before one that does not, whatever they prefer (RFC 4861 6.3.6, RFC 4191
3.2; find_rr_leaf, rt6_check_neigh, rt6_probe in net/ipv6/route.c).

    routes of one prefix and metric, in order of preference -> choose: the first whose router was not found dead
    a router is found dead, or answers again                -> the routing table is told, every flow chooses anew

Routers that were passed over are asked now and then whether they are there again. A router itself does not choose:
its routes are what its administrator or a routing protocol says.
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.neighbour import NUD_VALID
from pysock.core.neighbour_table import tables_of
from pysock.families.inet6 import ndisc
from pysock.families.inet6.addr import solicited_node
from pysock.families.inet6.fib6 import Fib6Entry
from pysock.uapi.neighbour import NUD_FAILED
from pysock.uapi.socket import AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.neighbour import Neighbour
    from pysock.families.inet6.net import Inet6Net

#: Between two questions to a router that did not answer (net.ipv6.conf.all.router_probe_interval).
_PROBE_INTERVAL: Final = 60 * NSEC_PER_SEC


class RouterChoice:
    """``dead``: routers that were found dead, and when each was asked last (ns)."""

    __slots__ = ("dead", "inet6")

    def __init__(self, inet6: Inet6Net) -> None:
        self.inet6 = inet6
        self.dead: dict[tuple[bytes, int], int] = {}
        tables_of(inet6.net).listeners += (self._changed,)

    def _changed(self, neigh: Neighbour) -> None:
        if neigh.table.ops.family != AF_INET6:
            return
        key = neigh.key, neigh.dev.ifindex
        if neigh.nud_state & NUD_FAILED and not neigh.dead:
            if key not in self.dead and any(entry.gateway == neigh.key for entry in self.inet6.fib6.main.entries()):
                self.dead[key] = self.inet6.kernel.now
                self.inet6.fib6.flush()
        elif key in self.dead and (neigh.nud_state & NUD_VALID or neigh.dead):
            del self.dead[key]
            self.inet6.fib6.flush()

    def choose(self, entry: Fib6Entry, oif: int) -> Fib6Entry:
        """The route to take where the table's answer is ``entry``."""
        if not self.dead:
            return entry
        same = [
            one
            for one in self.inet6.fib6.main.at(entry.prefix, entry.plen)
            if one.metric == entry.metric and one.type == entry.type and not one.dead
            if not oif or _index(one) == oif
        ]
        alive = [one for one in same if (one.gateway, _index(one)) not in self.dead]
        for one in same:
            self._probe(one)
        return alive[0] if alive else entry

    def _probe(self, entry: Fib6Entry) -> None:
        """Ask a dead router once in a while (rt6_probe)."""
        dev, gateway = entry.dev, entry.gateway
        if dev is None or gateway is None:
            return
        key = gateway, dev.ifindex
        now = self.inet6.kernel.now
        if key in self.dead and now > self.dead[key] + _PROBE_INTERVAL:
            self.dead[key] = now
            from pysock.families.inet6.addrconf import link_local_of

            source = link_local_of(dev)
            if source is not None:
                ndisc.send_ns(self.inet6, dev, gateway, source, solicited_node(gateway))


def _index(entry: Fib6Entry) -> int:
    return entry.dev.ifindex if entry.dev is not None else 0


def setup(inet6: Inet6Net) -> None:
    """Give a namespace its choice of routers; after its neighbours."""
    inet6.routers = RouterChoice(inet6)
