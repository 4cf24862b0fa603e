"""The walk of one call through the rooms: which functions of pysock it goes through, in order, and how deep.

    with Walk("sendall") as walk:
        client.sendall(b"hello")
    print(walk.text())

The first call of a function by that name in the shim is followed until it returns; what its thread does before and
after is not. A profile function does it (sys.setprofile), so the walk is what really ran, and nothing is slower when
nobody looks. Packets run to completion in the thread that sends them, so the walk of a send goes down to the driver,
and up on the other side to the receiver's queue.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import CodeType, FrameType, TracebackType

_PREFIX = "pysock."
_ROOM_SIZE = 8  # "families", "syscalls"
_MIN_SIZE = 12  # columns: less of a sentence than this says nothing
#: Functions whose code begins with a docstring say so from Python 3.14 on; before, the first constant is it or None.
_HAS_DOCSTRING = 0x4000000


class Step(NamedTuple):
    """One function call: how deep below the first, its module without "pysock.", its qualified name, its line, the
    first sentence of its docstring, and how often it was called in a row.
    """

    depth: int
    module: str
    function: str
    line: int
    says: str
    times: int = 1

    @property
    def room(self) -> str:
        """The room that the module is in."""
        return self.module.partition(".")[0]


class Walk:
    """Follows one call; a context manager. `steps` is complete when the call has returned.

    ``ready`` is called when the call begins, before anything of it has run.
    """

    __slots__ = ("_function", "_previous", "_ready", "_room", "_stack", "_top", "steps")

    def __init__(self, function: str, room: str = "shim", ready: Callable[[], None] | None = None) -> None:
        self.steps: list[Step] = []
        self._function = function
        self._room = _PREFIX + room
        self._top: FrameType | None = None
        self._stack: list[FrameType] = []
        self._previous: object = None
        self._ready = ready

    def __enter__(self) -> Walk:
        self._previous = sys.getprofile()
        sys.setprofile(self._profile)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if sys.getprofile() == self._profile:
            sys.setprofile(self._previous)  # type: ignore[arg-type]  # what getprofile() returned

    def _profile(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            module = frame.f_globals.get("__name__", "")
            if self._top is None:
                if frame.f_code.co_name != self._function or not module.startswith(self._room):
                    return
                self._top = frame
                if self._ready is not None:
                    self._ready()
            elif not module.startswith(_PREFIX):
                return
            self.steps.append(_step(len(self._stack), module[len(_PREFIX) :], frame.f_code))
            self._stack.append(frame)
        elif event == "return" and self._stack and frame is self._stack[-1]:
            self._stack.pop()
            if frame is self._top:
                self._stop()

    # -- as text -------------------------------------------------------------------------------------------

    def text(self, width: int = 100) -> str:
        """The walk, compressed, a line a function; see `columns`."""
        return "\n".join("".join(parts).rstrip() for parts in columns(compress(self.steps), width))


def _step(depth: int, module: str, code: CodeType) -> Step:
    name = code.co_qualname.rpartition("<locals>.")[2]  # a closure goes by its own name
    return Step(depth, module, name, code.co_firstlineno, _first_sentence(code))


def _first_sentence(code: CodeType) -> str:
    first = code.co_consts[0] if code.co_consts else None
    if not isinstance(first, str) or (sys.version_info >= (3, 14) and not code.co_flags & _HAS_DOCSTRING):
        return ""
    text = " ".join(first.split("\n\n", 1)[0].replace("`", "").split())
    end = text.find(". ")
    return (text if end < 0 else text[: end + 1]).rstrip(".")


def compress(steps: Iterable[Step]) -> Iterator[Step]:
    """The steps that tell the story: no constructors, no private helpers, repeated calls of one function folded into
    one.

    What a hidden step called stands below whoever called that.
    """
    last: Step | None = None
    above: list[int] = []  # depths of the shown steps that the next one may stand below
    for step in steps:
        if step.function.rpartition(".")[2].startswith(("_", "<")):
            continue
        while above and above[-1] >= step.depth:
            above.pop()
        shown = step._replace(depth=len(above))
        above.append(step.depth)
        if last is not None and last[:4] == shown[:4]:
            last = last._replace(times=last.times + 1)
            continue
        if last is not None:
            yield last
        last = shown
    if last is not None:
        yield last


def columns(steps: Iterable[Step], width: int = 100) -> list[tuple[str, str, str]]:
    """The three columns of each line, padded to the same sizes: the room where it changes, the indented function, and
    as much of what it says of itself as fits ``width``.
    """
    names: list[tuple[str, str, Step]] = []
    room = ""
    for step in steps:
        times = f" x{step.times}" if step.times > 1 else ""
        name = f"{' ' * step.depth}{step.module.rpartition('.')[2]}:{step.function.rpartition('.')[2]}{times}"
        names.append((step.room if step.room != room else "", name, step))
        room = step.room
    name_size = max((len(name) for _, name, _ in names), default=0)
    left = width - _ROOM_SIZE - name_size - 2
    return [(f"{room:<{_ROOM_SIZE}} ", f"{name:<{name_size}} ", shorten(step.says, left)) for room, name, step in names]


def shorten(text: str, width: int) -> str:
    """``text`` cut at the end of a clause, so that it fits; in the middle of one where that leaves too little."""
    if len(text) <= width:
        return text
    if width < _MIN_SIZE:
        return ""
    end = max(text.rfind(mark, 0, width + 1) for mark in (", ", "; ", " ("))
    if end > 0 and text.count("(", 0, end) > text.count(")", 0, end):
        end = text.rfind(" (", 0, end)
    return text[:end] if end >= width // 2 else text[: width - 3].rstrip() + "..."
