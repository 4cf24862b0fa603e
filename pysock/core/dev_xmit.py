"""The transmit path below `NetDevice.queue_xmit`, for every packet that cannot go straight to the driver.

    xmit_slow -> netfilter's EGRESS, then
              -> validate (GSO, linearize, checksum) -> taps -> ndo_start_xmit      without a queueing discipline
              -> qdisc.xmit -> enqueue ... dequeue -> validate -> taps -> ndo_start_xmit         with one

Rules that keep it true: a packet handed in is always disposed of, exactly once: sent, queued, or freed and counted.
Nothing here raises: what a driver, a tap or a queueing discipline raises is reported and costs the packet.
Source: net/core/dev.c and net/sched/sch_generic.c, by function name.
"""

from __future__ import annotations

import errno

from pysock.core.device_ops import NETDEV_TX_BUSY, NETDEV_TX_OK
from pysock.core.gso import pass_on_owner, skb_network_protocol
from pysock.core.netdev_features import (
    NETIF_F_CSUM_MASK,
    NETIF_F_FRAGLIST,
    NETIF_F_GSO_SHIFT,
    NETIF_F_HW_CSUM,
    NETIF_F_HW_VLAN_CTAG_TX,
    NETIF_F_HW_VLAN_STAG_TX,
    NETIF_F_IP_CSUM,
    NETIF_F_IPV6_CSUM,
    NETIF_F_SG,
    NETIF_F_TSO,
    NETIF_F_TSO6,
)
from pysock.core.skb_data import skb_checksum_help, skb_flatten, skb_linearize
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkbPanic, consume_skb, kfree_skb, skb_orphan
from pysock.core.timer import Timer
from pysock.uapi.if_ import IFF_UP
from pysock.uapi.if_ether import ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6
from pysock.uapi.if_packet import PACKET_HOST, PACKET_OUTGOING
from pysock.uapi.socket import SCM_TSTAMP_SCHED, SCM_TSTAMP_SND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.skb_ext import SkbExt
    from pysock.core.skbuff import SkBuff

# What dev_queue_xmit returns besides minus an errno.
NET_XMIT_SUCCESS = 0
NET_XMIT_DROP = 1  # the queueing discipline dropped it
NET_XMIT_CN = 2  # it is queued, or another one was dropped for it: slow down

#: A device with these takes a packet that is no super-segment and has no `ext` as it is.
PLAIN = NETIF_F_SG | NETIF_F_HW_CSUM


def xmit_slow(dev: NetDevice, skb: SkBuff) -> int:
    """__dev_queue_xmit() for everything but the direct case."""
    skb.mac_header = skb.data
    ext = skb.ext
    if ext is not None and ext.tx_stamp is not None:
        ext.tx_stamp(skb, SCM_TSTAMP_SCHED)
    if dev.nf is not None:
        return dev.nf.egress(skb, lambda skb: _xmit_accepted(dev, skb))
    return _xmit_accepted(dev, skb)


def _xmit_accepted(dev: NetDevice, skb: SkBuff) -> int:
    """The hooks at the device's egress, if any, let it pass."""
    if not dev.flags & IFF_UP:
        return _drop(dev, skb, -errno.ENETDOWN, "DEV_READY")
    if not dev.carrier:
        # A device without carrier has the noop qdisc in Linux, which swallows everything.
        return _drop(dev, skb, NET_XMIT_CN, "DEV_READY")
    if dev.num_tx_queues > 1:
        from pysock.core.rps import netdev_pick_tx

        netdev_pick_tx(dev, skb)
    qdisc = dev.qdisc
    if qdisc is not None and not qdisc.queueless:
        return qdisc.xmit(skb)
    if dev.tx_stopped:  # a device without a queue has nowhere to put it
        return _drop(dev, skb, -errno.ENETDOWN, "DEV_READY")
    ready = validate_xmit(dev, skb)
    for one in ready:
        if hard_start_xmit(dev, one) == NETDEV_TX_BUSY:
            xmit_refused(dev, one)
    return NET_XMIT_SUCCESS if ready else -errno.ENOMEM


