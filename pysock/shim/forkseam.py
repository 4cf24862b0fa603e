"""os.fork(): the child gets a universe of its own.

Threads do not survive a fork, and neither does the network: it lives in the memory of one process. In the child,

* descriptors of pysock's that it inherited are EBADF with a text that says why (`vfs/forked.py`); they can be closed;
* the operating system's descriptors (pipes, files) are what they were, also beside ours in a selector;
* what it does from now on happens in a fresh kernel, which no packet of the parent reaches: booted as the parent's was,
  on its clock and with its seed, with its host names, and with nothing but a loopback device. The namespaces of the
  parent are there, empty.

The parent notices nothing. So `subprocess` works as ever (its child is another program), and so does a child that only
computes and answers through a pipe. Servers that fork for each connection, and `multiprocessing` where it connects
processes by sockets (managers, listeners, duplex pipes), are out of reach.
"""

from __future__ import annotations

import os

from pysock.shim.hosts import Hosts
from pysock.vfs.forked import orphan
from pysock.vfs.task import all_tasks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net


def _in_child() -> None:
    fresh: dict[Kernel, Kernel] = {}
    nets: dict[Net, Net] = {}
    for task in list(all_tasks):
        old, net = task.kernel, task.net
        kernel = fresh.get(old)
        if kernel is None:
            kernel = fresh[old] = old.after_fork()
            nets[old.init_net] = kernel.init_net
        if net not in nets:
            nets[net] = _new_net(kernel, net.name)
        if net.has(Hosts) and not nets[net].has(Hosts):
            nets[net].set(net.get(Hosts))
        task.pid = os.getpid()
        orphan(task, kernel, nets[net])


def _new_net(kernel: Kernel, name: str) -> Net:
    kernel.acquire()
    try:
        return kernel.new_net(name)
    finally:
        kernel.leave()


_registered = False


def register() -> None:
    """See to every fork of this process from now on."""
    global _registered
    if not _registered:
        _registered = True
        os.register_at_fork(after_in_child=_in_child)
