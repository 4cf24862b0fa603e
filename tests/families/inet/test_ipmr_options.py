"""What a multicast routing daemon may ask for: the same answers from Linux, in a namespace of its own, and from us."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from support.dgram_api import fails
from support.hosts import Hosts
from support.mroute_linux import Linux, linux

from pysock.core.capability import Credentials
from pysock.syscalls.file import sys_ioctl
from pysock.uapi import in_
from pysock.uapi import mroute as nr
from pysock.uapi.in_ import IPPROTO_ICMP, IPPROTO_IGMP, IPPROTO_IP, IPPROTO_RAW
from pysock.uapi.socket import AF_INET, SOCK_DGRAM, SOCK_RAW
from pysock.wire.addr import inet_aton as a

ONE, TWO, G = "10.9.0.1", "10.8.0.1", "239.1.1.1"


class Ours:
    """A router with two devices, 10.9.0.1 and 10.8.0.1."""

    def __init__(self) -> None:
        lab = Hosts()
        self.host, peer = lab.host("router"), lab.host("peer")
        lab.cable(self.host, f"{ONE}/24", peer, "10.9.0.2/24")
        lab.cable(self.host, f"{TWO}/24", peer, "10.8.0.2/24")
        self.devs = [self.host.dev(name).ifindex for name in ("eth0", "eth1")]

    def socket(self, type: int = SOCK_RAW, protocol: int = IPPROTO_IGMP) -> int:
        return self.host.socket(type, protocol)

    def setopt(self, fd: int, name: int, value: int | bytes) -> None:
        self.host.setopt(fd, IPPROTO_IP, name, value)

    def getopt(self, fd: int, name: int) -> int:
        return self.host.getint(fd, IPPROTO_IP, name)

    def ioctl(self, fd: int, command: int, arg: bytes) -> bytes:
        answer = sys_ioctl(self.host.task, fd, command, arg)
        assert isinstance(answer, bytes)
        return answer

    def show(self, name: str) -> str:
        return self.host.net.proc[f"net/{name}"]()

    def close(self, fd: int) -> None:
        self.host.close(fd)


@pytest.fixture(params=["pysock", "linux"])
def api(request: pytest.FixtureRequest) -> Iterator[Ours | Linux]:
    if request.param == "pysock":
        yield Ours()
        return
    with linux(AF_INET, IPPROTO_IGMP, IPPROTO_IP) as api:
        for name, address in (("v0", ONE), ("w0", TWO)):
            api.real.ip("-n", api.real.name, "addr", "add", f"{address}/24", "dev", name)
        yield api


def vif(index: int, flags: int = 0, local: str = ONE, remote: str = "0.0.0.0", threshold: int = 1) -> bytes:
    return nr.VIFCTL.pack(index, flags, threshold, 0, a(local), a(remote))


def by_index(index: int, ifindex: int) -> bytes:
    return nr.VIFCTL.pack(index, nr.VIFF_USE_IFINDEX, 1, 0, ifindex.to_bytes(4, "little"), bytes(4))


def mfc(origin: str, group: str, parent: int, **ttls: int) -> bytes:
    return nr.MFCCTL.pack(a(origin), a(group), parent, bytes(ttls.get(f"v{index}", 0) for index in range(nr.MAXVIFS)))


def test_who_may(api: Ours | Linux) -> None:
    udp, icmp, raw = api.socket(SOCK_DGRAM, 0), api.socket(SOCK_RAW, IPPROTO_ICMP), api.socket()
    for sock in (udp, icmp):
        fails(errno.EOPNOTSUPP, api.setopt, sock, nr.MRT_INIT, 1)
        fails(errno.EOPNOTSUPP, api.getopt, sock, nr.MRT_VERSION)
    assert api.getopt(raw, nr.MRT_VERSION) == 0x0305
    for name in (nr.MRT_INIT, nr.MRT_TABLE, nr.MRT_MAX + 1):
        fails(errno.ENOPROTOOPT, api.getopt, raw, name)
    fails(errno.ENOPROTOOPT, api.setopt, raw, nr.MRT_VERSION, 1)
    fails(errno.EINVAL, api.setopt, raw, nr.MRT_INIT, b"\1")
    fails(errno.EACCES, api.setopt, raw, nr.MRT_DONE, 1)
    api.setopt(raw, nr.MRT_INIT, 0)
    other = api.socket()
    for sock in (raw, other):
        fails(errno.EADDRINUSE, api.setopt, sock, nr.MRT_INIT, 1)
    fails(errno.EACCES, api.setopt, other, nr.MRT_DONE, 1)
    api.setopt(other, nr.MRT_ASSERT, 1)  # CAP_NET_ADMIN will do
    api.setopt(raw, nr.MRT_DONE, b"")
    api.setopt(other, nr.MRT_INIT, 1)
    api.close(other)
    api.setopt(raw, nr.MRT_INIT, 1)


def test_interfaces(api: Ours | Linux) -> None:
    raw = api.socket()
    api.setopt(raw, nr.MRT_INIT, 1)

    def refused(number: int, value: bytes, name: int = nr.MRT_ADD_VIF) -> None:
        fails(number, api.setopt, raw, name, value)

    api.setopt(raw, nr.MRT_ADD_VIF, vif(0))
    refused(errno.EADDRINUSE, vif(0))
    refused(errno.ENFILE, vif(32))
    refused(errno.EINVAL, vif(1)[:-1])
    refused(errno.EINVAL, vif(1) + b"\0")
    refused(errno.EADDRNOTAVAIL, vif(1, local="10.8.0.99"))
    refused(errno.EINVAL, vif(1, nr.VIFF_SRCRT))
    refused(errno.EINVAL, vif(1, nr.VIFF_USE_IFINDEX | nr.VIFF_TUNNEL))
    refused(errno.EADDRNOTAVAIL, by_index(1, 99))
    api.setopt(raw, nr.MRT_ADD_VIF, by_index(1, api.devs[1]))
    api.setopt(raw, nr.MRT_ADD_VIF, vif(6, local="127.0.0.1", threshold=7))
    api.setopt(raw, nr.MRT_ADD_VIF, vif(7))  # a device may be two
    api.setopt(api.socket(), nr.MRT_ADD_VIF, vif(8))  # not the daemon's: static
    assert [line.split()[-3:] for line in api.show("ip_mr_vif").splitlines()[1:]] == [
        ["00000", "0100090A", "00000000"],
        ["00008", f"{api.devs[1]:08X}", "00000000"],
        ["00000", "0100007F", "00000000"],
        ["00000", "0100090A", "00000000"],
        ["08000", "0100090A", "00000000"],
    ]
    for index, number in ((9, errno.EADDRNOTAVAIL), (3, errno.EADDRNOTAVAIL), (32, errno.ENFILE)):
        refused(number, vif(index), nr.MRT_DEL_VIF)
    for index, left in ((7, 4), (8, 3)):
        api.setopt(raw, nr.MRT_DEL_VIF, vif(index))
        assert len(api.show("ip_mr_vif").splitlines()) == left + 1

    def counters(index: int) -> bytes:
        return api.ioctl(raw, nr.SIOCGETVIFCNT, nr.SIOC_VIF_REQ.pack(index, 1, 1, 1, 1))

    assert counters(0) == bytes(40)
    fails(errno.EADDRNOTAVAIL, counters, 3)
    fails(errno.EINVAL, counters, 20)


def test_a_tunnel_needs_a_module(api: Ours | Linux) -> None:
    if isinstance(api, Linux):
        pytest.skip("its answer depends on whether there is an ipip module")
    raw = api.socket()
    fails(errno.ENOBUFS, api.setopt, raw, nr.MRT_ADD_VIF, vif(1, nr.VIFF_TUNNEL, remote="10.8.0.2"))


def test_routes(api: Ours | Linux) -> None:
    raw = api.socket()
    api.setopt(raw, nr.MRT_INIT, 1)
    api.setopt(raw, nr.MRT_ADD_VIF, vif(0))
    api.setopt(raw, nr.MRT_ADD_VIF, by_index(1, api.devs[1]))
    source = "10.9.0.5"
    api.setopt(raw, nr.MRT_ADD_MFC, mfc(source, G, 0, v1=1, v6=5, v9=3))
    api.setopt(raw, nr.MRT_ADD_MFC, mfc(source, G, 0, v1=2))  # changes it
    fails(errno.ENFILE, api.setopt, raw, nr.MRT_ADD_MFC, mfc(source, G, 32))
    api.setopt(raw, nr.MRT_ADD_MFC, mfc(source, "239.1.1.2", 20))
    fails(errno.EINVAL, api.setopt, raw, nr.MRT_ADD_MFC, mfc(source, "10.1.1.1", 0))
    api.setopt(raw, nr.MRT_ADD_MFC, mfc(source, "0.0.0.0", 0, v1=255))
    api.setopt(raw, nr.MRT_ADD_MFC_PROXY, mfc("0.0.0.0", G, 0, v1=1))
    fails(errno.EINVAL, api.setopt, raw, nr.MRT_ADD_MFC, bytes(59))
    assert api.show("ip_mr_cache") == (
        "Group    Origin   Iif     Pkts    Bytes    Wrong Oifs\n"
        "010101EF 0500090A 0          0        0        0  1:2  \n"
        "020101EF 0500090A 20         0        0        0\n"
        "00000000 0500090A 0          0        0        0\n"
        "010101EF 00000000 0          0        0        0  1:1  \n"
    )
    fails(errno.ENOENT, api.setopt, raw, nr.MRT_DEL_MFC, mfc("10.9.0.6", G, 0))
    fails(errno.ENOENT, api.setopt, raw, nr.MRT_DEL_MFC_PROXY, mfc("0.0.0.0", G, 1))
    api.setopt(raw, nr.MRT_DEL_MFC_PROXY, mfc("0.0.0.0", G, 0))
    api.setopt(raw, nr.MRT_DEL_MFC, mfc(source, "239.1.1.2", 5))
    asked = nr.SIOC_SG_REQ.pack(a(source), a(G), 1, 1, 1)
    assert api.ioctl(raw, nr.SIOCGETSGCNT, asked) == nr.SIOC_SG_REQ.pack(a(source), a(G), 0, 0, 0)
    fails(errno.EADDRNOTAVAIL, api.ioctl, raw, nr.SIOCGETSGCNT, nr.SIOC_SG_REQ.pack(a(ONE), a(G), 0, 0, 0))
    api.setopt(api.socket(), nr.MRT_ADD_MFC, mfc(source, "239.1.1.9", 0))
    fails(errno.EINVAL, api.setopt, raw, nr.MRT_FLUSH, b"1")
    api.setopt(raw, nr.MRT_FLUSH, nr.MRT_FLUSH_MFC)
    assert len(api.show("ip_mr_cache").splitlines()) == 2  # the one that is not the daemon's
    api.setopt(raw, nr.MRT_FLUSH, nr.MRT_FLUSH_MFC_STATIC | nr.MRT_FLUSH_VIFS)
    assert len(api.show("ip_mr_cache").splitlines()) == len(api.show("ip_mr_vif").splitlines()) == 1


def test_other_switches(api: Ours | Linux) -> None:
    raw, udp, other = api.socket(), api.socket(SOCK_DGRAM, 0), api.socket(SOCK_RAW, IPPROTO_ICMP)
    api.setopt(raw, nr.MRT_INIT, 1)
    api.setopt(raw, nr.MRT_ASSERT, 5)
    assert api.getopt(raw, nr.MRT_ASSERT) == 1
    fails(errno.EINVAL, api.setopt, raw, nr.MRT_ASSERT, b"\1")
    api.setopt(raw, nr.MRT_ASSERT, 0)
    api.setopt(raw, nr.MRT_PIM, 1)
    assert (api.getopt(raw, nr.MRT_PIM), api.getopt(raw, nr.MRT_ASSERT)) == (1, 1)
    fails(errno.EADDRINUSE, api.setopt, raw, in_.IP_ROUTER_ALERT, 1)  # a daemon is on that list
    fails(errno.EINVAL, api.setopt, udp, in_.IP_ROUTER_ALERT, 1)
    fails(errno.EINVAL, api.setopt, api.socket(SOCK_RAW, IPPROTO_RAW), in_.IP_ROUTER_ALERT, 1)
    api.setopt(other, in_.IP_ROUTER_ALERT, 1)
    fails(errno.EADDRINUSE, api.setopt, other, in_.IP_ROUTER_ALERT, 1)
    assert [api.getopt(sock, in_.IP_ROUTER_ALERT) for sock in (raw, udp, other)] == [0, 0, 1]
    api.setopt(other, in_.IP_ROUTER_ALERT, 0)
    fails(errno.ENOBUFS, api.setopt, other, in_.IP_ROUTER_ALERT, 0)
    assert api.getopt(other, in_.IP_ROUTER_ALERT) == 0
    fails(errno.ENOTTY, api.ioctl, udp, nr.SIOCGETVIFCNT, bytes(40))


def test_a_register_interface(api: Ours | Linux) -> None:
    raw = api.socket()
    api.setopt(raw, nr.MRT_INIT, 1)
    api.setopt(raw, nr.MRT_ADD_VIF, vif(4, nr.VIFF_REGISTER))
    fails(errno.EADDRINUSE, api.setopt, raw, nr.MRT_ADD_VIF, vif(5, nr.VIFF_REGISTER))
    assert " 4 pimreg " in api.show("ip_mr_vif")
    api.setopt(raw, nr.MRT_DEL_VIF, vif(4))
    api.setopt(raw, nr.MRT_ADD_VIF, vif(5, nr.VIFF_REGISTER))
    api.setopt(raw, nr.MRT_DONE, 1)
    assert "pimreg" not in api.show("ip_mr_vif")
    assert "pimreg" not in api.show("dev")


def test_a_stranger_may_not() -> None:
    """A raw socket that was made by somebody with the right to, and used by one without."""
    api = Ours()
    raw = api.socket()
    file = api.host.task.fds[raw]
    assert file.socket is not None
    file.socket.sk.creds = Credentials(uid=1000, gid=1000, caps=0)
    fails(errno.EACCES, api.setopt, raw, nr.MRT_ADD_VIF, vif(0))
    api.setopt(raw, nr.MRT_INIT, 1)
    api.setopt(raw, nr.MRT_ADD_VIF, vif(0))  # the daemon's own socket is enough


def test_short_arguments() -> None:
    api = Ours()
    raw = api.socket()
    fails(errno.EFAULT, api.ioctl, raw, nr.SIOCGETVIFCNT, bytes(39))
    fails(errno.EFAULT, api.ioctl, raw, nr.SIOCGETSGCNT, bytes(31))
    fails(errno.ENOPROTOOPT, api.setopt, raw, nr.MRT_TABLE, 5)
