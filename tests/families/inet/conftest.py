from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.dgram_api import Api, Host, Linux, Ours


@pytest.fixture
def ours() -> Ours:
    return Ours()


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture(params=["pysock", "linux"])
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    if request.param == "pysock":
        ours = Ours()
        yield ours
        assert not ours.log  # nothing was contained
        return
    linux = Linux()
    yield linux
    linux.close_all()
