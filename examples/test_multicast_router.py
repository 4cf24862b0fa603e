"""A multicast routing daemon in a few lines: it hears who is in a group by IGMP, and tells the router's kernel.

    pytest examples/test_multicast_router.py
"""

import socket
import struct

import pytest

GROUP, PORT = "239.1.2.3", 40000
MRT_INIT, MRT_ADD_VIF, MRT_ADD_MFC = 200, 202, 204  # <linux/mroute.h>
VIFF_USE_IFINDEX = 8
IP_PKTINFO = 8  # <linux/in.h>
NOCACHE = 1


def address(text):
    return socket.inet_aton(text)


class Daemon:
    """On a router: each device is a multicast interface; ``members`` are the interfaces with somebody in the group."""

    def __init__(self, devices):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
        self.sock.setsockopt(socket.IPPROTO_IP, MRT_INIT, 1)
        self.sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self.devices = devices
        self.members = set()
        for vif, ifindex in enumerate(devices):
            self.option(MRT_ADD_VIF, struct.pack("=HBBIi4x", vif, VIFF_USE_IFINDEX, 1, 0, ifindex))
            routers = address("224.0.0.22")  # where IGMPv3 reports go
            self.option(socket.IP_ADD_MEMBERSHIP, struct.pack("=4s4xi", routers, ifindex))

    def option(self, name, value):
        self.sock.setsockopt(socket.IPPROTO_IP, name, value)

    def work(self):
        """One message: a report of a member, or a datagram without a route."""
        data, ((_, _, info),), _, _ = self.sock.recvmsg(2000, 100)
        if data[9] == 0:  # not IGMP but from the kernel: struct igmpmsg
            kind, _, vif, _, source, group = struct.unpack_from("=8xBBBB4s4s", data)
            assert kind == NOCACHE
            ttls = bytes(i in self.members for i in range(32))
            self.option(MRT_ADD_MFC, struct.pack("=4s4sH32s18x", source, group, vif, ttls))
            return
        record = data[(data[0] & 15) * 4 + 8 :]
        (ifindex,) = struct.unpack_from("=i", info)
        if record[0] == 4 and record[4:8] == address(GROUP):  # "exclude nobody": somebody joined
            self.members.add(self.devices.index(ifindex))


def test_only_members_links_get_it(pysock, tmp_path):
    net = pysock.network
    speaker, member, stranger = net.hosts("speaker", "member", "stranger")
    router = net.router("router", speaker, member, stranger)
    net.capture(tmp_path / "multicast.pcapng")
    with router:
        daemon = Daemon([index for index, name in socket.if_nameindex() if name != "lo"])
    ears = []
    for host in (member, stranger):
        with host:
            ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ear.bind(("", PORT))
            ear.settimeout(5)
            ears.append(ear)
    ears[0].setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, address(GROUP) + address(member.address))
    daemon.work()
    with speaker, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talker:
        talker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, address(speaker.address))
        talker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
        for number in range(5):
            talker.sendto(b"news %d" % number, (GROUP, PORT))
            if not number:
                daemon.work()  # the first one waits for a route
    for number in range(5):
        data, (who, _) = ears[0].recvfrom(100)
        assert (data, who) == (b"news %d" % number, speaker.address)
    ears[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        ears[1].recvfrom(100)
    for sock in (daemon.sock, *ears):
        sock.close()
