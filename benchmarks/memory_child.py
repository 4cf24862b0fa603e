"""What one idle connection weighs: run as `python -m benchmarks.memory_child STACK CONNECTIONS METER`.

Prints bytes per connection.  A connection here is both ends, each with its Python socket object, established
and never used.  The meters are `tracemalloc` (every block that Python allocates, exact, nothing of the
allocator's slack) and `rss` (growth of the resident set: slack, page rounding and C memory included).
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
import tracemalloc

from benchmarks.stack import STACKS, SocketModule

WARM_UP = 16
SPARE_DESCRIPTORS = 64


def resident() -> int:
    """Bytes of physical memory this process has now."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def allow_descriptors(wanted: int) -> None:
    """Raise the limit of open files as far as we may; a stack that needs more will say EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
        except (ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connect_many(net: SocketModule, listener: socket.socket, kept: list[socket.socket | None]) -> None:
    """Fill `kept` with connections: client, server, client, server."""
    address = listener.getsockname()
    for index in range(0, len(kept), 2):
        client = net.socket(net.AF_INET, net.SOCK_STREAM)
        client.connect(address)
        kept[index] = client
        kept[index + 1] = listener.accept()[0]


def bytes_per_connection(net: SocketModule, connections: int, meter: str) -> float:
    """Measure it; ValueError for a meter we do not have."""
    if meter not in ("tracemalloc", "rss"):
        raise ValueError(f"unknown meter {meter!r}: use tracemalloc or rss")
    with net.socket(net.AF_INET, net.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        # The first connections create tables and caches that all share.
        warm: list[socket.socket | None] = [None] * (2 * WARM_UP)
        kept: list[socket.socket | None] = [None] * (2 * connections)
        connect_many(net, listener, warm)
        gc.collect()
        if meter == "tracemalloc":
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
        else:
            before = resident()
        connect_many(net, listener, kept)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0] if meter == "tracemalloc" else resident()
        return (after - before) / connections


def main(arguments: list[str]) -> None:
    """STACK CONNECTIONS METER: print one number, and leave without closing them all in order."""
    stack, connections, meter = STACKS[arguments[0]], int(arguments[1]), arguments[2]
    allow_descriptors(2 * (connections + WARM_UP) + SPARE_DESCRIPTORS)
    with stack.environment(program=False):
        print(bytes_per_connection(stack.net, connections, meter), flush=True)
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
