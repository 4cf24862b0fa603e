"""A multicast routing daemon for tests: IGMP on one side, the kernel's multicast routes on the other.

    daemon = Daemon(router, ["eth0", "eth1", "eth2"])
    daemon.query()            a general query on every link; who is in a group answers
    daemon.work()             read what came: reports change who is where, upcalls make routes

It keeps, for each link and group, who wants which sources: version 3's modes and lists, of which the earlier versions'
"everything" is one. Members time out two query intervals after they were last heard of.
"""

from __future__ import annotations

import contextlib
import struct

from pysock.uapi import mroute as nr
from pysock.uapi.in_ import (
    IP_ADD_MEMBERSHIP,
    IP_MULTICAST_IF,
    IP_MULTICAST_LOOP,
    IP_OPTIONS,
    IP_PKTINFO,
    IPPROTO_IGMP,
    IPPROTO_IP,
)
from pysock.uapi.socket import SOCK_RAW
from pysock.wire import igmp
from pysock.wire.addr import inet_aton, inet_ntoa
from pysock.wire.errors import Malformed
from support.hosts import HostApi

_ALERT = bytes((148, 4, 0, 0))
#: After how many seconds without a report a member is forgotten (RFC 2236 8.4).
LIFE = 260.0


class Wanted:
    """What is wanted on one link of one group: all but ``sources`` if ``exclude``, else only those."""

    def __init__(self) -> None:
        self.exclude = False
        self.sources: set[bytes] = set()
        self.heard = 0.0

    def wants(self, source: bytes) -> bool:
        return (source in self.sources) != self.exclude

    def record(self, kind: int, sources: set[bytes]) -> None:
        if kind in (igmp.MODE_IS_EXCLUDE, igmp.CHANGE_TO_EXCLUDE):
            self.exclude, self.sources = True, sources
        elif kind in (igmp.MODE_IS_INCLUDE, igmp.CHANGE_TO_INCLUDE):
            self.exclude, self.sources = False, sources
        elif (kind == igmp.ALLOW_NEW_SOURCES) != self.exclude:
            self.sources |= sources
        else:
            self.sources -= sources


class Daemon:
    """See above; ``vifs`` numbers are those of ``names``."""

    def __init__(self, router: HostApi, names: list[str]) -> None:
        self.host = router
        self.devs = [router.dev(name) for name in names]
        self.fd = fd = router.socket(SOCK_RAW, IPPROTO_IGMP)
        router.setopt(fd, IPPROTO_IP, IP_OPTIONS, _ALERT)
        router.setopt(fd, IPPROTO_IP, IP_PKTINFO, 1)
        router.setopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0)
        router.setopt(fd, IPPROTO_IP, nr.MRT_INIT, 1)
        for index, dev in enumerate(self.devs):
            self.add_vif(index, dev.ifindex)
            for group in ("224.0.0.2", "224.0.0.22"):
                mreqn = struct.pack("=4s4si", inet_aton(group), bytes(4), dev.ifindex)
                router.setopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, mreqn)
        self.wanted: dict[tuple[int, bytes], Wanted] = {}
        self.routes: dict[tuple[bytes, bytes], int] = {}
        self.upcalls: list[tuple[int, int, str, str]] = []

    def add_vif(self, index: int, ifindex: int, threshold: int = 1) -> None:
        local = ifindex.to_bytes(4, "little")
        self.option(nr.MRT_ADD_VIF, nr.VIFCTL.pack(index, nr.VIFF_USE_IFINDEX, threshold, 0, local, bytes(4)))

    def option(self, name: int, value: int | bytes) -> None:
        self.host.setopt(self.fd, IPPROTO_IP, name, value)

    def add_route(self, source: str, group: str, parent: int, ttls: dict[int, int], name: int = nr.MRT_ADD_MFC) -> None:
        raw = bytes(ttls.get(index, 0) for index in range(nr.MAXVIFS))
        self.option(name, nr.MFCCTL.pack(inet_aton(source), inet_aton(group), parent, raw))

    def query(self, group: str = "0.0.0.0", version: int = 3, to: str | None = None) -> None:
        """Ask on every link who is in a group (0.0.0.0: in any), answers within a second."""
        max_resp = 0 if version == 1 else 10
        body = igmp.QUERY3.pack(2, 125, 0) if version == 3 else b""
        message = igmp.build(igmp.QUERY, max_resp, inet_aton(group), body)
        for dev in self.devs:
            mreqn = struct.pack("=4s4si", bytes(4), bytes(4), dev.ifindex)
            self.host.setopt(self.fd, IPPROTO_IP, IP_MULTICAST_IF, mreqn)
            self.host.sendto(self.fd, message, (to or ("224.0.0.1" if group == "0.0.0.0" else group), 0))

    def work(self) -> None:
        """Read all that came, and make the routes say what is wanted now."""
        while True:
            try:
                data, control, _, _ = self.host.recvmsg(self.fd)
            except BlockingIOError:
                break
            if not data[9]:
                self._upcall(data)
            else:
                (ifindex,) = (struct.unpack_from("=i", value)[0] for _, name, value in control if name == IP_PKTINFO)
                (link,) = (i for i, dev in enumerate(self.devs) if dev.ifindex == ifindex)
                with contextlib.suppress(Malformed):
                    self._heard(link, igmp.parse(data, (data[0] & 15) * 4))
        now = self.host.kernel.now / 1e9
        for where, wanted in list(self.wanted.items()):
            if now > wanted.heard + LIFE:
                del self.wanted[where]
        for source, group in self.routes:
            self._route(source, group)

    def _upcall(self, data: bytes) -> None:
        _, kind, _, vif, _, source, group = nr.IGMPMSG.unpack_from(data)
        self.upcalls.append((kind, vif, inet_ntoa(source), inet_ntoa(group)))
        if kind == nr.IGMPMSG_NOCACHE:
            self.routes[source, group] = vif
            self._route(source, group)

    def _heard(self, link: int, message: igmp.IgmpMessage) -> None:
        if message.type == igmp.V3_REPORT:
            for record in igmp.parse_records(message):
                self._record(link, record.group, record.type, set(record.sources))
        elif message.type in (igmp.V1_REPORT, igmp.V2_REPORT):
            self._record(link, message.group, igmp.MODE_IS_EXCLUDE, set())
        elif message.type == igmp.V2_LEAVE:
            self._record(link, message.group, igmp.CHANGE_TO_INCLUDE, set())

    def _record(self, link: int, group: bytes, kind: int, sources: set[bytes]) -> None:
        wanted = self.wanted.setdefault((link, group), Wanted())
        wanted.record(kind, sources)
        wanted.heard = self.host.kernel.now / 1e9

    def _route(self, source: bytes, group: bytes) -> None:
        parent = self.routes[source, group]
        links = {
            link: 1
            for (link, its), wanted in self.wanted.items()
            if its == group and link != parent and wanted.wants(source)
        }
        self.add_route(inet_ntoa(source), inet_ntoa(group), parent, links)
