"""Writes `_libc.py`: the C functions that the driver calls, in cffi's out-of-line ABI form.

The result is checked in, so nobody needs a compiler, nor this module, to use the driver. After a change here:

    python -m pysock.drivers.tap.build_ffi
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

CDEF = """
int open(const char *path, int flags, ...);
int close(int fd);
int ioctl(int fd, unsigned long request, ...);

struct ifreq { char ifr_name[16]; short ifr_flags; char filler[22]; };
"""
TARGET = Path(__file__).with_name("_libc.py")
#: The rest of the file is a machine's.
_HEADER = "# mypy: ignore-errors\n# ruff: noqa: E501\n"


def generate() -> str:
    """The source of `_libc.py`."""
    from cffi import FFI  # type: ignore[import-untyped]  # its stubs would be a dependency for this one line

    ffi = FFI()
    ffi.set_source("pysock.drivers.tap._libc", None)  # None: no C code, so nothing to compile
    ffi.cdef(CDEF)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "_libc.py")
        ffi.emit_python_code(path)
        return _HEADER + Path(path).read_text(encoding="utf-8")


if __name__ == "__main__":
    TARGET.write_text(generate(), encoding="utf-8")
