"""Numbers and structs that programs see, with the values of Linux on x86-64.

What lives here: one module a topic, named after the header a C program would include, full of plain int
constants (``socket``: families, types, options, flags; ``in_`` and ``in6``: protocols and IP options;
``tcp``, ``udp``; ``poll``, ``fcntl``, ``ioctl``; ``if_``, ``if_ether``, ``if_packet``, ``if_bridge``; ``netlink``;
``ethtool``, ``mroute``; ``netdb``), and two codecs: ``sockaddr`` (struct sockaddr_* to and from the stdlib's address
shapes) and ``cmsg`` (control buffers). errno's numbers are the stdlib's ``errno``.

What it may import: the standard library only. Everything else in pysock may import it.

How data passes through: the shim and the syscalls turn a program's values into these numbers and bytes and
back; families compare against the constants. Nothing here knows a socket.
"""
