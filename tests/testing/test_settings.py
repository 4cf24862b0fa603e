"""Who decides what a test's network is like: the marker, the command line, the environment, the ini file."""

from __future__ import annotations

import pytest
from support.suites import run

SHOW = """
    import pytest

    def test_plain(pysock):
        print("plain", pysock.settings)

    @pytest.mark.pysock(clock="real", seed=1, host="marker", strict=False, capture="off")
    def test_marked(pysock):
        print("marked", pysock.settings)
"""
ARGUMENTS = ("--pysock-clock=real", "--pysock-seed=2", "--pysock-host=cli", "--pysock-strict=yes")
ARGUMENTS += ("--pysock-capture=all",)
ENVIRONMENT = {"CLOCK": "virtual", "SEED": "3", "HOST": "env", "STRICT": "0", "CAPTURE": "off", "DRIVER": "loopback"}
INI = """
    [pytest]
    pysock_clock = real
    pysock_seed = 4
    pysock_host = ini
    pysock_strict = true
    pysock_capture = all
    pysock_driver = loopback
"""
MARKED = "marked Settings(clock='real', seed=1, driver='loopback', host='marker', strict=False, capture='off')"


@pytest.mark.parametrize(
    ("cli", "env", "ini", "wanted"),
    [
        (True, True, True, "clock='real', seed=2, driver='loopback', host='cli', strict=True, capture='all'"),
        (False, True, True, "clock='virtual', seed=3, driver='loopback', host='env', strict=False, capture='off'"),
        (False, False, True, "clock='real', seed=4, driver='loopback', host='ini', strict=True, capture='all'"),
        (
            False,
            False,
            False,
            "clock='virtual', seed=None, driver='loopback', host='pysock', strict=False, capture='failed'",
        ),
    ],
)
def test_precedence(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, cli: bool, env: bool, ini: bool, wanted: str
) -> None:
    for name, value in ENVIRONMENT.items() if env else ():
        monkeypatch.setenv(f"PYSOCK_{name}", value)
    if ini:
        suite.makeini(INI)
    result = run(suite, SHOW, "-s", *(ARGUMENTS if cli else ()))
    result.assert_outcomes(passed=2)
    text = result.stdout.str()
    assert f"plain Settings({wanted})" in text
    assert MARKED in text


def test_one_setting_from_each_place(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.makeini("[pytest]\npysock_host = ini")
    monkeypatch.setenv("PYSOCK_CLOCK", "real")
    source = """
        import pytest, socket
        @pytest.mark.pysock(capture="off")
        def test_it(pysock):
            assert pysock.settings == ("real", 5, "loopback", "ini", False, "off")
            assert socket.gethostname() == "ini" and socket.gethostbyname("ini").startswith("127.")
            assert not pysock.clock.virtual
        """
    run(suite, source, "--pysock-seed=5").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "environment", "ini", "said"),
    [
        (["--pysock-clock=fast"], {}, "", "--pysock-clock must be 'virtual' or 'real', not 'fast'"),
        (["--pysock-driver=e1000"], {}, "", "--pysock-driver must be 'loopback' or 'tap' or 'e100', not 'e1000'"),
        ([], {"PYSOCK_SEED": "x"}, "", "PYSOCK_SEED must be a whole number, not 'x'"),
        ([], {}, "pysock_strict = perhaps", "pysock_strict must be true or false, not 'perhaps'"),
        ([], {}, "pysock_clock = sometimes", "pysock_clock must be 'virtual' or 'real', not 'sometimes'"),
        ([], {}, "pysock_host = a b", "pysock_host must be a host name, not 'a b'"),
    ],
)
def test_nonsense_ends_the_run_at_once(
    suite: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    ini: str,
    said: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    suite.makeini(f"[pytest]\n{ini}")
    result = run(suite, "def test_it(pysock): pass", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()
