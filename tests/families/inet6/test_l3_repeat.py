"""One seed, one run: two hosts come up, find each other and talk, and the wire carries the same bytes every time."""

from __future__ import annotations

from support.inet6_hosts import Lab6


def run(seed: int) -> tuple[list[bytes], int]:
    lab = Lab6(seed)
    a, b = lab.host(), lab.host()
    one, _ = lab.cable(a, b)
    seen = lab.record(one)
    a.add("2001:db8::1/64")
    b.add("2001:db8::2/64")
    lab.settle(12)
    a.ping(b.linklocal(), bytes(3000), one.ifindex)
    lab.settle(100)
    assert a.replies == [bytes(3000)]
    return seen, lab.kernel.now


def test_the_same_seed_gives_the_same_packets() -> None:
    assert run(7) == run(7)


def test_another_seed_gives_others() -> None:
    assert run(7)[0] != run(8)[0]


def test_it_comes_to_rest() -> None:
    """An idle link has nothing to say, and virtual time no reason to run on."""
    lab = Lab6()
    a, b = lab.host(), lab.host()
    one, _ = lab.cable(a, b)
    lab.settle(100)
    seen = lab.record(one)
    lab.settle(100_000)
    assert seen == []
    assert not lab.kernel.advance()
