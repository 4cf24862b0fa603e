"""prio: bands in strict order."""

from __future__ import annotations

import errno

import pytest
from support.qdiscs import Line, raw

from pysock.core.device import netif_start_queue, netif_stop_queue
from pysock.sched.prio import Prio


def held(line: Line) -> Prio:
    netif_stop_queue(line.dev)
    assert isinstance(line.qdisc, Prio)
    return line.qdisc


def release(line: Line) -> list[int]:
    netif_start_queue(line.dev)
    line.qdisc.run()
    return [name for _, name in line.run()]


def test_bands_by_the_priority_map() -> None:
    line = Line("prio")
    held(line)
    line.send(*(raw(60, priority, priority) for priority in (0, 2, 6, 1, 7, 4)))
    assert release(line) == [6, 7, 0, 4, 2, 1]


def test_a_map_and_a_number_of_bands_of_ones_own() -> None:
    line = Line("prio", bands=2, priomap=(1, 0) + (1,) * 14)
    held(line)
    line.send(raw(60, 1, 0), raw(60, 2, 1), raw(60, 3, 5))
    assert release(line) == [2, 1, 3]


def test_a_priority_that_names_a_class() -> None:
    line = Line("prio")
    held(line).handle = 1
    line.send(raw(60, 1, 0), raw(60, 2, 1 << 16 | 3), raw(60, 3, 1 << 16 | 1), raw(60, 4, 2 << 16 | 1))
    assert release(line) == [3, 1, 2, 4]  # that of another discipline is mapped: 1 is bulk


def test_accounts_are_the_children_s() -> None:
    line = Line("prio")
    prio = held(line)
    prio.graft(1, "pfifo", {"limit": 1})
    assert line.send(raw(60, 1), raw(70, 2), raw(80, 3, 6)) == [0, 1, 0]
    assert (prio.qlen, prio.backlog, prio.drops) == (2, 140, 1)
    assert (prio.bands[0].backlog, prio.bands[1].backlog, prio.bands[1].drops) == (80, 60, 1)
    assert release(line) == [3, 1]
    assert (prio.qlen, prio.backlog, prio.bands[1].packets, prio.packets) == (0, 0, 1, 2)


def test_grafting_frees_what_waited() -> None:
    line = Line("prio")
    prio = held(line)
    line.send(raw(60, 1), raw(60, 2, 6))
    assert prio.graft(1, "fq_codel").id == "fq_codel"
    assert (prio.qlen, prio.backlog) == (1, 60)
    assert release(line) == [2]
    with pytest.raises(OSError) as info:
        prio.graft(3, "pfifo")
    assert info.value.errno == errno.EINVAL
    assert prio.bands[1].id == "fq_codel"


def test_a_child_that_holds_back_runs_the_whole() -> None:
    """Its watchdog wakes the device's discipline, not the child alone."""
    line = Line("prio")
    prio = line.qdisc
    assert isinstance(prio, Prio)
    prio.graft(0, "tbf", {"rate": 1000, "burst": 100, "limit": 1000})
    line.send(raw(100, 1, 6), raw(100, 2, 6), raw(100, 3, 0))
    assert line.run() == [(0, 1), (0, 3), (100_000_000, 2)]
    assert prio.packets == 3


@pytest.mark.parametrize("options", [{"bands": 1}, {"bands": 17}, {"priomap": (0,)}, {"priomap": (3,) * 16}])
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(OSError) as info:
        Line("prio", **options)
    assert info.value.errno == errno.EINVAL


def test_dump_makes_the_same_again() -> None:
    prio = Line("prio", bands=2, priomap=(1,) * 16).qdisc
    assert Line("prio", **prio.dump()).qdisc.dump() == prio.dump()
