"""The charts of ability curves and of single checkpoints: pure functions from plain rows to Altair charts.

They compute no measure: values and bands come in as fractions, ready to draw. Rows are dictionaries, so that the
same rows are the table below a chart and its CSV. The charts of competition are in ``charts_competition``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import altair as alt

from pages.ui.axes import XAxis, apart, percent_domain
from pages.ui.theme import ABILITIES, Figure, Palette, configured, named_rows, remembered

__all__ = [
    "PICK",
    "TIMELINE_STATES",
    "Row",
    "Style",
    "ability_chart",
    "confusion_chart",
    "grid_chart",
    "label_share_chart",
    "phase_shades",
    "room_for_labels",
    "rows_data",
    "timeline_chart",
]

Row = Mapping[str, Any]
LABEL_ROOM = 84
"""Pixels to the right of the plot for direct labels."""
PICK = "pick"
"""Name of the selection that reruns a page when a mark is clicked."""


@dataclass(frozen=True, slots=True)
class Style:
    """How an ability chart is drawn.

    Attributes:
        height: of the plot, pixels.
        bands: draw the intervals.
        labels: write the names beside the ends of the lines.
        x_labels: write ticks and title of the horizontal axis.
        domain: of the vertical axis, None for what the rows need.
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


rows_data = named_rows
"""Rows as the data of one chart."""


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


def _dash(rows: Sequence[Row]) -> alt.StrokeDash:
    """Dash by ability for one model, by model where several share a chart."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    if len(models) <= 1:
        domain, dashes = list(ABILITIES), [[1, 0], [1, 0], [6, 3]]
        return alt.StrokeDash("ability:N", sort=domain, scale=alt.Scale(domain=domain, range=dashes), legend=None)
    dashes = [[1, 0], [6, 3], [2, 2], [10, 3, 2, 3], [4, 6], [1, 4]]
    scale = alt.Scale(domain=models, range=[dashes[index % len(dashes)] for index in range(len(models))])
    return alt.StrokeDash("model:N", sort=models, scale=scale, legend=None)


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
            (fractions), ``checkpoint`` (words), ``left_out`` ("" or the reason; drawn hollow, outside the line).
        axis: shared horizontal axis.
        palette: colours of the theme.
        style: sizes and switches.
        references: ``value`` (fraction) and ``text`` of horizontal lines, such as chance and majority.
        phases: ``x``, ``x2``, ``text`` and ``strength`` (0 to 1) of shaded intervals.
        boundaries: ``x``, ``name`` and ``text`` of a curriculum's phases, as rules where shades mean something else.
        notes: ``x``, ``value``, ``text``, ``ability`` and ``dy`` (pixels) of words at the place they speak of.
    """
    low, high = _y(style, rows, references)
    kept = [row for row in rows if not row["left_out"]]
    x = axis.encode(title=style.x_labels and style.labels, labels=style.x_labels)
    y_axis = alt.Axis(format=".0%", tickCount=5, minExtent=40, maxExtent=40)
    y = alt.Y("value:Q", title=style.title, scale=alt.Scale(domain=[low, high], nice=False, clamp=True), axis=y_axis)
    lines = (
        alt.Chart(rows_data(kept))
        .mark_line(strokeWidth=2, interpolate="linear")
        .encode(x, y, _colour(palette), _dash(rows), detail="model:N")
    )
    layers: list[Any] = [lines, *phase_shades(phases, axis, palette), *_boundaries(boundaries, axis, palette)]
    layers += _references(references, axis, palette, gap=(high - low) * 14 / style.height)
    if style.bands:
        layers.append(_bands(kept, palette))
    layers.append(_points(kept, palette, pickable=style.pickable))
    if hollow := [row for row in rows if row["left_out"]]:
        layers.append(_hollow(hollow, palette))
    if style.labels:
        layers += [_end_labels(kept, palette, gap=(high - low) * 16 / style.height), room_for_labels(axis, palette)]
    if notes:
        layers.append(_notes(notes, palette))
    chart = alt.layer(*layers).properties(height=style.height)
    return configured(chart, palette)


