"""pluggy, as pysock uses it: quicker to register with, and plain functions count as implementations.

pluggy's own register() takes apart every attribute of a plugin, 2 us each, and a module has many. `HookManager` looks
at functions only. A function whose name starts with "pysock_" is meant as a hook, decorated or not, so a misspelt one
is an error and not a function that is never called.

pluggy finds and judges implementations, once for each module and process: what a module implements is a fact about it,
not state of a Kernel. Each Kernel then keeps its own list of whom to call, `HookTable`, which costs microseconds.
"""

from __future__ import annotations

import functools
import inspect
import types
from typing import TYPE_CHECKING, NamedTuple, cast
from weakref import WeakKeyDictionary

import pluggy

from pysock.plugin import hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pluggy import HookCaller, HookimplOpts, HookspecOpts

__all__ = ["HookManager", "HookTable"]

_PREFIX = hookspecs.PROJECT + "_"
_MARK = hookspecs.PROJECT + "_impl"
_FUNCTIONS = (types.FunctionType, types.MethodType, staticmethod, classmethod)


class HookManager(pluggy.PluginManager):
    """A pluggy manager with pysock's hooks."""

    def __init__(self) -> None:
        super().__init__(hookspecs.PROJECT)
        self.add_hookspecs(hookspecs)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> HookimplOpts | None:
        """pluggy asks this of each attribute: the options of a hook implementation, or None for anything else."""
        value: object
        if isinstance(plugin, types.ModuleType):
            value = vars(plugin).get(name)
            if not isinstance(value, types.FunctionType):
                return None
            marked = getattr(value, _MARK, None)
            if marked is not None:
                return cast("HookimplOpts", marked)
        else:
            opts = super().parse_hookimpl_opts(plugin, name)
            if opts is not None:
                return opts
            value = inspect.getattr_static(plugin, name, None)
        if name.startswith(_PREFIX) and isinstance(value, _FUNCTIONS):
            return {
                "wrapper": False,
                "hookwrapper": False,
                "optionalhook": False,
                "tryfirst": False,
                "trylast": False,
                "specname": None,
            }
        return None

    def parse_hookspec_opts(self, module_or_class: types.ModuleType | type, name: str) -> HookspecOpts | None:
        """pluggy asks this of each attribute of hookspecs.py."""
        return super().parse_hookspec_opts(module_or_class, name) if name.startswith(_PREFIX) else None

    def objection(self, plugin: object) -> str | None:
        """What is wrong with a plugin just registered, beyond what register() checks; None if nothing."""
        callers = self.get_hookcallers(plugin) or []
        if not callers:
            return f"it implements none of the hooks: {', '.join(self.hook_names())}"
        for caller in callers:
            impls = [impl for impl in caller.get_hookimpls() if impl.plugin is plugin]
            if not caller.has_spec() and not all(impl.optionalhook for impl in impls):
                return f"there is no hook {caller.name}{self._suggestion(caller.name)}"
            if any(impl.wrapper or impl.hookwrapper for impl in impls):
                return f"{caller.name} is a hook wrapper, but these hooks are called plugin by plugin"
        return None

    def hook_names(self) -> list[str]:
        """The hooks that exist."""
        return [name for name in sorted(vars(self.hook)) if self.caller(name).has_spec()]

    def caller(self, hook: str) -> HookCaller:
        """pluggy's object for `hook`. AttributeError if there is none: the caller's mistake."""
        return cast("HookCaller", getattr(self.hook, hook))

    def _suggestion(self, name: str) -> str:
        import difflib

        close = difflib.get_close_matches(name, self.hook_names(), n=1)
        return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(self.hook_names())}"


class Implementation(NamedTuple):
    """One function of a plugin. ``function`` takes the arguments named by ``argnames``; lower ``order`` goes first."""

    plugin_name: str
    function: Callable[..., object]
    argnames: tuple[str, ...]
    order: int


class HookTable:
    """The plugins of one Kernel by name, and for each hook whom to call."""

    __slots__ = ("_calls", "_plugins")

    def __init__(self) -> None:
        self._plugins: dict[str, object] = {}
        self._calls: dict[str, list[Implementation]] = {hook: [] for hook in _hook_names()}

    def add(self, name: str, plugin: object) -> str | None:
        """Take ``plugin`` in as ``name``, or say what is wrong with it. PluginValidationError, or whatever its own
        code raises while it is looked at.
        """
        functions = _known(plugin)
        if functions is None:
            manager = HookManager()
            manager.register(plugin, name)
            cause = manager.objection(plugin)
            if cause is not None:
                return cause
            functions = _remember(plugin, manager)
        self._plugins[name] = plugin
        for hook, function, argnames, order in functions:
            calls = self._calls.setdefault(hook, [])
            calls.append(Implementation(name, function, argnames, order))
            calls.sort(key=_order)
        return None

    def remove(self, name: str) -> None:
        """Call nothing of ``name`` any more."""
        if self._plugins.pop(name, None) is not None:
            for hook, calls in self._calls.items():
                self._calls[hook] = [one for one in calls if one.plugin_name != name]

    def name_of(self, plugin: object) -> str | None:
        """The name that this very object was added under."""
        return next((name for name, other in self._plugins.items() if other is plugin), None)

    def implementations(self, hook: str) -> list[Implementation]:
        """In the order to call them: `tryfirst` ones, then as they were added, then `trylast` ones. AttributeError
        for a hook that does not exist: the caller's mistake.
        """
        calls = self._calls.get(hook)
        if calls is None:
            raise AttributeError(hook)
        return calls


def _order(one: Implementation) -> int:
    return one.order


@functools.cache
def _hook_names() -> tuple[str, ...]:
    return tuple(HookManager().hook_names())


# --- what is known of modules: for each the functions that it had, and those that implement hooks ---------------------

_Functions = tuple[tuple[str, "Callable[..., object]", tuple[str, ...], int], ...]
_modules: WeakKeyDictionary[types.ModuleType, tuple[list[object], _Functions]] = WeakKeyDictionary()


def _functions(module: types.ModuleType) -> list[object]:
    return [value for value in vars(module).values() if type(value) is types.FunctionType]


def _known(plugin: object) -> _Functions | None:
    if isinstance(plugin, types.ModuleType):
        known = _modules.get(plugin)
        if known is not None and known[0] == _functions(plugin):
            return known[1]
    return None


def _remember(plugin: object, manager: HookManager) -> _Functions:
    found = tuple(
        (caller.name, one.function, tuple(one.argnames), one.trylast - one.tryfirst)
        for caller in manager.get_hookcallers(plugin) or ()
        for one in caller.get_hookimpls()
    )
    if isinstance(plugin, types.ModuleType):
        _modules[plugin] = (_functions(plugin), found)
    return found
