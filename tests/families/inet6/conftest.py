from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.inet6_api import Api6, Linux6, Ours6, has_ipv6
from support.inet6_hosts import Lab6, Wire6


@pytest.fixture
def lab() -> Iterator[Lab6]:
    lab = Lab6()
    yield lab
    assert lab.log == []  # nothing was contained


@pytest.fixture
def wire() -> Iterator[Wire6]:
    host = Wire6()
    yield host
    assert host.log == []


@pytest.fixture
def ours6() -> Iterator[Ours6]:
    ours = Ours6()
    yield ours
    assert not ours.log


@pytest.fixture(params=["pysock", "linux"])
def api6(request: pytest.FixtureRequest) -> Iterator[Api6]:
    if request.param == "pysock":
        ours = Ours6()
        yield ours
        assert not ours.log  # nothing was contained
        return
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    linux = Linux6()
    yield linux
    linux.close_all()
