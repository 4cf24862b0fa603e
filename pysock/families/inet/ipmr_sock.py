"""What a multicast routing daemon says and asks: the options MRT_* of a raw IGMP socket, two ioctls, two files of /proc
(net/ipv4/ipmr.c; ``<linux/mroute.h>``).
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.families.inet import ip_ra
from pysock.families.inet.addr import ANY, is_multicast
from pysock.families.inet.datagram import DatagramSock
from pysock.families.inet.igmp_sock import device_with
from pysock.families.inet.ipmr import Ipmr, table_of
from pysock.families.inet.mroute import Vif
from pysock.families.inet.mroute_sock import VERSION, check_allowed, counters, show_cache, show_vifs
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


def setsockopt(sk: InetSock, optname: int, value: bytes) -> None:
    """EOPNOTSUPP for a socket that is not a raw IGMP one; EINVAL for a value of another size; ENOPROTOOPT; and what
    `check_allowed`, `_add_vif` and others say.
    """
    sk = _checked(sk)
    table = table_of(sk.inet)
    check_allowed(table, sk, optname)
    if optname == nr.MRT_DONE:
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
        value = VERSION
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
    """SIOCGETVIFCNT and SIOCGETSGCNT (ipmr_ioctl): see `counters`."""
    return counters(table_of(inet), cmd, arg, nr.SIOC_SG_REQ)


def _hexadecimal(address: bytes) -> str:
    return f"{int.from_bytes(address, 'little'):08X}"


def proc_vif(inet: InetNet) -> str:
    """/proc/net/ip_mr_vif."""
    title = "Interface      BytesIn  PktsIn  BytesOut PktsOut Flags Local    Remote"
    return show_vifs(inet.mroute, title, lambda vif: f" {_hexadecimal(vif.local)} {_hexadecimal(vif.remote)}")


def proc_cache(inet: InetNet) -> str:
    """/proc/net/ip_mr_cache."""
    return show_cache(inet.mroute, "Group    Origin   Iif     Pkts    Bytes    Wrong Oifs", _hexadecimal)


PROC: Final[dict[str, Callable[[InetNet], str]]] = {"ip_mr_vif": proc_vif, "ip_mr_cache": proc_cache}
