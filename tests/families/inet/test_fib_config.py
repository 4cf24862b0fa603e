"""Routes as programs add and delete them (fib_semantics.c; SIOCADDRT, SIOCDELRT), and net.ipv4.conf."""

from __future__ import annotations

import errno
import struct

import pytest
from support.dgram_api import Host, Ours, fails

from pysock.core.capability import Credentials
from pysock.core.device import dev_change_name, dev_close
from pysock.families.inet import route
from pysock.families.inet.devconf import confs_of
from pysock.families.inet.devinet import add_address
from pysock.families.inet.fib import RTN_BLACKHOLE, RTN_PROHIBIT, RTN_UNREACHABLE
from pysock.families.inet.fib_config import RTENTRY_SIZE, add_route, del_route
from pysock.syscalls.file import sys_ioctl
from pysock.uapi.ioctl import SIOCADDRT, SIOCDELRT, SIOCGIFMTU
from pysock.uapi.socket import AF_INET, AF_INET6
from pysock.wire.addr import inet_aton as a

NET = a("192.0.2.0")
THERE = a("192.0.2.1")
GATEWAY = a("10.0.0.254")


def test_a_gateway_names_its_device_and_flows_their_source(host: Host) -> None:
    add_route(host.inet, NET, 24, gateway=GATEWAY)
    rt = route.output(host.inet, THERE)
    assert (rt.dev, rt.gateway, rt.saddr) == (host.dev, GATEWAY, a("10.0.0.1"))
    add_address(host.inet, host.dev, a("10.7.0.1"), 24)
    add_route(host.inet, a("10.8.0.0"), 16, gateway=a("10.7.0.9"))
    assert route.output(host.inet, a("10.8.1.1")).saddr == a("10.7.0.1")  # the gateway's network decides


def test_a_source_of_its_own(host: Host) -> None:
    add_address(host.inet, host.dev, a("10.7.0.1"), 24)
    add_route(host.inet, NET, 24, gateway=GATEWAY, prefsrc=a("10.7.0.1"))
    assert route.output(host.inet, THERE).saddr == a("10.7.0.1")


def test_metrics_decide(host: Host) -> None:
    add_route(host.inet, NET, 24, gateway=GATEWAY, metric=20)
    add_route(host.inet, NET, 24, gateway=a("10.0.0.253"), metric=10)
    assert route.output(host.inet, THERE).gateway == a("10.0.0.253")
    del_route(host.inet, NET, 24, metric=10)
    assert route.output(host.inet, THERE).gateway == GATEWAY


@pytest.mark.parametrize(
    ("kind", "number"),
    [(RTN_UNREACHABLE, errno.EHOSTUNREACH), (RTN_PROHIBIT, errno.EACCES), (RTN_BLACKHOLE, errno.EINVAL)],
)
def test_routes_to_nowhere(host: Host, kind: int, number: int) -> None:
    add_route(host.inet, NET, 24, type=kind)
    fails(number, route.output, host.inet, THERE)


def test_refusals(host: Host) -> None:
    def add(prefix: bytes = NET, plen: int = 24, **more: object) -> None:
        add_route(host.inet, prefix, plen, **more)  # type: ignore[arg-type]

    def refused(number: int, **more: object) -> None:
        before = host.inet.fib.entries()
        fails(number, lambda: add(**more))  # type: ignore[arg-type]
        assert host.inet.fib.entries() == before

    refused(errno.ENODEV)
    refused(errno.EINVAL, prefix=THERE, gateway=GATEWAY)
    refused(errno.EINVAL, plen=33, gateway=GATEWAY)
    refused(errno.ENETUNREACH, gateway=a("10.9.9.9"))
    refused(errno.EINVAL, gateway=a("10.0.0.255"))
    refused(errno.EINVAL, gateway=a("224.0.0.1"))
    refused(errno.EINVAL, gateway=GATEWAY, prefsrc=a("10.0.0.9"))
    add(gateway=GATEWAY)
    refused(errno.EEXIST, gateway=a("10.0.0.253"))
    refused(errno.ENETUNREACH, prefix=a("198.51.100.0"), gateway=THERE)  # a gateway behind a gateway
    host.kernel.enter()
    dev_close(host.dev)
    host.kernel.leave()
    refused(errno.ENETDOWN, prefix=a("198.51.100.0"), dev=host.dev)
    fails(errno.ESRCH, del_route, host.inet, a("203.0.113.0"), 24)


