"""What a host loses when its power goes: every socket, said goodbye to nobody. Its cables are dead by then, so that
what closing a socket would send gets nowhere.
"""

from __future__ import annotations

import errno

from pysock.families.inet.net import InetNet
from pysock.families.inet.tcp import end
from pysock.families.inet.tcp.net import TcpNet
from pysock.families.inet.tcp.sock import TcpSock
from pysock.families.inet.tcp.timewait import TimeWaitSock
from pysock.vfs.sockfs import SocketFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.net import Net
    from pysock.lab.fds import HostFds
    from pysock.vfs.task import Task


def lose_sockets(net: Net, task: Task) -> None:
    """End all connections of ``net`` and close all files of ``task``, a `HostFds`. Needs the kernel lock."""
    files: HostFds = task.files  # type: ignore[assignment]  # a host's task has one
    for fd in files.owned():
        file = files.files.get(fd)
        sk = file.f_inode.socket.sk if isinstance(file, SocketFile) and file.f_inode.socket is not None else None
        if sk is not None and not isinstance(sk, TcpSock):
            sk.err = errno.ENETDOWN
            sk.error_report()
    tcp = net.get(InetNet).state["tcp"]
    assert isinstance(tcp, TcpNet)
    for owner in list(tcp.ehash.values()):
        if isinstance(owner, TcpSock):
            end.drop_unsent(owner)
            end.abort(owner, errno.ENETDOWN)
        elif isinstance(owner, TimeWaitSock):
            tcp.timewait.remove(owner)
        else:
            owner.drop()
    files.close_all()
