"""What a multicast routing daemon says and asks: the options MRT_* of a raw IGMP socket, two ioctls, two files of /proc
(net/ipv4/ipmr.c; ``<linux/mroute.h>``).
"""

from __future__ import annotations

import errno

from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.errors import err
from pysock.families.inet import ip_ra
from pysock.families.inet.addr import ANY, is_multicast
from pysock.families.inet.datagram import DatagramSock
from pysock.families.inet.igmp_sock import device_with
from pysock.families.inet.ipmr import Ipmr, table_of
from pysock.families.inet.mroute import NEVER_FORWARD, Vif
from pysock.uapi import mroute as nr
from pysock.uapi.in_ import IPPROTO_IGMP
from pysock.uapi.socket import SOCK_RAW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.net import InetNet

#: The version of this interface, as daemons check it.
_VERSION: Final = 0x0305


def setsockopt(sk: InetSock, optname: int, value: bytes) -> None:
    """EOPNOTSUPP for a socket that is not a raw IGMP one; EACCES for a stranger without CAP_NET_ADMIN, and for MRT_DONE
    by one that is not the daemon's; EINVAL for a value of another size; ENOPROTOOPT; and what `_add_vif` and others
    say.
    """
    sk = _checked(sk)
    table = table_of(sk.inet)
    if optname != nr.MRT_INIT and sk is not table.sock and not sk.creds.capable(CAP_NET_ADMIN):
        raise err(errno.EACCES)
    if optname == nr.MRT_DONE:
        if sk is not table.sock:
            raise err(errno.EACCES)
        ip_ra.control(sk, False)
        return
    option = _OPTIONS.get(optname)
    if option is None:
        raise err(errno.ENOPROTOOPT)
    size, act = option
    if len(value) != size:
        raise err(errno.EINVAL)
    act(table, sk, value)


def getsockopt(sk: InetSock, optname: int) -> bytes:
    """MRT_VERSION, MRT_ASSERT, MRT_PIM; else ENOPROTOOPT."""
    table = table_of(_checked(sk).inet)
    if optname == nr.MRT_VERSION:
        value = _VERSION
    elif optname == nr.MRT_ASSERT:
        value = int(table.asserts)
    elif optname == nr.MRT_PIM:
        value = int(table.pim)
    else:
        raise err(errno.ENOPROTOOPT)
    return value.to_bytes(4, "little")


def _checked(sk: InetSock) -> DatagramSock:
    if sk.type != SOCK_RAW or sk.protocol != IPPROTO_IGMP or not isinstance(sk, DatagramSock):
        raise err(errno.EOPNOTSUPP)
    return sk


# --- one function an option -------------------------------------------------------------------------------------------


def _init(table: Ipmr, sk: DatagramSock, value: bytes) -> None:
    table.start(sk)


def _add_vif(table: Ipmr, sk: DatagramSock, value: bytes) -> None:
    """ENFILE for a number too large, EADDRINUSE for one in use; EADDRNOTAVAIL for a device that is not there, EINVAL
    for flags that do not exist; ENOBUFS for a tunnel.
    """
    index, flags, threshold, rate_limit, local, remote = nr.VIFCTL.unpack(value)
    if index >= nr.MAXVIFS:
        raise err(errno.ENFILE)
    if table.vif(index) is not None:
        raise err(errno.EADDRINUSE)
    inet = sk.inet
    dev: NetDevice | None
    if flags == nr.VIFF_REGISTER:
        from pysock.families.inet.pim import register_device

        dev = register_device(table, index)
    elif flags == nr.VIFF_TUNNEL:
        raise err(errno.ENOBUFS)
    elif flags == nr.VIFF_USE_IFINDEX:
        dev = inet.net.dev_by_index.get(int.from_bytes(local, "little", signed=True))
    elif not flags:
        dev = device_with(inet, local)
    else:
        raise err(errno.EINVAL)
    if dev is None:
        raise err(errno.EADDRNOTAVAIL)
    static = 0 if sk is table.sock else nr.VIFF_STATIC
    table.add_vif(index, Vif(dev, flags | static, threshold, rate_limit, local, remote))


def _del_vif(table: Ipmr, sk: DatagramSock, value: bytes) -> None:
    index = nr.VIFCTL.unpack(value)[0]
    if index >= nr.MAXVIFS:
        raise err(errno.ENFILE)
    table.del_vif(index)


def _add_mfc(proxy: bool) -> Callable[[Ipmr, DatagramSock, bytes], None]:
    def add(table: Ipmr, sk: DatagramSock, value: bytes) -> None:
        """ENFILE for a number too large, EINVAL for a group that is none (but 0.0.0.0: all)."""
        origin, group, parent, ttls = nr.MFCCTL.unpack(value)
        only = parent if proxy else -1
        if parent >= nr.MAXVIFS:
            raise err(errno.ENFILE)
        if table.find(origin, group, only) is None and group != ANY and not is_multicast(group):
            raise err(errno.EINVAL)
        table.add(origin, group, parent, ttls, sk is not table.sock, only)

    return add


