"""The attributes of a bridge and of its ports, by the names and with the texts of /sys/class/net/BR/bridge/ and
/sys/class/net/PORT/brport/. net/bridge/br_sysfs_br.c, br_sysfs_if.c.

    br_attr(br, "root_id")      "8000.020000000001"         br_attr_store(br, "stp_state", "1")
    port_attr(dev, "state")     "3"                         port_attr_store(dev, "path_cost", "10")

Numbers are stored in any base that C knows ("0x10"); times and timers are in 1/100 s.
"""

from __future__ import annotations

import errno
from functools import partial

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.errors import err
from pysock.drivers.bridge import port as flag
from pysock.drivers.bridge.device import BridgeOps, bridge_ops
from pysock.drivers.bridge.interface import port_of
from pysock.drivers.bridge.stp import PORT_BITS, Stp, StpPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.netdevice import NetDevice
    from pysock.core.timer import Timer
    from pysock.drivers.bridge.port import Port

    Show = Callable[[BridgeOps, Stp], object]
    Store = Callable[[BridgeOps, int], None]
    PortShow = Callable[[Port, StpPort], object]
    PortStore = Callable[[Port, StpPort, int], None]

_TICK = NSEC_PER_SEC // 100
#: Groups whose frames no mask lets through: spanning tree, pause, LACP (BR_GROUPFWD_RESTRICTED).
_RESTRICTED = 0x7
_MAX_PORT_PRIORITY = 0xFFFF >> PORT_BITS


def _left(bridge: BridgeOps, timer: Timer) -> int:
    """br_timer_value(): ticks until it runs, 0 when it does not."""
    return max(timer.expires - bridge.dev.kernel.now, 0) // _TICK if timer.pending else 0


def _id(identifier: bytes) -> str:
    return f"{identifier[:2].hex()}.{identifier[2:].hex()}"


# --- bridges ----------------------------------------------------------------------------------------------------------


def _set_time(name: str, least: int, most: int, bridge: BridgeOps, ticks: int) -> None:
    """br_set_hello_time() and its kin: ``least`` and ``most`` seconds. ERANGE."""
    ns = ticks * _TICK
    tree = bridge.tree()
    if (name != "forward_delay" or bridge.stp_enabled) and not least * NSEC_PER_SEC <= ns <= most * NSEC_PER_SEC:
        raise err(errno.ERANGE)
    setattr(tree, f"bridge_{name}", ns)
    if tree.is_root:
        setattr(tree, name, ns)


def _set_ageing(bridge: BridgeOps, ticks: int) -> None:
    """br_set_ageing_time()."""
    fdb = bridge.fdb
    fdb.ageing = ticks * _TICK
    if bridge.stp is None or not bridge.stp.topology_change:
        fdb.set_hold(fdb.ageing)


def _set_stp(bridge: BridgeOps, on: int) -> None:
    bridge.set_stp(on != 0)


def _set_priority(bridge: BridgeOps, priority: int) -> None:
    tree = bridge.tree()
    tree.set_bridge_id((priority & 0xFFFF).to_bytes(2, "big") + tree.bridge_id[2:])


def _set_fwd_mask(bridge: BridgeOps, mask: int) -> None:
    if mask & _RESTRICTED or mask > 0xFFFF:
        raise err(errno.EINVAL)
    bridge.group_fwd_mask = mask


def _set_linklocal(bridge: BridgeOps, on: int) -> None:
    bridge.no_linklocal_learn = on != 0


def _set_max_learned(bridge: BridgeOps, most: int) -> None:
    bridge.fdb.max_learned = most


def _flush(bridge: BridgeOps, value: int) -> None:
    bridge.fdb.flush()


