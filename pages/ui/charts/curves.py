"""The chart of ability curves: a pure function from plain rows to a chart in Altair.

It computes no measure: values and bands come in as fractions, ready to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from pages.ui.charts.axes import XAxis, percent_domain
from pages.ui.charts.marks import (
    LABEL_ROOM,
    NARROWEST,
    PICK,
    WIDE,
    Row,
    along,
    boundary_rules,
    dash_of_each,
    free_words,
    line_ends,
    margin_words,
    phase_shades,
    revision_tooltip,
    rows_data,
)
from pages.ui.charts.theme import (
    ABILITIES,
    Figure,
    Palette,
    configured,
    remembered,
)

__all__ = ["Style", "ability_chart"]


@dataclass(frozen=True, slots=True)
class Style:
    """How an ability chart is drawn.

    Attributes:
        height: of the plot, pixels.
        bands: draw the intervals.
        labels: write the names beside the ends of the lines.
        x_labels: write ticks and title of the horizontal axis.
        domain: of the vertical axis, None for the range of the rows.
        pickable: a click on a point selects its checkpoint.
        title: of the vertical axis.
    """

    height: int = 380
    bands: bool = True
    labels: bool = True
    x_labels: bool = True
    domain: tuple[float, float] | None = None
    pickable: bool = False
    title: str = "Accuracy"


def _colour(palette: Palette) -> alt.Color:
    return alt.Color(
        "ability:N", sort=list(ABILITIES), scale=alt.Scale(domain=list(ABILITIES), range=palette.abilities), legend=None
    )


def _shape() -> alt.Shape:
    return alt.Shape(
        "ability:N",
        scale=alt.Scale(domain=list(ABILITIES), range=["diamond", "circle", "square"]),
        sort=list(ABILITIES),
        legend=None,
    )


def _dash(rows: Sequence[Row], palette: Palette) -> alt.StrokeDash:
    """Dash by ability if the chart has one model, by model if it has several."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    if len(models) <= 1:
        domain, dashes = list(ABILITIES), [[1, 0], [1, 0], [6, 3]]
        return alt.StrokeDash("ability:N", sort=domain, scale=alt.Scale(domain=domain, range=dashes), legend=None)
    return dash_of_each("model", models, palette)


def _y(style: Style, rows: Sequence[Row], references: Sequence[Row]) -> tuple[float, float]:
    if style.domain is not None:
        return style.domain
    heights = [row["value"] for row in references]
    lows = [row["low"] if style.bands else row["value"] for row in rows]
    highs = [row["high"] if style.bands else row["value"] for row in rows]
    return percent_domain([*lows, *heights], [*highs, *heights])


@remembered
def ability_chart(
    rows: Sequence[Row],
    axis: XAxis,
    palette: Palette,
    *,
    style: Style = Style(),
    references: Sequence[Row] = (),
    phases: Sequence[Row] = (),
    boundaries: Sequence[Row] = (),
    notes: Sequence[Row] = (),
) -> Figure:
    """ICL, TR and TL over training with bands, direct labels and reference lines.

    Args:
        rows: one for each model, ability and checkpoint: ``model``, ``ability``, ``x``, ``value``, ``low``, ``high``
            (fractions), ``checkpoint`` (words), ``revision`` (its own name), ``left_out`` ("" or the
            reason; drawn hollow, outside the line).
        axis: shared horizontal axis.
        palette: colours of the theme.
        style: sizes and switches.
        references: ``value`` (fraction) and ``text`` of horizontal lines, such as chance and majority.
        phases: ``x``, ``x2``, ``text`` and ``strength`` (0 to 1) of shaded intervals.
        boundaries: ``x``, ``name`` and ``text`` of a curriculum's phases, drawn as rules if shades mean something else.
        notes: ``x``, ``value``, ``text`` and ``ability`` of words beside a point.
    """
    low, high = _y(style, rows, references)
    kept = [row for row in rows if not row["left_out"]]
    x = axis.encode(title=style.x_labels and style.labels, labels=style.x_labels)
    y_axis = alt.Axis(format=".0%", tickCount=5, minExtent=40, maxExtent=40)
    y = alt.Y("value:Q", title=style.title, scale=alt.Scale(domain=[low, high], nice=False, clamp=True), axis=y_axis)
    lines = (
        alt.Chart(rows_data(kept))
        .mark_line(strokeWidth=2, interpolate="linear")
        .encode(x, y, _colour(palette), _dash(rows, palette), detail=alt.Detail("model:N"))
    )
    layers: list[Any] = [lines, *phase_shades(phases, axis, palette), *boundary_rules(boundaries, axis, palette)]
    if references:
        rule = alt.Chart(rows_data(references)).mark_rule(strokeDash=[3, 3], color=palette.soft, opacity=0.8)
        layers.append(rule.encode(alt.Y("value:Q")))
    if style.bands:
        layers.append(_bands(kept, palette))
    layers.append(_points(kept, palette, pickable=style.pickable))
    if hollow := [row for row in rows if row["left_out"]]:
        layers.append(_hollow(hollow, palette))
    if style.labels:
        ends = line_ends(kept, palette)
        several: Any = {"expr": f"windowSize()[0] < {WIDE} ? {LABEL_ROOM} : 190"}
        room = several if len({row["model"] for row in kept}) > 1 else LABEL_ROOM
        layers += margin_words(
            ends, references, axis, palette=palette, domain=(low, high), height=style.height, room=room
        )
    if notes:
        layers += _notes(notes, kept, axis, palette=palette, domain=(low, high), height=style.height)
    return configured(alt.layer(*layers, height=style.height), palette)


