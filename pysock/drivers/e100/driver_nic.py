"""What the driver knows about one card, and how it starts and stops it. e100.c: struct nic, e100_up, e100_down.

Everything but `interrupt` and `poll` (driver_irq.py) and the operations that the stack calls (driver_ops.py).
"""

from __future__ import annotations

import errno
from functools import partial
from struct import unpack_from
from types import MethodType

from pysock.core.device import netif_carrier_off, netif_carrier_on
from pysock.core.errors import err
from pysock.core.gro import napi_gro_receive
from pysock.core.netdevice import napi_disable, netif_napi_add
from pysock.core.pci import PCI_REVISION_ID
from pysock.core.timer import Timer
from pysock.drivers.e100 import driver_access as hw
from pysock.drivers.e100 import driver_config, driver_irq, driver_watch, regs
from pysock.drivers.e100.driver_rx import RxRing
from pysock.drivers.e100.driver_tx import RESERVE, TxRing
from pysock.uapi.ethtool import NETIF_MSG_DRV, NETIF_MSG_LINK, NETIF_MSG_PROBE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.netdevice import NetDevice
    from pysock.core.pci import PciDevice
    from pysock.core.skbuff import SkBuff
    from pysock.core.softirq import NapiStruct

#: Sizes of the rings: default (Linux's), least, most.
RX_RING = (256, 16, 1024)
TX_RING = (128, 8, 1024)
_THRESHOLD = 0x20  # 256 bytes in the FIFO before a transmission starts; raised after underruns


