"""A routing table of 100,000 routes: finding one's way in it, and changing it."""

from __future__ import annotations

import random
from time import perf_counter

from benchmarks.stack import Stack
from pysock.families.inet.fib import RTN_UNICAST, FibEntry, FibTable

_ROUTES = 100_000
#: Prefix lengths of the Internet's table, and how many of a thousand routes have them, about.
_LENGTHS = {8: 1, 12: 1, 14: 2, 15: 2, 16: 14, 17: 8, 18: 14, 19: 26, 20: 45, 21: 52, 22: 110, 23: 98, 24: 626, 32: 1}


def _routes(chance: random.Random) -> list[FibEntry]:
    found: dict[tuple[int, int], FibEntry] = {}
    while len(found) < _ROUTES:
        (plen,) = chance.choices(list(_LENGTHS), list(_LENGTHS.values()))
        bits = chance.getrandbits(plen)
        prefix = (bits << (32 - plen)).to_bytes(4, "big")
        found[plen, bits] = FibEntry(prefix, plen, RTN_UNICAST, None, bytes(4), bytes(4))
    return list(found.values())


def fib_lookup(stack: Stack, count: int) -> float:
    """Microseconds to find the route of an address that was not asked for before."""
    chance = random.Random(1)
    fib = FibTable()
    routes = _routes(chance)
    for entry in routes:
        fib.add(entry)
    near = (int.from_bytes(chance.choice(routes).prefix, "big") | chance.getrandbits(6) for _ in range(count))
    asked = [address.to_bytes(4, "big") for address in near]
    lookup = fib.main.lookup
    start = perf_counter()
    for address in asked:
        lookup(address)
    return (perf_counter() - start) / count * 1e6


def fib_change(stack: Stack, count: int) -> float:
    """Microseconds to add a route to the full table, or to delete it."""
    chance = random.Random(1)
    fib = FibTable()
    routes = _routes(chance)
    for entry in routes:
        fib.add(entry)
    changed = chance.sample(routes, min(count, len(routes)))
    start = perf_counter()
    for entry in changed:
        fib.remove(entry)
    for entry in changed:
        fib.add(entry)
    return (perf_counter() - start) / (2 * len(changed)) * 1e6
