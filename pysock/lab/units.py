"""How people write amounts: "20ms", "10mbit", "1%". Each function says, when it refuses, what would be right."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_NUMBER: Final = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z%]*)\s*")
_TIMES: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "": 1_000_000_000, "min": 60_000_000_000}
#: Bits a second, as tc(8) has them: bare and "bps" are not accepted, since everybody reads them differently.
_RATES: Final = {
    "bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12,
}  # fmt: skip


def _split(text: str) -> tuple[float, str] | None:
    found = _NUMBER.fullmatch(text)
    return (float(found[1]), found[2].lower()) if found else None


def nanoseconds(value: object, what: str = "a time") -> int:
    """"20ms", "1.5s", "300us", or a number of seconds -> ns. ValueError for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9:
        return round(value * 1e9)
    parts = _split(value) if isinstance(value, str) else None
    if parts is None or parts[1] not in _TIMES:
        raise ValueError(f'{what} is "20ms", "1.5s", "300us" or a number of seconds, not {value!r}')
    return round(parts[0] * _TIMES[parts[1]])


def fraction(value: object, what: str = "a share") -> float:
    """"1%" or 0.01 -> 0.01. ValueError for what is not in 0..1, or 0%..100%."""
    share = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        share = float(value)
    elif isinstance(value, str):
        parts = _split(value)
        if parts is not None and parts[1] in ("%", ""):
            share = parts[0] / 100 if parts[1] else parts[0]
    if share is None or not 0 <= share <= 1:
        raise ValueError(f'{what} is "1%", or a fraction from 0 to 1, not {value!r}')
    return share


def bytes_per_second(value: object, what: str = "a rate") -> int:
    """"10mbit" (bits a second, powers of 1000), or a number of bits a second -> bytes a second. ValueError."""
    bits = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        bits = float(value)
    elif isinstance(value, str):
        parts = _split(value)
        if parts is not None and parts[1].removesuffix("/s") in _RATES:
            bits = parts[0] * _RATES[parts[1]]
    if bits is None or not 8 <= bits < 1e18:
        raise ValueError(f'{what} is "10mbit", "64kbit", "1gbit" or a number of bits a second, not {value!r}')
    return round(bits / 8)


def count(value: object, what: str) -> int:
    """A whole number from 1 up. ValueError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{what} is a number from 1 up, not {value!r}")
    return value


def impairments(wishes: dict[str, object]) -> dict[str, object]:
    """The options of `Netem` for what a tester wrote. ValueError, naming what there is, for a name or value that nobody
    can mean. What is None is as if it were not there.
    """
    options: dict[str, object] = {}
    for name, value in wishes.items():
        if value is None:
            continue
        if name in ("delay", "jitter"):
            options[name] = nanoseconds(value, name)
        elif name == "rate":
            options[name] = bytes_per_second(value, name)
        elif name in _FRACTIONS:
            options[name] = fraction(value, name)
        elif name in ("limit", "gap"):
            options[name] = count(value, name)
        elif name == "distribution":
            if value not in ("uniform", "normal"):
                raise ValueError(f'distribution is "uniform" or "normal", not {value!r}')
            options[name] = value
        elif name == "gemodel":
            if not isinstance(value, (tuple, list)) or not 2 <= len(value) <= 4:
                raise ValueError(f"gemodel is (p, r), (p, r, lost in bad) or with lost in good behind, not {value!r}")
            options[name] = tuple(fraction(one, "gemodel") for one in value)
        else:
            raise ValueError(f"a link has no {name!r}: it has {', '.join(sorted(IMPAIRMENTS))}")
    if options.get("reorder") and not options.get("delay"):
        raise ValueError("reorder needs a delay: it means that some packets do not wait for it")
    return options


_FRACTIONS: Final = frozenset(
    ("loss", "duplicate", "corrupt", "reorder", "delay_correlation", "loss_correlation", "duplicate_correlation",
     "corrupt_correlation", "reorder_correlation")
)  # fmt: skip
IMPAIRMENTS: Final = _FRACTIONS | {"delay", "jitter", "rate", "limit", "gap", "distribution", "gemodel"}
