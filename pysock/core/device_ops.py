"""Everything that the author of a device driver writes against, in one place.

    Driver        one per kind of device ("loopback", "dummy", "e100"): makes NetDevices. Registered by a plugin's
                  `pysock_register_drivers(register)`.
    NetDeviceOps  what the stack asks of a device (struct net_device_ops). Override what the device can do.
    EthtoolOps    what programs may ask and change beyond that (struct ethtool_ops): in ethtool_ops.py.
    HeaderOps     the device's link-layer header (struct header_ops); Ethernet's is in core/eth.py.
    DeviceStats   the counters, under the names of rtnl_link_stats64. The driver counts what it sends and receives.

What the stack promises to every method here, and what it expects:

- It runs under the kernel lock, and must not block, sleep or use the socket API of the same Kernel. What must wait
  goes into a timer (`kernel.timers`) or, for real devices, a thread of the driver's own that enters with
  `kernel.enter()` and goes with `kernel.leave()`.
- Configuration (ndo_init, ndo_open, ndo_change_mtu, ...) may raise `OSError`: the operation is undone and its caller
  gets the error. Anything else it raises is reported once, under the name of the plugin, and the caller gets EIO.
- The packet path (ndo_start_xmit, a NAPI poll) should not raise. If it does, the packet is lost and counted in
  tx_errors, and the exception is reported once.
- A driver hands received packets to `netif_rx(skb)` of core/dev.py, with `skb.dev` set and, on Ethernet, after
  `eth_type_trans(skb, dev)`; or it adds a poll function with `netif_napi_add` and hands them to
  `kernel.dev_layer.receive_skb(skb)` from there.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.capability import Credentials
    from pysock.core.device import NetDevice
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.skbuff import SkBuff

# What ndo_start_xmit returns (netdev_tx_t)
NETDEV_TX_OK = 0x00
NETDEV_TX_BUSY = 0x10


class DeviceStats:
    """Counters of one device (rtnl_link_stats64). Bytes include the link-layer header and no FCS."""

    __slots__ = (
        "rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped",
        "multicast", "collisions", "rx_length_errors", "rx_over_errors", "rx_crc_errors", "rx_frame_errors",
        "rx_fifo_errors", "rx_missed_errors", "tx_aborted_errors", "tx_carrier_errors", "tx_fifo_errors",
        "tx_heartbeat_errors", "tx_window_errors", "rx_compressed", "tx_compressed", "rx_nohandler",
        "rx_otherhost_dropped",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rx_packets = self.tx_packets = self.rx_bytes = self.tx_bytes = 0
        self.rx_errors = self.tx_errors = self.rx_dropped = self.tx_dropped = 0
        self.multicast = self.collisions = 0
        self.rx_length_errors = self.rx_over_errors = self.rx_crc_errors = self.rx_frame_errors = 0
        self.rx_fifo_errors = self.rx_missed_errors = 0
        self.tx_aborted_errors = self.tx_carrier_errors = self.tx_fifo_errors = 0
        self.tx_heartbeat_errors = self.tx_window_errors = 0
        self.rx_compressed = self.tx_compressed = self.rx_nohandler = self.rx_otherhost_dropped = 0

    def as_dict(self) -> dict[str, int]:
        """Every counter by name, in the order of struct rtnl_link_stats64."""
        return {name: getattr(self, name) for name in self.__slots__}

    def copy(self) -> DeviceStats:
        new = DeviceStats()
        for name in self.__slots__:
            setattr(new, name, getattr(self, name))
        return new

    def __repr__(self) -> str:
        return f"<DeviceStats {' '.join(f'{name}={value}' for name, value in self.as_dict().items() if value)}>"


class NetDeviceOps:
    """What a device does (struct net_device_ops). One object may serve many devices, or each may have its own.

    `dev.netdev_ops` is set in the driver's setup() and stays: the transmit path keeps the bound ndo_start_xmit.
    """

    __slots__ = ()

    def ndo_init(self, dev: NetDevice) -> None:
        """register_netdev checked name and features and is about to make the device visible. May raise OSError."""

    def ndo_uninit(self, dev: NetDevice) -> None:
        """The device was unregistered, or its registration failed after ndo_init: let everything go."""

    def ndo_open(self, dev: NetDevice) -> None:
        """The device goes up: get ready to send and receive. On an OSError it stays down."""

    def ndo_stop(self, dev: NetDevice) -> None:
        """The device goes down: no packet may be received after this. What it raises is reported; down it goes."""

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """Send ``skb``, a whole frame from ``skb.data`` on; it belongs to the driver now, which frees it
        (`consume_skb`) or passes it on, and counts it in `dev.stats`.

        Called only while the device is up and its queue not stopped, with packets that its features admit: linear
        without NETIF_F_SG, checksums finished without NETIF_F_HW_CSUM, no longer than the MTU without NETIF_F_TSO.
        The bytes may be shared with others: they are read only (`skb_unshare` before writing).

        Returns NETDEV_TX_OK, also for a packet that the driver dropped and counted; or NETDEV_TX_BUSY, when it has
        no room *and did not touch the packet*, which is queued again. A driver without a queueing discipline above
        it (tx_queue_len 0) must not return BUSY. A good driver never does: it calls `netif_stop_queue` when its ring
        becomes full and `netif_wake_queue` when there is room again.
        """
        raise NotImplementedError(f"{type(self).__name__} of {dev.name} has no ndo_start_xmit")

    def ndo_change_mtu(self, dev: NetDevice, new_mtu: int) -> None:
        """``new_mtu`` bytes lie within dev.min_mtu and dev.max_mtu, nobody objected. Set up the hardware, or raise
        OSError; the stack stores `dev.mtu` afterwards.
        """

    def ndo_set_mac_address(self, dev: NetDevice, addr: bytes) -> None:
        """Use ``addr`` (dev.addr_len bytes) from now on; the stack stores `dev.dev_addr` afterwards.

        The default refuses with EOPNOTSUPP; Ethernet drivers derive from `eth.EthDeviceOps`, which checks it.
        """
        raise err(errno.EOPNOTSUPP)

    def ndo_validate_addr(self, dev: NetDevice) -> None:
        """Called before ndo_open: raise EADDRNOTAVAIL if the device has no usable address."""

    def ndo_set_rx_mode(self, dev: NetDevice) -> None:
        """dev.flags (IFF_PROMISC, IFF_ALLMULTI) or the lists dev.mc, dev.uc changed while up: set the filter."""

    def ndo_get_stats64(self, dev: NetDevice) -> DeviceStats:
        """The counters; the default is `dev.stats` itself. Override if the driver counts elsewhere, and return a
        copy that adds what the stack counted in dev.stats (dropped, errors, rx_nohandler).
        """
        return dev.stats

    def ndo_tx_timeout(self, dev: NetDevice) -> None:
        """The queue has been stopped for longer than dev.watchdog_timeo: reset the device and wake the queue.

        Called again each period while it stays stopped. Only for a driver that sets watchdog_timeo (ns).
        """

    def ndo_fix_features(self, dev: NetDevice, features: int) -> int:
        """Take bits away that the device can't have together; never add any."""
        return features

    def ndo_set_features(self, dev: NetDevice, features: int) -> None:
        """dev.features is about to become ``features``. May raise OSError."""

    def ndo_add_slave(self, dev: NetDevice, slave: NetDevice) -> None:
        """Make ``slave`` part of ``dev``: `ip link set SLAVE master DEV`. May raise OSError."""
        raise err(errno.EOPNOTSUPP)

    def ndo_del_slave(self, dev: NetDevice, slave: NetDevice) -> None:
        """Let ``slave`` go again. EINVAL when it is no part of ``dev``."""
        raise err(errno.EOPNOTSUPP)

    def ndo_siocbond(self, dev: NetDevice, cmd: int, data: bytes) -> bytes:
        """SIOCBONDENSLAVE and its kin with the 24 bytes of the ifreq's union; return them."""
        raise err(errno.EOPNOTSUPP)

    def ndo_do_ioctl(self, dev: NetDevice, cmd: int, data: bytes) -> bytes:
        """SIOCGMIIPHY and its kin, or a device-private ioctl (SIOCDEVPRIVATE + n), with the 24 bytes of the ifreq's
        union; return them.
        """
        raise err(errno.EOPNOTSUPP)


