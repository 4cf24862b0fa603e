"""802.3ad: slaves that agree with a switch, or another bond, on who belongs together. IEEE 802.1AX-2008 clause 5.4,
drivers/net/bonding/bond_3ad.c.

Each slave is a port. It tells who it is (actor) and whom it hears (partner) in LACPDUs; ports that have the same key on
both sides, and the same partner, share an aggregator. One aggregator is active; of its ports those carry traffic which
both sides have in sync. The machines, in short form, run when something happens rather than ten times a second:

    receive     EXPIRED --nothing for 3 s--> DEFAULTED;  CURRENT from a LACPDU on, for 3 s or 90 s, then EXPIRED
    mux         DETACHED -> WAITING (2 s, for others to come along) -> ATTACHED -> COLLECTING_DISTRIBUTING and back
    periodic    a LACPDU each second or each 30 s, as the partner wishes
    transmit    what is to be told, at most three times a second

While nobody answers, one port works by itself. Not here: churn detection; an actor of marker frames (they are
answered).
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.link_speed import link_settings, link_speed
from pysock.core.skb_data import skb_header_pointer
from pysock.core.skbuff import SkBuff
from pysock.core.timer import Timer
from pysock.uapi.if_ether import ETH_P_SLOW
from pysock.wire import ethernet, lacp
from pysock.wire.errors import Malformed
from pysock.wire.lacp import Participant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.drivers.bonding.device import BondOps
    from pysock.drivers.bonding.slave import Slave

FAST_PERIODIC: Final = 1 * NSEC_PER_SEC
SLOW_PERIODIC: Final = 30 * NSEC_PER_SEC
SHORT_TIMEOUT: Final = 3 * FAST_PERIODIC
LONG_TIMEOUT: Final = 3 * SLOW_PERIODIC
AGGREGATE_WAIT: Final = 2 * NSEC_PER_SEC
TRANSMIT_GAP: Final = NSEC_PER_SEC // 3

RX_DISABLED, RX_EXPIRED, RX_DEFAULTED, RX_CURRENT = range(4)
DETACHED, WAITING, ATTACHED, DISTRIBUTING = range(4)
STABLE, BANDWIDTH, COUNT = range(3)

_NOBODY = bytes(6)
_MARKER, _MARKER_SIZE = 2, 110
#: Speeds have numbers in keys (AD_LINK_SPEED_*), by Mbit/s.
_SPEED_CODES = {1: 1, 10: 2, 100: 3, 1000: 4, 2500: 5, 5000: 6, 10_000: 7}
_TOLD = lacp.ACTIVITY | lacp.SHORT_TIMEOUT | lacp.AGGREGATION | lacp.SYNCHRONIZATION


def _default_partner() -> Participant:
    """Who is assumed to be there until somebody speaks (ad_initialize_port)."""
    return Participant(0xFFFF, _NOBODY, 1, 0xFF, 1, lacp.ACTIVITY)


def _same(one: Participant, other: Participant, bits: int) -> bool:
    """The same port of the same system, and these bits of its state."""
    return (one.port, one.port_priority, one.system, one.system_priority, one.key, one.state & bits) == (
        other.port, other.port_priority, other.system, other.system_priority, other.key, other.state & bits
    )  # fmt: skip


class Aggregator:
    """Ports that belong together. Each port has one of its own, which others may join; ``number`` is that port's."""

    __slots__ = ("active", "number", "ports")

    def __init__(self, number: int) -> None:
        self.number = number
        self.ports: list[AdPort] = []
        self.active = False

    @property
    def has_partner(self) -> bool:
        return any(port.partner.system != _NOBODY for port in self.ports[:1])

    @property
    def working(self) -> int:
        """How many of its ports have a link."""
        return sum(port.linked for port in self.ports)

    def rank(self, policy: int) -> tuple[bool, bool, int, int, bool]:
        """The higher, the better (ad_agg_selection_test)."""
        working = self.working
        speed = sum(link_speed(port.slave.dev) for port in self.ports if port.linked)
        individual = not self.ports[0].actor.key & 1
        return not individual, self.has_partner, working if policy == COUNT else 0, speed, self.active


