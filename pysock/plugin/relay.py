"""pluggy, as pysock uses it: quicker to register with, and plain functions count as implementations.

pluggy's own register() takes apart every attribute of a plugin, 2 us each, and a module has many. `HookManager` looks
at functions only. A function whose name starts with "pysock_" is meant as a hook, decorated or not, so a misspelt one
is an error and not a function that is never called.
"""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, cast

import pluggy

from pysock.plugin import hookspecs

if TYPE_CHECKING:
    from pluggy import HookCaller, HookImpl, HookimplOpts, HookspecOpts

__all__ = ["HookManager"]

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

    def implementations(self, hook: str) -> list[HookImpl]:
        """In the order to call them: `tryfirst` ones, then by registration, then `trylast` ones."""
        return sorted(self.caller(hook).get_hookimpls(), key=lambda impl: impl.trylast - impl.tryfirst)

    def _suggestion(self, name: str) -> str:
        import difflib

        close = difflib.get_close_matches(name, self.hook_names(), n=1)
        return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(self.hook_names())}"
