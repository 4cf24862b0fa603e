"""Plugins: loading one by one, containing and rolling back what fails, and saying so."""

from __future__ import annotations

import errno
import functools
import types
from collections.abc import Callable
from typing import Any

import pluggy
import pytest
from support.plugin_site import Site

from pysock.core.contain import ErrorReporter
from pysock.core.errors import err
from pysock.plugin.discover import Candidate
from pysock.plugin.manager import Plugins
from pysock.plugin.records import PluginError

FAMILIES = "pysock_register_families"
DRIVERS = "pysock_register_drivers"


class Table:
    """A table of the Kernel, in small: slots by number, who holds each, and registrars for it."""

    def __init__(self) -> None:
        self.owner: dict[int, str] = {}
        self.removed: list[int] = []

    def registrar(self, plugin: str) -> tuple[Callable[[int], None], Callable[[], None]]:
        mine: list[int] = []

        def register(slot: int) -> None:
            if slot in self.owner:
                raise err(errno.EEXIST, f"AF {slot} is already registered by plugin {self.owner[slot]!r}")
            self.owner[slot] = plugin
            mine.append(slot)

        def rollback() -> None:
            for slot in reversed(mine):
                del self.owner[slot]
                self.removed.append(slot)

        return register, rollback


class Boot:
    """Makes `Plugins` that see nothing but what the test gives them, and keeps their log."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.errors = ErrorReporter(self.lines.append)

    def __call__(self, *builtins: str, environ: dict[str, str] | None = None, **options: Any) -> Plugins:
        options.setdefault("entry_points", False)
        return Plugins(builtins, environ=environ or {}, errors=self.errors, **options)

    def holding(self, **objects: object) -> Plugins:
        plugins = self()
        for name, plugin in objects.items():
            plugins.add(Candidate(name, functools.partial(getattr, types.SimpleNamespace(it=plugin), "it")))
        return plugins


@pytest.fixture
def boot() -> Boot:
    return Boot()


def registers(*slots: int) -> object:
    """A plugin that registers these, and raises at a slot below 0."""

    def pysock_register_families(register: Callable[[int], None]) -> None:
        for slot in slots:
            if slot < 0:
                raise ValueError("changed my mind")
            register(slot)

    return types.SimpleNamespace(pysock_register_families=pysock_register_families)


def states(plugins: Plugins) -> dict[str, str]:
    return {record.name: record.state for record in plugins.report()}


class TestLoading:
    def test_plain_functions_of_a_module_are_implementations(self, site: Site, boot: Boot) -> None:
        site.module("p_plain", "def pysock_register_families(register): register(45)\ndef other(): pass")
        table = Table()
        plugins = boot("p_plain")
        plugins.call_registration(FAMILIES, table.registrar)
        assert table.owner == {45: "p_plain"}
        assert plugins.active() == ["p_plain"]
        assert boot.lines == []

    def test_marked_functions_objects_and_classes_are_too(self, site: Site, boot: Boot) -> None:
        site.module(
            "p_marked",
            """
            import pluggy
            hookimpl = pluggy.HookimplMarker("pysock")

            @hookimpl(specname="pysock_register_families")
            def enter(register): register(1)

            class Inner:
                @property
                def pysock_broken(self): raise RuntimeError("must not be looked at")
                def pysock_register_families(self, register): register(2)

            class Static:
                @staticmethod
                def pysock_register_families(register): register(3)

            inner = Inner()
            """,
        )
        table = Table()
        plugins = boot("p_marked", "p_marked:inner", "p_marked:Static")
        plugins.call_registration(FAMILIES, table.registrar)
        assert table.owner == {1: "p_marked", 2: "p_marked:inner", 3: "p_marked:Static"}

    def test_order_is_builtins_modules_environment(self, site: Site, boot: Boot) -> None:
        for name in ("p_b", "p_m", "p_e", "p_f"):
            site.module(name, "def pysock_net_init(net): net.append(__name__)\npysock_net_exit = pysock_net_init")
        plugins = boot("p_b", modules=["p_m"], environ={"PYSOCK_PLUGINS": " p_e, ,p_f,"})
        order: list[str] = []
        plugins.call_hook("pysock_net_init", net=order)
        assert order == ["p_b", "p_m", "p_e", "p_f"]
        order.clear()
        plugins.call_hook("pysock_net_exit", backwards=True, net=order)
        assert order == ["p_f", "p_e", "p_m", "p_b"]

    def test_tryfirst_and_trylast(self, boot: Boot) -> None:
        order: list[str] = []
        hookimpl = pluggy.HookimplMarker("pysock")

        def made(name: str, tryfirst: bool = False, trylast: bool = False) -> object:
            @hookimpl(tryfirst=tryfirst, trylast=trylast)
            def pysock_net_init(net: object) -> None:
                order.append(name)

            return types.SimpleNamespace(pysock_net_init=pysock_net_init)

        plugins = boot.holding(a=made("a", trylast=True), b=made("b"), c=made("c", tryfirst=True), d=made("d"))
        plugins.call_hook("pysock_net_init", net=None)
        assert order == ["c", "b", "d", "a"]

    @pytest.mark.parametrize(
        ("source", "cause"),
        [
            ("raise ValueError('no luck')", "loading it raised ValueError: no luck (p_bad.py:1 in <module>)"),
            ("import there_is_no_such_module", "ModuleNotFoundError"),
            ("import sys; sys.exit(3)", "SystemExit: 3"),
            ("def (", "SyntaxError"),
            ("x = 1", "implements none of the hooks: pysock_net_exit"),
            ("def pysock_register_familys(register): pass", "did you mean pysock_register_families?"),
            ("def pysock_zzz(register): pass", "there is no hook pysock_zzz; there are"),
            ("def pysock_net_init(netns): pass", "netns"),
            (
                "import pluggy\n@pluggy.HookimplMarker('pysock')(wrapper=True)\n"
                "def pysock_net_init(net): return (yield)",
                "hook wrapper",
            ),
        ],
    )
    def test_a_broken_one_is_named_and_takes_nothing_down(
        self, site: Site, boot: Boot, source: str, cause: str
    ) -> None:
        site.module("p_good", "def pysock_register_families(register): register(1)")
        site.module("p_bad", source)
        site.module("p_last", "def pysock_register_families(register): register(2)")
        plugins = boot("p_good", "p_bad", "p_last")
        assert states(plugins) == {"p_good": "active", "p_bad": "failed", "p_last": "active"}
        record = plugins.report()[1]
        assert record.cause is not None and cause in record.cause and "\n" not in record.cause
        assert len(boot.lines) == 1 and "p_bad" in boot.lines[0] and cause in boot.lines[0]
        table = Table()
        plugins.call_registration(FAMILIES, table.registrar)
        assert table.owner == {1: "p_good", 2: "p_last"}
        assert plugins.call_hook("pysock_net_init", net=None) == []

    def test_an_unknown_hook_may_be_optional(self, boot: Boot) -> None:
        @pluggy.HookimplMarker("pysock")(optionalhook=True)
        def pysock_from_the_future(x: object) -> None: ...

        assert states(boot.holding(a=types.SimpleNamespace(pysock_from_the_future=pysock_from_the_future))) == {
            "a": "active"
        }

    def test_nothing_is_no_plugin(self, boot: Boot) -> None:
        assert states(boot.holding(a=None)) == {"a": "failed"}

    def test_an_object_that_resists_inspection_fails(self, boot: Boot) -> None:
        class Shy:
            def __dir__(self) -> list[str]:
                raise RuntimeError("go away")

        plugins = boot.holding(a=Shy(), b=registers(1))
        assert states(plugins) == {"a": "failed", "b": "active"}
        assert "inspecting it raised RuntimeError: go away" in boot.lines[0]

    def test_blocked_ones_are_not_imported(self, site: Site, boot: Boot) -> None:
        site.module("p_blocked", "raise SystemError('imported')")
        plugins = boot("p_blocked", blocked=["p_blocked"], strict=True)
        assert [str(record) for record in plugins.report()] == ["blocked: 'p_blocked': blocked by request"]
        assert plugins.active() == []

    def test_a_name_or_an_object_twice_is_a_conflict(self, boot: Boot) -> None:
        one = registers(1)
        plugins = boot.holding(a=one)
        plugins.add(Candidate("a", lambda: registers(2), "pysock-other", "2.0"))
        plugins.add(Candidate("b", lambda: one))
        assert [record.state for record in plugins.report()] == ["active", "conflict", "conflict"]
        assert plugins.report()[1].cause == "the name is already taken by plugin 'a'"
        assert plugins.report()[2].cause == "the same object is already loaded as plugin 'a'"
        table = Table()
        plugins.call_registration(FAMILIES, table.registrar)
        assert table.owner == {1: "a"}

    def test_two_kernels_never_meet(self, boot: Boot) -> None:
        one, two = boot.holding(a=registers(1)), boot.holding(b=registers(2))
        table = Table()
        one.call_registration(FAMILIES, table.registrar)
        assert table.owner == {1: "a"}
        assert two.active() == ["b"]


class TestRegistration:
    def test_one_that_raises_is_rolled_back_and_the_others_go_on(self, boot: Boot) -> None:
        plugins = boot.holding(a=registers(1), b=registers(2, 3, -1), c=registers(2, 4))
        table = Table()
        plugins.call_registration(FAMILIES, table.registrar)
        assert table.owner == {1: "a", 2: "c", 4: "c"}
        assert table.removed == [3, 2]
        assert states(plugins) == {"a": "active", "b": "failed", "c": "active"}
        cause = plugins.report()[1].cause
        assert cause is not None and f"{FAMILIES} raised ValueError: changed my mind (test_manager.py:" in cause
        assert len(boot.lines) == 1
        again = Table()
        plugins.call_registration(FAMILIES, again.registrar)
        assert set(again.owner.values()) == {"a", "c"}

    def test_a_slot_twice_is_a_conflict_that_names_the_holder(self, boot: Boot) -> None:
        plugins = boot.holding(first=registers(45), second=registers(44, 45))
        table = Table()
        plugins.call_registration(FAMILIES, table.registrar)
        assert table.owner == {45: "first"}
        assert str(plugins.report()[1]) == "conflict: 'second': AF 45 is already registered by plugin 'first'"

    def test_another_oserror_is_a_failure(self, boot: Boot) -> None:
        def pysock_register_families(register: object) -> None:
            raise err(errno.ENOBUFS)

        plugins = boot.holding(a=types.SimpleNamespace(pysock_register_families=pysock_register_families))
        plugins.call_registration(FAMILIES, Table().registrar)
        assert states(plugins) == {"a": "failed"}

    def test_a_conflict_that_the_plugin_catches_is_its_own_affair(self, boot: Boot) -> None:
        def pysock_register_families(register: Callable[[int], None]) -> None:
            try:
                register(45)
            except FileExistsError:
                register(44)

        second = types.SimpleNamespace(pysock_register_families=pysock_register_families)
        plugins = boot.holding(first=registers(45), second=second)
        table = Table()
        plugins.call_registration(FAMILIES, table.registrar)
        assert table.owner == {45: "first", 44: "second"}
        assert plugins.active() == ["first", "second"]

    def test_failing_in_a_later_hook_takes_back_the_earlier_ones(self, boot: Boot) -> None:
        def late(register: Callable[[int], None]) -> None:
            register(7)
            raise ZeroDivisionError

        plugin = registers(1)
        plugin.pysock_register_drivers = late  # type: ignore[attr-defined]
        plugins = boot.holding(a=plugin, b=registers(2))
        families, drivers = Table(), Table()
        plugins.call_registration(FAMILIES, families.registrar)
        plugins.call_registration(DRIVERS, drivers.registrar)
        assert (families.owner, drivers.owner) == ({2: "b"}, {})
        assert plugins.active() == ["b"]

    def test_a_rollback_that_raises_is_reported_and_the_rest_goes_on(self, boot: Boot) -> None:
        def registrar(plugin: str) -> tuple[Callable[[int], None], Callable[[], None]]:
            def rollback() -> None:
                raise RuntimeError("table is broken")

            return (lambda slot: None), rollback

        plugins = boot.holding(a=registers(1, -1), b=registers(2))
        families = Table()
        plugins.call_registration(FAMILIES, registrar)
        plugins.call_registration(FAMILIES, families.registrar)
        assert families.owner == {2: "b"}
        assert any("rollback" in line and "table is broken" in line for line in boot.lines)

    def test_arguments_go_by_name_to_those_who_want_them(self, boot: Boot) -> None:
        asked: list[int] = []

        def pysock_request_family(family: int, register: Callable[[int], None]) -> None:
            asked.append(family)
            register(family)

        plugins = boot.holding(a=types.SimpleNamespace(pysock_request_family=pysock_request_family))
        table = Table()
        plugins.call_registration("pysock_request_family", table.registrar, family=39)
        assert (asked, table.owner) == ([39], {39: "a"})

    def test_a_hook_nobody_implements(self, boot: Boot) -> None:
        boot().call_registration("pysock_register_qdiscs", Table().registrar)
        with pytest.raises(AttributeError):
            boot().call_registration("pysock_register_moons", Table().registrar)


class TestHooks:
    def test_exceptions_are_contained_and_reported_once(self, boot: Boot) -> None:
        seen: list[object] = []

        def broken(net: object) -> None:
            raise ValueError("no sysctl")

        plugins = boot.holding(
            a=types.SimpleNamespace(pysock_net_init=broken),
            b=types.SimpleNamespace(pysock_net_init=seen.append),
            c=types.SimpleNamespace(pysock_net_init=lambda net: seen.append(net)),
        )
        assert states(plugins)["b"] == "failed"  # a built-in method has no signature that pluggy could check
        boot.lines.clear()
        assert plugins.call_hook("pysock_net_init", net="n1") == ["a"]
        assert plugins.call_hook("pysock_net_init", net="n2") == ["a"]
        assert seen == ["n1", "n2"]
        assert len(boot.lines) == 1 and "a: pysock_net_init raised ValueError: no sysctl" in boot.lines[0]
        assert states(plugins)["a"] == "active"


class TestStrict:
    def test_a_broken_one_refuses_with_its_name_distribution_and_cause(self, site: Site, boot: Boot) -> None:
        site.module("p_bad", "raise ValueError('no luck')")
        site.distribution("pysock-bad", "1.5", "[pysock]\nbad = p_bad\n")
        with pytest.raises(PluginError) as info:
            boot(strict=True, entry_points=True)
        error = info.value
        assert (error.plugin, error.distribution, error.version) == ("bad", "pysock-bad", "1.5")
        assert error.cause is not None and "no luck" in error.cause
        assert str(error).startswith("plugin 'bad' of pysock-bad 1.5 failed: loading it raised ValueError: no luck")
        assert "blocked=['bad']" in str(error)
        boot(strict=True, entry_points=True, blocked=["bad"])

    def test_a_conflict_refuses_after_rolling_back(self, site: Site, boot: Boot) -> None:
        site.module("p_1", "def pysock_register_families(register): register(45)")
        site.module("p_2", "def pysock_register_families(register): register(44); register(45)")
        plugins = boot("p_1", "p_2", strict=True)
        table = Table()
        with pytest.raises(PluginError, match="'p_2' conflict: AF 45 is already registered by plugin 'p_1'"):
            plugins.call_registration(FAMILIES, table.registrar)
        assert table.owner == {45: "p_1"}
