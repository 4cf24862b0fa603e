"""The device: what the stack sends is written to the real one, what that sends is polled (drivers/net/tun.c).

    ndo_start_xmit --writev(virtio_net_hdr, head, frags)--> /dev/net/tun     EAGAIN: stop the queue until it is writable
    readable -> Service -> NAPI poll --read--> receive_skb                   until EAGAIN or the budget is used up

Carrier follows the real end: a device that is down refuses writes with EIO (tx_carrier_errors), and turns writable when
it comes up; one that was removed (EBADFD) is let go of, and attached to again when our end is taken down and up.
While NAPI is scheduled nobody looks at the descriptor: the thread that would is the one that polls.
"""

from __future__ import annotations

import errno
import os

from pysock.core.dev import netif_receive_skb
from pysock.core.device import (
    NETDEV_TX_BUSY,
    NETDEV_TX_OK,
    netdev_update_features,
    netif_carrier_off,
    netif_carrier_on,
    netif_napi_add,
    netif_stop_queue,
    netif_wake_queue,
)
from pysock.core.errors import err
from pysock.core.eth import EthDeviceOps, eth_random_addr, eth_type_trans, ether_setup
from pysock.core.ethtool_ops import EthtoolOps, ethtool_op_get_link
from pysock.core.gro import napi_gro_receive
from pysock.core.netdev_features import (
    NETIF_F_GRO,
    NETIF_F_GSO_UDP_L4,
    NETIF_F_HIGHDMA,
    NETIF_F_HW_CSUM,
    NETIF_F_RXCSUM,
    NETIF_F_SG,
    NETIF_F_TSO,
    NETIF_F_TSO6,
    NETIF_F_TSO_ECN,
)
from pysock.core.skbuff import SkBuff, consume_skb, kfree_skb
from pysock.drivers.tap.chardev import TunQueue
from pysock.drivers.tap.service import IN, OUT
from pysock.drivers.tap.vnet import from_skb, to_skb
from pysock.uapi.ethtool import DUPLEX_FULL, SPEED_10000
from pysock.uapi.if_ import ARPHRD_NONE, IFF_MULTICAST, IFF_NOARP, IFF_POINTOPOINT
from pysock.uapi.if_ether import ETH_DATA_LEN, ETH_P_IP, ETH_P_IPV6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.ethtool_types import Channels, DrvInfo, LinkSettings, TsInfo
    from pysock.core.netdevice import NetDevice
    from pysock.core.softirq import NapiStruct
    from pysock.drivers.tap.service import Service

# Before a patch: ours pass real descriptors on, but not for nothing.
_read = os.read
_writev = os.writev

#: The longest frame that the kernel hands out: 64 KiB, link-layer and virtio_net headers.
FRAME_MAX: Final = 65536 + 64
MTU_MAX: Final = 65535 - 14
GSO_MAX_SIZE: Final = 65536  # of a whole frame; what is longer is cut before it comes here
_FRAGS_MAX: Final = 1000  # writev takes 1024 pieces
_GONE: Final = (errno.EBADFD, errno.EBADF, errno.ENODEV, errno.ENXIO)
_OFFLOADS: Final = NETIF_F_HW_CSUM | NETIF_F_TSO | NETIF_F_TSO6 | NETIF_F_TSO_ECN


class Settings:
    """The options of `TapDriver.create`, checked."""

    __slots__ = ("mode", "multi_queue", "offloads", "owner", "persist", "queue", "tap", "vnet_hdr")

    def __init__(self, options: dict[str, object]) -> None:
        """EINVAL for an option that there is not, or of another type."""
        from pysock.drivers.tap.driver import TapDriver

        unknown = [option for option in options if option not in TapDriver.options]
        if unknown:
            raise err(errno.EINVAL, f"tap has no option {unknown[0]!r} (it knows {', '.join(TapDriver.options)})")
        tap, mode = options.get("tap"), options.get("mode", "tap")
        persist, owner = options.get("persist"), options.get("owner")
        queue = options.get("queue")
        if not isinstance(tap, str | None) or not isinstance(persist, bool | None) or not isinstance(owner, int | None):
            raise err(errno.EINVAL, "tap takes tap=name, persist=True or False, owner=user id")
        if mode not in ("tap", "tun"):
            raise err(errno.EINVAL, f"mode is 'tap' or 'tun', not {mode!r}")
        if queue is not None and (not isinstance(queue, TunQueue) or tap is not None or queue.mode != mode):
            raise err(errno.EINVAL, "tap takes queue=TunQueue, of the same mode, in place of tap=name")
        self.queue: TunQueue | None = queue
        self.tap: str | None = tap
        self.mode: str = mode
        self.persist: bool | None = persist
        self.owner: int | None = owner
        self.vnet_hdr = bool(options.get("vnet_hdr", True))
        self.offloads = bool(options.get("offloads", True))
        self.multi_queue = bool(options.get("multi_queue", False))


