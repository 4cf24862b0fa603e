"""Flow labels that the stack chooses (RFC 6437; ip6_make_flowlabel): one for each flow, by a hash of its addresses and
ports, so that routers may keep its packets together.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet6.inet6_sock import Pinfo6

_MASK: Final = 0xFFFFF
_MULTIPLIER: Final = 0x9E3779B97F4A7C15


def choose(part: Pinfo6, flow: bytes) -> int:
    """The label of ``flow`` (its bytes as on the wire), 20 bits; 0 without IPV6_AUTOFLOWLABEL."""
    if not part.autoflowlabel:
        return 0
    state = part.inet6.state
    secret = state.get("flowlabel")
    if not isinstance(secret, int):
        secret = state["flowlabel"] = part.inet6.kernel.random("ip6.flowlabel").getrandbits(64)
    mixed = (int.from_bytes(flow, "big") ^ secret) % 0xFFFFFFFFFFFFFFC5 * _MULTIPLIER
    return mixed >> 40 & _MASK
