"""veth: the pair as a device, and two hosts that talk over one (drivers/net/veth.c)."""

from __future__ import annotations

import errno

import pytest
from support.devices import boot
from support.dgram_api import fails
from support.hosts import HostApi, Hosts

from pysock.core.device import (
    NetDevice,
    dev_change_net,
    dev_close,
    dev_open,
    dev_set_mtu,
    unregister_netdev,
)
from pysock.core.netdev_events import NETDEV_REGISTER
from pysock.core.notifier import notifier_from_errno
from pysock.core.skbuff import SkBuff
from pysock.drivers.veth import veth_peer
from pysock.families.inet.devinet import add_address
from pysock.syscalls.socket import sys_connect
from pysock.uapi.in_ import IPPROTO_ICMP
from pysock.uapi.socket import SOCK_DGRAM, SOCK_STREAM
from pysock.wire import icmp


@pytest.fixture
def lab() -> Hosts:
    return Hosts()


@pytest.fixture
def pair(lab: Hosts) -> tuple[HostApi, HostApi]:
    return lab.pair()


# --- the device -------------------------------------------------------------------------------------------------------


def bare() -> tuple[NetDevice, NetDevice]:
    kernel = boot()
    one = kernel.dev_layer.create_device(kernel.init_net, "veth", "one", peer="two")
    return one, kernel.init_net.dev_by_name["two"]


def test_carrier_needs_both_ends_up() -> None:
    one, two = bare()
    assert veth_peer(one) is two
    assert veth_peer(two) is one
    assert one.dev_addr != two.dev_addr
    dev_open(one)
    assert (one.carrier, two.carrier) == (False, False)
    dev_open(two)
    assert (one.carrier, two.carrier) == (True, True)
    dev_close(one)
    assert (one.carrier, two.carrier) == (False, False)


def test_names() -> None:
    kernel = boot()
    create = kernel.dev_layer.create_device
    create(kernel.init_net, "veth")
    assert sorted(kernel.init_net.dev_by_name) == ["lo", "veth0", "veth1"]
    for options in ({"peer": 3}, {"peer_net": "b"}, {"color": "red"}):
        with pytest.raises(OSError) as caught:
            create(kernel.init_net, "veth", **options)
        assert caught.value.errno == errno.EINVAL
    assert len(kernel.init_net.devices) == 3


def test_a_name_that_is_taken_leaves_nothing_behind() -> None:
    kernel = boot()
    create = kernel.dev_layer.create_device
    create(kernel.init_net, "veth", "a", peer="b")
    for name, peer in (("c", "b"), ("a", "c"), ("c", "c")):
        with pytest.raises(FileExistsError):
            create(kernel.init_net, "veth", name, peer=peer)
    assert sorted(kernel.init_net.dev_by_name) == ["a", "b", "lo"]


def test_a_veto_leaves_nothing_behind() -> None:
    kernel = boot()

    def veto(event: int, dev: NetDevice) -> int | None:
        return notifier_from_errno(errno.EPERM) if event == NETDEV_REGISTER and dev.name == "one" else None

    kernel.dev_layer.register_netdevice_notifier(veto)
    with pytest.raises(PermissionError):
        kernel.dev_layer.create_device(kernel.init_net, "veth", "one", peer="two")
    assert list(kernel.init_net.dev_by_name) == ["lo"]


@pytest.mark.parametrize("first", [0, 1])
def test_one_end_takes_the_other_away(first: int) -> None:
    ends = bare()
    for dev in ends:
        dev_open(dev)
    unregister_netdev(ends[first])
    assert [dev.name for dev in ends[0].net.devices] == ["lo"]
    assert veth_peer(ends[0]) is veth_peer(ends[1]) is None


def test_frames_to_an_end_that_is_down_are_lost_and_counted() -> None:
    one, two = bare()
    dev_open(one)
    frame = two.dev_addr + one.dev_addr + b"\x88\xb5payload"
    one.queue_xmit(SkBuff(frame, 0, len(frame)))
    assert one.stats.tx_dropped == 1
    assert two.stats.rx_packets == 0


def test_moving_an_end_to_another_namespace(pair: tuple[HostApi, HostApi], lab: Hosts) -> None:
    a, b = pair
    c = lab.host("c")
    dev = b.dev()
    b.call(dev_change_net, dev, c.net, "wan%d")
    assert (dev.name, dev.net) == ("wan0", c.net)
    assert "eth0" not in b.net.dev_by_name
    assert not [e for e in b.inet.fib.entries() if e.dev is dev]
    assert "net.ipv4.conf.eth0.forwarding" not in b.net.sysctl
    assert "net.ipv4.neigh.wan0.locktime" in c.net.sysctl
    assert not a.dev().carrier
    c.call(dev_open, dev)
    c.call(add_address, c.inet, dev, b"\x0a\0\0\3", 24)
    server = c.bound("10.0.0.3", 99)
    a.sendto(a.socket(), b"moved", ("10.0.0.3", 99))
    assert c.recvfrom(server)[0] == b"moved"
    assert lab.log == []


def test_what_may_not_move(lab: Hosts) -> None:
    a, b = lab.pair()
    fails(errno.EINVAL, a.call, dev_change_net, a.net.loopback_dev, b.net)
    fails(errno.EEXIST, a.call, dev_change_net, a.dev(), b.net)
    assert a.dev().carrier
    dev = a.dev()
    a.call(unregister_netdev, dev)
    fails(errno.ENODEV, a.call, dev_change_net, dev, b.net)


