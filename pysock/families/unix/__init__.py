"""unix: AF_UNIX, sockets between programs of one machine. unix(7); Linux: net/unix/af_unix.c.

What lives here, from the outside in:

    plugin.py       registers the family, gives each namespace its UnixNet
    af_unix.py      UnixFamily: socket(), and which operations each type gets
    ops.py          UnixOps: what the three types share - bind, names, shutdown, release
    connection.py   connect, listen and accept of the two connection types
    stream.py       SOCK_STREAM: bytes          seqpacket.py  SOCK_SEQPACKET: records over a connection
    dgram.py        SOCK_DGRAM: messages, and the sending and receiving that SOCK_SEQPACKET borrows
    scm.py          Message, and what travels beside its bytes: open files and credentials
    unix_sock.py    UnixSock: state, buffer accounts, who waits for whom, the end of a socket
    unix_net.py     UnixNet: who is bound to which abstract name or file-system node
    address.py      names, in and out

What it may import: `core` and `uapi`; nothing of another family.

How data passes through: there is no protocol. sendmsg finds the other socket (`sk.peer`, or by name in UnixNet),
puts a Message that refers to the caller's bytes at the end of its `inbox`, charges its size to the *sender's*
`wmem_alloc` and wakes the reader; recvmsg takes it out, gives the charge back and wakes the writer. A sender
with `sndbuf` bytes under way waits. No packet is built, no device and no softirq is involved, which is why a
Message and not an SkBuff is enough here: it has 6 fields where an sk_buff has 18, and none of the others would
ever be set.

Credentials are those of the task that made the socket: the calls below the syscall layer do not say who calls.

Not here: MSG_OOB on streams (EOPNOTSUPP, as kernels without CONFIG_AF_UNIX_OOB), SO_PEEK_OFF, SCM_PIDFD,
SCM_SECURITY, the limit on files in flight (ETOOMANYREFS), and a collector of its own for sockets that are only
reachable through each other's queues: Python's frees them.
"""
