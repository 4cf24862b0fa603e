"""SysctlTable: values, text, bounds, and that a refused write changes nothing."""

from __future__ import annotations

import errno
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.core.errors import err
from pysock.core.sysctl import INT_MAX, INT_MIN, SysctlTable, name_of, parse_int, path_of

RMEM = "net.ipv4.tcp_rmem"
TTL = "net.ipv4.ip_default_ttl"
FWD = "net.ipv4.ip_forward"
CC = "net.ipv4.tcp_congestion_control"


class Owner:
    """Keeps its tunables in attributes, as the packet path wants them."""

    def __init__(self, table: SysctlTable) -> None:
        self.rmem = (4096, 131072, 6291456)
        self.ttl = 64
        self.forward = False
        self.cc = "reno"
        table.register_ints(RMEM, self.rmem, 1, on_change=self.set_rmem)
        table.register_int(TTL, self.ttl, 1, 255, on_change=self.set_ttl)
        table.register_bool(FWD, self.forward, on_change=self.set_forward)
        table.register_str(CC, self.cc, 15, on_change=self.set_cc)

    def set_rmem(self, value: tuple[int, ...]) -> None:
        assert len(value) == 3
        self.rmem = (value[0], value[1], value[2])

    def set_ttl(self, value: int) -> None:
        self.ttl = value

    def set_forward(self, value: bool) -> None:
        self.forward = value

    def set_cc(self, value: str) -> None:
        if value not in ("reno", "cubic"):
            raise err(errno.ENOENT)
        self.cc = value


@pytest.fixture
def table() -> SysctlTable:
    return SysctlTable()


@pytest.fixture
def owner(table: SysctlTable) -> Owner:
    return Owner(table)


def refused(number: int, call: object, *args: object) -> None:
    with pytest.raises(OSError) as info:
        call(*args)  # type: ignore[operator]
    assert info.value.errno == number


def test_set_reaches_the_owner(table: SysctlTable, owner: Owner) -> None:
    table.set(RMEM, (1, 2, 3))
    table.set(TTL, 1)
    table.set(FWD, 1)
    table.set(CC, "cubic")
    assert (owner.rmem, owner.ttl, owner.forward, owner.cc) == ((1, 2, 3), 1, True, "cubic")
    assert (table.get(RMEM), table.get(TTL), table.get(FWD), table.get(CC)) == ((1, 2, 3), 1, True, "cubic")
    assert table.get(FWD) is True
    assert table.changed() == {RMEM: (1, 2, 3), TTL: 1, FWD: True, CC: "cubic"}
    for name in table.names():
        table.reset(name)
    assert (owner.rmem, owner.ttl, owner.forward, owner.cc) == ((4096, 131072, 6291456), 64, False, "reno")
    assert table.changed() == {}


def test_text_is_that_of_proc_sys(table: SysctlTable, owner: Owner) -> None:
    assert table.read(RMEM) == "4096\t131072\t6291456\n"
    assert table.read(FWD) == "0\n"
    assert table.read(CC) == "reno\n"
    table.write(RMEM, "  8192 0x4000\t0100000\n")
    assert owner.rmem == (8192, 16384, 32768)
    table.write(RMEM, "1\n")  # only the first
    assert owner.rmem == (1, 16384, 32768)
    table.write(TTL, "7 8 9\n")  # the surplus is ignored
    assert owner.ttl == 7
    table.write(CC, "cubic\n")
    assert owner.cc == "cubic"


@pytest.mark.parametrize("text", ["", " \n", "x", "1x", "0x", "08", "--1", "+1", "1_0", "0", "256", "1e1", "٣"])
def test_bad_text_changes_nothing(table: SysctlTable, owner: Owner, text: str) -> None:
    refused(errno.EINVAL, table.write, TTL, text)
    assert (owner.ttl, table.get(TTL)) == (64, 64)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (RMEM, (1, 2)),
        (RMEM, (1, 2, 0)),
        (RMEM, (1, 2, "3")),
        (RMEM, 5),
        (TTL, "5"),
        (TTL, (5,)),
        (TTL, 0),
        (TTL, 256),
        (TTL, 5.0),
        (FWD, 2),
        (FWD, "1"),
        (CC, 1),
        (CC, "a" * 16),
    ],
)
def test_bad_values_are_einval(table: SysctlTable, owner: Owner, name: str, value: object) -> None:
    refused(errno.EINVAL, table.set, name, value)
    assert table.changed() == {}


def test_the_owner_may_refuse(table: SysctlTable, owner: Owner) -> None:
    refused(errno.ENOENT, table.set, CC, "vegas")
    assert (owner.cc, table.get(CC)) == ("reno", "reno")


