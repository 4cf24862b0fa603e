"""The cable of a matrix test: two hosts, what is between them, and the proof that the packets went there.

The counters are those of whoever is below pysock's own device: the other veth, the silicon of the e100 (dumped to DMA
memory by a command to its control unit), the real kernel's count of its TAP devices.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar

from pysock.core.netdevice import NetDevice
from pysock.drivers.e100.driver import nic_of
from pysock.drivers.e100.driver_nic import E100Nic
from pysock.lab.host import Host
from pysock.lab.tapcables import TapMedium
from pysock.testing.session import Session

T = TypeVar("T")
DEVICE = {"loopback": "veth", "tap": "tap", "e100": "e100"}


class Lan:
    """``here`` is the test's own host, ``peer`` the other, ``link`` what is between them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.driver: str = session.settings.driver
        self.here, self.peer = session.host, session.peer
        (self.link,) = self.peer.links
        devices = [end.dev for end in self.link.ends]
        assert [dev.driver.name for dev in devices] == [DEVICE[self.driver]] * 2  # type: ignore[union-attr]
        self.dev, self.far = devices
        self._real: dict[str, tuple[int, int]] = {}

    @property
    def virtual(self) -> bool:
        return self.session.clock.virtual

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Do something inside the kernel."""
        kernel = self.session.kernel
        kernel.enter()
        try:
            return function(*args)
        finally:
            kernel.leave()

    def crossed(self) -> tuple[int, int]:
        """What went from here to the peer, and what came back, so far: frames on an e100, otherwise bytes."""
        if self.driver == "e100":
            sent, received = silicon(self, self.dev), silicon(self, self.far)
            return min(sent["tx_good"], received["rx_good"]), min(received["tx_good"], sent["rx_good"])
        if self.driver == "tap":
            medium = self.link.medium
            assert isinstance(medium, TapMedium) and medium.room is not None
            self._real.update(medium.room.counters())  # that of a device which is gone stays
            return self._real["tap0a"][0], self._real["tap0b"][0]
        return self.far.stats.rx_bytes, self.dev.stats.rx_bytes

    def listen(self, family: int = socket.AF_INET, port: int = 80, backlog: int = 64) -> socket.socket:
        """A listening socket on the peer."""
        with self.peer:
            return socket.create_server((self.address(family), port), family=family, backlog=backlog)

    def datagrams(self, family: int = socket.AF_INET, port: int = 7) -> socket.socket:
        """A bound UDP socket on the peer."""
        with self.peer:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((self.address(family), port))
        return sock

    def address(self, family: int = socket.AF_INET, host: Host | None = None) -> str:
        """Where ``host`` is, by default the peer."""
        host = host or self.peer
        return host.address6 if family == socket.AF_INET6 else host.address

    def exchange(self) -> None:
        """A datagram there and another one back."""
        with self.datagrams(port=4000) as server, socket.socket(type=socket.SOCK_DGRAM) as sock:
            for end in (server, sock):
                end.settimeout(30)
            sock.sendto(b"ping", (self.peer.address, 4000))
            data, address = server.recvfrom(10)
            server.sendto(data[::-1], address)
            assert sock.recv(10) == b"gnip"

    def pair(self, family: int = socket.AF_INET, port: int = 80) -> tuple[socket.socket, socket.socket]:
        """A connection: our end and the peer's."""
        with self.listen(family, port) as server:
            ours = socket.create_connection((self.address(family), port))
            theirs, _ = server.accept()
        return ours, theirs


def silicon(lan: Lan, dev: NetDevice) -> dict[str, int]:
    """What the chip of an e100 device counted, by regs.STAT_NAMES."""
    nic: E100Nic = nic_of(dev)
    lan.call(nic.harvest)
    return dict(nic.hard)