def _bands(rows: Sequence[Row], palette: Palette) -> Any:
    return (
        alt.Chart(rows_data(rows))
        .mark_area(opacity=0.14, interpolate="linear")
        .encode(alt.X("x:Q"), alt.Y("low:Q"), alt.Y2("high:Q"), _colour(palette), detail="model:N")
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
            tooltip=_tooltip(),
        )
    )
    if not pickable:
        return points
    picked = alt.selection_point(name=PICK, fields=["model", "checkpoint"], on="click", empty=False)
    return points.encode(size=alt.condition(picked, alt.value(160), alt.value(58))).add_params(picked)


def _hollow(rows: Sequence[Row], palette: Palette) -> Any:
    """Checkpoints that belong in no line, each with its reason."""
    points = alt.Chart(rows_data(rows)).mark_point(filled=False, fill=palette.background, size=58, strokeWidth=1.8)
    return points.encode(alt.X("x:Q"), alt.Y("value:Q"), _colour(palette), _shape(), tooltip=_tooltip(left_out=True))


def _tooltip(*, left_out: bool = False) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("model:N", title="Model"),
        alt.Tooltip("checkpoint:N", title="Checkpoint"),
        alt.Tooltip("ability:N", title="Ability"),
        alt.Tooltip("value:Q", title="Value", format=".1%"),
        alt.Tooltip("low:Q", title="95 % from", format=".1%"),
        alt.Tooltip("high:Q", title="95 % to", format=".1%"),
        *([alt.Tooltip("left_out:N", title="Left out")] if left_out else []),
    ]


def room_for_labels(axis: XAxis, palette: Palette) -> Any:
    """An unseen mark to the right of the plot, so that panels with longer and shorter labels keep one width."""
    spot = alt.Chart(rows_data([{"x": axis.domain[1]}])).mark_point(xOffset=LABEL_ROOM, size=1, opacity=0)
    return spot.encode(alt.X("x:Q"), tooltip=alt.value(None))


def _end_labels(rows: Sequence[Row], palette: Palette, *, gap: float) -> Any:
    """The ability's (and model's) name at the right end of each line, moved apart where they would overlap."""
    several = len({row["model"] for row in rows}) > 1
    ends: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = (row["model"], row["ability"])
        if key not in ends or row["x"] >= ends[key]["x"]:
            ends[key] = row
    heights = apart([row["value"] for row in ends.values()], gap=gap)
    labels = [
        {**row, "value": height, "text": f"{row['ability']} {row['model']}" if several else row["ability"]}
        for row, height in zip(ends.values(), heights, strict=True)
    ]
    return (
        alt.Chart(rows_data(labels))
        .mark_text(align="left", dx=10, fontSize=13, fontWeight=600, limit=LABEL_ROOM)
        .encode(alt.X("x:Q"), alt.Y("value:Q"), _colour(palette), text="text:N")
    )


def _references(rows: Sequence[Row], axis: XAxis, palette: Palette, *, gap: float) -> list[Any]:
    if not rows:
        return []
    places = apart([row["value"] for row in rows], gap=gap)
    data = rows_data([{**row, "x": axis.domain[1], "place": at} for row, at in zip(rows, places, strict=True)])
    rule = alt.Chart(data).mark_rule(strokeDash=[3, 3], color=palette.soft, opacity=0.8).encode(alt.Y("value:Q"))
    words = (
        alt.Chart(data)
        .mark_text(align="right", baseline="bottom", dx=-6, dy=-2, color=palette.soft, fontSize=11)
        .encode(alt.X("x:Q"), alt.Y("place:Q"), text="text:N")
    )
    return [rule, words]


def phase_shades(rows: Sequence[Row], axis: XAxis, palette: Palette) -> list[Any]:
    """Shaded stretches of training, with their names where they have one."""
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
    words = (
        alt.Chart(data)
        .mark_text(align="left", baseline="top", dx=4, dy=4, color=palette.soft, fontSize=11)
        .encode(alt.X("x:Q"), y=alt.value(0), text="name:N")
    )
    return [area, words] if any(row.get("name") for row in clipped) else [area]


def _boundaries(rows: Sequence[Row], axis: XAxis, palette: Palette) -> list[Any]:
    inside = [row for row in rows if axis.domain[0] <= row["x"] < axis.domain[1]]
    if not inside:
        return []
    tip = [alt.Tooltip("text:N", title=" ")]
    rule = alt.Chart(rows_data(inside)).mark_rule(strokeDash=[2, 3], color=palette.soft)
    words = alt.Chart(rows_data(inside)).mark_text(
        align="left", baseline="top", dx=4, dy=4, color=palette.soft, fontSize=11
    )
    return [rule.encode(alt.X("x:Q"), tooltip=tip), words.encode(alt.X("x:Q"), y=alt.value(0), text="name:N")]


