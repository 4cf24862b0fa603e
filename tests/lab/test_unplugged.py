"""A device that is pulled out with everything in flight: unregistering drains and returns, and a count shows that
nothing is left of it.
"""

from __future__ import annotations

import socket

import pytest
from support.census import census, growth

import pysock
from pysock.core.device import NETREG_UNREGISTERED, unregister_netdev
from pysock.lab.network import Network


class Busy:
    """Two hosts on a slow cable, with all that can be on its way: data of both versions of IP that nobody has
    acknowledged, a handshake, packets that wait for ARP and neighbour discovery, half a datagram, a group.
    """

    def __init__(self, net: Network, a: pysock.Host, b: pysock.Host) -> None:
        self.net = net
        link = self.link = net.link(a, b, delay="50ms")
        self.socks: list[socket.socket] = []
        for address in (b.address, b.address6):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            server = self.made(b.run(pysock.create_server, (address, 80), family=family))
            client = self.made(a.run(pysock.create_connection, (address, 80)))
            peer = self.made(server.accept()[0])
            started = self.made(a.run(pysock.socket, family))
            started.setblocking(False)
            assert started.connect_ex((address, 80))
            for sock in (client, peer):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.setblocking(False)
                assert sock.send(bytes(100_000)) > 10_000
        four, six = (self.made(a.run(pysock.socket, f, socket.SOCK_DGRAM)) for f in (socket.AF_INET, socket.AF_INET6))
        four.sendto(b"who?", ("10.0.0.77", 7))
        six.sendto(b"who?", ("fd00::77", 7))
        for sock, address in ((four, b.address), (six, b.address6)):
            sock.connect((address, 9))
            link.drop(lambda packet: b"end of it" in packet.frame, times=1)
            sock.send(bytes(2000) + b"end of it")
        membership = socket.inet_aton("239.1.2.3") + socket.inet_aton(a.address)
        four.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        link.flap(down="20ms", up="70ms", times=30)
        net.sleep("75ms")

    def made(self, sock: socket.socket) -> socket.socket:
        self.socks.append(sock)
        return sock

    def forget(self) -> None:
        """Close what is open, let time pass, and take the cable from the books."""
        for sock in self.socks:
            sock.close()
        self.socks.clear()
        self.net.sleep(5000)
        for end in self.link.ends:
            assert isinstance(end.owner, pysock.Host)
            end.owner.ends.clear()
        self.net.links.clear()
        del self.link


@pytest.mark.parametrize("end", [0, 1])
def test_a_device_goes_with_everything_in_flight(end: int) -> None:
    net = Network(seed=1)
    a, b = net.hosts("a", "b")
    kernel = net.kernel
    before = census()
    busy = Busy(net, a, b)
    assert census()["SkBuff"] > before["SkBuff"]
    assert len(kernel.timers) > 5
    devices = [one.dev for one in busy.link.ends]
    kernel.enter()
    unregister_netdev(devices[end])
    kernel.leave()
    for dev in devices:
        assert dev.reg_state == NETREG_UNREGISTERED
        assert (dev.uc, dev.mc, dev.qdisc, dev.proto_priv) == ({}, {}, None, {})
    del dev, devices
    for sock in busy.socks:  # they know nothing yet, or get told: nothing hangs, nothing raises but OSError
        sock.setblocking(False)
        with pytest.raises(OSError, match=r"."):
            while sock.send(bytes(100_000)):
                pass
    net.sleep(1)
    busy.forget()
    del busy, sock
    assert [str(record) for record in kernel.errors.records()] == []
    assert [dev.name for host in (a, b) for dev in host.net.devices] == ["lo", "lo"]
    assert not kernel.advance()  # no timer runs
    assert growth(before) == {}
