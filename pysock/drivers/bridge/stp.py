"""The spanning tree of one bridge: IEEE 802.1D-1998 clause 8, as net/bridge/br_stp*.c do it.

The model. Each port remembers the best configuration message heard on its LAN: who is the root, how far, and the
bridge and port that say so (the designated ones of that LAN; it may be this port). From these follows everything:

    root port       the port with the best message, if that is better than what this bridge could say of itself
    designated      the port whose own message would be the best on its LAN, or was
    all others      block

    DISABLED --link--> BLOCKING --root or designated--> LISTENING --delay--> LEARNING --delay--> FORWARDING
                          ^------------------- neither any more --------------------'

Rules that keep it true: after every change of what a port remembers come `update` (who is root, which ports are
designated) and `select_states`, in this order; and `became_root` when this bridge is root now and was not before.

The root says hello on its designated ports; who hears it on the root port repeats it on its own. What is not repeated
for max age is forgotten, and the port becomes designated. Who starts to forward, or stops, tells the root (TCN), whose
hellos then say so for a while, in which addresses age within the forward delay.

Turned off (`bridge.stp_enabled` 0) nothing is sent or heard any more, and ports that become active forward at once; one
that blocked does so until its message is too old. Instants and times are monotonic ns.
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.device import netif_carrier_on
from pysock.core.timer import Timer
from pysock.drivers.bridge.bpdu import from_ticks, send_bpdu, to_ticks
from pysock.drivers.bridge.port import (
    BPDU_GUARD,
    ROOT_BLOCK,
    STATE_BLOCKING,
    STATE_DISABLED,
    STATE_FORWARDING,
    STATE_LEARNING,
    STATE_LISTENING,
)
from pysock.wire import stp as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.drivers.bridge.device import BridgeOps
    from pysock.drivers.bridge.port import Port

#: Between two configuration messages on one port at least (BR_HOLD_TIME).
HOLD_TIME: Final = 1 * NSEC_PER_SEC
#: What a message ages on its way through a bridge, besides the time it takes (MESSAGE_AGE_INCR).
AGE_INCREMENT: Final = NSEC_PER_SEC // wire.TICKS
#: A port's number has 10 bits of its identifier, its priority 6 (BR_PORT_BITS).
PORT_BITS: Final = 10
MAX_PORT_NUMBER: Final = (1 << PORT_BITS) - 1
DEFAULT_PRIORITY: Final = 0x8000
DEFAULT_PORT_PRIORITY: Final = 0x8000 >> PORT_BITS
#: 802.1D-1998 table 8-5: the cost of a LAN by its speed in Mbit/s, and for what does not say (port_cost).
COSTS: Final = {10: 100, 100: 19, 1000: 4, 10_000: 2}
DEFAULT_COST: Final = 100


class StpPort:
    """What the tree knows of a port; ``designated_*`` is the best message on its LAN. ``path_cost`` is what its LAN
    costs.
    """

    __slots__ = (
        "config_pending", "designated_age", "designated_bridge", "designated_cost", "designated_port",
        "designated_root", "forward_delay_timer", "hold_timer", "message_age_timer", "path_cost", "port", "port_id",
        "topology_change_ack",
    )  # fmt: skip

    def __init__(self, tree: Stp, port: Port, path_cost: int) -> None:
        self.port = port
        self.path_cost = path_cost
        self.port_id = DEFAULT_PORT_PRIORITY << PORT_BITS | port.number & MAX_PORT_NUMBER
        self.designated_age = 0
        self.topology_change_ack = self.config_pending = False
        self.message_age_timer = Timer(lambda: tree.message_aged(self))
        self.forward_delay_timer = Timer(lambda: tree.delay_over(self))
        self.hold_timer = Timer(lambda: tree.hold_over(self))
        self.designate(tree)

    def designate(self, tree: Stp) -> None:
        """br_become_designated_port(): nobody's message is better than ours."""
        self.designated_root: bytes = tree.designated_root
        self.designated_cost: int = tree.root_path_cost
        self.designated_bridge: bytes = tree.bridge_id
        self.designated_port: int = self.port_id

    @property
    def enabled(self) -> bool:
        return self.port.state != STATE_DISABLED

    def is_designated(self, tree: Stp) -> bool:
        return self.designated_port == self.port_id and self.designated_bridge == tree.bridge_id


