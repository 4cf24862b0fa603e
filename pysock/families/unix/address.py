"""Names of AF_UNIX sockets: from the shapes of the stdlib to the bytes of sun_path, and back. unix(7).

| kind     | shape                        | raw (sun_path without a path's closing NUL) |
|----------|------------------------------|---------------------------------------------|
| path     | str, or bytes when given     | 1 to 107 bytes, the first one not NUL       |
| abstract | bytes with a leading NUL     | 1 to 108 bytes, the first one NUL; any others |
| unnamed  | ``""``                       | ``b""``                                     |
"""

from __future__ import annotations

import errno
import os

from pysock.core.errors import err
from pysock.uapi.sockaddr import SUN_PATH_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.sock import Address

# Taken before anybody patches them.
_fsdecode = os.fsdecode
_fsencode = os.fsencode


def parse_address(addr: Address) -> bytes:
    """The raw name in ``addr`` (str or a bytes-like object). EINVAL when it is too long, or no such thing."""
    try:
        raw = _fsencode(addr) if isinstance(addr, str) else bytes(memoryview(addr))
    except (TypeError, UnicodeError):
        raise err(errno.EINVAL) from None
    if raw[:1] == b"\0":
        if len(raw) > SUN_PATH_MAX:
            raise err(errno.EINVAL)
        return raw
    path = raw.partition(b"\0")[0]  # the kernel reads a path up to its first NUL
    if len(path) >= SUN_PATH_MAX:
        raise err(errno.EINVAL)
    return path


def parse_target(addr: Address) -> bytes:
    """The same for the other side's name, which cannot be empty: EINVAL (unix_validate_addr)."""
    raw = parse_address(addr)
    if not raw:
        raise err(errno.EINVAL)
    return raw


def shape_of(raw: bytes) -> str | bytes:
    """The stdlib's shape of a raw name: what getsockname() returns."""
    return raw if raw[:1] == b"\0" else _fsdecode(raw)
