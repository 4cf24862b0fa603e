"""Settings that every test shares.  Fixtures and helpers stand in the nearest conftest.py, or in support/."""

from __future__ import annotations

import gc
import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# No deadline and no complaint about slow examples: nothing here may fail because a machine is slow.  Under CI the
# examples are derived from the test itself, so that a red run is red again; at a desk they are random, and a failure
# prints its replay.
slow = [HealthCheck.too_slow]
settings.register_profile("pysock", deadline=None, suppress_health_check=slow, print_blob=True)
settings.register_profile("pysock-ci", settings.get_profile("pysock"), derandomize=True, database=None)
settings.load_profile("pysock-ci" if os.environ.get("CI") else "pysock")


def pytest_collection_finish() -> None:
    """Thousands of test items are no garbage: the collector need not look at them again and again."""
    gc.collect()
    gc.freeze()
