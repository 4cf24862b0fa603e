"""The end of a network namespace: what is in it goes, hardware comes back, and nothing is left."""

from __future__ import annotations

import errno
import gc
from pathlib import Path

import pytest
from support.devices import boot, wire
from support.plugin_site import Site

from pysock.core.device import dev_change_net, dev_open
from pysock.core.kernel import Kernel
from pysock.families.inet.net import InetNet
from pysock.families.inet6.net import Inet6Net


def test_devices_go_and_their_other_ends() -> None:
    kernel = boot()
    one, other = kernel.new_net("one"), kernel.new_net("other")
    dev = kernel.dev_layer.create_device(one, "veth", "v0", peer="v0", peer_net=other)
    dev_open(dev)
    kernel.del_net(one)
    assert kernel.netns == [kernel.init_net, other]
    assert one.devices == []
    assert [left.name for left in other.devices] == ["lo"]
    assert kernel.errors.total == 0


def test_hardware_comes_home() -> None:
    """Under a name of its own if somebody took the old one meanwhile."""
    kernel = boot()
    away = kernel.new_net("away")
    cards = [wire(kernel, name) for name in ("eth0", "eth1")]
    for card in cards:
        card.parent = object()
        dev_change_net(card, away)
    wire(kernel, "eth1")
    kernel.del_net(away)
    assert [card.net for card in cards] == [kernel.init_net] * 2
    assert [card.name for card in cards] == ["eth0", "dev0"]
    assert away.devices == []


def test_plugins_are_told_before_the_devices_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """pysock_net_exit, in reverse order."""
    for name in ("exit_a", "exit_b"):
        Site(tmp_path).module(
            name, "def pysock_net_exit(net): net.kernel.said.append((__name__, [dev.name for dev in net.devices]))"
        )
    monkeypatch.syspath_prepend(str(tmp_path))

    class Telling(Kernel):
        __slots__ = ("said",)
        said: list[tuple[str, list[str]]]

    kernel = Telling.boot(clock="virtual", seed=1, entry_points=False, plugins=["exit_a", "exit_b"])
    assert isinstance(kernel, Telling)
    kernel.said = []
    kernel.del_net(kernel.new_net())
    assert kernel.said == [("exit_b", ["lo"]), ("exit_a", ["lo"])]


def test_refusals() -> None:
    kernel = boot()
    net = kernel.new_net()
    kernel.del_net(net)
    for which, number in ((net, errno.ENOENT), (kernel.init_net, errno.EBUSY)):
        with pytest.raises(OSError) as info:
            kernel.del_net(which)
        assert info.value.errno == number


def test_nothing_is_left() -> None:
    """No timer stands and no object of the families' lives on, once the clock has come to rest."""
    kernel = Kernel.boot(clock="virtual", seed=1, entry_points=False)

    def alive() -> int:
        gc.collect()
        return sum(isinstance(one, InetNet | Inet6Net) and one.kernel is kernel for one in gc.get_objects())

    before = alive()
    for number in range(3):
        kernel.enter()
        one, other = kernel.new_net("one"), kernel.new_net("other")
        dev = kernel.dev_layer.create_device(one, "veth", "v0", peer="v0", peer_net=other)
        dev_open(dev)
        dev_open(other.dev_by_name["v0"])
        kernel.leave()
        for _ in range(number):
            kernel.advance()
        kernel.enter()
        kernel.del_net(one)
        kernel.del_net(other)
        kernel.leave()
        del one, other, dev
    while kernel.advance():
        pass
    assert not len(kernel.timers)
    assert alive() == before
    assert kernel.errors.total == 0