class E100Nic:
    """One card's driver state (struct nic). ``rx`` and ``tx`` are there while it is up. Counters: ``interrupts``
    handled, ``resets`` done because the card hung. ``listening``: the bits of the interrupt byte that are not masked;
    ``quiet``: what is masked while nothing is being sent, as driver_irq.masked() has it.
    """

    __slots__ = (
        "broken", "csr", "dev", "dirty", "dma", "dump", "eeprom", "full", "gro_receive", "hard", "interrupts", "irqs",
        "kernel", "listening", "msg_enable", "napi", "pause", "pdev", "phy", "quiet", "receive", "reset_timer",
        "resets", "revision", "rx", "rx_count", "speed", "suspended", "threshold", "tx", "tx_count", "wake", "watch",
        "watched", "watching",
    )  # fmt: skip

    def __init__(
        self, pdev: PciDevice, dev: NetDevice, rx_count: int, tx_count: int, use_napi: bool, weight: int
    ) -> None:
        self.pdev = pdev
        self.csr = pdev.bars[0]
        self.dma = pdev.dma
        self.irqs = pdev.bus.irqs
        self.dev = dev
        self.kernel = dev.kernel
        self.revision = pdev.config[PCI_REVISION_ID]
        self.eeprom: list[int] = []
        self.phy = 0
        self.rx_count, self.tx_count = rx_count, tx_count
        self.rx: RxRing | None = None
        self.tx: TxRing | None = None
        self.napi: NapiStruct | None = None
        self.receive: Callable[[SkBuff], object] = dev.kernel.softnet.napi_receive
        self.gro_receive: Callable[[SkBuff], object] = self.receive
        if use_napi:
            self.napi = netif_napi_add(dev, MethodType(driver_irq.poll, self), weight)
            self.gro_receive = partial(napi_gro_receive, self.napi)
        can_mask = use_napi and self.revision >= regs.REVISION_82558
        self.quiet = driver_irq.SENDING_NOTHING if can_mask else driver_irq.EVERYTHING
        self.listening = 0
        self.threshold = _THRESHOLD
        self.dump = 0  # where the chip writes its counters; 0 before there is a device, and after
        self.hard = dict.fromkeys(regs.STAT_NAMES, 0)  # what it has written so far, added up
        self.speed, self.full, self.pause = 0, False, False
        self.interrupts = self.resets = 0
        self.dirty = False  # the chip must still be told of a change
        self.suspended = self.broken = False
        self.wake = False  # by a magic packet, while suspended
        self.msg_enable = NETIF_MSG_DRV | NETIF_MSG_PROBE | NETIF_MSG_LINK
        self.watching = False
        self.watched = (0, 0)
        self.watch = Timer(lambda: driver_watch.watchdog(self))
        self.reset_timer = Timer(lambda: driver_watch.reset(self))

    def identify(self) -> None:
        """Reset, test and read what identifies the card. OSError when it is not what it should be."""
        hw.hw_reset(self.csr)
        hw.self_test(self.csr, self.dma)
        self.eeprom = hw.eeprom_load(self.csr)
        self.phy = hw.find_phy(self.csr)
        self.dump = self.dma.alloc(4 * (regs.STATS_EXTENDED + 1))

    def address(self) -> bytes:
        """The MAC address in the EEPROM."""
        return b"".join(word.to_bytes(2, "little") for word in self.eeprom[:3])

    # -- up and down ---------------------------------------------------------------------------------------

    def up(self) -> None:
        """Rings, configuration, interrupts, and off it goes (e100_up). EIO when the chip does not listen, ENOMEM."""
        hw.hw_reset(self.csr)
        self.read_link()
        self.rx = RxRing(self.csr, self.dma, self.rx_count)
        try:
            self.tx = TxRing(self.csr, self.dma, self.tx_count, self.threshold)
            ready = (
                hw.exec_cmd(self.csr, regs.CUC_LOAD_BASE, 0)
                and hw.exec_cmd(self.csr, regs.RUC_LOAD_BASE, 0)
                and hw.exec_cmd(self.csr, regs.CUC_DUMP_ADDR, self.dump)
                and self.configure()
                and self.rx.start()
            )
            if not ready:
                raise err(errno.EIO, "e100: the chip takes no commands")
            self.irqs.request_irq(self.pdev.irq, MethodType(driver_irq.interrupt, self), self, self.dev.owner)
        except BaseException:
            self.down()
            raise
        driver_irq.start(self)
        self.tell_carrier()
        driver_watch.arm(self)

    def down(self) -> None:
        """Stop at once; what waits to be sent is dropped (e100_down). Nothing happens when it is down."""
        rx, tx = self.rx, self.tx
        if rx is None:
            return
        self.harvest()
        self.rx = self.tx = None
        self.listening = 0
        if self.napi is not None:
            napi_disable(self.napi)
        driver_watch.disarm(self)
        hw.hw_reset(self.csr)
        self.irqs.free_irq(self.pdev.irq, self)
        if tx is not None:
            self.threshold = tx.threshold
            tx.clean(self.dev)
            tx.free(self.dev)
        rx.free()

    # -- telling the chip ----------------------------------------------------------------------------------

    def configure(self) -> bool:
        """Send settings and filters (e100_configure, e100_setup_iaaddr, e100_multi). False, and done when there is room
        again, if the ring is full.
        """
        tx = self.tx
        if tx is None:
            return True
        self.irqs.local_irq_save()
        try:
            if tx.avail < RESERVE:
                tx.clean(self.dev)
            done = (
                tx.command(regs.OP_CONFIGURE, driver_config.configure_block(self))
                and tx.command(regs.OP_IAS, self.dev.dev_addr)
                and tx.command(regs.OP_MULTICAST, driver_config.multicast_block(self.dev))
            )
        finally:
            self.irqs.local_irq_restore()
        self.dirty = not done
        return done

    def command(self, opcode: int, data: bytes) -> bool:
        """Send one command. False when there is no room, or nobody to send it to."""
        tx = self.tx
        if tx is None:
            return False
        self.irqs.local_irq_save()
        try:
            return tx.command(opcode, data)
        finally:
            self.irqs.local_irq_restore()

    def tell_address(self, address: bytes) -> None:
        """Receive what is sent to ``address`` from now on."""
        if self.tx is not None and not self.command(regs.OP_IAS, address):
            self.dirty = True

    # -- what the chip tells -------------------------------------------------------------------------------

    def read_link(self) -> bool:
        """Ask the PHY for link, speed and duplex; whether there is a link."""
        csr, phy = self.csr, self.phy
        hw.mdio_read(csr, phy, regs.MII_BMSR)  # a past failure is latched until it is read
        up = hw.mdio_read(csr, phy, regs.MII_BMSR)
        linked = up != 0xFFFF and up & regs.BMSR_LSTATUS != 0
        if linked:
            status = hw.mdio_read(csr, phy, regs.MII_82555_STATUS)
            both = hw.mdio_read(csr, phy, regs.MII_ADVERTISE) & hw.mdio_read(csr, phy, regs.MII_LPA)
            self.speed = 100 if status & 2 else 10
            self.full = status & 1 != 0
            self.pause = self.full and both & 0x0400 != 0
        return linked

    def link_interrupt(self) -> None:
        """The PHY has news: look at it in softirq context, since a change of carrier has many listeners."""
        self.kernel.softnet.tx_action(self.check_link)

    def check_link(self) -> None:
        """Tell the stack what the PHY says, and the MAC when pause frames come or go."""
        if self.rx is None:
            return
        before = self.pause
        linked = self.read_link()
        if self.pause != before:
            self.configure()
        self._carrier(linked)

    def tell_carrier(self) -> None:
        self._carrier(self.read_link())

    def _carrier(self, linked: bool) -> None:
        if linked:
            netif_carrier_on(self.dev)
        else:
            netif_carrier_off(self.dev)

    def harvest(self) -> None:
        """Have the chip dump its counters and start them anew; add them up (e100_update_stats)."""
        words = regs.STATS_EXTENDED if self.revision >= regs.REVISION_82558 else regs.STATS_STANDARD
        if not self.dump:
            return  # the device is gone
        mem = self.dma.mem
        mem[self.dump : self.dump + 4 * words + 4] = bytes(4 * words + 4)
        if not hw.exec_cmd(self.csr, regs.CUC_DUMP_RESET):
            return
        *counts, done = unpack_from(f"<{words + 1}I", mem, self.dump)
        if done == regs.DUMP_RESET_DONE:
            for name, count in zip(regs.STAT_NAMES, counts, strict=False):
                self.hard[name] += count
