"""What a test wants of its network, and who decides: the marker, else the command line, else the environment, else the
ini file, else the default. Each setting is looked up by itself.

    setting   marker           command line                environment            ini
    clock     clock="real"     --pysock-clock=real         PYSOCK_CLOCK           pysock_clock
    seed      seed=7           --pysock-seed=7             PYSOCK_SEED            pysock_seed
    driver    driver="..."     --pysock-driver=...         PYSOCK_DRIVER          pysock_driver
    host      host="web"       --pysock-host=web           PYSOCK_HOST            pysock_host
    strict    strict=True      --pysock-strict=true        PYSOCK_STRICT          pysock_strict
    capture   capture="all"    --pysock-capture=all        PYSOCK_CAPTURE         pysock_capture

A TAP connects to real time, so with driver="tap" the clock is real by default. Somebody who asks for virtual time in
the same place contradicts himself, which is an error; asked for in another place, it means that the test is none for
this driver: `Settings.impossible` says so, and the test is skipped.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: What the network of a test can be built on: pysock.lab.media.DRIVERS, which is not imported for nothing.
DRIVERS = ("loopback", "tap", "e100")
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


def _seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("a whole number")
    try:
        return int(value)
    except ValueError:
        raise ValueError("a whole number") from None


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in _TRUE + _FALSE:
        raise ValueError("true or false")
    return text in _TRUE


def _host(value: object) -> str:
    if not isinstance(value, str) or not value or any(c.isspace() for c in value):
        raise ValueError("a host name")
    return value


def _one_of(*choices: str) -> Callable[[object], str]:
    def convert(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(" or ".join(repr(choice) for choice in choices))
        return value

    return convert


class Setting(NamedTuple):
    """One row: ``convert`` takes what somebody wrote and says, by a ValueError, what it should have been."""

    name: str
    convert: Callable[[object], Any]
    default: Any
    metavar: str
    help: str


SETTINGS = (
    Setting("clock", _one_of("virtual", "real"), "virtual", "CLOCK", "clock of the test's kernel: virtual or real"),
    Setting("seed", _seed, None, "N", "seed of the test's kernel (default: another one for each test)"),
    Setting("driver", _one_of(*DRIVERS), "loopback", "NAME", f"what the cables are made of: {', '.join(DRIVERS)}"),
    Setting("host", _host, "pysock", "NAME", "name of the host that the test plays"),
    Setting("strict", _truth, False, "BOOL", "make it an error if a test reaches for the real network"),
    Setting(
        "capture",
        _one_of("failed", "all", "off"),
        "failed",
        "WHICH",
        "leave the last packets of failed tests, of all, or of none (off), as pcapng files",
    ),
)


class Settings(NamedTuple):
    """One test's wishes. ``seed`` None: any."""

    clock: str
    seed: int | None
    driver: str
    host: str
    strict: bool
    capture: str

    @property
    def impossible(self) -> str:
        """Why a test with these settings cannot be run; "" if it can."""
        if self.driver == "tap" and self.clock == "virtual":
            return "the test wants virtual time, and a TAP connects to real time"
        return ""


def add_options(parser: pytest.Parser) -> None:
    """Declare the options and the ini values."""
    group = parser.getgroup("pysock", "pysock: a simulated network for tests")
    for setting in SETTINGS:
        group.addoption(f"--pysock-{setting.name}", metavar=setting.metavar, help=setting.help)
        parser.addini(f"pysock_{setting.name}", setting.help, default=None)


def check(config: pytest.Config) -> None:
    """UsageError for a value on the command line, in the environment or in the ini file that nobody can mean."""
    _all({}, config)


def settings_of(item: pytest.Item) -> Settings:
    """What ``item`` wants. UsageError for a value that nobody can mean, naming where it was written."""
    marker = item.get_closest_marker("pysock")
    wanted = dict(marker.kwargs) if marker is not None else {}
    unknown = sorted(set(wanted) - {setting.name for setting in SETTINGS})
    if unknown or (marker is not None and marker.args):
        known = ", ".join(f"{setting.name}=" for setting in SETTINGS)
        raise pytest.UsageError(f"@pytest.mark.pysock takes {known} and nothing else")
    return _all(wanted, item.config)


def _all(marker: dict[str, Any], config: pytest.Config) -> Settings:
    found = {setting.name: _look_up(setting, marker, config) for setting in SETTINGS}
    (clock, clock_by), (driver, driver_by) = found["clock"], found["driver"]
    if driver == "tap" and clock == "virtual":
        if clock_by is None:
            found["clock"] = ("real", None)
        elif clock_by == driver_by:
            raise pytest.UsageError("a TAP connects to real time: driver tap and clock virtual exclude each other")
    return Settings(*(value for value, _ in found.values()))


def _look_up(setting: Setting, marker: dict[str, Any], config: pytest.Config) -> tuple[Any, int | None]:
    """The value, and the number of the place where somebody chose it; None for the default."""
    name = setting.name
    places = (
        (f"@pytest.mark.pysock({name}=...)", marker.get(name)),
        (f"--pysock-{name}", config.getoption(f"--pysock-{name}")),
        (f"PYSOCK_{name.upper()}", os.environ.get(f"PYSOCK_{name.upper()}") or None),
        (f"pysock_{name}", config.getini(f"pysock_{name}")),
    )
    for number, (place, value) in enumerate(places):
        if value is not None:
            try:
                return setting.convert(value), number
            except ValueError as exc:
                raise pytest.UsageError(f"{place} must be {exc}, not {value!r}") from None
    return setting.default, None
