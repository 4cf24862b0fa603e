"""TCP numbers: options at level SOL_TCP, the connection states, and struct tcp_info's layout (tcp(7))."""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Options at level SOL_TCP -------------------------------------------------------------------------

TCP_NODELAY: Final = 1
TCP_MAXSEG: Final = 2
TCP_CORK: Final = 3
TCP_KEEPIDLE: Final = 4
TCP_KEEPINTVL: Final = 5
TCP_KEEPCNT: Final = 6
TCP_SYNCNT: Final = 7
TCP_LINGER2: Final = 8
TCP_DEFER_ACCEPT: Final = 9
TCP_WINDOW_CLAMP: Final = 10
TCP_INFO: Final = 11
TCP_QUICKACK: Final = 12
TCP_CONGESTION: Final = 13
TCP_MD5SIG: Final = 14
TCP_THIN_LINEAR_TIMEOUTS: Final = 16
TCP_THIN_DUPACK: Final = 17
TCP_USER_TIMEOUT: Final = 18
TCP_REPAIR: Final = 19
TCP_REPAIR_QUEUE: Final = 20
TCP_QUEUE_SEQ: Final = 21
TCP_REPAIR_OPTIONS: Final = 22
TCP_FASTOPEN: Final = 23
TCP_TIMESTAMP: Final = 24
TCP_NOTSENT_LOWAT: Final = 25
TCP_CC_INFO: Final = 26
TCP_SAVE_SYN: Final = 27
TCP_SAVED_SYN: Final = 28
TCP_REPAIR_WINDOW: Final = 29
TCP_FASTOPEN_CONNECT: Final = 30
TCP_ULP: Final = 31
TCP_MD5SIG_EXT: Final = 32
TCP_FASTOPEN_KEY: Final = 33
TCP_FASTOPEN_NO_COOKIE: Final = 34
TCP_ZEROCOPY_RECEIVE: Final = 35
TCP_INQ: Final = 36
TCP_CM_INQ: Final = 36
TCP_TX_DELAY: Final = 37
TCP_AO_REPAIR: Final = 42
TCP_IS_MPTCP: Final = 43
TCP_RTO_MAX_MS: Final = 44
TCP_RTO_MIN_US: Final = 45
TCP_DELACK_MAX_US: Final = 46

MAX_TCP_KEEPIDLE: Final = 32767  # seconds
MAX_TCP_KEEPINTVL: Final = 32767  # seconds
MAX_TCP_KEEPCNT: Final = 127
MAX_TCP_SYNCNT: Final = 127
TCP_CA_NAME_MAX: Final = 16  # bytes, with the final NUL
TCP_MD5SIG_SIZE: Final = 216  # bytes: sizeof(struct tcp_md5sig)
TCP_FASTOPEN_KEY_LENGTH: Final = 16  # bytes; one key or two

# States (RFC 9293 section 3.3.2), as /proc/net/tcp, tcp_info and sock_diag number them ------------

TCP_ESTABLISHED: Final = 1
TCP_SYN_SENT: Final = 2
TCP_SYN_RECV: Final = 3
TCP_FIN_WAIT1: Final = 4
TCP_FIN_WAIT2: Final = 5
TCP_TIME_WAIT: Final = 6
TCP_CLOSE: Final = 7
TCP_CLOSE_WAIT: Final = 8
TCP_LAST_ACK: Final = 9
TCP_LISTEN: Final = 10
TCP_CLOSING: Final = 11
TCP_NEW_SYN_RECV: Final = 12
TCP_MAX_STATES: Final = 13

TCP_STATE_NAMES: Final = (
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
)
"""``TCP_STATE_NAMES[state]``: a state's name without its prefix; index 0 is no state."""

# A set of states as bits (``1 << state``): one test for many states
TCPF_ESTABLISHED: Final = 1 << 1
TCPF_SYN_SENT: Final = 1 << 2
TCPF_SYN_RECV: Final = 1 << 3
TCPF_FIN_WAIT1: Final = 1 << 4
TCPF_FIN_WAIT2: Final = 1 << 5
TCPF_TIME_WAIT: Final = 1 << 6
TCPF_CLOSE: Final = 1 << 7
TCPF_CLOSE_WAIT: Final = 1 << 8
TCPF_LAST_ACK: Final = 1 << 9
TCPF_LISTEN: Final = 1 << 10
TCPF_CLOSING: Final = 1 << 11
TCPF_NEW_SYN_RECV: Final = 1 << 12

# The sender's loss-recovery states (tcpi_ca_state)
TCP_CA_OPEN: Final = 0
TCP_CA_DISORDER: Final = 1
TCP_CA_CWR: Final = 2
TCP_CA_RECOVERY: Final = 3
TCP_CA_LOSS: Final = 4
TCP_CA_NAMES: Final = ("Open", "Disorder", "CWR", "Recovery", "Loss")

# Bits of tcpi_options
TCPI_OPT_TIMESTAMPS: Final = 1
TCPI_OPT_SACK: Final = 2
TCPI_OPT_WSCALE: Final = 4
TCPI_OPT_ECN: Final = 8
TCPI_OPT_ECN_SEEN: Final = 16
TCPI_OPT_SYN_DATA: Final = 32

# struct tcp_info ----------------------------------------------------------------------------------

TCP_INFO_FIELDS: Final = (
    "state",
    "ca_state",
    "retransmits",
    "probes",
    "backoff",
    "options",
    "wscale",  # send scale in the low nibble, receive scale in the high one
    "app_limited",
    "rto",  # microseconds, as every time below unless it says otherwise
    "ato",
    "snd_mss",
    "rcv_mss",
    "unacked",
    "sacked",
    "lost",
    "retrans",
    "fackets",
    "last_data_sent",  # milliseconds ago, as the three below
    "last_ack_sent",
    "last_data_recv",
    "last_ack_recv",
    "pmtu",
    "rcv_ssthresh",
    "rtt",
    "rttvar",
    "snd_ssthresh",
    "snd_cwnd",
    "advmss",
    "reordering",
    "rcv_rtt",
    "rcv_space",
    "total_retrans",
    "pacing_rate",
    "max_pacing_rate",
    "bytes_acked",
    "bytes_received",
    "segs_out",
    "segs_in",
    "notsent_bytes",
    "min_rtt",
    "data_segs_in",
    "data_segs_out",
    "delivery_rate",
    "busy_time",
    "rwnd_limited",
    "sndbuf_limited",
    "delivered",
    "delivered_ce",
    "bytes_sent",
    "bytes_retrans",
    "dsack_dups",
    "reord_seen",
    "rcv_ooopack",
    "snd_wnd",
    "rcv_wnd",
    "rehash",
    "total_rto",
    "total_rto_recoveries",
    "total_rto_time",  # milliseconds
    "received_ce",
    "delivered_e1_bytes",
    "delivered_e0_bytes",
    "delivered_ce_bytes",
    "received_e1_bytes",
    "received_e0_bytes",
    "received_ce_bytes",
    "accecn_fail_mode",
    "accecn_opt_seen",
)
"""struct tcp_info's fields in order, without their ``tcpi_``: the arguments of TCP_INFO_STRUCT.pack."""

TCP_INFO_STRUCT: Final = Struct("=8B24I4Q6I4Q2I2Q6I2H8I2H")
"""struct tcp_info as of Linux 6.18: 280 bytes; getsockopt(TCP_INFO) cuts it to the caller's length."""
