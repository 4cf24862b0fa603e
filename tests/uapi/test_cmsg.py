"""Control buffers: the stdlib's arithmetic, round trips, truncation."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.uapi import cmsg
from pysock.uapi.socket import MSG_CTRUNC, SCM_RIGHTS, SOL_SOCKET

INT = st.integers(-(2**31), 2**31 - 1)
MESSAGES = st.lists(st.tuples(INT, INT, st.binary(max_size=40)), max_size=5)


@given(st.integers(-5, 200) | st.integers(2**31 - 50, 2**31 + 50))
def test_len_and_space_are_the_stdlibs(length: int) -> None:
    for ours, real in ((cmsg.cmsg_len, socket.CMSG_LEN), (cmsg.cmsg_space, socket.CMSG_SPACE)):
        try:
            expected = real(length)
        except OverflowError:
            with pytest.raises(OverflowError):
                ours(length)
        else:
            assert ours(length) == expected


def test_bytes_of_one_message() -> None:
    raw = cmsg.pack_control([(SOL_SOCKET, SCM_RIGHTS, b"\5\0\0\0")])
    assert raw == b"\x14" + bytes(7) + b"\1\0\0\0\1\0\0\0" + b"\5\0\0\0" + bytes(4)
    assert len(raw) == cmsg.cmsg_space(4)


@given(MESSAGES)
def test_round_trip(messages: list[tuple[int, int, bytes]]) -> None:
    raw = cmsg.pack_control(messages)
    assert cmsg.parse_control(raw) == messages
    assert cmsg.parse_received(raw) == (messages, 0)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_list_or_a_value_error(raw: bytes) -> None:
    messages, flags = cmsg.parse_received(raw)
    assert flags in (0, MSG_CTRUNC)
    if flags:
        with pytest.raises(ValueError, match="malformed"):
            cmsg.parse_control(raw)
    else:
        assert cmsg.parse_control(raw) == messages


def test_short_and_overrunning_messages() -> None:
    good = cmsg.pack_control([(1, 2, b"abcdefgh")])
    assert cmsg.parse_received(good + cmsg.CMSGHDR.pack(15, 1, 1)) == ([(1, 2, b"abcdefgh")], MSG_CTRUNC)
    assert cmsg.parse_received(cmsg.CMSGHDR.pack(100, 1, 2) + b"xyz") == ([(1, 2, b"xyz")], MSG_CTRUNC)
    assert cmsg.parse_received(good + bytes(15)) == ([(1, 2, b"abcdefgh")], 0)


@given(MESSAGES, st.integers(0, 300))
def test_what_fits_is_a_prefix_of_the_messages(messages: list[tuple[int, int, bytes]], room: int) -> None:
    fitting, flags = cmsg.fit_control(messages, room)
    packed = sum(cmsg.CMSGHDR_SIZE + len(data) for _, _, data in fitting)
    assert packed <= room or not fitting
    assert (flags == 0) == (fitting == messages)
    for (level, kind, data), original in zip(fitting, messages, strict=False):
        assert (level, kind) == original[:2]
        assert original[2].startswith(data)


def test_fit_examples() -> None:
    one, two = (1, 2, b"abcdefgh"), (1, 3, b"12345678")
    assert cmsg.fit_control([one, two], 48) == ([one, two], 0)
    assert cmsg.fit_control([one, two], 44) == ([one, (1, 3, b"1234")], MSG_CTRUNC)
    assert cmsg.fit_control([one, two], 39) == ([one], MSG_CTRUNC)
    assert cmsg.fit_control([one], 0) == ([], MSG_CTRUNC)
    assert cmsg.fit_control([], 0) == ([], 0)


@pytest.mark.parametrize(("room", "count"), [(0, 0), (16, 0), (19, 0), (20, 1), (24, 2), (27, 2)])
def test_rights_room(room: int, count: int) -> None:
    assert cmsg.rights_room(room) == count
