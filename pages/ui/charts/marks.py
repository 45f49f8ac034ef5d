"""Marks that charts share: labels beside lines, words that cover nothing, legends, phases, unseen points for tooltips.

Rows are dictionaries, so that the same rows are the table below a chart and its CSV. No measure is computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from pages.ui.charts.axes import XAxis, apart, free_spots
from pages.ui.charts.theme import (
    ABILITIES,
    Palette,
    named_rows,
)

__all__ = [
    "COLUMNS",
    "LABEL_ROOM",
    "NARROWEST",
    "PICK",
    "WIDE",
    "Row",
    "along",
    "boundary_rules",
    "dash_of_each",
    "felt_points",
    "free_words",
    "line_ends",
    "margin_words",
    "names_above",
    "names_axis",
    "phase_shades",
    "revision_tooltip",
    "room_for_labels",
    "rows_data",
]

Row = Mapping[str, Any]


LABEL_ROOM = 92
"""Pixels to the right of the plot for direct labels."""


COLUMNS: Any = {"expr": "max(1, floor(width / 110))"}
"""Of a legend above a plot: as many as there is room for."""


WIDE = 640
"""From this width on, in pixels, a plot has room for more words."""


PICK = "pick"
"""Name of the selection that reruns a page when a mark is clicked."""


rows_data = named_rows
"""Rows as the data of one chart."""


_DASHES = ([1, 0], [6, 3], [2, 2], [10, 3, 2, 3], [4, 6], [1, 4])


def dash_of_each(field: str, names: Sequence[str], palette: Palette, *, above: int = 0) -> alt.StrokeDash:
    """Models or runs by their dashes, never by colour, with a legend.

    Args:
        field: of the rows that holds the names.
        names: in their order; from the seventh on dashes repeat.
        palette: colours of the theme.
        above: pixels that the legend is moved up.
    """
    dashes = [_DASHES[index % len(_DASHES)] for index in range(len(names))]
    scale = alt.Scale(domain=list(names), range=dashes)
    return alt.StrokeDash(f"{field}:N", sort=list(names), scale=scale, legend=_dash_legend(names, palette, above=above))


def _dash_legend(models: Sequence[str], palette: Palette, *, above: int) -> alt.Legend:
    """Models by their dashes, above the plot: there their names have room in any window."""
    longest = 7 * max(len(model) for model in models) + 70
    columns: Any = {"expr": f"max(1, floor(width / {longest}))"}
    return alt.Legend(
        title=None,
        orient="top",
        columns=columns,
        offset=18 + above,
        labelLimit=longest,
        symbolType="stroke",
        symbolSize=700,
        symbolStrokeWidth=2,
        symbolStrokeColor=palette.icl,
    )


def felt_points(rows: Sequence[Row], x: Any, y: Any, *, tooltip: Sequence[alt.Tooltip]) -> Any:
    """Unseen marks at the rows of a line or an area, whose own tooltip shows the first row's numbers everywhere."""
    return alt.Chart(rows_data(rows)).mark_point(filled=True, size=90, opacity=0).encode(x, y, tooltip=list(tooltip))


def room_for_labels(axis: XAxis, palette: Palette, *, room: Any = LABEL_ROOM) -> Any:
    """An unseen mark to the right of the plot; with it, panels have one width whatever the length of their labels."""
    spot = alt.Chart(rows_data([{"x": axis.domain[1]}])).mark_point(xOffset=room, size=1, opacity=0)
    return spot.encode(alt.X("x:Q"), tooltip=alt.TooltipValue(None))


def margin_words(
    ends: Sequence[Row],
    references: Sequence[Row],
    axis: XAxis,
    *,
    palette: Palette,
    domain: tuple[float, float],
    height: int,
    room: Any = LABEL_ROOM,
) -> list[Any]:
    """Names of curves and of horizontal lines, to the right of the plot and moved apart so that none covers another.

    Args:
        ends: ``value``, ``text`` and ``ink`` of each curve's end.
        references: ``value`` and ``text`` of horizontal lines.
        axis: horizontal axis.
        palette: colours of the theme.
        domain: of the vertical axis.
        height: of the plot, pixels.
        room: for the names, pixels or an expression of Vega.
    """
    low, high = domain
    rows = [*ends, *({**row, "ink": palette.soft} for row in references if row["text"])]
    within = [min(max(row["value"], low), high) for row in rows]
    heights = apart(within, gap=(high - low) * 15 / height, low=low, high=high)
    placed = [
        {"x": axis.domain[1], "place": at, "text": row["text"], "ink": row["ink"]}
        for row, at in zip(rows, heights, strict=True)
    ]
    layers = [room_for_labels(axis, palette, room=room)]
    for part, mark in (
        (placed[: len(ends)], {"fontSize": 13, "fontWeight": 600, "dx": 10}),
        (placed[len(ends) :], {"fontSize": 11, "dx": 8}),
    ):
        words = alt.Chart(rows_data(part)).mark_text(align="left", limit=room, **mark)  # type: ignore[arg-type]
        layers.append(
            words.encode(
                alt.X("x:Q"), alt.Y("place:Q"), _ink(), text=alt.Text("text:N"), tooltip=alt.TooltipValue(None)
            )
        )
    return layers


def _ink() -> alt.Fill:
    """The colour of words as their rows give it."""
    return alt.Fill("ink:N", scale=None)


