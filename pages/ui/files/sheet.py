"""The charts of a screen as one figure for paper: light whatever the theme, with its own widths.

Every chart comes from the function that drew it on the screen; nothing new is drawn.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

from pages.ui.charts.theme import LIGHT, Figure, Palette

__all__ = ["PAPER", "Draw", "Panel", "sheet", "together"]

PAPER = dataclasses.replace(LIGHT, background="#FFFFFF")
"""The colours of exported figures."""

Panel = tuple[str, Figure]
"""A chart with its title, "" for none."""
Draw = Callable[[Palette], list[Panel]]
"""Draws what is on the screen in the colours of a palette."""

WIDTH = 660
"""Of an exported figure, pixels; 6.9 inches at 96 to the inch, the width of a page's text."""
_AXIS, _MARGIN = 60, 100
"""Pixels beside a plot: its vertical axis, and the names at its right end."""
_OF_ALL = ("$schema", "config", "datasets", "autosize", "padding", "usermeta")
_WIDTH_NAME = re.compile(r"\bwidth\b")


def sheet(panels: Sequence[Panel], *, columns: int = 1) -> Figure:
    """One figure of several charts, below one another or in columns; a single chart stays as it is on the screen.

    Args:
        panels: charts with their titles, in reading order; at least one.
        columns: charts in a row.
    """
    (title, first), *others = panels
    if not others:
        return {**first, "width": WIDTH, "background": PAPER.background} | ({"title": title} if title else {})
    plot = WIDTH // columns - (_AXIS + _MARGIN if columns == 1 else _AXIS)
    whole = {name: first[name] for name in _OF_ALL if name in first and name != "autosize"}
    rows = {name: values for _, figure in panels for name, values in figure.get("datasets", {}).items()}
    return {
        **whole,
        "background": PAPER.background,
        "columns": columns,
        "concat": [_view(figure, title, plot) for title, figure in panels],
        **({"datasets": rows} if rows else {}),
    }


def together(*draws: Draw | None) -> Draw | None:
    """One function that draws the charts of several; None if none of them draws anything."""
    known = [draw for draw in draws if draw is not None]
    return (lambda palette: [panel for draw in known for panel in draw(palette)]) if known else None


def _view(figure: Figure, title: str, width: int) -> Figure:
    """A chart as a part of another; its width becomes a number, since only a whole figure knows its own."""
    part = {name: value for name, value in figure.items() if name not in _OF_ALL}
    return {**_with_width(part, width), "width": width} | ({"title": title} if title else {})


def _with_width(part: Any, width: int) -> Any:
    if isinstance(part, dict):
        if isinstance(part.get("expr"), str):
            return {**part, "expr": _WIDTH_NAME.sub(str(width), part["expr"])}
        return {name: _with_width(value, width) for name, value in part.items()}
    return [_with_width(value, width) for value in part] if isinstance(part, list) else part
