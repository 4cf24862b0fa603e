"""Counting what must not be left behind."""

from __future__ import annotations

import gc
from collections import Counter

from pysock.core.device import NetDevice
from pysock.core.neighbour import Neighbour
from pysock.core.qdisc import Qdisc
from pysock.core.skbuff import SkBuff
from pysock.core.sock import Sock
from pysock.families.inet.devinet import InDevice, InIfaddr
from pysock.families.inet.fib import FibEntry
from pysock.families.inet.ip_reasm import Ipq
from pysock.families.inet.route import Rtable
from pysock.families.inet6.devconf import Inet6Dev, Inet6Ifaddr
from pysock.families.inet6.fib6 import Fib6Entry
from pysock.families.inet6.route import Rt6

KINDS = (
    SkBuff, NetDevice, Neighbour, Qdisc, Sock, InDevice, InIfaddr, FibEntry, Rtable, Ipq, Inet6Dev, Inet6Ifaddr,
    Fib6Entry, Rt6,
)  # fmt: skip


def census() -> Counter[str]:
    """How many there are of each kind that a device may have to do with."""
    gc.collect()
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, KINDS))


def growth(before: Counter[str]) -> dict[str, int]:
    """What there is more of than ``before``."""
    now = census()
    now.subtract(before)
    return {kind: count for kind, count in now.items() if count > 0}
