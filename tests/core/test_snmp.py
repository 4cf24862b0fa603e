"""Counters: names as Linux prints them, text, snapshots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.core.mibs import IcmpMsgMib, Mib
from pysock.core.snmp import Mibs, delta, format_proc

SETTINGS = {"IpForwarding": 2, "IpDefaultTTL": 64, "TcpRtoAlgorithm": 1, "TcpRtoMin": 200, "TcpRtoMax": 120000}


def parse(text: str) -> dict[str, dict[str, int]]:
    lines = text.splitlines()
    groups: dict[str, dict[str, int]] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        prefix, *keys = names.split()
        same, *numbers = values.split()
        assert prefix == same
        groups[prefix.rstrip(":")] = dict(zip(keys, map(int, numbers), strict=True))
    return groups


def test_everything_starts_at_nought_but_the_settings() -> None:
    assert {k: v for k, v in Mibs().snapshot().items() if v} == SETTINGS | {"TcpMaxConn": -1}


@pytest.mark.parametrize("mib", [m for m in Mibs().all() if not isinstance(m, IcmpMsgMib)], ids=lambda m: m.prefix)
def test_each_name_is_an_attribute_and_nothing_else_is(mib: Mib) -> None:
    assert len(set(mib.names)) == len(mib.names) > 0
    for name in mib.names:
        before = getattr(mib, name)
        setattr(mib, name, before + 1)
        assert getattr(mib, name) == mib.as_dict()[name] == before + 1
    with pytest.raises(AttributeError):
        mib.InSegz = 1  # type: ignore[attr-defined]


def test_counting_a_misspelt_name_fails() -> None:
    mibs = Mibs()
    with pytest.raises(AttributeError):
        mibs.tcp.InSegments += 1  # type: ignore[attr-defined]


def test_text_of_a_group() -> None:
    mibs = Mibs()
    mibs.udp.InDatagrams += 2
    mibs.udp.NoPorts += 1
    assert format_proc([mibs.udp]) == (
        "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n"
        "Udp: 2 1 0 0 0 0 0 0 0\n"
    )
    assert repr(mibs.udp) == "<Udp InDatagrams=2 NoPorts=1>"


def test_proc_files_have_linuxs_groups_and_names() -> None:
    mibs = Mibs()
    snmp = parse(mibs.proc_snmp())
    assert list(snmp) == ["Ip", "Icmp", "Tcp", "Udp", "UdpLite"]
    assert list(snmp["Tcp"])[-6:] == ["InSegs", "OutSegs", "RetransSegs", "InErrs", "OutRsts", "InCsumErrors"]
    assert snmp["Tcp"]["MaxConn"] == -1
    netstat = parse(mibs.proc_netstat())
    assert list(netstat) == ["TcpExt", "IpExt"]
    wanted = (
        "ListenOverflows",
        "ListenDrops",
        "TCPTimeouts",
        "TCPFastRetrans",
        "DelayedACKs",
        "TCPHPHits",
        "TCPPureAcks",
    )
    assert all(netstat["TcpExt"][name] == 0 for name in wanted)
    assert "InOctets" in netstat["IpExt"]


@pytest.mark.parametrize("file", ["snmp", "netstat"])
def test_names_agree_with_the_machines_kernel_as_far_as_both_know_them(file: str) -> None:
    try:
        with open(f"/proc/net/{file}") as stream:
            real = parse(stream.read())
    except OSError:
        pytest.skip(f"no /proc/net/{file} here")
    mibs = Mibs()
    ours = parse(mibs.proc_snmp() if file == "snmp" else mibs.proc_netstat())
    for prefix in ours.keys() & real.keys():
        both = ours[prefix].keys() & real[prefix].keys()
        assert len(both) > len(real[prefix]) * 0.8, prefix
        assert [n for n in ours[prefix] if n in both] == [n for n in real[prefix] if n in both]


def test_icmp_counts_by_type_and_by_field() -> None:
    mibs = Mibs()
    assert "IcmpMsg" not in mibs.proc_snmp()
    mibs.icmp_in(8)
    mibs.icmp_out(0)
    mibs.icmp_out(3)
    mibs.icmp_out(3)
    mibs.icmp_in(200)
    assert (mibs.icmp.InEchos, mibs.icmp.OutEchoReps, mibs.icmp.OutDestUnreachs, mibs.icmp.OutMsgs) == (1, 1, 2, 3)
    assert mibs.icmp.InMsgs == 0
    assert "IcmpMsg: InType8 InType200 OutType0 OutType3\nIcmpMsg: 1 1 1 2\n" in mibs.proc_snmp()


@pytest.mark.parametrize("kind", [0, 3, 4, 5, 8, 11, 12, 13, 14, 17, 18])
def test_each_icmp_field_exists(kind: int) -> None:
    mibs = Mibs()
    before = mibs.snapshot()
    mibs.icmp_in(kind)
    mibs.icmp_out(kind)
    change = delta(before, mibs.snapshot())
    assert len(change) == 5  # In..., Out..., OutMsgs and the two types
    assert set(change.values()) == {1}


def test_delta_names_what_changed() -> None:
    mibs = Mibs()
    before = mibs.snapshot()
    mibs.tcp.InSegs += 3
    mibs.tcp.CurrEstab += 1
    mibs.tcpext.TCPHPHits += 2
    mibs.icmp_in(8)
    after = mibs.snapshot()
    assert delta(before, after) == {
        "IcmpInEchos": 1,
        "IcmpMsgInType8": 1,
        "TcpInSegs": 3,
        "TcpCurrEstab": 1,
        "TcpExtTCPHPHits": 2,
    }
    assert delta(before, before) == {}
    assert delta(after, before) == {name: -change for name, change in delta(before, after).items()}


SNAPSHOTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9))


@given(SNAPSHOTS, SNAPSHOTS)
def test_delta_takes_before_to_after(before: dict[str, int], after: dict[str, int]) -> None:
    change = delta(before, after)
    assert 0 not in change.values()
    for name in "abcd":
        assert before.get(name, 0) + change.get(name, 0) == after.get(name, 0)
