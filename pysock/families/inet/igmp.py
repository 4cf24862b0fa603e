"""Multicast groups of devices, and telling routers of them: IGMP (RFC 3376, RFC 2236, RFC 1112; net/ipv4/igmp.c).

    sockets' memberships -> a device's `Group`: from which sources it wants datagrams (RFC 3376 3.2)
        changed  -> a report of the change at once, and again until robustness is satisfied
        queried  -> after a random delay, a report of what was asked for

A query of version 1 or 2 makes the device speak that version for as long as its router may live. 224.0.0.1 is never
reported, nothing is on loopback. What sockets ask for is in igmp_sock.py.
"""

from __future__ import annotations

from functools import partial

from pysock.core.clock import NSEC_PER_MSEC
from pysock.core.device import dev_mc_add, dev_mc_del
from pysock.core.netdev_events import NETDEV_DOWN, NETDEV_UP
from pysock.core.skb_data import skb_copy_bits
from pysock.core.skbuff import SkBuff, consume_skb, kfree_skb
from pysock.core.timer import Timer
from pysock.families.inet import route
from pysock.families.inet.addr import ANY
from pysock.families.inet.devinet import ALL_HOSTS, InDevice, in_device
from pysock.families.inet.ip_output import send_packet
from pysock.families.inet.net import InetNet
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_UP
from pysock.uapi.if_packet import PACKET_HOST, PACKET_LOOPBACK
from pysock.uapi.in_ import IPPROTO_IGMP
from pysock.wire import igmp as wire
from pysock.wire import ipv4
from pysock.wire.errors import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final

    from pysock.core.netdevice import NetDevice

MCAST_EXCLUDE: Final = 0
MCAST_INCLUDE: Final = 1

_ALL_ROUTERS: Final = b"\xe0\0\0\x02"
_ALL_V3_ROUTERS: Final = b"\xe0\0\0\x16"
_ROUTER_ALERT: Final = ipv4.build_option(ipv4.OPT_RA, b"\0\0")
_TOS: Final = 0xC0
_HEADER: Final = 24  # of IP, with the router alert
_TENTH: Final = 100 * NSEC_PER_MSEC
_V1_DELAY: Final = 100  # tenths of a second
_QUERY_INTERVAL: Final = 1250  # tenths of a second
_RESPONSE_INTERVAL: Final = 100


class Member:
    """Somebody who wants datagrams to a group: from ``sources`` only (MCAST_INCLUDE) or from all but them."""

    __slots__ = ("mode", "sources")

    def __init__(self, mode: int = MCAST_EXCLUDE, sources: Iterable[bytes] = ()) -> None:
        self.mode = mode
        self.sources = list(sources)

    def wants(self, source: bytes) -> bool:
        """Whether a datagram from ``source`` is for this member."""
        return (source in self.sources) == (self.mode == MCAST_INCLUDE)


