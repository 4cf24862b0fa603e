"""The interrupt handler and the poll function: how the driver hears of what the chip did. e100.c: e100_intr, e100_poll.

With NAPI the handler masks the card's interrupts and asks to be polled; poll does the work of many interrupts within
its budget and unmasks them when nothing is left. Without it the handler does the work itself, each time, and puts what
arrived on the backlog.
"""

from __future__ import annotations

from pysock.core.dev import netif_receive_skb, netif_rx
from pysock.core.netdevice import netif_wake_queue
from pysock.drivers.e100 import driver_watch
from pysock.drivers.e100.driver_access import disable_irq, enable_irq
from pysock.drivers.e100.regs import ACK_MDI, SCB_ACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.e100.driver_nic import E100Nic


def interrupt(nic: E100Nic) -> bool:
    """Was it us? Acknowledge everything; work, or have it done (e100_intr)."""
    csr = nic.csr
    why = csr.read8(SCB_ACK)
    if why in (0, 0xFF):  # not ours; or the card is out of its slot
        return False
    csr.write8(SCB_ACK, why)
    nic.interrupts += 1
    if not nic.watching:
        driver_watch.arm(nic)
    napi = nic.napi
    if napi is not None:
        if napi.schedule():
            disable_irq(csr)
        if why & ACK_MDI:
            nic.link_interrupt()
        return True
    rx = nic.rx
    if rx is not None:
        rx.clean(rx.count, nic.dev, netif_rx)
    clean_tx(nic)
    if why & ACK_MDI:
        nic.link_interrupt()
    return True


def poll(nic: E100Nic, budget: int) -> int:
    """Handle at most ``budget`` frames (e100_poll)."""
    rx = nic.rx
    if rx is None:
        return 0
    deliver = nic.gro_receive if rx.waiting(1) else netif_receive_skb  # one frame alone has nothing to be glued to
    work = rx.clean(budget, nic.dev, deliver)
    clean_tx(nic)
    napi = nic.napi
    if work >= budget or nic.rx is None or napi is None:
        return work
    csr = nic.csr
    why = csr.read8(SCB_ACK)
    if why and why != 0xFF:
        # Something happened since: look again, on our next turn, before interrupts come on.
        csr.write8(SCB_ACK, why)
        if why & ACK_MDI:
            nic.link_interrupt()
        return work
    napi.complete_done(work)
    enable_irq(csr)
    return work


def clean_tx(nic: E100Nic) -> None:
    """Reclaim what was sent, and let the stack send more if there is room again."""
    tx = nic.tx
    if tx is None or not tx.clean(nic.dev):
        return
    if nic.dirty:
        nic.configure()
    if nic.dev.tx_stopped and tx.avail >= tx.count >> 2 and not nic.suspended:
        netif_wake_queue(nic.dev)
