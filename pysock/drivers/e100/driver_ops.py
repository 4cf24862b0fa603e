"""What the stack asks of an e100 device (struct net_device_ops of e100.c)."""

from __future__ import annotations

import errno

from pysock.core.device import netif_carrier_off
from pysock.core.device_ops import NETDEV_TX_BUSY, NETDEV_TX_OK, DeviceStats
from pysock.core.errors import err
from pysock.core.eth import EthDeviceOps, is_valid_ether_addr
from pysock.core.netdevice import netif_start_queue, netif_stop_queue
from pysock.core.skbuff import kfree_skb
from pysock.drivers.e100 import driver_watch
from pysock.drivers.e100.driver_irq import clean_tx, listen
from pysock.drivers.e100.driver_tx import MAX_FRAME, RESERVE, TxRing
from pysock.drivers.e100.regs import ACK_CNA, ACK_CX, SCB_ACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.drivers.e100.driver_nic import E100Nic


class E100Ops(EthDeviceOps):
    """One for each device."""

    __slots__ = ("nic",)

    def __init__(self, nic: E100Nic) -> None:
        self.nic = nic

    def ndo_open(self, dev: NetDevice) -> None:
        """EIO when the chip takes no commands, ENODEV when the card is gone."""
        if self.nic.pdev.card is None:
            raise err(errno.ENODEV)
        self.nic.up()
        netif_start_queue(dev)

    def ndo_stop(self, dev: NetDevice) -> None:
        self.nic.down()
        driver_watch.disarm(self.nic)
        netif_carrier_off(dev)

    def ndo_uninit(self, dev: NetDevice) -> None:
        """The device goes, and with it the simulated card, unless it is only the driver that leaves."""
        nic = self.nic
        nic.dma.free(nic.dump)
        nic.dump = 0
        pdev, nic.pdev.drvdata = nic.pdev, None
        if pdev.driver is not None:
            pdev.bus.unplug(pdev)

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """Copy the frame to DMA memory and start the command unit (e100_xmit_frame). The packet is kept until the chip
        says that it is out.
        """
        nic = self.nic
        tx = nic.tx
        if tx is None or skb.len > MAX_FRAME:
            return self._lost(skb, dev)
        if tx.avail <= RESERVE:
            netif_stop_queue(dev)
            return NETDEV_TX_BUSY
        if nic.napi is None:
            irqs = nic.irqs  # the handler works on the ring, too
            irqs.local_irq_save()
            try:
                self._send(skb, tx)
            finally:
                irqs.local_irq_restore()
        elif not tx.send(skb, dev):
            driver_watch.schedule_reset(nic)
        elif tx.avail < tx.count:
            self._under_way(tx)
            rx = nic.rx
            if nic.listening and not nic.listening & ACK_CX and tx.avail < tx.count and rx is not None:
                listen(nic, rx, tx)
        if not nic.watching:
            driver_watch.arm(nic)
        return NETDEV_TX_OK

    def _lost(self, skb: SkBuff, dev: NetDevice) -> int:
        if self.nic.tx is None:  # between a reset that failed and the next
            dev.stats.tx_dropped += 1
            kfree_skb(skb, "DEV_READY")
        else:
            dev.stats.tx_errors += 1
            kfree_skb(skb, "PKT_TOO_BIG")
        return NETDEV_TX_OK

    def _send(self, skb: SkBuff, tx: TxRing) -> None:
        """With interrupts off."""
        nic = self.nic
        if not tx.send(skb, nic.dev):
            driver_watch.schedule_reset(nic)
        elif tx.avail == tx.count:
            nic.csr.write8(SCB_ACK, ACK_CX | ACK_CNA)  # done already, so save the interrupt
        else:
            self._under_way(tx)

    def _under_way(self, tx: TxRing) -> None:
        """The ring has blocks that are not taken back yet."""
        nic = self.nic
        if tx.finished():
            clean_tx(nic)
        if tx.avail <= RESERVE:
            netif_stop_queue(nic.dev)

    def ndo_tx_timeout(self, dev: NetDevice) -> None:
        """Nothing was sent for as long as watchdog_timeo: reset."""
        driver_watch.reset(self.nic)

    def ndo_set_rx_mode(self, dev: NetDevice) -> None:
        self.nic.configure()

    def ndo_set_mac_address(self, dev: NetDevice, addr: bytes) -> None:
        """May change while the device is up. EADDRNOTAVAIL for zero or a group address."""
        if not is_valid_ether_addr(addr):
            raise err(errno.EADDRNOTAVAIL)
        self.nic.tell_address(addr)

    def ndo_get_stats64(self, dev: NetDevice) -> DeviceStats:
        """The driver's counters, and the chip's, dumped now."""
        nic = self.nic
        if nic.rx is not None:
            nic.harvest()
        hard = nic.hard
        stats = dev.stats.copy()
        stats.rx_crc_errors += hard["rx_crc_errors"]
        stats.rx_frame_errors += hard["rx_alignment_errors"]
        stats.rx_length_errors += hard["rx_short_frames"]
        stats.rx_missed_errors += hard["rx_resource_errors"]
        stats.rx_over_errors += hard["rx_overrun_errors"]
        stats.rx_fifo_errors += hard["rx_overrun_errors"]
        stats.rx_errors += hard["rx_crc_errors"] + hard["rx_alignment_errors"] + hard["rx_short_frames"]
        stats.collisions += hard["tx_total_collisions"]
        stats.tx_aborted_errors += hard["tx_max_collisions"]
        stats.tx_window_errors += hard["tx_late_collisions"]
        stats.tx_carrier_errors += hard["tx_lost_carrier"]
        stats.tx_fifo_errors += hard["tx_underruns"]
        stats.tx_errors += hard["tx_max_collisions"] + hard["tx_late_collisions"] + hard["tx_lost_carrier"]
        return stats
