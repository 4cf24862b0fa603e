"""vlan: tags in and out, the device that follows its lower one, vconfig's ioctls (net/8021q)."""

from __future__ import annotations

import errno
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import boot, frame, ops_of, packet, softirqs, wire
from support.dgram_api import fails
from support.e100 import E100Hosts
from support.hosts import HostApi, Hosts, network

from pysock.core.capability import Credentials
from pysock.core.dev import PacketType, dev_add_pack, netif_rx
from pysock.core.dev_xmit import xmit_slow
from pysock.core.device import (
    NETREG_UNREGISTERED,
    NetDevice,
    dev_change_name,
    dev_change_net,
    dev_close,
    dev_open,
    dev_set_features,
    dev_set_mac_address,
    dev_set_mtu,
    netif_carrier_off,
    netif_carrier_on,
    unregister_netdev,
)
from pysock.core.eth import eth_type_trans
from pysock.core.ifioctl import dev_ioctl
from pysock.core.kernel import Kernel
from pysock.core.netdev_features import (
    NETIF_F_HW_VLAN_CTAG_TX,
    NETIF_F_IP_CSUM,
    NETIF_F_SG,
    NETIF_F_TAKES_ALL,
)
from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import SkBuff, consume_skb, finished_skb
from pysock.core.vlan import VlanGroup
from pysock.drivers.vlan.device import vlan_ops
from pysock.families.inet.devinet import add_address
from pysock.lab.capture import Capture
from pysock.syscalls.socket import sys_connect
from pysock.uapi import if_vlan
from pysock.uapi.if_ import IF_OPER_DOWN, IF_OPER_LOWERLAYERDOWN, IFF_UP
from pysock.uapi.if_ether import ETH_P_8021AD, ETH_P_8021Q, ETH_P_ALL, ETH_P_IP
from pysock.uapi.ioctl import SIOCGIFVLAN, SIOCSIFVLAN
from pysock.wire import ipv4, tcp, vlan
from pysock.wire.checksum import checksum

ETH_P_TEST = 0x88B5
OTHER = b"\x02\0\0\0\0\x09"


def tagged(vid: int, payload: bytes = b"payload", *, pcp: int = 0, outer: int = ETH_P_8021Q, **macs: bytes) -> bytes:
    return frame(vlan.build(pcp, False, vid, ETH_P_TEST, payload), outer, **macs)


def arrive(dev: NetDevice, raw: bytes) -> None:
    skb = SkBuff(raw, 0, len(raw))
    if eth_type_trans(skb, dev):
        netif_rx(skb)
    softirqs(dev.kernel)


def on(real: NetDevice, vid: int, **options: object) -> NetDevice:
    dev = real.kernel.dev_layer.create_device(real.net, "vlan", None, link=real, id=vid, **options)
    dev_open(dev)
    return dev


def listen(kernel: Kernel, ethertype: int = ETH_P_TEST) -> list[tuple[str, bytes, int]]:
    """What the protocol of the tests is given: device, payload, priority."""
    got: list[tuple[str, bytes, int]] = []

    def handler(skb: SkBuff) -> None:
        assert skb.dev is not None
        assert skb.vlan_tci is None
        got.append((skb.dev.name, bytes(skb_to_bytes(skb)[14:]), skb.priority))
        consume_skb(skb)

    dev_add_pack(PacketType(kernel.init_net, ethertype, handler))
    return got


@pytest.fixture
def kernel() -> Kernel:
    return boot()


# --- out --------------------------------------------------------------------------------------------------------------