class TapOps(EthDeviceOps):
    """One device. ``queue`` is the real device that it is attached to, None before and after. ``plugged`` is False
    while somebody pretends that its cable is out, by `plug`.
    """

    __slots__ = ("_dev", "_eth", "_fd", "_gro", "_napi", "_vnet_hdr", "plugged", "queue", "service", "settings")

    def __init__(self, settings: Settings, service: Service) -> None:
        self.settings = settings
        self.service = service
        self.queue: TunQueue | None = None
        self._fd = -1
        self._eth = settings.mode == "tap"
        self._vnet_hdr = self._gro = False
        self.plugged = True
        self._dev: NetDevice = None  # type: ignore[assignment]  # setup() knows it
        self._napi: NapiStruct = None  # type: ignore[assignment]  # ndo_init makes it

    # -- life ----------------------------------------------------------------------------------------------

    def ndo_init(self, dev: NetDevice) -> None:
        """Attach. Errors of `TunQueue`."""
        self._dev = dev
        self._attach()
        self._napi = netif_napi_add(dev, self.poll)

    def _attach(self) -> None:
        settings = self.settings
        queue = settings.queue
        if queue is None:
            queue = TunQueue(
                settings.tap, mode=settings.mode, vnet_hdr=settings.vnet_hdr, multi_queue=settings.multi_queue
            )
        elif queue.fd < 0:
            raise err(errno.ENODEV, f"the real device {queue.name} is gone")
        try:
            offloads = queue.vnet_hdr and settings.offloads
            if queue.vnet_hdr:
                queue.set_offload(offloads)
            if settings.owner is not None:
                queue.set_owner(settings.owner)
            if settings.persist is not None:
                queue.set_persist(settings.persist)
        except BaseException:
            queue.close()
            raise
        self.queue = queue
        self._fd = queue.fd
        self._vnet_hdr = queue.vnet_hdr
        self._gro = self._eth and not offloads  # else the kernel does not cut what it sends
        features = NETIF_F_SG | NETIF_F_HIGHDMA | NETIF_F_RXCSUM
        if offloads:
            features |= _OFFLOADS | (NETIF_F_GSO_UDP_L4 if queue.uso else 0)
        self._dev.features |= features
        self._dev.hw_features |= features

    def _detach(self) -> None:
        queue, self.queue = self.queue, None
        self._fd = -1
        if queue is not None:
            self.service.remove(queue.fd)
            queue.close()

    def ndo_uninit(self, dev: NetDevice) -> None:
        self._detach()

    def ndo_open(self, dev: NetDevice) -> None:
        """Start to listen; attach anew if the real device was lost. Errors of `TunQueue`."""
        if self.queue is None:
            self._attach()
            netdev_update_features(dev)  # what was switched off stays off
        netif_carrier_off(dev)  # until it is writable, which is at once when the real end is up
        self.service.add(self._fd, self._ready)
        self.service.want_write(self._fd, True)
        self.service.look()

    def ndo_stop(self, dev: NetDevice) -> None:
        self.service.remove(self._fd)

    def ndo_validate_addr(self, dev: NetDevice) -> None:
        if self._eth:
            super().ndo_validate_addr(dev)

    # -- the real end --------------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        """The descriptor is ready. Under the kernel lock, in the service thread."""
        if events & OUT:
            self.service.want_write(self._fd, False)
            if self.plugged:
                netif_carrier_on(self._dev)
                netif_wake_queue(self._dev)
        if events & IN:
            self._napi.schedule()
        elif events & ~OUT:
            self._lost()

    def _lost(self) -> None:
        """The real device was removed: nobody will ever write to it or read from it."""
        self._detach()
        netif_carrier_off(self._dev)

    def _down(self) -> None:
        """The real end is down, and says so when it is written to only."""
        if self._fd >= 0 and self._dev.running:
            netif_carrier_off(self._dev)
            self.service.want_write(self._fd, True)

    def _later(self, work: Callable[[], None]) -> None:
        """Do ``work`` at the end of this run of softirqs: carrier is not to change under a packet."""
        self._dev.kernel.softnet.tx_action(work)

    def plug(self, plugged: bool) -> None:
        """Pull the cable out, or plug it in again: without it there is no carrier, and what the real end has sent or
        sends is lost (rx_dropped). The real end knows nothing of it. Needs the kernel lock.
        """
        if plugged == self.plugged:
            return
        if not plugged:
            self.plugged = False
            netif_carrier_off(self._dev)
        else:
            if self.queue is not None:
                self._drain()
            self.plugged = True
            if self._dev.running:
                self.service.want_write(self._fd, True)
                self.service.look()

    def _drain(self) -> None:
        try:
            while True:
                _read(self._fd, FRAME_MAX)
                self._dev.stats.rx_dropped += 1
        except OSError:
            pass  # nothing left, or nobody there: the service will see

    # -- out -----------------------------------------------------------------------------------------------

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """tun_get_user(), from the other side: one system call, nothing is joined."""
        size = skb.len
        at = skb.data
        tail = at + size - skb.data_len
        head: bytes | bytearray | memoryview = skb.head
        if at or tail != len(head):
            head = memoryview(head)[at:tail]
        frags = skb.frags
        if len(frags) > _FRAGS_MAX:
            frags = (b"".join(frags),)
        try:
            if self._vnet_hdr:
                _writev(self._fd, (from_skb(skb), head, *frags))
            else:
                _writev(self._fd, (head, *frags))
        except OSError as exc:
            return self._refused(skb, dev, exc.errno or 0)
        dev.stats.tx_packets += 1
        dev.stats.tx_bytes += size
        consume_skb(skb)
        return NETDEV_TX_OK

    def _refused(self, skb: SkBuff, dev: NetDevice, number: int) -> int:
        if number == errno.EAGAIN:
            netif_stop_queue(dev)
            self.service.want_write(self._fd, True)
            return NETDEV_TX_BUSY
        stats = dev.stats
        stats.tx_errors += 1
        if number == errno.EIO:
            stats.tx_carrier_errors += 1
            self._later(self._down)
        elif number in _GONE:
            stats.tx_carrier_errors += 1
            self._later(self._lost)
        else:
            stats.tx_aborted_errors += 1
        kfree_skb(skb, "DEV_READY")
        return NETDEV_TX_OK

    # -- in ------------------------------------------------------------------------------------------------

    def poll(self, budget: int) -> int:
        """NAPI: read up to ``budget`` packets."""
        done = 0
        try:
            while done < budget:
                frame = _read(self._fd, FRAME_MAX)
                done += 1
                if self.plugged:
                    self._receive(frame)
                else:
                    self._dev.stats.rx_dropped += 1
        except BlockingIOError:
            pass
        except OSError:  # EBADFD
            self._lost()
        if done < budget:
            self._napi.complete_done(done)
        return done

    def _receive(self, frame: bytes) -> None:
        dev = self._dev
        skb = SkBuff(frame, 0, len(frame))
        if self._vnet_hdr and not to_skb(skb):
            dev.stats.rx_frame_errors += 1
            dev.stats.rx_errors += 1
            kfree_skb(skb, "DEV_HDR")
        elif eth_type_trans(skb, dev) if self._eth else ip_type_trans(skb, dev):
            if self._gro and dev.features & NETIF_F_GRO:
                dev.stats.rx_packets += 1
                dev.stats.rx_bytes += skb.len + skb.data - skb.mac_header
                napi_gro_receive(self._napi, skb)
            else:
                netif_receive_skb(skb)
        else:
            kfree_skb(skb, "PKT_TOO_SMALL")


