"""Watching links by what arrives: the ARP monitor of bonds, for links that lose packets but not their carrier.

Every ``arp_interval`` a bond asks its targets who they are; a slave that heard nothing for too long is down. In
active-backup mode the active slave asks, and backups hear the broadcasts that come back to them; while there is no
active one the slaves take turns at trying (`current`). In other modes each slave asks.

``arp_validate`` says which slaves count only answers of the targets, or questions of ours that came back.
Source: drivers/net/bonding/bond_main.c (bond_ab_arp_*, bond_loadbalance_arp_mon, bond_arp_rcv), by function name. Not
here: targets behind a VLAN of the bond, IPv6 targets.
"""

from __future__ import annotations

from pysock.core.eth import BROADCAST_ADDR, ZERO_ADDR
from pysock.core.skb_data import skb_header_pointer
from pysock.core.skbuff import SkBuff
from pysock.core.timer import Timer
from pysock.drivers.bonding.options import MODE_ACTIVEBACKUP, VALIDATE_ACTIVE, VALIDATE_BACKUP, VALIDATE_FILTER
from pysock.drivers.bonding.slave import LINK_BACK, LINK_DOWN, LINK_FAIL, LINK_UP
from pysock.uapi.if_ether import ETH_P_ARP
from pysock.uapi.if_packet import PACKET_LOOPBACK, PACKET_OTHERHOST
from pysock.uapi.socket import AF_INET
from pysock.wire import arp, ethernet
from pysock.wire.errors import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.bonding.device import BondOps
    from pysock.drivers.bonding.slave import Slave

_MS = 1_000_000