class Group:
    """A group on a device (struct ip_mc_list). ``mode`` and ``sources`` are what all ``members`` together want.

    ``mode_left`` counts the reports still to be made of a change of mode, ``source_left`` those of each source that
    came or went; ``asked`` are the sources of the queries to be answered, None: all. ``reporter``: we spoke last.
    """

    __slots__ = ("address", "asked", "members", "mode", "mode_left", "reporter", "source_left", "sources")

    def __init__(self, address: bytes) -> None:
        self.address = address
        self.members: list[Member] = []
        self.mode = MCAST_INCLUDE
        self.sources: frozenset[bytes] = frozenset()
        self.mode_left = 0
        self.source_left: dict[bytes, int] = {}
        self.asked: set[bytes] | None = None
        self.reporter = False

    def wants(self, source: bytes) -> bool:
        """Whether datagrams from ``source`` are wanted on this device."""
        return (source in self.sources) == (self.mode == MCAST_INCLUDE)

    def together(self) -> tuple[int, frozenset[bytes]]:
        """What the members want (RFC 3376 3.2)."""
        includes = [one.sources for one in self.members if one.mode == MCAST_INCLUDE]
        excludes = [set(one.sources) for one in self.members if one.mode == MCAST_EXCLUDE]
        wanted = frozenset(source for sources in includes for source in sources)
        if not excludes:
            return MCAST_INCLUDE, wanted
        return MCAST_EXCLUDE, frozenset(set.intersection(*excludes) - wanted)

    def change(self) -> list[wire.GroupRecord]:
        """The records of a change, one time less to be reported (RFC 3376 5.1)."""
        if self.mode_left:
            self.mode_left -= 1
            kind = wire.CHANGE_TO_INCLUDE if self.mode == MCAST_INCLUDE else wire.CHANGE_TO_EXCLUDE
            self.source_left = {source: left - 1 for source, left in self.source_left.items() if left > 1}
            return [wire.GroupRecord(kind, self.address, tuple(sorted(self.sources)))]
        allowed = tuple(sorted(source for source in self.source_left if self.wants(source)))
        blocked = tuple(sorted(source for source in self.source_left if not self.wants(source)))
        self.source_left = {source: left - 1 for source, left in self.source_left.items() if left > 1}
        kinds = (wire.ALLOW_NEW_SOURCES, allowed), (wire.BLOCK_OLD_SOURCES, blocked)
        return [wire.GroupRecord(kind, self.address, sources) for kind, sources in kinds if sources]

    def current(self) -> wire.GroupRecord | None:
        """The answer to a query, None when there is nothing to say (RFC 3376 5.2)."""
        asked = self.asked
        self.asked = None
        if asked is not None:
            wanted = tuple(sorted(source for source in asked if self.wants(source)))
            return wire.GroupRecord(wire.MODE_IS_INCLUDE, self.address, wanted) if wanted else None
        kind = wire.MODE_IS_INCLUDE if self.mode == MCAST_INCLUDE else wire.MODE_IS_EXCLUDE
        return wire.GroupRecord(kind, self.address, tuple(sorted(self.sources)))


class Igmp:
    """What a device has to say. ``changing``: groups whose change is to be reported, also those that nobody is in any
    more; ``due``: group -> when its report falls due, ANY for all in one; ``v1_until`` and ``v2_until`` are when a
    later version may be spoken again. ``query_interval`` (tenths of a second) and ``robustness`` are the querier's.
    """

    __slots__ = (
        "change_timer", "changing", "due", "query_interval", "response_timer", "robustness", "state", "v1_until",
        "v2_until",
    )  # fmt: skip

    def __init__(self, inet: InetNet, state: InDevice) -> None:
        self.state = state
        self.changing: dict[bytes, Group] = {}
        self.due: dict[bytes, int] = {}
        self.v1_until = self.v2_until = 0
        self.robustness = limits_of(inet).qrv
        self.query_interval = _QUERY_INTERVAL
        self.change_timer = Timer(partial(_report_changes, inet, self))
        self.response_timer = Timer(partial(_respond, inet, self))

    def version(self, now: int) -> int:
        """Which version is spoken here (IGMP_V1_SEEN, IGMP_V2_SEEN)."""
        forced = self.state.all.force_igmp_version or self.state.conf.force_igmp_version
        if forced:
            return forced
        return 1 if now < self.v1_until else 2 if now < self.v2_until else 3


class IgmpLimits:
    """The sysctls net.ipv4.igmp_*: groups of a socket, sources of a group, robustness, whether 224.0.0.0/24 is
    reported.
    """

    __slots__ = ("inet", "link_local_reports", "max_memberships", "max_msf", "qrv")

    def __init__(self, inet: InetNet) -> None:
        self.inet = inet
        self.max_memberships = 20
        self.max_msf = 10
        self.qrv = 2
        self.link_local_reports = True
        inet.net.sysctl.register_lazy("net.ipv4", self._register_sysctls)

    def _register_sysctls(self) -> None:
        sysctl = self.inet.net.sysctl
        sysctl.register_int("net.ipv4.igmp_max_memberships", 20, on_change=self._setter("max_memberships"))
        sysctl.register_int("net.ipv4.igmp_max_msf", 10, on_change=self._setter("max_msf"))
        sysctl.register_int("net.ipv4.igmp_qrv", 2, 1, on_change=self._setter("qrv"))
        sysctl.register_int("net.ipv4.igmp_link_local_mcast_reports", 1, on_change=self._setter("link_local_reports"))

    def _setter(self, name: str) -> Callable[[int], None]:
        return lambda value: setattr(self, name, value)


