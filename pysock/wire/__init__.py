"""Packet formats: bytes to fields and back, one module a protocol.

What lives here: ``ethernet``, ``vlan``, ``stp``, ``lacp``, ``arp``, ``ipv4``, ``ipv6``, ``icmp``, ``icmpv6``, ``igmp``,
``tcp`` and ``udp``; ``checksum`` (RFC 1071), ``addr`` (addresses as text), ``decode`` (whole frames, tcpdump-like
lines). Every format module has the same parts in the same order:

1. layout: the preallocated ``struct.Struct`` that the stack's hot paths use by themselves, lengths and flag
   bits, and a header class whose slots name the fields once, in the order of the wire;
2. ``parse(buf, offset=0)`` returns a header object or raises ``errors.Malformed``, and nothing else,
   whatever bytes it is given;
3. ``build(...)`` returns bytes, the exact inverse of parse (ValueError if a field does not fit);
4. ``describe(header, payload)`` is the fragment that tcpdump would print.

What it may import: ``uapi`` and the standard library.

How data passes through: on the packet path only the Structs and ``checksum`` are used, on the sk_buff's own
bytes. Header objects are for tools, tests, captures and slow paths; addresses in them are bytes, numbers are
in host order.
"""
