"""The cables of a network whose driver is "tap": each is two TAP devices that the real Linux forwards between.

What they cost and need: one process beside ours for each network (`taproom.py`), which makes a network namespace that
nobody else sees. Both are gone when the network is closed, or this process ends.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import weakref
from array import array
from pathlib import Path

from pysock.core.device import NETREG_REGISTERED, unregister_netdev
from pysock.core.errors import err
from pysock.drivers.tap.chardev import TunQueue
from pysock.drivers.tap.device import MTU_MAX, TapOps
from pysock.lab.media import Medium
from pysock.shim.real import SOCKET, real_socket, real_socketpair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.lab.link import Link

_PROGRAM = Path(__file__).with_name("taproom.py")
#: Longer than any machine takes to start Python; a hang is worse than an error.
_PATIENCE = 60.0


class TapRoom:
    """The process, and what is said to it. OSError from every method says what cannot be had here, and why."""

    __slots__ = ("__weakref__", "_end", "_peer")

    def __init__(self) -> None:
        ours, theirs = real_socketpair(SOCKET.AF_UNIX, SOCKET.SOCK_SEQPACKET)
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_PROGRAM), str(theirs.fileno())],
                stdin=subprocess.DEVNULL, close_fds=True, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(_PATIENCE)
        self._peer = ours
        self._end = weakref.finalize(self, _end, ours, process)

    def cable(self, mtu: int) -> tuple[TunQueue, TunQueue]:
        """Two TAP devices: what goes into the one comes out of the other."""
        self._peer.send(b"cable %d" % mtu)
        text, ancillary, _, _ = self._peer.recvmsg(1000, SOCKET.CMSG_SPACE(8))
        fds = array("i")
        for level, kind, data in ancillary:
            if level == SOCKET.SOL_SOCKET and kind == SOCKET.SCM_RIGHTS:
                fds.frombytes(data)
        if len(fds) != 2:
            raise _error(text)
        for fd in fds:
            os.set_inheritable(fd, False)
        return TunQueue.adopt(fds[0]), TunQueue.adopt(fds[1])

    def counters(self) -> dict[str, tuple[int, int]]:
        """(bytes received, bytes sent) of the namespace's devices, as the real kernel counts them: what it received
        from one of our ends, and what it sent there. A cable's are "tapNa", "tapNb" and "brN", from 0.
        """
        self._peer.send(b"counters")
        found = {}
        for line in self._peer.recv(1 << 20).decode().splitlines()[2:]:
            name, _, numbers = line.partition(":")
            fields = numbers.split()
            found[name.strip()] = (int(fields[0]), int(fields[8]))
        return found

    @property
    def running(self) -> bool:
        """Until it is closed."""
        return self._end.alive

    def close(self) -> None:
        """End it. The cables live on until their devices are removed."""
        self._end()


def _end(peer: real_socket, process: subprocess.Popen[bytes]) -> None:
    peer.close()
    process.wait()


def _error(text: bytes) -> OSError:
    number, _, what = text.decode(errors="replace").partition(" ")
    return err(int(number or errno.EIO), what or "the process that makes TAP cables ended at once")


class TapMedium(Medium):
    """``room`` is there from the first cable on."""

    __slots__ = ("room",)
    name = "tap"
    max_mtu = MTU_MAX

    def __init__(self, kernel: Kernel) -> None:
        Medium.__init__(self, kernel)
        self.room: TapRoom | None = None

    def lay(self, mtu: int) -> tuple[TunQueue, TunQueue]:
        """ENOENT, EACCES, EPERM and others, with a text, where there are no TAP devices to be had."""
        if self.room is None:
            self.room = TapRoom()
        return self.room.cable(mtu)

    def connect(
        self, one: tuple[Net, str], other: tuple[Net, str], laid: tuple[TunQueue, TunQueue] | None
    ) -> tuple[NetDevice, NetDevice]:
        assert laid is not None
        create = self.kernel.dev_layer.create_device
        made: list[NetDevice] = []
        try:
            for (net, name), queue in zip((one, other), laid, strict=True):
                made.append(create(net, "tap", name, queue=queue))
        except BaseException:
            for dev in made:
                unregister_netdev(dev)
            for queue in laid:
                queue.close()
            raise
        return made[0], made[1]

    def set_link(self, dev: NetDevice, peer: NetDevice, up: bool) -> None:
        for end in (dev, peer):
            ops = end.netdev_ops
            assert isinstance(ops, TapOps)
            ops.plug(up)

    def close(self, links: list[Link]) -> None:
        self.kernel.enter()
        try:
            for link in links:
                for end in link.ends:
                    if end.dev.reg_state == NETREG_REGISTERED:
                        unregister_netdev(end.dev)
        finally:
            self.kernel.leave()
        if self.room is not None:
            self.room.close()
            self.room = None
