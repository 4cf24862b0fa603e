"""UnixNet: who is bound to which name, seen from one network namespace.

* Abstract names belong to the namespace. Each socket type has a name space of its own, as Linux hashes them.
* A path is a node of the file system that the program sees, whatever its namespace: bind makes a real S_IFSOCK node,
  and with it come EEXIST, EACCES, ENOENT and the umask for nothing. Sockets are found by the node's (st_dev, st_ino),
  so links and relative paths work, and removing the node makes a socket unreachable without closing it. All namespaces
  of a kernel share the table; two kernels see each other's nodes and find nobody behind them.

While a socket is bound, a descriptor (O_PATH) pins its node: removed and made anew, a path has another inode number, as
programs expect that compare them. Where no descriptor is to be had, a new node may bring the number of a removed one:
then it replaces the old socket, which nobody can reach any more, anyway.
"""

from __future__ import annotations

import errno
import os
from stat import S_IFSOCK, S_ISSOCK

from pysock.core.capability import CAP_NET_ADMIN
from pysock.core.errors import err
from pysock.families.unix.address import shape_of
from pysock.families.unix.garbage import Flight

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeAlias

    from pysock.core.net import Net
    from pysock.families.unix.unix_sock import UnixSock

    #: ("abstract", name, type) or ("node", st_dev, st_ino).
    Key: TypeAlias = tuple[str, bytes | int, int]

# Taken before anybody patches them.
_access = os.access
_close = os.close
_fstat = os.fstat
_mknod = os.mknod
_open = os.open
_stat = os.stat
_W_OK = os.W_OK
_O_NODE = os.O_PATH | os.O_CLOEXEC

#: Permissions of a new node, before the umask.
NODE_MODE: Final = S_IFSOCK | 0o777

#: Autobind chooses among names of five hexadecimal digits.
AUTOBIND_NAMES: Final = 1 << 20

#: net.unix.max_dgram_qlen: messages that wait in an inbox before senders must.
MAX_DGRAM_QLEN: Final = 10


class NodePin:
    """An O_PATH descriptor of a node, closed with the last reference: the node keeps its inode number meanwhile."""

    __slots__ = ("_fd",)

    def __init__(self, path: bytes) -> None:
        self._fd = -1
        self._fd = _open(path, _O_NODE)

    def __del__(self) -> None:
        if self._fd >= 0:
            _close(self._fd)


