"""Policy routing: which table answers for which flow (fib_rules.c in net/core and net/ipv4; ip-rule(8)).

A namespace starts with three rules: 0 asks table local, 32766 main, 32767 default. As long as there are only these,
`FibTable.rules` is None and nobody comes here. `FibRules` keeps rules in order of priority, and the first whose table
has a route, or which refuses, decides.

A route with several next hops is one more choice (`choose`): by a hash of the flow, so that a flow stays on its way
(fib_select_multipath, fib_multipath_hash).
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.families.inet.addr import ANY
from pysock.families.inet.fib import (
    RT_TABLE_DEFAULT,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTN_BLACKHOLE,
    RTN_PROHIBIT,
    RTN_THROW,
    FibEntry,
    FibTable,
    is_prefix,
    prefix_bits,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final, Protocol, TypeVar

    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.net import InetNet

    class Way(Protocol):
        """What has a share of the flows, unless it is dead."""

        dead: bool
        weight: int

    AnyWay = TypeVar("AnyWay", bound=Way)

FR_ACT_TO_TBL: Final = 1
FR_ACT_GOTO: Final = 2
FR_ACT_NOP: Final = 3
FR_ACT_BLACKHOLE: Final = 6
FR_ACT_UNREACHABLE: Final = 7
FR_ACT_PROHIBIT: Final = 8
_ACTIONS: Final = (FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP, FR_ACT_BLACKHOLE, FR_ACT_UNREACHABLE, FR_ACT_PROHIBIT)

_TOS_MASK: Final = 0xFC  # the ECN bits do not choose a route
_NO_UID: Final = 0xFFFFFFFF
_LOOPBACK: Final = "lo"
#: A prime for hashing: what is left of a number times a secret, modulo this, spreads evenly.
_PRIME: Final = (1 << 61) - 1


class Flow:
    """All that a route may depend on (struct flowi4): addresses of 4 bytes (``saddr`` may be ANY), ``iif`` the name of
    the device it came in by ("lo": from here), ``oif`` of the one it must leave by or "", ``tos``, ``mark``, ``uid``;
    protocol and ports for the hash of policy 1, 0 when they are not known. IPv6 has addresses of 16, and a ``label``.
    """

    __slots__ = ("daddr", "dport", "iif", "label", "mark", "oif", "protocol", "saddr", "sport", "tos", "uid")

    def __init__(self, daddr: bytes, saddr: bytes = ANY, iif: str = _LOOPBACK, tos: int = 0, mark: int = 0) -> None:
        self.daddr = daddr
        self.saddr = saddr
        self.iif = iif
        self.oif = ""
        self.tos = tos & _TOS_MASK
        self.mark = mark
        self.uid = 0
        self.protocol = self.sport = self.dport = self.label = 0

    def key(self) -> tuple[bytes | int, ...]:
        """What tells this flow from others between the same addresses."""
        ports = self.sport << 16 | self.dport
        return self.tos, self.mark, self.uid, self.protocol, ports, self.label, self.iif.encode()


def flow_of(sk: InetSock, daddr: bytes, saddr: bytes, dport: int = 0, tos: int = -1, mark: int = -1) -> Flow:
    """The flow of what ``sk`` sends to ``daddr``; ``tos`` and ``mark`` are those of one datagram, -1: the socket's."""
    flow = Flow(daddr, saddr, _LOOPBACK, sk.tos if tos < 0 else tos, sk.mark if mark < 0 else mark)
    flow.uid = sk.creds.uid
    flow.protocol = sk.protocol
    flow.sport = sk.sport
    flow.dport = dport or sk.dport
    return flow


