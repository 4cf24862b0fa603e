"""vfs: from a number to a socket, and everything else that a number can name.

What lives here:

    task.py      Task: whose numbers, in which namespace, with which rights; `current_task`
    fdnum.py     where fd numbers come from: `VirtualFds`, `PlaceholderFds`
    fdtable.py   FdTable: number -> File; dup, dup2, close, close-on-exec
    fcntl.py     fcntl(2) and the ioctls that belong to files
    file.py      File: one open file description, the base class of all kinds; reference counts
    inode.py     Inode
    forked.py    ForkedFile: what is behind an inherited fd in a child process
    sockfs.py    the file system that sockets live in: SocketFile, sockfd_lookup
    poll.py      poll and select over fds; the poll table of a sleeping thread
    epoll.py     Epoll: the instance and its waiters;  epitem.py  one watched file;  epoll_ctl.py
    epoll_ctl(2) eventfd.py   EventFd

What it may import: `core` and `uapi`; never a family, never a driver.

How data passes through: a system call looks its number up in ``task.fds`` (a plain dict), finds a File, and
either calls the File's own `read`, `write`, `poll`, `ioctl`, or, on the hot path of a socket, goes straight
to ``file.socket.ops``.

Everything here runs under the kernel lock. Blocking gives it up, in `core.wait` and nowhere else.
"""
