"""sched: queueing disciplines, the order in which packets leave a device, and which are dropped.

What lives here: `noqueue` (none), `pfifo_fast` (three bands, the default), `pfifo` and `bfifo` (one queue, limited in
packets or bytes), `prio` (bands in strict order), `tbf` (a rate), `fq` (flows in turns, each at its own pace),
`fq_codel` (flows in turns, kept short by the law in `codel`), `netem` (a bad cable; `chance` has its dice), and
plugin.py, which registers them. `show` lists those of a namespace as tc does. `packets` answers what disciplines ask
of a packet; `classful` and `stashing` are bases: of those with others inside, and of those that can't peek.

What they may import: `core`, `uapi`.

How data passes through: core/qdisc.py calls `enqueue` when a protocol sends and `dequeue` while the driver has room.
"""