def _del_mfc(proxy: bool) -> Callable[[Ipmr, DatagramSock, bytes], None]:
    def delete(table: Ipmr, sk: DatagramSock, value: bytes) -> None:
        origin, group, parent, _ = nr.MFCCTL.unpack(value)
        table.delete(origin, group, parent if proxy else -1)

    return delete


def _assert(table: Ipmr, sk: DatagramSock, value: bytes) -> None:
    table.asserts = any(value)


def _pim(table: Ipmr, sk: DatagramSock, value: bytes) -> None:
    wanted = any(value)
    if wanted != table.pim:
        table.pim = table.asserts = wanted
        table.whole = int.from_bytes(value, "little") == nr.IGMPMSG_WRVIFWHOLE


def _flush(table: Ipmr, sk: DatagramSock, value: bytes) -> None:
    table.flush(int.from_bytes(value, "little"))


#: The size of the value, and what is done.
_OPTIONS: Final[dict[int, tuple[int, Callable[[Ipmr, DatagramSock, bytes], None]]]] = {
    nr.MRT_INIT: (4, _init),
    nr.MRT_ADD_VIF: (nr.VIFCTL.size, _add_vif),
    nr.MRT_DEL_VIF: (nr.VIFCTL.size, _del_vif),
    nr.MRT_ADD_MFC: (nr.MFCCTL.size, _add_mfc(False)),
    nr.MRT_ADD_MFC_PROXY: (nr.MFCCTL.size, _add_mfc(True)),
    nr.MRT_DEL_MFC: (nr.MFCCTL.size, _del_mfc(False)),
    nr.MRT_DEL_MFC_PROXY: (nr.MFCCTL.size, _del_mfc(True)),
    nr.MRT_ASSERT: (4, _assert),
    nr.MRT_PIM: (4, _pim),
    nr.MRT_FLUSH: (4, _flush),
}


# --- counters ---------------------------------------------------------------------------------------------------------


def mroute_ioctl(inet: InetNet, cmd: int, arg: bytes | int) -> bytes:
    """SIOCGETVIFCNT and SIOCGETSGCNT (ipmr_ioctl): the structure filled in. EFAULT for a short one, EINVAL for an
    interface above all that exist, EADDRNOTAVAIL for one or a route that does not.
    """
    table = table_of(inet)
    layout = nr.SIOC_VIF_REQ if cmd == nr.SIOCGETVIFCNT else nr.SIOC_SG_REQ
    if isinstance(arg, int) or len(arg) < layout.size:
        raise err(errno.EFAULT)
    if cmd == nr.SIOCGETVIFCNT:
        return table.vif_counts(arg)
    origin, group = layout.unpack_from(arg)[:2]
    mfc = table.find(origin, group)
    if mfc is None:
        raise err(errno.EADDRNOTAVAIL)
    return layout.pack(origin, group, mfc.packets, mfc.bytes, mfc.wrong_if)


def _hexadecimal(address: bytes) -> str:
    return f"{int.from_bytes(address, 'little'):08X}"


def proc_vif(inet: InetNet) -> str:
    """/proc/net/ip_mr_vif."""
    lines = ["Interface      BytesIn  PktsIn  BytesOut PktsOut Flags Local    Remote"]
    for index, vif in enumerate(inet.mroute.vifs if inet.mroute is not None else ()):
        if vif is not None:
            counts = f"{vif.bytes_in:8} {vif.packets_in:7}  {vif.bytes_out:8} {vif.packets_out:7}"
            ends = f"{vif.flags:05X} {_hexadecimal(vif.local)} {_hexadecimal(vif.remote)}"
            lines.append(f"{index:2} {vif.dev.name:<10} {counts} {ends}")
    return "\n".join(lines) + "\n"


def proc_cache(inet: InetNet) -> str:
    """/proc/net/ip_mr_cache: the routes, then what waits for one."""
    lines = ["Group    Origin   Iif     Pkts    Bytes    Wrong Oifs"]
    table = inet.mroute
    for mfc in table if table is not None else ():
        line = f"{_hexadecimal(mfc.group)} {_hexadecimal(mfc.origin)} {mfc.parent:<3}"
        line += f" {mfc.packets:8} {mfc.bytes:8} {mfc.wrong_if:8}"
        for index, ttl in enumerate(mfc.ttls):
            if ttl < NEVER_FORWARD and table is not None and table.vif(index) is not None:
                line += f" {index:2}:{ttl:<3}"
        lines.append(line)
    lines += [
        f"{_hexadecimal(waiting.group)} {_hexadecimal(waiting.origin)} {-1:<3} {0:8} {0:8} {0:8}"
        for waiting in (table.unresolved.values() if table is not None else ())
    ]
    return "\n".join(lines) + "\n"


PROC: Final[dict[str, Callable[[InetNet], str]]] = {"ip_mr_vif": proc_vif, "ip_mr_cache": proc_cache}
