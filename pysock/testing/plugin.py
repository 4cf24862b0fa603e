"""The pytest plugin: a network of its own for each test that asks for one.

    def test_it(pysock): ...                                      by fixture
    @pytest.mark.pysock(clock="real", seed=7)                     by marker, which also says what kind of network
    def test_that(): ...

Inert when unused: pytest, its capture, xdist and debuggers use sockets and select too, so nothing is patched, and
nothing of the stack imported, before the set-up of a test that asks. `settings.py` lists what can be asked for.
"""

from __future__ import annotations

import errno
import re
import shlex
from collections import Counter

import pytest

from pysock.testing.settings import SETTINGS, add_options, check, settings_of
from pysock.testing.strict import Guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from typing import Any

    from pysock.testing.session import Session

_SESSION = pytest.StashKey["Session"]()
_CAPTURE = pytest.StashKey["Path"]()
_guard = Guard()
#: What says that this system has no TAP devices for us; anything else is a failure.
_NO_TAP = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EACCES, errno.EPERM, errno.ENOSYS, errno.ENOPKG, errno.ENOSPC)
#: How the reason of a test begins that was skipped because its driver cannot be had.
_MISSING = "no TAP devices here: "


def pytest_addoption(parser: pytest.Parser) -> None:
    """--pysock-clock and its siblings, on the command line and in the ini file."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and refuse settings that make no sense."""
    check(config)
    arguments = ", ".join(f"{setting.name}={setting.metavar}" for setting in SETTINGS)
    config.addinivalue_line(
        "markers", f"pysock({arguments}): run the test on a simulated network of its own, as the fixture does"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A marked test gets the fixture; either way it comes before the other fixtures of the test."""
    for item in items:
        names: list[str] | None = getattr(item, "fixturenames", None)
        if names is None:
            continue
        if "pysock" in names:
            names.remove("pysock")
        elif item.get_closest_marker("pysock") is None:
            continue
        names.insert(_first_of_function_scope(item, names), "pysock")


def _first_of_function_scope(item: pytest.Item, names: list[str]) -> int:
    """Where function-scoped fixtures begin: fixtures that several tests share are set up before, on the real
    network.
    """
    info = getattr(item, "_fixtureinfo", None)
    definitions: dict[str, Any] = getattr(info, "name2fixturedefs", {})
    for place, name in enumerate(names):
        found = definitions.get(name)
        if not found or found[-1].scope == "function":
            return place
    return len(names)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """In strict mode, nothing that happens for a test reaches the real network: its set-up and tear-down included, and
    the set-up of shared fixtures that it is the first to need.
    """
    try:
        strict = settings_of(item).strict
    except pytest.UsageError:
        strict = False  # the test's fixture says so again, as an error of this test
    _guard.watch(item.nodeid if strict else None)
    try:
        return (yield)
    finally:
        _guard.watch(None)


@pytest.fixture
def pysock(request: pytest.FixtureRequest) -> Generator[Session, None, None]:
    """A simulated network for this test: sockets, select and asyncio use it until the test's tear-down is over.

    Attributes: kernel, net, task, clock, seed, hosts, network, host, peer, capture(path), sockets(). The clock is
    virtual unless the marker, --pysock-clock, PYSOCK_CLOCK or pysock_clock say otherwise, or the driver is a TAP:
    sleeping and waiting for timeouts take no time.
    """
    from pysock.testing.session import Session

    settings = settings_of(request.node)
    if settings.impossible:
        pytest.skip(settings.impossible)
    try:
        session = Session(settings)
    except OSError as exc:
        if settings.driver == "tap" and exc.errno in _NO_TAP:
            pytest.skip(f"{_MISSING}{exc.strerror}")
        raise
    request.node.stash[_SESSION] = session
    try:
        yield session
    finally:
        session.stop()
        if session.settings.capture == "all":
            _save(request.node, session)


def _save(item: pytest.Item, session: Session) -> Path | None:
    """Leave the recorder's packets in a file of their own below pytest's directory of temporary files."""
    if session.recorder is None:
        return None
    path = item.stash.get(_CAPTURE, None)
    if path is None:
        factory: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]  # what the fixture returns
        name = re.sub(r"\W+", "-", item.name).strip("-")[:60]
        path = item.stash[_CAPTURE] = factory.mktemp(f"pysock-{name}") / "capture.pcapng"
    session.recorder.save(path)
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say what the network looked like when a test failed, and how to see the failure again."""
    report = yield
    session = item.stash.get(_SESSION, None)
    if session is not None and report.failed:
        lines = [repr(session), f"replay: {_replay(item, session)}"]
        path = _save(item, session)
        if path is not None:
            lines.append(f"capture: {path}")
        report.sections.append(("pysock", "\n".join([*lines, session.sockets()])))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it once more, aloud, when tests were skipped because their driver cannot be had."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.getreports("skipped"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        _, found, why = reason.partition(_MISSING)
        if found:
            reasons[why] += 1
    for why, count in reasons.items():
        tests = f"{count} test{'s' * (count != 1)}"
        terminalreporter.write_line(f"pysock: driver tap SKIPPED in {tests}: {why}", yellow=True, bold=True)


def _replay(item: pytest.Item, session: Session) -> str:
    wanted = session.settings._replace(seed=session.seed)
    options = [
        f"--pysock-{setting.name}={value}"
        for setting, value in zip(SETTINGS, wanted, strict=True)
        if value != setting.default or setting.name in ("clock", "seed", "driver")
    ]
    return shlex.join(["pytest", item.nodeid, *options])