def limits_of(inet: InetNet) -> IgmpLimits:
    """The limits of a namespace."""
    limits = inet.state["igmp"]
    assert isinstance(limits, IgmpLimits)
    return limits


def setup(inet: InetNet) -> None:
    """Give a namespace IGMP, and follow the devices, once a kernel."""
    inet.state["igmp"] = IgmpLimits(inet)
    inet.protos[IPPROTO_IGMP] = partial(rcv, inet)
    chain = inet.kernel.dev_layer.netdev_chain
    if "igmp" not in chain.callbacks():
        chain.register(_netdev_event, name="igmp")


def _netdev_event(event: int, dev: NetDevice) -> None:
    if event not in (NETDEV_UP, NETDEV_DOWN) or not dev.net.has(InetNet) or dev.flags & IFF_LOOPBACK:
        return
    state = in_device(dev)
    change_filter = dev_mc_add if event == NETDEV_UP else dev_mc_del
    for address in (ALL_HOSTS, *state.groups):
        if dev.addr_len == 6 and (event == NETDEV_UP or hardware_group(address) in dev.mc):
            change_filter(dev, hardware_group(address))
    if event == NETDEV_UP:  # ip_mc_up
        inet = dev.net.get(InetNet)
        for group in state.groups.values():
            group.mode, group.sources = MCAST_INCLUDE, frozenset()
            changed(inet, dev, group)
    elif isinstance(state.igmp, Igmp):  # ip_mc_down: there is nobody to tell
        timers = dev.net.kernel.timers
        timers.del_timer(state.igmp.change_timer)
        timers.del_timer(state.igmp.response_timer)
        state.igmp = None


# --- membership -------------------------------------------------------------------------------------------------------


def join(inet: InetNet, dev: NetDevice, address: bytes, member: Member) -> None:
    """One more who wants datagrams to a group on ``dev`` (ip_mc_inc_group)."""
    groups = in_device(dev).groups
    group = groups.get(address)
    if group is None:
        group = groups[address] = Group(address)
        if dev.addr_len == 6 and dev.flags & IFF_UP:
            dev_mc_add(dev, hardware_group(address))
    group.members.append(member)
    changed(inet, dev, group)


def leave(inet: InetNet, dev: NetDevice, address: bytes, member: Member) -> None:
    """One less (ip_mc_dec_group)."""
    groups = in_device(dev).groups
    group = groups.get(address)
    if group is None or member not in group.members:
        return  # the device went away in between, and another came
    group.members.remove(member)
    if not group.members:
        del groups[address]
        if dev.addr_len == 6 and hardware_group(address) in dev.mc:
            dev_mc_del(dev, hardware_group(address))
    changed(inet, dev, group)


def changed(inet: InetNet, dev: NetDevice, group: Group) -> None:
    """What the members of a group want changed: the routers are to hear of it (igmp_ifc_event, igmp_group_added and
    _dropped).
    """
    before = group.mode, group.sources
    after = group.mode, group.sources = group.together()
    if dev.flags & IFF_LOOPBACK or not dev.flags & IFF_UP or not _reported(inet, group.address):
        return
    state = _igmp(inet, dev)
    now = inet.kernel.now
    version = state.version(now)
    if not group.members:
        state.due.pop(group.address, None)
    if version < 3:
        if not group.members:
            state.changing.pop(group.address, None)
            if version == 2 and group.reporter:
                _send(inet, dev, wire.build(wire.V2_LEAVE, 0, group.address), _ALL_ROUTERS)
            return
        if len(group.members) > 1 or group.reporter:
            return  # the group is known there
        group.mode_left = state.robustness
    elif before[0] != after[0]:
        group.mode_left = state.robustness
        group.source_left.clear()
    elif before[1] != after[1]:
        group.source_left.update(dict.fromkeys(before[1] ^ after[1], state.robustness))
    else:
        return
    state.changing[group.address] = group
    inet.kernel.timers.mod_timer(state.change_timer, now)


