"""What every parsed header shares: slots that name the fields once, equality, and a readable repr."""

from __future__ import annotations

from pysock.wire.errors import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

Buf = bytes | bytearray | memoryview
"""Whatever holds a packet's bytes."""


class Header:
    """Base of the header classes; a subclass lists its ``fields`` in the order of the wire, and they are its slots.

    Mutable, so that a test can bend one field and build again; therefore not hashable.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.fields)

    __hash__ = None  # type: ignore[assignment]  # equality by value, fields may change

    def __repr__(self) -> str:
        text = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.fields)
        return f"{type(self).__name__}({text})"


def need(buf: Buf, offset: int, size: int, what: str) -> None:
    """Raise Malformed unless ``buf`` has ``size`` bytes at ``offset``."""
    if offset < 0 or len(buf) - offset < size:
        raise Malformed(f"truncated {what}: {max(0, len(buf) - max(0, offset))} of {size} bytes")


def fits(value: int, bits: int, what: str) -> int:
    """``value``, if it is an unsigned number of that many bits; else ValueError."""
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{what} must be 0-{(1 << bits) - 1}, not {value}")
    return value


def sized(value: bytes, size: int, what: str) -> bytes:
    """``value``, if it has exactly ``size`` bytes; else ValueError: struct would pad or cut silently."""
    if len(value) != size:
        raise ValueError(f"{what} must be {size} bytes, not {len(value)}")
    return value
