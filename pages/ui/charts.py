"""The charts of ability curves and of single checkpoints: pure functions from plain rows to Altair charts.

They compute no measure: values and bands come in as fractions, ready to draw. Rows are dictionaries, so that the
same rows are the table below a chart and its CSV. The charts of competition are in ``charts_competition``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import altair as alt

from pages.ui.axes import XAxis, apart, free_spots, percent_domain
from pages.ui.theme import (
    ABILITIES,
    Figure,
    Palette,
    configured,
    ink_on_ramp,
    label_colours,
    named_rows,
    ramp_scale,
    remembered,
)

__all__ = [
    "PICK",
    "TIMELINE_STATES",
    "Row",
    "Style",
    "ability_chart",
    "confusion_chart",
    "dash_legend",
    "felt_points",
    "free_words",
    "grid_chart",
    "label_share_chart",
    "margin_words",
    "names_above",
    "names_axis",
    "phase_shades",
    "room_for_labels",
    "rows_data",
    "timeline_chart",
]

Row = Mapping[str, Any]
LABEL_ROOM = 92
"""Pixels to the right of the plot for direct labels."""
COLUMNS: Any = {"expr": "max(1, floor(width / 110))"}
"""Of a legend above a plot: as many as there is room for."""
WIDE = 640
"""A plot at least so wide, in pixels, has words where a narrow one has no room for them."""
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


def _dash(rows: Sequence[Row], palette: Palette) -> alt.StrokeDash:
    """Dash by ability for one model, by model where several share a chart."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    if len(models) <= 1:
        domain, dashes = list(ABILITIES), [[1, 0], [1, 0], [6, 3]]
        return alt.StrokeDash("ability:N", sort=domain, scale=alt.Scale(domain=domain, range=dashes), legend=None)
    dashes = [[1, 0], [6, 3], [2, 2], [10, 3, 2, 3], [4, 6], [1, 4]]
    scale = alt.Scale(domain=models, range=[dashes[index % len(dashes)] for index in range(len(models))])
    return alt.StrokeDash("model:N", sort=models, scale=scale, legend=dash_legend(models, palette))


def dash_legend(models: Sequence[str], palette: Palette, *, above: int = 0) -> alt.Legend:
    """Models by their dashes above the plot, where there is room for their names in any window."""
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
        boundaries: ``x``, ``name`` and ``text`` of a curriculum's phases, as rules where shades mean something else.
        notes: ``x``, ``value``, ``text`` and ``ability`` of words at the place they speak of.
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
    layers: list[Any] = [lines, *phase_shades(phases, axis, palette), *_boundaries(boundaries, axis, palette)]
    if references:
        rule = alt.Chart(rows_data(references)).mark_rule(strokeDash=[3, 3], color=palette.soft, opacity=0.8)
        layers.append(rule.encode(alt.Y("value:Q")))
    if style.bands:
        layers.append(_bands(kept, palette))
    layers.append(_points(kept, palette, pickable=style.pickable))
    if hollow := [row for row in rows if row["left_out"]]:
        layers.append(_hollow(hollow, palette))
    if style.labels:
        ends = _ends(kept, palette)
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
    """Checkpoints that belong in no line, each with its reason."""
    points = alt.Chart(rows_data(rows)).mark_point(filled=False, fill=palette.background, size=58, strokeWidth=1.8)
    return points.encode(
        alt.X("x:Q"), alt.Y("value:Q"), _colour(palette), _shape(), tooltip=_tooltip(rows, left_out=True)
    )


def _revision_tooltip(rows: Sequence[Row]) -> list[alt.Tooltip]:
    """The checkpoint's own name, where rows have one."""
    return [alt.Tooltip("revision:N", title="Revision")] if any(row.get("revision") for row in rows) else []


def _tooltip(rows: Sequence[Row], *, left_out: bool = False) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("model:N", title="Model"),
        alt.Tooltip("checkpoint:N", title="Checkpoint"),
        *_revision_tooltip(rows),
        alt.Tooltip("ability:N", title="Ability"),
        alt.Tooltip("value:Q", title="Value", format=".1%"),
        alt.Tooltip("low:Q", title="95 % from", format=".1%"),
        alt.Tooltip("high:Q", title="95 % to", format=".1%"),
        *([alt.Tooltip("left_out:N", title="Left out")] if left_out else []),
    ]


