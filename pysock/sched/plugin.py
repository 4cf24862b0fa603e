"""The plugin that brings pysock's own queueing disciplines."""

from __future__ import annotations

from pysock.core.qdisc import QdiscOps
from pysock.sched.fq import Fq
from pysock.sched.fq_codel import FqCodel
from pysock.sched.netem import Netem
from pysock.sched.noqueue import NoQueue
from pysock.sched.pfifo import Bfifo, Pfifo
from pysock.sched.pfifo_fast import PfifoFast
from pysock.sched.prio import Prio
from pysock.sched.tbf import Tbf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def pysock_register_qdiscs(register: Callable[[QdiscOps], None]) -> None:
    register(QdiscOps("noqueue", NoQueue))
    register(QdiscOps("pfifo_fast", PfifoFast))
    register(QdiscOps("pfifo", Pfifo))
    register(QdiscOps("bfifo", Bfifo))
    register(QdiscOps("netem", Netem))
    register(QdiscOps("prio", Prio))
    register(QdiscOps("tbf", Tbf))
    register(QdiscOps("fq", Fq))
    register(QdiscOps("fq_codel", FqCodel))
