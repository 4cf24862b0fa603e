"""Wrong arguments get the same class and the same words from us as from CPython's own module."""

from __future__ import annotations

import _socket
import socket
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from pysock.shim import csocket


class Props:
    """One module's sockets to try things on, and the C module below it."""

    def __init__(self, net: ModuleType, low: ModuleType) -> None:
        self.net = net
        self.low = low
        self.tcp = net.socket()
        self.udp = net.socket(net.AF_INET, net.SOCK_DGRAM)
        self.unix = net.socket(net.AF_UNIX)
        self.raw = low.socket()

    def close(self) -> None:
        for sock in (self.tcp, self.udp, self.unix, self.raw):
            sock.close()


Case = Callable[[Props], Any]

CASES: dict[str, Case] = {
    "bind str": lambda p: p.tcp.bind("a"),
    "bind list": lambda p: p.tcp.bind(["127.0.0.1", 0]),
    "bind short": lambda p: p.tcp.bind(("a",)),
    "bind long": lambda p: p.tcp.bind(("127.0.0.1", 0, 0)),
    "bind str port": lambda p: p.tcp.bind(("127.0.0.1", "x")),
    "bind float port": lambda p: p.tcp.bind(("127.0.0.1", 1.5)),
    "bind port over": lambda p: p.tcp.bind(("127.0.0.1", 65536)),
    "bind port under": lambda p: p.tcp.bind(("127.0.0.1", -1)),
    "bind port huge": lambda p: p.tcp.bind(("127.0.0.1", 1 << 80)),
    "bind int host": lambda p: p.tcp.bind((1, 2)),
    "bind None host": lambda p: p.tcp.bind((None, 2)),
    "bind nul host": lambda p: p.tcp.bind(("a\0b", 2)),
    "connect str": lambda p: p.tcp.connect("a"),
    "connect_ex str port": lambda p: p.udp.connect_ex(("127.0.0.1", "x")),
    "sendto no address": lambda p: p.udp.sendto(b"x"),
    "sendto str address": lambda p: p.udp.sendto(b"x", "a"),
    "sendto None": lambda p: p.udp.sendto(b"x", None),
    "sendto str": lambda p: p.udp.sendto("x", ("127.0.0.1", 1)),
    "sendto str flags": lambda p: p.udp.sendto(b"x", "y", ("127.0.0.1", 1)),
    "sendto four": lambda p: p.udp.sendto(b"x", 0, ("127.0.0.1", 1), 4),
    "ifindex 0": lambda p: p.low.if_indextoname(0),
    "ifindex str": lambda p: p.low.if_indextoname("x"),
    "ifindex -1": lambda p: p.low.if_indextoname(-1),
    "ifindex huge": lambda p: p.low.if_indextoname(1 << 80),
    "ifname int": lambda p: p.low.if_nametoindex(3),
    "ifname unknown": lambda p: p.low.if_nametoindex("nope"),
    "unix int": lambda p: p.unix.bind(5),
    "unix tuple": lambda p: p.unix.connect(("127.0.0.1", 1)),
    "unix long path": lambda p: p.unix.bind("a" * 108),
    "unix long name": lambda p: p.unix.bind(b"\0" + b"a" * 108),
    "unix no such folder": lambda p: p.unix.bind(bytearray(b"/nonexistent/abc")),
    "recv negative": lambda p: p.tcp.recv(-1),
    "recv str": lambda p: p.tcp.recv("a"),
    "recv float": lambda p: p.tcp.recv(1.5),
    "recv float flags": lambda p: p.tcp.recv(1, 1.5),
    "recvfrom negative": lambda p: p.tcp.recvfrom(-1),
    "recv_into bytes": lambda p: p.tcp.recv_into(b"abc"),
    "recv_into negative": lambda p: p.tcp.recv_into(bytearray(5), -1),
    "recv_into over": lambda p: p.tcp.recv_into(bytearray(5), 6),
    "recvfrom_into negative": lambda p: p.tcp.recvfrom_into(bytearray(5), -1),
    "recvfrom_into over": lambda p: p.tcp.recvfrom_into(bytearray(5), 6),
    "recvmsg negative": lambda p: p.tcp.recvmsg(-1),
    "recvmsg negative room": lambda p: p.tcp.recvmsg(1, -1),
    "recvmsg_into int": lambda p: p.tcp.recvmsg_into(1),
    "recvmsg_into bytes": lambda p: p.tcp.recvmsg_into([b"a"]),
    "recvmsg_into negative room": lambda p: p.tcp.recvmsg_into([bytearray(4)], -1),
    "send str": lambda p: p.tcp.send("a"),
    "send None": lambda p: p.tcp.send(None),
    "send sliced": lambda p: p.tcp.send(memoryview(b"abcdef")[::2]),
    "sendall str": lambda p: p.tcp.sendall("a"),
    "sendmsg int": lambda p: p.tcp.sendmsg(1),
    "sendmsg ints": lambda p: p.tcp.sendmsg([1]),
    "sendmsg int control": lambda p: p.tcp.sendmsg([b"a"], 1),
    "sendmsg ints control": lambda p: p.tcp.sendmsg([b"a"], [1]),
    "sendmsg short control": lambda p: p.tcp.sendmsg([b"a"], [(1, 2)]),
    "sendmsg str level": lambda p: p.tcp.sendmsg([b"a"], [("a", 2, b"")]),
    "sendmsg str control": lambda p: p.tcp.sendmsg([b"a"], [(1, 2, "x")]),
    "sendmsg_afalg": lambda p: p.tcp.sendmsg_afalg([b"a"]),
    "settimeout negative": lambda p: p.tcp.settimeout(-1),
    "settimeout str": lambda p: p.tcp.settimeout("a"),
    "settimeout huge": lambda p: p.tcp.settimeout(1e20),
    "settimeout nan": lambda p: p.tcp.settimeout(float("nan")),
    "settimeout inf": lambda p: p.tcp.settimeout(float("inf")),
    "setsockopt short": lambda p: p.tcp.setsockopt(1, 2, None),
    "setsockopt str": lambda p: p.tcp.setsockopt(1, 2, "x"),
    "setsockopt huge": lambda p: p.tcp.setsockopt(1, 2, 1 << 40),
    "setsockopt four": lambda p: p.tcp.setsockopt(1, 2, b"x", 4),
    "setsockopt float": lambda p: p.tcp.setsockopt(1, 2, 1.5),
    "setsockopt str level": lambda p: p.tcp.setsockopt("a", 2, 1),
    "getsockopt negative": lambda p: p.tcp.getsockopt(1, 2, -1),
    "getsockopt over": lambda p: p.tcp.getsockopt(1, 2, 1025),
    "getsockopt int": lambda p: p.tcp.getsockopt(1, 2),
    "getsockopt bytes": lambda p: p.tcp.getsockopt(1, 2, 64),
    "getsockopt unknown": lambda p: p.tcp.getsockopt(1, 12345),
    "listen str": lambda p: p.tcp.listen("a"),
    "listen huge": lambda p: p.tcp.listen(1 << 40),
    "shutdown str": lambda p: p.tcp.shutdown("a"),
    "shutdown unconnected": lambda p: p.tcp.shutdown(p.net.SHUT_RD),
    "fileno negative": lambda p: p.net.socket(fileno=-1),
    "fileno float": lambda p: p.net.socket(fileno=1.5),
    "fileno closed": lambda p: p.net.socket(fileno=999_999),
    "fileno closed, all known": lambda p: p.net.socket(1, 1, fileno=999_999),
    "family negative": lambda p: p.net.socket(-2),
    "family unknown": lambda p: p.net.socket(99),
    "family str": lambda p: p.net.socket("a"),
    "type unknown": lambda p: p.net.socket(type=99),
    "protocol wrong": lambda p: p.net.socket(proto=17),
    "close negative": lambda p: p.net.close(-1),
    "close str": lambda p: p.net.close("a"),
    "dup negative": lambda p: p.net.dup(-1),
    "setdefaulttimeout negative": lambda p: p.net.setdefaulttimeout(-1),
    "socketpair four": lambda p: p.net.socketpair(1, 2, 3, 4),
    "socketpair inet": lambda p: p.low.socketpair(2, 1),
    "getaddrinfo nothing": lambda p: p.net.getaddrinfo(None, None),
    "getaddrinfo service": lambda p: p.net.getaddrinfo("127.0.0.1", "no-such-service"),
    "getaddrinfo family": lambda p: p.net.getaddrinfo("127.0.0.1", 80, 99),
    "getaddrinfo type": lambda p: p.net.getaddrinfo("127.0.0.1", 80, 0, 99),
    "getaddrinfo int": lambda p: p.net.getaddrinfo(1, 80),
    "getaddrinfo float port": lambda p: p.net.getaddrinfo("127.0.0.1", 1.5),
    "getaddrinfo": lambda p: p.net.getaddrinfo("127.0.0.1", b"80"),
    "getaddrinfo v6": lambda p: p.net.getaddrinfo("::1", 80),
    "getaddrinfo odd": lambda p: p.net.getaddrinfo("127.1", 80, type=1),
    "gethostbyname any": lambda p: p.net.gethostbyname(""),
    "gethostbyname broadcast": lambda p: p.net.gethostbyname("<broadcast>"),
    "gethostbyname int": lambda p: p.net.gethostbyname(5),
    "gethostbyname_ex numeric": lambda p: p.net.gethostbyname_ex("127.0.0.1"),
    "getnameinfo str": lambda p: p.net.getnameinfo("a", 0),
    "getnameinfo three": lambda p: p.net.getnameinfo(("127.0.0.1", 80, 0), 0),
    "getnameinfo name": lambda p: p.net.getnameinfo(("localhost", 80), 0),
    "getnameinfo numeric": lambda p: p.net.getnameinfo(("127.0.0.1", 80), p.net.NI_NUMERICHOST | p.net.NI_NUMERICSERV),
    "if_nametoindex": lambda p: p.net.if_nametoindex("no-such"),
    "if_nametoindex int": lambda p: p.net.if_nametoindex(1),
    "if_indextoname": lambda p: p.net.if_indextoname(9999),
    "if_indextoname negative": lambda p: p.net.if_indextoname(-1),
    "loopback": lambda p: p.net.if_indextoname(p.net.if_nametoindex("lo")),
    "sethostname int": lambda p: p.net.sethostname(1),
    "set family": lambda p: setattr(p.tcp, "family", 1),
    "not made": lambda p: p.low.socket.__new__(p.low.socket).recv(1),
    "not made, closed": lambda p: p.low.socket.__new__(p.low.socket).close(),
    "types": lambda p: (p.tcp.family, p.tcp.type, p.tcp.proto, p.tcp.timeout, p.tcp.getblocking()),
    "low types": lambda p: (p.raw.family, p.raw.type, p.raw.proto, p.raw.timeout),
    "unnamed": lambda p: (p.tcp.getsockname(), p.unix.getsockname()),
    "no peer": lambda p: p.tcp.getpeername(),
    "detached": lambda p: (p.net.close(p.raw.detach()), p.raw.fileno()),
    "version": lambda p: p.net.__name__ in ("socket", "pysock"),
}


