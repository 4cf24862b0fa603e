"""Multicast membership of devices, and telling routers of it: MLD (RFC 3810, RFC 2710; net/ipv6/mcast.c).

    join/leave -> Inet6Dev.groups, the device's hardware filter, a change that is reported at once and once more
    query      -> after a random delay, a report of what was asked for: all groups in one (version 2), or each (1)

A query of version 1 makes the device speak version 1 for as long as its router may live. Only groups of link scope and
wider are reported, and not ff02::1; nothing is on loopback. Reports leave from a link-local address, or from :: before
there is one (RFC 3590). Device membership has no source lists: `mcast_sock` filters for each socket.
"""

from __future__ import annotations

import errno
from functools import partial

from pysock.core.clock import NSEC_PER_MSEC
from pysock.core.device import dev_mc_add, dev_mc_del
from pysock.core.errors import err
from pysock.core.skb_data import skb_copy_bits
from pysock.core.timer import Timer
from pysock.families.inet6 import icmp6, route
from pysock.families.inet6.addr import (
    ALL_MLD2_ROUTERS,
    ALL_NODES,
    ALL_ROUTERS,
    ANY6,
    SCOPE_LINKLOCAL,
    hardware_group,
    is_linklocal,
    is_multicast,
)
from pysock.families.inet6.devconf import Inet6Dev, idev_of
from pysock.families.inet6.ip6_cb import cb_of
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_UP
from pysock.wire.icmpv6 import HEADER, HEADER_SIZE, MLD2_REPORT, MLD_DONE, MLD_QUERY, MLD_REPORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet6.net import Inet6Net

# Types of a record in a report of version 2 (RFC 3810 5.2.12)
MODE_IS_EXCLUDE: Final = 2
CHANGE_TO_INCLUDE: Final = 3
CHANGE_TO_EXCLUDE: Final = 4

_ROBUSTNESS: Final = 2
#: Hop-by-hop header with a router alert for MLD, and PadN (RFC 2711).
ROUTER_ALERT: Final = b"\0\0\5\2\0\0\1\0"
_V1_QUERY_SIZE: Final = 24
_V2_QUERY_SIZE: Final = 28
_QUERY_INTERVAL: Final = 125_000 * NSEC_PER_MSEC


class Mld:
    """What a device has to say. ``changes``: group -> (record type, how often it is still to be reported); ``due``:
    group -> when its report falls due, ANY6 standing for all of them; ``v1_until`` is when version 2 may be spoken
    again; ``last`` are the groups that we were the last to report in version 1.
    """

    __slots__ = ("change_timer", "changes", "due", "last", "response_timer", "v1_until")

    def __init__(self, inet6: Inet6Net, idev: Inet6Dev) -> None:
        self.changes: dict[bytes, tuple[int, int]] = {}
        self.due: dict[bytes, int] = {}
        self.last: set[bytes] = set()
        self.v1_until = 0
        self.change_timer = Timer(partial(_report_changes, inet6, idev))
        self.response_timer = Timer(partial(_respond, inet6, idev))


def _mld(inet6: Inet6Net, idev: Inet6Dev) -> Mld:
    state = idev.mld
    if not isinstance(state, Mld):
        state = idev.mld = Mld(inet6, idev)
    return state


def _speaks_v1(inet6: Inet6Net, idev: Inet6Dev) -> bool:
    forced = idev.conf.force_mld_version
    return forced == 1 or (not forced and inet6.kernel.now < _mld(inet6, idev).v1_until)


def _reported(group: bytes) -> bool:
    return group != ALL_NODES and group[1] & 0xF >= SCOPE_LINKLOCAL


# --- membership ---------------------------------------------------------------------------------------------------


def join(inet6: Inet6Net, dev: NetDevice, group: bytes) -> None:
    """One more who wants packets to ``group`` on ``dev`` (ipv6_dev_mc_inc). EINVAL when it is no group, ENODEV when the
    device has no IPv6.
    """
    idev = idev_of(dev)
    if not is_multicast(group):
        raise err(errno.EINVAL)
    if idev is None:
        raise err(errno.ENODEV)
    members = idev.groups.get(group, 0)
    idev.groups[group] = members + 1
    if not members:
        _group_added(inet6, idev, group)


def leave(inet6: Inet6Net, dev: NetDevice, group: bytes) -> None:
    """One less (ipv6_dev_mc_dec). ENOENT when nobody had joined, ENODEV when the device has no IPv6."""
    idev = idev_of(dev)
    if idev is None:
        raise err(errno.ENODEV)
    members = idev.groups.get(group, 0)
    if not members:
        raise err(errno.ENOENT)
    if members > 1:
        idev.groups[group] = members - 1
        return
    del idev.groups[group]
    _group_dropped(inet6, idev, group)