def test_deleting_what_fits(host: Host) -> None:
    add_route(host.inet, NET, 24, gateway=GATEWAY)
    fails(errno.ESRCH, lambda: del_route(host.inet, NET, 24, gateway=a("10.0.0.253")))
    fails(errno.ESRCH, del_route, host.inet, NET, 25)
    del_route(host.inet, NET, 24, gateway=GATEWAY, dev=host.dev)
    fails(errno.ENETUNREACH, route.output, host.inet, THERE)


# --- ioctls -----------------------------------------------------------------------------------------------------------


def rtentry(
    dst: str, mask: str, gateway: str | None = None, metric: int = 0, family: int = AF_INET, more: int = 0
) -> bytes:
    names = (struct.pack("=HH4s8x", family, 0, a(host)) for host in (dst, gateway or "0.0.0.0", mask))
    flags = 1 | (2 if gateway else 0) | more
    return struct.pack("=8x16s16s16sH22xh38x", *names, flags, metric)


def test_ioctls(host: Host) -> None:
    fd = host.socket()
    request = rtentry("192.0.2.0", "255.255.255.0", "10.0.0.254", 3)
    assert len(request) == RTENTRY_SIZE
    sys_ioctl(host.task, fd, SIOCADDRT, request)
    (entry,) = host.inet.fib.main.at(NET, 24)
    assert (entry.gateway, entry.metric, entry.dev) == (GATEWAY, 2, host.dev)
    fails(errno.EEXIST, sys_ioctl, host.task, fd, SIOCADDRT, request)
    sys_ioctl(host.task, fd, SIOCDELRT, request)
    fails(errno.ESRCH, sys_ioctl, host.task, fd, SIOCDELRT, request)
    sys_ioctl(host.task, fd, SIOCADDRT, rtentry("192.0.2.1", "0.0.0.0", more=0x204))  # a host, rejected
    fails(errno.EHOSTUNREACH, route.output, host.inet, THERE)
    for number, bad in (
        (errno.EINVAL, rtentry("192.0.2.0", "255.0.255.0", "10.0.0.254")),
        (errno.EAFNOSUPPORT, rtentry("192.0.2.0", "255.255.255.0", family=AF_INET6)),
        (errno.ENETUNREACH, rtentry("192.0.2.0", "255.255.255.0", "10.9.9.9")),
        (errno.EFAULT, request[:100]),
    ):
        fails(number, sys_ioctl, host.task, fd, SIOCADDRT, bad)
    user = Ours(Credentials(uid=1000, gid=1000, caps=0), host.kernel)
    fails(errno.EPERM, sys_ioctl, user.task, user.socket(), SIOCADDRT, request)


def test_device_ioctls_reach_the_devices(host: Host) -> None:
    answer = sys_ioctl(host.task, host.socket(), SIOCGIFMTU, b"w0".ljust(40, b"\0"))
    assert isinstance(answer, bytes)
    assert int.from_bytes(answer[16:20], "little") == 1500
    fails(errno.ENOTTY, sys_ioctl, host.task, host.socket(), 0x1234, bytes(40))


# --- net.ipv4.conf ----------------------------------------------------------------------------------------------------


def test_settings_of_devices(host: Host) -> None:
    sysctl = host.kernel.init_net.sysctl
    conf = confs_of(host.inet).of(host.dev)
    sysctl.set("net.ipv4.conf.w0.arp_ignore", 2)
    assert conf.arp_ignore == 2
    assert confs_of(host.inet).all.arp_ignore == 0
    generation = host.inet.fib.generation
    sysctl.write("net.ipv4.conf.all.rp_filter", "1\n")
    assert host.inet.fib.generation > generation  # routes in use rest on it
    sysctl.set("net.ipv4.conf.default.arp_announce", 1)
    assert conf.arp_announce == 0
    host.kernel.enter()
    dummy = host.kernel.dev_layer.create_device(host.kernel.init_net, "dummy", "dum.1")
    assert sysctl.get("net.ipv4.conf.dum/1.arp_announce") == 1
    dev_change_name(dummy, "dum2")
    host.kernel.leave()
    assert "net.ipv4.conf.dum/1.arp_announce" not in sysctl
    assert sysctl.get("net.ipv4.conf.dum2.arp_announce") == 1