# --- two hosts --------------------------------------------------------------------------------------------------------


def test_udp(pair: tuple[HostApi, HostApi], lab: Hosts) -> None:
    a, b = pair
    server = b.bound("10.0.0.2", 53)
    client = a.bound("10.0.0.1", 5353)
    a.sendto(client, b"question", ("10.0.0.2", 53))
    assert b.recvfrom(server) == (b"question", ("10.0.0.1", 5353))
    b.sendto(server, b"answer", ("10.0.0.1", 5353))
    assert a.recvfrom(client) == (b"answer", ("10.0.0.2", 53))
    assert a.counted().get("UdpInErrors", 0) == 0
    assert a.sk(client).wmem_alloc == 0  # the sender got its room back
    assert lab.log == []


def test_udp_to_a_closed_port_is_refused(pair: tuple[HostApi, HostApi]) -> None:
    a, _ = pair
    fd = a.socket()
    a.connect(fd, ("10.0.0.2", 9))
    a.sendto(fd, b"x")
    fails(errno.ECONNREFUSED, a.recvfrom, fd)


def test_ping(pair: tuple[HostApi, HostApi]) -> None:
    a, b = pair
    a.call(a.net.sysctl.set, "net.ipv4.ping_group_range", (0, 100))
    fd = a.socket(SOCK_DGRAM, IPPROTO_ICMP)
    a.sendto(fd, icmp.build(icmp.ECHO_REQUEST, 0, rest=1, payload=b"data"), ("10.0.0.2", 0))
    reply, sender = a.recvfrom(fd)
    assert (reply[0], reply[8:], sender[0]) == (icmp.ECHOREPLY, b"data", "10.0.0.2")
    assert b.counted()["IcmpInEchos"] == 1


def test_tcp_sends_super_segments(pair: tuple[HostApi, HostApi], lab: Hosts) -> None:
    a, b = pair
    listener = b.listen("10.0.0.2", 80)
    client = a.tcp()
    sys_connect(a.task, client, ("10.0.0.2", 80))
    server = b.accept(listener)
    frames = a.dev().stats.tx_packets
    data = bytes(range(256)) * 4096
    sent = 0
    got = bytearray()
    while len(got) < len(data):
        if sent < len(data):
            try:
                sent += a.sendto(client, data[sent:])
            except BlockingIOError:
                pass
        got += b.recv(server)
    assert got == data
    frames = a.dev().stats.tx_packets - frames
    assert frames < len(data) / 1460 / 4  # far fewer frames than segments
    assert a.counted().get("TcpRetransSegs", 0) == 0
    assert a.dev().stats.tx_bytes == b.dev().stats.rx_bytes
    assert lab.log == []


def test_a_connection_keeps_its_neighbour_confirmed(pair: tuple[HostApi, HostApi], lab: Hosts) -> None:
    """Acknowledged data proves that the neighbour is there: nobody needs to ask again (dst_confirm)."""
    a, b = pair
    listener = b.listen("10.0.0.2", 80)
    client = a.tcp()
    sys_connect(a.task, client, ("10.0.0.2", 80))
    server = b.accept(listener)
    frames = lab.record(a.dev())
    for _ in range(200):
        a.sendto(client, b"tick")
        assert b.recv(server) == b"tick"
        b.sendto(server, b"tock")
        assert a.recv(client) == b"tock"
        lab.sleep(1)
    assert [frame for frame in frames if frame[12:14] == b"\x08\x06"] == []


def test_tcp_through_a_flap(pair: tuple[HostApi, HostApi], lab: Hosts) -> None:
    """The peer's end goes down and comes up: the connection goes on."""
    a, b = pair
    listener = b.listen("10.0.0.2", 80)
    client = a.tcp()
    sys_connect(a.task, client, ("10.0.0.2", 80))
    server = b.accept(listener)
    b.call(dev_close, b.dev())
    a.sendto(client, b"lost at first")
    lab.sleep(1)
    b.call(dev_open, b.dev())
    assert b.recv(server) == b"lost at first"
    assert lab.log == []


def test_an_mtu_that_the_peer_does_not_have(pair: tuple[HostApi, HostApi]) -> None:
    a, b = pair
    server = b.bound("10.0.0.2", 53)
    fd = a.socket()
    a.sendto(fd, b"first", ("10.0.0.2", 53))
    a.call(dev_set_mtu, a.dev(), 9000)
    a.sendto(fd, bytes(2000), ("10.0.0.2", 53))
    assert b.recvfrom(server)[0] == b"first"
    fails(errno.EAGAIN, b.recvfrom, server)
    assert (b.dev().stats.rx_dropped, a.dev().stats.tx_dropped) == (1, 1)


def test_the_same_seed_gives_the_same_frames() -> None:
    def run() -> list[bytes]:
        lab = Hosts(seed=5)
        a, b = lab.pair()
        frames = lab.record(a.dev())
        listener = b.listen("10.0.0.2", 80)
        client = a.socket(SOCK_STREAM)
        sys_connect(a.task, client, ("10.0.0.2", 80))
        a.sendto(client, b"hello")
        b.recv(b.accept(listener))
        lab.sleep(60)
        return frames

    assert run() == run()
