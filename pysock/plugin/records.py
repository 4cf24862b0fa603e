"""What is known of each plugin, and the error that names one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    State: TypeAlias = Literal["active", "blocked", "failed", "conflict"]

__all__ = ["PluginError", "PluginRecord"]


class PluginRecord:
    """One plugin and what became of it.

    `name`: the entry point's name, or the module's. `distribution` and `version`: None for a plain module. `state`:
    "active"; "blocked" (by request, never imported); "failed" (`cause` says why); "conflict" (its name, or a slot it
    wanted, is another plugin's).
    """

    __slots__ = ("cause", "distribution", "name", "state", "version")

    def __init__(self, name: str, distribution: str | None = None, version: str | None = None) -> None:
        self.name = name
        self.distribution = distribution
        self.version = version
        self.state: State = "active"
        self.cause: str | None = None

    def origin(self) -> str:
        """For people: `'bt' of pysock-bt 1.2`, or `'my.module'` where no distribution is known."""
        if self.distribution is None:
            return repr(self.name)
        return f"{self.name!r} of {self.distribution} {self.version or '(version unknown)'}"

    def __str__(self) -> str:
        text = f"{self.state}: {self.origin()}"
        return f"{text}: {self.cause}" if self.cause else text

    def __repr__(self) -> str:
        return f"<PluginRecord {self}>"


class PluginError(Exception):
    """A Kernel that was booted `strict` refuses because of a plugin.

    Attributes: `plugin`, `distribution` and `version` (None for a plain module), `cause`.
    """

    def __init__(self, record: PluginRecord) -> None:
        super().__init__(
            f"plugin {record.origin()} {record.state}: {record.cause} (a strict boot refuses; without strict=True, "
            f"or with blocked=[{record.name!r}], the kernel boots without it)"
        )
        self.plugin = record.name
        self.distribution = record.distribution
        self.version = record.version
        self.cause = record.cause
