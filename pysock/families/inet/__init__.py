"""inet: the IPv4 family (AF_INET): routing, IP, ICMP, and the transports TCP, UDP, ping and raw.

What lives here: `af_inet` (the family and its ProtoOps), `protosw` (the protocol switch), `net` (what the family
keeps per namespace), `devinet` and `devconf` (addresses and settings of devices), `fib`, `fib_rules`, `route` and
`nexthop`, `arp`, `ip_input`, `ip_output`, `ip_forward`, `ip_options`, `ip_fragment` and `ip_reasm`, `icmp`, `igmp`,
`mroute` and `ipmr` (multicast routing), `udp`, `udplite`, `ping`, `raw`, and the package `tcp`. `inet6` stands on the
transports here; `v6part` is what they know of it.

What it may import: `core`, `wire`, `uapi`. Never another family.

How data passes through: down, ``inet_stream_ops.sendmsg`` -> ``tcp_prot.sendmsg`` -> ``tcp.output.transmit_skb`` ->
``ip_output.xmit_segment`` -> ``Rtable.xmit``, which is ``dev.queue_xmit``. Up, ``InetNet.ip_rcv`` (ip_input) is
the packet type of ETH_P_IP; it hands the datagram to the handler that its protocol number has in ``InetNet.protos``.
"""
