from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.unix_api import DGRAM, SEQPACKET, STREAM, Api, RealUnix, Unix


@pytest.fixture
def unix() -> Unix:
    return Unix()


@pytest.fixture(params=["pysock", "linux"])
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    if request.param == "pysock":
        yield Unix()
        return
    real = RealUnix()
    yield real
    real.close_all()


@pytest.fixture(params=[STREAM, DGRAM, SEQPACKET], ids=["stream", "dgram", "seqpacket"])
def kind(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(params=[STREAM, SEQPACKET], ids=["stream", "seqpacket"])
def connected_kind(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def room(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, so that paths in tests are short names."""
    monkeypatch.chdir(tmp_path)
