"""The descriptors that this process has open, told apart from those that come and go by themselves.

    before = held()
    ...
    assert held() <= before      nothing was left open; that a collection closed something older is no error

Counting them would be wrong: a thread that ends, or begins, may close or open the eventfd that it sleeps on.
"""

from __future__ import annotations

import os


def held() -> set[tuple[int, str]]:
    """(number, what it is) of each: "socket:[7]", "pipe:[8]", a path. Without eventfds, and without /proc itself."""
    found: set[tuple[int, str]] = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            what = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # closed since: the one that listed the others, if nothing else
        if what != "anon_inode:[eventfd]" and not what.startswith("/proc/"):
            found.add((int(number), what))
    return found
