"""Ethernet headers and addresses of devices."""

from __future__ import annotations

import random

import pytest
from support.devices import ETH_P_TEST, MAC, PEER, boot, frame, wire

from pysock.core.eth import ETH_HEADER_OPS, eth_random_addr, eth_type_trans, is_valid_ether_addr
from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import SkBuff
from pysock.uapi.if_ import IFF_NOARP


def test_a_header_from_the_device_to_somebody() -> None:
    dev = wire(boot())
    assert ETH_HEADER_OPS.build(dev, ETH_P_TEST, PEER, None) == frame(b"")
    assert ETH_HEADER_OPS.build(dev, ETH_P_TEST, MAC, PEER) == frame(b"", dst=MAC, src=PEER)
    skb = SkBuff(b"payload", 0, 7)
    assert ETH_HEADER_OPS.create(skb, dev, ETH_P_TEST, PEER, None) == 14
    assert skb_to_bytes(skb) == frame()


def test_a_header_to_nobody_yet() -> None:
    kernel = boot()
    dev = wire(kernel)
    skb = SkBuff(b"payload", 0, 7)
    assert ETH_HEADER_OPS.create(skb, dev, ETH_P_TEST, None, None) == -14
    assert skb_to_bytes(skb) == b"payload"
    lo = kernel.init_net.loopback_dev
    assert lo is not None
    assert ETH_HEADER_OPS.build(lo, ETH_P_TEST, None, None) == bytes(12) + b"\x88\xb5"
    dev.flags |= IFF_NOARP
    assert ETH_HEADER_OPS.build(dev, ETH_P_TEST, None, None) == bytes(6) + MAC + b"\x88\xb5"


def test_who_sent_it() -> None:
    data = frame(src=PEER, dst=MAC)
    skb = SkBuff(data, 0, len(data))
    assert ETH_HEADER_OPS.parse(skb) == b""
    assert eth_type_trans(skb, wire(boot()))
    assert ETH_HEADER_OPS.parse(skb) == PEER


@pytest.mark.parametrize("addr", [bytes(6), b"\xff" * 6, b"\1\0\0\0\0\0", b"\2" * 5, b""])
def test_addresses_no_device_may_have(addr: bytes) -> None:
    assert not is_valid_ether_addr(addr)


def test_random_addresses_are_valid_local_and_repeatable() -> None:
    rng = random.Random(5)
    for _ in range(50):
        addr = eth_random_addr(rng)
        assert is_valid_ether_addr(addr)
        assert addr[0] & 2
    assert eth_random_addr(random.Random(5)) == eth_random_addr(random.Random(5))
