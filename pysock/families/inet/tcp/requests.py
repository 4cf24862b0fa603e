"""The half-open connections of a listener, and the one timer that repeats their SYN-ACKs (reqsk_timer_handler).

They stand in rows by how often the SYN-ACK was repeated. In a row all wait equally long, so the first one in it is the
first one due, and none needs a timer of its own.
"""

from __future__ import annotations

from collections import OrderedDict

from pysock.core.timer import Timer
from pysock.families.inet.tcp.sock import nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel
    from pysock.families.inet.tcp.listen import RequestSock


class RequestQueue:
    """struct request_sock_queue, the half-open part. ``count`` is how many there are."""

    __slots__ = ("_kernel", "_rows", "_timer", "count")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._rows: list[OrderedDict[RequestSock, None]] = []
        self._timer = Timer(self._expire)
        self.count = 0

    def add(self, request: RequestSock) -> None:
        """Take ``request`` in, whose SYN-ACK has just left; its `expired` is called unless it is removed before."""
        rows = self._rows
        while len(rows) <= request.retries:
            rows.append(OrderedDict())
        rows[request.retries][request] = None
        self.count += 1
        request.expires = expires = self._kernel.now + request.rto
        if expires < self._timer.expires:
            self._kernel.timers.mod_timer(self._timer, expires)

    def remove(self, request: RequestSock) -> None:
        """Let ``request`` go; harmless when it is gone."""
        rows = self._rows
        if request.retries < len(rows) and request in rows[request.retries]:
            del rows[request.retries][request]
            self.count -= 1

    def close(self) -> list[RequestSock]:
        """Stop the timer for good; those that are left."""
        self._kernel.timers.del_timer(self._timer)
        self._timer.function = nothing  # no cycle, and the heap keeps nothing alive
        return [request for row in self._rows for request in row]

    def _expire(self) -> None:
        now = self._kernel.now
        due = []
        for row in self._rows:
            for request in row:
                if request.expires > now:
                    break
                due.append(request)
        for request in due:
            self.remove(request)
            request.expired()
        upcoming = [next(iter(row)).expires for row in self._rows if row]
        if upcoming:
            self._kernel.timers.mod_timer(self._timer, min(upcoming))
