"""Entry points: found, named with their distribution, and not even looked for when there are none."""

from __future__ import annotations

import importlib.metadata
import sys
import zipfile
from pathlib import Path

import pytest
from support.plugin_site import Site

from pysock.core.contain import ErrorReporter
from pysock.plugin import discover
from pysock.plugin.manager import Plugins

QUIET = ErrorReporter(lambda text: None)
GOOD = "def pysock_register_families(register): register(45)"


def only(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the test's directory on the path, and no finder but Python's own."""
    monkeypatch.setattr(sys, "path", [str(site.path)])
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if not hasattr(f, "find_distributions")])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, importlib.machinery.PathFinder])


def test_entry_points_are_loaded_with_their_distribution(site: Site) -> None:
    site.module("p_good", GOOD)
    site.module("p_bad", "raise ValueError('no luck')")
    site.distribution("pysock-z", "1.2", "[console_scripts]\nx = y:z\n\n[pysock]\ngood = p_good\n")
    site.distribution("pysock-a", "0.1", "[pysock]\nbad = p_bad\nmissing = p_good:nothing\n")
    records = {record.name: record for record in Plugins(errors=QUIET, environ={}).report()}
    assert {name: record.state for name, record in records.items()} == {
        "good": "active",
        "bad": "failed",
        "missing": "failed",
    }
    assert (records["good"].distribution, records["good"].version) == ("pysock-z", "1.2")
    assert str(records["bad"]).startswith("failed: 'bad' of pysock-a 0.1: loading it raised ValueError: no luck")


def test_two_distributions_with_one_name_conflict(site: Site) -> None:
    site.module("p_1", GOOD)
    site.module("p_2", GOOD)
    site.distribution("pysock-one", "1", "[pysock]\nbt = p_1\n")
    site.distribution("pysock-two", "2", "[pysock]\nbt = p_2\n")
    records = Plugins(errors=QUIET, environ={}).report()
    assert [(r.distribution, r.state) for r in records] == [("pysock-one", "active"), ("pysock-two", "conflict")]
    assert records[1].cause == "the name is already taken by plugin 'bt' of pysock-one 1"


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_entry_points_can_be_switched_off(site: Site, how: str) -> None:
    site.distribution("pysock-z", "1.2", "[pysock]\ngood = p_good\n")
    environ = {"PYSOCK_NO_ENTRY_POINTS": "1"} if how == "environment" else {"PYSOCK_NO_ENTRY_POINTS": "0"}
    assert Plugins(errors=QUIET, entry_points=how != "argument", environ=environ).report() == []
    assert len(Plugins(errors=QUIET, environ={"PYSOCK_NO_ENTRY_POINTS": ""}).report()) == 1


def test_the_environment_of_the_process_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.module("p_env", GOOD)
    monkeypatch.setenv("PYSOCK_PLUGINS", "p_env")
    monkeypatch.setenv("PYSOCK_NO_ENTRY_POINTS", "1")
    assert Plugins(errors=QUIET).active() == ["p_env"]


def test_unreadable_metadata_does_not_hide_a_plugin(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.module("p_good", GOOD)
    site.distribution("pysock-odd", None, "[pysock]\ngood = p_good\n")
    only(site, monkeypatch)
    (record,) = Plugins(errors=QUIET, environ={}).report()
    assert (record.name, record.state, record.version) == ("good", "active", None)


class TestQuickLook:
    @pytest.fixture(autouse=True)
    def count_scans(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scans = 0
        real = importlib.metadata.entry_points

        def counting(**select: str) -> importlib.metadata.EntryPoints:
            self.scans += 1
            return importlib.metadata.EntryPoints(real(group=select["group"]))

        monkeypatch.setattr(importlib.metadata, "entry_points", counting)

    def test_nobody_with_our_group_means_no_scan(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        site.distribution("other", "1", "[pysock_like]\nx = y\n")
        (site.path / "bare-1.dist-info").mkdir()
        only(site, monkeypatch)
        assert discover.entry_points() == ()
        assert self.scans == 0

    def test_the_scan_happens_once_for_a_path(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        site.distribution("pysock-z", "1.2", "[pysock]\ngood = p_good\n")
        only(site, monkeypatch)
        first = discover.entry_points()
        assert [candidate.name for candidate in first] == ["good"]
        assert discover.entry_points() is first
        assert self.scans == 1
        sys.path.append(str(site.path / "elsewhere"))
        discover.entry_points()
        assert self.scans == 2
        discover.forget()
        discover.entry_points()
        assert self.scans == 3

    def test_a_plugin_in_a_zip_file_is_found(
        self, site: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        archive = tmp_path_factory.mktemp("zip") / "plugins.zip"
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("zipped.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 3\n")
            made.writestr("zipped.dist-info/entry_points.txt", "[pysock]\nz = zippedmodule\n")
        only(site, monkeypatch)
        sys.path.append(str(archive))
        assert [(c.name, c.distribution) for c in discover.entry_points()] == [("z", "zipped")]

    def test_a_foreign_finder_is_asked(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        only(site, monkeypatch)
        assert discover.entry_points() == ()
        assert self.scans == 0

        class Finder:
            @staticmethod
            def find_spec(*args: object) -> None: ...

            @staticmethod
            def find_distributions(context: object = None) -> list[importlib.metadata.Distribution]:
                return []

        sys.meta_path.append(Finder)
        discover.forget()
        assert discover.entry_points() == ()
        assert self.scans == 1

    def test_the_whole_answer_agrees_with_importlib(self, site: Site) -> None:
        site.distribution("pysock-z", "1.2", "[pysock]\ngood = p_good\nother = p_good:x\n")
        wanted = sorted(point.name for point in importlib.metadata.entry_points(group="pysock"))
        assert [candidate.name for candidate in discover.entry_points()] == wanted
        assert "good" in wanted


def test_import_object(tmp_path: Path) -> None:
    assert discover.import_object("os.path:join") is __import__("os").path.join
    assert discover.import_object("os:path.join") is __import__("os").path.join
    assert discover.import_object("os") is __import__("os")
    with pytest.raises(AttributeError):
        discover.import_object("os:nothing")