def _notes(rows: Sequence[Row], palette: Palette) -> Any:
    layers = []
    for row in rows:
        mark = {"align": row.get("align", "center"), "fontSize": 13, "fontStyle": "italic", "lineBreak": "\n"}
        text = (
            alt.Chart(rows_data([row]))
            .mark_text(**mark, dy=row["dy"], dx=row.get("dx", 0), baseline="middle")
            .encode(alt.X("x:Q"), alt.Y("value:Q"), _colour(palette), text="text:N")
        )
        halo = (
            alt.Chart(rows_data([row]))
            .mark_text(**mark, dy=row["dy"], dx=row.get("dx", 0), baseline="middle", stroke=palette.background)
            .encode(alt.X("x:Q"), alt.Y("value:Q"), alt.StrokeWidthValue(4), text="text:N")
        )
        layers += [halo, text]
    return alt.layer(*layers)


@remembered
def label_share_chart(rows: Sequence[Row], palette: Palette, *, height: int = 180) -> Figure:
    """How often each label is predicted at each checkpoint, stacked to 100 %, with the gold shares as rules.

    Args:
        rows: ``checkpoint`` (in order), ``label``, ``share`` (fraction).
        palette: colours of the theme.
        height: of the plot, pixels.
    """
    checkpoints = list(dict.fromkeys(row["checkpoint"] for row in rows))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    colours = [palette.labels[index % len(palette.labels)] for index in range(len(labels))]
    chart = (
        alt.Chart(rows_data(rows))
        .mark_bar(stroke=palette.background, strokeWidth=0.6)
        .encode(
            alt.X("checkpoint:N", sort=checkpoints, title=None, axis=alt.Axis(labelAngle=-60, labelOverlap=True)),
            alt.Y("share:Q", title="Share of predictions", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1])),
            alt.Color(
                "label:N",
                sort=labels,
                scale=alt.Scale(domain=labels, range=colours),
                legend=alt.Legend(title=None, orient="top", columns=3, symbolType="square", labelLimit=90),
            ),
            alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("checkpoint:N", title="Checkpoint"),
                alt.Tooltip("label:N", title="Label"),
                alt.Tooltip("share:Q", title="Share", format=".1%"),
            ],
        )
        .properties(height=height)
    )
    return configured(chart, palette)


@remembered
def confusion_chart(rows: Sequence[Row], palette: Palette, *, height: int = 220) -> Figure:
    """Gold label against predicted label.

    Args:
        rows: ``gold``, ``predicted`` (label words), ``count``, ``share`` (of the gold label's examples, fraction).
        palette: colours of the theme.
        height: of the plot, pixels.
    """
    labels = list(dict.fromkeys(row["gold"] for row in rows))
    base = alt.Chart(rows_data(rows)).encode(
        alt.X("predicted:N", sort=labels, title="Predicted", axis=alt.Axis(labelAngle=-35, orient="top")),
        alt.Y("gold:N", sort=labels, title="Gold"),
    )
    share = alt.Color(
        "share:Q",
        scale=alt.Scale(domain=[0, 1], range=list(palette.ramp)),
        legend=None,
    )
    tooltip = [
        alt.Tooltip("gold:N", title="Gold"),
        alt.Tooltip("predicted:N", title="Predicted"),
        alt.Tooltip("count:Q", title="Examples"),
        alt.Tooltip("share:Q", title="Share of the gold label", format=".1%"),
    ]
    cells = base.mark_rect(stroke=palette.background, strokeWidth=2).encode(share, tooltip=tooltip)
    contrast = alt.condition("datum.share > 0.5", alt.value(palette.background), alt.value(palette.ink))
    counts = base.mark_text(fontSize=12).encode(text="count:Q", color=contrast)
    return configured(alt.layer(cells, counts).properties(height=height), palette)


STATE_ORDER = ("complete", "partial", "missing", "failed")


