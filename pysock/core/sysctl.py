"""Sysctls: the tunables of one network namespace, by name ("net.ipv4.tcp_rmem") and as the text of /proc/sys.

One `SysctlTable` per `Net`. Whoever owns a tunable registers it at namespace creation with its default, its
bounds and an `on_change` that stores the value in an attribute of the owner. The packet path reads that
attribute and never comes here.

A write is checked whole before anything changes: type, length and bounds, then `on_change`, which may still
refuse by raising `OSError`; only then does the table hold the new value. Everything runs under the kernel
lock.

Names have dots where the path has slashes, and the other way round (a VLAN device `eth0.5` is
`net.ipv4.conf.eth0/5.forwarding` by name), as sysctl(8) writes them. Text follows kernel/sysctl.c: integers
in base 10, 8 (0...) or 16 (0x...), tabs between them.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final, Literal, TypeAlias

    Value: TypeAlias = int | bool | str | tuple[int, ...]
    Kind: TypeAlias = Literal["int", "ints", "bool", "str"]

__all__ = ["SysctlEntry", "SysctlTable", "name_of", "path_of"]

INT_MIN: Final = -(1 << 31)
INT_MAX: Final = (1 << 31) - 1
_SWAP: Final = str.maketrans("./", "/.")


def path_of(name: str) -> str:
    """The path below /proc/sys of the sysctl `name`."""
    return name.translate(_SWAP)


def name_of(path: str) -> str:
    """The name of the sysctl at `path`, which may start with "/proc/sys/"."""
    return path.removeprefix("/proc/sys/").strip("/").translate(_SWAP)


def parse_int(word: str) -> int:
    """One integer as simple_strtoul() reads it with base 0. EINVAL when `word` is anything else."""
    sign = -1 if word.startswith("-") else 1
    digits = word[1:] if sign < 0 else word
    base = 10
    if digits[:2] in ("0x", "0X"):
        digits, base = digits[2:], 16
    elif digits.startswith("0") and len(digits) > 1:
        base = 8
    if not (digits.isascii() and digits.isalnum()):  # int() would take signs, spaces and underscores
        raise err(errno.EINVAL)
    try:
        return sign * int(digits, base)
    except ValueError:
        raise err(errno.EINVAL) from None


class SysctlEntry:
    """One tunable. `minimum` and `maximum` bound each integer; for "str", `maximum` is the longest length."""

    __slots__ = ("default", "kind", "maximum", "minimum", "name", "on_change", "value", "writable")

    # Any: which of the four types it takes is known to the register_* method that made the entry, and to
    # check().
    on_change: Callable[[Any], None] | None

    def __init__(
        self,
        name: str,
        kind: Kind,
        default: Value,
        minimum: int,
        maximum: int,
        on_change: Callable[[Any], None] | None,
        writable: bool,
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.value = default
        self.minimum = minimum
        self.maximum = maximum
        self.on_change = on_change
        self.writable = writable

    def check(self, value: object) -> Value:
        """`value` in the entry's exact type. EINVAL when its type, length or range does not fit."""
        kind = self.kind
        if kind == "str":
            if isinstance(value, str) and len(value) <= self.maximum:
                return value
        elif kind == "ints":
            default = self.default
            if isinstance(value, tuple) and isinstance(default, tuple) and len(value) == len(default):
                if all(isinstance(v, int) and self.minimum <= v <= self.maximum for v in value):
                    return value
        elif isinstance(value, int) and self.minimum <= value <= self.maximum:
            if kind == "bool":
                return bool(value)
            return int(value)
        raise err(errno.EINVAL)

    def text(self) -> str:
        """The value as a read of /proc/sys gives it, with the newline."""
        value = self.value
        if isinstance(value, tuple):
            return "\t".join(map(str, value)) + "\n"
        return f"{value}\n" if isinstance(value, str) else f"{int(value)}\n"

    def parse(self, text: str) -> Value:
        """The value that writing `text` would set. EINVAL unless it is one. Fewer integers than the entry
        holds change only the first ones; surplus words are ignored (proc_dointvec() leaves them unread).
        """
        if self.kind == "str":
            return self.check(text.partition("\n")[0])
        words = text.split()
        if not words:
            raise err(errno.EINVAL)
        if isinstance(self.value, tuple):
            given = tuple(parse_int(word) for word in words[: len(self.value)])
            return self.check(given + self.value[len(given) :])
        return self.check(parse_int(words[0]))


