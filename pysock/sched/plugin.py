"""The plugin that brings pysock's own queueing disciplines. Each is imported when a device first gets one; most kernels
never have any but "noqueue".
"""

from __future__ import annotations

from importlib import import_module

from pysock.core.qdisc import QdiscOps
from pysock.sched.noqueue import NoQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.core.qdisc import Qdisc

#: name of the discipline -> its module, its class
_CLASSES: Final = {
    "pfifo_fast": ("pfifo_fast", "PfifoFast"),
    "pfifo": ("pfifo", "Pfifo"),
    "bfifo": ("pfifo", "Bfifo"),
    "netem": ("netem", "Netem"),
    "prio": ("prio", "Prio"),
    "tbf": ("tbf", "Tbf"),
    "fq": ("fq", "Fq"),
    "fq_codel": ("fq_codel", "FqCodel"),
}


def pysock_register_qdiscs(register: Callable[[QdiscOps], None]) -> None:
    register(QdiscOps("noqueue", NoQueue))
    for id, (module, name) in _CLASSES.items():
        register(QdiscOps(id, _imported(module, name)))


def _imported(module: str, name: str) -> Callable[..., Qdisc]:
    def factory(dev: NetDevice, **options: object) -> Qdisc:
        cls: Callable[..., Qdisc] = getattr(import_module(f"pysock.sched.{module}"), name)
        return cls(dev, **options)

    return factory
