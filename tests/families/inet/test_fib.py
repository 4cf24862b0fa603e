"""The forwarding table: longest prefix, metrics, the cache (fib_table_insert, fib_table_lookup)."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, strategies
from support.devices import boot, make
from support.dgram_api import fails

from pysock.core.netdevice import NetDevice
from pysock.families.inet.fib import (
    RTN_BROADCAST,
    RTN_LOCAL,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    FibEntry,
    FibTable,
    prefix_bits,
)
from pysock.wire.addr import inet_aton

ANY = bytes(4)


def entry(text: str, type: int = RTN_UNICAST, dev: NetDevice | None = None, metric: int = 0) -> FibEntry:
    prefix, _, plen = text.partition("/")
    return FibEntry(inet_aton(prefix), int(plen), type, dev, ANY, metric=metric)


def found(fib: FibTable, address: str) -> str:
    hit = fib.lookup(inet_aton(address))
    return "-" if hit is None else repr(hit).split()[1]


@pytest.fixture
def fib() -> FibTable:
    return FibTable()


def test_the_longest_prefix_wins(fib: FibTable) -> None:
    for text in ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32"):
        fib.add(entry(text))
    answers = {
        "10.1.1.1": "10.1.1.1/32", "10.1.1.2": "10.1.0.0/16", "10.2.0.0": "10.0.0.0/8", "11.0.0.0": "0.0.0.0/0",
        "255.255.255.255": "0.0.0.0/0",
    }  # fmt: skip
    assert {address: found(fib, address) for address in answers} == answers


def test_nothing_is_found_in_an_empty_table(fib: FibTable) -> None:
    assert found(fib, "10.0.0.1") == "-"


def test_our_own_addresses_come_before_every_other_route(fib: FibTable) -> None:
    fib.add(entry("127.0.0.0/8", RTN_LOCAL))
    fib.add(entry("127.1.0.0/16", RTN_UNICAST))
    fib.add(entry("10.0.0.255/32", RTN_BROADCAST))
    fib.add(entry("10.0.0.255/32", RTN_UNICAST))
    assert found(fib, "127.1.0.1") == "127.0.0.0/8"
    hit = fib.lookup(inet_aton("10.0.0.255"))
    assert hit is not None
    assert hit.type == RTN_BROADCAST


def test_the_smallest_metric_wins(fib: FibTable) -> None:
    dear, cheap = entry("10.0.0.0/8", metric=100), entry("10.0.0.0/8", metric=10)
    fib.add(dear)
    fib.add(cheap)
    assert fib.lookup(inet_aton("10.9.9.9")) is cheap
    fib.remove(cheap)
    assert fib.lookup(inet_aton("10.9.9.9")) is dear
    fib.remove(dear)
    assert fib.lookup(inet_aton("10.9.9.9")) is None
    assert fib.main.lengths == ()


def test_the_same_route_twice(fib: FibTable) -> None:
    first = entry("10.0.0.0/8")
    fib.add(first)
    fails(errno.EEXIST, fib.add, entry("10.0.0.0/8"))
    fib.add(entry("10.0.0.0/8", RTN_UNREACHABLE))
    fib.remove(first)
    fails(errno.ESRCH, fib.remove, first)


@pytest.mark.parametrize(("prefix", "plen"), [("10.0.0.1", 8), ("10.0.0.0", 33), ("10.0.0.0", -1), ("0.0.0.1", 0)])
def test_prefixes_that_are_none(fib: FibTable, prefix: str, plen: int) -> None:
    generation = fib.generation
    fails(errno.EINVAL, fib.add, FibEntry(inet_aton(prefix), plen, RTN_UNICAST, None, ANY))
    assert (fib.entries(), fib.generation) == ([], generation)


def test_every_change_is_seen_at_once(fib: FibTable) -> None:
    assert found(fib, "10.0.0.1") == "-"  # remembered...
    seen = {fib.generation}
    fib.add(entry("10.0.0.0/8"))
    seen.add(fib.generation)
    assert found(fib, "10.0.0.1") == "10.0.0.0/8"  # ...and forgotten
    fib.flush()
    seen.add(fib.generation)
    assert len(seen) == 3


def test_the_cache_is_bounded(fib: FibTable) -> None:
    fib.add(entry("0.0.0.0/0"))
    for i in range(20_000):
        fib.lookup(i.to_bytes(4, "big"))
    assert len(fib._cache) <= 8192


def test_removing_a_device_takes_its_routes_and_no_others(fib: FibTable) -> None:
    kernel = boot()
    one, two = make(kernel), make(kernel)
    for text, type, dev in (
        ("10.0.0.1/32", RTN_LOCAL, one), ("10.0.0.0/24", RTN_UNICAST, one), ("10.0.1.0/24", RTN_UNICAST, two),
        ("0.0.0.0/0", RTN_UNREACHABLE, None),
    ):  # fmt: skip
        fib.add(entry(text, type, dev))
    fib.remove_device(one)
    assert [repr(one).split()[1] for one in fib.entries()] == ["10.0.1.0/24", "0.0.0.0/0"]


prefixes = strategies.tuples(strategies.integers(0, 0xFFFFFFFF), strategies.integers(0, 32)).map(
    lambda pair: (pair[0] >> (32 - pair[1]) << (32 - pair[1]), pair[1])
)


@given(strategies.sets(prefixes, max_size=20), strategies.integers(0, 0xFFFFFFFF), strategies.data())
def test_lookup_agrees_with_the_definition(
    routes: set[tuple[int, int]], address: int, data: strategies.DataObject
) -> None:
    fib = FibTable()
    for prefix, plen in routes:
        fib.add(FibEntry(prefix.to_bytes(4, "big"), plen, RTN_UNICAST, None, ANY))
    if routes and data.draw(strategies.booleans()):  # else hardly any address hits a long prefix
        prefix, plen = data.draw(strategies.sampled_from(sorted(routes)))
        address = prefix | address & (1 << (32 - plen)) - 1
    raw = address.to_bytes(4, "big")
    matching = [plen for prefix, plen in routes if prefix_bits(raw, plen) == prefix >> (32 - plen)]
    hit = fib.lookup(raw)
    assert (hit.plen if hit else None) == max(matching, default=None)
    assert hit is None or prefix_bits(hit.prefix, hit.plen) == prefix_bits(raw, hit.plen)
