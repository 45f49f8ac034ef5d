"""The charts of fusion: pure functions from plain rows to Vega-Lite specifications; they compute no measure.

Sources of what is drawn: arXiv 2406.14022, Eqs. 5-6, Tables 1 and 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import altair as alt

from pages.ui.axes import apart, percent_domain
from pages.ui.charts import Row, rows_data
from pages.ui.theme import Figure, Palette, configured, remembered

__all__ = ["at_weight", "cost_chart", "pair_chart", "value_chart", "weight_chart"]

WORD_ROOM = 190
"""Pixels to the right of the plot for the names of horizontal lines."""
NEAR, EDGE = 0.2, 0.05
"""Labels of marks nearer than this along w stand on different lines; none is centred nearer to the edge."""
MOVABLE = "chosen-w"
_SHAPES = {
    "fusion": "diamond",
    "upper bound": "diamond",
    "TR": "circle",
    "TL": "square",
    "parameter fusion": "triangle-up",
}


def _colours(palette: Palette) -> dict[str, str]:
    return {
        "fusion": palette.shade,
        "upper bound": palette.shade,
        "TR": palette.tr,
        "TL": palette.tl,
        "parameter fusion": palette.soft,
    }


@remembered
def weight_chart(
    curve: Sequence[Row],
    marks: Sequence[Row],
    levels: Sequence[Row],
    palette: Palette,
    *,
    tasks: Sequence[Row] = (),
    title: str = "Accuracy",
    height: int = 340,
) -> Figure:
    """The measure against w, with members, fusions, mixed parameters and what has to be beaten.

    Args:
        curve: ``w``, ``value``, ``low``, ``high`` (fractions) along the weight of the TR member.
        marks: ``w``, ``value``, ``low``, ``high``, ``kind`` (fusion, upper bound, TR, TL, parameter fusion), ``name``,
            ``label`` (short words beside the mark, or "").
        levels: ``value``, ``name``, ``label``, ``strong`` (bool) of horizontal lines.
        palette: colours of the theme.
        tasks: ``w``, ``value``, ``task`` of one thin line for each task, or nothing.
        title: of the vertical axis.
        height: of the plot, pixels.

    The movable w has no row yet; ``at_weight`` puts it in.
    """
    heights = [row["value"] for row in (*levels, *tasks, *marks)]
    heights += [min((row["low"] for row in marks), default=1.0) - 0.02]  # room for labels below
    low, high = percent_domain([*(row["low"] for row in curve), *heights], [*(row["high"] for row in curve), *heights])
    x = alt.X(
        "w:Q",
        title="w: weight of the TR member (0: TL member alone, 1: TR member alone)",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f"),
    )
    y = alt.Y(
        "value:Q",
        title=title,
        scale=alt.Scale(domain=[low, high], nice=False, clamp=True),
        axis=alt.Axis(format=".0%", tickCount=6, minExtent=40, maxExtent=40),
    )
    layers: list[Any] = [
        alt.Chart(rows_data(curve)).mark_line(color=palette.ink, strokeWidth=2.2).encode(x, y),
        alt.Chart(rows_data(curve))
        .mark_area(color=palette.ink, opacity=0.1)
        .encode(alt.X("w:Q"), alt.Y("low:Q"), alt.Y2("high:Q")),
    ]
    if tasks:
        thin = alt.Chart(rows_data(tasks)).mark_line(color=palette.soft, strokeWidth=1, opacity=0.55)
        tip = [alt.Tooltip("task:N"), alt.Tooltip("w:Q", format=".2f"), alt.Tooltip("value:Q", format=".1%")]
        layers.append(thin.encode(alt.X("w:Q"), alt.Y("value:Q"), detail="task:N", tooltip=tip))
    layers += _levels(levels, palette, gap=(high - low) * 15 / height)
    layers += _marks(marks, palette, gap=(high - low) * 15 / height)
    layers += _movable(palette)
    figure = configured(alt.layer(*layers).properties(height=height), palette)
    return at_weight(figure, None)


def _levels(rows: Sequence[Row], palette: Palette, *, gap: float) -> list[Any]:
    heights = apart([row["value"] for row in rows], gap=gap)
    data = [{**row, "place": place, "w": 1} for row, place in zip(rows, heights, strict=True)]
    tip = [alt.Tooltip("name:N", title=" "), alt.Tooltip("value:Q", title="Value", format=".1%")]
    colour = alt.condition("datum.strong", alt.value(palette.ink), alt.value(palette.soft))
    rule = alt.Chart(rows_data(data)).mark_rule(strokeDash=[5, 3], strokeWidth=1.4)
    words = alt.Chart(rows_data(data)).mark_text(align="left", dx=12, fontSize=12, limit=WORD_ROOM)
    room = alt.Chart(rows_data([{"w": 1}])).mark_point(xOffset=WORD_ROOM, size=1, opacity=0)
    return [
        rule.encode(alt.Y("value:Q"), color=colour, tooltip=tip),
        words.encode(alt.X("w:Q"), alt.Y("place:Q"), text="label:N", color=colour, tooltip=tip),
        room.encode(alt.X("w:Q"), tooltip=alt.value(None)),
    ]


def _marks(rows: Sequence[Row], palette: Palette, *, gap: float) -> list[Any]:
    kinds = [kind for kind in _SHAPES if any(row["kind"] == kind for row in rows)]
    colours = _colours(palette)
    colour = alt.Scale(domain=kinds, range=[colours[kind] for kind in kinds])
    shape = alt.Scale(domain=kinds, range=[_SHAPES[kind] for kind in kinds])
    data = rows_data(rows)
    tip = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("w:Q", title="w", format=".2f"),
        alt.Tooltip("value:Q", title="Value", format=".1%"),
        alt.Tooltip("low:Q", title="95 % from", format=".1%"),
        alt.Tooltip("high:Q", title="95 % to", format=".1%"),
    ]
    whisker = alt.Chart(data).mark_rule(strokeWidth=1.4, opacity=0.75)
    point = alt.Chart(data).mark_point(size=110, strokeWidth=2, opacity=1)
    hollow = "datum.kind == 'upper bound'"
    words = alt.Chart(rows_data(_tiered(rows, gap))).mark_text(fontSize=12, fontWeight=600)
    by_kind = alt.Color("kind:N", sort=kinds, scale=colour, legend=None)
    return [
        whisker.encode(alt.X("w:Q"), alt.Y("low:Q"), alt.Y2("high:Q"), by_kind),
        point.encode(
            alt.X("w:Q"),
            alt.Y("value:Q"),
            by_kind,
            alt.Shape("kind:N", sort=kinds, scale=shape, legend=None),
            fill=alt.when(hollow)
            .then(alt.value(palette.background))
            .otherwise(alt.Fill("kind:N", sort=kinds, scale=colour, legend=None)),
            tooltip=tip,
        ),
        words.encode(alt.X("w:Q"), alt.Y("place:Q"), by_kind, text="label:N"),
    ]


def _tiered(rows: Sequence[Row], gap: float) -> list[dict[str, Any]]:
    """Labels above the members and below the fusions, one line further for each neighbour too near for one line."""
    placed: list[dict[str, Any]] = []
    for row in sorted((row for row in rows if row["label"]), key=lambda row: row["w"]):
        above = row["kind"] in ("TR", "TL")
        near = [each for each in placed if each["above"] == above and row["w"] - each["w"] < NEAR]
        tier = next(tier for tier in itertools.count() if tier not in [each["tier"] for each in near])
        ends = [each["high"] if above else each["low"] for each in (row, *near)]
        place = max(ends) + (0.8 + tier) * gap if above else min(ends) - (0.8 + tier) * gap
        placed.append({**row, "tier": tier, "above": above, "place": place, "w": min(max(row["w"], EDGE), 1 - EDGE)})
    return placed


def _movable(palette: Palette) -> list[Any]:
    """The rule and the point of the chosen w, whose row ``at_weight`` fills in."""
    data = alt.NamedData(MOVABLE)
    return [
        alt.Chart(data).mark_rule(color=palette.ink, strokeWidth=1, opacity=0.6).encode(alt.X("w:Q")),
        alt.Chart(data)
        .mark_point(filled=True, color=palette.ink, size=90, opacity=1)
        .encode(alt.X("w:Q"), alt.Y("value:Q")),
    ]


def at_weight(figure: Figure, row: Row | None) -> Figure:
    """The chart with its movable w at a ``w`` and ``value``; only named data change, so the browser keeps the chart."""
    return {**figure, "datasets": {**figure.get("datasets", {}), MOVABLE: [] if row is None else [dict(row)]}}


def _groups(rows: Sequence[Row], palette: Palette) -> tuple[list[str], list[str], list[str]]:
    """The kinds that occur, with their colours and shapes, where single checkpoints and ensembles are drawn too."""
    groups = [*_SHAPES, "single, gold", "equal ensemble"]
    colours = {**_colours(palette), "single, gold": palette.icl, "equal ensemble": palette.labels[1]}
    shapes = {**_SHAPES, "single, gold": "circle", "equal ensemble": "cross"}
    known = [group for group in groups if any(row["kind"] == group for row in rows)]
    return known, [colours[group] for group in known], [shapes[group] for group in known]


@remembered
def value_chart(rows: Sequence[Row], palette: Palette, *, title: str = "Accuracy", row_height: int = 26) -> Figure:
    """A measure of every fusion and of what it has to beat, each with its interval, one line each.

    Args:
        rows: ``name``, ``value``, ``low``, ``high`` (fractions), ``kind`` as in the cost plane.
        palette: colours of the theme.
        title: of the horizontal axis.
        row_height: pixels a line.
    """
    known, colours, shapes = _groups(rows, palette)
    names = [row["name"] for row in rows]
    low, high = percent_domain([row["low"] for row in rows], [row["high"] for row in rows])
    x = alt.X(
        "value:Q",
        title=title,
        scale=alt.Scale(domain=[low, high], nice=False),
        axis=alt.Axis(format=".0%", tickCount=6, grid=True),
    )
    y = alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=330))
    base = alt.Chart(rows_data(rows))
    colour = alt.Color("kind:N", sort=known, scale=alt.Scale(domain=known, range=colours), legend=None)
    shape = alt.Shape("kind:N", sort=known, scale=alt.Scale(domain=known, range=shapes), legend=None)
    tip = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("value:Q", title="Value", format=".1%"),
        alt.Tooltip("low:Q", title="95 % from", format=".1%"),
        alt.Tooltip("high:Q", title="95 % to", format=".1%"),
    ]
    points = base.mark_point(filled=True, size=90, opacity=1).encode(x, y, colour, shape, tooltip=tip)
    whisker = base.mark_rule(strokeWidth=1.4, opacity=0.7).encode(
        alt.X("low:Q", title=title), y, alt.X2("high:Q"), colour
    )
    return configured(alt.layer(points, whisker).properties(height=max(120, row_height * len(rows))), palette)


@remembered
def cost_chart(rows: Sequence[Row], palette: Palette, *, title: str = "Accuracy", height: int = 300) -> Figure:
    """Accuracy against the operations of one prompt, the plane of the paper's Table 1.

    Args:
        rows: ``tflops`` (a positive number), ``value``, ``low``, ``high``, ``name``, ``kind``, ``label``.
        palette: colours of the theme.
        title: of the vertical axis.
        height: of the plot, pixels.
    """
    known, colours, shapes = _groups(rows, palette)
    low, high = percent_domain([row["low"] for row in rows], [row["high"] for row in rows])
    x = alt.X("tflops:Q", title="TFLOPs of one prompt", scale=alt.Scale(type="log", nice=True),
              axis=alt.Axis(format="~g", tickCount=6))  # fmt: skip
    y = alt.Y("value:Q", title=title, scale=alt.Scale(domain=[low, high], nice=False), axis=alt.Axis(format=".0%"))
    base = alt.Chart(rows_data(rows))
    colour = alt.Color(
        "kind:N",
        sort=known,
        scale=alt.Scale(domain=known, range=colours),
        legend=alt.Legend(title=None, orient="top", columns=4),
    )
    shape = alt.Shape("kind:N", sort=known, scale=alt.Scale(domain=known, range=shapes), legend=None)
    tip = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("tflops:Q", title="TFLOPs", format=".3~g"),
        alt.Tooltip("value:Q", title="Value", format=".1%"),
    ]
    points = base.mark_point(filled=True, size=90, opacity=0.95).encode(x, y, colour, shape, tooltip=tip)
    whisker = base.mark_rule(strokeWidth=1, opacity=0.5).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), colour)
    return configured(alt.layer(points, whisker).properties(height=height), palette)


@remembered
def pair_chart(rows: Sequence[Row], palette: Palette, *, title: str, row_height: int = 20) -> Figure:
    """The fusion of every TR checkpoint with every TL checkpoint.

    Args:
        rows: ``tr``, ``tl`` (names in the order of training), ``value`` (fraction), ``chosen`` (bool).
        palette: colours of the theme.
        title: of the colours.
        row_height: pixels a checkpoint.
    """
    tr = list(dict.fromkeys(row["tr"] for row in rows))
    tl = list(dict.fromkeys(row["tl"] for row in rows))
    base = alt.Chart(rows_data(rows)).encode(
        alt.X("tl:N", sort=tl, title="TL member", axis=alt.Axis(labelAngle=-60, labelOverlap=True)),
        alt.Y("tr:N", sort=tr[::-1], title="TR member", axis=alt.Axis(labelOverlap=True)),
        tooltip=[
            alt.Tooltip("tr:N", title="TR member"),
            alt.Tooltip("tl:N", title="TL member"),
            alt.Tooltip("value:Q", title=title, format=".1%"),
        ],
    )
    scale = alt.Scale(range=list(palette.ramp), nice=False)
    legend = alt.Legend(title=title, format=".0%", gradientLength=110)
    cells = base.mark_rect(stroke=palette.background, strokeWidth=1).encode(
        alt.Color("value:Q", scale=scale, legend=legend)
    )
    chosen = base.transform_filter("datum.chosen").mark_point(size=60, color=palette.tr, strokeWidth=2.5, opacity=1)
    return configured(alt.layer(cells, chosen).properties(height=max(120, row_height * len(tr))), palette)
