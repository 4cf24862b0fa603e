"""inet6: the IPv6 family (AF_INET6): routing, IP, ICMPv6, neighbour and multicast listener discovery, addresses.

What lives here, the network layer: `addr` (addresses and their kinds), `net` (what the family keeps per
namespace), `devconf` (what it keeps per device), `fib6`, `route` and `source` (RFC 6724), `ip6_input`, `exthdrs` and
`reassembly`, `ip6_output` and `fragment`, `ip6_forward`, `ip6mr` and `ip6mr_sock` (multicast routing), `icmp6`,
`ndisc`, `router_pref`, `mcast`, `addrconf`, `dad` and `slaac`. The sockets stand on `af_inet6`; `setup` makes it all.

What it may import: `core`, `wire`, `uapi`, and `families.inet`, as Linux's net/ipv6 stands on net/ipv4; no other
family.

How data passes through: down, a transport -> `ip6_output.queue_xmit` (connected) or `ip6_output.send_datagram` ->
`Rt6.xmit`, the device. Up, the handler made by `ip6_input.make_ip6_rcv` is the packet type of ETH_P_IPV6; it walks the
extension headers and hands the packet to the handler that its protocol number has in ``Inet6Net.protos``.
"""
