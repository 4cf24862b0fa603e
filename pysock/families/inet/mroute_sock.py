"""What daemons of both versions of IP are told the same way: who may set options, counters, the files of /proc
(net/ipv4/ipmr.c, net/ipv6/ip6mr.c).
"""

from __future__ import annotations

import errno

from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.errors import err
from pysock.families.inet.mroute import NEVER_FORWARD
from pysock.uapi import mroute as nr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from struct import Struct
    from typing import Final

    from pysock.families.inet.datagram import DatagramSock
    from pysock.families.inet.mroute import MrTable, Vif

#: The version of this interface, as daemons check it.
VERSION: Final = 0x0305
#: The counters at the end of a struct sioc_sg_req.
_COUNTERS_SIZE: Final = 24


def check_allowed(table: MrTable, sk: DatagramSock, optname: int) -> None:
    """EACCES for a stranger without CAP_NET_ADMIN, and for MRT_DONE by one that is not the daemon's."""
    stranger = sk is not table.sock and optname != nr.MRT_INIT
    if stranger and (optname == nr.MRT_DONE or not sk.creds.capable(CAP_NET_ADMIN)):
        raise err(errno.EACCES)


def counters(table: MrTable, cmd: int, arg: bytes | int, layout: Struct) -> bytes:
    """SIOCGETVIFCNT, or SIOCGETSGCNT with a ``layout``: the structure filled in. EFAULT for a short one, EINVAL for an
    interface above all that exist, EADDRNOTAVAIL for one or a route that does not.
    """
    if cmd == nr.SIOCGETVIFCNT:
        layout = nr.SIOC_VIF_REQ
    if isinstance(arg, int) or len(arg) < layout.size:
        raise err(errno.EFAULT)
    if cmd == nr.SIOCGETVIFCNT:
        return table.vif_counts(arg)
    origin, group = layout.unpack_from(arg)[:2]
    mfc = table.find(origin, group)
    if mfc is None:
        raise err(errno.EADDRNOTAVAIL)
    addresses = layout.size - _COUNTERS_SIZE
    return arg[:addresses] + layout.pack(origin, group, mfc.packets, mfc.bytes, mfc.wrong_if)[addresses:]


def show_vifs(table: MrTable | None, title: str, ends: Callable[[Vif], str]) -> str:
    """The interfaces, a line each; ``ends`` says what stands behind its flags."""
    lines = [title]
    for index, vif in enumerate(table.vifs if table is not None else ()):
        if vif is not None:
            counts = f"{vif.bytes_in:8} {vif.packets_in:7}  {vif.bytes_out:8} {vif.packets_out:7}"
            lines.append(f"{index:2} {vif.dev.name:<10} {counts} {vif.flags:05X}{ends(vif)}")
    return "\n".join(lines) + "\n"


def show_cache(table: MrTable | None, title: str, text: Callable[[bytes], str]) -> str:
    """The routes, then what waits for one; ``text`` writes an address."""
    if table is None:
        return title + "\n"
    lines = [title]
    for mfc in table:
        line = f"{text(mfc.group)} {text(mfc.origin)} {mfc.parent:<3} {mfc.packets:8} {mfc.bytes:8} {mfc.wrong_if:8}"
        for index, ttl in enumerate(mfc.ttls):
            if ttl < NEVER_FORWARD and table.vif(index) is not None:
                line += f" {index:2}:{ttl:<3}"
        lines.append(line)
    lines += [
        f"{text(waiting.group)} {text(waiting.origin)} {-1:<3} {0:8} {0:8} {0:8}"
        for waiting in table.unresolved.values()
    ]
    return "\n".join(lines) + "\n"
