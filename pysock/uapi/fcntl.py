"""Descriptor and open-file flags, fcntl(2) commands, and the rlimit that bounds descriptors."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

O_ACCMODE: Final = 0x3
O_RDONLY: Final = 0
O_WRONLY: Final = 0x1
O_RDWR: Final = 0x2
O_CREAT: Final = 0x40
O_EXCL: Final = 0x80
O_NOCTTY: Final = 0x100
O_TRUNC: Final = 0x200
O_APPEND: Final = 0x400
O_NONBLOCK: Final = 0x800
O_NDELAY: Final = 0x800
O_DSYNC: Final = 0x1000
O_ASYNC: Final = 0x2000
FASYNC: Final = 0x2000
O_DIRECT: Final = 0x4000
O_DIRECTORY: Final = 0x10000
O_NOFOLLOW: Final = 0x20000
O_NOATIME: Final = 0x40000
O_CLOEXEC: Final = 0x80000
O_SYNC: Final = 0x101000
O_PATH: Final = 0x200000

F_DUPFD: Final = 0
F_GETFD: Final = 1
F_SETFD: Final = 2
F_GETFL: Final = 3
F_SETFL: Final = 4
F_GETLK: Final = 5
F_SETLK: Final = 6
F_SETLKW: Final = 7
F_SETOWN: Final = 8
F_GETOWN: Final = 9
F_SETSIG: Final = 10
F_GETSIG: Final = 11
F_SETOWN_EX: Final = 15
F_GETOWN_EX: Final = 16
F_DUPFD_CLOEXEC: Final = 1030
F_SETPIPE_SZ: Final = 1031
F_GETPIPE_SZ: Final = 1032

FD_CLOEXEC: Final = 1

SETFL_MASK: Final = 0x46C00  # what F_SETFL may change: APPEND, NONBLOCK, ASYNC, DIRECT, NOATIME

EFD_SEMAPHORE: Final = 1
EFD_NONBLOCK: Final = 0x800
EFD_CLOEXEC: Final = 0x80000

S_IFMT: Final = 0o170000
S_IFSOCK: Final = 0o140000
S_IFIFO: Final = 0o010000
