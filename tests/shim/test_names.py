"""Name resolution: hermetic, and as glibc answers."""

from __future__ import annotations

import errno
import os
import socket
from types import ModuleType

import pytest

from pysock.core.capability import Credentials
from pysock.shim.address import parse
from pysock.shim.hosts import Hosts, hosts_of
from pysock.vfs.task import Task


@pytest.fixture
def hosts(task: Task) -> Hosts:
    return hosts_of(task.net)


def test_localhost(face: ModuleType) -> None:
    assert face.gethostbyname("localhost") == "127.0.0.1"
    assert face.gethostbyname("LocalHost.") == "127.0.0.1"
    assert face.gethostbyaddr("127.0.0.1")[0] == "localhost"
    assert face.getnameinfo(("127.0.0.1", 80), face.NI_NUMERICSERV) == ("localhost", "80")


def test_own_name(face: ModuleType) -> None:
    name = face.gethostname()
    assert name == "pysock"
    assert face.gethostbyname_ex(name) == (name, [], ["127.0.1.1"])
    assert face.getfqdn() == name


def test_sethostname(face: ModuleType, task: Task) -> None:
    face.sethostname("other")
    assert face.gethostname() == "other"
    assert face.gethostbyname("other") == "127.0.1.1"
    with pytest.raises(OSError) as caught:
        face.sethostname("x" * 65)
    assert caught.value.errno == errno.EINVAL
    task.creds = Credentials(uid=1000, caps=0)
    with pytest.raises(PermissionError):
        face.sethostname("mine")


@pytest.mark.parametrize("name", ["no.such.name.invalid", "example.com", "a" * 63])
def test_unknown_names_ask_nobody(face: ModuleType, name: str) -> None:
    for call in (face.gethostbyname, face.gethostbyname_ex, face.gethostbyaddr, lambda n: face.getaddrinfo(n, 80)):
        with pytest.raises(face.gaierror) as caught:
            call(name)
        assert caught.value.errno == face.EAI_NONAME
        assert caught.value.strerror == "Name or service not known"
    with face.socket() as sock, pytest.raises(face.gaierror):
        sock.connect((name, 80))


def test_added_names(face: ModuleType, hosts: Hosts) -> None:
    hosts.add("10.0.0.7", "db.example", "db")
    hosts.add("10.0.0.8", "db.example")
    assert face.gethostbyname_ex("db.example") == ("db.example", ["db"], ["10.0.0.7", "10.0.0.8"])
    assert face.gethostbyaddr("10.0.0.7") == ("db.example", ["db"], ["10.0.0.7"])
    found = face.getaddrinfo("db", "http", type=face.SOCK_STREAM, flags=face.AI_CANONNAME)
    assert found == [(face.AF_INET, face.SOCK_STREAM, 6, "db.example", ("10.0.0.7", 80))]
    assert face.getnameinfo(("10.0.0.7", 80), face.NI_NOFQDN | face.NI_NUMERICSERV) == ("db", "80")
    with pytest.raises(ValueError, match="not a numeric address"):
        hosts.add("db", "x")


def test_addresses_without_names(face: ModuleType) -> None:
    assert face.getnameinfo(("10.9.9.9", 80), face.NI_NUMERICSERV) == ("10.9.9.9", "80")
    with pytest.raises(face.gaierror) as caught:
        face.getnameinfo(("10.9.9.9", 80), face.NI_NAMEREQD)
    assert caught.value.errno == face.EAI_NONAME
    with pytest.raises(face.herror, match="Unknown host"):
        face.gethostbyaddr("10.9.9.9")


def test_families_that_the_kernel_lacks_are_left_out(face: ModuleType, task: Task) -> None:
    """asyncio and http.server take the first answer for their wildcard."""
    task.kernel.families.table.pop(face.AF_INET6, None)
    for host in (None, "localhost"):
        found = face.getaddrinfo(host, 80, type=face.SOCK_STREAM, flags=face.AI_PASSIVE)
        assert {entry[0] for entry in found} == {face.AF_INET}
    assert face.getaddrinfo(None, 80, face.AF_INET6, face.SOCK_STREAM)[0][0] == face.AF_INET6
    with pytest.raises(face.gaierror):
        face.getaddrinfo("pysock", 80, face.AF_INET6)


def test_numeric_host_flag_means_it(face: ModuleType) -> None:
    with pytest.raises(face.gaierror) as caught:
        face.getaddrinfo("localhost", 80, flags=face.AI_NUMERICHOST)
    assert caught.value.errno == face.EAI_NONAME


def test_idna(face: ModuleType, hosts: Hosts) -> None:
    hosts.add("10.0.0.9", "xn--bcher-kva.example")
    assert face.gethostbyname("b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example") == "10.0.0.9"


def test_interfaces(face: ModuleType) -> None:
    assert (1, "lo") in face.if_nameindex()
    assert face.if_nametoindex("lo") == face.if_nametoindex(os.fsencode("lo")) == 1


@pytest.mark.parametrize(
    ("family", "address", "wanted"),
    [
        (socket.AF_INET, ("127.0.0.1", 80), ("127.0.0.1", 80)),
        (socket.AF_INET, ("", 80), ("0.0.0.0", 80)),
        (socket.AF_INET, ("localhost", True), ("127.0.0.1", 1)),
        (socket.AF_INET, (b"127.0.0.1", 80), ("127.0.0.1", 80)),
        (socket.AF_INET, ("127.1", 80), ("127.0.0.1", 80)),
        (socket.AF_INET, ("<broadcast>", 9), ("255.255.255.255", 9)),
        (socket.AF_INET6, ("::1", 80), ("::1", 80, 0, 0)),
        (socket.AF_INET6, ("0:0::1", 80, 7, 2), ("::1", 80, 7, 2)),
        (socket.AF_INET6, ("", 80), ("::", 80, 0, 0)),
        (socket.AF_UNIX, "path", "path"),
        (socket.AF_UNIX, b"path", b"path"),
        (socket.AF_UNIX, "\0name", b"\0name"),
        (44, "whatever a plugin wants", "whatever a plugin wants"),
    ],
)
def test_addresses(task: Task, family: int, address: object, wanted: object) -> None:
    for _ in range(2):  # the second time from the cache
        parsed = parse(task.net, family, address, "bind")
        assert parsed == wanted
        assert type(parsed) is type(wanted)


