"""What a non-blocking call does before it says EAGAIN."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel


def look_again(kernel: Kernel) -> bool:
    """Let due timers and pending softirqs run; True when some did, so that another attempt may succeed.

    A receive does not look at the clock on its way in. A program that does nothing but non-blocking receives
    would never see a timer fire (a retransmission, a delayed packet), if the failure did not look either.
    """
    next_expiry = kernel.timers.next_expiry
    ran = kernel.tick() >= next_expiry
    softnet = kernel.softnet
    if softnet.pending:
        softnet.run()
        ran = True
    return ran
