"""One suite for every driver: `pytest --pysock-driver=loopback|tap|e100 tests/matrix`.

A test that takes `lan` is about two hosts and a cable of the driver between them, and has to send something across:
that is checked at its end, by the counters of the driver's far side.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from support.cables import Lan

from pysock.testing.session import Session


@pytest.fixture
def lan(pysock: Session) -> Iterator[Lan]:
    lan = Lan(pysock)
    before = lan.crossed()
    yield lan
    there, back = (now - then for now, then in zip(lan.crossed(), before, strict=True))
    assert there > 0 and back > 0, f"nothing went over the {lan.driver} cable: {there} there, {back} back"


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found
