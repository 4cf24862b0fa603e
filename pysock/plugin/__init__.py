"""Plugins: how families, drivers and queueing disciplines, pysock's own included, get into a Kernel.

    hookspecs.py   the hooks and their contract: start here to write a plugin
    relay.py       pluggy, taught to take plain functions and to be quick
    records.py     what is known of each plugin, and the error that names one
    discover.py    entry points of the group "pysock", found quickly
    manager.py     `Plugins`: loads one by one, calls the hooks, contains and rolls back what fails

A Kernel makes one `Plugins`, which loads them, and calls one registration hook after the other; each hands the plugins
a `register` callable that writes into a table of the Kernel. From then on packets meet only those tables: no hook is
ever called on the packet path.

Only `core/kernel.py` imports this package: it needs pluggy, which costs 20 ms to import. It imports nothing of pysock
but `uapi`, and is handed the Kernel's ErrorReporter. Plugins need not import it at all: a plain function with a hook's
name is an implementation, and `pluggy.HookimplMarker("pysock")` serves those who want options.
"""
