"""TCP (RFC 9293): connections, reliability, error check, flow control, congestion control.

The model. A `TcpSock` holds two streams of bytes.

    sending    snd_una <= snd_nxt <= write_seq     acknowledged | in flight (rtx_queue) | not yet sent (unsent)
    receiving  copied_seq <= rcv_nxt <= rcv_adv    read by the program | queued (rx_queue) | window we offered

Rules that keep it true:

* Sequence numbers inside are plain ints that never wrap; the packer cuts them to 32 bits and the parser extends what
  it reads by its distance from rcv_nxt or snd_una.
* Payload is immutable and travels by reference: a `Segment` in rtx_queue holds the same bytes objects that the
  segment on the wire carries. A retransmission builds new headers around them; there is nothing to clone.
* Everything runs under the kernel lock: system calls in process context, `input` and `timers` in softirq context.
* Connections are found by the 12 wire bytes of addresses and ports in ``TcpNet.ehash``; a `TcpSock`, a `RequestSock`
  (half open) or a `TimeWaitSock` stands there.

Where to look: `proto` (the socket API), `send`, `recv`, `output` (segments out), `fast` (header prediction), `input`
(the slow path and the state machine), `ack` (what an ACK does), `sack` (what we tell of holes), `rack` and `scoreboard`
(recovery when the peer tells), `recovery` (when it does not), `cong` and `cubic`, `rtt`, `pacing`, `metrics` (what the
route prescribes), `urgent`, `stamps` (when bytes left), `timers`, `listen` and `requests` (half-open connections),
`timewait`, `states` (the transitions as a table), `ports`, `ipv4` (demultiplexing, resets).

Deliberately not here: ECN, tail loss probes, Fast Open, SYN cookies, path-MTU discovery by probing.
"""
