"""Three networks and a router between them; a traceroute finds it.

    pytest examples/test_router.py
"""

import socket
import struct


def test_three_networks(pysock, tmp_path):
    net = pysock.network
    office, shop, lab = net.hosts("office", "shop", "lab")
    router = net.router("router", *(net.switch(f"lan-{host.name}", host) for host in (office, shop, lab)))
    net.capture(tmp_path / "router.pcapng")

    for family in (socket.AF_INET, socket.AF_INET6):
        with lab:
            server = socket.create_server(("lab", 80), family=family)
        for host in (office, shop):
            with host, socket.socket(family) as client:
                client.connect(("lab", 80))
                assert server.accept()[0].close() is None
        server.close()
    assert router.counters.ip.ForwDatagrams > 0


def test_a_packet_that_has_lived_too_long(pysock):
    net = pysock.network
    a, b = net.hosts("a", "b")
    router = net.router("router", a, b)
    with a, socket.socket(type=socket.SOCK_DGRAM) as probe, socket.socket(type=socket.SOCK_RAW, proto=1) as icmp:
        probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        probe.sendto(b"how far?", ("b", 33434))
        icmp.settimeout(5)
        answer, (who, _) = icmp.recvfrom(1000)
    assert who == router.address
    assert struct.unpack_from("!BB", answer, 20) == (11, 0)  # time exceeded in transit