def test_the_tag_goes_into_the_frame(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    dev = on(real, 5)
    assert dev.name == "eth0.5"
    dev.queue_xmit(packet(dev))
    assert ops_of(real).sent == [tagged(5)]
    assert (dev.stats.tx_packets, real.stats.tx_bytes) == (1, len(tagged(5)))


def test_a_device_that_inserts_tags_gets_it_beside_the_frame(kernel: Kernel) -> None:
    real = wire(kernel, "eth0", features=NETIF_F_TAKES_ALL | NETIF_F_HW_VLAN_CTAG_TX)
    dev = on(real, 5)
    dev.queue_xmit(packet(dev))
    assert ops_of(real).sent == [frame()]
    assert ops_of(real).skbs[0].vlan_tci == 5


def test_egress_priorities(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    dev = on(real, 5)
    ops = vlan_ops(dev)
    assert ops is not None
    ops.egress[6] = 7 << 13
    skb = packet(dev)
    skb.priority = 6
    dev.queue_xmit(skb)
    assert ops_of(real).sent == [tagged(5, pcp=7)]


@pytest.mark.parametrize("outer", [ETH_P_8021Q, ETH_P_8021AD])
def test_a_vlan_in_a_vlan(kernel: Kernel, outer: int) -> None:
    real = wire(kernel, "eth0")
    service = on(real, 100, protocol=outer)
    dev = on(service, 5)
    got = listen(kernel)
    dev.queue_xmit(packet(dev))
    inner = vlan.build(0, False, 5, ETH_P_TEST, b"payload")
    both = frame(vlan.build(0, False, 100, ETH_P_8021Q, inner), outer)
    assert ops_of(real).sent == [both]
    arrive(real, both)
    assert got == [(dev.name, b"payload", 0)]
    assert dev.name == "eth0.100.5"


def test_a_runt_is_dropped_and_counted(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    dev = on(real, 5)
    skb = SkBuff(b"short", 0, 5)
    skb.dev = dev
    dev.queue_xmit(skb)
    assert (ops_of(real).sent, dev.stats.tx_dropped) == ([], 1)


def test_a_super_segment_is_cut_before_each_part_gets_the_tag(kernel: Kernel) -> None:
    real = wire(kernel, "eth0", features=NETIF_F_SG | NETIF_F_IP_CSUM)
    body = tcp.build(1, 2)
    head = frame(ipv4.build(bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), 6, body), ETH_P_IP)
    skb = finished_skb(head, 14, 34, 2500, (bytes(2500),), ETH_P_IP, real, tcp.CHECKSUM_OFFSET, 1000)
    skb.vlan_tci = 5
    xmit_slow(real, skb)
    sent = ops_of(real).sent
    assert [len(raw) for raw in sent] == [1058, 1058, 558]
    for raw in sent:
        assert vlan.parse(raw, 14).vid == 5
        packet = ipv4.parse(raw, 18)
        assert packet.total_length == len(raw) - 18
        assert checksum(pseudo(raw[30:34], raw[34:38], len(raw) - 38) + raw[38:]) == 0  # TCP's, finished


def pseudo(src: bytes, dst: bytes, length: int) -> bytes:
    return src + dst + b"\0\6" + length.to_bytes(2, "big")


# --- in ---------------------------------------------------------------------------------------------------------------


def test_in(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    five, six = on(real, 5), on(real, 6)
    got = listen(kernel)
    ops = vlan_ops(six)
    assert ops is not None
    ops.ingress[3] = 40
    arrive(real, tagged(5))
    arrive(real, tagged(6, pcp=3))
    arrive(real, frame())
    assert got == [("eth0.5", b"payload", 0), ("eth0.6", b"payload", 40), ("eth0", b"payload", 0)]
    assert (five.stats.rx_packets, six.stats.rx_bytes, real.stats.rx_packets) == (1, len(frame()), 3)


def test_a_tag_that_hardware_took_out(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    on(real, 5)
    got = listen(kernel)
    for vid in (5, 6):
        raw = frame()
        skb = SkBuff(raw, 0, len(raw))
        eth_type_trans(skb, real)
        skb.vlan_tci = vid
        netif_rx(skb)
        softirqs(kernel)
    assert got == [("eth0.5", b"payload", 0)]
    assert real.stats.rx_otherhost_dropped == 1


@pytest.mark.parametrize("vlans", [True, False])
def test_an_unknown_vlan_is_counted_and_a_priority_tag_is_no_vlan(kernel: Kernel, vlans: bool) -> None:
    real = wire(kernel, "eth0")
    if vlans:
        on(real, 5)
    got = listen(kernel)
    arrive(real, tagged(7))
    assert (got, real.stats.rx_otherhost_dropped) == ([], 1)
    arrive(real, tagged(0, pcp=5))
    assert got == [("eth0", b"payload", 0)]


def test_a_priority_tag_around_a_vlan(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    on(real, 5)
    got = listen(kernel)
    arrive(real, frame(vlan.build(1, False, 0, ETH_P_8021Q, vlan.build(0, False, 5, ETH_P_TEST, b"x")), ETH_P_8021Q))
    assert got == [("eth0.5", b"x", 0)]


def test_a_packet_handler_of_tags_gets_what_no_vlan_takes(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    on(real, 5)
    got: list[bytes] = []
    dev_add_pack(PacketType(kernel.init_net, ETH_P_8021Q, lambda skb: got.append(skb_to_bytes(skb))))
    arrive(real, tagged(7))
    assert got == [tagged(7)]


def test_a_vlan_that_is_down_receives_nothing(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    dev = on(real, 5)
    got = listen(kernel)
    dev_close(dev)
    arrive(real, tagged(5))
    assert (got, dev.stats.rx_dropped) == ([], 1)


def test_an_address_of_its_own(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    dev = on(real, 5)
    dev_set_mac_address(dev, OTHER)
    assert real.uc == {OTHER: 1}
    kinds: list[int] = []
    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, lambda skb: kinds.append(skb.pkt_type)))
    arrive(real, tagged(5, dst=OTHER))
    assert kinds == [0]
    dev_close(dev)
    assert real.uc == {}


@given(body=st.binary(max_size=40), ethertype=st.sampled_from([ETH_P_8021Q, ETH_P_8021AD]), vlans=st.booleans())
def test_no_frame_raises(body: bytes, ethertype: int, vlans: bool) -> None:
    """Whatever stands behind the EtherType of a tag is delivered or counted, exactly once."""
    kernel = boot()
    real = wire(kernel, "eth0")
    uppers = [on(real, vid) for vid in (1, 2)] if vlans else []
    arrive(real, frame(body, ethertype))
    total = 0
    for dev in (real, *uppers):
        stats = dev.stats
        total += stats.rx_errors + stats.rx_otherhost_dropped + stats.rx_nohandler
        assert stats.rx_dropped == 0  # where what a handler raised would be counted
    assert total == 1


@given(st.binary(min_size=4, max_size=60), st.integers(0, 7), st.integers(1, 4094))
def test_what_goes_out_comes_in(payload: bytes, pcp: int, vid: int) -> None:
    kernel = boot()
    real = wire(kernel, "eth0")
    dev = on(real, vid)
    ops = vlan_ops(dev)
    assert ops is not None
    ops.egress[1] = pcp << 13
    got = listen(kernel)
    skb = packet(dev, payload)
    skb.priority = 1
    dev.queue_xmit(skb)
    raw = ops_of(real).sent[0]
    assert vlan.parse(raw, 14).pcp == pcp
    arrive(real, raw)
    assert got == [(dev.name, payload, 0)]


def test_programs_may_see_and_send_tags(kernel: Kernel) -> None:
    """VLAN_FLAG_REORDER_HDR off."""
    real = wire(kernel, "eth0")
    dev = on(real, 5, reorder_hdr=False, ingress_qos_map={3: 7})
    got: list[tuple[str, bytes, int]] = []

    def tap(skb: SkBuff, at: NetDevice) -> None:
        got.append((at.name, skb_to_bytes(skb), skb.protocol))

    dev_add_pack(PacketType(kernel.init_net, ETH_P_ALL, tap, dev))
    handled: list[tuple[bytes, int]] = []

    def handler(skb: SkBuff) -> None:
        handled.append((bytes(skb.head[skb.data :]), skb.priority))

    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, handler))
    raw = tagged(5, pcp=3)
    arrive(real, raw)
    assert got == [("eth0.5", raw, ETH_P_TEST)]
    assert handled == [(b"payload", 7)]
    dev.queue_xmit(packet(dev))
    mine = tagged(5, b"my own tag", pcp=6)
    skb = SkBuff(mine, 0, len(mine))
    skb.dev = dev
    dev.queue_xmit(skb)
    assert ops_of(real).sent == [tagged(5), mine]
    ops = vlan_ops(dev)
    assert ops is not None
    ops.change_flags(if_vlan.VLAN_FLAG_REORDER_HDR, if_vlan.VLAN_FLAG_REORDER_HDR)
    got.clear()
    arrive(real, raw)
    assert got == [("eth0.5", frame(), ETH_P_TEST)]


def test_proc_shows_each_vlan(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    dev = on(real, 5, ingress_qos_map={1: 4}, egress_qos_map={6: 2, 0: 1})
    arrive(real, tagged(5))
    text = kernel.init_net.proc["net/vlan/eth0.5"]()
    assert text == (
        "eth0.5  VID: 5\t REORDER_HDR: 1  dev->priv_flags: 1\n"
        "         total frames received            1\n"
        "          total bytes received           21\n"
        "      Broadcast/Multicast Rcvd            0\n"
        "\n"
        "      total frames transmitted            0\n"
        "       total bytes transmitted            0\n"
        "Device: eth0\n"
        "INGRESS priority mappings: 0:0  1:4  2:0  3:0  4:0  5:0  6:0 7:0\n"
        " EGRESS priority mappings: 6:2 0:1 \n"
    )
    dev_change_name(dev, "office")
    assert "net/vlan/eth0.5" not in kernel.init_net.proc
    unregister_netdev(dev)
    assert "net/vlan/office" not in kernel.init_net.proc


@pytest.mark.parametrize("options", [{"ingress_qos_map": {8: 1}}, {"egress_qos_map": {1: 8}}, {"egress_qos_map": 3}])
def test_refused_maps(kernel: Kernel, options: dict[str, object]) -> None:
    fails(errno.EINVAL, partial(on, wire(kernel, "eth0"), 5, **options))


# --- it follows its lower device --------------------------------------------------------------------------------------


def test_carrier_up_and_down(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    dev = on(real, 5)
    assert dev.carrier
    netif_carrier_off(real)
    assert (dev.carrier, dev.operstate, real.operstate) == (False, IF_OPER_LOWERLAYERDOWN, IF_OPER_DOWN)
    netif_carrier_on(real)
    assert dev.carrier
    dev_close(real)
    assert (dev.flags & IFF_UP, dev.carrier) == (0, False)
    fails(errno.ENETDOWN, dev_open, dev)
    dev_open(real)
    assert dev.flags & IFF_UP
    assert dev.carrier


def test_loose_binding(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    dev = on(real, 5, loose_binding=True)
    dev_close(real)
    assert dev.flags & IFF_UP
    assert not dev.carrier


def test_mtu(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    dev = on(real, 5)
    fails(errno.ERANGE, dev_set_mtu, dev, 1501)
    dev_set_mtu(real, 1000)
    assert dev.mtu == 1000
    dev_set_mtu(real, 1400)
    assert dev.mtu == 1000


def test_address_until_it_has_its_own(kernel: Kernel) -> None:
    real = wire(kernel, "eth0", setup=lambda dev: setattr(dev, "live_addr_change", True))
    dev = on(real, 5)
    assert dev.dev_addr == real.dev_addr
    dev_set_mac_address(real, OTHER)
    assert dev.dev_addr == OTHER
    dev_set_mac_address(dev, b"\x02\0\0\0\0\x08")
    dev_set_mac_address(real, b"\x02\0\0\0\0\x07")
    assert dev.dev_addr == b"\x02\0\0\0\0\x08"


def test_it_goes_with_its_lower_device(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    service = on(real, 5)
    dev = on(service, 6)
    assert (real.uppers, dev.lowers, dev.link) == ((service,), (service,), service.ifindex)
    raw = tagged(5)
    skb = SkBuff(raw, 0, len(raw))
    eth_type_trans(skb, real)
    netif_rx(skb)  # in flight
    unregister_netdev(real)
    softirqs(kernel)
    assert dev.reg_state == service.reg_state == NETREG_UNREGISTERED
    assert [one.name for one in kernel.init_net.devices] == ["lo"]
    assert (real.vlan_group, real.uppers, real.rx_slow) == (None, (), False)


def test_the_lower_device_in_another_namespace(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    dev = on(real, 5)
    got = listen(kernel)
    kernel.enter()
    other = kernel.new_net("other")
    kernel.leave()
    dev_change_net(real, other)
    assert dev.net is kernel.init_net
    dev_open(real)
    arrive(real, tagged(5))
    assert got == [("eth0.5", b"payload", 0)]
    dev.queue_xmit(packet(dev))
    assert ops_of(real).sent == [tagged(5)]


def test_refusals(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    lo = kernel.init_net.dev_by_name["lo"]
    on(real, 5)

    def refused(number: int, link: object, vid: int, **options: object) -> None:
        create = partial(kernel.dev_layer.create_device, kernel.init_net, "vlan", "again", link=link, id=vid, **options)
        fails(number, create)

    refused(errno.EEXIST, real, 5)
    refused(errno.ERANGE, real, 4095)
    refused(errno.EOPNOTSUPP, lo, 5)
    refused(errno.EPROTONOSUPPORT, real, 7, protocol=0x0800)
    refused(errno.EINVAL, "eth0", 7)
    deep = real
    with pytest.raises(OSError) as caught:
        for number in range(9):
            deep = on(deep, 1)
            dev_change_name(deep, f"x{number}")
    assert caught.value.errno == errno.EMLINK
    assert isinstance(real.vlan_group, VlanGroup)


# --- vconfig ----------------------------------------------------------------------------------------------------------


def vconfig(kernel: Kernel, cmd: int, device: str = "", number: int = 0, qos: int = 0, nr: int = SIOCSIFVLAN) -> bytes:
    arg = if_vlan.pack_vlan_args(cmd, device, number, qos)
    answer = dev_ioctl(kernel.init_net, Credentials(), nr, arg)
    assert len(answer) == len(arg)
    union: bytes = if_vlan.VLAN_IOCTL_ARGS.unpack(answer)[2]
    return union


def test_vconfig(kernel: Kernel) -> None:
    real = wire(kernel, "eth0")
    vconfig(kernel, if_vlan.ADD_VLAN_CMD, "eth0", 5)
    dev = kernel.init_net.dev_by_name["eth0.5"]
    text = kernel.init_net.proc["net/vlan/config"]()
    assert text.splitlines()[1:] == ["Name-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD", "eth0.5         | 5  | eth0"]
    union = vconfig(kernel, if_vlan.GET_VLAN_REALDEV_NAME_CMD, "eth0.5", nr=SIOCGIFVLAN)
    assert union.rstrip(b"\0") == b"eth0"
    assert vconfig(kernel, if_vlan.GET_VLAN_VID_CMD, "eth0.5")[:4] == b"\5\0\0\0"
    vconfig(kernel, if_vlan.SET_VLAN_INGRESS_PRIORITY_CMD, "eth0.5", 9, 3)
    vconfig(kernel, if_vlan.SET_VLAN_EGRESS_PRIORITY_CMD, "eth0.5", 0, 2)
    ops = vlan_ops(dev)
    assert ops is not None
    assert (ops.ingress[3], ops.egress) == (9, {0: 2 << 13})
    vconfig(kernel, if_vlan.SET_VLAN_FLAG_CMD, "eth0.5", if_vlan.VLAN_FLAG_LOOSE_BINDING, 1)
    assert ops.flags & if_vlan.VLAN_FLAG_LOOSE_BINDING
    vconfig(kernel, if_vlan.DEL_VLAN_CMD, "eth0.5")
    assert dev.reg_state == NETREG_UNREGISTERED
    assert real.vlan_group is None


@pytest.mark.parametrize(("kind", "name"), [(0, "vlan0005"), (1, "eth0.0005"), (2, "vlan5"), (3, "eth0.5")])
def test_name_types(kernel: Kernel, kind: int, name: str) -> None:
    wire(kernel, "eth0")
    vconfig(kernel, if_vlan.SET_VLAN_NAME_TYPE_CMD, "", kind)
    vconfig(kernel, if_vlan.ADD_VLAN_CMD, "eth0", 5)
    assert name in kernel.init_net.dev_by_name


def test_vconfig_refusals(kernel: Kernel) -> None:
    wire(kernel, "eth0")
    fails(errno.ENODEV, vconfig, kernel, if_vlan.ADD_VLAN_CMD, "eth9", 5)
    fails(errno.EINVAL, vconfig, kernel, if_vlan.DEL_VLAN_CMD, "eth0")
    fails(errno.EINVAL, vconfig, kernel, if_vlan.SET_VLAN_NAME_TYPE_CMD, "", 4)
    fails(errno.ERANGE, vconfig, kernel, if_vlan.ADD_VLAN_CMD, "eth0", 4095)
    fails(errno.EOPNOTSUPP, vconfig, kernel, if_vlan.GET_VLAN_INGRESS_PRIORITY_CMD, "eth0")
    fails(errno.EFAULT, dev_ioctl, kernel.init_net, Credentials(), SIOCSIFVLAN, bytes(20))
    nobody = Credentials(caps=0)
    arg = if_vlan.pack_vlan_args(if_vlan.ADD_VLAN_CMD, "eth0", 5)
    fails(errno.EPERM, dev_ioctl, kernel.init_net, nobody, SIOCSIFVLAN, arg)


# --- two hosts --------------------------------------------------------------------------------------------------------


@pytest.fixture
def lab() -> Hosts:
    return Hosts()


def vlan_on(host: HostApi, addr: str, vid: int = 7) -> NetDevice:
    dev = host.call(host.kernel.dev_layer.create_device, host.net, "vlan", None, link=host.dev(), id=vid)
    host.call(dev_open, dev)
    host.call(add_address, host.inet, dev, *network(addr))
    return dev


def talk(a: HostApi, b: HostApi, size: int) -> None:
    listener = b.listen("10.7.0.2", 80)
    client = a.tcp()
    sys_connect(a.task, client, ("10.7.0.2", 80))
    server = b.accept(listener)
    data = bytes(range(256)) * (size // 256)
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


def test_tcp_over_a_vlan_sends_super_segments(lab: Hosts) -> None:
    a, b = lab.pair()
    one, other = vlan_on(a, "10.7.0.1/24"), vlan_on(b, "10.7.0.2/24")
    talk(a, b, 1 << 20)
    assert one.stats.tx_packets < (1 << 20) / 1460 / 4
    assert other.stats.rx_packets == one.stats.tx_packets
    assert a.counted().get("TcpRetransSegs", 0) == 0
    assert lab.log == []


def test_the_wire_has_tags_and_tshark_likes_them(lab: Hosts, tmp_path: Path) -> None:
    a, b = lab.pair()
    dev = vlan_on(a, "10.7.0.1/24")
    vlan_on(b, "10.7.0.2/24")
    frames = lab.record(a.dev())
    path = tmp_path / "vlan.pcapng"
    with Capture(a.net, path, devices=[a.dev()]):
        talk(a, b, 64 << 10)
    assert frames
    assert all(vlan.parse(raw, 14).vid == 7 for raw in frames if raw[12:14] == b"\x81\x00")
    assert any(raw[12:14] == b"\x81\x00" for raw in frames)
    assert dev.stats.tx_packets
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("no tshark on this machine")
    command = [tshark, "-r", str(path), "-Y", "_ws.malformed or tcp.checksum.status == 0 or ip.checksum.status == 0"]
    run = subprocess.run([*command, "-o", "tcp.check_checksum:TRUE"], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    command = [tshark, "-r", str(path), "-Y", "vlan.id == 7 and tcp.len > 0"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(run.stdout.splitlines()) > 40  # cut at the MSS, as a wire would carry them


def test_tcp_over_a_device_that_cuts_nothing(lab: Hosts) -> None:
    a, b = lab.pair()
    one = vlan_on(a, "10.7.0.1/24")
    vlan_on(b, "10.7.0.2/24")
    a.call(dev_set_features, a.dev(), 0)
    assert one.features & NETIF_F_TAKES_ALL == 0
    talk(a, b, 256 << 10)
    assert one.stats.tx_packets > (256 << 10) // 1460
    assert (a.counted().get("TcpRetransSegs", 0), lab.log) == (0, [])


def test_tcp_over_a_vlan_of_a_simulated_card() -> None:
    """Frames of 1518 bytes, and the tag added by us: the e100 knows no VLANs."""
    lab = E100Hosts()
    a, b = lab.two()
    one, other = vlan_on(a, "10.7.0.1/24"), vlan_on(b, "10.7.0.2/24")
    talk(a, b, 64 << 10)
    assert (one.mtu, other.stats.rx_packets) == (1500, one.stats.tx_packets)
    assert (a.counted().get("TcpRetransSegs", 0), lab.log) == (0, [])


def test_a_tap_of_the_vlan_device_sees_no_tag(lab: Hosts) -> None:
    a, b = lab.pair()
    dev = vlan_on(a, "10.7.0.1/24")
    vlan_on(b, "10.7.0.2/24")
    frames = lab.record(dev)
    server = b.bound("10.7.0.2", 53)
    client = a.socket()
    a.sendto(client, b"question", ("10.7.0.2", 53))
    assert b.recvfrom(server)[0] == b"question"
    assert {raw[12:14] for raw in frames} == {b"\x08\x06", b"\x08\x00"}