def group_of(dev: NetDevice, address: bytes) -> Group | None:
    """The group on this device, if somebody is in it."""
    return in_device(dev).groups.get(address)


def hardware_group(group: bytes) -> bytes:
    """The Ethernet address of a group: 01:00:5e and its last 23 bits (RFC 1112 6.4)."""
    return b"\x01\x00\x5e" + bytes((group[1] & 0x7F,)) + group[2:]


def _igmp(inet: InetNet, dev: NetDevice) -> Igmp:
    state = in_device(dev)
    if not isinstance(state.igmp, Igmp):
        state.igmp = Igmp(inet, state)
    return state.igmp


def _reported(inet: InetNet, group: bytes) -> bool:
    return group != ALL_HOSTS and (group[:3] != ALL_HOSTS[:3] or limits_of(inet).link_local_reports)


# --- reports ----------------------------------------------------------------------------------------------------------


def _report_changes(inet: InetNet, state: Igmp) -> None:
    """What changed is said, again if need be (igmpv3_send_cr; igmp_timer_expire for versions 1 and 2)."""
    now = inet.kernel.now
    version = state.version(now)
    conf = state.state.conf
    if version == 3:
        _report(inet, state, [record for group in state.changing.values() for record in group.change()])
        interval = conf.igmpv3_unsolicited_report_interval
    else:
        for group in state.changing.values():
            group.mode_left = max(group.mode_left - 1, 0)
            group.source_left.clear()
            _report_group(inet, state, group, version)
        interval = conf.igmpv2_unsolicited_report_interval
    state.changing = {at: group for at, group in state.changing.items() if group.mode_left or group.source_left}
    if state.changing:
        inet.kernel.timers.mod_timer(state.change_timer, now + _delay(inet, interval * NSEC_PER_MSEC))


def _report_group(inet: InetNet, state: Igmp, group: Group, version: int) -> None:
    group.reporter = True
    kind = wire.V1_REPORT if version == 1 else wire.V2_REPORT
    _send(inet, state.state.dev, wire.build(kind, 0, group.address), group.address)


