"""TCP's states as tables (RFC 9293 3.3.2): what close() does to each, and which states can do what."""

from __future__ import annotations

from pysock.uapi.tcp import (
    TCP_CLOSE,
    TCP_CLOSE_WAIT,
    TCP_CLOSING,
    TCP_ESTABLISHED,
    TCP_FIN_WAIT1,
    TCP_FIN_WAIT2,
    TCP_LAST_ACK,
    TCP_LISTEN,
    TCP_NEW_SYN_RECV,
    TCP_SYN_RECV,
    TCP_SYN_SENT,
    TCP_TIME_WAIT,
)

#: What the program's close or shutdown(SHUT_WR) makes of a state, and whether a FIN goes out for it (tcp_close_state).
CLOSE_TRANSITIONS: dict[int, tuple[int, bool]] = {
    TCP_ESTABLISHED: (TCP_FIN_WAIT1, True),
    TCP_SYN_RECV: (TCP_FIN_WAIT1, True),
    TCP_CLOSE_WAIT: (TCP_LAST_ACK, True),
    TCP_SYN_SENT: (TCP_CLOSE, False),
    TCP_FIN_WAIT1: (TCP_FIN_WAIT1, False),
    TCP_FIN_WAIT2: (TCP_FIN_WAIT2, False),
    TCP_CLOSING: (TCP_CLOSING, False),
    TCP_LAST_ACK: (TCP_LAST_ACK, False),
    TCP_LISTEN: (TCP_CLOSE, False),
    TCP_CLOSE: (TCP_CLOSE, False),
    TCP_TIME_WAIT: (TCP_CLOSE, False),
    TCP_NEW_SYN_RECV: (TCP_CLOSE, False),
}

#: What the peer's FIN makes of a state; the flag says whether our own FIN was acknowledged by then (tcp_fin).
FIN_TRANSITIONS: dict[int, int] = {
    TCP_SYN_RECV: TCP_CLOSE_WAIT,
    TCP_ESTABLISHED: TCP_CLOSE_WAIT,
    TCP_FIN_WAIT1: TCP_CLOSING,
    TCP_FIN_WAIT2: TCP_TIME_WAIT,
}

#: What the acknowledgement of our FIN makes of a state (tcp_rcv_state_process).
FIN_ACKED_TRANSITIONS: dict[int, int] = {
    TCP_FIN_WAIT1: TCP_FIN_WAIT2,
    TCP_CLOSING: TCP_TIME_WAIT,
    TCP_LAST_ACK: TCP_CLOSE,
}

#: States in which the program may send.
CAN_SEND = frozenset((TCP_ESTABLISHED, TCP_CLOSE_WAIT))

#: States that have seen the peer's FIN.
FIN_SEEN = frozenset((TCP_CLOSE_WAIT, TCP_CLOSING, TCP_LAST_ACK, TCP_TIME_WAIT))

#: States that count in CurrEstab.
CURR_ESTAB = frozenset((TCP_ESTABLISHED, TCP_CLOSE_WAIT))

#: States of a connection whose socket is done with it: nothing that arrives concerns the socket any more.
CLOSED = frozenset((TCP_CLOSE, TCP_TIME_WAIT))