def test_the_cache_does_not_confuse_types(task: Task) -> None:
    assert parse(task.net, socket.AF_INET, ("127.0.0.1", 1), "bind") == ("127.0.0.1", 1)
    with pytest.raises(TypeError):
        parse(task.net, socket.AF_INET, ("127.0.0.1", 1.0), "bind")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("::1", "AF_INET6 address must be tuple, not str"),
        (("::1",), r"AF_INET6 address must be a tuple \(host, port\[, flowinfo\[, scopeid\]\]\)"),
        (("::1", 1, 1 << 20), "flowinfo must be 0-1048575"),
        (("<broadcast>", 1), "address family mismatched"),
    ],
)
def test_bad_ipv6_addresses(task: Task, address: object, message: str) -> None:
    with pytest.raises((TypeError, OverflowError, OSError), match=message):
        parse(task.net, socket.AF_INET6, address, "bind")


def test_lines_of_the_hosts_table(face: ModuleType, hosts: Hosts) -> None:
    hosts.add("10.0.0.1", "www.example.org", "www")
    hosts.add("10.0.0.1", "other")
    assert face.gethostbyaddr("10.0.0.1") == ("www.example.org", ["www"], ["10.0.0.1"])
    assert face.gethostbyname_ex("other") == ("other", [], ["10.0.0.1"])
    assert face.getaddrinfo("www", 80, type=face.SOCK_STREAM, flags=face.AI_CANONNAME)[0][3] == "www.example.org"
    face.sethostname("www.example.net")
    assert face.getfqdn() == "www.example.net"
    with pytest.raises(face.gaierror):
        face.gethostbyname("pysock")


def numeric(face: ModuleType, host: str, family: int = 0, flags: int = 0) -> list[str]:
    return [entry[4][0] for entry in face.getaddrinfo(host, 80, family, face.SOCK_STREAM, 0, flags)]


def test_ipv4_for_ipv6_sockets(face: ModuleType, hosts: Hosts) -> None:
    hosts.add("10.0.0.1", "four", "both")
    hosts.add("2001:db8::1", "both")
    mapped = face.AI_V4MAPPED
    assert numeric(face, "four", face.AF_INET6, mapped) == ["::ffff:10.0.0.1"]
    assert numeric(face, "both", face.AF_INET6, mapped) == ["2001:db8::1"]
    assert sorted(numeric(face, "both", face.AF_INET6, mapped | face.AI_ALL)) == ["2001:db8::1", "::ffff:10.0.0.1"]
    assert numeric(face, "both", face.AF_INET, mapped | face.AI_ALL) == ["10.0.0.1"]
    with pytest.raises(face.gaierror) as caught:
        numeric(face, "four", face.AF_INET6)
    assert caught.value.errno == face.EAI_NONAME
    with pytest.raises(face.gaierror) as caught:
        numeric(face, "four", 99)
    assert caught.value.errno == face.EAI_FAMILY


def test_destinations_in_the_order_of_rfc_6724(face: ModuleType, hosts: Hosts) -> None:
    """What can't be reached comes last (rule 1), or not at all if AI_ADDRCONFIG says so."""
    assert numeric(face, "localhost") == ["::1", "127.0.0.1"]
    hosts.add("2001:db8::1", "name")
    hosts.add("127.0.0.9", "name")
    hosts.add("::1", "name")
    assert numeric(face, "name") == ["::1", "127.0.0.9", "2001:db8::1"]
    assert numeric(face, "name", flags=face.AI_ADDRCONFIG) == ["::1", "127.0.0.9"]
    hosts.add("2001:db8::7", "far")
    assert numeric(face, "far", flags=face.AI_ADDRCONFIG) == ["2001:db8::7"]


def test_scope_ids_name_interfaces_of_the_namespace(face: ModuleType, task: Task) -> None:
    loopback = task.net.loopback_dev
    assert loopback is not None
    loopback.net.dev_by_name["eth7"] = loopback  # a name that the machine has not
    address = face.getaddrinfo("fe80::1%eth7", 80, type=face.SOCK_STREAM)[0][4]
    assert address == ("fe80::1", 80, 0, loopback.ifindex)
    assert face.getaddrinfo("fe80::1%5", 80)[0][4][3] == 5
    assert face.getnameinfo(address, face.NI_NUMERICHOST)[0] == "fe80::1%lo"
    assert face.getnameinfo(("fe80::1", 80, 0, 99), face.NI_NUMERICHOST)[0] == "fe80::1%99"
    assert face.getnameinfo(("2001:db8::1", 80, 0, 1), face.NI_NUMERICHOST)[0] == "2001:db8::1%1"
    for unknown in ("fe80::1%nope", "2001:db8::1%eth7"):
        with pytest.raises(face.gaierror) as caught:
            face.getaddrinfo(unknown, 80)
        assert caught.value.errno == face.EAI_NONAME


def test_wildcard_has_no_name(face: ModuleType) -> None:
    with pytest.raises(OSError, match="wildcard resolved to multiple address"):
        face.gethostbyaddr("")
