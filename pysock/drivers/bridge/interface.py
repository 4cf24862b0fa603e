"""Ports of a bridge come and go. net/bridge/br_if.c, br.c."""

from __future__ import annotations

import errno

from pysock.core.device import (
    NETREG_REGISTERED,
    dev_set_allmulti,
    dev_set_promiscuity,
    netdev_rx_handler_register,
    netdev_rx_handler_unregister,
)
from pysock.core.errors import err
from pysock.core.eth import is_valid_ether_addr
from pysock.core.netdev_events import (
    NETDEV_CHANGE,
    NETDEV_CHANGEADDR,
    NETDEV_CHANGEMTU,
    NETDEV_DOWN,
    NETDEV_JOIN,
    NETDEV_UNREGISTER,
    NETDEV_UP,
)
from pysock.core.netdev_upper import netdev_master_upper_dev_link, netdev_upper_dev_unlink
from pysock.drivers.bridge.device import BridgeOps, bridge_ops
from pysock.drivers.bridge.port import STATE_DISABLED, Port
from pysock.uapi.if_ import ARPHRD_ETHER, IFF_LOOPBACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice


def port_of(dev: NetDevice) -> Port | None:
    """The port that ``dev`` is, None when it is none (br_port_get)."""
    port = getattr(dev.rx_handler, "__self__", None)
    return port if isinstance(port, Port) else None


def br_add_if(br: NetDevice, dev: NetDevice) -> None:
    """Make ``dev`` a port of ``br`` (br_add_if).

    EINVAL for loopback, what is no Ethernet or has no address, or another namespace's; ELOOP for a bridge; EBUSY for a
    device that has a master, or that stands on ``br`` itself; ENODEV for one that goes; EXFULL for more ports than the
    spanning tree has numbers for; EOPNOTSUPP when ``br`` is no bridge.
    """
    bridge = bridge_ops(br)
    if dev.flags & IFF_LOOPBACK or dev.type != ARPHRD_ETHER or dev.net is not br.net:
        raise err(errno.EINVAL)
    if not is_valid_ether_addr(dev.dev_addr):
        raise err(errno.EINVAL, f"{dev.name} has no address")
    if isinstance(dev.netdev_ops, BridgeOps):
        raise err(errno.ELOOP, "a bridge can't be a port of a bridge")
    if dev.master is not None:
        raise err(errno.EBUSY, f"{dev.name} is part of {dev.master.name}")
    if dev.reg_state != NETREG_REGISTERED or br.reg_state != NETREG_REGISTERED:
        raise err(errno.ENODEV)
    port = Port(bridge, dev, _free_number(bridge))
    dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_JOIN, dev)
    netdev_rx_handler_register(dev, port.receive)
    try:
        netdev_master_upper_dev_link(dev, br)
    except OSError:
        netdev_rx_handler_unregister(dev)
        raise
    dev_set_allmulti(dev, 1)
    dev_set_promiscuity(dev, 1)
    bridge.ports[dev] = port
    bridge.join_tree(port)
    bridge.fdb.add_local(dev.dev_addr, port)
    bridge.recalculate(dev)
    bridge.adjust_mtu(dev)
    bridge.port_link(port)


def _free_number(bridge: BridgeOps) -> int:
    """find_portno(): the lowest that no port has."""
    number = len(bridge.ports) + 1
    if number == 1 or next(reversed(bridge.ports.values())).number == number - 1:
        found = number  # none was taken out, or all behind it were
    else:
        taken = {port.number for port in bridge.ports.values()}
        found = next(one for one in range(1, number + 1) if one not in taken)
    if bridge.stp is not None:
        from pysock.drivers.bridge.stp import MAX_PORT_NUMBER

        if found > MAX_PORT_NUMBER:
            raise err(errno.EXFULL)
    return found


def br_del_if(br: NetDevice, dev: NetDevice) -> None:
    """Take a port out (br_del_if). EINVAL when it is none of ``br``."""
    bridge = bridge_ops(br)
    port = bridge.ports.get(dev)
    if port is None:
        raise err(errno.EINVAL)
    if port.state != STATE_DISABLED:
        bridge.port_disable(port)
    del bridge.ports[dev]
    if bridge.stp is not None and port.stp is not None:
        bridge.stp.ports.remove(port.stp)
    netdev_rx_handler_unregister(dev)
    netdev_upper_dev_unlink(dev, br)
    dev_set_promiscuity(dev, -1)
    dev_set_allmulti(dev, -1)
    if port in bridge.queriers:
        bridge.queriers.remove(port)
    bridge.fdb.flush(port, all=True)
    bridge.recalculate()
    bridge.adjust_mtu()


def netdev_event(event: int, dev: NetDevice) -> None:
    """br_device_event(): what happens to ports."""
    port = port_of(dev) if dev.rx_handler is not None else None
    if port is None:
        return
    bridge = port.bridge
    if event == NETDEV_UNREGISTER:
        br_del_if(bridge.dev, dev)
    elif event in (NETDEV_UP, NETDEV_CHANGE, NETDEV_DOWN):
        bridge.port_link(port)
    elif event == NETDEV_CHANGEMTU:
        bridge.adjust_mtu()
    elif event == NETDEV_CHANGEADDR:
        _address_changed(bridge, port)


def _address_changed(bridge: BridgeOps, port: Port) -> None:
    """br_fdb_changeaddr()."""
    own = {one.dev_addr: other for one, other in bridge.ports.items()}
    for address, known in tuple(bridge.learned.items()):
        if known.local and not known.by_user and known.port is port and address != port.dev.dev_addr:
            bridge.fdb.delete_local(address, port, {bridge.dev.dev_addr: None, **own})
    bridge.fdb.add_local(port.dev.dev_addr, port)
    bridge.recalculate()
