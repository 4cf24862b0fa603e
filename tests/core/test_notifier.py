"""Notifier chains: order, stopping, undoing, containment; and where the four kinds differ."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.patience import PATIENCE

from pysock.core.contain import ErrorReporter
from pysock.core.notifier import (
    NOTIFY_BAD,
    NOTIFY_DONE,
    NOTIFY_OK,
    NOTIFY_STOP,
    NOTIFY_STOP_MASK,
    AtomicNotifierChain,
    BlockingNotifierChain,
    RawNotifierChain,
    SrcuNotifierChain,
    notifier_from_errno,
    notifier_to_errno,
)

UP, DOWN = 1, 2
KINDS = [RawNotifierChain, AtomicNotifierChain, BlockingNotifierChain, SrcuNotifierChain]


class Listener:
    """Writes down what it hears, and answers as told."""

    def __init__(self, heard: list[tuple[str, int, object]], name: str, answer: int | None = NOTIFY_OK) -> None:
        self.heard = heard
        self.name = name
        self.answer = answer

    def __call__(self, event: int, data: object) -> int | None:
        self.heard.append((self.name, event, data))
        return self.answer


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def chain(request: pytest.FixtureRequest) -> RawNotifierChain:
    made: RawNotifierChain = request.param("test_chain")
    return made


def test_calls_by_priority_and_then_by_age(chain: RawNotifierChain) -> None:
    heard: list[tuple[str, int, object]] = []
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", -1), ("e", 5)):
        chain.register(Listener(heard, name), priority, name)
    assert chain.call_chain(UP, "dev") == NOTIFY_OK
    assert heard == [(name, UP, "dev") for name in "beacd"]
    assert chain.callbacks() == list("beacd")
    assert len(chain) == 5


@given(st.lists(st.integers(-3, 3), max_size=12))
def test_order_is_a_stable_sort(priorities: list[int]) -> None:
    chain = RawNotifierChain("c")
    for at, priority in enumerate(priorities):
        chain.register(Listener([], "x"), priority, str(at))
    wanted = sorted(range(len(priorities)), key=lambda at: -priorities[at])
    assert chain.callbacks() == [str(at) for at in wanted]


def test_twice_is_eexist_and_absent_is_enoent(chain: RawNotifierChain) -> None:
    listener = Listener([], "a")
    chain.register(listener.__call__)
    with pytest.raises(OSError) as info:
        chain.register(listener.__call__, 9)
    assert info.value.errno == errno.EEXIST
    chain.unregister(listener.__call__)
    with pytest.raises(OSError) as info:
        chain.unregister(listener.__call__)
    assert info.value.errno == errno.ENOENT
    assert len(chain) == 0


def test_nobody_listening_is_done(chain: RawNotifierChain) -> None:
    assert chain.call_chain(UP, None) == chain.call_chain_robust(UP, DOWN, None) == NOTIFY_DONE


@pytest.mark.parametrize("stop", [NOTIFY_STOP, NOTIFY_BAD, notifier_from_errno(errno.EBUSY)])
def test_stopping(chain: RawNotifierChain, stop: int) -> None:
    heard: list[tuple[str, int, object]] = []
    chain.register(Listener(heard, "a", None))
    chain.register(Listener(heard, "b", stop))
    chain.register(Listener(heard, "c"))
    assert chain.call_chain(UP, 0) == stop
    assert [name for name, _, _ in heard] == ["a", "b"]


def test_robust_undoes_those_before_the_one_that_objected(chain: RawNotifierChain) -> None:
    heard: list[tuple[str, int, object]] = []
    for name in "ab":
        chain.register(Listener(heard, name))
    chain.register(Listener(heard, "c", notifier_from_errno(errno.EBUSY)))
    chain.register(Listener(heard, "d"))
    assert notifier_to_errno(chain.call_chain_robust(UP, DOWN, 0)) == errno.EBUSY
    assert [(name, event) for name, event, _ in heard] == [("a", UP), ("b", UP), ("c", UP), ("a", DOWN), ("b", DOWN)]


def test_robust_undoes_nothing_when_all_agree(chain: RawNotifierChain) -> None:
    heard: list[tuple[str, int, object]] = []
    chain.register(Listener(heard, "a"))
    assert chain.call_chain_robust(UP, DOWN, 0) == NOTIFY_OK
    assert heard == [("a", UP, 0)]


@given(st.integers(0, 4095))
def test_errno_round_trips(number: int) -> None:
    answer = notifier_from_errno(number)
    assert notifier_to_errno(answer) == number
    assert bool(answer & NOTIFY_STOP_MASK) == (number != 0)


def test_plain_answers_carry_no_errno_but_bad() -> None:
    assert [notifier_to_errno(a) for a in (NOTIFY_DONE, NOTIFY_OK, NOTIFY_STOP, NOTIFY_BAD)] == [0, 0, 0, errno.EPERM]


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_raises_is_contained_and_named(kind: type[RawNotifierChain]) -> None:
    lines: list[str] = []
    heard: list[tuple[str, int, object]] = []
    chain = kind("netdev_chain", ErrorReporter(lines.append))

    def broken(event: int, data: object) -> int:
        raise ValueError("oops")

    def senseless(event: int, data: object) -> int:
        return "yes"  # type: ignore[return-value]

    chain.register(broken, 2)
    chain.register(senseless, 1, "senseless")
    chain.register(Listener(heard, "a", None))
    assert chain.call_chain(UP, 0) == chain.call_chain(UP, 0) == NOTIFY_DONE
    assert len(heard) == 2
    assert len(lines) == 2
    assert "broken" in lines[0] and "netdev_chain" in lines[0] and "oops" in lines[0]
    assert "senseless" in lines[1]
    assert kind("quiet").call_chain(UP, 0) == NOTIFY_DONE


def test_a_callback_may_change_the_chain(chain: RawNotifierChain) -> None:
    heard: list[tuple[str, int, object]] = []
    late = Listener(heard, "late")

    def once(event: int, data: object) -> int:
        chain.unregister(once)
        chain.register(late, -1)
        return NOTIFY_OK

    chain.register(once)
    chain.register(Listener(heard, "b"), -2)
    chain.call_chain(UP, 0)
    assert [name for name, _, _ in heard] == ["b"]  # the walk goes on over the old list
    chain.call_chain(DOWN, 0)
    assert [name for name, _, _ in heard] == ["b", "late", "b"]


@pytest.mark.parametrize("kind", [BlockingNotifierChain, SrcuNotifierChain])
def test_sleeping_chains_refuse_the_kernel_lock(kind: type[BlockingNotifierChain]) -> None:
    locked = [False]
    chain = kind("c", None, lambda: locked[0])
    listener = Listener([], "a")
    chain.register(listener)
    locked[0] = True
    calls: list[Callable[[], object]] = [
        lambda: chain.register(Listener([], "b")),
        lambda: chain.unregister(listener),
        lambda: chain.call_chain(UP, 0),
        lambda: chain.call_chain_robust(UP, DOWN, 0),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="kernel lock"):
            call()
    assert chain.callbacks() == [chain.callbacks()[0]] and not listener.heard
    locked[0] = False
    chain.unregister(listener)


class Parked:
    """A callback that stays inside until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.left = False

    def __call__(self, event: int, data: object) -> int:
        self.entered.set()
        assert self.let_go.wait(PATIENCE)
        self.left = True
        return NOTIFY_OK


