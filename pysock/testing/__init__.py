"""testing: what pysock brings for other people's tests.

What lives here:

    plugin.py     the pytest plugin (entry point `pytest11`): the fixture `pysock`, the marker `pytest.mark.pysock`, the
    options;
                  imports nothing of the stack until a test asks for it
    session.py    what the fixture hands out: one test's kernel, patch, hosts and captures

What it may import: everything below, `shim` and `lab`, and pytest in plugin.py alone.

How a test passes through: the marker or the fixture's name puts the fixture before all other function-scoped ones; it
boots a kernel, patches, lets the rest of set-up, the call and tear-down run, and undoes the patch whatever happened. A
failing test's report says how to see the same failure again.
"""
