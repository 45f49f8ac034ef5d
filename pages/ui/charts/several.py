"""The charts that compare models: pure functions from plain rows to Altair charts; they compute no measure.

Models differ by position, dash and label, never by colour. Source of what is drawn: arXiv 2406.14022, Figs. 2-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from pages.ui.charts.axes import XAxis, percent_domain
from pages.ui.charts.marks import (
    NARROWEST,
    Row,
    dash_of_each,
    felt_points,
    free_words,
    margin_words,
    names_axis,
    phase_shades,
    rows_data,
)
from pages.ui.charts.theme import Figure, Palette, configured, remembered
from pages.ui.words.written import percent as in_words

__all__ = ["accumulated_chart", "accumulation_chart", "level_chart", "occurrence_chart", "scatter_chart"]


@remembered
def occurrence_chart(
    rows: Sequence[Row], palette: Palette, *, runs: Sequence[Row] = (), row_height: int = 34
) -> Figure:
    """Share of competing intervals of each family as a bar (paper Fig. 2, left).

    Args:
        rows: ``family``, ``ratio`` (fraction), ``text`` (its models).
        palette: colours of the theme.
        runs: the same for the runs that a bar is the mean of, drawn as dots.
        row_height: pixels per family.
    """
    x = alt.X(
        "ratio:Q",
        title="Share of intervals in which TR and TL compete",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%", tickCount=5, grid=True),
    )
    order = [row["family"] for row in sorted(rows, key=lambda row: -row["ratio"])]
    base = alt.Chart(rows_data(rows)).encode(
        x,
        alt.Y("family:N", sort=order, title=None, axis=names_axis()),
        tooltip=[
            alt.Tooltip("family:N", title="Family"),
            alt.Tooltip("ratio:Q", title="Ratio", format=".1%"),
            alt.Tooltip("text:N", title="Mean of"),
        ],
    )
    bars = base.mark_bar(color=palette.shade, opacity=0.85, height={"band": 0.6})
    said = [{**row, "edge": 1, "said": f"{'mean ' if runs else ''}{in_words(row['ratio'])}"} for row in rows]
    words = (  # to the right of the plot: beside a bar's end they would read as the value of a dot
        alt.Chart(rows_data(said))
        .mark_text(align="left", dx=9, color=palette.ink)
        .encode(alt.X("edge:Q"), alt.Y("family:N", sort=order), text=alt.Text("said:N"), tooltip=alt.TooltipValue(None))
    )
    dots = (
        alt.Chart(rows_data(runs))
        .mark_point(filled=True, size=34, color=palette.ink, opacity=0.75)
        .encode(
            alt.X("ratio:Q"),
            alt.Y("family:N", sort=order),
            tooltip=[alt.Tooltip("text:N", title="Run"), alt.Tooltip("ratio:Q", title="Ratio", format=".1%")],
        )
    )
    height = max(90, row_height * len(rows))
    layers = [bars, dots, words] if runs else [bars, words]
    return configured(alt.layer(*layers).properties(height=height), palette)


@remembered
def level_chart(rows: Sequence[Row], palette: Palette, *, title: str, percent: bool, row_height: int = 44) -> Figure:
    """A measure at each level of a factor: the mean over training seeds as a bar, each seed as a dot.

    Args:
        rows: ``level`` (words, with a second line after ``|``), ``value``, ``run`` (False for the mean), ``model``; in
            the order of levels.
        palette: colours of the theme.
        title: of the horizontal axis.
        percent: whether values are fractions.
        row_height: pixels per level.
    """
    levels = list(dict.fromkeys(row["level"] for row in rows))
    written = ".0%" if percent else "~f"
    wrapped = alt.Axis(labelExpr="split(datum.label, '|')", labelLimit=140, labelOverlap=False)
    y = alt.Y("level:N", sort=levels, title=None, axis=wrapped)
    top = max([0.05, *(row["value"] for row in rows)]) * 1.08  # room for the highest dot
    scale = alt.Scale(domain=[0, top], nice=False)
    x = alt.X("value:Q", title=title, scale=scale, axis=alt.Axis(format=written, tickCount=4, grid=True))
    tip = [
        alt.Tooltip("model:N", title="Model"),
        alt.Tooltip("value:Q", title=title, format=".1%" if percent else ".3f"),
    ]
    means = alt.Chart(rows_data([row for row in rows if not row["run"]]))
    runs = alt.Chart(rows_data([row for row in rows if row["run"]]))
    bars = means.mark_bar(color=palette.shade, opacity=0.55, height={"band": 0.5}).encode(x, y, tooltip=tip)
    dots = runs.mark_point(filled=True, size=46, color=palette.ink, opacity=0.85).encode(x, y, tooltip=tip)
    height = max(90, row_height * len(levels))
    layers = [bars, dots] if any(row["run"] for row in rows) else [bars]  # a screen reader would meet an empty group
    return configured(alt.layer(*layers).properties(height=height), palette)


@remembered
def scatter_chart(rows: Sequence[Row], palette: Palette, *, height: int = 340) -> Figure:
    """Mean intensity against final ICL, one point per model (paper Fig. 2, right).

    Args:
        rows: ``model``, ``mean_intensity``, ``final_icl`` (fraction), ``text``, ``run`` (for a single training run, the
            model that it belongs to; "" for a model; only models are labelled).
        palette: colours of the theme.
        height: of the plot, pixels.
    """
    low, high = percent_domain([row["final_icl"] for row in rows], [row["final_icl"] for row in rows])
    widest = max([0.05, *(row["mean_intensity"] for row in rows)])
    x = alt.X(
        "mean_intensity:Q",
        title="Mean competition intensity",
        scale=alt.Scale(domain=[0, widest * 1.25], nice=False),
        axis=alt.Axis(tickCount=6),
    )
    y = alt.Y(
        "final_icl:Q",
        title="ICL at the last checkpoint",
        scale=alt.Scale(domain=[low, high], nice=False),
        axis=alt.Axis(format=".0%", tickCount=5),
    )
    means = [row for row in rows if not row["run"]]

    def place(row: Row) -> tuple[float, float]:
        return row["mean_intensity"] / (widest * 1.25), (high - row["final_icl"]) / (high - low)

    labels = [
        {**row, "text": row["model"], "ink": palette.ink} | dict(zip(("across", "down"), place(row), strict=True))
        for row in means
    ]
    tooltip = [
        alt.Tooltip("model:N", title="Model"),
        alt.Tooltip("mean_intensity:Q", title="Mean intensity", format=".3f"),
        alt.Tooltip("final_icl:Q", title="Final ICL", format=".1%"),
        alt.Tooltip("text:N", title=" "),
    ]
    points = alt.Chart(rows_data(means)).mark_point(filled=True, size=90, opacity=1, color=palette.icl)
    runs = [row for row in rows if row["run"]]
    single = alt.Chart(rows_data(runs)).mark_point(size=34, color=palette.soft).encode(x, y, tooltip=tooltip)
    words = free_words(
        labels,
        [place(row) for row in rows],
        palette,
        x=alt.X("mean_intensity:Q"),
        domain=(low, high),
        size=(2 * NARROWEST, height),
    )
    layers = alt.layer(*([single] if runs else []), points.encode(x, y, tooltip=tooltip), *words)
    return configured(layers.properties(height=height), palette)


@remembered
def accumulated_chart(
    rows: Sequence[Row], axis: XAxis, palette: Palette, *, height: int = 300, phases: Sequence[Row] = ()
) -> Figure:
    """R of several models over training as steps (paper Figs. 4 to 6).

    Args:
        rows: ``model``, ``run``, ``x``, ``value`` (fraction), ``text``, ``thin`` (one of several runs of the model), in
            the order of training.
        axis: horizontal axis.
        palette: colours of the theme.
        height: of the plot, pixels.
        phases: ``x``, ``x2``, ``name``, ``text``, ``strength`` of a curriculum's phases.
    """
    models = list(dict.fromkeys(row["model"] for row in rows))
    dash = dash_of_each("model", models, palette, above=30 if phases else 0)
    y_axis = alt.Axis(format=".0%", tickCount=5, minExtent=40, maxExtent=40)
    y = alt.Y("value:Q", title="Accumulated intensity R", scale=alt.Scale(domain=[0, 1]), axis=y_axis)
    means = [row for row in rows if not row["thin"]]
    lines = [
        alt.Chart(rows_data(part))
        .mark_line(interpolate="step-after", strokeWidth=width, color=palette.icl, opacity=opacity)
        .encode(axis.encode(), y, dash, detail=alt.Detail("run:N"))
        for part, width, opacity in ((means, 2, 1), ([row for row in rows if row["thin"]], 1, 0.35))
        if part
    ]
    points = (
        alt.Chart(rows_data(means))
        .mark_point(filled=True, size=30, opacity=1, color=palette.icl)
        .encode(
            axis.encode(),
            y,
            tooltip=[alt.Tooltip("text:N", title=" "), alt.Tooltip("value:Q", title="R", format=".1%")],
        )
    )
    layers: list[Any] = [*lines, *phase_shades(phases, axis, palette), points]
    return configured(alt.layer(*layers).properties(height=height), palette)


@remembered
def accumulation_chart(
    cumulative: Sequence[Row], accuracy: Sequence[Row], axis: XAxis, *, palette: Palette, height: int = 100
) -> Figure:
    """Accumulated intensity R as steps, with ICL accuracy on the same 0 to 100 % axis (paper Fig. 3).

    Args:
        cumulative: ``x``, ``value`` (fraction) and ``text``, one per checkpoint; empty if R is undefined. Rows
            that are ``thin`` belong to single training runs, told apart by ``run``.
        accuracy: the same of ICL.
        axis: the axis of the trajectories above.
        palette: colours of the theme.
        height: of the plot, pixels.
    """
    y_axis = alt.Axis(format=".0%", tickCount=3, minExtent=40, maxExtent=40)
    y = alt.Y("value:Q", title="R and ICL", scale=alt.Scale(domain=[0, 1]), axis=y_axis)
    looks: Any = ((cumulative, palette.shade, "step-after"), (accuracy, palette.icl, "linear"))
    thin = [
        alt.Chart(rows_data([row for row in series if row.get("thin")]))
        .mark_line(color=colour, strokeWidth=1, opacity=0.4, interpolate=shape)
        .encode(axis.encode(), y, detail=alt.Detail("run:N"))
        for series, colour, shape in looks
        if any(row.get("thin") for row in series)
    ]
    cumulative, accuracy = ([row for row in series if not row.get("thin")] for series in (cumulative, accuracy))
    area = (
        alt.Chart(rows_data(cumulative))
        .mark_area(interpolate="step-after", color=palette.shade, opacity=0.25, line={"color": palette.shade})
        .encode(axis.encode(), y)
    )
    line = alt.Chart(rows_data(accuracy)).mark_line(color=palette.icl, strokeWidth=2).encode(axis.encode(), y)
    tip = [alt.Tooltip("text:N", title=" "), alt.Tooltip("value:Q", title="Value", format=".1%")]
    felt = felt_points([*cumulative, *accuracy], axis.encode(), y, tooltip=tip)
    named = [(series[-1], name) for series, name in ((cumulative, "R"), (accuracy, "ICL")) if series]
    ends = [{"value": row["value"], "text": name, "ink": palette.ink} for row, name in named]
    words = margin_words(ends, (), axis, palette=palette, domain=(0.0, 1.0), height=height)
    layers = alt.layer(area, line, *thin, felt, *words)
    return configured(layers.properties(height=height), palette)
