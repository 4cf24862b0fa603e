"""macvlan: who gets what in each mode, filters, hosts that share a cable (drivers/net/macvlan.c)."""

from __future__ import annotations

import errno
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import MAC, boot, frame, ops_of, packet, softirqs, wire
from support.dgram_api import fails
from support.hosts import HostApi, Hosts, network

from pysock.core.dev import PacketType, dev_add_pack, netif_rx
from pysock.core.device import (
    NETREG_UNREGISTERED,
    NetDevice,
    dev_close,
    dev_mc_add,
    dev_open,
    dev_set_mac_address,
    dev_set_mtu,
    netif_carrier_off,
    unregister_netdev,
)
from pysock.core.eth import eth_type_trans
from pysock.core.kernel import Kernel
from pysock.core.skbuff import SkBuff
from pysock.drivers.macvlan import MacvlanOps
from pysock.families.inet.devinet import add_address
from pysock.syscalls.socket import sys_connect
from pysock.uapi.if_ether import ETH_P_ALL
from pysock.uapi.if_packet import PACKET_OUTGOING

ETH_P_TEST = 0x88B5
ALL = b"\xff" * 6
GROUP = b"\x01\0\x5e\0\0\5"
OUTSIDE = b"\x02\0\0\0\0\x99"


def address(number: int) -> bytes:
    return b"\x02\0\0\0\1" + bytes((number,))


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def on(lower: NetDevice, number: int, mode: str = "bridge") -> NetDevice:
    create = lower.kernel.dev_layer.create_device
    dev = create(lower.net, "macvlan", f"m{number}", link=lower, mode=mode, address=address(number))
    dev_open(dev)
    return dev


def listen(kernel: Kernel) -> list[str]:
    got: list[str] = []
    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, lambda skb: got.append(skb.dev.name)))  # type: ignore[union-attr]
    return got


def arrive(dev: NetDevice, raw: bytes) -> None:
    skb = SkBuff(raw, 0, len(raw))
    if eth_type_trans(skb, dev):
        netif_rx(skb)
    softirqs(dev.kernel)


def test_unicast_goes_by_address(kernel: Kernel) -> None:
    lower = wire(kernel, "eth0")
    one, _ = on(lower, 1), on(lower, 2, "private")
    got = listen(kernel)
    for dst in (address(1), address(2), MAC, address(3)):
        arrive(lower, frame(dst=dst, src=OUTSIDE))
    assert got == ["m1", "m2", "eth0", "eth0"]
    assert (one.stats.rx_packets, one.stats.rx_bytes) == (1, len(frame()))
    assert (lower.uc, lower.promiscuity) == ({address(1): 1, address(2): 1}, 0)


def test_groups_go_to_all_who_want_them(kernel: Kernel) -> None:
    lower = wire(kernel, "eth0")
    one, _ = on(lower, 1), on(lower, 2, "vepa")
    got = listen(kernel)
    arrive(lower, frame(dst=ALL, src=OUTSIDE))
    assert sorted(got) == ["eth0", "m1", "m2"]
    got.clear()
    dev_mc_add(one, GROUP)
    assert GROUP in lower.mc
    arrive(lower, frame(dst=GROUP, src=OUTSIDE))
    assert sorted(got) == ["eth0", "m1"]
    assert one.stats.multicast == 2


@pytest.mark.parametrize(
    ("mode", "heard", "sent"), [("bridge", ["m2"], 0), ("vepa", [], 1), ("private", [], 1)]
)
def test_between_neighbours(kernel: Kernel, mode: str, heard: list[str], sent: int) -> None:
    lower = wire(kernel, "eth0")
    one, _ = on(lower, 1, mode), on(lower, 2, mode)
    got = listen(kernel)
    one.queue_xmit(packet(one, dst=address(2), src=address(1)))
    softirqs(kernel)
    assert (got, len(ops_of(lower).sent)) == (heard, sent)
    one.queue_xmit(packet(one, dst=ALL, src=address(1)))
    softirqs(kernel)
    assert (got, len(ops_of(lower).sent)) == (heard * 2, sent + 1)
    assert one.stats.tx_packets == 2


@pytest.mark.parametrize(("mode", "heard"), [("vepa", ["eth0", "m2"]), ("bridge", ["eth0"]), ("private", ["m1"])])
def test_what_a_reflective_relay_sends_back(kernel: Kernel, mode: str, heard: list[str]) -> None:
    lower = wire(kernel, "eth0")
    on(lower, 1, mode)
    on(lower, 2, mode)
    got = listen(kernel)
    arrive(lower, frame(dst=ALL, src=address(1)))
    assert sorted(got) == heard


# --- recorded from Linux 6.18: who hears a frame, and as what (PACKET_HOST, ...) --------------------------------------