class AdPort:
    """A slave as a port (struct port). ``enabled``: it carries traffic. ``aggregator`` is the one it is in."""

    __slots__ = (
        "actor", "ad", "aggregator", "current_timer", "enabled", "linked", "mux", "next_tx", "ntt", "own", "partner",
        "periodic_timer", "rx", "selected", "slave", "tx_timer", "wait_timer",
    )  # fmt: skip

    def __init__(self, ad: Ad, slave: Slave, number: int) -> None:
        params = ad.bond.params
        self.ad = ad
        self.slave = slave
        state = lacp.AGGREGATION | (lacp.ACTIVITY if params.lacp_active else 0)
        state |= lacp.SHORT_TIMEOUT if params.lacp_rate else 0
        system = params.ad_actor_system or ad.bond.dev.dev_addr
        self.actor = Participant(params.ad_actor_sys_prio, system, 0, 0xFF, number, state)
        self.partner = _default_partner()
        self.own = Aggregator(number)
        self.aggregator: Aggregator | None = None
        self.rx, self.mux = RX_DISABLED, DETACHED
        self.linked = self.selected = self.enabled = self.ntt = False
        self.next_tx = 0
        self.current_timer = Timer(self._silent)
        self.periodic_timer = Timer(self._period_over)
        self.wait_timer = Timer(self._waited)
        self.tx_timer = Timer(self._transmit)

    @property
    def speaks(self) -> bool:
        """There is a full-duplex link (AD_PORT_LACP_ENABLED)."""
        return self.linked and self.actor.key & 1 != 0

    # -- the link --------------------------------------------------------------------------------------------

    def link_changed(self, linked: bool) -> None:
        """bond_3ad_handle_link_change() and what the receive machine makes of it."""
        speed, full = link_settings(self.slave.dev)
        key = self.ad.bond.params.ad_user_port_key << 6
        if linked:
            key |= _SPEED_CODES.get(speed, 0) << 1 | full
        if linked == self.linked and key == self.actor.key:
            return
        self.linked, self.actor.key = linked, key
        self.leave()
        self.partner.state &= ~lacp.SYNCHRONIZATION
        if not linked:
            self.rx = RX_DISABLED
            self._disarm(self.current_timer, self.periodic_timer, self.tx_timer)
        elif not self.speaks:
            self.rx = RX_DEFAULTED
            self.partner = _default_partner()
        else:
            self._expire()
        self.ad.update()

    def _expire(self) -> None:
        """Nothing was heard yet, or not for long: who is there? Quickly, please."""
        self.rx = RX_EXPIRED
        self.partner.state = self.partner.state & ~lacp.SYNCHRONIZATION | lacp.SHORT_TIMEOUT
        self.actor.state |= lacp.EXPIRED
        self._arm(self.current_timer, SHORT_TIMEOUT)
        self.ntt |= self.actor.state & lacp.ACTIVITY != 0

    def _silent(self) -> None:
        """current_while: EXPIRED comes to be DEFAULTED, CURRENT to be EXPIRED."""
        if self.rx == RX_CURRENT:
            self._expire()
        else:
            self.rx = RX_DEFAULTED
            if not _same(self.partner, _default_partner(), lacp.AGGREGATION):
                self.leave()
            self.partner = _default_partner()
            self.actor.state = self.actor.state & ~lacp.EXPIRED | lacp.DEFAULTED
        self.ad.update()

    # -- LACPDUs in ------------------------------------------------------------------------------------------

    def received(self, pdu: lacp.Lacpdu) -> None:
        """ad_rx_machine() with a LACPDU."""
        if not self.speaks or pdu.actor.system == self.actor.system:
            return  # not ready; or a cable between two of our own ports
        actor = self.actor
        if not _same(pdu.actor, self.partner, lacp.AGGREGATION):
            self.leave()
        if not _same(pdu.partner, actor, _TOLD):
            self.ntt = True
        hasty = self.partner.state & lacp.SHORT_TIMEOUT
        matched = _same(pdu.partner, actor, lacp.AGGREGATION) or not pdu.actor.state & lacp.AGGREGATION
        self.partner = pdu.actor
        if not matched:
            self.partner.state &= ~lacp.SYNCHRONIZATION
        self.rx = RX_CURRENT
        actor.state &= ~(lacp.EXPIRED | lacp.DEFAULTED)
        self._arm(self.current_timer, SHORT_TIMEOUT if actor.state & lacp.SHORT_TIMEOUT else LONG_TIMEOUT)
        if self.partner.state & lacp.SHORT_TIMEOUT and not hasty:
            self.ntt = True
            self._disarm(self.periodic_timer)
        self.ad.update()

    # -- aggregators -----------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Out of its aggregator."""
        if self.aggregator is not None:
            self.aggregator.ports.remove(self)
            self.aggregator = None
        self.selected = False

    def join(self) -> None:
        """ad_port_selection_logic(): that of the ports with the same partner and keys, or one's own."""
        for other in self.ad.ports:
            found = other.aggregator
            if found is not None and found.ports and self._fits(found.ports[0]):
                self.aggregator = found
                break
        else:
            self.aggregator = next((each for each in self._own_first() if not each.ports), self.own)
        self.aggregator.ports.append(self)
        self.selected = True

    def _own_first(self) -> list[Aggregator]:
        """Others may be in this port's own one: then any free one will do."""
        return [self.own, *(port.own for port in self.ad.ports)]

    def _fits(self, other: AdPort) -> bool:
        mine, theirs = self.partner, other.partner
        return (
            mine.system != _NOBODY
            and (mine.system, mine.system_priority, mine.key) == (theirs.system, theirs.system_priority, theirs.key)
            and self.actor.key == other.actor.key
            and self.actor.key & 1 != 0
        )

    # -- mux -------------------------------------------------------------------------------------------------

    def move(self) -> None:
        """ad_mux_machine(): as far as it goes now."""
        if not self.selected:
            self._enter(DETACHED)
        if self.mux == DETACHED and self.selected:
            self._enter(WAITING)
            self._arm(self.wait_timer, AGGREGATE_WAIT)
        in_sync = self.partner.state & lacp.SYNCHRONIZATION != 0 and self.rx == RX_CURRENT
        if self.mux == ATTACHED and in_sync:
            self._enter(DISTRIBUTING)
        elif self.mux == DISTRIBUTING and not in_sync:
            self._enter(ATTACHED)

    def _enter(self, mux: int) -> None:
        if mux == self.mux:
            return
        self.mux = mux
        state = self.actor.state & ~(lacp.SYNCHRONIZATION | lacp.COLLECTING | lacp.DISTRIBUTING)
        if mux >= ATTACHED:
            state |= lacp.SYNCHRONIZATION
        if mux == DISTRIBUTING:
            state |= lacp.COLLECTING | lacp.DISTRIBUTING
        self.ntt |= state != self.actor.state
        self.actor.state = state
        if mux != WAITING:
            self._disarm(self.wait_timer)

    def _waited(self) -> None:
        if self.mux == WAITING:
            self._enter(ATTACHED)
            self.ad.update()

    # -- LACPDUs out -----------------------------------------------------------------------------------------

    def speak(self) -> None:
        """ad_periodic_machine() and ad_tx_machine()."""
        kernel = self.ad.bond.dev.kernel
        if not self.speaks or not (self.actor.state | self.partner.state) & lacp.ACTIVITY:
            self._disarm(self.periodic_timer)
        elif not self.periodic_timer.pending:
            hasty = self.partner.state & lacp.SHORT_TIMEOUT
            self._arm(self.periodic_timer, FAST_PERIODIC if hasty else SLOW_PERIODIC)
        if self.ntt and self.speaks and not self.tx_timer.pending:
            if kernel.now >= self.next_tx:
                self._transmit()
            else:
                kernel.timers.mod_timer(self.tx_timer, self.next_tx)

    def _period_over(self) -> None:
        self.ntt = True
        self.speak()

    def _transmit(self) -> None:
        if not self.ntt or not self.speaks:
            return
        self.ntt = False
        self.next_tx = self.ad.bond.dev.kernel.now + TRANSMIT_GAP
        self.send(lacp.build(lacp.Lacpdu(self.actor, self.partner)))

    def send(self, payload: bytes) -> None:
        """A frame of the slow protocols."""
        dev = self.slave.dev
        raw = ethernet.build(lacp.GROUP_ADDRESS, self.slave.address, ETH_P_SLOW, payload)
        skb = SkBuff(raw, 0, len(raw))
        skb.dev = dev
        skb.protocol = ETH_P_SLOW
        dev.queue_xmit(skb)

    def stop(self) -> None:
        """The slave or the bond goes."""
        self.leave()
        self._disarm(self.current_timer, self.periodic_timer, self.wait_timer, self.tx_timer)
        self.enabled = self.linked = False
        self.rx = RX_DISABLED
        self._enter(DETACHED)

    def _arm(self, timer: Timer, delay: int) -> None:
        kernel = self.ad.bond.dev.kernel
        kernel.timers.mod_timer(timer, kernel.now + delay)

    def _disarm(self, *timers: Timer) -> None:
        for timer in timers:
            self.ad.bond.dev.kernel.timers.del_timer(timer)