def _bands(rows: Sequence[Row], palette: Palette) -> Any:
    return (
        alt.Chart(rows_data(rows))
        .mark_area(opacity=0.14, interpolate="linear")
        .encode(alt.X("x:Q"), alt.Y("low:Q"), alt.Y2("high:Q"), _colour(palette), detail=alt.Detail("model:N"))
    )


def _points(rows: Sequence[Row], palette: Palette, *, pickable: bool) -> Any:
    points = (
        alt.Chart(rows_data(rows))
        .mark_point(filled=True, size=58, strokeWidth=1.6, opacity=1)
        .encode(
            alt.X("x:Q"),
            alt.Y("value:Q"),
            _colour(palette),
            _shape(),
            tooltip=_tooltip(rows),
        )
    )
    if not pickable:
        return points
    picked = alt.selection_point(name=PICK, fields=["model", "checkpoint"], on="click", empty=False)
    return points.encode(size=alt.condition(picked, alt.value(160), alt.value(58))).add_params(picked)


def _hollow(rows: Sequence[Row], palette: Palette) -> Any:
    """Checkpoints that are part of no line, each with its reason."""
    points = alt.Chart(rows_data(rows)).mark_point(filled=False, fill=palette.background, size=58, strokeWidth=1.8)
    return points.encode(
        alt.X("x:Q"), alt.Y("value:Q"), _colour(palette), _shape(), tooltip=_tooltip(rows, left_out=True)
    )


def _tooltip(rows: Sequence[Row], *, left_out: bool = False) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("model:N", title="Model"),
        alt.Tooltip("checkpoint:N", title="Checkpoint"),
        *revision_tooltip(rows),
        alt.Tooltip("ability:N", title="Ability"),
        alt.Tooltip("value:Q", title="Value", format=".1%"),
        alt.Tooltip("low:Q", title="95 % from", format=".1%"),
        alt.Tooltip("high:Q", title="95 % to", format=".1%"),
        *([alt.Tooltip("left_out:N", title="Left out")] if left_out else []),
    ]


def _notes(
    rows: Sequence[Row],
    curves: Sequence[Row],
    axis: XAxis,
    *,
    palette: Palette,
    domain: tuple[float, float],
    height: int,
) -> list[Any]:
    """Words beside the points that they speak of, at places at which they cover no curve."""
    low, high = domain
    inks = dict(zip(ABILITIES, palette.abilities_words, strict=True))

    def place(x: float, value: float) -> tuple[float, float]:
        return axis.share(x), (high - value) / (high - low)

    spoken = [
        {**row, "ink": inks[row["ability"]]} | dict(zip(("across", "down"), place(row["x"], row["value"]), strict=True))
        for row in rows
    ]
    paths: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in curves:
        paths.setdefault((row["model"], row["ability"]), []).append(place(row["x"], row["value"]))
    marks = [spot for path in paths.values() for spot in along(path)]
    return free_words(spoken, marks, palette, x=alt.X("x:Q"), domain=domain, size=(NARROWEST, height), italic=True)