def enable_tx_stamps(net: Net) -> None:
    """From now on packets take the way on which `SkbExt.tx_stamp` is asked, not the one straight to the driver."""
    if not net.tx_stamps:
        net.tx_stamps = True
        for dev in net.devices:
            dev.update_path()


def _drop(dev: NetDevice, skb: SkBuff, result: int, reason: str) -> int:
    dev.stats.tx_dropped += 1
    kfree_skb(skb, reason)
    return result


def xmit_raised(dev: NetDevice, skb: SkBuff, exc: Exception) -> int:
    """ndo_start_xmit raised: the packet is lost, its sender's accounts are settled. NET_XMIT_SUCCESS, as for a packet
    lost on the wire.

    Whether the driver freed or kept it before it raised nobody knows, so it is parted from its socket, not freed again.
    """
    dev.stats.tx_errors += 1
    dev.kernel.errors.report(dev.owner or dev.name, "ndo_start_xmit", exc)
    _let_go(dev, skb)
    return NET_XMIT_SUCCESS


def _let_go(dev: NetDevice, skb: SkBuff) -> None:
    try:
        skb_orphan(skb)
    except Exception as exc:  # the destructor is the sender's code
        dev.kernel.errors.report(dev.owner or dev.name, "skb destructor", exc)


def xmit_refused(dev: NetDevice, skb: SkBuff) -> int:
    """NETDEV_TX_BUSY from a device that has no queue above it: dropped."""
    return _drop(dev, skb, -errno.ENETDOWN, "DEV_READY")


def hard_start_xmit(dev: NetDevice, skb: SkBuff) -> int:
    """Show ``skb`` to the taps and give it to the driver (dev_hard_start_xmit). NETDEV_TX_OK or NETDEV_TX_BUSY; only
    with BUSY the packet is still the caller's.
    """
    if dev.taps:
        queue_xmit_nit(dev, skb)
    ext = skb.ext
    if ext is not None and ext.tx_stamp is not None and not dev.lowers:  # a stacked device's packet has not left yet
        ext.tx_stamp(skb, SCM_TSTAMP_SND)
        ext.tx_stamp = None
    start_xmit = dev.start_xmit
    try:
        if start_xmit(skb, dev) == NETDEV_TX_BUSY:
            return NETDEV_TX_BUSY
    except Exception as exc:
        xmit_raised(dev, skb, exc)
    return NETDEV_TX_OK


def queue_xmit_nit(dev: NetDevice, skb: SkBuff) -> None:
    """Let every tap see an outgoing packet (dev_queue_xmit_nit). Its pkt_type is PACKET_OUTGOING meanwhile."""
    skb.mac_header = skb.data
    skb.pkt_type = PACKET_OUTGOING
    deliver_taps(dev, skb)
    skb.pkt_type = PACKET_HOST


def deliver_taps(dev: NetDevice, skb: SkBuff) -> None:
    """Show ``skb`` to the taps. They look and, if they want to keep it, clone it; what one raises is contained."""
    for tap in dev.taps:
        try:
            tap(skb, dev)
        except Exception as exc:
            name = getattr(tap, "__qualname__", type(tap).__name__)
            dev.kernel.errors.report("packet type ALL", name, exc)


# --- making a packet fit the device ---------------------------------------------------------------------------------


def validate_xmit(dev: NetDevice, skb: SkBuff) -> tuple[SkBuff, ...]:
    """The packet or packets to send for ``skb``, in a shape that the device takes (validate_xmit_skb); none when it
    had to be dropped, counted in tx_dropped.
    """
    features = dev.features
    if skb.ext is None and not skb.gso_size and features & PLAIN == PLAIN:
        return (skb,)
    try:
        if skb.gso_size and not (skb.len < dev.gso_max_size and _gso_ok(skb, features)):
            return _segment(dev, skb)
        ext = skb.ext
        if ext is not None and ext.vlan_tci is not None and not _vlan_ok(dev, skb, ext):
            return ()
        if skb.data_len:
            if not features & NETIF_F_SG:
                skb_linearize(skb)
            elif not features & NETIF_F_FRAGLIST:
                skb_flatten(skb)
        if skb.ip_summed == CHECKSUM_PARTIAL and not _csum_ok(skb, features):
            skb_checksum_help(skb)
    except SkbPanic as exc:  # offsets that point outside: whoever built the packet erred
        dev.kernel.errors.report(dev.owner or dev.name, "validate_xmit", exc)
        _drop(dev, skb, 0, "SKB_CSUM")
        return ()
    return (skb,)


