"""SIOCSIFVLAN and SIOCGIFVLAN: what vconfig(8) makes and asks VLANs by. vlan_ioctl_handler() in net/8021q/vlan.c."""

from __future__ import annotations

import errno

from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.device import unregister_netdev
from pysock.core.errors import err
from pysock.drivers.vlan.device import VlanOps, vlan_ops
from pysock.uapi import if_vlan as nr
from pysock.uapi.if_ import unpack_ifname
from pysock.wire.vlan import PCP_SHIFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice

_NAMES = ("vlan{vid:04}", "{real}.{vid:04}", "vlan{vid}", "{real}.{vid}")  # by VLAN_NAME_TYPE_*
_CHANGES = (
    nr.ADD_VLAN_CMD, nr.DEL_VLAN_CMD, nr.SET_VLAN_INGRESS_PRIORITY_CMD, nr.SET_VLAN_EGRESS_PRIORITY_CMD,
    nr.SET_VLAN_NAME_TYPE_CMD, nr.SET_VLAN_FLAG_CMD,
)  # fmt: skip
_BY_DEVICE = (
    nr.ADD_VLAN_CMD, nr.DEL_VLAN_CMD, nr.SET_VLAN_INGRESS_PRIORITY_CMD, nr.SET_VLAN_EGRESS_PRIORITY_CMD,
    nr.SET_VLAN_FLAG_CMD, nr.GET_VLAN_REALDEV_NAME_CMD, nr.GET_VLAN_VID_CMD,
)  # fmt: skip


class VlanNet:
    """A namespace's way to name new VLAN devices (struct vlan_net)."""

    __slots__ = ("name_type",)

    def __init__(self) -> None:
        self.name_type = nr.VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD


def vlan_ioctl(net: Net, creds: Credentials, arg: bytes) -> bytes:
    """Do the command of a struct vlan_ioctl_args; the answer is as long as ``arg``.

    EFAULT for a shorter buffer, ENODEV for an unknown device, EINVAL for one that is no VLAN and for an unknown command
    EOPNOTSUPP, EPERM for a change without CAP_NET_ADMIN, and what the change is refused with.
    """
    if len(arg) < nr.VLAN_IOCTL_ARGS.size:
        raise err(errno.EFAULT)
    cmd, name, union, qos = nr.VLAN_IOCTL_ARGS.unpack_from(arg)
    number: int = nr.VLAN_IOCTL_NUMBER.unpack_from(union)[0]
    if not net.has(VlanNet):
        net.set(VlanNet())
    dev = None
    ops = None
    if cmd in _BY_DEVICE:
        dev = net.dev_by_name.get(unpack_ifname(name[:23]))
        if dev is None:
            raise err(errno.ENODEV)
        ops = vlan_ops(dev)
        if cmd != nr.ADD_VLAN_CMD and ops is None:
            raise err(errno.EINVAL)
    if cmd in _CHANGES and not creds.capable(CAP_NET_ADMIN):
        raise err(errno.EPERM)
    if dev is not None and cmd == nr.ADD_VLAN_CMD:
        _add(net, dev, number)
    elif cmd == nr.SET_VLAN_NAME_TYPE_CMD:
        if number >= nr.VLAN_NAME_TYPE_HIGHEST:
            raise err(errno.EINVAL)
        net.get(VlanNet).name_type = number
    elif dev is not None and ops is not None:
        union = _of_vlan(dev, ops, cmd, number, qos, union)
    else:
        raise err(errno.EOPNOTSUPP)
    return nr.VLAN_IOCTL_ARGS.pack(cmd, name, union, qos) + arg[nr.VLAN_IOCTL_ARGS.size :]


def _add(net: Net, real: NetDevice, vid: int) -> None:
    """register_vlan_device()."""
    if vid >= 0xFFF:
        raise err(errno.ERANGE)
    name = _NAMES[net.get(VlanNet).name_type].format(vid=vid, real=real.name)
    net.kernel.dev_layer.create_device(net, "vlan", name[:15], link=real, id=vid)


def _of_vlan(dev: NetDevice, ops: VlanOps, cmd: int, number: int, qos: int, union: bytes) -> bytes:
    """The commands that concern one VLAN device: the union as it is to be answered."""
    if cmd == nr.DEL_VLAN_CMD:
        unregister_netdev(dev)
    elif cmd == nr.SET_VLAN_INGRESS_PRIORITY_CMD:
        ops.ingress[qos & 7] = number
    elif cmd == nr.SET_VLAN_EGRESS_PRIORITY_CMD:
        ops.egress[number] = (qos & 7) << PCP_SHIFT
    elif cmd == nr.SET_VLAN_FLAG_CMD:
        ops.change_flags(number if qos else 0, number)
    elif cmd == nr.GET_VLAN_REALDEV_NAME_CMD:
        union = ops.lower.name.encode("utf-8", "surrogateescape").ljust(len(union), b"\0")
    elif cmd == nr.GET_VLAN_VID_CMD:
        union = nr.VLAN_IOCTL_NUMBER.pack(ops.vid) + union[nr.VLAN_IOCTL_NUMBER.size :]
    return union
