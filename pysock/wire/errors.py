"""The one error that parsing may raise."""

from __future__ import annotations


class Malformed(ValueError):
    """The bytes are not the packet they were taken for: truncated, or their fields contradict each other.

    ``reason`` says what is wrong in a few words, fit for a trace line.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
