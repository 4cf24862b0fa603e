"""The plugin that brings pysock's own queueing disciplines."""

from __future__ import annotations

from pysock.core.qdisc import QdiscOps
from pysock.sched.noqueue import NoQueue
from pysock.sched.pfifo import Bfifo, Pfifo
from pysock.sched.pfifo_fast import PfifoFast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def pysock_register_qdiscs(register: Callable[[QdiscOps], None]) -> None:
    register(QdiscOps("noqueue", NoQueue))
    register(QdiscOps("pfifo_fast", PfifoFast))
    register(QdiscOps("pfifo", Pfifo))
    register(QdiscOps("bfifo", Bfifo))
