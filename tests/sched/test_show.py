"""The listing that tc prints."""

from __future__ import annotations

from support.qdiscs import Line, raw

from pysock.sched.prio import Prio
from pysock.sched.show import qdisc_list, qdisc_text


def test_the_tree_of_every_device() -> None:
    line = Line("prio", bands=2, priomap=(0,) * 15 + (1,))
    assert isinstance(line.qdisc, Prio)
    line.qdisc.graft(1, "tbf", {"rate": 1000, "burst": 2000, "limit": 3000})
    line.send(raw(100))
    listed = qdisc_list(line.kernel.init_net)
    assert [(one.dev, one.parent, one.id) for one in listed] == [
        ("lo", "root", "noqueue"), ("w0", "root", "prio"), ("w0", ":1", "pfifo"), ("w0", ":2", "tbf"),
        ("w0", ":2:1", "bfifo"),
    ]  # fmt: skip
    text = qdisc_text(line.kernel.init_net)
    assert (
        "qdisc prio dev w0 root bands 2 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1\n"
        " Sent 100 bytes 1 pkt (dropped 0, overlimits 0 requeues 0)\n"
        " backlog 0b 0p\n"
    ) in text
    assert "qdisc tbf dev w0 parent :2 rate 1000 burst 2000 limit 3000 peakrate 0" in text


def test_counters_of_its_own() -> None:
    line = Line("fq_codel")
    line.send(raw(100))
    assert "new_flow_count 1 ecn_mark 0" in qdisc_text(line.kernel.init_net)
