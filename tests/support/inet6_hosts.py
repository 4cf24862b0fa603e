"""Hosts that speak IPv6, below the sockets: a namespace each, veth cables between them, packets injected and recorded.

    lab = Lab6()
    a, b = lab.host(), lab.host()
    lab.cable(a, b)
    lab.settle()                      link-local addresses are there after duplicate address detection
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pysock.core.dev import PacketType, dev_add_pack, netif_rx
from pysock.core.device import NetDevice, dev_close, dev_open, register_netdev
from pysock.core.kernel import Kernel
from pysock.core.net import Net
from pysock.core.skb_data import skb_copy_bits, skb_to_bytes
from pysock.core.skbuff import SkBuff, consume_skb
from pysock.families.inet6 import addrconf, icmp6, ip6_output, route
from pysock.families.inet6.addr import ANY6
from pysock.families.inet6.net import Inet6Net
from pysock.uapi.if_ import IFF_NOARP
from pysock.uapi.if_ether import ETH_P_ALL, ETH_P_IPV6
from pysock.wire import icmpv6, ipv6
from pysock.wire.addr import inet6_aton
from support.devices import make, ops_of

T = TypeVar("T")
#: Somebody else on the link of `Ether6`.
PEER_MAC = b"\x02\0\0\0\0\x99"


def a6(text: str) -> bytes:
    return inet6_aton(text)


class Host6:
    """One namespace. What its transports get is in `got` once `listen` was called; echo replies are in `replies`."""

    first = "eth0"

    def __init__(self, lab: Lab6, net: Net) -> None:
        self.lab = lab
        self.kernel = lab.kernel
        self.net = net
        self.inet6 = net.get(Inet6Net)
        self.got: list[bytes] = []
        self.errors: list[tuple[int, int, int]] = []
        self.replies: list[bytes] = []
        self.inet6.echo_reply = lambda skb: self.replies.append(skb_copy_bits(skb, 8, skb.len - 8))

    def call(self, function: Callable[..., T], *args: object, **named: object) -> T:
        self.kernel.enter()
        try:
            return function(*args, **named)
        finally:
            self.kernel.leave()

    def listen(self, protocol: int = 200) -> None:
        def handler(skb: SkBuff) -> None:
            self.got.append(skb_copy_bits(skb, 0, skb.len))
            consume_skb(skb)

        def error(quoted: bytes, offset: int, type: int, code: int, info: int, offender: bytes, dev: NetDevice) -> None:
            self.errors.append((type, code, info))

        self.inet6.protos[protocol] = handler
        self.inet6.errors[protocol] = error

    def dev(self, name: str | None = None) -> NetDevice:
        return self.net.dev_by_name[name or self.first]

    def add(self, text: str, dev: str | None = None, flags: int = addrconf.IFA_F_PERMANENT) -> None:
        host, _, plen = text.partition("/")
        self.call(addrconf.add_address, self.inet6, self.dev(dev), a6(host), int(plen), flags)

    def linklocal(self, dev: str | None = None) -> bytes:
        found = addrconf.link_local_of(self.dev(dev))
        assert found is not None
        return found

    def send(self, daddr: bytes, payload: bytes, protocol: int = 200, oif: int = 0, **options: object) -> int:
        def go() -> int:
            rt = route.output(self.inet6, daddr, ANY6, oif)
            skb = SkBuff(payload, 0, len(payload))
            return ip6_output.send_datagram(self.inet6, rt, protocol, skb, **options)  # type: ignore[arg-type]

        return self.call(go)

    def ping(self, daddr: bytes, data: bytes = b"ping", oif: int = 0) -> None:
        def go() -> int:
            rt = route.output(self.inet6, daddr, ANY6, oif)
            return icmp6.transmit(self.inet6, rt, icmpv6.HEADER.pack(icmpv6.ECHO_REQUEST, 0, 0, 1 << 16 | 1) + data)

        self.call(go)

    def inject(self, packet: bytes | bytearray, dev: NetDevice | None = None, **fields: int) -> None:
        skb = SkBuff(packet, 0, len(packet))
        skb.dev = self.dev() if dev is None else dev
        skb.protocol = ETH_P_IPV6
        for name, value in fields.items():
            setattr(skb, name, value)
        self.call(netif_rx, skb)

    def counted(self) -> dict[str, int]:
        return {name: value for name, value in self.inet6.mibs.snapshot().items() if value}

    def sysctl(self, name: str, value: int) -> None:
        self.call(self.net.sysctl.set, name, value)


class Lab6:
    """The kernel of some hosts; `log` must be empty at the end (see the fixture)."""

    def __init__(self, seed: int = 1) -> None:
        self.log: list[str] = []
        self.kernel = Kernel.boot(
            clock="virtual", seed=seed, entry_points=False, strict=True, log=self.log.append, debug_skb=True
        )
        self._names = 0

    def host(self) -> Host6:
        if not self._names:
            self._names = 1
            return Host6(self, self.kernel.init_net)
        self._names += 1
        self.kernel.enter()
        net = self.kernel.new_net(f"h{self._names}")
        self.kernel.leave()
        return Host6(self, net)

    def cable(self, a: Host6, b: Host6, mtu: int = 1500) -> tuple[NetDevice, NetDevice]:
        one = a.call(self.kernel.dev_layer.create_device, a.net, "veth", "eth%d", peer="eth%d", peer_net=b.net)
        other = next(dev for dev in reversed(b.net.devices) if dev.name.startswith("eth") and dev is not one)
        for host, dev in ((a, one), (b, other)):
            dev.mtu = mtu
            host.call(dev_open, dev)
        return one, other

    def settle(self, seconds: float = 3) -> None:
        """Let time pass."""
        self.kernel.sleep(int(seconds * 1e9))

    def record(self, dev: NetDevice) -> list[bytes]:
        """IPv6 packets that pass ``dev`` in either direction from now on."""
        packets: list[bytes] = []

        def tap(skb: SkBuff, dev: NetDevice) -> None:
            frame = skb_to_bytes(skb)
            if frame[12:14] == b"\x86\xdd":
                packets.append(frame[14:])

        self.kernel.enter()
        dev_add_pack(PacketType(dev.net, ETH_P_ALL, tap, dev))
        self.kernel.leave()
        return packets


class Wire6(Host6):
    """A host with a device "w0" (2001:db8::1/64) without neighbours, whose frames are recorded."""

    first = "w0"

    def __init__(self, lab: Lab6 | None = None, mtu: int = 1500) -> None:
        lab = Lab6() if lab is None else lab
        super().__init__(lab, lab.kernel.init_net)
        self.log = lab.log

        def setup(dev: NetDevice) -> None:
            dev.flags |= IFF_NOARP
            dev.mtu = mtu

        self.w0 = make(self.kernel, "w0", setup=setup)
        register_netdev(self.w0)
        self.sysctl("net.ipv6.conf.w0.accept_ra", 0)
        self.call(dev_open, self.w0)
        self.add("2001:db8::1/64", "w0")
        self.sent()

    def sent(self) -> list[bytes]:
        """The IPv6 packets that left since the last look."""
        self.call(lambda: None)
        frames = [frame[14:] for frame in ops_of(self.w0).sent if frame[12:14] == b"\x86\xdd"]
        ops_of(self.w0).sent.clear()
        return frames


class Ether6(Wire6):
    """The same with neighbours, and so with duplicate address detection; w0 has its link-local address alone."""

    def __init__(self) -> None:
        Wire6.__init__(self)
        self.call(dev_close, self.w0)
        self.w0.flags &= ~IFF_NOARP
        self.call(dev_open, self.w0)
        self.lab.settle()
        self.sent()

    def hears(self, kind: int, target: str, src: bytes, dst: bytes, options: bytes = b"", flags: int = 0) -> None:
        body = icmpv6.build_neighbour(kind, a6(target), flags, options, addresses=(src, dst))
        self.inject(ipv6.build(src, dst, 58, body, hop_limit=255))


def parsed(packet: bytes) -> tuple[ipv6.Ipv6Header, list[ipv6.Extension], int, bytes]:
    """Header, extensions, protocol, payload."""
    header = ipv6.parse(packet)
    extensions, protocol, offset = ipv6.walk(header.next_header, packet, 40)
    return header, extensions, protocol, packet[offset:]
