"""The examples with networks of hosts pass, and their captures open in tshark without a complaint."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.inet_api import tshark
from support.patience import PATIENCE
from support.suites import LEAN, WITH_PYSOCK

EXAMPLES = Path(__file__).parents[2] / "examples"
WANTED = {
    "lossy_link": "lossy",
    "partition": "partition",
    "router": "router",
    "multicast_router": "multicast",
    "bridge": "bridge",
}


@pytest.mark.parametrize("name", WANTED)
def test_example(name: str, tmp_path: Path) -> None:
    options = [*WITH_PYSOCK, "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'out'}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(EXAMPLES / f"test_{name}.py")],
        env=os.environ | LEAN,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (capture,) = (tmp_path / "out").rglob(f"{WANTED[name]}.pcapng")
    assert len(tshark(capture).splitlines()) > 10
    assert tshark(capture, "-Y", "_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0") == ""
    warnings = "_ws.expert.severity >= warning"
    if name == "lossy_link":  # that frames are missing is what it shows
        warnings += " && !tcp.analysis.lost_segment && !tcp.analysis.out_of_order"
        assert tshark(capture, "-Y", "tcp.analysis.lost_segment") != ""
    assert tshark(capture, "-Y", warnings) == ""
