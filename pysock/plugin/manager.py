"""`Plugins`: the plugins of one Kernel, over pluggy.

Rules that keep it true:

- Plugins are loaded one by one; each is imported, validated and checked for misspelt hooks before the next. What is
  wrong with one is recorded as its state and cause, and never stops another.
- A failing plugin leaves nothing behind: what it registered is taken back, in reverse order, and pluggy forgets it.
- With `strict`, the first plugin that failed or conflicts ends the boot with `PluginError`. A blocked one is fine.
- Hooks are called plugin by plugin, since a pluggy call ends at the first exception and does not say whose it was.
"""

from __future__ import annotations

import errno
import functools
import os

import pluggy

from pysock.plugin import discover
from pysock.plugin.discover import Candidate
from pysock.plugin.records import PluginError, PluginRecord
from pysock.plugin.relay import HookTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeAlias

    from pysock.core.contain import ErrorReporter
    from pysock.plugin.records import State

    # (register, rollback) for one plugin. Any: what register takes is the hook's business (see hookspecs).
    RegistrarFactory: TypeAlias = Callable[[str], tuple[Callable[[Any], None], Callable[[], None]]]

__all__ = ["Plugins"]


class Plugins:
    """The plugins of one Kernel, loaded when it is made; the Kernel then calls `call_registration` hook by hook.

    `builtins` and `modules`: "package.module", or "package.module:name" for an object in one, imported now, in this
    order. PYSOCK_PLUGINS in the environment names more, with commas between. Then come the installed plugins, unless
    `entry_points` is False or PYSOCK_NO_ENTRY_POINTS=1 is set. `blocked`: names that are not even imported. `errors`
    logs each plugin that is left out, and contains what hooks raise. `environ`: the process's environment if not given.

    Raises `PluginError` only if `strict`.
    """

    __slots__ = ("_blocked", "_errors", "_hooks", "_records", "_rollbacks", "_strict")

    def __init__(
        self,
        builtins: Iterable[str] = (),
        modules: Iterable[str] = (),
        *,
        errors: ErrorReporter,
        entry_points: bool = True,
        strict: bool = False,
        blocked: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._blocked = frozenset(blocked)
        self._strict = strict
        self._errors = errors
        self._hooks = HookTable()
        self._records: list[PluginRecord] = []
        self._rollbacks: dict[str, list[Callable[[], None]]] = {}
        environment: Mapping[str, str] = os.environ if environ is None else environ
        named = [name.strip() for name in environment.get("PYSOCK_PLUGINS", "").split(",")]
        for name in (*builtins, *modules, *filter(None, named)):
            self.add(Candidate(name, functools.partial(discover.import_object, name)))
        if entry_points and environment.get("PYSOCK_NO_ENTRY_POINTS", "") in ("", "0"):
            for candidate in discover.entry_points():
                self.add(candidate)

    def add(self, candidate: Candidate) -> PluginRecord:
        """Import and validate one more; its record says how that went. `PluginError` only if strict."""
        record = PluginRecord(candidate.name, candidate.distribution, candidate.version)
        holder = self._active(record.name)
        self._records.append(record)
        if record.name in self._blocked:
            record.state = "blocked"
            record.cause = "blocked by request"
            return record
        if holder is not None:
            return self._refuse(record, "conflict", f"the name is already taken by plugin {holder.origin()}")
        try:
            plugin = candidate.load()
        except (Exception, SystemExit) as exc:  # a module that calls sys.exit() when imported is broken too
            return self._refuse(record, "failed", f"loading it raised {self._errors.describe(exc)}")
        if plugin is None:
            return self._refuse(record, "failed", "there is no plugin: the entry point is None")
        other = self._hooks.name_of(plugin)
        if other is not None:
            return self._refuse(record, "conflict", f"the same object is already loaded as plugin {other!r}")
        cause: str | None
        try:
            cause = self._hooks.add(record.name, plugin)
        except pluggy.PluginValidationError as exc:
            cause = " ".join(str(exc).split())
        except Exception as exc:  # its attributes are its own code
            cause = f"inspecting it raised {self._errors.describe(exc)}"
        if cause is not None:
            return self._refuse(record, "failed", cause)
        return record

    # -- calling the hooks -------------------------------------------------------------------------------------------

    def call_registration(self, hook: str, registrar_factory: RegistrarFactory, **arguments: object) -> None:
        """Call `hook` of each plugin with `arguments` and a `register` of its own.

        `registrar_factory(name)` returns (register, rollback) for the plugin of that name; `register(item)` raises
        OSError EEXIST, with the holder's name in its text, for a slot that is taken. A plugin that raises is recorded
        ("conflict" for EEXIST, else "failed"), all it registered in this and earlier hooks is rolled back, and it is
        unregistered; the others go on. `PluginError` only if strict.
        """
        for impl in self._hooks.implementations(hook):
            name = impl.plugin_name
            register, rollback = registrar_factory(name)
            self._rollbacks.setdefault(name, []).append(rollback)
            given = {"register": register, **arguments}
            try:
                impl.function(*[given[argument] for argument in impl.argnames])
            except OSError as exc:
                if exc.errno == errno.EEXIST:
                    self._expel(name, "conflict", exc.strerror or str(exc))
                else:
                    self._expel(name, "failed", f"{hook} raised {self._errors.describe(exc)}")
            except Exception as exc:
                self._expel(name, "failed", f"{hook} raised {self._errors.describe(exc)}")

    def call_hook(self, hook: str, *, backwards: bool = False, **arguments: object) -> list[str]:
        """Call `hook` of each plugin with `arguments`, in order of registration or `backwards`.

        What one raises is contained and reported, and the others go on; the names of those that raised.
        """
        impls = self._hooks.implementations(hook)
        raised: list[str] = []
        for impl in reversed(impls) if backwards else impls:
            try:
                impl.function(*[arguments[argument] for argument in impl.argnames])
            except Exception as exc:
                self._errors.report(impl.plugin_name, hook, exc)
                raised.append(impl.plugin_name)
        return raised

    # -- reporting ---------------------------------------------------------------------------------------------------

    def report(self) -> list[PluginRecord]:
        """Every plugin that was found, in order of loading, with its state; str() of a record is a line for people."""
        return list(self._records)

    def active(self) -> list[str]:
        """The names of the plugins in force, in order of loading."""
        return [record.name for record in self._records if record.state == "active"]

    # -- inside ------------------------------------------------------------------------------------------------------

    def _active(self, name: str) -> PluginRecord | None:
        for record in self._records:
            if record.name == name and record.state == "active":
                return record
        return None

    def _expel(self, name: str, state: State, cause: str) -> None:
        """Put out a plugin that was in force."""
        for rollback in reversed(self._rollbacks.pop(name, [])):
            try:
                rollback()
            except Exception as exc:
                self._errors.report(name, "rollback", exc)
        self._hooks.remove(name)
        record = self._active(name)
        assert record is not None, name
        self._refuse(record, state, cause)

    def _refuse(self, record: PluginRecord, state: State, cause: str) -> PluginRecord:
        record.state = state
        record.cause = cause
        if self._strict:
            raise PluginError(record)
        self._errors.note(f"plugin {record.origin()} left out ({state}): {cause}")
        return record
