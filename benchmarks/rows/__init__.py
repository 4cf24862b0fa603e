"""The measured programs.  One module a kind of traffic; `ROWS` is the table, in the order of print.

A row's function takes a stack and a count, sets up, times `count` operations, tears down, and returns a
rate or a cost. It is the same code on both sides: what differs is `stack.net` (the socket module), or, for
whole programs, the patch they run inside, which the harness enters.  The clock is bound at import, so no
patch reaches it.
"""

from __future__ import annotations

from benchmarks.row import Kind, Row
from benchmarks.rows import bulk, connecting, e100, hosts, memory, round_trips, routes, startup, streams, tap, web

ROWS: tuple[Row, ...] = (
    Row("tcp_rr", "TCP one-byte round trip, same thread", "trips/s",
        round_trips.tcp_rr, 30_000, issue=0.85, goal=1.0),
    Row("tcp_rr_threads", "TCP one-byte round trip, two blocking threads", "trips/s",
        round_trips.tcp_rr_threads, 20_000, issue=0.75, goal=1.0),
    Row("tcp_rr_asyncio", "TCP one-byte round trip, asyncio streams", "trips/s",
        streams.tcp_rr_asyncio, 10_000, issue=0.75, goal=1.0, program=True),
    Row("tcp_bulk", "TCP 64 KiB sends, same thread, recv", "MB/s",
        bulk.tcp_bulk, 20_000, issue=1.3, goal=1.5),
    Row("tcp_bulk_into", "TCP 64 KiB sends, same thread, recv_into", "MB/s",
        bulk.tcp_bulk_into, 20_000, issue=1.2, goal=1.5),
    Row("tcp_bulk_threads", "TCP 64 KiB sends, two threads", "MB/s",
        bulk.tcp_bulk_threads, 8_000, issue=1.5, goal=2.0),
    Row("udp_rr", "UDP one-byte round trip, sendto and recvfrom", "trips/s",
        round_trips.udp_rr, 40_000, issue=1.3, goal=1.5),
    Row("tcp_crr", "TCP connect + accept + close of both ends", "conn/s",
        connecting.tcp_crr, 5_000, issue=0.5, goal=1.0),
    Row("http_threads", "HTTP GET: http.server with threads, urllib.request", "GET/s",
        web.http_threads, 500, issue=0.7, goal=1.0, program=True),
    Row("http_asyncio", "HTTP GET over asyncio streams, a connection each", "GET/s",
        streams.http_asyncio, 1_000, issue=0.75, goal=1.0, program=True),
    Row("tap_bulk_out", "TCP 64 KiB sends to a program of the kernel: over TAP; over veth", "MB/s",
        tap.tap_bulk_out, 3_000),
    Row("tap_bulk_in", "the same the other way, recv_into", "MB/s",
        tap.tap_bulk_in, 3_000),
    Row("tap_rr", "TCP one-byte round trip with a program of the kernel: over TAP; over veth", "trips/s",
        tap.tap_rr, 5_000),
    Row("idle_memory", "idle TCP connection, both ends and their socket objects, by tracemalloc", "KB",
        memory.idle_traced, 10_000, Kind.ABSOLUTE, issue=6.0, goal=4.0,
        child=True, max_rounds=1, warm_up=False),
    Row("idle_memory_rss", "the same by growth of the resident set", "KB",
        memory.idle_resident, 10_000, Kind.ABSOLUTE, child=True, max_rounds=3, warm_up=False),
    Row("boot", "boot of a kernel, once one has booted", "ms",
        startup.boot, 20, Kind.ABSOLUTE, issue=2.0, goal=1.0),
    Row("boot_first", "boot of the first kernel of a process", "ms",
        startup.boot_first, 1, Kind.ABSOLUTE, child=True),
    Row("import", "`import pysock` over `import socket`, fresh processes", "ms",
        startup.import_time, 1, Kind.DIFFERENCE, issue=30.0, child=True),
    Row("fib_lookup", "a route among 100,000, asked for the first time", "us",
        routes.fib_lookup, 100_000, Kind.ABSOLUTE, goal=3.0, max_rounds=3),
    Row("fib_change", "adding or deleting a route among 100,000", "us",
        routes.fib_change, 20_000, Kind.ABSOLUTE, goal=10.0, max_rounds=3),
    *hosts.ROWS,
    *e100.ROWS,
)  # fmt: skip
