"""The driver's watchdog: finds out what the card would never tell. e100.c: e100_watchdog, e100_tx_timeout_task.

Every PERIOD while there is traffic, and once more: a lost interrupt is made up for by one that the driver asks the chip
for; a command unit that got nowhere, a receive unit that died, or frames that nobody fetches cost a reset. An idle
device has no timer, so that virtual time can come to rest.
"""

from __future__ import annotations

from pysock.core.device import netif_carrier_off
from pysock.core.netdevice import netif_wake_queue
from pysock.drivers.e100 import driver_irq
from pysock.drivers.e100.regs import MASK_SI, RU_READY, RUS_MASK, SCB_ACK, SCB_MASK, SCB_STATUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.e100.driver_nic import E100Nic

PERIOD = 2_000_000_000  # ns


def arm(nic: E100Nic) -> None:
    """There is traffic: watch."""
    nic.watching = True
    nic.kernel.timers.mod_timer(nic.watch, nic.kernel.now + PERIOD)


def watchdog(nic: E100Nic) -> None:
    """The timer."""
    rx, tx = nic.rx, nic.tx
    nic.watching = False
    if nic.broken:
        reset(nic)
        return
    if rx is None or tx is None:
        return
    csr = nic.csr
    waiting = tx.avail < tx.count
    before, nic.watched = nic.watched, (tx.done, nic.dev.stats.rx_packets)
    idle = nic.watched == before
    status = csr.read8(SCB_STATUS)
    if status == 0xFF:
        return  # the card is out of its slot
    deaf = status & RUS_MASK != RU_READY and not rx.waiting()
    if deaf or (waiting and tx.done == before[0] and not tx.finished()) or (idle and rx.waiting()):
        reset(nic)
        return
    if not nic.listening and nic.napi is not None and not nic.napi.scheduled:
        driver_irq.start(nic)  # a poll failed half way
    pending = csr.read8(SCB_ACK) & nic.listening
    if pending or tx.finished():
        csr.write8(SCB_MASK, csr.read8(SCB_MASK) | MASK_SI)
    nic.harvest()
    nic.check_link()
    if waiting or pending or not idle or rx.waiting():
        arm(nic)


def disarm(nic: E100Nic) -> None:
    """No more timers."""
    nic.watching = nic.broken = False
    nic.kernel.timers.del_timer(nic.watch)
    nic.kernel.timers.del_timer(nic.reset_timer)


def schedule_reset(nic: E100Nic) -> None:
    """The card hangs: reset it from the timers, not from where that was noticed."""
    nic.kernel.timers.mod_timer(nic.reset_timer, nic.kernel.now)


def reset(nic: E100Nic) -> None:
    """Take the card down and up again (e100_tx_timeout_task)."""
    nic.resets += 1
    nic.down()
    start(nic)


def start(nic: E100Nic) -> None:
    """Up, after a reset or from sleep. If it does not come up, it has no carrier, and the watchdog tries again."""
    nic.broken = False
    try:
        nic.up()
    except OSError as exc:
        nic.kernel.errors.report(nic.dev.owner, "e100 reset", exc)
        nic.broken = True
        netif_carrier_off(nic.dev)
        arm(nic)
        return
    netif_wake_queue(nic.dev)