class FibRule:
    """One rule: what a flow must have, and what happens then.

    ``src`` and ``dst`` are (prefix, length) or None; ``mark`` counts under ``mask``; ``uids``, ``sports`` and
    ``dports`` are ranges, both ends in, or None; ``protocol`` is IP's number, 0: any; a device is named, and need not
    exist yet. ``table`` for FR_ACT_TO_TBL, ``target`` (a priority) for FR_ACT_GOTO. ``suppress_prefixlen``: routes with
    a prefix no longer than that do not count (-1: all do). ``invert``: everybody but those.
    """

    __slots__ = (
        "action", "dports", "dst", "iif", "invert", "mark", "mask", "oif", "priority", "protocol", "refusal", "sports",
        "src", "suppress_prefixlen", "table", "target", "tos", "uids",
    )  # fmt: skip

    def __init__(
        self,
        priority: int = 0,
        action: int = FR_ACT_TO_TBL,
        table: int = 0,
        *,
        src: tuple[bytes, int] | None = None,
        dst: tuple[bytes, int] | None = None,
        tos: int = 0,
        mark: int = 0,
        mask: int | None = None,
        iif: str = "",
        oif: str = "",
        uids: tuple[int, int] | None = None,
        protocol: int = 0,
        sports: tuple[int, int] | None = None,
        dports: tuple[int, int] | None = None,
        target: int = 0,
        suppress_prefixlen: int = -1,
        invert: bool = False,
    ) -> None:
        self.priority = priority
        self.action = action
        self.table = table
        self.src = src
        self.dst = dst
        self.tos = tos
        self.mark = mark
        self.mask = (0xFFFFFFFF if mark else 0) if mask is None else mask
        self.iif = iif
        self.oif = oif
        self.uids = uids
        self.protocol = protocol
        self.sports = sports
        self.dports = dports
        self.target = target
        self.suppress_prefixlen = suppress_prefixlen
        self.invert = invert
        kind = {FR_ACT_BLACKHOLE: RTN_BLACKHOLE, FR_ACT_PROHIBIT: RTN_PROHIBIT}.get(action)
        #: The route that a flow gets which is refused.
        self.refusal = FibEntry(ANY, 0, kind, None, ANY) if kind is not None else None

    def same(self, other: FibRule) -> bool:
        """Whether both say the same."""
        return all(getattr(self, name) == getattr(other, name) for name in FibRule.__slots__ if name != "refusal")

    def matches(self, flow: Flow) -> bool:
        """fib_rule_match()."""
        fits = (
            (not self.iif or self.iif == flow.iif)
            and (not self.oif or self.oif == flow.oif)
            and not (self.mark ^ flow.mark) & self.mask
            and (self.uids is None or self.uids[0] <= flow.uid <= self.uids[1])
            and (self.src is None or _inside(flow.saddr, self.src))
            and (self.dst is None or _inside(flow.daddr, self.dst))
            and (not self.tos or self.tos == flow.tos)
            and (not self.protocol or self.protocol == flow.protocol)
            and (self.sports is None or self.sports[0] <= flow.sport <= self.sports[1])
            and (self.dports is None or self.dports[0] <= flow.dport <= self.dports[1])
        )
        return fits != self.invert


def _inside(address: bytes, network: tuple[bytes, int]) -> bool:
    prefix, plen = network
    return prefix_bits(address, plen) == prefix_bits(prefix, plen)


def default_rules() -> list[FibRule]:
    """What a namespace starts with."""
    tables = (0, RT_TABLE_LOCAL), (32766, RT_TABLE_MAIN), (32767, RT_TABLE_DEFAULT)
    return [FibRule(priority, FR_ACT_TO_TBL, table) for priority, table in tables]


class FibRules:
    """The rules of a namespace, by priority."""

    __slots__ = ("fib", "rules")

    def __init__(self, fib: FibTable, rules: list[FibRule]) -> None:
        self.fib = fib
        self.rules = rules

    def lookup_address(self, daddr: bytes) -> FibEntry | None:
        """For a datagram of our own of which nothing else is known."""
        return self.lookup(Flow(daddr), None)

    def lookup(self, flow: Flow, dev: NetDevice | None) -> FibEntry | None:
        """fib_rules_lookup(): the first table with a route; None for no route, which an unreachable rule means too."""
        least = 0
        for rule in self.rules:
            if rule.priority < least or not rule.matches(flow):
                continue
            if rule.action == FR_ACT_TO_TBL:
                table = self.fib.tables.get(rule.table)
                entry = table.lookup(flow.daddr, dev, flow.tos) if table is not None else None
                if entry is not None and entry.type != RTN_THROW and entry.plen > rule.suppress_prefixlen:
                    return entry
            elif rule.action == FR_ACT_GOTO:
                if any(other.priority == rule.target for other in self.rules):
                    least = rule.target
            elif rule.action != FR_ACT_NOP:
                return rule.refusal
        return None


def rules_of(inet: InetNet) -> list[FibRule]:
    """The rules that hold, in order."""
    rules = inet.fib.rules
    return list(rules.rules) if rules is not None else default_rules()


