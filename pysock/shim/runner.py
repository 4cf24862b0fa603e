"""`python -m pysock run`: an unmodified program, run as `__main__` in a process whose sockets are pysock's.

The program sees what it would see without pysock: its own sys.argv and sys.path[0], `__main__` as its module, its exit
status, and tracebacks that begin with its own first line. Threads, atexit functions and interpreter shutdown work as
ever, because the patch is never undone.
"""

from __future__ import annotations

import atexit
import builtins
import io
import os
import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import NoReturn

    from pysock.core.net import Net

_HERE = os.path.dirname(os.path.abspath(__file__))
_OUR_FRAMES = (_HERE, os.path.dirname(_HERE))
_OUR_ROOT = os.path.dirname(_HERE) + os.sep
#: What a socket call may raise; anything else that comes out of our frames is a bug of ours, and shows them.
_CALLS_RAISE = (OSError, OverflowError, TypeError, ValueError)


def run(
    program: Sequence[str],
    *,
    kind: str = "script",
    clock: str = "real",
    seed: int | None = None,
    pcap: str | None = None,
    plugins: Sequence[str] = (),
    uplink: Callable[[Net], object] | None = None,
) -> int:
    """Run ``program`` (what to run, then its arguments) to its end; return 0, or raise the SystemExit of its status.

    ``kind`` is "script" (a file, a directory or a zip file with `__main__.py`), "module" or "code", as for ``python
    FILE``, ``python -m`` and ``python -c``. ``pcap`` names a file to capture all packets to. ``uplink(net)`` adds
    devices to the network before the program starts (`pysock.shim.uplink`).
    """
    from pysock.shim.patching import patch_for_good

    active = patch_for_good(clock=clock, seed=seed, plugins=plugins)
    if pcap is not None:
        from pysock.lab.capture import Capture

        # Registered before the program can register anything, so called last.
        atexit.register(Capture(active.net, pcap).close)
    if uplink is not None:
        uplink(active.net)
    what, *arguments = program
    if kind == "module":
        _guarded(lambda: _run_module(what, arguments))
    elif kind == "code":
        _guarded(lambda: _run_code(what, arguments))
    elif os.path.isdir(what) or _is_zip(what):
        _guarded(lambda: _run_container(what, arguments))
    else:
        _guarded(lambda: _run_script(what, arguments))
    return 0


def _new_main() -> ModuleType:
    """An empty `__main__`, for good: threads and atexit functions of the program may outlive its last line."""
    main = ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    return main


def _set_path(first: str) -> None:
    """``python -m pysock`` put the working directory first; a program's own place stands there instead."""
    if not sys.flags.safe_path:
        sys.path[0] = first


def _run_script(path: str, arguments: list[str]) -> None:
    full = os.path.join(os.getcwd(), path)  # with its dots, as Python has it
    try:
        with io.open_code(full) as file:
            source = file.read()
    except OSError as exc:
        sys.stderr.write(f"{sys.executable}: can't open file {full!r}: [Errno {exc.errno}] {exc.strerror}\n")
        sys.exit(2)
    sys.argv[:] = [path, *arguments]
    _set_path(os.path.dirname(os.path.realpath(path)))
    main = _new_main()
    main.__file__ = full
    main.__dict__["__cached__"] = None
    exec(compile(source, full, "exec", dont_inherit=True), main.__dict__)


def _run_code(code: str, arguments: list[str]) -> None:
    sys.argv[:] = ["-c", *arguments]
    _set_path("")
    exec(compile(code, "<string>", "exec", dont_inherit=True), _new_main().__dict__)


def _run_module(name: str, arguments: list[str]) -> None:
    import runpy

    sys.argv[:] = ["-m", *arguments]
    _set_path(os.getcwd())
    _new_main()
    # What ``python -m`` itself calls: it works in sys.modules["__main__"], for good.
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]  # private, and the same since 2.6


def _run_container(path: str, arguments: list[str]) -> None:
    import runpy

    sys.argv[:] = [path, *arguments]
    if sys.flags.safe_path:
        sys.path.insert(0, os.path.abspath(path))
    else:
        sys.path[0] = os.path.abspath(path)
    _new_main()
    runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]  # as above


def _is_zip(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"#!":
                return path.endswith((".pyz", ".pyzw"))
            file.seek(0)
            return file.read(4) == b"PK\3\4"
    except OSError:
        return False


def _guarded(program: Callable[[], None]) -> None:
    """Let what the program raises end the process as it would have ended without us."""
    try:
        program()
    except SystemExit:
        raise
    except KeyboardInterrupt as exc:
        _report(exc)
        _die_of_interrupt()
    except BaseException as exc:
        _report(exc)
        sys.exit(1)


def _report(exc: BaseException) -> None:
    """Print the traceback, by the program's own excepthook, without the frames that led to the program, nor those of a
    call that failed: in C there are none.
    """
    traceback = exc.__traceback__
    while traceback is not None and _is_ours(traceback):
        traceback = traceback.tb_next
    exc.__traceback__ = traceback
    if isinstance(exc, _CALLS_RAISE):
        _cut_below_program(traceback)
    sys.last_type, sys.last_value, sys.last_traceback = type(exc), exc, traceback
    sys.excepthook(type(exc), exc, traceback)


def _cut_below_program(traceback: TracebackType | None) -> None:
    """End a traceback where the program called us."""
    last = None
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_OUR_ROOT):
            last = traceback
        traceback = traceback.tb_next
    if last is not None:
        last.tb_next = None


def _is_ours(traceback: TracebackType) -> bool:
    return os.path.dirname(traceback.tb_frame.f_code.co_filename) in _OUR_FRAMES


def _die_of_interrupt() -> NoReturn:
    """Ctrl-C ends a Python process by the signal itself, so that a shell sees it."""
    import signal

    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    sys.exit(130)