class SysctlTable:
    """The sysctls of one network namespace. Errors are `OSError`: ENOENT for an unknown name, EINVAL for a
    value that does not fit, EACCES for writing a read-only one, EEXIST for registering a name twice.
    """

    __slots__ = ("_entries", "_lazy")

    def __init__(self) -> None:
        self._entries: dict[str, SysctlEntry] = {}
        self._lazy: dict[str, tuple[Callable[[], None], ...]] = {}

    # -- owners --------------------------------------------------------------------------------------------

    def register_int(
        self,
        name: str,
        default: int,
        minimum: int = INT_MIN,
        maximum: int = INT_MAX,
        on_change: Callable[[int], None] | None = None,
        writable: bool = True,
    ) -> SysctlEntry:
        """Add an integer. `on_change(new)` runs at each later change, not now: the owner's attribute is the
        default.
        """
        return self._add(SysctlEntry(name, "int", default, minimum, maximum, on_change, writable))

    def register_ints(
        self,
        name: str,
        default: tuple[int, ...],
        minimum: int = INT_MIN,
        maximum: int = INT_MAX,
        on_change: Callable[[tuple[int, ...]], None] | None = None,
        writable: bool = True,
    ) -> SysctlEntry:
        """Add a vector of integers of the default's length, such as tcp_rmem (min, default, max)."""
        return self._add(SysctlEntry(name, "ints", default, minimum, maximum, on_change, writable))

    def register_bool(
        self,
        name: str,
        default: bool,
        on_change: Callable[[bool], None] | None = None,
        writable: bool = True,
    ) -> SysctlEntry:
        """Add a switch: 0 or 1 as text, bool as value."""
        return self._add(SysctlEntry(name, "bool", default, 0, 1, on_change, writable))

    def register_str(
        self,
        name: str,
        default: str,
        max_length: int = 256,
        on_change: Callable[[str], None] | None = None,
        writable: bool = True,
    ) -> SysctlEntry:
        """Add a string of at most `max_length` characters, such as tcp_congestion_control. Valid names are
        for `on_change` to check: it raises ENOENT or EINVAL.
        """
        return self._add(SysctlEntry(name, "str", default, 0, max_length, on_change, writable))

    def register_lazy(self, directory: str, register: Callable[[], None]) -> None:
        """Call `register`, which adds entries below `directory` ("net.ipv4.neigh.eth0"), when somebody first looks
        there: a thousand devices have tens of thousands of tunables that nobody reads. For a family of names in one
        directory, `directory` is what they share up to their first underscore ("net.ipv4.tcp"). Several may wait for
        the same one.
        """
        waiting = self._lazy.get(directory)
        self._lazy[directory] = (register,) if waiting is None else (*waiting, register)

    def show(self, name: str, value: Value) -> None:
        """The owner changed the value of `name` in another way: show it, without on_change."""
        self._find(name).value = value

    def unregister(self, name: str) -> None:
        """Take one away. ENOENT when there is none."""
        if self._entries.pop(name, None) is None:
            raise err(errno.ENOENT)

    def unregister_below(self, prefix: str) -> int:
        """Take away everything below the directory `prefix` ("net.ipv4.conf.eth0"); how many there were, those that
        nobody looked at not counted.
        """
        for directory in self._lazy_below(prefix):
            del self._lazy[directory]
        names = self.names(prefix)
        for name in names:
            del self._entries[name]
        return len(names)

    # -- readers and writers -------------------------------------------------------------------------------

    def get(self, name: str) -> Value:
        """The value: an int, a bool, a str or a tuple of ints."""
        return self._find(name).value

    def set(self, name: str, value: Value) -> None:
        """Change the value, given in its own type (an int will do for a switch)."""
        entry = self._writable(name)
        self._store(entry, entry.check(value))

    def read(self, name: str) -> str:
        """The text of the file under /proc/sys, with its newline."""
        return self._find(name).text()

    def write(self, name: str, text: str) -> None:
        """What `echo text > /proc/sys/...` does."""
        entry = self._writable(name)
        self._store(entry, entry.parse(text))

    def reset(self, name: str) -> None:
        """Back to the default it was registered with."""
        entry = self._writable(name)
        self._store(entry, entry.default)

    def names(self, prefix: str = "") -> list[str]:
        """The names below the directory `prefix`, and `prefix` itself if it is a name; sorted. All of them
        for "".
        """
        below = prefix.rstrip(".") + "."
        self._look_up(prefix)
        while waiting := self._lazy_below(prefix):  # what is made may have more to make
            for directory in waiting:
                self._fill(directory)
        keys: Iterable[str] = self._entries
        return sorted(name for name in keys if not prefix or name == prefix or name.startswith(below))

    def changed(self) -> dict[str, Value]:
        """What differs from its default: for reports of a failing run."""
        return {name: self._entries[name].value for name in self.names() if not self._is_default(name)}

    def __contains__(self, name: str) -> bool:
        return self._look_up(name) is not None

    # -- inside --------------------------------------------------------------------------------------------

    def _add(self, entry: SysctlEntry) -> SysctlEntry:
        name = entry.name
        if not name or ".." in name or name[0] == "." or name[-1] == ".":
            raise err(errno.EINVAL)
        if name in self._entries:
            raise err(errno.EEXIST)
        value = entry.default
        if type(value) is not int or entry.kind != "int" or not entry.minimum <= value <= entry.maximum:
            entry.default = entry.value = entry.check(value)
        self._entries[name] = entry
        return entry

    def _find(self, name: str) -> SysctlEntry:
        entry = self._look_up(name)
        if entry is None:
            raise err(errno.ENOENT)
        return entry

    def _look_up(self, name: str) -> SysctlEntry | None:
        """The entry, if there is one, after those of its directory were made."""
        entry = self._entries.get(name)
        directory = name
        while entry is None and directory and self._lazy:
            if self._fill(directory) or self._fill(directory.partition("_")[0]):
                directory = name  # what was made may have more to make, nearer
                entry = self._entries.get(name)
            else:
                directory = directory.rpartition(".")[0]
        return entry

    def _fill(self, directory: str) -> bool:
        """Make what waits for ``directory``; whether anything did."""
        waiting = self._lazy.pop(directory, ())
        for register in waiting:
            register()
        return bool(waiting)

    def _lazy_below(self, prefix: str) -> list[str]:
        below = prefix.rstrip(".") + "."
        return [name for name in self._lazy if not prefix or name == prefix or name.startswith(below)]

    def _writable(self, name: str) -> SysctlEntry:
        entry = self._find(name)
        if not entry.writable:
            raise err(errno.EACCES)
        return entry

    def _store(self, entry: SysctlEntry, value: Value) -> None:
        if entry.on_change is not None:
            entry.on_change(value)  # may refuse: nothing has changed yet
        entry.value = value

    def _is_default(self, name: str) -> bool:
        entry = self._entries[name]
        return entry.value == entry.default
