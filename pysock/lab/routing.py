"""Static routes over a topology: every host reaches every subnet that routers lead to, by the fewest of them.

Of two ways of the same length the one by the router that was linked first counts. A host whose ways all begin with the
same router has one default route; a router, and a host between several, have one for each subnet.
"""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pysock.lab.addressing import Segment
    from pysock.lab.host import Host
    from pysock.lab.link import End

_DEFAULT4 = (bytes(4), 0)
_DEFAULT6 = (bytes(16), 0)


def segments_of(host: Host) -> list[Segment]:
    """The subnets that ``host`` is on."""
    return list(dict.fromkeys(end.segment for end in host.ends if end.segment is not None))


def first_hops(host: Host) -> dict[Segment, End]:
    """For each subnet that ``host`` is not on: the router's end that its packets go to first."""
    near = segments_of(host)
    found: dict[Segment, End] = {}
    queue: deque[tuple[Segment, End | None]] = deque((segment, None) for segment in near)
    known = set(near)
    while queue:
        segment, first = queue.popleft()
        for end in segment.ends:
            router = end.owner
            if not getattr(router, "router", False) or router is host:
                continue
            for further in segments_of(router):  # type: ignore[arg-type]  # it is a Host
                if further not in known:
                    known.add(further)
                    found[further] = first or end
                    queue.append((further, first or end))
    return found


def route(hosts: Iterable[Host]) -> None:
    """Compute the routes of all hosts anew. Needs the kernel lock."""
    hosts = list(hosts)
    for host in hosts:
        host.forget_routes()
    if not any(host.router for host in hosts):
        return
    shared: dict[Segment, dict[Segment, End]] = {}  # for all plain hosts that are on one subnet alone
    for host in hosts:
        near = segments_of(host)
        if len(near) == 1 and not host.router:
            hops = shared.get(near[0])
            if hops is None:
                hops = shared[near[0]] = first_hops(host)
        else:
            hops = first_hops(host)
        _apply(host, hops)


def _apply(host: Host, hops: dict[Segment, End]) -> None:
    ends = set(hops.values())
    if len(ends) == 1 and not host.router:
        wanted = [(*_DEFAULT4, *_DEFAULT6, ends.pop())]
    else:
        wanted = [
            (to.net4.network_address.packed, to.net4.prefixlen, *_prefix6(to), end) for to, end in hops.items()
        ]
    for to4, plen4, to6, plen6, end in wanted:
        for v6, to, plen in ((False, to4, plen4), (True, to6, plen6)):
            via = _address(end, 6 if v6 else 4)
            if via is not None and to:
                entry = host.add_route(v6, to, plen, via)
                if entry is not None:
                    host.routed.append(entry)


def _prefix6(segment: Segment) -> tuple[bytes, int]:
    return (segment.net6.network_address.packed, segment.net6.prefixlen) if segment.net6 is not None else (b"", 0)


def _address(end: End, version: int) -> bytes | None:
    return next((one.packed for one in end.addresses if one.version == version), None)
