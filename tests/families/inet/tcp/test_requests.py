"""Half-open connections of one listener share a timer, and each keeps times of its own."""

from __future__ import annotations

from support.tcp_diary import Diary

BACK_OFF_MS = [0, 1000, 3000, 7000, 15000, 31000]  # tcp_synack_retries = 5


def test_each_backs_off_from_its_own_syn(d: Diary) -> None:
    d.listen()
    begin = d.now
    starts = {}
    for ms in (0, 250, 1250):  # the third one comes when the first one has moved to another row
        d.sleep(ms=ms - (d.now - begin) / 1e6)
        peer = d.peer()
        starts[peer.port] = d.now
        peer.send("S")
    d.sleep(s=200)
    times: dict[int, list[int]] = {port: [] for port in starts}
    for sent in d.ops.sent:
        port = sent.header.dst_port
        times[port].append((sent.at - starts[port]) // 10**6)
    assert list(times.values()) == [BACK_OFF_MS] * 3
    assert not d.tcp.ehash


def test_one_that_completes_does_not_stop_the_others(d: Diary) -> None:
    d.listen()
    done, waiting = d.peer(), d.peer()
    for peer in (done, waiting):
        peer.send("S")
        peer.expect("S.")
    done.send(".", seq=1, ack=1)
    d.sleep(ms=1001)
    waiting.expect("S.")
    d.silent()


def test_a_closed_listener_forgets_them_and_their_timer(d: Diary) -> None:
    listener = d.listen()
    peer = d.peer()
    peer.send("S")
    peer.expect("S.")
    sk = listener.sk
    assert sk.listener is not None
    (request,) = sk.listener.requests.close()
    assert request.key in d.tcp.ehash
    listener.close()
    assert not d.tcp.ehash
    d.sleep(s=100)
    d.silent()
    assert len(d.kernel.timers) == 0


def test_max_syn_backlog_counts_those_that_are_still_open(d: Diary) -> None:
    d.tcp.max_syn_backlog = 1
    d.listen()
    first, second = d.peer(), d.peer()
    first.send("S")
    first.expect("S.")
    second.send("S")
    d.silent()
    assert d.ext.TCPReqQFullDrop == 1
    first.send(".", seq=1, ack=1)
    second.send("S")
    second.expect("S.")