def device_up(inet6: Inet6Net, idev: Inet6Dev) -> None:
    """The device can send: set its filter and report every group (ipv6_mc_up)."""
    for group in idev.groups:
        _group_added(inet6, idev, group)


def address_ready(inet6: Inet6Net, idev: Inet6Dev) -> None:
    """The first link-local address can be used: what was reported from :: is said again (ipv6_mc_dad_complete,
    RFC 3590 4).
    """
    for group in idev.groups:
        if _reported(group):
            _changed(inet6, idev, group, CHANGE_TO_EXCLUDE)


def device_down(inet6: Inet6Net, idev: Inet6Dev) -> None:
    """The device went down: nothing more is to be said, memberships stay (ipv6_mc_down)."""
    state = idev.mld
    if isinstance(state, Mld):
        inet6.kernel.timers.del_timer(state.change_timer)
        inet6.kernel.timers.del_timer(state.response_timer)
        idev.mld = None
    dev = idev.dev
    for group in idev.groups:
        if dev.addr_len == 6 and hardware_group(group) in dev.mc:
            dev_mc_del(dev, hardware_group(group))


def _group_added(inet6: Inet6Net, idev: Inet6Dev, group: bytes) -> None:
    dev = idev.dev
    if dev.flags & IFF_LOOPBACK or not dev.flags & IFF_UP:
        return
    if dev.addr_len == 6:
        dev_mc_add(dev, hardware_group(group))
    if _reported(group):
        _changed(inet6, idev, group, CHANGE_TO_EXCLUDE)


def _group_dropped(inet6: Inet6Net, idev: Inet6Dev, group: bytes) -> None:
    dev = idev.dev
    if dev.flags & IFF_LOOPBACK or not dev.flags & IFF_UP:
        return
    if dev.addr_len == 6 and hardware_group(group) in dev.mc:
        dev_mc_del(dev, hardware_group(group))
    if not _reported(group):
        return
    state = _mld(inet6, idev)
    state.due.pop(group, None)
    if _speaks_v1(inet6, idev):
        state.changes.pop(group, None)
        if group in state.last:
            state.last.discard(group)
            _send(inet6, idev, HEADER.pack(MLD_DONE, 0, 0, 0) + group, ALL_ROUTERS)
        return
    _changed(inet6, idev, group, CHANGE_TO_INCLUDE)


def _changed(inet6: Inet6Net, idev: Inet6Dev, group: bytes, kind: int) -> None:
    """Report a change soon, and once more within the unsolicited report interval (mld_ifc_event)."""
    state = _mld(inet6, idev)
    state.changes[group] = kind, _ROBUSTNESS
    inet6.kernel.timers.mod_timer(state.change_timer, inet6.kernel.now)


# --- reports ------------------------------------------------------------------------------------------------------


def _record(kind: int, group: bytes) -> bytes:
    return bytes((kind, 0, 0, 0)) + group


def _report_changes(inet6: Inet6Net, idev: Inet6Dev) -> None:
    """mld_send_cr(), or igmp6_send() for each group in version 1."""
    state = _mld(inet6, idev)
    v1 = _speaks_v1(inet6, idev)
    conf = idev.conf
    if v1:
        for group in state.changes:
            _report_v1(inet6, idev, group)
    else:
        _report_v2(inet6, idev, [_record(kind, group) for group, (kind, _) in state.changes.items()])
    state.changes = {group: (kind, left - 1) for group, (kind, left) in state.changes.items() if left > 1}
    if state.changes:
        interval = conf.mldv1_unsolicited_report_interval if v1 else conf.mldv2_unsolicited_report_interval
        _arm(inet6, state.change_timer, inet6.kernel.now + _delay(inet6, interval))


def _report_v1(inet6: Inet6Net, idev: Inet6Dev, group: bytes) -> None:
    _mld(inet6, idev).last.add(group)
    _send(inet6, idev, HEADER.pack(MLD_REPORT, 0, 0, 0) + group, group)