class Ad:
    """The ports of one bond, and which aggregator is active (``best``)."""

    __slots__ = ("best", "bond", "ports")

    def __init__(self, bond: BondOps) -> None:
        self.bond = bond
        self.ports: list[AdPort] = []
        self.best: Aggregator | None = None

    def add(self, slave: Slave) -> None:
        """bond_3ad_bind_slave()."""
        number = 1 + max((port.actor.port for port in self.ports), default=0)
        slave.ad = AdPort(self, slave, number)
        self.ports.append(slave.ad)
        self.look()

    def remove(self, slave: Slave) -> None:
        """bond_3ad_unbind_slave(): ports in its aggregator look for another."""
        port, slave.ad = slave.ad, None
        if port is None:
            return
        port.stop()
        self.ports.remove(port)
        for other in tuple(port.own.ports):
            other.leave()
        self.update()

    def look(self) -> None:
        """Links have changed, or the bond went up or down."""
        running = self.bond.dev.running
        for port in tuple(self.ports):
            port.link_changed(running and port.slave.linked)

    def set_system(self, address: bytes) -> None:
        """The bond has another address."""
        for port in self.ports:
            if not self.bond.params.ad_actor_system and port.actor.system != address:
                port.actor.system = address
                port.ntt = True
        self.update()

    def update(self) -> None:
        """Let all machines go as far as they can."""
        for port in self.ports:
            if port.linked and not port.selected:
                port.join()
        self._choose()
        for port in self.ports:
            port.move()
            group = port.aggregator
            alone = group is not None and not group.has_partner and port.linked
            port.enabled = group is not None and group.active and (port.mux == DISTRIBUTING or alone)
        self.bond.set_carrier()
        for port in self.ports:
            port.speak()

    def _choose(self) -> None:
        """ad_agg_selection_logic(): with the policy "stable" an active one stays while it works."""
        groups = [port.own for port in self.ports if port.own.ports]
        policy = self.bond.params.ad_select
        best = max(groups, key=lambda group: group.rank(policy), default=None)
        old = self.best
        if policy == STABLE and old is not None and old in groups and old.working and best is not None:
            if old.has_partner or not best.has_partner:
                best = old
        for port in self.ports:
            port.own.active = port.own is best
        self.best = best

    def received(self, slave: Slave, skb: SkBuff) -> None:
        """bond_3ad_lacpdu_recv(): a frame of the slow protocols, ``skb.data`` behind its Ethernet header. Nothing that
        arrives has an effect unless it is a LACPDU or a marker.
        """
        port = slave.ad
        raw = skb_header_pointer(skb, 0, _MARKER_SIZE)
        if port is None or raw is None:
            return
        if raw[0] == _MARKER and raw[2] == 1:
            payload = bytes(raw)
            port.send(payload[:2] + b"\2" + payload[3:])
            return
        try:
            pdu = lacp.parse(raw)
        except Malformed:
            self.bond.dev.stats.rx_frame_errors += 1
            return
        port.received(pdu)
