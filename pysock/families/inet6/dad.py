"""Duplicate address detection (RFC 4862 5.4, RFC 7527; addrconf_dad_* in net/ipv6/addrconf.c).

    start -> TENTATIVE -- random delay, then dad_transmits solicitations a retransmission time apart --> completed
                      '-- somebody has it, or solicits for it too --> failed

While it is tentative nobody may use the address, and packets to it are not ours. It is not detected on devices without
neighbours (loopback, NOARP), with accept_dad 0, or for IFA_F_NODAD: those complete at once. Each probe carries a nonce
(RFC 7527), so that a link that returns our own packets is no duplicate.
"""

from __future__ import annotations

from functools import partial

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.timer import Timer
from pysock.families.inet6 import addrconf
from pysock.families.inet6.addr import ANY6, host_text, is_linklocal, solicited_node
from pysock.families.inet6.devconf import (
    IFA_F_DADFAILED,
    IFA_F_NODAD,
    IFA_F_PERMANENT,
    IFA_F_TENTATIVE,
    Inet6Ifaddr,
    idev_of,
)
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_NOARP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet6.net import Inet6Net

#: MAX_RTR_SOLICITATION_DELAY: the longest wait before the first probe.
_MAX_DELAY: Final = NSEC_PER_SEC


def start(inet6: Inet6Net, ifa: Inet6Ifaddr) -> None:
    """Find out whether ``ifa`` is free on its link (addrconf_dad_start)."""
    dev = ifa.dev
    idev = idev_of(dev)
    if idev is None or not ifa.flags & IFA_F_TENTATIVE or ifa.flags & IFA_F_DADFAILED:
        return
    accept_dad = max(idev.conf.accept_dad, addrconf.addrconf_of(inet6).all.accept_dad)
    probes = idev.conf.dad_transmits
    if dev.flags & (IFF_NOARP | IFF_LOOPBACK) or accept_dad < 1 or ifa.flags & IFA_F_NODAD or not probes:
        completed(inet6, ifa)
        return
    ifa.dad_probes = probes
    ifa.dad_nonce = inet6.kernel.random("ip6.dad").randbytes(6)
    if ifa.timer is None:
        ifa.timer = Timer(partial(_on_timer, inet6, ifa))
    delay = inet6.kernel.random("ip6.dad").randrange(_MAX_DELAY)
    inet6.kernel.timers.mod_timer(ifa.timer, inet6.kernel.now + delay)


def _on_timer(inet6: Inet6Net, ifa: Inet6Ifaddr) -> None:
    """The next probe, or the end (addrconf_dad_work)."""
    if not ifa.flags & IFA_F_TENTATIVE or ifa.timer is None:
        return
    if not ifa.dad_probes:
        completed(inet6, ifa)
        return
    from pysock.families.inet6 import ndisc

    ifa.dad_probes -= 1
    ndisc.send_ns(inet6, ifa.dev, ifa.address, ANY6, solicited_node(ifa.address), nonce=ifa.dad_nonce)
    wait = inet6.nd.parms_of(ifa.dev).retrans_time
    inet6.kernel.timers.mod_timer(ifa.timer, inet6.kernel.now + max(wait, NSEC_PER_SEC // 100))


def completed(inet6: Inet6Net, ifa: Inet6Ifaddr) -> None:
    """Nobody objects: the address is ours (addrconf_dad_completed). A link-local one starts router solicitations."""
    addrconf.activate(inet6, ifa)
    idev = idev_of(ifa.dev)
    if idev is not None and idev.ready and is_linklocal(ifa.address):
        from pysock.families.inet6 import mcast, slaac

        mcast.address_ready(inet6, idev)
        slaac.solicit_routers(inet6, ifa.dev)


def failed(inet6: Inet6Net, ifa: Inet6Ifaddr) -> None:
    """Somebody else has it (addrconf_dad_failure): a permanent address stays, unusable; others go. With accept_dad 2, a
    duplicate link-local address takes IPv6 off the device.
    """
    dev = ifa.dev
    inet6.kernel.errors.note(f"{dev.name}: duplicate IPv6 address {host_text(ifa.address)} detected")
    if ifa.timer is not None:
        inet6.kernel.timers.del_timer(ifa.timer)
    ifa.dad_probes = 0
    if not ifa.flags & IFA_F_PERMANENT:
        addrconf.del_address(inet6, dev, ifa.address)
        return
    ifa.flags |= IFA_F_DADFAILED | IFA_F_TENTATIVE
    for entry in ifa.routes:
        inet6.fib6.discard(entry)
    ifa.routes.clear()
    idev = idev_of(dev)
    if idev is not None and idev.conf.accept_dad > 1 and is_linklocal(ifa.address):
        idev.conf.disable_ipv6 = 1
        addrconf.device_down(inet6, dev)