def _report_v2(inet6: Inet6Net, idev: Inet6Dev, records: list[bytes]) -> None:
    """As many packets as the MTU makes necessary (RFC 3810 5.2.15)."""
    room = max((idev.mtu - 40 - len(ROUTER_ALERT) - HEADER_SIZE) // 20, 1)
    for start in range(0, len(records), room):
        some = records[start : start + room]
        _send(inet6, idev, HEADER.pack(MLD2_REPORT, 0, 0, len(some)) + b"".join(some), ALL_MLD2_ROUTERS)


def _send(inet6: Inet6Net, idev: Inet6Dev, message: bytes, group: bytes) -> None:
    from pysock.families.inet6.addrconf import link_local_of

    dev = idev.dev
    source = link_local_of(dev) or ANY6
    rt = route.direct(inet6, dev, source, group)
    icmp6.transmit(inet6, rt, message, hoplimit=1, hopopts=ROUTER_ALERT, loop=False)


# --- queries ------------------------------------------------------------------------------------------------------


def rcv(inet6: Inet6Net, skb: SkBuff, saddr: bytes, daddr: bytes) -> None:
    """A message of MLD; ``skb.data`` at the ICMPv6 header. It stays the caller's (igmp6_event_query and _report).

    It must come from the link: link-local source, hop limit 1, a query with a router alert too (RFC 3810 5.1.14, 6.2).
    """
    dev = skb.dev
    idev = idev_of(dev) if dev is not None else None
    if idev is None or not idev.ready or not is_linklocal(saddr) or skb.head[skb.network_header + 7] != 1:
        return
    cb = cb_of(skb)
    kind = skb.head[skb.data]
    if kind == MLD_QUERY and cb is not None and cb.router_alert:
        _query(inet6, idev, skb)
    elif kind == MLD_REPORT and skb.len >= _V1_QUERY_SIZE and daddr != saddr:
        # Somebody else spoke for the group: version 1 need not repeat it.
        group = skb_copy_bits(skb, HEADER_SIZE, 16)
        state = _mld(inet6, idev)
        if _speaks_v1(inet6, idev) and state.due.pop(group, None) is not None:
            state.last.discard(group)


def _query(inet6: Inet6Net, idev: Inet6Dev, skb: SkBuff) -> None:
    state = _mld(inet6, idev)
    _, _, _, rest = HEADER.unpack_from(skb.head, skb.data)
    code = rest >> 16
    if skb.len == _V1_QUERY_SIZE:
        delay = code
        state.v1_until = inet6.kernel.now + _ROBUSTNESS * _QUERY_INTERVAL + delay * NSEC_PER_MSEC
        state.changes.clear()
    elif skb.len >= _V2_QUERY_SIZE and idev.conf.force_mld_version != 1:
        # RFC 3810 5.1.3: from 32768 on a floating-point number
        delay = code if code < 0x8000 else ((code & 0xFFF) | 0x1000) << ((code >> 12 & 7) + 3)
    else:
        return
    group = skb_copy_bits(skb, HEADER_SIZE, 16)
    now = inet6.kernel.now
    if group == ANY6 and not _speaks_v1(inet6, idev):
        _schedule(inet6, state, ANY6, now + _delay(inet6, delay))
    elif group == ANY6:
        for one in idev.groups:
            if _reported(one):
                _schedule(inet6, state, one, now + _delay(inet6, delay))
    elif group in idev.groups and _reported(group):
        _schedule(inet6, state, group, now + _delay(inet6, delay))


def _delay(inet6: Inet6Net, limit_ms: int) -> int:
    """A random part of ``limit_ms``, in ns, at least 1 ms."""
    return inet6.kernel.random("mld").randrange(max(limit_ms, 1) * NSEC_PER_MSEC) + NSEC_PER_MSEC


def _schedule(inet6: Inet6Net, state: Mld, group: bytes, when: int) -> None:
    """Never later than it was due already (RFC 3810 6.2)."""
    state.due[group] = min(state.due.get(group, when), when)
    _arm(inet6, state.response_timer, min(state.due.values()))


def _arm(inet6: Inet6Net, timer: Timer, when: int) -> None:
    inet6.kernel.timers.mod_timer(timer, when)


def _respond(inet6: Inet6Net, idev: Inet6Dev) -> None:
    """What fell due is reported (mld_send_report, mld_mca_work)."""
    state = _mld(inet6, idev)
    now = inet6.kernel.now
    due = [group for group, when in state.due.items() if when <= now]
    for group in due:
        del state.due[group]
    asked = [group for group in idev.groups if _reported(group)] if ANY6 in due else due
    asked = [group for group in asked if group in idev.groups]
    if _speaks_v1(inet6, idev):
        for group in asked:
            _report_v1(inet6, idev, group)
    elif asked:
        _report_v2(inet6, idev, [_record(MODE_IS_EXCLUDE, group) for group in asked])
    if state.due:
        _arm(inet6, state.response_timer, min(state.due.values()))