def _vlan_ok(dev: NetDevice, skb: SkBuff, ext: SkbExt) -> bool:
    """Put the tag beside the frame into it for a device that does not (validate_xmit_vlan). False: a runt, dropped."""
    takes = NETIF_F_HW_VLAN_CTAG_TX if ext.vlan_proto == ETH_P_8021Q else NETIF_F_HW_VLAN_STAG_TX
    if dev.features & takes:
        return True
    from pysock.core.vlan import vlan_push_inside

    if vlan_push_inside(skb):
        return True
    _drop(dev, skb, 0, "VLAN_MALFORMED")
    return False


def _gso_ok(skb: SkBuff, features: int) -> bool:
    """Whether the device cuts this super-segment itself (net_gso_ok). A gso_type of 0 means TCP."""
    if not features & NETIF_F_HW_CSUM and (skb.protocol in (ETH_P_8021Q, ETH_P_8021AD) or skb.vlan_tci is not None):
        return False  # a device that knows IP alone does not look behind tags
    kind = skb.gso_type
    if kind:
        needed = kind << NETIF_F_GSO_SHIFT
    else:
        needed = NETIF_F_TSO6 if skb_network_protocol(skb) == ETH_P_IPV6 else NETIF_F_TSO
    return features & needed == needed


def _csum_ok(skb: SkBuff, features: int) -> bool:
    """Whether the device finishes this packet's checksum (can_checksum_protocol)."""
    if not features & NETIF_F_CSUM_MASK:
        return False
    if features & NETIF_F_HW_CSUM:
        return True
    if skb.protocol == ETH_P_IP:
        return features & NETIF_F_IP_CSUM != 0
    return skb.protocol == ETH_P_IPV6 and features & NETIF_F_IPV6_CSUM != 0


def _segment(dev: NetDevice, skb: SkBuff) -> tuple[SkBuff, ...]:
    """Cut a super-segment in software; dropped when nobody can."""
    try:
        segments = dev.kernel.dev_layer.gso_segment(skb, dev.features)
    except Exception as exc:
        dev.kernel.errors.report("gso", "gso_segment", exc)
        segments = []
    if not segments:
        _drop(dev, skb, 0, "SKB_GSO_SEG")
        return ()
    for one in segments:
        one.dev = dev
        one.gso_size = 0  # each is one wire packet now
    if segments[0] is not skb:
        pass_on_owner(skb, segments)
        consume_skb(skb)
    return tuple(ready for one in segments for ready in validate_xmit(dev, one))


# --- the watchdog ---------------------------------------------------------------------------------------------------


def arm_watchdog(dev: NetDevice) -> None:
    """Look at the queue again when it has been stopped for watchdog_timeo."""
    timer = dev.watchdog
    if timer is None:
        timer = dev.watchdog = Timer(lambda: _watchdog(dev))
    dev.kernel.timers.mod_timer(timer, dev.tx_started + dev.watchdog_timeo)


def _watchdog(dev: NetDevice) -> None:
    """dev_watchdog(): the queue was stopped and nobody woke it."""
    if not (dev.tx_stopped and dev.running and dev.carrier):
        return
    now = dev.kernel.now
    if now >= dev.tx_started + dev.watchdog_timeo:
        dev.stats.tx_errors += 1
        dev.tx_started = now
        try:
            dev.netdev_ops.ndo_tx_timeout(dev)
        except Exception as exc:
            dev.kernel.errors.report(dev.owner or dev.name, "ndo_tx_timeout", exc)
    if dev.tx_stopped:
        arm_watchdog(dev)
