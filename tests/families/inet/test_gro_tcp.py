"""A TCP transfer through a device that cuts super-segments on one end and glues them by GRO on the other."""

from __future__ import annotations

from collections import deque

import pytest
from support.hosts import Hosts

from pysock.core.device import NetDevice, netif_napi_add
from pysock.core.eth import eth_type_trans
from pysock.core.gro import napi_gro_receive
from pysock.core.netdev_features import NETIF_F_GSO_SOFTWARE, NETIF_F_HW_CSUM
from pysock.core.skbuff import SkBuff


@pytest.mark.parametrize("checksums", [True, False])
def test_a_transfer(checksums: bool) -> None:
    lab = Hosts()
    a, b = lab.pair()
    listener = b.listen("10.0.0.2", 80)
    fd = a.tcp()
    a.connect(fd, ("10.0.0.2", 80))
    peer = b.accept(listener)
    out, back = a.dev(), b.dev()
    ring: deque[SkBuff] = deque()
    sizes: list[int] = []

    def start_xmit(skb: SkBuff, dev: NetDevice) -> int:
        skb.sk = None
        eth_type_trans(skb, back)
        ring.append(skb)
        napi.schedule()
        return 0

    def poll(budget: int) -> int:
        done = 0
        while ring and done < budget:
            done += 1
            sizes.append(ring[0].len)
            napi_gro_receive(napi, ring.popleft())
        if done < budget:
            napi.complete_done(done)
        return done

    napi = netif_napi_add(back, poll)
    out.features &= ~(NETIF_F_GSO_SOFTWARE | (NETIF_F_HW_CSUM if checksums else 0))
    out.start_xmit = start_xmit
    out.update_path()
    data = bytes(range(256)) * 400
    a.sendto(fd, data)
    got = b""
    while len(got) < len(data):
        got += b.recv(peer)
    assert got == data
    assert max(sizes) == 1500
    assert napi.gro is not None
    assert napi.gro.merged > len(sizes) * 3 // 4
    assert len(napi.gro) == 0