LOWER, ONE, TWO = MAC, b"\x02\0\0\0\1\1", b"\x02\0\0\0\1\2"
RECORDED = {
    ("private", "in", ALL, ONE): {"eth0": 1, "m1": 1}, ("private", "in", GROUP, ONE): {"eth0": 2, "m1": 2},
    ("private", "in", TWO, ONE): {"eth0": 3, "m2": 0}, ("private", "out", TWO, ONE): {"wire": 1},
    ("vepa", "in", ALL, ONE): {"eth0": 1, "m2": 1}, ("vepa", "in", GROUP, ONE): {"eth0": 2},
    ("vepa", "out", TWO, ONE): {"wire": 1}, ("vepa", "out", ALL, ONE): {"wire": 1},
    ("bridge", "in", ALL, ONE): {"eth0": 1}, ("bridge", "in", TWO, ONE): {"eth0": 3, "m2": 0},
    ("bridge", "out", ONE, TWO): {"eth0": 3, "m1": 0}, ("bridge", "out", TWO, ONE): {"eth0": 3, "m2": 0},
    ("bridge", "out", ALL, ONE): {"wire": 1, "m2": 1}, ("bridge", "out", LOWER, ONE): {"wire": 1},
    ("passthru", "in", ALL, OUTSIDE): {"eth0": 1, "m1": 1}, ("passthru", "in", LOWER, OUTSIDE): {"eth0": 0, "m1": 0},
    ("passthru", "in", TWO, OUTSIDE): {"eth0": 3, "m1": 0}, ("passthru", "in", GROUP, OUTSIDE): {"eth0": 2},
    ("passthru", "out", TWO, ONE): {"wire": 1}, ("passthru", "out", LOWER, ONE): {"wire": 1},
    ("source", "in", LOWER, OUTSIDE): {"eth0": 0, "m1": 0}, ("source", "in", ONE, OUTSIDE): {"eth0": 3, "m1": 0},
    ("source", "in", TWO, OUTSIDE): {"eth0": 3, "m1": 3}, ("source", "in", ALL, OUTSIDE): {"eth0": 1, "m1": 1},
    ("source", "in", ONE, TWO): {"eth0": 3}, ("source", "in", ALL, TWO): {"eth0": 1},
    ("source", "out", TWO, ONE): {"wire": 1},
}  # fmt: skip


@pytest.mark.parametrize("case", RECORDED)
def test_as_recorded(kernel: Kernel, case: tuple[str, str, bytes, bytes]) -> None:
    """Seen by packet sockets for all protocols; those of the lower device see it before the macvlans do."""
    mode, way, dst, src = case
    lower = wire(kernel, "eth0")
    options: dict[str, object] = {"sources": (OUTSIDE,)} if mode == "source" else {}
    devices = []
    for number in (1, 2) if mode in ("private", "vepa", "bridge") else (1,):
        own = {} if mode == "passthru" else {"address": address(number)}
        create = kernel.dev_layer.create_device
        devices.append(create(lower.net, "macvlan", f"m{number}", link=lower, mode=mode, **own, **options))
        dev_open(devices[-1])
    got: dict[str, int] = {}

    def tap(skb: SkBuff, dev: NetDevice) -> None:
        if skb.pkt_type != PACKET_OUTGOING:
            got[dev.name] = skb.pkt_type

    dev_add_pack(PacketType(kernel.init_net, ETH_P_ALL, tap))
    if way == "in":
        arrive(lower, frame(dst=dst, src=src))
    else:
        devices[0].queue_xmit(packet(devices[0], dst=dst, src=src))
        softirqs(kernel)
        if sent := len(ops_of(lower).sent):
            got["wire"] = sent
    assert got == RECORDED[case]


def test_passthru_is_alone_and_has_the_lower_devices_address(kernel: Kernel) -> None:
    lower = wire(kernel, "eth0", setup=lambda dev: setattr(dev, "live_addr_change", True))
    create = partial(kernel.dev_layer.create_device, kernel.init_net, "macvlan")
    one = create("p0", link=lower, mode="passthru")
    assert one.dev_addr == MAC
    dev_open(one)
    assert lower.promiscuity == 1
    fails(errno.EINVAL, partial(create, "p1", link=lower, mode="bridge"))
    fails(errno.EINVAL, partial(create, "p1", link=lower, mode="passthru"))
    dev_set_mac_address(one, address(7))
    assert (one.dev_addr, lower.dev_addr) == (address(7), address(7))
    unregister_netdev(one)
    assert (lower.dev_addr, lower.promiscuity, lower.rx_handler) == (MAC, 0, None)
    two = create("p2", link=lower, mode="passthru", nopromisc=True)
    dev_open(two)
    assert lower.promiscuity == 0
    dev_set_mac_address(lower, address(8))  # the lower device's own doing: it keeps that
    assert two.dev_addr == address(8)
    unregister_netdev(two)
    assert lower.dev_addr == address(8)
    other = create("p3", link=lower, mode="bridge")
    fails(errno.EINVAL, partial(create, "p4", link=lower, mode="passthru"))
    ops = other.netdev_ops
    assert isinstance(ops, MacvlanOps)
    fails(errno.EINVAL, ops.set_mode, "passthru")
    ops.set_mode("private")
    assert ops.mode == "private"


