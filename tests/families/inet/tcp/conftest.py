from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.tcp_diary import Diary


@pytest.fixture
def d() -> Iterator[Diary]:
    """A fresh diary; whatever raised on the packet path during the test fails it."""
    diary = Diary()
    yield diary
    assert not diary.kernel.errors.total