def line_ends(rows: Sequence[Row], palette: Palette) -> list[dict[str, Any]]:
    """The right end of each curve with the ability's (and model's) name."""
    several = len({row["model"] for row in rows}) > 1
    ends: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = (row["model"], row["ability"])
        if key not in ends or row["x"] >= ends[key]["x"]:
            ends[key] = row
    inks = dict(zip(ABILITIES, palette.abilities_words, strict=True))
    return [
        {
            "value": row["value"],
            "text": f"{row['ability']} {row['model']}" if several else row["ability"],
            "ink": inks[row["ability"]],
        }
        for row in ends.values()
    ]


def free_words(
    rows: Sequence[Row],
    obstacles: Sequence[tuple[float, float]],
    palette: Palette,
    *,
    x: Any,
    domain: tuple[float, float],
    size: tuple[int, int],
    italic: bool = False,
) -> list[Any]:
    """Names beside the marks of a plot. A name that would cover a mark or another name is not drawn.

    Args:
        rows: ``text``, ``ink``, the field of ``x``, ``across`` and ``down`` (the mark's place as shares of the plot).
        obstacles: places of all marks, as shares of the plot.
        palette: colours of the theme.
        x: horizontal channel.
        domain: of the vertical axis.
        size: narrowest width of the plot, and its height, pixels.
        italic: whether the names are in italics.
    """
    low, high = domain
    layers = []
    anchors, names = [(row["across"], row["down"]) for row in rows], [row["text"] for row in rows]
    for width, shown in ((size[0], f"width < {WIDE}"), (WIDE, f"width >= {WIDE}")):
        spots = free_spots(anchors, names, obstacles=obstacles, size=(width, size[1]))
        for align, dx in (("left", 9), ("right", -9), ("center", 0)):
            mine = [
                {**row, "place": high - (high - low) * (row["down"] + spot.dy / size[1])}
                for row, spot in zip(rows, spots, strict=True)
                if spot is not None and spot.align == align
            ]
            if mine:
                opacity: Any = {"expr": f"{shown} ? 1 : 0"}
                mark: Any = {"align": align, "baseline": "middle", "dx": dx, "fontSize": 12, "opacity": opacity}
                words = alt.Chart(rows_data(mine)).mark_text(**mark, fontStyle="italic" if italic else "normal")
                layers.append(
                    words.encode(x, alt.Y("place:Q"), _ink(), text=alt.Text("text:N"), tooltip=alt.TooltipValue(None))
                )
    return layers


def phase_shades(rows: Sequence[Row], axis: XAxis, palette: Palette) -> list[Any]:
    """Shaded stretches of training, with their names if they have one."""
    if not rows:
        return []
    clipped = [
        {**row, "x": max(row["x"], axis.domain[0]), "x2": min(row["x2"], axis.domain[1])}
        for row in rows
        if row["x"] < axis.domain[1] and row["x2"] > axis.domain[0]
    ]
    data = rows_data(clipped)
    area = (
        alt.Chart(data)
        .mark_rect(color=palette.shade)
        .encode(
            alt.X("x:Q"),
            alt.X2("x2:Q"),
            opacity=alt.Opacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0, 0.42]), legend=None),
            tooltip=[alt.Tooltip("text:N", title=" ")],
        )
    )
    return [area, *names_above([row for row in clipped if row.get("name")], palette)]


def names_above(rows: Sequence[Row], palette: Palette) -> list[Any]:
    """Names above the plot, each from the beginning of its stretch; neighbours stand on different lines."""
    layers = []
    for line in (0, 1):
        mine = alt.Chart(rows_data(rows[line::2])).mark_text(
            align="left", baseline="bottom", dx=2, color=palette.soft, fontSize=11, clip=False
        )
        if rows[line::2]:
            layers.append(mine.encode(alt.X("x:Q"), y=alt.value(-8 - 14 * line), text=alt.Text("name:N")))
    return layers


def boundary_rules(rows: Sequence[Row], axis: XAxis, palette: Palette) -> list[Any]:
    """A dashed rule at the beginning of each phase that lies inside the axis, with its name above the plot."""
    inside = [row for row in rows if axis.domain[0] <= row["x"] < axis.domain[1]]
    if not inside:
        return []
    tip = [alt.Tooltip("text:N", title=" ")]
    rule = alt.Chart(rows_data(inside)).mark_rule(strokeDash=[2, 3], color=palette.soft)
    return [rule.encode(alt.X("x:Q"), tooltip=tip), *names_above(inside, palette)]


NARROWEST = 150
"""Of a plot at full width on a telephone, pixels."""


def along(path: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Places on the straight lines between neighbours, so close together that no word fits between two of them."""
    return [
        (x + (x2 - x) * part / 40, y + (y2 - y) * part / 40)
        for (x, y), (x2, y2) in itertools.pairwise(path)
        for part in range(41)
    ]


def names_axis(**options: Any) -> alt.Axis:
    """An axis of names: those that would touch are left out, and long ones are cut if the window is narrow."""
    limit: Any = {"expr": "windowSize()[0] < 500 ? 104 : 200"}
    return alt.Axis(labelLimit=limit, labelOverlap=True, **options)


def revision_tooltip(rows: Sequence[Row]) -> list[alt.Tooltip]:
    """The checkpoint's own name, if rows have one."""
    return [alt.Tooltip("revision:N", title="Revision")] if any(row.get("revision") for row in rows) else []
