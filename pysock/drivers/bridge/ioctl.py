"""The ioctls of brctl(8): SIOCBRADDBR, SIOCBRDELBR, SIOCBRADDIF, SIOCBRDELIF. br_ioctl_stub() in br_ioctl.c."""

from __future__ import annotations

import errno

from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.device import unregister_netdev
from pysock.core.errors import err
from pysock.drivers.bridge.device import BridgeOps, bridge_ops
from pysock.drivers.bridge.interface import br_add_if, br_del_if
from pysock.uapi import ioctl as nr
from pysock.uapi.if_ import IFF_UP, IFNAMSIZ, IFREQ_INT, unpack_ifname, unpack_ifreq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.capability import Credentials
    from pysock.core.net import Net


def bridge_ioctl(net: Net, creds: Credentials, cmd: int, arg: bytes) -> bytes:
    """Make or remove a bridge, whose name is all of ``arg``; or a port, whose ifindex is in a struct ifreq.

    EPERM without CAP_NET_ADMIN, EFAULT for a buffer too short. To remove a bridge: ENXIO for an unknown one, EPERM for
    what is none, EBUSY for one that is up. For ports ENODEV and EOPNOTSUPP for the bridge, EINVAL for an unknown
    ifindex, and the errors of `br_add_if` and `br_del_if`.
    """
    if not creds.capable(CAP_NET_ADMIN):
        raise err(errno.EPERM)
    if cmd in (nr.SIOCBRADDBR, nr.SIOCBRDELBR):
        name = unpack_ifname(arg[: IFNAMSIZ - 1])
        if not arg:
            raise err(errno.EFAULT)
        if cmd == nr.SIOCBRADDBR:
            net.kernel.dev_layer.create_device(net, "bridge", name)
        else:
            _remove(net, name)
        return arg
    try:
        name, data = unpack_ifreq(arg)
    except ValueError:
        raise err(errno.EFAULT) from None
    br = net.dev_by_name.get(name)
    if br is None:
        raise err(errno.ENODEV)
    bridge_ops(br)
    dev = net.dev_by_index.get(IFREQ_INT.unpack_from(data)[0])
    if dev is None:
        raise err(errno.EINVAL)
    (br_add_if if cmd == nr.SIOCBRADDIF else br_del_if)(br, dev)
    return arg


def _remove(net: Net, name: str) -> None:
    """br_del_bridge()."""
    br = net.dev_by_name.get(name)
    if br is None:
        raise err(errno.ENXIO)
    if not isinstance(br.netdev_ops, BridgeOps):
        raise err(errno.EPERM, f"{name} is no bridge")
    if br.flags & IFF_UP:
        raise err(errno.EBUSY, f"{name} is up")
    unregister_netdev(br)
