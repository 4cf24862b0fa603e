"""SIOCGIFxxx and SIOCSIFxxx, as programs call them through fcntl.ioctl."""

from __future__ import annotations

import contextlib
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import MAC, PEER, WireOps, boot, ops_of, wire

from pysock.core.capability import CAP_NET_ADMIN, Credentials
from pysock.core.device import NetDevice
from pysock.core.ifioctl import dev_ifconf, dev_ioctl, is_dev_ioctl
from pysock.core.kernel import Kernel
from pysock.uapi import ioctl as nr
from pysock.uapi.if_ import ARPHRD_ETHER, IFF_LOOPBACK, IFF_PROMISC, IFF_RUNNING, IFF_UP, pack_ifreq, unpack_ifreq

ROOT = Credentials(pid=1)
USER = ROOT.drop(CAP_NET_ADMIN)


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def call(kernel: Kernel, cmd: int, name: str, data: bytes = b"", creds: Credentials = ROOT) -> bytes:
    """The union of the answer."""
    return unpack_ifreq(dev_ioctl(kernel.init_net, creds, cmd, pack_ifreq(name, data)))[1]


def integer(data: bytes) -> int:
    value: int = struct.unpack_from("=i", data)[0]
    return value


def refused(kernel: Kernel, cmd: int, name: str, data: bytes = b"", creds: Credentials = ROOT) -> int | None:
    with pytest.raises(OSError) as info:
        call(kernel, cmd, name, data, creds)
    return info.value.errno


def test_reading(kernel: Kernel) -> None:
    dev = wire(kernel, "eth0", queue=True)
    flags = struct.unpack_from("=H", call(kernel, nr.SIOCGIFFLAGS, "lo", creds=USER))[0]
    assert flags == IFF_UP | IFF_LOOPBACK | IFF_RUNNING
    assert integer(call(kernel, nr.SIOCGIFMTU, "lo")) == 65536
    assert integer(call(kernel, nr.SIOCGIFINDEX, "eth0")) == dev.ifindex
    assert integer(call(kernel, nr.SIOCGIFTXQLEN, "eth0")) == 10
    assert integer(call(kernel, nr.SIOCGIFMETRIC, "eth0")) == 0
    family, addr = struct.unpack_from("=H6s", call(kernel, nr.SIOCGIFHWADDR, "eth0"))
    assert (family, addr) == (ARPHRD_ETHER, MAC)
    answer = dev_ioctl(kernel.init_net, USER, nr.SIOCGIFNAME, pack_ifreq("", struct.pack("=i", dev.ifindex)))
    assert unpack_ifreq(answer) == ("eth0", struct.pack("=i", dev.ifindex) + bytes(20))


def test_the_answer_is_as_long_as_the_question(kernel: Kernel) -> None:
    for size in (18, 20, 32, 40, 256):
        arg = b"lo".ljust(size, b"\0")
        answer = dev_ioctl(kernel.init_net, USER, nr.SIOCGIFMTU, arg)
        assert len(answer) == size
        assert answer[16:20] == struct.pack("=i", 65536)[: size - 16]


def test_an_alias_reads_as_its_device(kernel: Kernel) -> None:
    assert integer(call(kernel, nr.SIOCGIFMTU, "lo:1")) == 65536
    assert refused(kernel, nr.SIOCSIFMTU, "lo:1", struct.pack("=i", 1000)) == errno.ENODEV


def test_changing(kernel: Kernel) -> None:
    dev = wire(kernel, "eth0")
    call(kernel, nr.SIOCSIFMTU, "eth0", struct.pack("=i", 1400))
    call(kernel, nr.SIOCSIFTXQLEN, "eth0", struct.pack("=i", 7))
    call(kernel, nr.SIOCSIFFLAGS, "eth0", struct.pack("=H", IFF_PROMISC))
    assert (dev.mtu, dev.tx_queue_len) == (1400, 7)
    assert not dev.flags & IFF_UP
    assert dev.promiscuity == 1
    call(kernel, nr.SIOCSIFHWADDR, "eth0", struct.pack("=H6s", ARPHRD_ETHER, PEER))
    assert dev.dev_addr == PEER
    call(kernel, nr.SIOCSIFHWBROADCAST, "eth0", struct.pack("=H6s", ARPHRD_ETHER, MAC))
    assert dev.broadcast == MAC
    group = struct.pack("=H6s", 0, b"\1\0\0\0\0\1")
    call(kernel, nr.SIOCADDMULTI, "eth0", group)
    assert dev.mc == {b"\1\0\0\0\0\1": 1}
    call(kernel, nr.SIOCDELMULTI, "eth0", group)
    assert dev.mc == {}
    call(kernel, nr.SIOCSIFNAME, "eth0", b"wan0".ljust(16, b"\0"))
    assert kernel.init_net.dev_by_name["wan0"] is dev


