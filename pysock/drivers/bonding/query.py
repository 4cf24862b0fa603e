"""SIOCBONDINFOQUERY and SIOCBONDSLAVEINFOQUERY: what ifenslave(8) asks a bond. bond_info_query() in bond_main.c."""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.core.uaccess import copy_from_user, copy_to_user
from pysock.drivers.bonding.options import MODE_ACTIVEBACKUP
from pysock.uapi.if_ import pack_ifname
from pysock.uapi.ioctl import SIOCBONDINFOQUERY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.bonding.device import BondOps

_POINTER = Struct("=Q")
_IFBOND = Struct("=3i")  # bond_mode, num_slaves, miimon
_IFSLAVE = Struct("=i16sbb2xI")  # slave_id, slave_name, link, state, link_failure_count
_SLAVE_ID = Struct("=i")


def bond_query(bond: BondOps, cmd: int, data: bytes) -> None:
    """Fill in the struct ifbond or ifslave that ``data``, the union of an ifreq, points to. EFAULT for a bad pointer,
    ENODEV for a slave's number that is none.
    """
    address: int = _POINTER.unpack_from(data)[0]
    params = bond.params
    if cmd == SIOCBONDINFOQUERY:
        copy_to_user(address, _IFBOND.pack(params.mode, len(bond.slaves), params.miimon))
        return
    number: int = _SLAVE_ID.unpack(copy_from_user(address, _SLAVE_ID.size))[0]
    if not 0 <= number < len(bond.slaves):
        raise err(errno.ENODEV)
    slave = bond.slaves[number]
    backup = slave is not bond.active if params.mode == MODE_ACTIVEBACKUP else not slave.usable
    name = pack_ifname(slave.dev.name)
    copy_to_user(address, _IFSLAVE.pack(number, name, slave.link, backup, slave.failures & 0xFFFFFFFF))
