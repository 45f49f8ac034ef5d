"""The charts of fusion: pure functions from plain rows to Vega-Lite specifications; they compute no measure.

Sources of what is drawn: arXiv 2406.14022, Eqs. 5-6, Tables 1 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from pages.ui.charts.axes import apart, percent_domain, round_values
from pages.ui.charts.marks import COLUMNS, Row, felt_points, names_axis, rows_data
from pages.ui.charts.theme import Figure, Palette, configured, ramp_scale, remembered

__all__ = ["at_weight", "cost_chart", "pair_chart", "value_chart", "weight_chart"]

WORD_ROOM = 92
"""Pixels to the right of the plot for the names of horizontal lines; a name takes two lines of text."""
NARROW = 150
"""Width of the plot on a telephone, pixels; from this width on, words above it do not cover each other."""
LETTER = 6.9
"""Width of a letter of a name above the plot, about, pixels."""
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


def _word_colours(palette: Palette) -> dict[str, str]:
    return {**_colours(palette), "fusion": palette.shade_words, "upper bound": palette.shade_words} | {
        "TL": palette.tl_words
    }


@remembered
def weight_chart(
    curve: Sequence[Row],
    marks: Sequence[Row],
    levels: Sequence[Row],
    *,
    palette: Palette,
    tasks: Sequence[Row] = (),
    title: str = "Accuracy",
    height: int = 340,
) -> Figure:
    """The measure against w, with members, fusions, mixed parameters and the baselines to beat.

    Args:
        curve: ``w``, ``value``, ``low``, ``high`` (fractions) along the weight of the TR member.
        marks: ``w``, ``value``, ``low``, ``high``, ``kind`` (fusion, upper bound, TR, TL, parameter fusion), ``name``,
            ``label`` (short words beside the mark, or "").
        levels: ``value``, ``name``, ``label`` (one or two lines), ``strong`` (bool) of horizontal lines.
        palette: colours of the theme.
        tasks: ``w``, ``value``, ``task`` of one thin line per task, or nothing.
        title: of the vertical axis.
        height: of the plot, pixels.

    The movable w has no row yet; ``at_weight`` puts it in.
    """
    heights = [row["value"] for row in (*levels, *tasks, *marks)]
    low, high = percent_domain([*(row["low"] for row in curve), *heights], [*(row["high"] for row in curve), *heights])
    x = alt.X(
        "w:Q",
        title="w: weight of the TR member",
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
        tip = [
            alt.Tooltip("task:N", title="Task"),
            alt.Tooltip("w:Q", title="w", format=".2f"),
            alt.Tooltip("value:Q", title="Value", format=".1%"),
        ]
        layers.append(thin.encode(alt.X("w:Q"), alt.Y("value:Q"), detail=alt.Detail("task:N")))
        layers.append(felt_points(tasks, alt.X("w:Q"), alt.Y("value:Q"), tooltip=tip))
    layers += _levels(levels, palette, domain=(low, high), height=height)
    layers += _marks(marks, palette, top=high)
    layers += _movable(palette)
    figure = configured(alt.layer(*layers).properties(height=height), palette)
    return at_weight(figure, None)


def _levels(rows: Sequence[Row], palette: Palette, *, domain: tuple[float, float], height: int) -> list[Any]:
    low, high = domain
    gap = (high - low) * (28 if any("\n" in row["label"] for row in rows) else 15) / height
    heights = apart([row["value"] for row in rows], gap=gap, low=low, high=high - gap / 2)
    data = [{**row, "place": place, "w": 1} for row, place in zip(rows, heights, strict=True)]
    tip = [alt.Tooltip("name:N", title=" "), alt.Tooltip("value:Q", title="Value", format=".1%")]
    colour = alt.condition("datum.strong", alt.value(palette.ink), alt.value(palette.soft))
    rule = alt.Chart(rows_data(data)).mark_rule(strokeDash=[5, 3], strokeWidth=1.4)
    words = alt.Chart(rows_data(data)).mark_text(
        align="left", baseline="middle", dx=12, fontSize=11, lineBreak="\n", limit=WORD_ROOM - 4
    )
    room = alt.Chart(rows_data([{"w": 1}])).mark_point(xOffset=WORD_ROOM, size=1, opacity=0)
    return [
        rule.encode(alt.Y("value:Q"), color=colour, tooltip=tip),
        words.encode(alt.X("w:Q"), alt.Y("place:Q"), text=alt.Text("label:N"), color=colour, tooltip=tip),
        room.encode(alt.X("w:Q"), tooltip=alt.TooltipValue(None)),
    ]


def _marks(rows: Sequence[Row], palette: Palette, *, top: float) -> list[Any]:
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
        *_flags(rows, palette, top=top),
    ]


def _flags(rows: Sequence[Row], palette: Palette, *, top: float) -> list[Any]:
    """The names of marks above the plot, each with a line down to its mark; beside it they would cover other marks."""
    inks = _word_colours(palette)
    placed = [{**row, "line": line, "top": top, "ink": inks[row["kind"]]} for row, line in flag_lines(rows)]
    fill = alt.Fill("ink:N", scale=None)
    layers: list[Any] = []
    for line in sorted({row["line"] for row in placed}):
        mine = alt.Chart(rows_data([row for row in placed if row["line"] == line]))
        height = -8 - 15 * line
        words = mine.mark_text(align="left", baseline="middle", dx=4, fontSize=12, fontWeight=600, clip=False)
        pole = mine.mark_rule(strokeDash=[1, 3], opacity=0.8)
        ink = alt.Stroke("ink:N", scale=None)
        layers.append(pole.encode(alt.X("w:Q"), ink, y=alt.value(height - 6), y2=alt.value(0)))
        layers.append(
            words.encode(
                alt.X("w:Q"), fill, y=alt.value(height), text=alt.Text("label:N"), tooltip=alt.TooltipValue(None)
            )
        )
    if placed:
        pole = alt.Chart(rows_data(placed)).mark_rule(strokeDash=[1, 3], opacity=0.8)
        ink = alt.Stroke("ink:N", scale=None)
        layers.insert(0, pole.encode(alt.X("w:Q"), alt.Y("top:Q"), alt.Y2("value:Q"), ink))
    return layers


def flag_lines(rows: Sequence[Row]) -> list[tuple[Row, int]]:
    """The marks with a name, and the line above the plot (0 is the lowest) on which it covers no name and no pole.

    A name begins at its pole and reaches to the right. It stands one line higher if it would reach another's pole.
    """
    found: list[tuple[Row, int]] = []
    for row in sorted((row for row in rows if row["label"]), key=lambda row: -row["w"]):
        end = row["w"] * NARROW + len(row["label"]) * LETTER + 8
        reached = [line for other, line in found if other["w"] * NARROW < end]
        found.append((row, max(reached, default=-1) + 1))
    return found


def _movable(palette: Palette) -> list[Any]:
    """The rule and the point of the chosen w; ``at_weight`` fills in their row."""
    data = alt.NamedData(MOVABLE)
    return [
        alt.Chart(data).mark_rule(color=palette.ink, strokeWidth=1, opacity=0.6).encode(alt.X("w:Q")),
        alt.Chart(data)
        .mark_point(filled=True, color=palette.ink, size=90, opacity=1)
        .encode(alt.X("w:Q"), alt.Y("value:Q")),
    ]


def at_weight(figure: Figure, row: Row | None) -> Figure:
    """The chart with the chosen w and its value. Only named data change, so the browser keeps the chart."""
    return {**figure, "datasets": {**figure.get("datasets", {}), MOVABLE: [] if row is None else [dict(row)]}}


def _groups(rows: Sequence[Row], palette: Palette) -> tuple[list[str], list[str], list[str]]:
    """The kinds that occur, single checkpoints and ensembles among them, with their colours and shapes."""
    groups = [*_SHAPES, "single, gold", "equal ensemble"]
    colours = {**_colours(palette), "single, gold": palette.icl, "equal ensemble": palette.labels[1]}
    shapes = {**_SHAPES, "single, gold": "circle", "equal ensemble": "cross"}
    known = [group for group in groups if any(row["kind"] == group for row in rows)]
    return known, [colours[group] for group in known], [shapes[group] for group in known]


@remembered
def value_chart(rows: Sequence[Row], palette: Palette, *, title: str = "Accuracy", row_height: int = 26) -> Figure:
    """A measure of every fusion and every baseline, one line each, with its interval.

    Args:
        rows: ``name``, ``value``, ``low``, ``high`` (fractions), ``kind`` as in the cost plane.
        palette: colours of the theme.
        title: of the horizontal axis.
        row_height: pixels per line.
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
    y = alt.Y("name:N", sort=names, title=None, axis=names_axis())
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
    """Accuracy against the operations of one prompt, both as in the paper's Table 1.

    Args:
        rows: ``tflops`` (a positive number), ``value``, ``low``, ``high``, ``name``, ``kind``, ``label``.
        palette: colours of the theme.
        title: of the vertical axis.
        height: of the plot, pixels.
    """
    known, colours, shapes = _groups(rows, palette)
    low, high = percent_domain([row["low"] for row in rows], [row["high"] for row in rows])
    costs = [row["tflops"] for row in rows]
    cheapest, dearest = (float(f"{edge:.1g}") for edge in (min(costs) / 1.6, max(costs) * 1.8))
    x = alt.X(
        "tflops:Q",
        title="TFLOPs of one prompt",
        scale=alt.Scale(type="log", domain=[cheapest, dearest], nice=False),
        axis=alt.Axis(format="~r", values=round_values(cheapest, dearest)),
    )
    legend = alt.Legend(title=None, orient="top", columns=COLUMNS)
    y = alt.Y("value:Q", title=title, scale=alt.Scale(domain=[low, high], nice=False), axis=alt.Axis(format=".0%"))
    base = alt.Chart(rows_data(rows))
    colour = alt.Color(
        "kind:N",
        sort=known,
        scale=alt.Scale(domain=known, range=colours),
        legend=legend,
    )
    shape = alt.Shape("kind:N", sort=known, scale=alt.Scale(domain=known, range=shapes), legend=legend)
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
        row_height: pixels per checkpoint.
    """
    tr = list(dict.fromkeys(row["tr"] for row in rows))
    tl = list(dict.fromkeys(row["tl"] for row in rows))
    base = alt.Chart(rows_data(rows)).encode(
        alt.X("tl:N", sort=tl, title="TL member", axis=names_axis(labelAngle=-60)),
        alt.Y("tr:N", sort=tr[::-1], title="TR member", axis=names_axis()),
        tooltip=[
            alt.Tooltip("tr:N", title="TR member"),
            alt.Tooltip("tl:N", title="TL member"),
            alt.Tooltip("value:Q", title=title, format=".1%"),
        ],
    )
    scale = ramp_scale(palette, nice=False)
    legend = alt.Legend(title=title, format=".0%", gradientLength=110)
    cells = base.mark_rect(stroke=palette.background, strokeWidth=1).encode(
        alt.Color("value:Q", scale=scale, legend=legend)
    )
    chosen = base.transform_filter("datum.chosen").mark_point(size=60, color=palette.tr, strokeWidth=2.5, opacity=1)
    return configured(alt.layer(cells, chosen).properties(height=max(120, row_height * len(tr))), palette)