class WaitSeen(threading.Condition):
    """A condition that tells when somebody has begun to wait on it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.waiting.set()
        return super().wait(timeout)


class TestSrcu:
    def test_unregister_waits_for_a_running_callback(self) -> None:
        condition = WaitSeen()
        chain = SrcuNotifierChain("c", condition=condition)
        parked = Parked()
        chain.register(parked)
        walker = threading.Thread(target=chain.call_chain, args=(UP, 0))
        walker.start()
        assert parked.entered.wait(PATIENCE)
        seen: list[bool] = []

        def remove() -> None:
            chain.unregister(parked)
            seen.append(parked.left)

        remover = threading.Thread(target=remove)
        remover.start()
        assert condition.waiting.wait(PATIENCE)  # it is waiting, not done
        assert seen == [] and len(chain) == 0
        parked.let_go.set()
        walker.join(PATIENCE)
        remover.join(PATIENCE)
        assert seen == [True]

    def test_walks_do_not_exclude_each_other(self) -> None:
        chain = SrcuNotifierChain("c")
        both = threading.Barrier(2)

        def meet(event: int, data: object) -> int:
            both.wait(PATIENCE)
            return NOTIFY_OK

        chain.register(meet)
        answers: list[int] = []
        other = threading.Thread(target=lambda: answers.append(chain.call_chain(UP, 0)))
        other.start()
        answers.append(chain.call_chain(UP, 0))
        other.join(PATIENCE)
        assert answers == [NOTIFY_OK, NOTIFY_OK]

    def test_a_walk_that_began_earlier_skips_what_is_gone(self) -> None:
        chain = SrcuNotifierChain("c")
        heard: list[tuple[str, int, object]] = []
        gone = Listener(heard, "gone")

        def remover(event: int, data: object) -> int:
            chain.unregister(gone)
            return NOTIFY_OK

        chain.register(remover, 1)
        chain.register(gone)
        chain.call_chain(UP, 0)
        assert heard == []


class TestBlocking:
    def test_the_lock_is_held_during_callbacks_and_released_after(self) -> None:
        class Lock:
            def __init__(self) -> None:
                self.depth = 0

            def acquire(self) -> bool:
                self.depth += 1
                return True

            def release(self) -> None:
                self.depth -= 1

        lock = Lock()
        chain = BlockingNotifierChain("c", lock=lock)
        depths: list[int] = []

        def look(event: int, data: object) -> None:
            depths.append(lock.depth)

        chain.register(look)
        chain.call_chain(UP, 0)
        chain.call_chain_robust(UP, DOWN, 0)
        with pytest.raises(OSError):
            chain.register(look)
        chain.unregister(look)
        assert (depths, lock.depth) == ([1, 1], 0)

    def test_unregister_in_another_thread_waits_for_the_walk(self) -> None:
        chain = BlockingNotifierChain("c")
        parked = Parked()
        chain.register(parked)
        walker = threading.Thread(target=chain.call_chain, args=(UP, 0))
        walker.start()
        assert parked.entered.wait(PATIENCE)
        seen: list[bool] = []

        def remove() -> None:
            chain.unregister(parked)
            seen.append(parked.left)

        remover = threading.Thread(target=remove)
        remover.start()
        assert seen == []
        parked.let_go.set()
        walker.join(PATIENCE)
        remover.join(PATIENCE)
        assert seen == [True]
