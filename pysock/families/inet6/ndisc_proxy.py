"""Neighbour discovery in somebody else's place (RFC 4389, `ip -6 neigh add proxy`): for each address in the neighbour
table's ``proxies``, while we are a router and net.ipv6.conf.DEV.proxy_ndp, or "all"'s, is set.

    a solicitation by multicast     answered after a random part of proxy_delay, without override: the owner wins
    one by unicast, to the address  would be sent on, but is taken in as ours (ip6_forward_proxy_check)

Linux looks at "all" alone for the second. Whoever is proxied hears its packets by a route of the administrator's.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.skb_copy import skb_clone
from pysock.families.inet6 import mcast
from pysock.families.inet6.addr import is_linklocal, solicited_node
from pysock.families.inet6.devconf import idev_of
from pysock.uapi.if_packet import PACKET_HOST
from pysock.uapi.in_ import IPPROTO_ICMPV6
from pysock.wire.icmpv6 import NEIGHBOUR_ADVERT, NEIGHBOUR_SOLICIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.neighbour_table import ProxyEntry
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet6.devconf import Inet6Dev
    from pysock.families.inet6.net import Inet6Net

_MESSAGES: Final = (NEIGHBOUR_SOLICIT, NEIGHBOUR_ADVERT)

FORWARD: Final = 0
INPUT: Final = 1
REFUSE: Final = 2


def added(inet6: Inet6Net, entry: ProxyEntry) -> None:
    """Hear what is asked of the address (pndisc_constructor). EINVAL without a device that has IPv6."""
    if entry.dev is None or idev_of(entry.dev) is None:
        raise err(errno.EINVAL)
    mcast.join(inet6, entry.dev, solicited_node(entry.key))


def removed(inet6: Inet6Net, entry: ProxyEntry) -> None:
    """pndisc_destructor()."""
    if entry.dev is not None and idev_of(entry.dev) is not None:
        mcast.leave(inet6, entry.dev, solicited_node(entry.key))


def _everywhere(inet6: Inet6Net) -> bool:
    from pysock.families.inet6.addrconf import addrconf_of

    return bool(addrconf_of(inet6).all.proxy_ndp)


def proxy_for(inet6: Inet6Net, idev: Inet6Dev, target: bytes) -> ProxyEntry | None:
    """Whether we answer for ``target`` on a device."""
    if not inet6.nd.proxies or not idev.conf.forwarding or not (idev.conf.proxy_ndp or _everywhere(inet6)):
        return None
    return inet6.nd.proxy_lookup(idev.dev, target)


def put_off(inet6: Inet6Net, idev: Inet6Dev, skb: SkBuff) -> bool:
    """Answer later a question that all could hear, so that the owner can; whether that is so. The packet stays the
    caller's.
    """
    parms = inet6.nd.parms_of(idev.dev)
    if skb.pkt_type == PACKET_HOST or not parms.proxy_delay:
        return False
    inet6.nd.proxy_enqueue(parms, skb_clone(skb))
    return True


def check(inet6: Inet6Net, skb: SkBuff, daddr: bytes, nexthdr: int) -> int:
    """What becomes of a packet that is to be forwarded, to an address that we may be a proxy for: ``skb.data`` is
    behind the headers that were read. REFUSE: it is link-local, and means another link.
    """
    dev = skb.dev
    assert dev is not None
    if not _everywhere(inet6) or inet6.nd.proxy_lookup(dev, daddr) is None:
        return FORWARD
    if nexthdr == IPPROTO_ICMPV6 and skb.len - skb.data_len > 0 and skb.head[skb.data] in _MESSAGES:
        return INPUT
    return REFUSE if is_linklocal(daddr) else FORWARD