def test_refusals(kernel: Kernel) -> None:
    wire(kernel, "eth0")
    assert refused(kernel, nr.SIOCGIFMTU, "nope") == errno.ENODEV
    assert refused(kernel, nr.SIOCGIFNAME, "", struct.pack("=i", 99)) == errno.ENODEV
    assert refused(kernel, nr.SIOCSIFMTU, "eth0", struct.pack("=i", 1400), USER) == errno.EPERM
    assert refused(kernel, nr.SIOCSIFMTU, "eth0", struct.pack("=i", -1)) == errno.EINVAL
    assert refused(kernel, nr.SIOCSIFTXQLEN, "eth0", struct.pack("=i", -1)) == errno.EINVAL
    assert refused(kernel, nr.SIOCSIFNAME, "eth0", b"lo") == errno.EEXIST
    assert refused(kernel, nr.SIOCSIFHWADDR, "eth0", struct.pack("=H6s", 772, PEER)) == errno.EINVAL
    assert refused(kernel, nr.SIOCADDMULTI, "eth0", struct.pack("=H6s", ARPHRD_ETHER, PEER)) == errno.EINVAL
    assert refused(kernel, nr.SIOCSIFMETRIC, "eth0") == errno.EOPNOTSUPP
    assert refused(kernel, nr.SIOCGIFSLAVE, "eth0") == errno.EINVAL
    assert refused(kernel, nr.SIOCGMIIREG, "eth0") == errno.EOPNOTSUPP
    assert refused(kernel, nr.SIOCGMIIREG, "eth0", creds=USER) == errno.EPERM
    assert refused(kernel, nr.SIOCGIFADDR, "lo") == errno.ENOTTY  # the address family's
    with pytest.raises(OSError) as info:
        dev_ioctl(kernel.init_net, ROOT, nr.SIOCGIFMTU, b"short")
    assert info.value.errno == errno.EFAULT
    assert not is_dev_ioctl(nr.SIOCGIFADDR)


def test_private_ioctls(kernel: Kernel) -> None:
    class Private(WireOps):
        def ndo_do_ioctl(self, dev: NetDevice, cmd: int, data: bytes) -> bytes:
            self._called("ioctl")
            return bytes([cmd - nr.SIOCDEVPRIVATE]) + data[:3]

    dev = wire(kernel, "eth0", ops=Private())
    assert call(kernel, nr.SIOCDEVPRIVATE + 3, "eth0", b"abcd") == b"\3abc".ljust(24, b"\0")
    ops_of(dev).raises["ioctl"] = IndexError("bug")
    assert refused(kernel, nr.SIOCDEVPRIVATE, "eth0") == errno.EIO
    assert kernel.errors.count("test-plugin") == 1
    wire(kernel, "eth1")
    assert refused(kernel, nr.SIOCDEVPRIVATE, "eth1") == errno.EOPNOTSUPP
    assert refused(kernel, nr.SIOCDEVPRIVATE, "eth0", creds=USER) == errno.EPERM


def test_ifconf_lists_what_the_families_know(kernel: Kernel) -> None:
    wire(kernel, "eth0")
    assert dev_ifconf(kernel.init_net) == b""
    address = struct.pack("=HH4s8x", 2, 0, b"\x7f\0\0\1")
    kernel.dev_layer.gifconf[2] = lambda dev: [address] if dev.name == "lo" else [address, address]
    found = dev_ifconf(kernel.init_net)
    assert found == pack_ifreq("lo", address) + pack_ifreq("eth0", address) * 2
    assert dev_ifconf(kernel.init_net, 119) == found[:80]
    assert dev_ifconf(kernel.init_net, 0) == b""


_COMMANDS = sorted(
    value for name, value in vars(nr).items() if name.startswith("SIOC") and isinstance(value, int)
)  # fmt: skip


@given(st.sampled_from(_COMMANDS), st.sampled_from([b"lo", b"eth0", b"none"]), st.binary(max_size=48))
def test_any_buffer_gets_an_answer_or_an_errno(cmd: int, name: bytes, data: bytes) -> None:
    kernel = boot()
    wire(kernel, "eth0")
    arg = name.ljust(16, b"\0") + data
    with contextlib.suppress(OSError):
        assert len(dev_ioctl(kernel.init_net, ROOT, cmd, arg)) == len(arg)
    assert kernel.errors.total == 0