class HeaderOps:
    """The link-layer header of a device (struct header_ops)."""

    __slots__ = ()

    def build(self, dev: NetDevice, type: int, daddr: bytes | None, saddr: bytes | None) -> bytes | None:
        """The header for EtherType ``type``, from ``saddr`` (None: the device's own address) to ``daddr``.

        None when there is no ``daddr`` and the device cannot do without. IP and the neighbour cache keep the result
        and push it in front of each packet (hh_cache).
        """
        raise NotImplementedError

    def create(self, skb: SkBuff, dev: NetDevice, type: int, daddr: bytes | None, saddr: bytes | None) -> int:
        """Push the header onto ``skb``: its length, or minus its length when ``daddr`` is missing (nothing pushed)."""
        raise NotImplementedError

    def parse(self, skb: SkBuff) -> bytes:
        """The sender's address of a received packet whose mac_header is set; b"" when it has none."""
        return b""


class Driver:
    """A kind of device. One object per Kernel and registered by name; it keeps no state of a single device."""

    __slots__ = ()

    #: The slot in the driver table: "loopback", "dummy", "veth", as in `ip link add type NAME`.
    name = ""
    #: The name of a device that nobody names; a %d takes the first free number.
    device_name = "eth%d"
    #: The ioctls of sockets that make and configure this kind of device, for `ioctl` below (SIOCSIFVLAN).
    ioctls: tuple[int, ...] = ()
    #: IFLA_INFO_KIND-like options that `create` accepts, for error messages.
    options: tuple[str, ...] = ()

    def setup(self, dev: NetDevice) -> None:
        """Fill in a fresh device: type, addresses, mtu, features, flags, netdev_ops, header_ops, tx_queue_len."""
        raise NotImplementedError

    def ioctl(self, net: Net, creds: Credentials, cmd: int, arg: bytes) -> bytes:
        """Do one of `ioctls`; the answer is as long as ``arg``."""
        raise err(errno.ENOTTY)

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        """Make a device in ``net``, set up and not registered yet (`register_netdev` follows, or
        `DeviceLayer.create_device` does both).

        EINVAL for an option the driver does not know, or a bad name. Override to use options.
        """
        from pysock.core.device import alloc_netdev

        for option in options:
            if option not in self.options:
                known = ", ".join(self.options) or "none"
                raise err(errno.EINVAL, f"driver {self.name!r} has no option {option!r} (it knows {known})")
        dev = alloc_netdev(kernel, name if name is not None else self.device_name, self.setup, net)
        dev.driver = self
        return dev
