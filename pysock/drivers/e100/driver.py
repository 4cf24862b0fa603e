"""The e100 driver as the PCI bus sees it: probe, remove, suspend, resume (struct pci_driver of e100.c)."""

from __future__ import annotations

from pysock.core.device import netif_carrier_off, register_netdev, unregister_netdev
from pysock.core.eth import ether_setup, is_valid_ether_addr
from pysock.core.netdev_features import NETIF_F_HW_CSUM, NETIF_F_RXCSUM, NETIF_F_SG
from pysock.core.netdev_register import alloc_netdev, dev_alloc_name
from pysock.core.netdevice import netif_stop_queue
from pysock.core.pci import PciDevice, PciDeviceId, PciDriver
from pysock.core.softirq import NAPI_POLL_WEIGHT
from pysock.drivers.e100 import driver_access, driver_watch, regs
from pysock.drivers.e100.driver_ethtool import E100Ethtool
from pysock.drivers.e100.driver_nic import RX_RING, TX_RING, E100Nic
from pysock.drivers.e100.driver_ops import E100Ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice


class Parameters:
    """What the creator of a card tells the driver: where its device shall be, and how it shall work."""

    __slots__ = ("name", "napi", "net", "rx_ring", "tx_ring", "weight")

    def __init__(self, net: Net, name: str, napi: bool, rx_ring: int, tx_ring: int, weight: int) -> None:
        self.net = net
        self.name = name
        self.napi = napi
        self.rx_ring = rx_ring
        self.tx_ring = tx_ring
        self.weight = weight


class E100PciDriver(PciDriver):
    """e100_driver."""

    __slots__ = ()
    name = "e100"
    id_table = tuple(
        PciDeviceId(regs.VENDOR_INTEL, device, class_code=0x0200, class_mask=0xFFFF)
        for device in (regs.DEVICE_82557, regs.DEVICE_82559ER, regs.DEVICE_ICH2)
    )

    def probe(self, pdev: PciDevice) -> None:
        """Find out what card it is and make a device for it (e100_probe). ENXIO or EAGAIN for a card that is broken.

        One that was made as a device has `Parameters`, and its maker registers the device; another one's appears in the
        first namespace.
        """
        kernel = pdev.bus.kernel
        option = pdev.option
        if not isinstance(option, Parameters):
            net = kernel.init_net
            option = Parameters(net, dev_alloc_name(net, "eth%d"), True, RX_RING[0], TX_RING[0], NAPI_POLL_WEIGHT)
        pdev.enable()
        dev = alloc_netdev(kernel, option.name, _setup, option.net)
        nic = E100Nic(pdev, dev, option.rx_ring, option.tx_ring, option.napi, option.weight)
        nic.identify()
        dev.dev_addr = nic.address()
        if not is_valid_ether_addr(dev.dev_addr):
            driver_access.disable_irq(nic.csr)
            dev.dev_addr = bytes(6)  # ndo_validate_addr refuses to open it
        dev.netdev_ops = E100Ops(nic)
        dev.ethtool_ops = E100Ethtool(nic)
        dev.priv = nic
        dev.parent = pdev
        netif_carrier_off(dev)
        pdev.drvdata = dev
        if option is not pdev.option:
            dev.driver = kernel.dev_layer.drivers.get(self.name)
            register_netdev(dev)

    def remove(self, pdev: PciDevice) -> None:
        """The card goes, or is gone: so does the device (e100_remove)."""
        dev, pdev.drvdata = _device(pdev), None
        if dev is not None:
            unregister_netdev(dev)
            pdev.disable()

    def suspend(self, pdev: PciDevice) -> None:
        """Detach the device from the stack, and stop the card (e100_suspend)."""
        dev = _device(pdev)
        if dev is None:
            return
        nic = nic_of(dev)
        nic.suspended = True
        dev.present = False
        if dev.running:
            netif_stop_queue(dev)
            if dev.watchdog is not None:
                dev.kernel.timers.del_timer(dev.watchdog)
            nic.down()
            driver_watch.disarm(nic)
        pdev.enable_wake(nic.wake)

    def resume(self, pdev: PciDevice) -> None:
        """Start it as it was (e100_resume)."""
        dev = _device(pdev)
        if dev is None:
            return
        nic = nic_of(dev)
        pdev.enable_wake(False)
        nic.suspended = False
        dev.present = True
        if dev.running:
            driver_watch.start(nic)


def _setup(dev: NetDevice) -> None:
    ether_setup(dev)
    dev.watchdog_timeo = driver_watch.PERIOD
    dev.live_addr_change = True
    dev.features = dev.hw_features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_RXCSUM  # all by the driver


def _device(pdev: PciDevice) -> NetDevice | None:
    from pysock.core.netdevice import NetDevice

    return pdev.drvdata if isinstance(pdev.drvdata, NetDevice) else None


def nic_of(dev: NetDevice) -> E100Nic:
    """The driver's state of an e100 device."""
    nic = dev.priv
    assert isinstance(nic, E100Nic)
    return nic
