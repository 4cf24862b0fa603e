"""SO_ATTACH_REUSEPORT_CBPF: a program chooses which socket of a SO_REUSEPORT group takes a packet
(reuseport_attach_prog, reuseport_select_sock).

The program is the group's: set on one member it holds for all, and for those that join. It sees the packet from the
transport's payload on, and returns the place of a member, the oldest one first; any other number leaves the choice to
the hash of the flow.

Without a program, in a kernel of several CPUs, SO_INCOMING_CPU chooses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pysock.core.sock import Sock
from pysock.core.sock_ext import ext_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysock.core.filter import BpfProgram
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.inet_sock import InetSock

S = TypeVar("S", bound=Sock)


def same_group(sk: InetSock, other: InetSock) -> bool:
    """Whether two sockets at one port share its packets: both want to, at one address, on one device, for one user."""
    part, others = sk.pinet6, other.pinet6
    return (
        other.reuseport
        and other.family == sk.family
        and other.rcv_saddr == sk.rcv_saddr
        and other.bound_dev_if == sk.bound_dev_if
        and other.creds.uid == sk.creds.uid
        and (part is None or others is None or part.rcv_saddr == others.rcv_saddr)
    )


def program_of(sk: Sock) -> BpfProgram | None:
    """The program of the group that ``sk`` is in."""
    return sk.ext.reuseport_prog if sk.ext is not None else None


def share(group: Sequence[Sock], program: BpfProgram | None) -> None:
    """Give every member ``program``, or take theirs away."""
    for sk in group:
        if program is not None or sk.ext is not None:
            ext_of(sk).reuseport_prog = program


def join(sk: Sock, group: Sequence[Sock]) -> None:
    """``sk`` came to ``group``, which it is in: the program of the others is its own now, or its own theirs."""
    program = next((found for found in map(program_of, group) if found is not None), None)
    if program is not None:
        share(group, program)


def _on_this_cpu(group: Sequence[S], default: S) -> S:
    """Among several CPUs, one that asked for the packets of this one (SO_INCOMING_CPU), from ``default`` on
    (reuseport_select_sock_by_hash).
    """
    here = default.kernel.softnet.cpu
    start = group.index(default)
    for sk in (*group[start:], *group[:start]):
        if sk.ext is not None and sk.ext.incoming_cpu == here:
            return sk
    return default


def choose(group: Sequence[S], default: S, skb: SkBuff, header: int) -> S:
    """Who of ``group`` takes ``skb``, whose transport header has ``header`` bytes; ``default`` if nothing else says.
    """
    program = program_of(default)
    if program is None:
        return default if len(default.kernel.cpus) == 1 else _on_this_cpu(group, default)
    if skb.len - skb.data_len < header:
        return default
    skb.data += header
    skb.len -= header
    place = program.run(skb)
    skb.data -= header
    skb.len += header
    return group[place] if place < len(group) else default