def test_a_second_bad_integer_leaves_the_first_alone(table: SysctlTable, owner: Owner) -> None:
    refused(errno.EINVAL, table.write, RMEM, "9 x")
    assert owner.rmem == (4096, 131072, 6291456)


def test_unknown_read_only_and_twice(table: SysctlTable) -> None:
    table.register_int("net.core.fixed", 3, writable=False)
    refused(errno.ENOENT, table.get, "net.core.nothing")
    refused(errno.ENOENT, table.write, "net.core.nothing", "1")
    refused(errno.EACCES, table.set, "net.core.fixed", 4)
    refused(errno.EACCES, table.write, "net.core.fixed", "4")
    refused(errno.EEXIST, table.register_int, "net.core.fixed", 5)
    refused(errno.EINVAL, table.register_int, "net..x", 5)
    refused(errno.EINVAL, table.register_int, "net.core.low", 5, 6)
    assert table.get("net.core.fixed") == 3
    assert "net.core.low" not in table


def test_listing_and_removal_are_by_directory(table: SysctlTable) -> None:
    for name in (
        "net.ipv4.conf.eth0.forwarding",
        "net.ipv4.conf.eth0.mtu",
        "net.ipv4.conf.eth0/5.mtu",
        "net.ipv4.conf",
    ):
        table.register_int(name, 0)
    assert table.names("net.ipv4.conf.eth0") == ["net.ipv4.conf.eth0.forwarding", "net.ipv4.conf.eth0.mtu"]
    assert table.names("net.ipv4.conf.eth0.mtu") == ["net.ipv4.conf.eth0.mtu"]
    assert len(table.names("net.")) == len(table.names()) == 4
    assert table.unregister_below("net.ipv4.conf.eth0") == 2
    table.unregister("net.ipv4.conf")
    assert table.names() == ["net.ipv4.conf.eth0/5.mtu"]
    refused(errno.ENOENT, table.unregister, "net.ipv4.conf")


def test_names_and_paths() -> None:
    assert path_of("net.ipv4.conf.eth0/5.mtu") == "net/ipv4/conf/eth0.5/mtu"
    assert name_of("/proc/sys/net/ipv4/conf/eth0.5/mtu") == "net.ipv4.conf.eth0/5.mtu"


def test_two_tables_never_meet() -> None:
    one, two = SysctlTable(), SysctlTable()
    Owner(one)
    Owner(two)
    one.set(TTL, 5)
    assert two.get(TTL) == 64


@given(st.lists(st.integers(INT_MIN, INT_MAX), min_size=1, max_size=5))
def test_text_round_trips(values: list[int]) -> None:
    table = SysctlTable()
    table.register_ints("a.b", (0,) * len(values))
    table.set("a.b", tuple(values))
    text = table.read("a.b")
    table.reset("a.b")
    table.write("a.b", text)
    assert table.get("a.b") == tuple(values)


@given(st.text(max_size=12) | st.from_regex(r"-?(0[xX])?[0-9a-fA-F]{1,8}", fullmatch=True))
def test_any_text_is_an_integer_or_einval(text: str) -> None:
    number: int | None = None
    failure = 0
    try:
        number = parse_int(text)
    except OSError as exc:
        failure = exc.errno or -1
    if number is None:
        assert failure == errno.EINVAL
    else:
        digits = text.removeprefix("-")
        base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" and len(digits) > 1 else 10
        assert number == int(text, base)


def test_entries_that_are_made_when_somebody_looks() -> None:
    table = SysctlTable()
    made: list[str] = []

    def lazily(directory: str) -> None:
        def register() -> None:
            made.append(directory)
            table.register_int(f"{directory}.x", 1)

        table.register_lazy(directory, register)

    for directory in ("net.a.one", "net.a.two", "net.b.three"):
        lazily(directory)
    assert "net.c.x" not in table
    assert made == []
    assert table.get("net.a.two.x") == 1
    assert made == ["net.a.two"]
    table.show("net.a.two.x", 5)
    assert table.read("net.a.two.x") == "5\n"
    assert table.names("net.a") == ["net.a.one.x", "net.a.two.x"]
    assert table.unregister_below("net.b.three") == 0
    assert table.names() == ["net.a.one.x", "net.a.two.x"]
    assert made == ["net.a.two", "net.a.one"]
    for name in ("x", "y"):
        table.register_lazy("net.c", partial(table.register_int, f"net.c.{name}", 1))  # two owners of one directory
    assert table.names("net.c") == ["net.c.x", "net.c.y"]
