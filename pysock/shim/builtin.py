"""Stand-ins for builtin functions.

A builtin does not become a method when a class body names it (``_select = select.select``); a Python function does. So
what is put in the place of a builtin is an instance of this class.
"""

from __future__ import annotations

from functools import update_wrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Builtin:
    """Calls ``function``, and looks like ``original``: name, module, documentation, signature."""

    def __init__(self, original: Callable[..., Any], function: Callable[..., Any]) -> None:
        update_wrapper(self, original)
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __reduce__(self) -> str:
        return self.__qualname__  # type: ignore[attr-defined, no-any-return]  # update_wrapper sets it; by name, as in C

    def __repr__(self) -> str:
        return f"<built-in function {self.__name__}>"  # type: ignore[attr-defined]  # update_wrapper sets it
