"""The kernel itself: boot, seeds, namespaces, the lock, debug mode, and plugins that fail."""

from __future__ import annotations

import threading

import pytest
from support.patience import PATIENCE

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.kernel import Kernel
from pysock.core.skb_copy import skb_clone
from pysock.core.skb_debug import SkbSharedWrite
from pysock.core.skbuff import SkBuff
from pysock.plugin.records import PluginError


def boot(**options: object) -> Kernel:
    options.setdefault("clock", "virtual")
    return Kernel.boot(entry_points=False, **options)


def test_two_kernels_share_nothing() -> None:
    one, two = boot(seed=1), boot(seed=1)
    one.init_net.sysctl.set("net.ipv4.ip_default_ttl", 9)
    assert two.init_net.sysctl.get("net.ipv4.ip_default_ttl") == 64
    assert one.families.table[2] is not two.families.table[2]
    assert one.init_net.loopback_dev is not two.init_net.loopback_dev


def test_chance_has_a_stream_for_each_concern() -> None:
    one, two = boot(seed=7), boot(seed=7)
    one.random("ports").random()  # an extra draw for one concern ...
    assert one.random("isn").random() == two.random("isn").random()  # ... moves no other
    assert boot(seed=8).random("isn").random() != boot(seed=7).random("isn").random()


def test_an_unknown_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="'real' or 'virtual'"):
        Kernel.boot(clock="sundial")


def test_sleep_takes_virtual_time_only() -> None:
    kernel = boot()
    before = kernel.clock.monotonic_ns()
    kernel.sleep(3600 * NSEC_PER_SEC)
    assert kernel.clock.monotonic_ns() == before + 3600 * NSEC_PER_SEC


def test_the_last_thread_to_sleep_moves_the_clock() -> None:
    kernel = boot()
    kernel.sleeper()
    woke: dict[str, int] = {}
    all_there = threading.Barrier(3)

    def sleeper(name: str, seconds: int) -> None:
        kernel.sleeper()
        all_there.wait()  # or the first one's sleep could be over before the last one begins
        kernel.sleep(seconds * NSEC_PER_SEC)
        woke[name] = kernel.clock.monotonic_ns() // NSEC_PER_SEC

    start = kernel.clock.monotonic_ns() // NSEC_PER_SEC
    threads = [threading.Thread(target=sleeper, args=(str(n), n)) for n in (5, 1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(woke.values()) == [woke["1"], woke["3"], woke["5"]]
    assert woke["5"] >= start + 5


def test_deferred_work_runs_when_the_kernel_is_left() -> None:
    kernel = boot()
    done: list[str] = []
    kernel.enter()
    try:
        kernel.defer(lambda: done.append("deferred"))
        assert done == []
    finally:
        kernel.leave()
    assert done == ["deferred"]
    kernel.defer(lambda: done.append("at once"))
    assert done == ["deferred", "at once"]


def test_a_softirq_that_raises_does_not_keep_the_lock() -> None:
    kernel = boot()

    def broken(skb: SkBuff) -> int:
        raise RuntimeError("a bug")

    kernel.softnet.receive = broken
    kernel.enter()
    kernel.softnet.netif_rx(SkBuff(b"", 0, 0))
    with pytest.raises(RuntimeError, match="a bug"):
        kernel.leave()
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(kernel.lock.acquire(timeout=PATIENCE)))
    thread.start()
    thread.join()
    assert taken == [True]


def test_debug_mode_catches_a_write_to_shared_data() -> None:
    kernel = boot(debug_skb=True)
    dev = kernel.init_net.loopback_dev
    frame = SkBuff(bytearray(b"\0" * 60), 14, 46)
    frame.dev = dev
    kernel.enter()
    kernel.softnet.netif_rx(frame)
    kernel.leave()  # an unknown protocol: dropped, but nothing is wrong with it
    frame = SkBuff(bytearray(b"\0" * 60), 14, 46)
    frame.dev = dev
    assert kernel.debug_skb is not None
    kernel.debug_skb.watch(frame)
    clone = skb_clone(frame)
    frame.head[20] = 1  # without skb_unshare(): the bug
    kernel.enter()
    kernel.softnet.netif_rx(clone)
    with pytest.raises(SkbSharedWrite, match="test_kernel"):
        kernel.leave()


def test_a_plugin_that_fails_to_load_is_named_and_left_out() -> None:
    said: list[str] = []
    kernel = boot(plugins=["support.no_such_plugin"], log=said.append)
    assert 2 in kernel.families.table
    record = next(r for r in kernel.plugins.report() if r.name == "support.no_such_plugin")
    assert record.state == "failed"
    assert len(said) == 1
    assert "support.no_such_plugin" in said[0]
    with pytest.raises(PluginError, match=r"support\.no_such_plugin"):
        boot(plugins=["support.no_such_plugin"], strict=True)