def outcome(case: Case, props: Props) -> tuple[str, str]:
    try:
        return "returned", repr(case(props))
    except Exception as exc:
        return type(exc).__name__, str(exc)


@pytest.mark.parametrize("name", CASES)
def test_same_words(face: ModuleType, name: str) -> None:
    real, ours = Props(socket, _socket), Props(face, csocket)
    try:
        wanted, got = outcome(CASES[name], real), outcome(CASES[name], ours)
    finally:
        real.close()
        ours.close()
    assert got == wanted


@pytest.mark.parametrize("value", ["a", None])
def test_setblocking_takes_what_this_python_takes(face: ModuleType, value: object) -> None:
    real, ours = Props(socket, _socket), Props(face, csocket)
    try:
        case: Case = lambda p: (p.tcp.setblocking(value), p.tcp.gettimeout())  # noqa: E731 - as in the table
        assert outcome(case, ours) == outcome(case, real)
    finally:
        real.close()
        ours.close()


def test_the_module_has_every_public_name() -> None:
    assert {name for name in vars(_socket) if not name.startswith("_")} <= set(vars(csocket))
    assert sys.modules["_socket"] is _socket
    assert csocket.__all__ == [name for name in vars(_socket) if not name.startswith("_")]


def test_the_class_has_every_method() -> None:
    missing = set(dir(_socket.socket)) - set(dir(csocket.socket))
    assert not missing


def test_no_dict_and_no_weak_references() -> None:
    assert not {"__dict__", "__weakref__"} & set(vars(csocket.socket))


def test_constants_are_the_c_modules() -> None:
    assert csocket.CAPI is _socket.CAPI  # type: ignore[attr-defined]  # both have it
    differing = [n for n in vars(_socket) if n.isupper() and getattr(csocket, n) != getattr(_socket, n)]
    assert differing == []
