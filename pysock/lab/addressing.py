"""Who has which address: each segment (a cable between two hosts, or a switch with all its cables) is a subnet.

Automatic ones are 10.0.0.0/24, 10.0.1.0/24, ... and fd00:0:0:0::/64, fd00:0:0:1::/64, ... in the order of their making,
hosts .1, .2, ... in the order of their joining. A subnet that is given explicitly is left out of that.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pysock.lab.link import End

_ALL4 = IPv4Network("10.0.0.0/8")
_ALL6 = int.from_bytes(b"\xfd" + bytes(15), "big")


class Plan:
    """The subnets of one network."""

    __slots__ = ("_given", "_next4", "_next6", "_taken")

    def __init__(self) -> None:
        self._next4 = int(_ALL4.network_address)
        self._next6 = 0
        self._taken: list[IPv4Network] = []
        self._given: list[IPv4Network] = []  # those of _taken that were asked for: the others never overlap

    def subnet(self, wanted: str | None, hosts: int) -> IPv4Network:
        """The subnet ``wanted`` (ValueError if it overlaps another one), or the next one with room for ``hosts``."""
        if wanted is not None:
            try:
                found = IPv4Network(wanted)
            except ValueError as exc:
                raise ValueError(f'a subnet is "10.1.0.0/24", not {wanted!r}') from exc
            other = next((one for one in self._taken if one.overlaps(found)), None)
            if other is not None:
                raise ValueError(f"{found} overlaps {other}, which another link has")
            self._given.append(found)
        else:
            plen = min(24, 32 - (hosts + 2).bit_length())
            size = 1 << (32 - plen)
            at = -(-self._next4 // size) * size
            found = IPv4Network((at, plen))
            while any(one.overlaps(found) for one in self._given):
                at += size
                found = IPv4Network((at, plen))
            self._next4 = at + size
            if not found.subnet_of(_ALL4):
                raise ValueError("10.0.0.0/8 is used up: give subnets of your own")
        self._taken.append(found)
        return found

    def give_back(self, subnet: IPv4Network) -> None:
        """It was not used after all."""
        self._taken.remove(subnet)
        if subnet in self._given:
            self._given.remove(subnet)

    def subnet6(self) -> IPv6Network:
        """The next /64."""
        found = IPv6Network((_ALL6 + (self._next6 << 64), 64))
        self._next6 += 1
        return found


class Segment:
    """One subnet and the ends of links that hosts have on it. ``net6`` is None in a network without IPv6."""

    __slots__ = ("_next", "_used", "ends", "net4", "net6")

    def __init__(self, net4: IPv4Network, net6: IPv6Network | None) -> None:
        self.net4 = net4
        self.net6 = net6
        self.ends: list[End] = []
        self._next = 1
        self._used: set[int] = set()

    def addresses(self, wanted: str | Iterable[str] | None) -> list[IPv4Interface | IPv6Interface]:
        """What a host that joins gets: what it wants (ValueError unless that is in the subnet and free), and for an
        address family of which it wants nothing, the next free one.
        """
        texts = [wanted] if isinstance(wanted, str) else list(wanted or ())
        found = [self._wanted(text) for text in texts]
        number = next((int(one) - int(self.net4.network_address) for one in found if one.version == 4), 0)
        if not number:
            number = self._free()
            found.insert(0, IPv4Interface((int(self.net4.network_address) + number, self.net4.prefixlen)))
        self._used.add(number)
        if self.net6 is not None and all(one.version == 4 for one in found):
            found.append(IPv6Interface((int(self.net6.network_address) + number, self.net6.prefixlen)))
        return found

    def _free(self) -> int:
        while self._next in self._used:
            self._next += 1
        if self._next >= self.net4.num_addresses - 1:
            raise ValueError(f'{self.net4} is full: make the switch with more room, as subnet="10.1.0.0/16"')
        return self._next

    def _wanted(self, text: str) -> IPv4Interface | IPv6Interface:
        try:
            one = ip_interface(text)
        except ValueError as exc:
            raise ValueError(f'an address is "10.1.0.1/24" or "fd00::1/64", not {text!r}') from exc
        if isinstance(one, IPv6Interface):
            return one
        if "/" not in text:
            one = IPv4Interface((int(one), self.net4.prefixlen))
        if one.ip not in self.net4:
            raise ValueError(f"{text} is not in {self.net4}, the subnet of this link")
        if int(one) - int(self.net4.network_address) in self._used:
            raise ValueError(f"{one.ip} is taken")
        return one


def subnet_of(wanted: Iterable[str]) -> str | None:
    """The IPv4 subnet that addresses with prefix lengths stand for, None when there is none among them."""
    for text in wanted:
        try:
            one = ip_interface(text)
        except ValueError as exc:
            raise ValueError(f'an address is "10.1.0.1/24" or "fd00::1/64", not {text!r}') from exc
        if isinstance(one, IPv4Interface):
            if "/" not in text:
                raise ValueError(f'{text} has no prefix length: write "{text}/24"')
            return str(one.network)
    return None


def prefix(text: str) -> IPv4Network | IPv6Network:
    """The network of a route: "10.1.0.0/16", "default", "default6". ValueError."""
    try:
        return ip_network({"default": "0.0.0.0/0", "default6": "::/0"}.get(text, text))
    except ValueError as exc:
        raise ValueError(f'a route is to "10.1.0.0/16", "fd00::/8", "default" or "default6", not {text!r}') from exc
