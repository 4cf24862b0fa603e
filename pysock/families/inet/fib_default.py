"""Several default routes of one metric: the one whose gateway answers (fib_select_default, fib_detect_death in
net/ipv4/fib_semantics.c; RFC 1122 3.3.1.2).

    `ip route append default via ...` twice -> choose: the first whose gateway is reachable, or has not been asked yet
    a gateway is found dead                 -> the routing table is told, and every flow chooses anew

A gateway that was heard of some time ago counts as alive once: it is tried, and at the next choice the next one's turn
comes, unless it has answered.
"""

from __future__ import annotations

from pysock.core.neighbour import NUD_VALID
from pysock.core.neighbour_table import tables_of
from pysock.families.inet.addr import ANY
from pysock.families.inet.fib import RTN_UNICAST, FibEntry
from pysock.uapi.neighbour import NUD_FAILED, NUD_INCOMPLETE, NUD_REACHABLE
from pysock.uapi.socket import AF_INET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.neighbour import Neighbour
    from pysock.families.inet.net import InetNet


def choose(inet: InetNet, entry: FibEntry) -> FibEntry:
    """The default route to take where the table's answer is ``entry``."""
    same = [
        one
        for one in inet.fib.table(entry.table).at(ANY, 0)
        if not one.dead
        and (one.metric, one.tos, one.scope, one.type) == (entry.metric, entry.tos, entry.scope, RTN_UNICAST)
        and one.gateway is not None
        and not one.nexthops
    ]
    if len(same) < 2 or same[0] is not entry:
        return entry
    _watch(inet)
    last = -1
    for order, one in enumerate(same):
        assert one.dev is not None
        assert one.gateway is not None
        neigh = inet.arp.lookup(one.dev, one.gateway)
        state = neigh.nud_state if neigh is not None else NUD_REACHABLE
        if state & NUD_REACHABLE or (state & NUD_VALID and order != entry.chosen):
            entry.chosen = order
            return one
        if state & NUD_VALID or (last < 0 and order > entry.chosen and not state & NUD_INCOMPLETE):
            last = order
    entry.chosen = last
    return same[last] if last >= 0 else entry


def _watch(inet: InetNet) -> None:
    """Hear of gateways that fail, from the first choice on."""
    if "default" in inet.state:
        return

    def changed(neigh: Neighbour) -> None:
        if neigh.nud_state & NUD_FAILED and neigh.table.ops.family == AF_INET:
            if any(one.gateway == neigh.key for table in inet.fib.tables.values() for one in table.at(ANY, 0)):
                inet.fib.flush()

    inet.state["default"] = changed
    tables_of(inet.net).listeners += (changed,)
