"""Errors: how the stack raises one of Linux's error numbers."""

from __future__ import annotations

import os

__all__ = ["err"]


def err(number: int, text: str | None = None) -> OSError:
    """Make (don't raise) the `OSError` for errno `number`.

    Python picks the subclass from the number: EAGAIN gives `BlockingIOError`, ECONNRESET gives
    `ConnectionResetError`, ETIMEDOUT gives `TimeoutError`, and so on. `text` replaces the text of
    strerror(3); `errno` stays the same.
    """
    return OSError(number, os.strerror(number) if text is None else text)