def _report(inet: InetNet, state: Igmp, records: list[wire.GroupRecord]) -> None:
    """As many packets as the MTU makes necessary (RFC 3376 4.2.16)."""
    room = max(state.state.dev.mtu - _HEADER - wire.HEADER_SIZE, 60)
    some: list[wire.GroupRecord] = []
    used = 0
    for record in records:
        size = wire.RECORD_SIZE + 4 * len(record.sources)
        if size > room:  # a list that must be cut
            record = wire.GroupRecord(record.type, record.group, record.sources[: (room - wire.RECORD_SIZE) // 4])
            size = room
        if some and used + size > room:
            _send(inet, state.state.dev, wire.build_report(some), _ALL_V3_ROUTERS)
            some, used = [], 0
        some.append(record)
        used += size
    if some:
        _send(inet, state.state.dev, wire.build_report(some), _ALL_V3_ROUTERS)


def _send(inet: InetNet, dev: NetDevice, message: bytes, group: bytes) -> None:
    try:
        rt = route.output(inet, group, oif=dev.ifindex)
    except OSError:
        return
    packet = ipv4.build(
        rt.saddr, group, IPPROTO_IGMP, message, tos=_TOS, flags=ipv4.DF, ttl=1, options=_ROUTER_ALERT
    )
    send_packet(inet, rt, packet[:_HEADER], SkBuff(packet[_HEADER:], 0, len(message)), loop=False)


# --- queries ----------------------------------------------------------------------------------------------------------


def rcv(inet: InetNet, skb: SkBuff) -> None:
    """The handler of protocol 2 (igmp_rcv): ``skb.data`` at the message."""
    dev = skb.dev
    message = skb_copy_bits(skb, 0, skb.len)
    if dev is None or dev.flags & IFF_LOOPBACK or len(message) < wire.HEADER_SIZE or not wire.verify(message):
        kfree_skb(skb, "NOT_SPECIFIED")
        return
    try:
        parsed = wire.parse(message)
    except Malformed:
        kfree_skb(skb, "PKT_TOO_SMALL")
        return
    if parsed.type == wire.QUERY:
        _query(inet, _igmp(inet, dev), parsed)
    elif parsed.type in (wire.V1_REPORT, wire.V2_REPORT) and skb.pkt_type not in (PACKET_HOST, PACKET_LOOPBACK):
        _heard_report(inet, _igmp(inet, dev), parsed.group)
    consume_skb(skb)


def _heard_report(inet: InetNet, state: Igmp, address: bytes) -> None:
    """Somebody else spoke for the group: we need not (igmp_heard_report)."""
    group = state.state.groups.get(address)
    if group is not None and _reported(inet, address):
        group.reporter = False
        state.due.pop(address, None)
        if state.version(inet.kernel.now) < 3:
            state.changing.pop(address, None)


def _query(inet: InetNet, state: Igmp, query: wire.IgmpMessage) -> None:
    """igmp_heard_query()."""
    now = inet.kernel.now
    address, delay, sources = query.group, query.max_resp, frozenset[bytes]()
    if not query.body:
        response = min(_RESPONSE_INTERVAL, state.query_interval - 10)  # RFC 3376 8.3: less than the other
        until = now + (state.robustness * state.query_interval + response) * _TENTH  # 8.12
        if delay:
            state.v2_until = until
        else:
            delay, address = _V1_DELAY, ANY
            state.v1_until = until
        state.changing.clear()
    elif state.version(now) == 1:
        delay, address = _V1_DELAY, ANY
    else:
        delay = _code(delay)
        flags, interval, count = wire.QUERY3.unpack_from(query.body)
        sources = frozenset(wire.parse_sources(query))
        if state.version(now) == 3:
            state.robustness = flags & 7 or limits_of(inet).qrv
            state.query_interval = _code(interval) * 10 or _QUERY_INTERVAL
            if address == ANY:
                if not count:
                    _schedule(inet, state, ANY, delay)
                return
    for group in state.state.groups.values():
        if address in (ANY, group.address) and _reported(inet, group.address):
            running = group.address in state.due
            if not sources or (running and group.asked is None):
                group.asked = None  # a query for the whole group asks for more
            else:
                group.asked = (group.asked or set()) | sources
            _schedule(inet, state, group.address, delay)


def _code(value: int) -> int:
    """A number of RFC 3376 4.1.1: from 128 on a floating-point one."""
    return value if value < 128 else (value & 15 | 16) << ((value >> 4 & 7) + 3)


def _delay(inet: InetNet, limit: int) -> int:
    """A random part of ``limit`` ns, at least 1 ms."""
    return inet.kernel.random("igmp").randrange(max(limit, 1)) + NSEC_PER_MSEC


def _schedule(inet: InetNet, state: Igmp, address: bytes, delay: int) -> None:
    """Never later than it was due already (RFC 3376 5.2)."""
    when = inet.kernel.now + _delay(inet, delay * _TENTH)
    state.due[address] = min(state.due.get(address, when), when)
    inet.kernel.timers.mod_timer(state.response_timer, min(state.due.values()))


def _respond(inet: InetNet, state: Igmp) -> None:
    """What fell due is reported (igmp_gq_timer_expire, igmp_timer_expire)."""
    now = inet.kernel.now
    due = [address for address, when in state.due.items() if when <= now]
    for address in due:
        del state.due[address]
    groups = state.state.groups
    asked = [group for at, group in groups.items() if (at in due or ANY in due) and _reported(inet, at)]
    version = state.version(now)
    if version == 3:
        _report(inet, state, [record for record in (group.current() for group in asked) if record is not None])
    else:
        for group in asked:
            _report_group(inet, state, group, version)
    if state.due:
        inet.kernel.timers.mod_timer(state.response_timer, min(state.due.values()))