def add_rule(inet: InetNet, rule: FibRule) -> FibRule:
    """`ip rule add`. A rule without a priority gets the one before the second of all; a lookup without a table gets an
    empty one (RTNL's way of asking for one). EEXIST for the same rule twice, EINVAL for a bad prefix, type of service,
    action, range or a goto backwards.
    """
    rules = rules_of(inet)
    networks = [network for network in (rule.src, rule.dst) if network is not None]
    if not all(is_prefix(*network) for network in networks) or rule.tos & ~_TOS_MASK:
        raise err(errno.EINVAL)
    if rule.action not in _ACTIONS:
        raise err(errno.EINVAL)
    if rule.uids is not None and not 0 <= rule.uids[0] <= rule.uids[1] < _NO_UID:
        raise err(errno.EINVAL)
    for ports in (rule.sports, rule.dports):
        if ports is not None and not 0 < ports[0] <= ports[1] < 0xFFFF:
            raise err(errno.EINVAL)
    if not 0 <= rule.protocol <= 0xFF:
        raise err(errno.EINVAL)
    if not rule.priority and len(rules) > 1:
        rule.priority = max(rules[1].priority - 1, 0)
    if rule.action == FR_ACT_GOTO and rule.target <= rule.priority:
        raise err(errno.EINVAL)
    if rule.action == FR_ACT_TO_TBL and not rule.table:
        rule.table = next(id for id in range(1, 1 << 31) if not any(inet.fib.tables.get(id, ())))
    if any(rule.same(other) for other in rules):
        raise err(errno.EEXIST)
    at = sum(other.priority <= rule.priority for other in rules)
    rules.insert(at, rule)
    _use(inet, rules)
    return rule


def del_rule(inet: InetNet, rule: FibRule) -> None:
    """`ip rule del` of a rule that says the same. ENOENT when there is none."""
    rules = rules_of(inet)
    found = next((other for other in rules if other.same(rule)), None)
    if found is None:
        raise err(errno.ENOENT)
    rules.remove(found)
    _use(inet, rules)


def _use(inet: InetNet, rules: list[FibRule]) -> None:
    usual = default_rules()
    if len(rules) == len(usual) and all(one.same(two) for one, two in zip(rules, usual, strict=True)):
        inet.fib.set_rules(None)
    else:
        inet.fib.set_rules(FibRules(inet.fib, rules))


# --- several next hops ------------------------------------------------------------------------------------------------


class Multipath:
    """How one version of IP spreads flows in a namespace: ``policy`` is the sysctl fib_multipath_hash_policy below
    ``base``, 0: by addresses, 1: by ports too. ``flush`` makes every flow choose again.
    """

    __slots__ = ("base", "flush", "net", "policy", "secret")

    def __init__(self, net: Net, base: str, flush: Callable[[], None]) -> None:
        self.net = net
        self.base = base
        self.flush = flush
        self.policy = 0
        self.secret = 0  # not yet chosen
        net.sysctl.register_lazy(base, self._register_sysctls)

    def _register_sysctls(self) -> None:
        name = f"{self.base}.fib_multipath_hash_policy"
        self.net.sysctl.register_int(name, 0, 0, 1, on_change=self._set_policy)

    def _set_policy(self, value: int) -> None:
        self.policy = value
        self.flush()

    def choose(self, ways: Sequence[AnyWay], flow: Flow) -> AnyWay:
        """The next hop of this flow, in proportion to the weights of those that are alive."""
        if not self.secret:
            self.secret = self.net.kernel.random("fib.multipath").randrange(1, _PRIME)
        alive = [hop for hop in ways if not hop.dead] or ways
        number = int.from_bytes(flow.saddr + flow.daddr, "big")
        if len(flow.daddr) == 16:
            number = (number << 28) | (flow.label << 8) | flow.protocol
        if self.policy:
            number = (number << 40) | (flow.protocol << 32) | (flow.sport << 16) | flow.dport
        mixed = (number % _PRIME + 1) * self.secret % _PRIME
        left = mixed * sum(hop.weight for hop in alive) // _PRIME
        for hop in alive:
            left -= hop.weight
            if left < 0:
                return hop
        return alive[-1]


def setup(inet: InetNet) -> None:
    """Give a namespace its way of spreading flows."""
    inet.state["multipath"] = Multipath(inet.net, "net.ipv4", inet.fib.flush)


def multipath_of(inet: InetNet) -> Multipath:
    """How this namespace spreads flows."""
    state = inet.state["multipath"]
    assert isinstance(state, Multipath)
    return state
