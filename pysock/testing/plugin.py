"""The pytest plugin: a network of its own for each test that asks for one.

    def test_it(pysock): ...                                      by fixture
    @pytest.mark.pysock(clock="real", seed=7)                     by marker, which also sets the clock and the seed
    def test_that(): ...

Inert when unused: pytest, its capture, xdist and debuggers use sockets and select too, so nothing is patched, and
nothing of the stack imported, before the set-up of a test that asks.
"""

from __future__ import annotations

import shlex

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from pysock.testing.session import Session

_CLOCKS = ("virtual", "real")
_SESSION = pytest.StashKey["Session"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """--pysock-seed, --pysock-clock, and the ini value pysock_clock."""
    group = parser.getgroup("pysock", "pysock: a simulated network for tests")
    group.addoption(
        "--pysock-seed", type=int, metavar="N", help="seed of the kernels (default: another one for each test)"
    )
    group.addoption("--pysock-clock", choices=_CLOCKS, help="clock of tests whose marker names none (default: virtual)")
    parser.addini("pysock_clock", "clock of tests that name none: virtual or real", default="virtual")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "pysock(clock='virtual'|'real', seed=N): run the test on a simulated network of its own, as the fixture does",
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


@pytest.fixture
def pysock(request: pytest.FixtureRequest) -> Generator[Session, None, None]:
    """A simulated network for this test: sockets, select and asyncio use it until the test's tear-down is over.

    Attributes: kernel, net, task, clock, seed, hosts, capture(path). The clock is virtual unless the marker,
    --pysock-clock or pysock_clock say otherwise: sleeping and waiting for timeouts take no time.
    """
    from pysock.testing.session import Session

    clock, seed = _settings(request)
    session = Session(clock, seed)
    request.node.stash[_SESSION] = session
    try:
        yield session
    finally:
        session.stop()


def _settings(request: pytest.FixtureRequest) -> tuple[str, int | None]:
    marker = request.node.get_closest_marker("pysock")
    wanted = dict(marker.kwargs) if marker is not None else {}
    config = request.config
    clock = wanted.pop("clock", None) or config.getoption("--pysock-clock") or config.getini("pysock_clock")
    seed = wanted.pop("seed", None)
    if wanted or (marker is not None and marker.args):
        raise pytest.UsageError("@pytest.mark.pysock takes clock='virtual' or 'real', and seed=N, and nothing else")
    if clock not in _CLOCKS:
        raise pytest.UsageError(f"pysock's clock must be 'virtual' or 'real', not {clock!r}")
    return clock, config.getoption("--pysock-seed") if seed is None else seed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say how to see a failure again."""
    report = yield
    session = item.stash.get(_SESSION, None)
    if session is not None and report.failed:
        command = f"pytest {shlex.quote(item.nodeid)} --pysock-clock={session.clock_name} --pysock-seed={session.seed}"
        report.sections.append(("pysock", f"{session!r}\nreplay: {command}"))
    return report
