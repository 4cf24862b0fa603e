"""sched: queueing disciplines, the order in which packets leave a device, and which are dropped.

What lives here: `noqueue` (none), `pfifo_fast` (three bands, the default), `pfifo` and `bfifo` (one queue, limited in
packets or bytes), and plugin.py, which registers them.

What they may import: `core`, `uapi`.

How data passes through: core/qdisc.py calls `enqueue` when a protocol sends and `dequeue` while the driver has room.
"""
