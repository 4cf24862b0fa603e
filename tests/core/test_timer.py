"""Timers: order, laziness in both directions, and what a virtual clock may believe about the next one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pysock.core.clock import NEVER, VirtualClock
from pysock.core.timer import Timer, TimerQueue


def recording(log: list[str], name: str) -> Timer:
    return Timer(lambda: log.append(name))


def test_they_run_in_order_of_their_instants_then_of_arming() -> None:
    queue, log = TimerQueue(), []
    for name, at in (("late", 30), ("first", 10), ("second", 10), ("middle", 20)):
        queue.mod_timer(recording(log, name), at)
    assert queue.next_expiry == 10
    assert queue.run(9) == 0
    assert queue.run(20) == 3
    assert log == ["first", "second", "middle"]
    assert queue.next_expiry == 30
    assert queue.run(1000) == 1
    assert queue.next_expiry == NEVER


def test_postponing_leaves_the_heap_alone_until_the_old_instant() -> None:
    queue, log = TimerQueue(), []
    timer = recording(log, "x")
    queue.mod_timer(timer, 10)
    for at in range(11, 1000):
        queue.mod_timer(timer, at)
    assert len(queue) == 1
    assert queue.run(500) == 0
    assert queue.next_expiry == 999
    assert queue.run(999) == 1
    assert not timer.pending


def test_advancing_supersedes_the_old_entry() -> None:
    queue, log = TimerQueue(), []
    timer = recording(log, "x")
    queue.mod_timer(timer, 100)
    queue.mod_timer(timer, 10)
    assert queue.run(10) == 1
    assert queue.run(100) == 0
    assert log == ["x"]


def test_a_cancelled_timer_does_not_run() -> None:
    queue, log = TimerQueue(), []
    timer = recording(log, "x")
    queue.mod_timer(timer, 10)
    assert queue.del_timer(timer)
    assert not queue.del_timer(timer)
    assert queue.run(10) == 0
    assert log == []


def test_a_timer_may_arm_itself_again() -> None:
    queue, ran = TimerQueue(), []
    timer = Timer(lambda: None)

    def again() -> None:
        ran.append(len(ran))
        if len(ran) < 3:
            queue.mod_timer(timer, 10 * len(ran) + 10)

    timer.function = again
    queue.mod_timer(timer, 10)
    assert queue.run(30) == 3
    assert len(queue) == 0


def test_settle_forgets_what_was_cancelled_or_postponed() -> None:
    queue = TimerQueue()
    cancelled, postponed = Timer(lambda: None), Timer(lambda: None)
    queue.mod_timer(cancelled, 10)
    queue.mod_timer(postponed, 20)
    queue.del_timer(cancelled)
    queue.mod_timer(postponed, 50)
    assert queue.next_expiry == 10  # early is allowed
    assert queue.settle() == 50
    queue.del_timer(postponed)
    assert queue.settle() == NEVER


def test_whoever_keeps_the_timers_hears_of_an_earlier_one_only() -> None:
    queue, calls = TimerQueue(), []
    queue.on_earlier = lambda: calls.append(queue.next_expiry)
    queue.mod_timer(Timer(lambda: None), 100)
    queue.mod_timer(Timer(lambda: None), 200)
    queue.mod_timer(Timer(lambda: None), 50)
    assert calls == [100, 50]


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["mod", "del", "run"]), st.integers(1, 50)), max_size=80))
def test_against_a_model_that_keeps_only_the_wishes(steps: list[tuple[int, str, int]]) -> None:
    queue, ran = TimerQueue(), []
    timers = [Timer(lambda i=i: ran.append(i)) for i in range(5)]
    wishes: dict[int, int] = {}
    now = 0
    for index, action, amount in steps:
        if action == "mod":
            queue.mod_timer(timers[index], now + amount)
            wishes[index] = now + amount
        elif action == "del":
            assert queue.del_timer(timers[index]) == (index in wishes)
            wishes.pop(index, None)
        else:
            now += amount
            ran.clear()
            queue.run(now)
            due = {i for i, at in wishes.items() if at <= now}
            assert set(ran) == due
            assert len(ran) == len(due)
            for i in due:
                del wishes[i]
        assert queue.settle() == min(wishes.values(), default=NEVER)


def test_a_virtual_clock_never_goes_back() -> None:
    clock = VirtualClock(epoch_ns=5_000_000_000)
    assert clock.time_ns() == 5_000_000_000
    start = clock.monotonic_ns()
    clock.advance_to(start + 7)
    clock.advance_to(start)
    assert clock.monotonic_ns() == start + 7
    assert clock.time_ns() == 5_000_000_007


def test_one_that_was_cancelled_in_time_never_enters_the_heap() -> None:
    queue, log = TimerQueue(), []
    kept, cancelled, revived = (recording(log, name) for name in ("kept", "cancelled", "revived"))
    for timer in (kept, cancelled, revived):
        queue.mod_timer(timer, 100)
    queue.del_timer(cancelled)
    queue.del_timer(revived)
    queue.mod_timer(revived, 200)
    assert queue.run(99) == 0
    assert len(queue) == 2
    queue.mod_timer(cancelled, 150)  # and it can be armed again
    assert queue.run(150) == 2
    assert queue.next_expiry == 200
    assert queue.run(200) == 1
    assert log == ["kept", "cancelled", "revived"]
