"""Capabilities and credentials: who a task is, and what it may do. capabilities(7), credentials(7), cred.c,
commoncap.c.

A `Credentials` object never changes once made, so that a task, the sockets it opened and the messages that
carry its identity can share one: to change identity, a task gets a new object (`task.cred =
task.cred.drop(CAP_NET_RAW)`).

A capability set is an int with bit `1 << CAP_*`. A user namespace owns things (a `Net`, in Linux also
mounts and so on); a task has its capabilities in its own user namespace and in those below it, and nowhere
else.

Not here: inheritable, ambient and bounding sets, and file capabilities. They matter at execve(2) only, and
nothing inside one Python process is executed.
"""

from __future__ import annotations

import errno
import os

from pysock.core.errors import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

# uapi/linux/capability.h. The network's own come first to mind, but SCM_CREDENTIALS and SO_PRIORITY ask for
# others.
CAP_CHOWN: Final = 0
CAP_DAC_OVERRIDE: Final = 1
CAP_DAC_READ_SEARCH: Final = 2
CAP_FOWNER: Final = 3
CAP_FSETID: Final = 4
CAP_KILL: Final = 5
CAP_SETGID: Final = 6
CAP_SETUID: Final = 7
CAP_SETPCAP: Final = 8
CAP_LINUX_IMMUTABLE: Final = 9
CAP_NET_BIND_SERVICE: Final = 10
CAP_NET_BROADCAST: Final = 11
CAP_NET_ADMIN: Final = 12
CAP_NET_RAW: Final = 13
CAP_IPC_LOCK: Final = 14
CAP_IPC_OWNER: Final = 15
CAP_SYS_MODULE: Final = 16
CAP_SYS_RAWIO: Final = 17
CAP_SYS_CHROOT: Final = 18
CAP_SYS_PTRACE: Final = 19
CAP_SYS_PACCT: Final = 20
CAP_SYS_ADMIN: Final = 21
CAP_SYS_BOOT: Final = 22
CAP_SYS_NICE: Final = 23
CAP_SYS_RESOURCE: Final = 24
CAP_SYS_TIME: Final = 25
CAP_SYS_TTY_CONFIG: Final = 26
CAP_MKNOD: Final = 27
CAP_LEASE: Final = 28
CAP_AUDIT_WRITE: Final = 29
CAP_AUDIT_CONTROL: Final = 30
CAP_SETFCAP: Final = 31
CAP_MAC_OVERRIDE: Final = 32
CAP_MAC_ADMIN: Final = 33
CAP_SYSLOG: Final = 34
CAP_WAKE_ALARM: Final = 35
CAP_BLOCK_SUSPEND: Final = 36
CAP_AUDIT_READ: Final = 37
CAP_PERFMON: Final = 38
CAP_BPF: Final = 39
CAP_CHECKPOINT_RESTORE: Final = 40
CAP_LAST_CAP: Final = 40

NO_CAPS: Final = 0
FULL_CAPS: Final = (1 << (CAP_LAST_CAP + 1)) - 1


def cap_mask(caps: Iterable[int]) -> int:
    """The set that holds exactly `caps`. Raises EINVAL for a number that is no capability."""
    mask = 0
    for cap in caps:
        if not 0 <= cap <= CAP_LAST_CAP:
            raise err(errno.EINVAL)
        mask |= 1 << cap
    return mask


class UserNamespace:
    """A user namespace, as far as capabilities care: its parent and the uid that made it.
    user_namespaces(7).
    """

    __slots__ = ("level", "owner", "parent")

    def __init__(self, parent: UserNamespace | None = None, owner: int = 0) -> None:
        self.parent = parent
        self.owner = owner
        self.level: int = 0 if parent is None else parent.level + 1


class Credentials:
    """The identity of a task: pid, uid, gid, supplementary `groups`, capability sets, user namespace.

    Treat it as immutable; every method that changes something returns a new object. `pid`, `uid` and `gid` are those of
    the process where not given, so that SO_PEERCRED agrees with os.getpid(). `caps` becomes the permitted and the
    effective set; a task has every capability unless told otherwise, whatever its uid. EINVAL for unknown bits in it.
    """

    __slots__ = ("effective", "gid", "groups", "permitted", "pid", "uid", "user_ns")

    def __init__(
        self,
        pid: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        caps: int = FULL_CAPS,
        groups: frozenset[int] = frozenset(),
        user_ns: UserNamespace | None = None,
    ) -> None:
        if caps & ~FULL_CAPS:
            raise err(errno.EINVAL)
        self.pid: int = os.getpid() if pid is None else pid
        self.uid: int = os.getuid() if uid is None else uid
        self.gid: int = os.getgid() if gid is None else gid
        self.groups = groups
        self.permitted = caps
        self.effective = caps
        self.user_ns = UserNamespace() if user_ns is None else user_ns

    def capable(self, cap: int) -> bool:
        """May this task use `cap` on what belongs to no namespace, or to the first one? capable()."""
        return self.user_ns.parent is None and bool(self.effective >> cap & 1)

    def ns_capable(self, user_ns: UserNamespace, cap: int) -> bool:
        """May this task use `cap` on what `user_ns` owns? ns_capable(), by the walk of cap_capable()."""
        own = self.user_ns
        ns: UserNamespace | None = user_ns
        while ns is not None:
            if ns is own:
                return bool(self.effective >> cap & 1)
            if ns.level <= own.level:
                return False  # not below ours, so no parent of it can be
            if ns.parent is own and ns.owner == self.uid:
                return True  # whoever made a child namespace has every capability in it
            ns = ns.parent
        return False

    def in_group(self, gid: int) -> bool:
        """Is `gid` the task's group or a supplementary one? in_egroup_p(), used by ping_group_range."""
        return gid == self.gid or gid in self.groups

    def capabilities(self) -> frozenset[int]:
        """The effective set as CAP_* numbers."""
        return frozenset(cap for cap in range(CAP_LAST_CAP + 1) if self.effective >> cap & 1)

    def lower(self, *caps: int) -> Credentials:
        """Without `caps` in the effective set; `restore` can bring them back. EINVAL for an unknown number."""
        return self._with(self.permitted, self.effective & ~cap_mask(caps))

    def drop(self, *caps: int) -> Credentials:
        """Without `caps` for good, permitted and effective. EINVAL for an unknown number."""
        mask = ~cap_mask(caps)
        return self._with(self.permitted & mask, self.effective & mask)

    def restore(self, *caps: int) -> Credentials:
        """With `caps` effective again. EPERM unless all of them are permitted, as capset(2); EINVAL if
        unknown.
        """
        mask = cap_mask(caps)
        if mask & ~self.permitted:
            raise err(errno.EPERM)
        return self._with(self.permitted, self.effective | mask)

    def for_task(self, pid: int) -> Credentials:
        """The same identity for another task, as fork(2) does."""
        new = self._with(self.permitted, self.effective)
        new.pid = pid
        return new

    def _with(self, permitted: int, effective: int) -> Credentials:
        new = Credentials(self.pid, self.uid, self.gid, permitted, self.groups, self.user_ns)
        new.effective = effective
        return new

    def __repr__(self) -> str:
        return f"Credentials(pid={self.pid}, uid={self.uid}, gid={self.gid}, effective={self.effective:#x})"
