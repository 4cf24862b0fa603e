"""Text with styles, as a terminal shows it: plain, with ANSI colours, or drawn as an SVG picture.

A line is a list of spans, a span is (style, text); styles are the keys of `COLOURS`.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Span = tuple[str, str]
    Line = list[Span]

#: Style -> (SGR parameters of a terminal, colour in the picture).
COLOURS = {
    "": ("", "#d0d7de"),
    "title": ("1", "#ffffff"),
    "dim": ("2", "#8b949e"),
    "program": ("32", "#7ee787"),
    "shim": ("35", "#d2a8ff"),
    "syscalls": ("36", "#76e3ea"),
    "vfs": ("36", "#76e3ea"),
    "families": ("33", "#f2cc60"),
    "core": ("34", "#79c0ff"),
    "sched": ("34", "#79c0ff"),
    "drivers": ("31", "#ff9b8e"),
    "forth": ("36", "#76e3ea"),
    "back": ("33", "#f2cc60"),
}

_SIZE = 14  # px
_CHAR = 8.4  # px: a monospaced character of that size is about 0.6 em wide
_LEADING = 18
_MARGIN = 16
_BAR = 30  # the window's title bar
_LIGHTS = ("#ff5f57", "#febc2e", "#28c840")
_WORDS = re.compile(r"[^ ]+(?: [^ ]+)*")
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"


def plain(lines: Iterable[Line]) -> str:
    """Without styles."""
    return "\n".join("".join(text for _, text in line).rstrip() for line in lines)


def ansi(lines: Iterable[Line]) -> str:
    """With the escape sequences of a terminal (ECMA-48 SGR)."""
    return "\n".join("".join(_sgr(style, text) for style, text in line) for line in lines)


def _sgr(style: str, text: str) -> str:
    code = COLOURS[style][0]
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text


def svg(lines: Iterable[Line], title: str, columns: int = 100) -> str:
    """An SVG picture of a terminal window with ``lines`` in it. It needs no fonts but the viewer's monospaced one,
    whose characters are stretched to a common width.
    """
    body = list(lines)
    width = round(columns * _CHAR + 2 * _MARGIN)
    height = len(body) * _LEADING + _BAR + 2 * _MARGIN
    found = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' role="img" aria-label="{escape(title)}">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>',
        *(f'<circle cx="{20 + 18 * i}" cy="16" r="5" fill="{c}"/>' for i, c in enumerate(_LIGHTS)),
        f'<g font-family="{_FONTS}" font-size="{_SIZE}">',
        f'<text x="{width / 2:g}" y="21" text-anchor="middle" fill="#8b949e">{escape(title)}</text>',
    ]
    for row, line in enumerate(body):
        y = _BAR + _MARGIN + row * _LEADING + _SIZE - 2
        column = 0
        for style, text in line:
            found += _span(style, text, column, y)
            column += len(text)
    return "\n".join([*found, "</g>", "</svg>", ""])


def _span(style: str, text: str, column: int, y: int) -> list[str]:
    """Words a blank apart are one element; what stands farther apart is placed by itself, so no blanks can collapse."""
    weight = ' font-weight="bold"' if style == "title" else ""
    return [
        f'<text x="{_MARGIN + (column + match.start()) * _CHAR:g}" y="{y}" textLength="{len(match[0]) * _CHAR:g}"'
        f' lengthAdjust="spacingAndGlyphs" fill="{COLOURS[style][1]}"{weight}>{escape(match[0])}</text>'
        for match in _WORDS.finditer(text)
    ]


def escape(text: str) -> str:
    """``text`` as XML: markup quoted, control characters replaced."""
    quoted = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return "".join(char if char.isprintable() else "\ufffd" for char in quoted)
