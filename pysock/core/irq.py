"""Interrupts: lines that devices pull, handlers that drivers hang on them. kernel/irq, core-api/genericirq.rst.

Lines are level-triggered and shared, as PCI's are: each source on a line holds it asserted until its reason is gone,
and whoever is registered on the line is asked ("was it you?").

* A handler runs at once, in whatever the kernel is doing, unless interrupts are off; then when they come on again.
* They are off while a handler runs, so handlers never nest, and between `local_irq_save` and `local_irq_restore`, which
  a driver puts around work on what its handler touches too.
* A line that nobody owns up to, or that a handler cannot quiet, is switched off after STORM deliveries in a row
  ("irq 9: nobody cared"): it can't hang the kernel.

Everything here runs under the kernel lock.
"""

from __future__ import annotations

import errno
from collections import deque

from pysock.core.errors import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.contain import ErrorReporter

#: Deliveries of one line in a row, without its level falling once, after which it is switched off.
STORM = 1000


class IrqLine:
    """One line. ``delivered`` counts the times that handlers were called, ``unhandled`` those that none owned up to."""

    __slots__ = ("delivered", "glitches", "handlers", "muted", "number", "queued", "repeats", "sources", "unhandled")

    def __init__(self, number: int) -> None:
        self.number = number
        self.handlers: tuple[tuple[Callable[[], bool], object, str, bool], ...] = ()
        self.sources: set[object] = set()  # who asserts it
        self.muted = False
        self.queued = False
        self.repeats = self.glitches = 0
        self.delivered = self.unhandled = 0


class IrqController:
    """All lines of one Kernel."""

    __slots__ = ("_errors", "_off", "_pending", "lines")

    def __init__(self, errors: ErrorReporter) -> None:
        self._errors = errors
        self._off = 0
        self._pending: deque[IrqLine] = deque()
        self.lines: dict[int, IrqLine] = {}

    def line(self, number: int) -> IrqLine:
        """The line ``number``, made when first asked for."""
        if number not in self.lines:
            self.lines[number] = IrqLine(number)
        return self.lines[number]

    # -- for drivers ---------------------------------------------------------------------------------------

    def request_irq(
        self, number: int, handler: Callable[[], bool], dev_id: object, owner: str, shared: bool = True
    ) -> None:
        """Call ``handler()`` for interrupts on a line; it returns whether its device was the reason (request_irq).

        EBUSY when somebody is there and one of the two does not share. ``dev_id`` is what free_irq finds it by.
        A line that was switched off works again.
        """
        line = self.line(number)
        if line.handlers and not (shared and all(entry[3] for entry in line.handlers)):
            raise err(errno.EBUSY, f"irq {number} is taken by {line.handlers[0][2]}")
        line.handlers = (*line.handlers, (handler, dev_id, owner, shared))
        line.muted = False
        line.repeats = 0
        if line.sources:
            self._deliver(line)

    def free_irq(self, number: int, dev_id: object) -> None:
        """Take the handler with ``dev_id`` off; it is not called after this."""
        line = self.line(number)
        line.handlers = tuple(entry for entry in line.handlers if entry[1] is not dev_id)

    def local_irq_save(self) -> None:
        """No handler runs until the matching local_irq_restore. Nests."""
        self._off += 1

    def local_irq_restore(self) -> None:
        self._off -= 1
        if self._pending and not self._off:
            self._run()

    # -- for devices ---------------------------------------------------------------------------------------

    def pull(self, line: IrqLine, source: object) -> None:
        """``source`` pulls the line, and holds it until `release`."""
        line.sources.add(source)
        if self._off or line.queued or line.muted:
            self._deliver(line)
        else:
            self._serve(line)
            if self._pending:
                self._run()

    def release(self, line: IrqLine, source: object) -> None:
        """``source`` has no reason any more."""
        line.sources.discard(source)
        if not line.sources:
            line.repeats = 0

    def pulse(self, line: IrqLine) -> None:
        """A glitch: the handlers are called once more than anybody has a reason for."""
        line.glitches += 1
        self._deliver(line)

    def _deliver(self, line: IrqLine) -> None:
        if line.queued or line.muted:
            return
        line.queued = True
        self._pending.append(line)
        if not self._off:
            self._run()

    def _run(self) -> None:
        """Deliver what is pending."""
        pending = self._pending
        while pending:
            line = pending.popleft()
            line.queued = False
            self._serve(line)

    def _serve(self, line: IrqLine) -> None:
        """Ask the handlers of a line, with interrupts off, which they are not yet: what the handlers cause waits until
        the last of them is done.
        """
        rounds = line.glitches + 1 if line.sources else line.glitches
        if line.muted or not line.handlers:
            return
        line.glitches = 0
        self._off = 1
        try:
            while rounds:
                rounds -= 1
                line.delivered += 1
                handled = False
                for handler, _, owner, _ in line.handlers:
                    try:
                        handled = handler() or handled
                    except Exception as exc:
                        self._errors.report(owner, "interrupt handler", exc)
                if not handled:
                    line.unhandled += 1
        finally:
            self._off = 0
        if line.sources:
            line.repeats += 1
            if line.repeats >= STORM:
                line.muted = True
                self._errors.note(f"irq {line.number}: nobody cared; the line is off")
            elif not line.queued:
                line.queued = True
                self._pending.append(line)
