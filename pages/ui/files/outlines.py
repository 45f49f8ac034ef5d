"""The words of an SVG as shapes, so that they look the same wherever the file is opened, printed or edited.

It reads texts as Vega writes them (https://github.com/vega/vega/tree/main/packages/vega-scenegraph): each has one size,
weight and anchor, and its lines stand below one another. There is no kerning. A text stays a text if the font lacks one
of its signs. Fonts: Source Sans and Source Code, which come with Streamlit (SIL Open Font License).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import streamlit as st

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont

__all__ = ["outlined"]

_SVG = "http://www.w3.org/2000/svg"
_OF_TEXT = ("font-family", "font-size", "font-weight", "font-style", "text-anchor")
_WEIGHTS = {"normal": 400, "bold": 700}
_BEFORE = {"start": 0.0, "middle": 0.5, "end": 1.0}
"""Which share of a line stands to the left of its anchor."""


def outlined(svg: str) -> str:
    """An SVG in which every text is a shape with the text as its name.

    Args:
        svg: as Vega writes it; a text's lines are ``tspan`` elements with ``dy``, its size is in pixels.

    Raises:
        ElementTree.ParseError: it is no XML.
    """
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    tree = ElementTree.fromstring(svg)
    for text in list(tree.iter(f"{{{_SVG}}}text")):
        shape = _shape_of(text)
        if shape is not None:
            _become(text, shape, "".join(text.itertext()))
    return ElementTree.tostring(tree, encoding="unicode")


def _become(text: ElementTree.Element, shape: str, words: str) -> None:
    """Turns a text element into a group with a path."""
    rest = {name: value for name, value in text.attrib.items() if name not in _OF_TEXT}
    tail = text.tail
    text.clear()
    text.tag, text.tail = f"{{{_SVG}}}g", tail
    text.attrib.update({"role": "img", "aria-label": words} | rest)
    ElementTree.SubElement(text, f"{{{_SVG}}}path", {"d": shape})


def _shape_of(text: ElementTree.Element) -> str | None:
    """The outlines of a text's lines; None if the font lacks a sign."""
    from fontTools.pens.svgPathPen import SVGPathPen
    from fontTools.pens.transformPen import TransformPen

    font, glyphs = _font(
        "monospace" in text.get("font-family", ""),
        text.get("font-style", "normal") == "italic",
        _weight(text.get("font-weight", "normal")),
    )
    names: Mapping[int, str] = font.getBestCmap()
    scale = float(text.get("font-size", "11px").removesuffix("px")) / font["head"].unitsPerEm
    pen = SVGPathPen(glyphs, ntos=lambda number: f"{number:.2f}".rstrip("0").rstrip("."))
    y = 0.0
    for line in [(text.text or "", 0.0), *((part.text or "", float(part.get("dy", "0"))) for part in text)]:
        words, dy = line
        y += dy
        if any(ord(sign) not in names for sign in words):
            return None
        placed = [glyphs[names[ord(sign)]] for sign in words]
        x = -_BEFORE[text.get("text-anchor", "start")] * scale * sum(glyph.width for glyph in placed)
        for glyph in placed:
            glyph.draw(TransformPen(pen, (scale, 0, 0, -scale, x, y)))
            x += scale * glyph.width
    return str(pen.getCommands())


def _weight(name: str) -> int:
    return _WEIGHTS.get(name) or int(name)


@functools.cache
def _font(is_code: bool, is_italic: bool, weight: int) -> tuple[TTFont, Any]:
    """A font, and its glyphs at a weight."""
    from fontTools.ttLib import TTFont

    media = Path(st.__file__).parent / "static" / "static" / "media"
    name = f"Source{'Code' if is_code else 'Sans'}VF-{'Italic' if is_italic else 'Upright'}"
    (path,) = media.glob(f"{name}*.woff2")
    font = TTFont(path)
    return font, font.getGlyphSet(location={"wght": weight})
