"""PAWS forgets what is older than 24 days (RFC 7323 5.5)."""

from __future__ import annotations

import pytest
from support.tcp_diary import Diary


@pytest.mark.parametrize(("days", "taken"), [(23, b""), (25, b"x")])
def test_idle_connection(d: Diary, days: int, taken: bytes) -> None:
    conn = d.connect(timestamps=True)
    old = conn.sk.ts_recent
    d.sleep(s=days * 24 * 3600)
    d.forget()
    conn.peer.send("P.", seq=1, ack=1, data=b"x", ts_val=old - 1)  # wrapped round, or from the past
    assert d.ext.PAWSEstab == (not taken)
    if taken:
        assert conn.sock.recv() == taken
        assert conn.sk.ts_recent == (old - 1) & 0xFFFFFFFF
