"""SIOCDEVPRIVATE on a bridge: what brctl(8) falls back to without /sys. br_dev_siocdevprivate() in br_ioctl.c.

The argument points to four unsigned longs, a command and its arguments, some of which are pointers again. Counts that
Linux returns from ioctl(2) itself are not returned: the lists end with zeros. SIOCGIFBR and SIOCSIFBR are not here.
"""

from __future__ import annotations

import errno
from struct import Struct, calcsize

from pysock.core.errors import err
from pysock.core.uaccess import copy_from_user, copy_to_user
from pysock.drivers.bridge.attr import br_attr, br_attr_store, port_attr, port_attr_store
from pysock.drivers.bridge.device import bridge_ops
from pysock.drivers.bridge.fdb import ALWAYS
from pysock.drivers.bridge.interface import br_add_if, br_del_if
from pysock.uapi import if_bridge as nr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice

_POINTER = Struct("=Q")
_BY_NAME = {
    nr.BRCTL_SET_BRIDGE_FORWARD_DELAY: "forward_delay",
    nr.BRCTL_SET_BRIDGE_HELLO_TIME: "hello_time",
    nr.BRCTL_SET_BRIDGE_MAX_AGE: "max_age",
    nr.BRCTL_SET_AGEING_TIME: "ageing_time",
    nr.BRCTL_SET_BRIDGE_STP_STATE: "stp_state",
    nr.BRCTL_SET_BRIDGE_PRIORITY: "priority",
}
_BY_PORT = {nr.BRCTL_SET_PORT_PRIORITY: "priority", nr.BRCTL_SET_PATH_COST: "path_cost"}
#: Ports are listed so far (BR_MAX_PORTS), 256 when nobody says how many fit.
_MAX_PORTS, _DEFAULT_PORTS = 1024, 256
_TICK = 10_000_000


def bridge_private(br: NetDevice, data: bytes) -> None:
    """Do one command for ``br``; ``data`` is the union of the ifreq. EFAULT for a bad pointer, EINVAL for an unknown
    device or port and for too long a list, EOPNOTSUPP for an unknown command, and what a change is refused with.
    """
    raw = copy_from_user(_POINTER.unpack_from(data)[0], nr.BRCTL_ARGS.size)
    cmd, one, two, three = nr.BRCTL_ARGS.unpack(raw)
    if cmd in (nr.BRCTL_ADD_IF, nr.BRCTL_DEL_IF):
        dev = br.net.dev_by_index.get(one)
        if dev is None:
            raise err(errno.EINVAL)
        (br_add_if if cmd == nr.BRCTL_ADD_IF else br_del_if)(br, dev)
    elif cmd in _BY_NAME:
        br_attr_store(br, _BY_NAME[cmd], str(one))
    elif cmd in _BY_PORT:
        port_attr_store(_numbered(br, one), _BY_PORT[cmd], str(two))
    elif cmd == nr.BRCTL_GET_BRIDGE_INFO:
        copy_to_user(one, _bridge_info(br))
    elif cmd == nr.BRCTL_GET_PORT_INFO:
        copy_to_user(one, _port_info(_numbered(br, two)))
    elif cmd == nr.BRCTL_GET_PORT_LIST:
        copy_to_user(one, _port_list(br, two or _DEFAULT_PORTS))
    elif cmd == nr.BRCTL_GET_FDB_ENTRIES:
        copy_to_user(one, _fdb(br, two, three))
    elif cmd != nr.BRCTL_SET_GC_INTERVAL:  # which has had no effect since 2.6
        raise err(errno.EOPNOTSUPP)


def _numbered(br: NetDevice, number: int) -> NetDevice:
    for port in bridge_ops(br).ports.values():
        if port.number == number:
            return port.dev
    raise err(errno.EINVAL)


def _bridge_info(br: NetDevice) -> bytes:
    tree = bridge_ops(br).tree()
    own = (tree.bridge_max_age // _TICK, tree.bridge_hello_time // _TICK, tree.bridge_forward_delay // _TICK)
    costs = (int(br_attr(br, name)) for name in ("root_path_cost", "max_age", "hello_time", "forward_delay"))
    named = ("topology_change", "topology_change_detected", "root_port", "stp_state")
    flags = (int(br_attr(br, name)) for name in named)
    timers = (int(br_attr(br, f"{name}_timer")) for name in ("hello", "tcn", "topology_change", "gc"))
    ageing = int(br_attr(br, "ageing_time"))
    return nr.BRIDGE_INFO.pack(tree.designated_root, tree.bridge_id, *costs, *own, *flags, ageing, 0, *timers)


def _port_info(dev: NetDevice) -> bytes:
    def numbers(*names: str) -> tuple[int, ...]:
        return tuple(int(port_attr(dev, name), 0) for name in names)

    ids = (bytes.fromhex(port_attr(dev, name).replace(".", "")) for name in ("designated_root", "designated_bridge"))
    return nr.PORT_INFO.pack(
        *ids,
        *numbers("port_id", "designated_port", "path_cost", "designated_cost"),
        *numbers("state", "change_ack", "config_pending"),
        0,
        *numbers("message_age_timer", "forward_delay_timer", "hold_timer"),
    )


def _port_list(br: NetDevice, count: int) -> bytes:
    """An ifindex for each port number from 0, 0 for those that are not there."""
    if count > _MAX_PORTS:
        raise err(errno.EINVAL)
    found = [0] * count
    for port in bridge_ops(br).ports.values():
        if port.number < count:
            found[port.number] = port.dev.ifindex
    return b"".join(index.to_bytes(calcsize("@i"), "little") for index in found)


def _fdb(br: NetDevice, count: int, skip: int) -> bytes:
    """br_fdb_fillbuf(): of ports, not of the bridge itself."""
    bridge = bridge_ops(br)
    now = br.kernel.now
    entries = []
    for address, known in bridge.learned.items():
        if known.port is not None:
            number = known.port.number
            age = 0 if known.heard == ALWAYS else (now - known.heard) // _TICK
            entries.append(nr.FDB_ENTRY.pack(address, number & 0xFF, known.local, age, number >> 8))
    return b"".join(entries[skip : skip + count])
