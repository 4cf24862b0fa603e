"""families: the address families. What `socket(family, ...)` makes, and everything that speaks its protocol.

What lives here: one package a family (`inet`, `unix`, ...). Each has a `plugin.py` that registers its
`NetProtoFamily` and sets up each network namespace, an `af_*.py` with the family itself, and one module for
each idea below it. Nothing here is special: a separate distribution adds a family in the same way.

What it may import: `core`, `wire` and `uapi`. Two families never import each other; where they meet, they meet
through a table in `core` (families by AF_ number, packet handlers by EtherType, per-namespace state by class).

How data passes through: the syscall layer calls the `ProtoOps` that the family put into the `Socket`. A family
with protocols of its own goes on to `sk.prot`; one without, as AF_UNIX, does it all there.
"""
