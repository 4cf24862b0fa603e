"""How long a test waits for what must happen, before it says that it did not."""

from __future__ import annotations

#: Seconds of real time: far more than anything here takes on a machine that is busy with three such runs at once, and
#: less than what ends the whole run (faulthandler_timeout in pyproject.toml).
PATIENCE = 150
