"""`with refused(errno.EINVAL): ...`: the block must raise OSError with exactly this errno."""

from __future__ import annotations

import errno

import pytest


def refused(number: int) -> pytest.RaisesExc[OSError]:
    return pytest.raises(
        OSError, match=f"Errno {number}\\]", check=lambda exc: exc.errno == number and number in errno.errorcode
    )
