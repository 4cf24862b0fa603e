"""inet: the IPv4 family (AF_INET): routing, IP, ICMP, and the transports TCP, UDP, ping and raw.

What lives here: `af_inet` (the family and its ProtoOps), `protosw` (the protocol switch), `net` (what the family
keeps per namespace), `devinet` and `devconf` (addresses and settings of devices), `fib`, `fib_rules`, `fib_default`,
`route` and `nexthop`, `martian`, `arp`, `ip_input`, `ip_output`, `ip_forward`, `ip_options`, `ip_ra` (router alerts),
`ip_fragment` and `ip_reasm`, `icmp`, `igmp`, `udp`, `udplite`, `ping`, `raw`, and the package `tcp`. Multicast routing:
`mroute` (its tables) and `mroute_sock`, which `inet6` uses too, `ipmr`, `ipmr_sock` (what daemons ask) and `pim`.
`inet6` stands on the transports here; `v6part` is what they know of it.

What it may import: `core`, `wire`, `uapi`. Never another family.

How data passes through: down, ``inet_stream_ops.sendmsg`` -> ``tcp_prot.sendmsg`` -> ``tcp.output.transmit_skb`` ->
``ip_output.xmit_segment`` -> ``Rtable.xmit``, which is ``dev.queue_xmit``. Up, ``InetNet.ip_rcv`` (ip_input) is
the packet type of ETH_P_IP; it hands the datagram to the handler that its protocol number has in ``InetNet.protos``.
"""