def test_source_mode_lists_senders(kernel: Kernel) -> None:
    lower = wire(kernel, "eth0")
    one = on(lower, 1, "source")
    ops = one.netdev_ops
    assert isinstance(ops, MacvlanOps)
    got = listen(kernel)
    ops.change_sources((OUTSIDE, address(9)))
    arrive(lower, frame(dst=ALL, src=OUTSIDE))
    assert sorted(got) == ["eth0", "m1"]
    ops.nodst = True
    got.clear()
    arrive(lower, frame(dst=ALL, src=OUTSIDE))
    assert got == ["m1"]
    ops.change_sources((address(9),))
    got.clear()
    arrive(lower, frame(dst=ALL, src=OUTSIDE))
    assert got == ["eth0"]
    fails(errno.EADDRNOTAVAIL, ops.change_sources, (ALL,))
    ops.set_mode("bridge")
    assert ops.sources == set()
    fails(errno.EINVAL, ops.change_sources, (OUTSIDE,))
    unregister_netdev(one)


def test_addresses_in_use(kernel: Kernel) -> None:
    lower = wire(kernel, "eth0")
    one, two = on(lower, 1), on(lower, 2)
    fails(errno.EADDRINUSE, dev_set_mac_address, one, address(2))
    fails(errno.EADDRINUSE, dev_set_mac_address, one, MAC)
    dev_set_mac_address(one, address(7))
    assert lower.uc == {address(7): 1, address(2): 1}
    got = listen(kernel)
    arrive(lower, frame(dst=address(7), src=OUTSIDE))
    assert got == ["m1"]
    dev_close(two)
    assert lower.uc == {address(7): 1}
    dev_set_mac_address(two, address(7))
    fails(errno.EADDRINUSE, dev_open, two)


def test_it_follows_its_lower_device_and_goes_with_it(kernel: Kernel) -> None:
    lower = wire(kernel, "eth0")
    one, two = on(lower, 1), on(lower, 2)
    fails(errno.EINVAL, dev_set_mtu, one, 1501)
    dev_set_mtu(lower, 1000)
    assert one.mtu == 1000
    netif_carrier_off(lower)
    assert not one.carrier
    raw = frame(dst=address(1), src=OUTSIDE)
    skb = SkBuff(raw, 0, len(raw))
    eth_type_trans(skb, lower)
    netif_rx(skb)  # in flight
    unregister_netdev(two)
    assert lower.rx_handler is not None
    unregister_netdev(lower)
    softirqs(kernel)
    assert one.reg_state == two.reg_state == NETREG_UNREGISTERED
    assert (lower.rx_handler, lower.uppers, lower.uc) == (None, (), {})


def test_refusals(kernel: Kernel) -> None:
    lower = wire(kernel, "eth0")
    create = partial(kernel.dev_layer.create_device, kernel.init_net, "macvlan", "m")
    fails(errno.EINVAL, partial(create, link="eth0"))
    fails(errno.EINVAL, partial(create, link=lower, mode="passthrough"))
    fails(errno.EINVAL, partial(create, link=kernel.init_net.dev_by_name["lo"]))
    bridge = kernel.dev_layer.create_device(kernel.init_net, "bond", None)
    dev_close(lower)
    bridge.netdev_ops.ndo_add_slave(bridge, lower)
    fails(errno.EBUSY, partial(create, link=lower))
    assert "m" not in kernel.init_net.dev_by_name
    assert lower.uppers == (bridge,)


@given(st.binary(max_size=30), st.sampled_from(["bridge", "vepa", "private", "passthru", "source"]))
def test_no_frame_raises(raw: bytes, mode: str) -> None:
    """Whatever a macvlan is given to send or receive leaves no error and nothing undelivered."""
    kernel = boot()
    lower = wire(kernel, "eth0", setup=lambda dev: setattr(dev, "live_addr_change", True))
    one = on(lower, 1, mode)
    if mode == "source":
        one.netdev_ops.change_sources((OUTSIDE,))  # type: ignore[attr-defined]  # MacvlanOps
    if mode != "passthru":
        on(lower, 2, mode)
    skb = SkBuff(raw, 0, len(raw))
    skb.dev = one
    one.queue_xmit(skb)
    arrive(lower, raw)
    assert one.stats.tx_packets + one.stats.tx_dropped == 1
    assert one.stats.tx_errors == lower.stats.rx_dropped == 0
    assert kernel.errors.records() == []


def test_hosts_that_share_a_cable() -> None:
    lab = Hosts()
    a, b = lab.pair()
    c = lab.host("c")
    dev = a.call(lab.kernel.dev_layer.create_device, c.net, "macvlan", "eth0", link=a.dev(), mode="bridge")
    c.call(dev_open, dev)
    c.call(add_address, c.inet, dev, *network("10.0.0.3/24"))

    def talk(client: HostApi, server: HostApi, host: str) -> None:
        listener = server.listen(host, 80)
        fd = client.tcp()
        sys_connect(client.task, fd, (host, 80))
        accepted = server.accept(listener)
        client.sendto(fd, b"x" * 100_000)
        got = b""
        while len(got) < 100_000:
            got += server.recv(accepted)

    talk(c, b, "10.0.0.2")
    talk(b, c, "10.0.0.3")
    assert c.counted().get("TcpRetransSegs", 0) == 0
    assert lab.log == []
