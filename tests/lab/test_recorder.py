"""The flight recorder: what it keeps is what a capture would have shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.inet_api import boot, connection

from pysock.core.kernel import Kernel
from pysock.lab.capture import Capture
from pysock.lab.pcapng import read_file
from pysock.lab.recorder import FlightRecorder


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def exchange(kernel: Kernel, size: int = 5, rounds: int = 3) -> None:
    server, client, peer = connection(kernel, 46000)
    for _ in range(rounds):
        client.send(b"x" * size)
        received = 0
        while received < size:
            received += len(peer.recv())
    for sock in (client, peer, server):
        sock.close()


@pytest.mark.parametrize("size", [5, 65536])
def test_it_saves_what_a_capture_would_have_shown(kernel: Kernel, tmp_path: Path, size: int) -> None:
    recorder = FlightRecorder(kernel.init_net)
    with Capture(kernel.init_net, tmp_path / "capture"):
        exchange(kernel, size)
    recorder.stop()
    exchange(kernel, size)
    recorder.save(tmp_path / "recorded")
    recorded = read_file(tmp_path / "recorded")
    assert len(recorded) > 10
    assert recorded == read_file(tmp_path / "capture")


def test_the_oldest_give_way(kernel: Kernel, tmp_path: Path) -> None:
    few, small = FlightRecorder(kernel.init_net, max_packets=4), FlightRecorder(kernel.init_net, max_bytes=3000)
    with Capture(kernel.init_net) as capture:
        exchange(kernel, 1000)
    few.save(tmp_path / "few")
    small.save(tmp_path / "small")
    frames = capture.frames
    assert [packet.frame for packet in read_file(tmp_path / "few")] == frames[-4:]
    kept = [packet.frame for packet in read_file(tmp_path / "small")]
    assert kept == frames[-len(kept) :]
    assert 0 < sum(map(len, kept)) <= 3000
    assert few.dropped == len(frames) - 4 == len(frames) - len(few)
    assert small.dropped == len(frames) - len(kept)


def test_stopping_twice_is_harmless(kernel: Kernel) -> None:
    recorder = FlightRecorder(kernel.init_net)
    recorder.stop()
    recorder.stop()
    exchange(kernel)
    assert len(recorder) == 0