class Stp:
    """One bridge's tree. ``max_age``, ``hello_time``, ``forward_delay`` are the root's, those with ``bridge_`` what
    this one would say as root; ``root_port`` is None on the root.
    """

    __slots__ = (
        "bridge", "bridge_forward_delay", "bridge_hello_time", "bridge_id", "bridge_max_age", "designated_root",
        "forward_delay", "hello_time", "hello_timer", "max_age", "ports", "root_path_cost", "root_port", "tcn_timer",
        "topology_change", "topology_change_detected", "topology_change_timer",
    )  # fmt: skip

    def __init__(self, bridge: BridgeOps) -> None:
        self.bridge = bridge
        self.bridge_id: bytes = DEFAULT_PRIORITY.to_bytes(2, "big") + bridge.dev.dev_addr
        self.designated_root: bytes = self.bridge_id
        self.root_path_cost: int = 0
        self.root_port: StpPort | None = None
        self.max_age: int = 20 * NSEC_PER_SEC
        self.hello_time: int = 2 * NSEC_PER_SEC
        self.forward_delay: int = 15 * NSEC_PER_SEC
        self.bridge_max_age, self.bridge_hello_time = self.max_age, self.hello_time
        self.bridge_forward_delay = self.forward_delay
        self.topology_change: bool = False
        self.topology_change_detected: bool = False
        self.hello_timer: Timer = Timer(self._hello)
        self.tcn_timer: Timer = Timer(self._tcn_again)
        self.topology_change_timer: Timer = Timer(self._change_over)
        self.ports: list[StpPort] = []

    @property
    def is_root(self) -> bool:
        return self.bridge_id == self.designated_root

    @property
    def _on(self) -> bool:
        return self.bridge.stp_enabled != 0

    def _arm(self, timer: Timer, delay: int) -> None:
        kernel = self.bridge.dev.kernel
        kernel.timers.mod_timer(timer, kernel.now + delay)

    def _disarm(self, *timers: Timer) -> None:
        for timer in timers:
            self.bridge.dev.kernel.timers.del_timer(timer)

    # -- who is what -----------------------------------------------------------------------------------------

    def update(self) -> None:
        """br_configuration_update()."""
        best: StpPort | None = None
        for p in self.ports:
            if not p.enabled or p.is_designated(self) or self.bridge_id <= p.designated_root:
                continue
            if best is not None and self._claim(best) <= self._claim(p):
                continue
            if p.port.flags & ROOT_BLOCK:  # root guard: it listens, and never gets further
                p.port.state = STATE_LISTENING
                self._arm(p.forward_delay_timer, self.forward_delay)
            else:
                best = p
        self.root_port = best
        if best is None:
            self.designated_root, self.root_path_cost = self.bridge_id, 0
        else:
            self.designated_root, self.root_path_cost = best.designated_root, best.designated_cost + best.path_cost
        for p in self.ports:
            if p.enabled and self._should_be_designated(p):
                p.designate(self)

    @staticmethod
    def _claim(p: StpPort) -> tuple[bytes, int, bytes, int, int]:
        """How good a root port this one is: the lower, the better (br_should_become_root_port)."""
        return p.designated_root, p.designated_cost + p.path_cost, p.designated_bridge, p.designated_port, p.port_id

    def _should_be_designated(self, p: StpPort) -> bool:
        """br_should_become_designated_port()."""
        return (
            p.is_designated(self)
            or p.designated_root != self.designated_root
            or (self.root_path_cost, self.bridge_id, p.port_id)
            < (p.designated_cost, p.designated_bridge, p.designated_port)
        )

    def select_states(self) -> None:
        """br_port_state_selection()."""
        for p in self.ports:
            if not p.enabled:
                continue
            if p is self.root_port:
                p.config_pending = p.topology_change_ack = False
                self._make_forwarding(p)
            elif p.is_designated(self):
                self._disarm(p.message_age_timer)
                self._make_forwarding(p)
            else:
                p.config_pending = p.topology_change_ack = False
                self._make_blocking(p)
        self.bridge.link_changed()

    def _make_forwarding(self, p: StpPort) -> None:
        if p.port.state != STATE_BLOCKING:
            return
        if not self._on or not self.forward_delay:
            p.port.state = STATE_FORWARDING
            self._disarm(p.forward_delay_timer)
            self._change_detected()
        else:
            p.port.state = STATE_LISTENING
            self._arm(p.forward_delay_timer, self.forward_delay)

    def _make_blocking(self, p: StpPort) -> None:
        if p.port.state == STATE_BLOCKING:
            return
        if p.port.state in (STATE_LEARNING, STATE_FORWARDING):
            self._change_detected()
        p.port.state = STATE_BLOCKING
        self._disarm(p.forward_delay_timer)

    def reconsider(self, was_root: bool) -> None:
        """Something changed that the tree rests on."""
        self.update()
        self.select_states()
        if self.is_root and not was_root:
            self.became_root()

    def became_root(self) -> None:
        """br_become_root_bridge()."""
        self.max_age = self.bridge_max_age
        self.hello_time = self.bridge_hello_time
        self.forward_delay = self.bridge_forward_delay
        self._change_detected()
        self._disarm(self.tcn_timer)
        if self.bridge.dev.running:
            self.say_hello()
            self._arm(self.hello_timer, self.hello_time)

    # -- messages out ----------------------------------------------------------------------------------------

    def say_hello(self) -> None:
        """br_config_bpdu_generation(): on all designated ports."""
        for p in self.ports:
            if p.enabled and p.is_designated(self):
                self._transmit_config(p)

    def _transmit_config(self, p: StpPort) -> None:
        if p.hold_timer.pending:
            p.config_pending = True
            return
        age = 0
        if (root := self.root_port) is not None:
            age = self.bridge.dev.kernel.now - root.designated_age + AGE_INCREMENT
        if age >= self.max_age:
            return
        if self._on:
            flags = (wire.FLAG_TC if self.topology_change else 0) | (wire.FLAG_TC_ACK if p.topology_change_ack else 0)
            times = (to_ticks(time) for time in (age, self.max_age, self.hello_time, self.forward_delay))
            root_id, cost = self.designated_root, self.root_path_cost
            send_bpdu(p.port, wire.ConfigBpdu(flags, root_id, cost, self.bridge_id, p.port_id, *times))
            self._arm(p.hold_timer, HOLD_TIME)
        p.topology_change_ack = p.config_pending = False

    def _transmit_tcn(self) -> None:
        if self.root_port is not None and self._on:
            send_bpdu(self.root_port.port, wire.TcnBpdu())

    # -- messages in -----------------------------------------------------------------------------------------

    def received(self, p: StpPort, bpdu: wire.ConfigBpdu | wire.TcnBpdu) -> None:
        """br_stp_rcv() for what is a BPDU: not before the port is enabled."""
        if not p.enabled or not self._on:
            return
        if p.port.flags & BPDU_GUARD:
            self.disable(p)
        elif isinstance(bpdu, wire.TcnBpdu):
            if p.is_designated(self):
                self._change_detected()
                p.topology_change_ack = True
                self._transmit_config(p)
        elif bpdu.message_age <= bpdu.max_age:
            self._received_config(p, bpdu)

    def _received_config(self, p: StpPort, bpdu: wire.ConfigBpdu) -> None:
        if not self._supersedes(p, bpdu):
            if p.is_designated(self):
                self._transmit_config(p)  # they know less than we do
            return
        was_root = self.is_root
        age = from_ticks(bpdu.message_age)
        p.designated_root, p.designated_cost = bpdu.root, bpdu.cost
        p.designated_bridge, p.designated_port = bpdu.bridge, bpdu.port
        p.designated_age = self.bridge.dev.kernel.now - age
        self._arm(p.message_age_timer, from_ticks(bpdu.max_age) - age)
        self.update()
        self.select_states()
        if was_root and not self.is_root:
            self._disarm(self.hello_timer)
            if self.topology_change_detected:
                self._disarm(self.topology_change_timer)
                self._transmit_tcn()
                self._arm(self.tcn_timer, self.bridge_hello_time)
        if p is self.root_port:
            self.max_age = from_ticks(bpdu.max_age)
            self.hello_time = from_ticks(bpdu.hello_time)
            self.forward_delay = from_ticks(bpdu.forward_delay)
            self._set_change(bpdu.flags & wire.FLAG_TC != 0)
            self.say_hello()
            if bpdu.flags & wire.FLAG_TC_ACK:
                self.topology_change_detected = False
                self._disarm(self.tcn_timer)

    def _supersedes(self, p: StpPort, bpdu: wire.ConfigBpdu) -> bool:
        """br_supersedes_port_info(): better than what the port remembers, or the same sender's again."""
        theirs = bpdu.root, bpdu.cost, bpdu.bridge
        ours = p.designated_root, p.designated_cost, p.designated_bridge
        if theirs != ours:
            return theirs < ours
        return bpdu.bridge != self.bridge_id or bpdu.port <= p.designated_port

    # -- changes of the topology -----------------------------------------------------------------------------

    def _change_detected(self) -> None:
        """br_topology_change_detection()."""
        if not self._on:
            return
        if self.is_root:
            self._set_change(True)
            self._arm(self.topology_change_timer, self.bridge_forward_delay + self.bridge_max_age)
        elif not self.topology_change_detected:
            self._transmit_tcn()
            self._arm(self.tcn_timer, self.bridge_hello_time)
        self.topology_change_detected = True

    def _set_change(self, changes: bool) -> None:
        """__br_set_topology_change(): addresses age fast meanwhile (hold_time)."""
        if self.topology_change != changes:
            self.topology_change = changes
            fdb = self.bridge.fdb
            fdb.set_hold(self.forward_delay if changes else fdb.ageing)

    # -- timers ----------------------------------------------------------------------------------------------

    def _hello(self) -> None:
        if self.bridge.dev.running:
            self.say_hello()
            if self._on:
                self._arm(self.hello_timer, self.hello_time)

    def _tcn_again(self) -> None:
        if not self.is_root and self.bridge.dev.running:
            self._transmit_tcn()
            self._arm(self.tcn_timer, self.bridge_hello_time)

    def _change_over(self) -> None:
        self.topology_change_detected = False
        self._set_change(False)

    def message_aged(self, p: StpPort) -> None:
        """br_message_age_timer_expired(): nobody repeated what we heard there."""
        if p.enabled:
            was_root = self.is_root
            p.designate(self)
            self.reconsider(was_root)

    def delay_over(self, p: StpPort) -> None:
        """br_forward_delay_timer_expired()."""
        if p.port.state == STATE_LISTENING:
            p.port.state = STATE_LEARNING
            self._arm(p.forward_delay_timer, self.forward_delay)
        elif p.port.state == STATE_LEARNING:
            p.port.state = STATE_FORWARDING
            if any(one.enabled and one.designated_bridge == self.bridge_id for one in self.ports):
                self._change_detected()
            netif_carrier_on(self.bridge.dev)

    def hold_over(self, p: StpPort) -> None:
        if p.config_pending:
            self._transmit_config(p)

    # -- ports and the bridge, up and down -------------------------------------------------------------------

    def enable(self, p: StpPort) -> None:
        """br_stp_enable_port()."""
        p.designate(self)
        p.port.state = STATE_BLOCKING
        p.topology_change_ack = p.config_pending = False
        self.select_states()

    def disable(self, p: StpPort) -> None:
        """br_stp_disable_port(), all but forgetting addresses."""
        was_root = self.is_root
        p.designate(self)
        p.port.state = STATE_DISABLED
        p.topology_change_ack = p.config_pending = False
        self._disarm(p.message_age_timer, p.forward_delay_timer, p.hold_timer)
        self.bridge.forget(p.port)
        self.reconsider(was_root)

    def start(self) -> None:
        """The bridge is up (br_stp_enable_bridge), its ports not yet enabled."""
        if self._on:
            self._arm(self.hello_timer, self.hello_time)
        self.say_hello()

    def stop(self) -> None:
        """br_stp_disable_bridge(), its ports disabled before."""
        self.topology_change_detected = False
        self._set_change(False)
        self._disarm(self.hello_timer, self.topology_change_timer, self.tcn_timer)

    def turned_on(self) -> None:
        """br_stp_start()."""
        if self.bridge.dev.running:
            self._arm(self.hello_timer, self.hello_time)
        self.select_states()

    # -- configuration ---------------------------------------------------------------------------------------

    def set_bridge_id(self, bridge_id: bytes) -> None:
        """Another priority or address (br_stp_set_bridge_priority, br_stp_change_bridge_id)."""
        was_root = self.is_root
        old, self.bridge_id = self.bridge_id, bridge_id
        for p in self.ports:
            if p.designated_bridge == old:
                p.designated_bridge = bridge_id
            if p.designated_root == old:
                p.designated_root = bridge_id
        self.reconsider(was_root)

    def set_port_priority(self, p: StpPort, priority: int) -> None:
        """br_stp_set_port_priority()."""
        port_id = priority << PORT_BITS | p.port_id & MAX_PORT_NUMBER
        if p.is_designated(self):
            p.designated_port = port_id
        p.port_id = port_id
        if self.bridge_id == p.designated_bridge and p.port_id < p.designated_port:
            p.designate(self)
            self.select_states()

    def set_path_cost(self, p: StpPort, cost: int) -> None:
        """br_stp_set_path_cost()."""
        was_root = self.is_root
        p.path_cost = cost
        self.reconsider(was_root)
