"""How fast is pysock, beside the kernel of the machine it runs on?  `python -m benchmarks` prints a table.

Reading the table
-----------------
Each row is one function, run unchanged on two *stacks*: `kernel` (the stdlib's `socket`) and `pysock`.  The
columns are the median of each side, the *result*, its spread, and the figures we hold ourselves to.

- A ratio (`0.97x`) is pysock's speed divided by the kernel's: above 1, pysock is the faster one.
- A difference (`+18.1 ms`) is pysock's time minus the kernel's, and an absolute figure (`5.8 KB`) is
  pysock's own; for these two, less is better.
- The result is the median over *pairs* of rounds, not the quotient of the two medians beside it: what
  disturbs the machine for a second disturbs both halves of a pair.  The spread is the middle half of the
  pairs (first to third quartile); the JSON has every value.

How it is measured
------------------
Rounds alternate between the sides in one process and one run, the order inside each pair drawn from a
seeded generator; a warm-up round of each side is thrown away.  Set-up (connections, threads, patching) is
outside the timed part.  The garbage is collected before each round and the collector stays enabled inside
it, as it is in the programs we imitate.  The interpreter's switch interval is left alone.  The process pins
itself to one core (`--cpu`, `--no-pin`).

Noise
-----
Small virtual machines vary: unpinned by 40 % from round to round, pinned by some 5 to 10 %, and absolute
rates by far more between runs.  So compare ratios, never rates of two runs; believe a change only when it
is larger than the spread; and measure the noise itself with `python -m benchmarks --a kernel --b kernel`,
where every true ratio is 1.  Run nothing else meanwhile: the load average stands in the header for that
reason.  A two-thread row on one core mostly measures waking the other thread; that is intended, and the same
for both sides.

Where things are
----------------
`stack.py` says what a side is, `rows/` holds the measured programs, `harness.py` the alternation,
`stats.py` the arithmetic, `report.py` the table and the JSON, `profiler.py` the `--profile` mode,
`child.py` and `memory_child.py` what runs in a fresh process.  The package imports pysock only through
`stack.py` and `rows/startup.py`, and only when a row runs, so `--list` and the tests of the harness need no
pysock at all.
"""