_BRIDGE: dict[str, tuple[Show | None, Store | None]] = {
    "ageing_time": (lambda bridge, tree: bridge.fdb.ageing // _TICK, _set_ageing),
    "bridge_id": (lambda bridge, tree: _id(tree.bridge_id), None),
    "fdb_max_learned": (lambda bridge, tree: bridge.fdb.max_learned, _set_max_learned),
    "fdb_n_learned": (lambda bridge, tree: bridge.fdb.learned, None),
    "flush": (None, _flush),
    "forward_delay": (lambda bridge, tree: tree.forward_delay // _TICK, partial(_set_time, "forward_delay", 2, 30)),
    "gc_timer": (lambda bridge, tree: _left(bridge, bridge.fdb.timer), None),
    "group_addr": (lambda bridge, tree: bridge.group_addr.hex(":"), None),
    "group_fwd_mask": (lambda bridge, tree: hex(bridge.group_fwd_mask), _set_fwd_mask),
    "hello_time": (lambda bridge, tree: tree.hello_time // _TICK, partial(_set_time, "hello_time", 1, 10)),
    "hello_timer": (lambda bridge, tree: _left(bridge, tree.hello_timer), None),
    "max_age": (lambda bridge, tree: tree.max_age // _TICK, partial(_set_time, "max_age", 6, 40)),
    "no_linklocal_learn": (lambda bridge, tree: int(bridge.no_linklocal_learn), _set_linklocal),
    "priority": (lambda bridge, tree: int.from_bytes(tree.bridge_id[:2], "big"), _set_priority),
    "root_id": (lambda bridge, tree: _id(tree.designated_root), None),
    "root_path_cost": (lambda bridge, tree: tree.root_path_cost, None),
    "root_port": (lambda bridge, tree: tree.root_port.port.number if tree.root_port is not None else 0, None),
    "stp_state": (lambda bridge, tree: bridge.stp_enabled, _set_stp),
    "tcn_timer": (lambda bridge, tree: _left(bridge, tree.tcn_timer), None),
    "topology_change": (lambda bridge, tree: int(tree.topology_change), None),
    "topology_change_detected": (lambda bridge, tree: int(tree.topology_change_detected), None),
    "topology_change_timer": (lambda bridge, tree: _left(bridge, tree.topology_change_timer), None),
}


def _number(text: str) -> int:
    """kstrtoul(): EINVAL for what is no number, ERANGE for one beyond 32 bits."""
    try:
        number = int(text, 0) if not text.strip().startswith("0") or "x" in text.lower() else int(text, 8)
    except ValueError:
        raise err(errno.EINVAL) from None
    if not 0 <= number < 1 << 32:
        raise err(errno.ERANGE)
    return number


def br_attr(br: NetDevice, name: str) -> str:
    """An attribute of bridge ``br``. ENOENT for an unknown one, EACCES for one that can only be stored, EOPNOTSUPP when
    ``br`` is no bridge.
    """
    bridge = bridge_ops(br)
    if name not in _BRIDGE:
        raise err(errno.ENOENT, f"a bridge has no attribute {name!r}")
    show = _BRIDGE[name][0]
    if show is None:
        raise err(errno.EACCES)
    return str(show(bridge, bridge.tree()))


def br_attr_store(br: NetDevice, name: str, text: str) -> None:
    """Change one: EACCES for one that can't be, EINVAL for what is no number or not allowed, ERANGE for a time outside
    802.1D's limits, else as `br_attr`.
    """
    bridge = bridge_ops(br)
    if name not in _BRIDGE:
        raise err(errno.ENOENT, f"a bridge has no attribute {name!r}")
    store = _BRIDGE[name][1]
    if store is None:
        raise err(errno.EACCES)
    store(bridge, _number(text))


# --- ports ------------------------------------------------------------------------------------------------------------


def _set_cost(port: Port, stp: StpPort, cost: int) -> None:
    if not 1 <= cost <= 0xFFFF:
        raise err(errno.ERANGE)
    port.bridge.tree().set_path_cost(stp, cost)


def _set_port_priority(port: Port, stp: StpPort, priority: int) -> None:
    if priority > _MAX_PORT_PRIORITY:
        raise err(errno.ERANGE)
    port.bridge.tree().set_port_priority(stp, priority)


def _flush_port(port: Port, stp: StpPort, value: int) -> None:
    port.bridge.fdb.flush(port)


def _flag(bit: int) -> tuple[PortShow, PortStore]:
    def show(port: Port, stp: StpPort) -> int:
        return int(port.flags & bit != 0)

    def store(port: Port, stp: StpPort, on: int) -> None:
        port.flags = port.flags | bit if on else port.flags & ~bit

    return show, store


_PORT: dict[str, tuple[PortShow | None, PortStore | None]] = {
    "bpdu_guard": _flag(flag.BPDU_GUARD),
    "broadcast_flood": _flag(flag.BCAST_FLOOD),
    "change_ack": (lambda port, stp: int(stp.topology_change_ack), None),
    "config_pending": (lambda port, stp: int(stp.config_pending), None),
    "designated_bridge": (lambda port, stp: _id(stp.designated_bridge), None),
    "designated_cost": (lambda port, stp: stp.designated_cost, None),
    "designated_port": (lambda port, stp: stp.designated_port, None),
    "designated_root": (lambda port, stp: _id(stp.designated_root), None),
    "flush": (None, _flush_port),
    "forward_delay_timer": (lambda port, stp: _left(port.bridge, stp.forward_delay_timer), None),
    "hairpin_mode": _flag(flag.HAIRPIN),
    "hold_timer": (lambda port, stp: _left(port.bridge, stp.hold_timer), None),
    "isolated": _flag(flag.ISOLATED),
    "learning": _flag(flag.LEARNING),
    "message_age_timer": (lambda port, stp: _left(port.bridge, stp.message_age_timer), None),
    "multicast_flood": _flag(flag.MCAST_FLOOD),
    "path_cost": (lambda port, stp: stp.path_cost, _set_cost),
    "port_id": (lambda port, stp: hex(stp.port_id), None),
    "port_no": (lambda port, stp: hex(port.number), None),
    "priority": (lambda port, stp: stp.port_id >> PORT_BITS, _set_port_priority),
    "root_block": _flag(flag.ROOT_BLOCK),
    "state": (lambda port, stp: port.state, None),
    "unicast_flood": _flag(flag.FLOOD),
}


def _port(dev: NetDevice, name: str) -> tuple[Port, StpPort]:
    port = port_of(dev)
    if port is None:
        raise err(errno.EINVAL, f"{dev.name} is no port of a bridge")
    if name not in _PORT:
        raise err(errno.ENOENT, f"a port has no attribute {name!r}")
    port.bridge.tree()
    assert port.stp is not None
    return port, port.stp


def port_attr(dev: NetDevice, name: str) -> str:
    """An attribute of the port that ``dev`` is. EINVAL when it is none; else as `br_attr`."""
    port, stp = _port(dev, name)
    show = _PORT[name][0]
    if show is None:
        raise err(errno.EACCES)
    return str(show(port, stp))


def port_attr_store(dev: NetDevice, name: str, text: str) -> None:
    """Change one: ERANGE for a cost outside 1..65535 or a priority above 63, else as `br_attr_store`."""
    port, stp = _port(dev, name)
    store = _PORT[name][1]
    if store is None:
        raise err(errno.EACCES)
    store(port, stp, _number(text))
