"""A way out for `python -m pysock run`: a device beside loopback, with addresses and a default route.

    ip link add NAME type DRIVER; ip addr add ADDRESS dev NAME; ip link set NAME up; ip route add default via GATEWAY
"""

from __future__ import annotations

import errno

from pysock.core.device import dev_open
from pysock.core.errors import err
from pysock.families.inet import devinet, fib_config
from pysock.families.inet.addr import ANY
from pysock.families.inet.fib import RTN_UNICAST
from pysock.families.inet.net import InetNet
from pysock.families.inet6 import addrconf
from pysock.families.inet6.addr import ANY6, is_linklocal
from pysock.families.inet6.devconf import IFA_F_NODAD, IFA_F_PERMANENT
from pysock.families.inet6.fib6 import Fib6Entry
from pysock.families.inet6.net import Inet6Net
from pysock.shim.real import inet_pton
from pysock.uapi.socket import AF_INET, AF_INET6
from pysock.wire.addr import ip_ntoa

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice


def parse_address(text: str) -> tuple[bytes, int]:
    """"10.77.0.2/24" or "fd77::2/64": 4 or 16 wire bytes, and the prefix length (all bits where none is given).
    ValueError says what is wrong.
    """
    host, slash, length = text.partition("/")
    try:
        address = inet_pton(AF_INET6 if ":" in host else AF_INET, host)
        plen = int(length) if slash else 8 * len(address)
    except (OSError, ValueError):
        raise ValueError(f"{text!r} is not ADDRESS/PREFIXLENGTH, such as 10.77.0.2/24 or fd77::2/64") from None
    if not 0 <= plen <= 8 * len(address):
        raise ValueError(f"{text!r}: a prefix has 0 to {8 * len(address)} bits")
    return address, plen


def bring_up(
    net: Net,
    kind: str,
    name: str | None,
    addresses: Sequence[tuple[bytes, int]],
    gateways: Sequence[bytes] = (),
    **options: object,
) -> NetDevice:
    """Make a device by the driver ``kind``, give it ``addresses``, bring it up, and send what is for nobody near to the
    ``gateways`` (one for each family). ENETUNREACH for a gateway in the network of none of the addresses, and errors of
    the driver and of the tables; nothing is undone then.
    """
    for gateway in gateways:
        if not any(_covers(address, plen, gateway) for address, plen in addresses) and not is_linklocal(gateway):
            raise err(errno.ENETUNREACH, f"no --address is in the network of the gateway {ip_ntoa(gateway)}")
    kernel = net.kernel
    kernel.enter()
    try:
        dev = kernel.dev_layer.create_device(net, kind, name, **options)
        for address, plen in addresses:
            if len(address) == 4:
                devinet.add_address(net.get(InetNet), dev, address, plen)
            else:
                # Not checked for duplicates, which takes a second: the program may use it at once.
                addrconf.add_address(net.get(Inet6Net), dev, address, plen, IFA_F_PERMANENT | IFA_F_NODAD)
        dev_open(dev)
        for gateway in gateways:
            if len(gateway) == 4:
                fib_config.add_route(net.get(InetNet), ANY, 0, gateway=gateway, dev=dev)
            else:
                # `onlink`: the connected route appears with the carrier.
                net.get(Inet6Net).fib6.add(Fib6Entry(ANY6, 0, RTN_UNICAST, dev, gateway))
        return dev
    finally:
        kernel.leave()


def _covers(address: bytes, plen: int, other: bytes) -> bool:
    """Whether both are in one network, that of ``address``."""
    drop = 8 * len(address) - plen
    return len(address) == len(other) and int.from_bytes(address) >> drop == int.from_bytes(other) >> drop
