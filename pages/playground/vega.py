"""The charts of the playground: label probabilities, and a prompt token by token.

Text of a user is drawn as SVG text, never as HTML or Markdown. Nothing is computed but places on the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from pages.ui.charts.marks import Row, rows_data
from pages.ui.charts.theme import Figure, Palette, configured, remembered, with_rows
from pages.ui.words.written import percent

__all__ = ["COLUMNS", "label_bars", "token_chart", "token_rows"]

COLUMNS = 86
"""Characters in a line of a prompt."""
NUMBER_ROOM = 46
"""Pixels to the right of the bars for their numbers."""
CHARACTER_WIDTH, LINE_HEIGHT = 7.3, 19
MONOSPACE = '"Source Code Pro", "DejaVu Sans Mono", monospace'


def label_bars(rows: Sequence[Row], palette: Palette, *, role: str, height: int = 0) -> Figure:
    """The label probabilities of one role.

    Args:
        rows: ``label`` (as shown), ``probability``, ``winner`` (bool), in the order of the labels.
        palette: colours of the theme.
        role: TR, TL, fused or ICL; it gives the colour.
        height: of the plot, pixels; 0 for what the labels need.
    """
    figure = _empty_bars(tuple(row["label"] for row in rows), palette, role=role, height=height or 34 * len(rows))
    return with_rows(figure, [{**row, "text": percent(row["probability"])} for row in rows])


@remembered
def _empty_bars(labels: tuple[str, ...], palette: Palette, *, role: str, height: int) -> Figure:
    """The bars without their rows, which alone change with w and with the sentence."""
    colour = {"TR": palette.tr, "TL": palette.tl, "fused": palette.shade}.get(role, palette.icl)
    base = alt.Chart(rows_data([])).encode(
        alt.Y("label:N", sort=list(labels), title=None, axis=alt.Axis(labelLimit=150, labelFontSize=13, ticks=False)),
        tooltip=[
            alt.Tooltip("label:N", title="Label"),
            alt.Tooltip("probability:Q", title="Probability", format=".1%"),
        ],
    )
    x = alt.X("probability:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%", tickCount=3))
    opacity = alt.condition("datum.winner", alt.value(1.0), alt.value(0.45))
    bars = base.mark_bar(color=colour, cornerRadiusEnd=2, height={"band": 0.62}).encode(x, opacity=opacity)
    words = base.mark_text(align="left", dx=5, color=palette.ink).encode(x, text=alt.Text("text:N"))
    room = base.mark_point(xOffset=NUMBER_ROOM, size=1, opacity=0).encode(
        x=alt.datum(1), tooltip=alt.TooltipValue(None)
    )
    return configured(alt.layer(bars, words, room).properties(height=height), palette)


def token_rows(pieces: Sequence[str], token_ids: Sequence[int], *, n_shared: int, most: int) -> list[dict[str, Any]]:
    """Where each token stands in lines of COLUMNS characters; a line break ends a line.

    Args:
        pieces: text of each token; a token without text is listed with the one before it.
        token_ids: of each token.
        n_shared: tokens at the beginning that belong to the demonstrations.
        most: tokens drawn, the last ones.
    """
    rows: list[dict[str, Any]] = []
    line = column = 0
    first = max(0, len(pieces) - most)
    for index in range(first, len(pieces)):
        piece = pieces[index]
        if not piece and rows:
            rows[-1]["ids"] += f", {token_ids[index]}"
            continue
        text = piece.replace("\n", "↵")
        text = text if text.strip() else "·" * len(text)
        if column and column + len(text) > COLUMNS:
            line, column = line + 1, 0
        rows.append(
            {
                "line": line,
                "column": column,
                "end": column + len(text),
                "start": column + len(text) - len(text.lstrip()),  # a text mark is drawn without its outer spaces
                "text": text.strip(),
                "ids": str(token_ids[index]),
                "part": "demonstrations" if index < n_shared else "query",
                "place": index + 1,
                "even": index % 2 == 0,
            }
        )
        line, column = (line + 1, 0) if piece.endswith("\n") else (line, column + len(text))
    return rows


def token_chart(rows: Sequence[Row], palette: Palette) -> Figure:
    """A prompt token by token: the shared demonstrations dimmed, the query in ink, ids on hover.

    Args:
        rows: of ``token_rows``.
        palette: colours of the theme.
    """
    return with_rows(_empty_tokens(1 + max((row["line"] for row in rows), default=0), palette), rows)


@remembered
def _empty_tokens(n_lines: int, palette: Palette) -> Figure:
    x = alt.X("column:Q", axis=None, scale=alt.Scale(domain=[0, COLUMNS + 4], nice=False))
    y = alt.Y("line:O", axis=None, scale=alt.Scale(domain=list(range(n_lines)), padding=0.1))
    tip = [
        alt.Tooltip("text:N", title="Token"),
        alt.Tooltip("ids:N", title="Id"),
        alt.Tooltip("place:Q", title="Place", format=",d"),
        alt.Tooltip("part:N", title="Part"),
    ]
    base = alt.Chart(rows_data([])).encode(x, y, tooltip=tip)
    shade = alt.condition("datum.even", alt.value(0.9), alt.value(0.35))
    boxes = base.mark_rect(color=palette.grid, cornerRadius=2).encode(alt.X2("end:Q"), opacity=shade)
    dimmed = alt.condition("datum.part == 'query'", alt.value(1.0), alt.value(0.5))
    mark = base.mark_text(align="left", font=MONOSPACE, fontSize=12, color=palette.ink, limit=COLUMNS * 9)
    text = mark.encode(alt.X("start:Q", axis=None), text=alt.Text("text:N"), opacity=dimmed)
    figure = alt.layer(boxes, text)
    return configured(figure.properties(height=LINE_HEIGHT * n_lines, width=CHARACTER_WIDTH * (COLUMNS + 4)), palette)
