"""unix: AF_UNIX, sockets between programs of one machine. unix(7); Linux: net/unix/af_unix.c.

What lives here, from the outside in:

    plugin.py       registers the family, gives each namespace its UnixNet
    af_unix.py      UnixFamily: socket(), and which operations each type gets
    ops.py          UnixOps: what the three types share - bind, names, shutdown, release
    connection.py   connect, listen and accept of the two connection types
    stream.py       SOCK_STREAM: bytes          seqpacket.py  SOCK_SEQPACKET: records over a connection
    dgram.py        SOCK_DGRAM: messages, and the sending and receiving that SOCK_SEQPACKET borrows
    stream_read.py  how a stream's messages are joined, where a read ends; urgent data, SO_PEEK_OFF
    scm.py          Message, and what travels beside its bytes: open files and credentials
    garbage.py      Flight: the files under way, and closing the sockets that only each other's inboxes hold
    unix_sock.py    UnixSock: state, buffer accounts, who waits for whom, the end of a socket
    unix_net.py     UnixNet: who is bound to which abstract name or file-system node
    address.py      names, in and out               proc.py       /proc/net/unix

What it may import: `core` and `uapi`; nothing of another family.

How data passes through: there is no protocol. sendmsg finds the other socket (`sk.peer`, or by name in UnixNet),
puts a Message that refers to the caller's bytes at the end of its `inbox`, charges its size to the *sender's*
`wmem_alloc` and wakes the reader; recvmsg takes it out, gives the charge back and wakes the writer. A sender
with `sndbuf` bytes under way waits. No packet is built, no device and no softirq is involved, which is why a
Message and not an SkBuff is enough here: it has 6 fields where an sk_buff has 18, and none of the others would
ever be set. A socket filter alone is shown a packet, made for it.

Credentials are those of the task that made the socket: the calls below the syscall layer do not say who calls.

Not here: SIGURG for urgent data (nobody owns a file here, see vfs/fcntl.py), SCM_SECURITY (there is no security module:
SO_PASSSEC is kept and brings nothing), and ESRCH for a stated pid that no process has.
"""