class TapEthtool(EthtoolOps):
    """tun_ethtool_ops."""

    __slots__ = ("tap",)

    def __init__(self, tap: TapOps) -> None:
        self.tap = tap

    def get_drvinfo(self, dev: NetDevice) -> DrvInfo:
        from pysock.core.ethtool_types import DrvInfo

        return DrvInfo("tun", "1.6", bus_info=self.tap.settings.mode)

    def get_link(self, dev: NetDevice) -> bool:
        return ethtool_op_get_link(dev)

    def get_link_ksettings(self, dev: NetDevice) -> LinkSettings:
        from pysock.core.ethtool_types import LinkSettings

        return LinkSettings(SPEED_10000, DUPLEX_FULL)

    def get_channels(self, dev: NetDevice) -> Channels:
        from pysock.core.ethtool_types import Channels

        return Channels(max_combined=1, combined_count=int(self.tap.queue is not None))

    def get_ts_info(self, dev: NetDevice) -> TsInfo:
        from pysock.core.ethtool_types import TS_INFO_SOFTWARE

        return TS_INFO_SOFTWARE


def ip_type_trans(skb: SkBuff, dev: NetDevice) -> bool:
    """What `eth_type_trans` is for frames, for bare IP packets: the version tells the protocol. False for neither 4
    nor 6: counted in rx_dropped, as tun does.
    """
    version = skb.head[skb.data] >> 4 if skb.len else 0
    if version not in (4, 6):
        dev.stats.rx_dropped += 1
        return False
    skb.dev = dev
    skb.mac_header = skb.data
    skb.protocol = ETH_P_IP if version == 4 else ETH_P_IPV6
    return True


def setup(dev: NetDevice, ops: TapOps) -> None:
    """Fill in a fresh device (tun_net_init)."""
    if ops.settings.mode == "tap":
        ether_setup(dev)
        dev.dev_addr = eth_random_addr(dev.kernel.random("mac"))
        dev.live_addr_change = True
    else:
        dev.type = ARPHRD_NONE
        dev.mtu = ETH_DATA_LEN
        dev.flags = IFF_POINTOPOINT | IFF_NOARP | IFF_MULTICAST
        dev.tx_queue_len = 500
    dev.min_mtu = 68
    dev.max_mtu = MTU_MAX
    dev.netdev_ops = ops
    dev.ethtool_ops = TapEthtool(ops)
    dev.gso_max_size = GSO_MAX_SIZE
