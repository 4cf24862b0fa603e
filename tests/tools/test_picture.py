"""Styled text in its three forms."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysock.tools import picture

SVG = "{http://www.w3.org/2000/svg}"
LINES: list[picture.Line] = [[("title", "$ "), ("", "a < b & c   far")], [], [("dim", "  end  ")]]


def test_plain_and_ansi() -> None:
    assert picture.plain(LINES) == "$ a < b & c   far\n\n  end"
    assert picture.ansi(LINES) == "\x1b[1m$ \x1b[0ma < b & c   far\n\n\x1b[2m  end  \x1b[0m"


def test_every_character_stands_in_its_column() -> None:
    root = ElementTree.fromstring(picture.svg(LINES, "a title"))
    texts = [
        (node.text, round((float(node.attrib["x"]) - 16) / 8.4), round(float(node.attrib["textLength"]) / 8.4))
        for node in root.iter(f"{SVG}text")
        if "textLength" in node.attrib
    ]
    assert texts == [("$", 0, 1), ("a < b & c", 2, 9), ("far", 14, 3), ("end", 2, 3)]
    rows = {node.attrib["y"] for node in root.iter(f"{SVG}text") if "textLength" in node.attrib}
    assert len(rows) == 2
    assert root.attrib["aria-label"] == "a title"


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(sorted(picture.COLOURS)), st.text(max_size=20)), max_size=3), max_size=3
    )
)
def test_any_text_makes_a_well_formed_picture(lines: list[picture.Line]) -> None:
    root = ElementTree.fromstring(picture.svg(lines, "t"))
    shown = "".join(node.text or "" for node in root.iter(f"{SVG}text") if "textLength" in node.attrib)
    wanted = "".join(text for line in lines for _, text in line)
    assert shown.replace(" ", "") == "".join(c if c.isprintable() else "\ufffd" for c in wanted if c != " ")


def test_an_unknown_style() -> None:
    with pytest.raises(KeyError):
        picture.svg([[("no such style", "x")]], "t")