def felt_points(rows: Sequence[Row], x: Any, y: Any, *, tooltip: Sequence[alt.Tooltip]) -> Any:
    """Unseen marks at the rows of a line or an area, which itself would show its first row's numbers everywhere."""
    return alt.Chart(rows_data(rows)).mark_point(filled=True, size=90, opacity=0).encode(x, y, tooltip=list(tooltip))


def room_for_labels(axis: XAxis, palette: Palette, *, room: Any = LABEL_ROOM) -> Any:
    """An unseen mark to the right of the plot, so that panels with longer and shorter labels keep one width."""
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
    """Names of curves and of horizontal lines to the right of the plot, where they cover nothing, moved apart.

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


def _ends(rows: Sequence[Row], palette: Palette) -> list[dict[str, Any]]:
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
    """Names beside marks of a plot wherever they cover neither a mark nor one another; the others are not drawn.

    Args:
        rows: ``text``, ``ink``, the field of ``x``, ``across`` and ``down`` (the mark's place as shares of the plot).
        obstacles: places of all marks, as shares of the plot.
        palette: colours of the theme.
        x: horizontal channel.
        domain: of the vertical axis.
        size: narrowest width of the plot, and its height, pixels.
        italic: whether names are said in passing.
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
    return [area, *names_above([row for row in clipped if row.get("name")], palette)]


def names_above(rows: Sequence[Row], palette: Palette) -> list[Any]:
    """Names above the plot from where their stretch begins; neighbours stand on different lines."""
    layers = []
    for line in (0, 1):
        mine = alt.Chart(rows_data(rows[line::2])).mark_text(
            align="left", baseline="bottom", dx=2, color=palette.soft, fontSize=11, clip=False
        )
        if rows[line::2]:
            layers.append(mine.encode(alt.X("x:Q"), y=alt.value(-8 - 14 * line), text=alt.Text("name:N")))
    return layers


def _boundaries(rows: Sequence[Row], axis: XAxis, palette: Palette) -> list[Any]:
    inside = [row for row in rows if axis.domain[0] <= row["x"] < axis.domain[1]]
    if not inside:
        return []
    tip = [alt.Tooltip("text:N", title=" ")]
    rule = alt.Chart(rows_data(inside)).mark_rule(strokeDash=[2, 3], color=palette.soft)
    return [rule.encode(alt.X("x:Q"), tooltip=tip), *names_above(inside, palette)]


NARROWEST = 150
"""Of a plot at full width on a telephone, pixels."""


def _notes(
    rows: Sequence[Row],
    curves: Sequence[Row],
    axis: XAxis,
    *,
    palette: Palette,
    domain: tuple[float, float],
    height: int,
) -> list[Any]:
    """Words beside the points that they speak of, where they cover no curve."""
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


def along(path: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Places on the straight lines between neighbours, near enough to each other that no word fits between."""
    return [
        (x + (x2 - x) * part / 40, y + (y2 - y) * part / 40)
        for (x, y), (x2, y2) in itertools.pairwise(path)
        for part in range(41)
    ]


@remembered
def label_share_chart(rows: Sequence[Row], palette: Palette, *, title: str | None = None, height: int = 180) -> Figure:
    """How often each label is predicted at each checkpoint, stacked to 100 %, with the gold shares as rules.

    Args:
        rows: ``checkpoint`` (in order), ``label``, ``share`` (fraction).
        palette: colours of the theme.
        title: what the names of checkpoints count.
        height: of the plot, pixels.
    """
    checkpoints = list(dict.fromkeys(row["checkpoint"] for row in rows))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    colours = label_colours(labels, palette)
    edge = palette.soft if set(colours) & set(palette.named.values()) else palette.background
    chart = (
        alt.Chart(rows_data(rows))
        .mark_bar(stroke=edge, strokeWidth=0.6)
        .encode(
            alt.X("checkpoint:N", sort=checkpoints, title=title, axis=alt.Axis(labelAngle=-60, labelOverlap=True)),
            alt.Y("share:Q", title="Share of predictions", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1])),
            alt.Color(
                "label:N",
                sort=labels,
                scale=alt.Scale(domain=labels, range=colours),
                legend=alt.Legend(
                    title=None,
                    orient="top",
                    columns=3,
                    symbolType="square",
                    symbolStrokeColor=edge,
                    symbolStrokeWidth=0.8,
                    labelLimit=90,
                ),
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
        alt.X("predicted:N", sort=labels, title="Predicted", axis=names_axis(labelAngle=-35, orient="top")),
        alt.Y("gold:N", sort=labels, title="Gold", axis=names_axis()),
    )
    share = alt.Color(
        "share:Q",
        scale=ramp_scale(palette, domain=[0, 1]),
        legend=None,
    )
    tooltip = [
        alt.Tooltip("gold:N", title="Gold"),
        alt.Tooltip("predicted:N", title="Predicted"),
        alt.Tooltip("count:Q", title="Examples", format=",d"),
        alt.Tooltip("share:Q", title="Share of the gold label", format=".1%"),
    ]
    cells = base.mark_rect(stroke=palette.background, strokeWidth=2).encode(share, tooltip=tooltip)
    contrast = ink_on_ramp(palette, "share")
    counts = base.mark_text(fontSize=12).encode(text=alt.Text("count:Q", format=",d"), color=contrast)
    return configured(alt.layer(cells, counts).properties(height=max(height, 20 * len(labels))), palette)


def names_axis(**options: Any) -> alt.Axis:
    """An axis of names: those that would touch are left out, and long ones are cut where the window is narrow."""
    limit: Any = {"expr": "windowSize()[0] < 500 ? 104 : 200"}
    return alt.Axis(labelLimit=limit, labelOverlap=True, **options)


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
        alt.X("task:N", sort=tasks, title=None, axis=names_axis(orient="top", labelAngle=-60)),
        alt.Y("model:N", sort=models, title=None, axis=names_axis()),
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
    hollow = alt.condition("datum.state == 'missing'", alt.value(0.0), alt.value(1.0))
    cells = base.mark_rect(strokeWidth=1, stroke=palette.grid, cornerRadius=3).encode(colour, fillOpacity=hollow)
    ink = alt.condition("datum.state == 'complete'", alt.value(palette.background), alt.value(palette.ink))
    fits: Any = {"expr": "bandwidth('x') < 34 ? 0 : 1"}
    said = base.transform_filter("datum.text !== ''")
    words = said.mark_text(fontSize=11, opacity=fits).encode(text=alt.Text("text:N"), color=ink)
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
HOLLOW = ("missing", "flagged", "not chosen")
"""The states in which nothing of a checkpoint is in the curves."""


@remembered
def timeline_chart(rows: Sequence[Row], axis: XAxis, palette: Palette, *, height_per_model: int = 40) -> Figure:
    """The checkpoints on their training axis, each with its state as colour and shape.

    Args:
        rows: ``model``, ``x``, ``checkpoint``, ``revision``, ``name``, ``state`` (of TIMELINE_STATES), ``text`` (one
            sentence).
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
    legend = alt.Legend(title=None, orient="top", symbolSize=110, columns=COLUMNS)
    picked = alt.selection_point(name=PICK, fields=["name"], on="click", empty=False, toggle=False)
    fills = [palette.background if state in HOLLOW else colours[state] for state in states]
    fill_scale = alt.Scale(domain=states, range=fills)
    chart = (
        alt.Chart(rows_data(rows))
        .mark_point(strokeWidth=1.8, opacity=1, fillOpacity=1)
        .encode(
            axis.encode(),
            alt.Y("model:N", sort=models, title=None, axis=names_axis(grid=True)),
            alt.Stroke("state:N", sort=states, legend=legend, scale=colour_scale),
            alt.Fill("state:N", sort=states, legend=legend, scale=fill_scale),  # one legend: field and title are one
            alt.Shape("state:N", sort=states, legend=legend, scale=shape_scale),
            size=alt.condition("datum.state == 'not chosen'", alt.value(28), alt.value(120)),
            tooltip=[
                alt.Tooltip("model:N", title="Model"),
                alt.Tooltip("checkpoint:N", title="Checkpoint"),
                *_revision_tooltip(rows),
                alt.Tooltip("state:N", title="State"),
                alt.Tooltip("text:N", title=" "),
            ],
        )
        .add_params(picked)
        .properties(height=max(height_per_model, height_per_model * len(models)))
    )
    return configured(chart, palette)
