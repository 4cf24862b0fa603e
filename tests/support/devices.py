"""A kernel without families, and a device whose every move a test decides and records."""

from __future__ import annotations

from collections.abc import Callable

from pysock.core.device import (
    NETDEV_TX_BUSY,
    NETDEV_TX_OK,
    Driver,
    NetDevice,
    NetDeviceOps,
    alloc_netdev,
    dev_open,
    register_netdev,
)
from pysock.core.eth import EthDeviceOps, ether_setup
from pysock.core.kernel import Kernel
from pysock.core.netdev_features import NETIF_F_TAKES_ALL
from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import SkBuff, consume_skb

MAC = b"\x02\0\0\0\0\x01"
PEER = b"\x02\0\0\0\0\x02"
ETH_P_TEST = 0x88B5  # IEEE 802 local experimental


def boot(**options: object) -> Kernel:
    """A kernel with the built-in drivers and queueing disciplines only; what it reports is in `kernel.log_lines`."""
    options.setdefault("seed", 1)
    return Kernel.boot(
        clock="virtual",
        entry_points=False,
        blocked=["pysock.families.inet.plugin", "pysock.families.unix.plugin"],
        log=lambda text: None,
        **options,  # type: ignore[arg-type]
    )


def softirqs(kernel: Kernel) -> None:
    """What the end of any system call does."""
    kernel.enter()
    kernel.leave()


class WireOps(EthDeviceOps):
    """Records every frame in `sent`. `room` is how many it takes before it says BUSY (None: all); `raises` is what each
    operation named in it raises.
    """

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.skbs: list[SkBuff] = []
        self.calls: list[str] = []
        self.room: int | None = None
        self.stop_when_full = False
        self.raises: dict[str, Exception] = {}

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.raises:
            raise self.raises[name]

    def ndo_init(self, dev: NetDevice) -> None:
        self._called("init")

    def ndo_uninit(self, dev: NetDevice) -> None:
        self._called("uninit")

    def ndo_open(self, dev: NetDevice) -> None:
        self._called("open")

    def ndo_stop(self, dev: NetDevice) -> None:
        self._called("stop")

    def ndo_change_mtu(self, dev: NetDevice, new_mtu: int) -> None:
        self._called("change_mtu")

    def ndo_set_rx_mode(self, dev: NetDevice) -> None:
        self._called("set_rx_mode")

    def ndo_tx_timeout(self, dev: NetDevice) -> None:
        self._called("tx_timeout")

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        self._called("start_xmit")
        if self.room is not None:
            if self.room == 0:
                return NETDEV_TX_BUSY
            self.room -= 1
        self.sent.append(skb_to_bytes(skb))
        self.skbs.append(skb)
        dev.stats.tx_packets += 1
        dev.stats.tx_bytes += skb.len
        consume_skb(skb)
        if self.room == 0 and self.stop_when_full:
            from pysock.core.device import netif_stop_queue

            netif_stop_queue(dev)
        return NETDEV_TX_OK


class WireDriver(Driver):
    """The driver of `wire` below, for tests that go through the driver table."""

    name = "wire"
    device_name = "wire%d"

    def setup(self, dev: NetDevice) -> None:
        ether_setup(dev)
        dev.dev_addr = MAC
        dev.netdev_ops = WireOps()


def make(
    kernel: Kernel,
    name: str = "w%d",
    *,
    queue: bool = False,
    features: int = NETIF_F_TAKES_ALL,
    setup: Callable[[NetDevice], None] | None = None,
    ops: NetDeviceOps | None = None,
) -> NetDevice:
    """An Ethernet device, not registered; with a transmit queue if asked for."""

    def fill(dev: NetDevice) -> None:
        ether_setup(dev)
        dev.dev_addr = MAC
        dev.features = features
        dev.tx_queue_len = 10 if queue else 0
        dev.netdev_ops = WireOps() if ops is None else ops
        dev.owner = "test-plugin"
        if setup is not None:
            setup(dev)

    return alloc_netdev(kernel, name, fill)


def wire(kernel: Kernel, name: str = "w%d", **options: object) -> NetDevice:
    """The same, registered and up."""
    dev = make(kernel, name, **options)  # type: ignore[arg-type]
    register_netdev(dev)
    dev_open(dev)
    return dev


def ops_of(dev: NetDevice) -> WireOps:
    assert isinstance(dev.netdev_ops, WireOps)
    return dev.netdev_ops


def frame(payload: bytes = b"payload", ethertype: int = ETH_P_TEST, dst: bytes = PEER, src: bytes = MAC) -> bytes:
    return dst + src + ethertype.to_bytes(2, "big") + payload


def packet(dev: NetDevice | None, payload: bytes = b"payload", ethertype: int = ETH_P_TEST, **macs: bytes) -> SkBuff:
    """An outgoing frame as a protocol hands it to dev_queue_xmit."""
    data = frame(payload, ethertype, **macs)
    skb = SkBuff(data, 0, len(data))
    skb.protocol = ethertype
    skb.dev = dev
    return skb
