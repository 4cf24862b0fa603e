"""Flight: which open files are under way in messages, and how sockets that nobody can reach any more are found.

A socket may be under way in its own inbox, or two in each other's. Once the last fd is closed nobody can receive them,
yet the messages keep their references: Linux runs a garbage collector for that, and so do we, by the same idea
(net/unix/garbage.c):

* A socket is a candidate when *every* reference to its file is one of a message (`File.f_count` equals the number of
  times it is under way).
* A candidate that lies in an inbox of a socket which is no candidate can be received, and so can whatever lies in its
  own inbox, and so on.
* The inboxes of all other candidates are purged. That closes them.

It runs where Linux runs it: after a socket was released, while sockets are under way. What Python's own collector would
free without a word is closed properly here: names are given back, peers see the end.

There is one Flight a Kernel, since files travel between its namespaces.
"""

from __future__ import annotations

import errno
import resource

from pysock.core.capability import CAP_SYS_ADMIN, CAP_SYS_RESOURCE
from pysock.core.errors import err
from pysock.uapi.socket import AF_UNIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pysock.core.kernel import Kernel
    from pysock.core.sock import Socket
    from pysock.families.unix.scm import OpenFile
    from pysock.families.unix.unix_sock import UnixSock

# Taken before anybody patches it.
_getrlimit = resource.getrlimit


class Flight:
    """The files under way in one Kernel. ``sockets`` counts how often each AF_UNIX socket is, ``by_uid`` all files by
    the user who sent them.
    """

    __slots__ = ("_due", "by_uid", "sockets")

    def __init__(self) -> None:
        self.sockets: dict[UnixSock, int] = {}
        self.by_uid: dict[int, int] = {}
        self._due = False

    # -- accounts ------------------------------------------------------------------------------------------

    def check(self, sk: UnixSock) -> None:
        """ETOOMANYREFS when the sender's user has more files under way than RLIMIT_NOFILE, and may not
        (too_many_unix_fds).
        """
        creds = sk.creds
        count = self.by_uid.get(creds.uid, 0)
        if count and not (creds.capable(CAP_SYS_RESOURCE) or creds.capable(CAP_SYS_ADMIN)):
            if count > _getrlimit(resource.RLIMIT_NOFILE)[0]:
                raise err(errno.ETOOMANYREFS)

    def took_off(self, files: Sequence[OpenFile], uid: int) -> None:
        """``files`` are in a message now (unix_add_edges)."""
        self.by_uid[uid] = self.by_uid.get(uid, 0) + len(files)
        sockets = self.sockets
        for file in files:
            sk = socket_of(file)
            if sk is not None:
                sockets[sk] = sockets.get(sk, 0) + 1

    def landed(self, files: Sequence[OpenFile], uid: int) -> None:
        """They are not any more: received, or dropped (unix_del_edges)."""
        left = self.by_uid[uid] - len(files)
        if left:
            self.by_uid[uid] = left
        else:
            del self.by_uid[uid]
        sockets = self.sockets
        for file in files:
            sk = socket_of(file)
            if sk is not None:
                count = sockets.pop(sk) - 1
                if count:
                    sockets[sk] = count

    # -- collecting ----------------------------------------------------------------------------------------

    def schedule(self, kernel: Kernel) -> None:
        """Collect when this call leaves the kernel, if there can be anything to collect (unix_gc)."""
        if self.sockets and not self._due:
            self._due = True
            kernel.defer(self.collect)

    def collect(self) -> None:
        """Close the sockets that nobody can reach."""
        self._due = False
        candidates = {sk for sk, count in self.sockets.items() if _references(sk) == count}
        if not candidates:
            return
        edges = {sk: self._targets(sk, candidates) for sk in candidates}
        inside = dict.fromkeys(candidates, 0)
        for targets in edges.values():
            for target in targets:
                inside[target] += 1
        reachable = [sk for sk in candidates if inside[sk] < self.sockets[sk]]
        candidates.difference_update(reachable)
        while reachable:
            for target in edges[reachable.pop()]:
                if target in candidates:
                    candidates.remove(target)
                    reachable.append(target)
        for sk in [sk for sk in self.sockets if sk in candidates]:  # a set's order would differ from run to run
            for owner in _inboxes(sk):
                owner.purge_inbox()

    def _targets(self, sk: UnixSock, candidates: set[UnixSock]) -> list[UnixSock]:
        """The candidates that lie in the inbox of ``sk``, once for each time."""
        found = []
        for owner in _inboxes(sk):
            for message in owner.inbox or ():
                for file in message.files:
                    target = socket_of(file)
                    if target in candidates:
                        found.append(target)
        return found


def _inboxes(sk: UnixSock) -> Iterable[UnixSock]:
    """Whose inboxes only a holder of ``sk`` can read: its own, and those of connections it has not accepted yet."""
    return (sk, *(sk.pending or ()))


def _references(sk: UnixSock) -> int:
    """How many references there are to the open file of ``sk``; 0 without one."""
    sock = sk.socket
    return 0 if sock is None or sock.file is None else sock.file.f_count


def socket_of(file: OpenFile) -> UnixSock | None:
    """The AF_UNIX socket that an open file is, or None (unix_get_socket)."""
    sock: Socket | None = getattr(file, "socket", None)
    if sock is None or sock.sk.family != AF_UNIX:
        return None
    return sock.sk  # type: ignore[return-value]  # the family says so
