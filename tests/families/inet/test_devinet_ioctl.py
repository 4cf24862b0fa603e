"""Addresses by ioctl (netdevice(7), devinet_ioctl)."""

from __future__ import annotations

import errno
import struct

import pytest
from support.dgram_api import Host, Ours, fails

from pysock.core.capability import Credentials
from pysock.core.ifioctl import dev_ifconf
from pysock.families.inet.devinet import add_address, in_device
from pysock.syscalls.file import sys_ioctl
from pysock.uapi.ioctl import (
    SIOCGIFADDR,
    SIOCGIFBRDADDR,
    SIOCGIFNETMASK,
    SIOCSIFADDR,
    SIOCSIFBRDADDR,
    SIOCSIFNETMASK,
)
from pysock.uapi.socket import AF_INET, AF_INET6
from pysock.wire.addr import inet_aton as a
from pysock.wire.addr import inet_ntoa


def ifreq(name: str, host: str | None = None, family: int = AF_INET) -> bytes:
    union = b"" if host is None else struct.pack("=H2x4s", family, a(host))
    return name.encode().ljust(16, b"\0") + union.ljust(24, b"\0")


def ask(host: Ours, cmd: int, name: str = "w0", address: str | None = None, family: int = AF_INET) -> str:
    answer = sys_ioctl(host.task, host.socket(), cmd, ifreq(name, address, family))
    assert isinstance(answer, bytes)
    assert len(answer) == 40
    return inet_ntoa(answer[20:24])


def test_reading(host: Host) -> None:
    assert ask(host, SIOCGIFADDR) == "10.0.0.1"
    assert ask(host, SIOCGIFNETMASK) == "255.255.255.0"
    assert ask(host, SIOCGIFBRDADDR) == "10.0.0.255"
    assert ask(host, SIOCGIFADDR, "lo") == "127.0.0.1"
    add_address(host.inet, host.dev, a("10.7.0.1"), 16)
    assert ask(host, SIOCGIFADDR) == "10.0.0.1"
    assert ask(host, SIOCGIFNETMASK, address="10.7.0.1") == "255.255.0.0"  # the one it names
    fails(errno.EADDRNOTAVAIL, ask, host, SIOCGIFADDR, "w0:1")
    fails(errno.ENODEV, ask, host, SIOCGIFADDR, "w9")
    fails(errno.EFAULT, sys_ioctl, host.task, host.socket(), SIOCGIFADDR, b"w0")


@pytest.mark.parametrize(
    ("address", "mask"), [("10.9.8.7", "255.0.0.0"), ("172.16.0.1", "255.255.0.0"), ("192.168.1.2", "255.255.255.0")]
)
def test_setting_an_address_replaces_the_old_one(host: Host, address: str, mask: str) -> None:
    ask(host, SIOCSIFADDR, address=address)
    assert (ask(host, SIOCGIFADDR), ask(host, SIOCGIFNETMASK)) == (address, mask)
    assert [ifa.address for ifa in in_device(host.dev).addresses] == [a(address)]
    assert host.inet.fib.lookup(a("10.0.0.9")) is None or mask == "255.0.0.0"


def test_an_alias_is_an_address_more(host: Host) -> None:
    ask(host, SIOCSIFADDR, "w0:1", "192.168.1.2")
    assert (ask(host, SIOCGIFADDR), ask(host, SIOCGIFADDR, "w0:1")) == ("10.0.0.1", "192.168.1.2")
    ask(host, SIOCSIFADDR, "w0:1", "0.0.0.0")
    fails(errno.EADDRNOTAVAIL, ask, host, SIOCGIFADDR, "w0:1")


def test_mask_and_broadcast(host: Host) -> None:
    ask(host, SIOCSIFNETMASK, address="255.255.0.0")
    assert (ask(host, SIOCGIFNETMASK), ask(host, SIOCGIFBRDADDR)) == ("255.255.0.0", "10.0.255.255")
    assert host.inet.fib.lookup(a("10.0.7.7")) is not None
    ask(host, SIOCSIFBRDADDR, address="10.0.0.0")
    assert ask(host, SIOCGIFBRDADDR) == "10.0.0.0"
    fails(errno.EACCES, host.sendto, host.socket(), b"x", ("10.0.0.0", 9))  # a broadcast now


def test_refusals(host: Host) -> None:
    fails(errno.EINVAL, ask, host, SIOCSIFADDR, "w0", "224.0.0.1")
    fails(errno.EINVAL, ask, host, SIOCSIFADDR, "w0", "10.0.0.5", AF_INET6)
    fails(errno.EINVAL, ask, host, SIOCSIFNETMASK, "w0", "255.0.255.0")
    fails(errno.EPERM, ask, Ours(Credentials(uid=1, gid=1, caps=0), host.kernel), SIOCSIFADDR, "w0", "10.0.0.5")
    assert ask(host, SIOCGIFADDR) == "10.0.0.1"


def test_the_list_of_all(host: Host) -> None:
    listed = dev_ifconf(host.kernel.init_net)
    assert [listed[at : at + 16].rstrip(b"\0") for at in range(0, len(listed), 40)] == [b"lo", b"w0"]
    assert listed[60:64] == a("10.0.0.1")
