"""Numbers of the socket layer as a program on Linux x86-64 sees them.

Source: the man pages socket(2), socket(7), send(2), recv(2), shutdown(2), unix(7), ip(7) and the values of
``<sys/socket.h>`` and ``<asm/socket.h>`` there. Plain ints: cheap to compare, equal to the stdlib's enums.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Address families ---------------------------------------------------------------------------------

AF_UNSPEC: Final = 0
AF_UNIX: Final = 1
AF_LOCAL: Final = 1
AF_INET: Final = 2
AF_AX25: Final = 3
AF_IPX: Final = 4
AF_APPLETALK: Final = 5
AF_NETROM: Final = 6
AF_BRIDGE: Final = 7
AF_ATMPVC: Final = 8
AF_X25: Final = 9
AF_INET6: Final = 10
AF_ROSE: Final = 11
AF_DECnet: Final = 12
AF_NETBEUI: Final = 13
AF_SECURITY: Final = 14
AF_KEY: Final = 15
AF_NETLINK: Final = 16
AF_ROUTE: Final = 16
AF_PACKET: Final = 17
AF_ASH: Final = 18
AF_ECONET: Final = 19
AF_ATMSVC: Final = 20
AF_RDS: Final = 21
AF_SNA: Final = 22
AF_IRDA: Final = 23
AF_PPPOX: Final = 24
AF_WANPIPE: Final = 25
AF_LLC: Final = 26
AF_IB: Final = 27
AF_MPLS: Final = 28
AF_CAN: Final = 29
AF_TIPC: Final = 30
AF_BLUETOOTH: Final = 31
AF_IUCV: Final = 32
AF_RXRPC: Final = 33
AF_ISDN: Final = 34
AF_PHONET: Final = 35
AF_IEEE802154: Final = 36
AF_CAIF: Final = 37
AF_ALG: Final = 38
AF_NFC: Final = 39
AF_VSOCK: Final = 40
AF_KCM: Final = 41
AF_QIPCRTR: Final = 42
AF_SMC: Final = 43
AF_XDP: Final = 44
AF_MCTP: Final = 45
AF_MAX: Final = 46  # one past the last family Linux knows; numbers above belong to plugins

PF_UNSPEC: Final = 0
PF_UNIX: Final = 1
PF_LOCAL: Final = 1
PF_INET: Final = 2
PF_INET6: Final = 10
PF_KEY: Final = 15
PF_NETLINK: Final = 16
PF_ROUTE: Final = 16
PF_PACKET: Final = 17
PF_RDS: Final = 21
PF_CAN: Final = 29
PF_TIPC: Final = 30
PF_BLUETOOTH: Final = 31
PF_ALG: Final = 38
PF_VSOCK: Final = 40
PF_XDP: Final = 44

# Socket types, and the two flags that may be or-ed to them ----------------------------------------

SOCK_STREAM: Final = 1
SOCK_DGRAM: Final = 2
SOCK_RAW: Final = 3
SOCK_RDM: Final = 4
SOCK_SEQPACKET: Final = 5
SOCK_DCCP: Final = 6
SOCK_PACKET: Final = 10
SOCK_MAX: Final = 11
SOCK_TYPE_MASK: Final = 0xF
SOCK_NONBLOCK: Final = 0x800
SOCK_CLOEXEC: Final = 0x80000

# Levels of setsockopt, getsockopt and control messages --------------------------------------------

SOL_IP: Final = 0
SOL_SOCKET: Final = 1
SOL_TCP: Final = 6
SOL_UDP: Final = 17
SOL_IPV6: Final = 41
SOL_ICMPV6: Final = 58
SOL_SCTP: Final = 132
SOL_UDPLITE: Final = 136
SOL_RAW: Final = 255
SOL_AX25: Final = 257
SOL_ATALK: Final = 258
SOL_NETROM: Final = 259
SOL_ROSE: Final = 260
SOL_PACKET: Final = 263
SOL_ATM: Final = 264
SOL_LLC: Final = 268
SOL_NETLINK: Final = 270
SOL_RXRPC: Final = 272
SOL_PPPOL2TP: Final = 273
SOL_BLUETOOTH: Final = 274
SOL_RDS: Final = 276
SOL_CAN_BASE: Final = 100
SOL_CAN_RAW: Final = 101
SOL_CAIF: Final = 278
SOL_ALG: Final = 279
SOL_KCM: Final = 281
SOL_TLS: Final = 282
SOL_XDP: Final = 283
SOL_MPTCP: Final = 284
SOL_TIPC: Final = 271
SOL_VSOCK: Final = 287

# Options at SOL_SOCKET ----------------------------------------------------------------------------

SO_DEBUG: Final = 1
SO_REUSEADDR: Final = 2
SO_TYPE: Final = 3
SO_ERROR: Final = 4
SO_DONTROUTE: Final = 5
SO_BROADCAST: Final = 6
SO_SNDBUF: Final = 7
SO_RCVBUF: Final = 8
SO_KEEPALIVE: Final = 9
SO_OOBINLINE: Final = 10
SO_NO_CHECK: Final = 11
SO_PRIORITY: Final = 12
SO_LINGER: Final = 13
SO_BSDCOMPAT: Final = 14
SO_REUSEPORT: Final = 15
SO_PASSCRED: Final = 16
SO_PEERCRED: Final = 17
SO_RCVLOWAT: Final = 18
SO_SNDLOWAT: Final = 19
SO_RCVTIMEO: Final = 20
SO_SNDTIMEO: Final = 21
SO_SECURITY_AUTHENTICATION: Final = 22
SO_SECURITY_ENCRYPTION_TRANSPORT: Final = 23
SO_SECURITY_ENCRYPTION_NETWORK: Final = 24
SO_BINDTODEVICE: Final = 25
SO_ATTACH_FILTER: Final = 26
SO_GET_FILTER: Final = 26
SO_DETACH_FILTER: Final = 27
SO_DETACH_BPF: Final = 27
SO_PEERNAME: Final = 28
SO_TIMESTAMP: Final = 29
SO_ACCEPTCONN: Final = 30
SO_PEERSEC: Final = 31
SO_SNDBUFFORCE: Final = 32
SO_PASSSEC: Final = 34
SO_RCVBUFFORCE: Final = 33
SO_TIMESTAMPNS: Final = 35
SO_MARK: Final = 36
SO_TIMESTAMPING: Final = 37
SO_PROTOCOL: Final = 38
SO_DOMAIN: Final = 39
SO_RXQ_OVFL: Final = 40
SO_WIFI_STATUS: Final = 41
SO_PEEK_OFF: Final = 42
SO_NOFCS: Final = 43
SO_LOCK_FILTER: Final = 44
SO_SELECT_ERR_QUEUE: Final = 45
SO_BUSY_POLL: Final = 46
SO_MAX_PACING_RATE: Final = 47
SO_BPF_EXTENSIONS: Final = 48
SO_INCOMING_CPU: Final = 49
SO_ATTACH_BPF: Final = 50
SO_ATTACH_REUSEPORT_CBPF: Final = 51
SO_ATTACH_REUSEPORT_EBPF: Final = 52
SO_CNX_ADVICE: Final = 53
SO_MEMINFO: Final = 55
SO_INCOMING_NAPI_ID: Final = 56
SO_COOKIE: Final = 57
SO_PEERGROUPS: Final = 59
SO_ZEROCOPY: Final = 60
SO_TXTIME: Final = 61
SO_BINDTOIFINDEX: Final = 62
SO_TIMESTAMP_NEW: Final = 63
SO_TIMESTAMPNS_NEW: Final = 64
SO_TIMESTAMPING_NEW: Final = 65
SO_RCVTIMEO_NEW: Final = 66
SO_SNDTIMEO_NEW: Final = 67
SO_DETACH_REUSEPORT_BPF: Final = 68
SO_PREFER_BUSY_POLL: Final = 69
SO_BUSY_POLL_BUDGET: Final = 70
SO_NETNS_COOKIE: Final = 71
SO_BUF_LOCK: Final = 72
SO_RESERVE_MEM: Final = 73
SO_TXREHASH: Final = 74
SO_RCVMARK: Final = 75
SO_PASSPIDFD: Final = 76
SO_PEERPIDFD: Final = 77
SO_DEVMEM_DONTNEED: Final = 80
SO_RCVPRIORITY: Final = 82
SO_PASSRIGHTS: Final = 83
SO_INQ: Final = 84

SOCK_SNDBUF_LOCK: Final = 1  # the bits of SO_BUF_LOCK
SOCK_RCVBUF_LOCK: Final = 2

# Control messages at SOL_SOCKET -------------------------------------------------------------------

SCM_RIGHTS: Final = 1
SCM_CREDENTIALS: Final = 2
SCM_SECURITY: Final = 3
SCM_PIDFD: Final = 4
SCM_TIMESTAMP: Final = 29
SCM_TIMESTAMPNS: Final = 35
SCM_TIMESTAMPING: Final = 37
SCM_WIFI_STATUS: Final = 41
SCM_TIMESTAMPING_OPT_STATS: Final = 54
SCM_TIMESTAMPING_PKTINFO: Final = 58
SCM_TXTIME: Final = 61
SCM_TS_OPT_ID: Final = 81
SCM_PRIORITY: Final = 82
SCM_INQ: Final = 84
SCM_MAX_FD: Final = 253  # descriptors in one SCM_RIGHTS message

# Flags of send and recv ---------------------------------------------------------------------------

MSG_OOB: Final = 0x1
MSG_PEEK: Final = 0x2
MSG_DONTROUTE: Final = 0x4
MSG_TRYHARD: Final = 0x4  # DECnet's name for MSG_DONTROUTE
MSG_CTRUNC: Final = 0x8
MSG_PROBE: Final = 0x10
MSG_TRUNC: Final = 0x20
MSG_DONTWAIT: Final = 0x40
MSG_EOR: Final = 0x80
MSG_WAITALL: Final = 0x100
MSG_FIN: Final = 0x200
MSG_SYN: Final = 0x400
MSG_CONFIRM: Final = 0x800
MSG_RST: Final = 0x1000
MSG_ERRQUEUE: Final = 0x2000
MSG_NOSIGNAL: Final = 0x4000
MSG_MORE: Final = 0x8000
MSG_WAITFORONE: Final = 0x10000
MSG_SENDPAGE_NOPOLICY: Final = 0x10000  # internal
MSG_BATCH: Final = 0x40000  # internal: sendmmsg says that more messages follow
MSG_EOF: Final = 0x200  # alias of MSG_FIN
MSG_NO_SHARED_FRAGS: Final = 0x80000  # internal
MSG_SENDPAGE_DECRYPTED: Final = 0x100000  # internal
MSG_ZEROCOPY: Final = 0x4000000
MSG_SPLICE_PAGES: Final = 0x8000000  # internal
MSG_FASTOPEN: Final = 0x20000000
MSG_CMSG_CLOEXEC: Final = 0x40000000
MSG_CMSG_COMPAT: Final = 0x80000000  # internal: a 32-bit caller on a 64-bit kernel; never set here
MSG_INTERNAL_SENDMSG_FLAGS: Final = 0x8190000  # what sys_sendmsg strips from the caller's flags

# shutdown, listen, linger -------------------------------------------------------------------------

SHUT_RD: Final = 0
SHUT_WR: Final = 1
SHUT_RDWR: Final = 2
RCV_SHUTDOWN: Final = 1  # the same as bits, as sk_shutdown keeps them (shutdown's how + 1)
SEND_SHUTDOWN: Final = 2
SHUTDOWN_MASK: Final = 3

SOMAXCONN: Final = 4096
UIO_MAXIOV: Final = 1024  # elements of an iovec, and messages in one sendmmsg

# SO_TIMESTAMPING flags (Documentation/networking/timestamping) ------------------------------------

SOF_TIMESTAMPING_TX_HARDWARE: Final = 0x1
SOF_TIMESTAMPING_TX_SOFTWARE: Final = 0x2
SOF_TIMESTAMPING_RX_HARDWARE: Final = 0x4
SOF_TIMESTAMPING_RX_SOFTWARE: Final = 0x8
SOF_TIMESTAMPING_SOFTWARE: Final = 0x10
SOF_TIMESTAMPING_SYS_HARDWARE: Final = 0x20
SOF_TIMESTAMPING_RAW_HARDWARE: Final = 0x40
SOF_TIMESTAMPING_OPT_ID: Final = 0x80
SOF_TIMESTAMPING_TX_SCHED: Final = 0x100
SOF_TIMESTAMPING_TX_ACK: Final = 0x200
SOF_TIMESTAMPING_OPT_CMSG: Final = 0x400
SOF_TIMESTAMPING_OPT_TSONLY: Final = 0x800
SOF_TIMESTAMPING_OPT_STATS: Final = 0x1000
SOF_TIMESTAMPING_OPT_PKTINFO: Final = 0x2000
SOF_TIMESTAMPING_OPT_TX_SWHW: Final = 0x4000
SOF_TIMESTAMPING_BIND_PHC: Final = 0x8000
SOF_TIMESTAMPING_OPT_ID_TCP: Final = 0x10000
SOF_TIMESTAMPING_OPT_RX_FILTER: Final = 0x20000
SOF_TIMESTAMPING_TX_COMPLETION: Final = 0x40000
SOF_TIMESTAMPING_MASK: Final = 0x7FFFF

# ee_info of a notice about a transmit time: what happened then (<linux/errqueue.h>)
SCM_TSTAMP_SND: Final = 0  # the driver had it
SCM_TSTAMP_SCHED: Final = 1  # the queueing discipline had it
SCM_TSTAMP_ACK: Final = 2  # the peer has all of it

# socketcall(2): the number of each call in the multiplexer ----------------------------------------

SYS_SOCKET: Final = 1
SYS_BIND: Final = 2
SYS_CONNECT: Final = 3
SYS_LISTEN: Final = 4
SYS_ACCEPT: Final = 5
SYS_GETSOCKNAME: Final = 6
SYS_GETPEERNAME: Final = 7
SYS_SOCKETPAIR: Final = 8
SYS_SEND: Final = 9
SYS_RECV: Final = 10
SYS_SENDTO: Final = 11
SYS_RECVFROM: Final = 12
SYS_SHUTDOWN: Final = 13
SYS_SETSOCKOPT: Final = 14
SYS_GETSOCKOPT: Final = 15
SYS_SENDMSG: Final = 16
SYS_RECVMSG: Final = 17
SYS_ACCEPT4: Final = 18
SYS_RECVMMSG: Final = 19
SYS_SENDMMSG: Final = 20
