"""The interrupt handler and the poll function: how the driver hears of what the chip did. e100.c: e100_intr, e100_poll.

With NAPI the handler masks the card's interrupts and asks to be polled; poll does the work of many interrupts within
its budget, acknowledges them, and unmasks them when nothing is left. Without it the handler does the work itself, each
time, and puts what arrived on the backlog.

A wire that takes no time is through with a frame before ndo_start_xmit looks: so interrupts of the command unit are
unmasked (where the chip has a mask for them) only while blocks are under way.
"""

from __future__ import annotations

from pysock.core.dev import netif_rx
from pysock.core.netdevice import netif_wake_queue
from pysock.drivers.e100 import driver_watch
from pysock.drivers.e100.driver_access import enable_irq
from pysock.drivers.e100.regs import (
    ACK_CNA,
    ACK_CX,
    ACK_FCP,
    ACK_FR,
    ACK_MDI,
    ACK_RNR,
    ACK_SWI,
    MASK_ALL,
    MASK_CNA,
    MASK_CX,
    SCB_ACK,
    SCB_MASK,
    SCB_STATUS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.e100.driver_nic import E100Nic
    from pysock.drivers.e100.driver_rx import RxRing
    from pysock.drivers.e100.driver_tx import TxRing

_WORK = ACK_CX | ACK_FR | ACK_CNA | ACK_RNR | ACK_SWI | ACK_FCP
_EVERYTHING = _WORK | ACK_MDI
def masked(mask: int) -> tuple[int, int, int]:
    """What `listen` needs to know for ``mask``: itself, what is heard under it, and what to write into the SCB."""
    return mask, _EVERYTHING & ~mask, mask << 24 | _WORK << 8


EVERYTHING = masked(0)
#: Nothing is being sent, so the command unit has nothing to say.
SENDING_NOTHING = masked(MASK_CX | MASK_CNA)
_GONE = 0x02  # the bit of the interrupt byte that is never set, unless the card is out of its slot


def interrupt(nic: E100Nic) -> bool:
    """Was it us? Then do the work, or have it done (e100_intr)."""
    listening = nic.listening
    if not listening:
        return False
    csr = nic.csr
    why = csr.read8(SCB_ACK)
    if why & _GONE or not why & listening:
        return False
    nic.interrupts += 1
    if not nic.watching:
        driver_watch.arm(nic)
    napi = nic.napi
    if napi is None:
        _handle(nic, why)
    elif napi.schedule():
        nic.listening = 0
        csr.write8(SCB_MASK, MASK_ALL)
    if why & ACK_MDI:
        csr.write8(SCB_ACK, ACK_MDI)
        nic.link_interrupt()
    return True


def _handle(nic: E100Nic, why: int) -> None:
    """Everything at once, without NAPI."""
    nic.csr.write8(SCB_ACK, why)
    rx = nic.rx
    if rx is not None:
        rx.clean(rx.count, nic.dev, netif_rx)
    clean_tx(nic)


def poll(nic: E100Nic, budget: int) -> int:
    """Handle at most ``budget`` frames (e100_poll)."""
    rx = nic.rx
    if rx is None:
        return 0
    work = rx.clean(budget, nic.dev, nic.receive, nic.gro_receive)
    tx = nic.tx
    if tx is None:
        return work  # what was received took the device down
    if tx.avail < tx.count:
        clean_tx(nic)
    if work < budget:
        napi = nic.napi
        assert napi is not None
        napi.complete_done(work)
        listen(nic, rx, tx)
    return work


def start(nic: E100Nic) -> None:
    """The chip was started: hear of what it does from now on."""
    if nic.rx is None or nic.tx is None:
        return
    if nic.napi is None:
        nic.listening = _EVERYTHING
        enable_irq(nic.csr)
    else:
        listen(nic, nic.rx, nic.tx)


def listen(nic: E100Nic, rx: RxRing, tx: TxRing) -> None:
    """Acknowledge what happened so far, and unmask interrupts. What is found done after that has a poll of its own."""
    if tx.avail == tx.count:
        mask, nic.listening, command = nic.quiet
    else:
        mask, nic.listening, command = EVERYTHING
    nic.csr.write32(SCB_STATUS, command)
    if rx.waiting() or (not mask and tx.finished()):
        napi = nic.napi
        if napi is not None and napi.schedule():
            nic.listening = 0
            nic.csr.write8(SCB_MASK, MASK_ALL)


def clean_tx(nic: E100Nic) -> None:
    """Reclaim what was sent, and let the stack send more if there is room again."""
    tx = nic.tx
    if tx is None or not tx.clean(nic.dev):
        return
    if nic.dirty:
        nic.configure()
    if nic.dev.tx_stopped and tx.avail >= tx.count >> 2 and not nic.suspended:
        netif_wake_queue(nic.dev)
