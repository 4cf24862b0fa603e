"""A driver that raises, wherever it is called, while programs use its device: they are told or lose packets, the others
notice nothing, the error is reported under the driver's name, and a count shows that nothing is left.
"""

from __future__ import annotations

import errno
import socket

import pytest
from support.census import census, growth
from support.devices import WireOps, frame

import pysock
from pysock.core.dev import netif_rx
from pysock.core.device import NetDevice, dev_open, dev_set_mtu, netif_napi_add, unregister_netdev
from pysock.core.device_ops import Driver
from pysock.core.eth import eth_type_trans, ether_setup
from pysock.core.kernel import Kernel
from pysock.core.net import Net
from pysock.core.skbuff import SkBuff
from pysock.families.inet import devinet
from pysock.families.inet.net import InetNet
from pysock.lab.network import Network

MAC = b"\x02\0\0\0\0\x01"


class BrokenDriver(Driver):
    """Raises in the operation ``where``; "create" and "setup" are its own."""

    name = "broken"
    device_name = "eth0"

    def __init__(self, where: str) -> None:
        self.where = where

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        if self.where == "create":
            raise LookupError("no such card")
        return super().create(kernel, net, name, **options)

    def setup(self, dev: NetDevice) -> None:
        if self.where == "setup":
            raise LookupError("EEPROM corrupt")
        ether_setup(dev)
        dev.dev_addr = MAC
        dev.tx_queue_len = 100
        dev.watchdog_timeo = 1_000_000_000
        ops = dev.netdev_ops = WireOps()
        ops.raises[self.where] = ZeroDivisionError("bug")


def use(net: Network, host: pysock.Host, where: str) -> None:
    """Make the device, and have it send, receive, poll and change."""
    kernel = net.kernel
    kernel.enter()
    try:
        dev = kernel.dev_layer.create_device(host.net, "broken")
        dev_open(dev)
        devinet.add_address(host.net.get(InetNet), dev, b"\x0a\x09\0\x01", 24)

        def poll(budget: int) -> int:
            if where == "poll":
                raise ZeroDivisionError("ring corrupt")
            napi.complete_done(0)
            return 0

        napi = netif_napi_add(dev, poll)
        napi.schedule()
        skb = SkBuff(frame(b"x" * 50, 0x0800, dst=MAC), 0, 64)
        eth_type_trans(skb, dev)
        netif_rx(skb)
    finally:
        kernel.leave()
    with host.run(pysock.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x" * 5000, ("10.9.0.2", 7))
    with host.run(pysock.socket, socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        with pytest.raises(OSError, match=r"No route|timed out"):
            sock.connect(("10.9.0.2", 80))
    kernel.enter()
    try:
        dev_set_mtu(dev, 1000)
    finally:
        unregister_netdev(dev)
        kernel.leave()


def talk_to_itself(host: pysock.Host) -> None:
    with (
        host.run(pysock.create_server, ("127.0.0.1", 80)) as server,
        host.run(pysock.create_connection, ("127.0.0.1", 80)) as client,
        server.accept()[0] as peer,
    ):
        client.sendall(b"the others notice nothing")
        assert peer.recv(100) == b"the others notice nothing"


PLACES = ("create", "setup", "init", "open", "set_rx_mode", "start_xmit", "poll", "change_mtu", "stop", "uninit")


@pytest.mark.parametrize("where", PLACES)
def test_it_costs_its_own_packets_and_nothing_is_left(where: str) -> None:
    net = Network(seed=1)
    host = net.host("h")
    talk_to_itself(host)
    net.sleep(1000)
    before = census()
    register, rollback = net.kernel.dev_layer.driver_registrar("pysock-broken")
    register(BrokenDriver(where))
    refused = where in ("create", "setup", "init", "open", "change_mtu")
    if refused:
        with pytest.raises(OSError, match=r".") as caught:
            use(net, host, where)
        assert caught.value.errno == errno.EIO
        del caught
    else:
        use(net, host, where)
    assert net.kernel.errors.count("pysock-broken") >= 1
    assert {record.owner for record in net.kernel.errors.records()} == {"pysock-broken"}
    talk_to_itself(host)
    while len(host.net.devices) > 1:
        unregister_netdev(host.net.devices[1])
    net.sleep(1000)
    assert not net.kernel.advance()
    rollback()
    assert growth(before) == {}