@remembered
def grid_chart(rows: Sequence[Row], palette: Palette, *, row_height: int = 26) -> Figure:
    """What the store holds: models against tasks.

    Args:
        rows: ``model``, ``task``, ``state`` (complete, partial, missing), ``text`` (such as ``51/51``).
        palette: colours of the theme.
        row_height: pixels a model.
    """
    models = list(dict.fromkeys(row["model"] for row in rows))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    base = alt.Chart(rows_data(rows)).encode(
        alt.X("task:N", sort=tasks, title=None, axis=alt.Axis(orient="top", labelAngle=-35, labelLimit=140)),
        alt.Y("model:N", sort=models, title=None, axis=alt.Axis(labelLimit=200)),
        tooltip=[
            alt.Tooltip("model:N", title="Model"),
            alt.Tooltip("task:N", title="Task"),
            alt.Tooltip("state:N", title="State"),
            alt.Tooltip("text:N", title="Checkpoints with results"),
        ],
    )
    colour = alt.Color(
        "state:N",
        scale=alt.Scale(domain=list(STATE_ORDER[:3]), range=list(palette.states[:3])),
        legend=alt.Legend(title=None, orient="bottom", symbolType="square"),
    )
    hollow = alt.condition("datum.state == 'missing'", alt.value(0.0), alt.value(0.85))
    cells = base.mark_rect(strokeWidth=1, stroke=palette.grid, cornerRadius=3).encode(colour, fillOpacity=hollow)
    ink = alt.condition("datum.state == 'complete'", alt.value(palette.background), alt.value(palette.ink))
    words = base.mark_text(fontSize=11).encode(text="text:N", color=ink)
    height = max(row_height, row_height * len(models))
    return configured(alt.layer(cells, words).properties(height=height), palette)


TIMELINE_STATES = MappingProxyType(
    {
        "stored": "circle",
        "partial": "triangle-up",
        "missing": "circle",
        "queued": "stroke",
        "running": "diamond",
        "failed": "cross",
        "flagged": "square",
        "not chosen": "circle",
    }
)
"""The states of a checkpoint on the timeline, each with its shape."""


@remembered
def timeline_chart(rows: Sequence[Row], axis: XAxis, palette: Palette, *, height_per_model: int = 40) -> Figure:
    """The checkpoints on their training axis, each with its state as colour and shape.

    Args:
        rows: ``model``, ``x``, ``checkpoint``, ``name``, ``state`` (of TIMELINE_STATES), ``text`` (one sentence).
        axis: horizontal axis.
        palette: colours of the theme.
        height_per_model: pixels.
    """
    models = list(dict.fromkeys(row["model"] for row in rows))
    states = [state for state in TIMELINE_STATES if any(row["state"] == state for row in rows)]
    complete, partial, _, failed = palette.states
    colours = {"stored": complete, "partial": partial, "running": palette.tr, "failed": failed, "flagged": failed}
    colours |= {"missing": palette.ink, "queued": palette.tr, "not chosen": palette.soft}
    colour_scale = alt.Scale(domain=states, range=[colours[state] for state in states])
    shape_scale = alt.Scale(domain=states, range=[TIMELINE_STATES[state] for state in states])
    legend = alt.Legend(title=None, orient="top", symbolSize=110)
    picked = alt.selection_point(name=PICK, fields=["name"], on="click", empty=False, toggle=False)
    hollow = "indexof(['missing', 'flagged', 'not chosen'], datum.state) >= 0"
    chart = (
        alt.Chart(rows_data(rows))
        .mark_point(strokeWidth=1.8)
        .encode(
            axis.encode(),
            alt.Y("model:N", sort=models, title=None, axis=alt.Axis(grid=True, labelLimit=180)),
            alt.Color("state:N", sort=states, legend=legend, scale=colour_scale),
            alt.Shape("state:N", sort=states, legend=legend, scale=shape_scale),
            fill=alt.when(hollow)
            .then(alt.value(palette.background))
            .otherwise(alt.Fill("state:N", sort=states, scale=colour_scale, legend=None)),
            size=alt.condition("datum.state == 'not chosen'", alt.value(28), alt.value(120)),
            tooltip=[
                alt.Tooltip("model:N", title="Model"),
                alt.Tooltip("checkpoint:N", title="Checkpoint"),
                alt.Tooltip("state:N", title="State"),
                alt.Tooltip("text:N", title=" "),
            ],
        )
        .add_params(picked)
        .properties(height=max(height_per_model, height_per_model * len(models)))
    )
    return configured(chart, palette)