class UnixNet:
    """The sockets of one namespace, oldest first in ``sockets``, by abstract name in ``bound``. ``nodes`` (by node) and
    ``flight`` (files under way) are the kernel's. ``max_dgram_qlen`` is the sysctl; sockets read it when they are made.
    """

    __slots__ = ("_last_auto", "bound", "flight", "max_dgram_qlen", "net", "nodes", "pins", "sockets")

    def __init__(self, net: Net) -> None:
        self.net = net
        self.sockets: dict[UnixSock, None] = {}
        self.bound: dict[Key, UnixSock] = {}
        sibling = next((one for other in net.kernel.netns if (one := other.made(UnixNet)) is not None), None)
        self.nodes: dict[Key, UnixSock] = {} if sibling is None else sibling.nodes
        self.pins: dict[UnixSock, NodePin] = {}
        self.flight: Flight = Flight() if sibling is None else sibling.flight
        self.max_dgram_qlen = MAX_DGRAM_QLEN
        self._last_auto = -1
        net.sysctl.register_lazy("net.unix", self._register_sysctls)

    def _register_sysctls(self) -> None:
        sysctl = self.net.sysctl
        sysctl.register_int("net.unix.max_dgram_qlen", MAX_DGRAM_QLEN, 0, on_change=self._set_max_dgram_qlen)

    def _set_max_dgram_qlen(self, value: int) -> None:
        self.max_dgram_qlen = value

    # -- binding -----------------------------------------------------------------------------------------

    def bind(self, sk: UnixSock, name: bytes) -> None:
        """Bind ``sk`` to the raw ``name``. EADDRINUSE, or what making the node says (ENOENT, EACCES...)."""
        if name[0]:
            self._insert(sk, self._make_node(sk, name), name)
            return
        key = ("abstract", name, sk.type)
        if key in self.bound:
            raise err(errno.EADDRINUSE)
        self._insert(sk, key, name)

    def autobind(self, sk: UnixSock) -> None:
        """Give ``sk`` a free abstract name unless it has one. ENOSPC when all are taken (unix_autobind)."""
        if sk.name:
            return
        number = self._last_auto
        if number < 0:
            number = self.net.kernel.random("unix.autobind").randrange(AUTOBIND_NAMES)
        for _ in range(AUTOBIND_NAMES):
            number = (number + 1) % AUTOBIND_NAMES
            name = b"\0%05x" % number
            key = ("abstract", name, sk.type)
            if key not in self.bound:
                self._last_auto = number
                self._insert(sk, key, name)
                return
        raise err(errno.ENOSPC)

    def unhash(self, sk: UnixSock) -> None:
        """Forget the binding of ``sk``; a node stays in the file system, as in Linux."""
        key = sk.key
        if key is not None:
            sk.key = None
            table = self.nodes if key[0] == "node" else self.bound
            if table.get(key) is sk:
                del table[key]
            self.pins.pop(sk, None)

    def _insert(self, sk: UnixSock, key: Key, name: bytes) -> None:
        table = self.nodes if key[0] == "node" else self.bound
        table[key] = sk
        sk.key = key
        sk.name = shape_of(name)

    def _make_node(self, sk: UnixSock, path: bytes) -> Key:
        try:
            _mknod(path, NODE_MODE)
            status = _stat(path)
            try:
                self.pins[sk] = NodePin(path)
            except OSError as exc:
                if exc.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
        except FileExistsError:
            raise err(errno.EADDRINUSE) from None
        except OSError as exc:
            raise err(exc.errno or errno.EINVAL) from None
        return "node", status.st_dev, status.st_ino

    # -- finding -----------------------------------------------------------------------------------------

    def find(self, name: bytes, type: int) -> UnixSock:
        """The socket of ``type`` bound to the raw ``name`` (unix_find_other).

        ECONNREFUSED when there is none; for paths also EPROTOTYPE for one of another type, and what looking the
        path up says: ENOENT, ENOTDIR, ELOOP, EACCES (also for a node that may not be written).
        """
        if not name[0]:
            found = self.bound.get(("abstract", name, type))
            if found is None:
                raise err(errno.ECONNREFUSED)
            return found
        try:
            status = _stat(name)
        except OSError as exc:
            raise err(exc.errno or errno.EINVAL) from None
        if not _access(name, _W_OK, effective_ids=True):
            raise err(errno.EACCES)
        found = self.nodes.get(("node", status.st_dev, status.st_ino)) if S_ISSOCK(status.st_mode) else None
        if found is None:
            raise err(errno.ECONNREFUSED)
        if found.type != type:
            raise err(errno.EPROTOTYPE)
        return found


def open_node(sk: UnixSock) -> int:
    """SIOCUNIXFILE: a real descriptor (O_PATH) of the node that ``sk`` is bound to. EPERM without CAP_NET_ADMIN,
    ENOENT when it is bound to none or its name leads elsewhere by now (unix_open_file).
    """
    if not sk.creds.capable(CAP_NET_ADMIN):
        raise err(errno.EPERM)
    if sk.key is None or sk.key[0] != "node":
        raise err(errno.ENOENT)
    try:
        fd = _open(sk.name, _O_NODE)
    except OSError as exc:
        raise err(exc.errno or errno.ENOENT) from None
    status = _fstat(fd)
    if ("node", status.st_dev, status.st_ino) != sk.key:
        _close(fd)
        raise err(errno.ENOENT)
    return fd
