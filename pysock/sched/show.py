"""What `tc -s qdisc show` prints: every device's discipline, those inside it, their settings and counters."""

from __future__ import annotations

from pysock.sched.classful import Classful

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pysock.core.net import Net
    from pysock.core.qdisc import Qdisc


class QdiscInfo:
    """One discipline as it is now. ``parent`` is "root" or the class it stands in, as ":1"; ``options`` and
    ``statistics`` are those of `Qdisc.dump` and `Qdisc.statistics`.
    """

    __slots__ = ("dev", "id", "options", "parent", "statistics")

    def __init__(self, dev: str, parent: str, qdisc: Qdisc) -> None:
        self.dev = dev
        self.parent = parent
        self.id = qdisc.id
        self.options = qdisc.dump()
        self.statistics = qdisc.statistics()

    def __str__(self) -> str:
        """The lines that tc prints, but for units: rates are bytes a second, times ns."""
        where = "root" if self.parent == "root" else f"parent {self.parent}"
        settings = "".join(f" {name} {_text(value)}" for name, value in self.options.items())
        s = self.statistics
        common = ("bytes", "packets", "drops", "overlimits", "requeues", "backlog", "qlen")
        more = " ".join(f"{name} {value}" for name, value in s.items() if name not in common)
        return (
            f"qdisc {self.id} dev {self.dev} {where}{settings}\n"
            f" Sent {s['bytes']} bytes {s['packets']} pkt"
            f" (dropped {s['drops']}, overlimits {s['overlimits']} requeues {s['requeues']})\n"
            f" backlog {s['backlog']}b {s['qlen']}p\n" + (f"  {more}\n" if more else "")
        )


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def qdisc_list(net: Net) -> list[QdiscInfo]:
    """The disciplines of every device of ``net``, in order of ifindex, parents before what stands in them."""
    devices = sorted(net.devices, key=lambda dev: dev.ifindex)
    return [info for dev in devices if dev.qdisc is not None for info in _tree(dev.name, "root", dev.qdisc)]


def _tree(dev: str, parent: str, qdisc: Qdisc) -> Iterator[QdiscInfo]:
    yield QdiscInfo(dev, parent, qdisc)
    if isinstance(qdisc, Classful):
        for number, child in enumerate(qdisc.children(), 1):
            yield from _tree(dev, f"{'' if parent == 'root' else parent}:{number}", child)


def qdisc_text(net: Net) -> str:
    """All of `qdisc_list` as text."""
    return "".join(map(str, qdisc_list(net)))
