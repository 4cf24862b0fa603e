from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.families.unix.address import parse_address, parse_target, shape_of

paths = st.binary(min_size=1, max_size=107).filter(lambda raw: b"\0" not in raw)
abstract = st.binary(max_size=107).map(lambda rest: b"\0" + rest)


@given(paths)
def test_a_path_comes_back_as_str(raw: bytes) -> None:
    assert parse_address(raw) == raw
    assert shape_of(raw) == os.fsdecode(raw)
    assert parse_address(shape_of(raw)) == raw


@given(abstract)
def test_an_abstract_name_comes_back_as_bytes(raw: bytes) -> None:
    assert parse_address(raw) == raw
    assert parse_address(bytearray(raw)) == raw
    assert shape_of(raw) == raw


def test_unnamed() -> None:
    assert parse_address("") == b""
    assert shape_of(b"") == ""


def test_a_path_ends_at_its_first_nul() -> None:
    assert parse_address("a\0b") == b"a"


@pytest.mark.parametrize("addr", [None, 5, ("host", 80), "p" * 108, b"p" * 108, b"\0" + b"n" * 108, "\ud800"])
def test_what_is_no_name_is_einval(addr: object) -> None:
    with pytest.raises(OSError) as caught:
        parse_address(addr)
    assert caught.value.errno == errno.EINVAL


def test_a_target_needs_a_name() -> None:
    assert parse_target("p") == b"p"
    with pytest.raises(OSError) as caught:
        parse_target("")
    assert caught.value.errno == errno.EINVAL


@given(st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.tuples(st.text(), st.integers())))
def test_nothing_but_oserror_is_raised(addr: object) -> None:
    number = 0
    try:
        assert len(parse_address(addr)) <= 108
    except OSError as exc:
        number = exc.errno
    assert number in (0, errno.EINVAL)