class ArpMonitor:
    """One bond's. ``current`` is the slave that is tried while there is no active one (current_arp_slave)."""

    __slots__ = ("bond", "current", "interval", "timer")

    def __init__(self, bond: BondOps) -> None:
        self.bond = bond
        self.interval = bond.params.arp_interval * _MS
        self.current: Slave | None = None
        self.timer = Timer(self._look)

    def start(self) -> None:
        """The bond is up: look now, and again each interval."""
        kernel = self.bond.dev.kernel
        kernel.timers.mod_timer(self.timer, kernel.now)

    def stop(self) -> None:
        self.bond.dev.kernel.timers.del_timer(self.timer)
        self.current = None

    def _since(self, instant: int, intervals: int) -> bool:
        """bond_time_in_interval(): that was within so many intervals, and half of one."""
        return self.bond.dev.kernel.now - instant <= intervals * self.interval + self.interval // 2

    def _look(self) -> None:
        bond = self.bond
        kernel = bond.dev.kernel
        if bond.slaves:
            bond.notify_peers()
            if bond.params.mode == MODE_ACTIVEBACKUP:
                self._inspect()
                self._probe()
            else:
                self._inspect_all()
        kernel.timers.mod_timer(self.timer, kernel.now + self.interval)

    # -- active-backup ---------------------------------------------------------------------------------------

    def _inspect(self) -> None:
        """bond_ab_arp_inspect() and bond_ab_arp_commit()."""
        bond = self.bond
        missed = bond.params.missed_max
        proposed: list[tuple[Slave, int]] = []
        for slave in bond.slaves:
            heard = slave.heard_from(bond.params)
            active = slave is bond.active or slave is self.current
            if slave.link != LINK_UP:
                if self._since(heard, 1):
                    proposed.append((slave, LINK_UP))
                elif slave.link == LINK_BACK:
                    proposed.append((slave, LINK_FAIL))
            elif self._since(slave.last_link_up, 2):
                continue  # it gets a whole round first
            elif active:
                if not self._since(slave.last_tx, missed) or not self._since(heard, missed):
                    proposed.append((slave, LINK_DOWN))
            elif self.current is None and not self._since(heard, missed + 1):
                proposed.append((slave, LINK_DOWN))
        failover = False
        for slave, link in proposed:
            failover |= self._commit(slave, link)
        if failover:
            bond.select()
        if proposed:
            bond.set_carrier()

    def _commit(self, slave: Slave, link: int) -> bool:
        """Whether the active slave is to be chosen again."""
        bond = self.bond
        if link == LINK_UP:
            if slave is bond.active or (bond.active is None and not self._since(slave.last_tx, 1)):
                return False
            slave.set_link(LINK_UP, bond.dev.kernel.now)
            self.current = None
            return bond.active is None or slave.dev.name == bond.params.primary
        if slave.link == LINK_UP:
            slave.failures += link == LINK_DOWN
        slave.link = LINK_DOWN
        if slave is bond.active:
            self.current = None
            return True
        return False

    def _probe(self) -> None:
        """bond_ab_arp_probe(): the active slave asks, or else the next one is tried."""
        bond = self.bond
        if bond.active is not None:
            self._ask(bond.active)
            return
        slaves = bond.slaves
        for slave in slaves:
            if not slave.has_link and slave.link == LINK_UP:  # several failed at once
                slave.link = LINK_DOWN
                slave.failures += 1
        at = slaves.index(self.current) if self.current in slaves else 0
        tried = next((slave for slave in slaves[at + 1 :] + slaves[: at + 1] if slave.has_link), None)
        if tried is not None:
            tried.link = LINK_BACK
            self._ask(tried)
            tried.last_link_up = bond.dev.kernel.now
            self.current = tried

    # -- the other modes -------------------------------------------------------------------------------------

    def _inspect_all(self) -> None:
        """bond_loadbalance_arp_mon()."""
        bond = self.bond
        missed = bond.params.missed_max
        changed = False
        for slave in bond.slaves:
            if slave.link != LINK_UP:
                if self._since(slave.last_tx, 1) and self._since(slave.last_rx, 1):
                    slave.set_link(LINK_UP, bond.dev.kernel.now)
                    changed = True
            elif not self._since(slave.last_tx, missed) or not self._since(slave.last_rx, missed):
                slave.link = LINK_DOWN
                slave.failures += 1
                changed = True
            if slave.has_link:
                self._ask(slave)
        if changed:
            bond.select()

    # -- questions and answers -------------------------------------------------------------------------------

    def _addresses(self) -> list[bytes]:
        """The bond's own IPv4 addresses."""
        dev = self.bond.dev
        listed = dev.kernel.dev_layer.gifconf.get(AF_INET)
        return [sockaddr[4:8] for sockaddr in listed(dev)] if listed is not None else []

    def _ask(self, slave: Slave) -> None:
        """bond_arp_send_all(). Without an address of our own we ask as nobody, who gets no answer from some."""
        dev = slave.dev
        own = next(iter(self._addresses()), bytes(4))
        for target in self.bond.params.arp_ip_target:
            request = arp.build(arp.REQUEST, dev.dev_addr, own, ZERO_ADDR, target)
            raw = ethernet.build(BROADCAST_ADDR, dev.dev_addr, ETH_P_ARP, request)
            skb = SkBuff(raw, 0, len(raw))
            skb.dev = dev
            skb.protocol = ETH_P_ARP
            dev.queue_xmit(skb)
            slave.last_tx = dev.kernel.now

    def received(self, slave: Slave, skb: SkBuff) -> None:
        """bond_arp_rcv(): ``slave`` heard something; does it count?"""
        bond = self.bond
        validate = bond.params.arp_validate
        active = slave is bond.active or slave is self.current
        if not validate & (VALIDATE_ACTIVE if active else VALIDATE_BACKUP):
            if not validate & VALIDATE_FILTER or skb.protocol == ETH_P_ARP:
                slave.last_rx = bond.dev.kernel.now
            return
        if skb.protocol != ETH_P_ARP or skb.pkt_type in (PACKET_OTHERHOST, PACKET_LOOPBACK):
            return
        raw = skb_header_pointer(skb, 0, arp.ETHER_IPV4_SIZE)
        try:
            packet = arp.parse(raw) if raw is not None else None
        except Malformed:
            packet = None
        if packet is None or len(packet.sender_ip) != 4:
            return
        sender, target = packet.sender_ip, packet.target_ip
        if active:
            self._validate(slave, sender, target)
        elif bond.active is not None and bond.active.heard_from(bond.params) > bond.active.last_link_up:
            self._validate(slave, target, sender)  # a backup hears our own question, by way of the switch
        elif self.current is not None and packet.operation == arp.REPLY and self._since(self.current.last_tx, 1):
            self._validate(slave, sender, target)

    def _validate(self, slave: Slave, target: bytes, own: bytes) -> None:
        """bond_validate_arp(): from a target, to us."""
        if target in self.bond.params.arp_ip_target and own in self._addresses():
            slave.last_rx = slave.heard[target] = self.bond.dev.kernel.now
