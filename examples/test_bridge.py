"""A host with a bridge of its own between two cables: it learns who is where, and forwards frames unchanged.

    pytest examples/test_bridge.py
"""

import socket

from pysock.core.device import dev_open
from pysock.drivers.bridge import br_add_if


def test_a_host_as_a_bridge(pysock, tmp_path):
    net = pysock.network
    a, b, middle = net.hosts("a", "b", "middle")
    left = net.link(a, middle, address="10.5.0.1/24")
    right = net.link(b, middle, address="10.6.0.2/24")
    # What "ip link add br0 type bridge; ip link set eth0 master br0; ip link set eth1 master br0" does:
    kernel = pysock.kernel
    kernel.enter()
    bridge = kernel.dev_layer.create_device(middle.net, "bridge", "br0")
    dev_open(bridge)
    for end in (left.ends[1], right.ends[1]):
        br_add_if(bridge, end.dev)
    kernel.leave()
    # Both are on one wire now; b needs an address of a's network on it.
    with b, socket.socket(type=socket.SOCK_DGRAM) as sock:
        import fcntl

        request = b"eth0".ljust(16, b"\0") + socket.AF_INET.to_bytes(2, "little") + b"\0\0" + bytes([10, 5, 0, 9])
        fcntl.ioctl(sock, 0x8916, request.ljust(40, b"\0"))  # SIOCSIFADDR
        mask = b"eth0".ljust(16, b"\0") + socket.AF_INET.to_bytes(2, "little") + b"\0\0" + bytes([255, 255, 255, 0])
        fcntl.ioctl(sock, 0x891C, mask.ljust(40, b"\0"))  # SIOCSIFNETMASK
        server = socket.create_server(("10.5.0.9", 80))
    net.capture(tmp_path / "bridge.pcapng")
    with a, socket.create_connection(("10.5.0.9", 80)) as client:
        peer, address = server.accept()
        with peer:
            client.sendall(b"through two cables")
            assert peer.recv(100) == b"through two cables"
    assert address[0] == "10.5.0.1"  # nobody routed it
    server.close()
