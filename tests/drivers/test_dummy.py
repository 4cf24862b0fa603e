"""The dummy device takes everything and gives nothing back."""

from __future__ import annotations

from support.devices import boot, packet, softirqs

from pysock.core.device import dev_open, dev_set_mac_address, dev_set_mtu
from pysock.core.eth import is_valid_ether_addr
from pysock.core.skbuff import SkBuff
from pysock.uapi.if_ import ARPHRD_ETHER, IFF_BROADCAST, IFF_MULTICAST, IFF_NOARP


def test_what_it_is() -> None:
    kernel = boot()
    first, second = (kernel.dev_layer.create_device(kernel.init_net, "dummy") for _ in range(2))
    assert (first.name, second.name) == ("dummy0", "dummy1")
    assert first.type == ARPHRD_ETHER
    assert first.flags & (IFF_BROADCAST | IFF_NOARP | IFF_MULTICAST) == IFF_BROADCAST | IFF_NOARP
    assert is_valid_ether_addr(first.dev_addr)
    assert first.dev_addr != second.dev_addr
    dev_set_mtu(first, 9000)


def test_addresses_come_from_the_seed() -> None:
    first, second = boot(), boot()
    addresses = {kernel.dev_layer.create_device(kernel.init_net, "dummy").dev_addr for kernel in (first, second)}
    assert len(addresses) == 1
    assert first.dev_layer.create_device(first.init_net, "dummy").dev_addr not in addresses  # drawn, not constant


def test_it_swallows() -> None:
    kernel = boot()
    dev = kernel.dev_layer.create_device(kernel.init_net, "dummy")
    dev_open(dev)
    dev_set_mac_address(dev, b"\2\0\0\0\0\7")  # allowed while it is up
    freed: list[SkBuff] = []
    skb = packet(dev)
    skb.destructor = freed.append
    assert dev.queue_xmit(skb) == 0
    assert freed == [skb]
    softirqs(kernel)
    stats = dev.get_stats()
    assert (stats.tx_packets, stats.tx_bytes, stats.rx_packets) == (1, 21, 0)
