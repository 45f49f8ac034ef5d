"""What a chart looks like on a screen of a given width: its words and marks as boxes, read from its SVG."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import vl_convert

__all__ = ["WIDTHS", "Box", "Seen", "covered_marks", "covering_words", "cut_words", "seen"]

WIDTHS = (980, 482, 326)
"""Pixels of a chart: alone and beside another in a window of 1440, and alone in one of 390."""
_LETTER = 0.52
"""About how wide a letter is, as a share of the size of its font; a little less than Source Sans needs at most."""
_SVG = "{http://www.w3.org/2000/svg}"
_MOVES = re.compile(r"(translate|rotate)\(([^)]*)\)")


@dataclass(frozen=True)
class Box:
    """A word on the screen.

    Attributes:
        text: what it says.
        anchor: where it is fixed, pixels.
        at: its left, top, right and bottom edge before it is turned, pixels.
        angle: how far it is turned about its anchor, degrees.
        role: of the part of the chart that it belongs to, such as ``axis-label``.
        group: which axis or mark it belongs to.
    """

    text: str
    anchor: tuple[float, float]
    at: tuple[float, float, float, float]
    angle: float
    role: str
    group: int


@dataclass(frozen=True)
class Seen:
    """A chart on a screen: its width, its words, middles of its symbols, corners of its lines, and its plot's width."""

    width: float

    words: list[Box]
    symbols: list[tuple[float, float]]
    lines: list[list[tuple[float, float]]]
    plot: float


def seen(figure: dict[str, Any], width: int) -> Seen:
    """A chart as it is drawn at a width."""
    root = ElementTree.fromstring(vl_convert.vegalite_to_svg({**figure, "width": width}))
    found = Seen(float(root.get("width", width)), [], [], [], max([0.0, *_plot_widths(root)]))
    _walk(root, (0.0, 0.0), ("", 0), found)
    return found


def _plot_widths(root: ElementTree.Element) -> Iterator[float]:
    for path in root.iter(f"{_SVG}path"):
        if path.get("class") == "background":
            corner = re.match(r"M[-\d.]+,[-\d.]+h([-\d.]+)", path.get("d", ""))
            if corner:
                yield float(corner[1])


def _walk(node: ElementTree.Element, at: tuple[float, float], part: tuple[str, int], found: Seen) -> None:
    given = reversed(_MOVES.findall(node.get("transform", "")))  # the first move places, those after a turn are small
    moves = {name: [float(number) for number in re.split(r"[ ,]+", inner)] for name, inner in given}
    x, y = moves.get("translate", [0.0, 0.0])
    at = (at[0] + x, at[1] + y)
    name = node.get("class") or ""
    if "role-" in name:
        part = (name, id(node))
    shown = float(node.get("opacity", 1)) > 0.01 and float(node.get("fill-opacity", 1)) > 0.01
    if node.tag == f"{_SVG}text" and shown:
        found.words.extend(_words(node, at, moves.get("rotate", [0.0])[0], part))
    if node.tag == f"{_SVG}path" and shown:
        if "mark-symbol" in part[0] and "role-mark" in part[0]:
            found.symbols.append(at)
        if "mark-line" in part[0] and "role-mark" in part[0]:
            corners = [tuple(map(float, pair)) for pair in re.findall(r"(-?[\d.]+),(-?[\d.]+)", node.get("d", ""))]
            found.lines.append([(at[0] + corner[0], at[1] + corner[1]) for corner in corners])
    for child in node:
        _walk(child, at, part, found)


def _words(node: ElementTree.Element, at: tuple[float, float], angle: float, part: tuple[str, int]) -> Iterator[Box]:
    size = float(re.sub(r"[^\d.]", "", node.get("font-size", "11px")))
    lines = [child.text or "" for child in node] or [node.text or ""]
    for index, text in enumerate(lines):
        if not text.strip():
            continue
        width = len(text) * size * _LETTER
        left = at[0] - width * {"middle": 0.5, "end": 1.0}.get(node.get("text-anchor", "start"), 0.0)
        bottom = at[1] + size * 0.2 + index * size * 1.15  # the anchor is the base line
        yield Box(text, at, (left, bottom - size, left + width, bottom), angle, *part)


def covering_words(drawn: Seen) -> list[tuple[str, str]]:
    """Pairs of words of which one covers the other; neighbours at one slanted axis meet where their lines do."""
    return [
        (one.text, other.text)
        for one, other in itertools.combinations(drawn.words, 2)
        if (one.angle == other.angle == 0 and _meet(one.at, other.at))
        or (one.angle == other.angle != 0 and one.group == other.group and _too_near(one, other))
    ]


def _too_near(one: Box, other: Box) -> bool:
    """Whether two words turned by one angle stand nearer than their height, measured across them."""
    turn = math.radians(one.angle)
    dx, dy = (one.anchor[axis] - other.anchor[axis] for axis in (0, 1))
    return abs(dx * math.sin(turn) - dy * math.cos(turn)) < (one.at[3] - one.at[1]) * 0.75


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] + 2 < other[3] and other[1] + 2 < one[3]


def cut_words(drawn: Seen) -> list[str]:
    """Words that reach over the edge of the picture."""
    return [
        word.text
        for word in drawn.words
        if word.angle == 0
        and (word.at[0] < -0.2 * len(word.text) * 6 or word.at[2] > drawn.width + 0.2 * len(word.text) * 6)
    ]


def covered_marks(drawn: Seen) -> list[str]:
    """Words of the plot, not of its axes or legends, that lie over a symbol or a line."""
    places = [*drawn.symbols, *(spot for line in drawn.lines for spot in _along(line))]
    return [
        word.text
        for word in drawn.words
        if "role-mark" in word.role
        and any(word.at[0] < x < word.at[2] and word.at[1] + 2 < y < word.at[3] - 1 for x, y in places)
    ]


def _along(line: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    for (x, y), (x2, y2) in itertools.pairwise(line):
        n = max(1, round(max(abs(x2 - x), abs(y2 - y)) / 2))
        yield from ((x + (x2 - x) * k / n, y + (y2 - y) * k / n) for k in range(n + 1))
