"""Routes and addresses as programs change them, checks and ioctls included."""

from __future__ import annotations

import errno

import pytest
from support.inet6_hosts import Wire6, a6

from pysock.core.capability import Credentials
from pysock.families.inet6 import fib6_config, route
from pysock.families.inet6.devconf import find_address
from pysock.families.inet6.fib6_config import IN6_IFREQ, IN6_RTMSG, RTF_GATEWAY, RTF_REJECT
from pysock.uapi.ioctl import SIOCADDRT, SIOCDELRT, SIOCDIFADDR, SIOCSIFADDR

ROOT = Credentials()
FAR = a6("2001:db9::1")


def ioctl(wire: Wire6, cmd: int, arg: bytes | int, creds: Credentials = ROOT) -> None:
    wire.call(fib6_config.ioctl, wire.inet6, creds, cmd, arg)


def rtmsg(prefix: str, plen: int, gateway: str = "::", flags: int = 0, index: int = 0, metric: int = 0) -> bytes:
    return IN6_RTMSG.pack(a6(prefix), bytes(16), a6(gateway), 0, plen, 0, metric, 0, flags, index)


def gateway(wire: Wire6) -> bytes | None:
    return wire.call(route.output, wire.inet6, FAR).gateway


def number(wire: Wire6, *args: object, **named: object) -> int | None:
    with pytest.raises(OSError) as caught:
        wire.call(fib6_config.add_route, wire.inet6, *args, **named)
    return caught.value.errno


def test_a_route_comes_and_goes(wire: Wire6) -> None:
    wire.call(fib6_config.add_route, wire.inet6, bytes(16), 0, gateway=a6("2001:db8::fe"))
    assert gateway(wire) == a6("2001:db8::fe")
    assert number(wire, bytes(16), 0, gateway=a6("2001:db8::fe")) == errno.EEXIST
    wire.call(fib6_config.add_route, wire.inet6, bytes(16), 0, gateway=a6("fe80::9"), dev=wire.dev(), metric=5)
    assert gateway(wire) == a6("fe80::9")
    wire.call(fib6_config.del_route, wire.inet6, bytes(16), 0, metric=5)
    assert gateway(wire) == a6("2001:db8::fe")
    wire.call(fib6_config.del_route, wire.inet6, bytes(16), 0)
    with pytest.raises(ProcessLookupError):
        wire.call(fib6_config.del_route, wire.inet6, bytes(16), 0)


def test_what_is_refused(wire: Wire6) -> None:
    lo = wire.net.dev_by_name["lo"]
    assert number(wire, FAR, 129, dev=wire.dev()) == errno.EINVAL
    assert number(wire, FAR, 64) == errno.ENODEV
    assert number(wire, FAR, 64, gateway=a6("fe80::9")) == errno.ENODEV
    assert number(wire, FAR, 64, gateway=a6("ff02::1"), dev=wire.dev()) == errno.EINVAL
    assert number(wire, FAR, 64, gateway=a6("2001:db8::1")) == errno.EINVAL
    assert number(wire, FAR, 64, gateway=a6("2001:dbb::1")) == errno.EHOSTUNREACH
    assert number(wire, FAR, 64, gateway=a6("fe80::9"), dev=lo) == errno.EINVAL
    assert number(wire, FAR, 64, dev=wire.dev(), prefsrc=FAR) == errno.EINVAL


def test_the_source_that_a_route_prefers(wire: Wire6) -> None:
    wire.add("2001:db8::7/64")
    wire.call(fib6_config.add_route, wire.inet6, FAR, 64, dev=wire.dev(), prefsrc=a6("2001:db8::7"))
    assert wire.call(route.output, wire.inet6, FAR).saddr == a6("2001:db8::7")


def test_routes_by_ioctl(wire: Wire6) -> None:
    ioctl(wire, SIOCADDRT, rtmsg("2001:db9::", 64, "2001:db8::fe", RTF_GATEWAY))
    assert gateway(wire) == a6("2001:db8::fe")
    ioctl(wire, SIOCDELRT, rtmsg("2001:db9::", 64))
    ioctl(wire, SIOCADDRT, rtmsg("2001:db9::", 64, index=wire.dev().ifindex))
    assert gateway(wire) is None
    ioctl(wire, SIOCADDRT, rtmsg("2001:db9::1", 128, flags=RTF_REJECT))
    with pytest.raises(OSError) as caught:
        gateway(wire)
    assert caught.value.errno == errno.EHOSTUNREACH


def test_addresses_by_ioctl(wire: Wire6) -> None:
    request = IN6_IFREQ.pack(a6("2001:db8::7"), 64, wire.dev().ifindex)
    ioctl(wire, SIOCSIFADDR, request)
    assert find_address(wire.net, a6("2001:db8::7")) is not None
    ioctl(wire, SIOCDIFADDR, request)
    assert find_address(wire.net, a6("2001:db8::7")) is None


@pytest.mark.parametrize(
    ("cmd", "arg", "creds", "expected"),
    [
        (SIOCADDRT, rtmsg("::", 0), Credentials(caps=0), errno.EPERM),
        (SIOCADDRT, rtmsg("::", 0)[:-1], ROOT, errno.EFAULT),
        (SIOCADDRT, 7, ROOT, errno.EFAULT),
        (SIOCADDRT, rtmsg("::", 0, index=99), ROOT, errno.ENODEV),
        (SIOCSIFADDR, IN6_IFREQ.pack(FAR, 64, 99), ROOT, errno.ENODEV),
        (SIOCSIFADDR, b"", ROOT, errno.EFAULT),
    ],
)
def test_ioctls_that_fail(wire: Wire6, cmd: int, arg: bytes | int, creds: Credentials, expected: int) -> None:
    with pytest.raises(OSError) as caught:
        ioctl(wire, cmd, arg, creds)
    assert caught.value.errno == expected
