"""The charts that set models side by side: pure functions from plain rows to Altair charts; they compute no measure.

Models differ by position, dash and label, never by colour. Source of what is drawn: arXiv 2406.14022, Figs. 2-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from pages.ui.axes import XAxis, apart, percent_domain
from pages.ui.charts import Row, phase_shades, rows_data
from pages.ui.theme import Figure, Palette, configured, remembered

__all__ = ["accumulated_chart", "level_chart", "occurrence_chart", "scatter_chart"]

_DASHES = ([1, 0], [6, 3], [2, 2], [10, 3, 2, 3], [4, 6], [1, 4])


@remembered
def occurrence_chart(
    rows: Sequence[Row], palette: Palette, *, runs: Sequence[Row] = (), row_height: int = 34
) -> Figure:
    """Share of competing intervals of each family as a bar (paper Fig. 2, left).

    Args:
        rows: ``family``, ``ratio`` (fraction), ``text`` (its models).
        palette: colours of the theme.
        runs: the same of what a bar is the mean of, drawn as dots.
        row_height: pixels a family.
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
        alt.Y("family:N", sort=order, title=None, axis=alt.Axis(labelLimit=180)),
        tooltip=[
            alt.Tooltip("family:N", title="Family"),
            alt.Tooltip("ratio:Q", title="Ratio", format=".1%"),
            alt.Tooltip("text:N", title="Mean of"),
        ],
    )
    bars = base.mark_bar(color=palette.shade, opacity=0.85, height={"band": 0.6})
    farthest = {row["family"]: row["ratio"] for row in sorted((*rows, *runs), key=lambda row: row["ratio"])}
    said = [
        {**row, "end": farthest[row["family"]], "said": f"{'mean ' if runs else ''}{row['ratio']:.0%}"} for row in rows
    ]
    words = (
        alt.Chart(rows_data(said))
        .mark_text(align="left", dx=9, color=palette.ink)
        .encode(alt.X("end:Q"), alt.Y("family:N", sort=order), text="said:N")
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
def level_chart(
    rows: Sequence[Row], palette: Palette, *, title: str, x_title: str, percent: bool, height: int = 190
) -> Figure:
    """A measure at each level of a factor: the mean over training seeds as a bar, each seed as a dot.

    Args:
        rows: ``level`` (words, with a second line after ``|``), ``value``, ``run`` (False for the mean), ``model``; in
            the order of levels.
        palette: colours of the theme.
        title: of the vertical axis.
        x_title: of the horizontal one.
        percent: whether values are fractions.
        height: of the plot, pixels.
    """
    levels = list(dict.fromkeys(row["level"] for row in rows))
    written = ".0%" if percent else ".2f"
    wrapped = alt.Axis(labelAngle=0, labelExpr="split(datum.label, '|')", labelLimit=150, labelOverlap=False)
    x = alt.X("level:N", sort=levels, title=x_title, axis=wrapped)
    top = max([0.05, *(row["value"] for row in rows)]) * 1.08  # room for the highest dot
    scale = alt.Scale(domain=[0, top], nice=False)
    y = alt.Y("value:Q", title=title, scale=scale, axis=alt.Axis(format=written, tickCount=4))
    tip = [alt.Tooltip("model:N", title="Model"), alt.Tooltip("value:Q", title=title, format=written)]
    means = alt.Chart(rows_data([row for row in rows if not row["run"]]))
    runs = alt.Chart(rows_data([row for row in rows if row["run"]]))
    bars = means.mark_bar(color=palette.shade, opacity=0.55, width={"band": 0.5}).encode(x, y, tooltip=tip)
    dots = runs.mark_point(filled=True, size=46, color=palette.ink, opacity=0.85).encode(x, y, tooltip=tip)
    return configured(alt.layer(bars, dots).properties(height=height), palette)


@remembered
def scatter_chart(rows: Sequence[Row], palette: Palette, *, height: int = 340) -> Figure:
    """Mean intensity against final ICL, one point a model (paper Fig. 2, right).

    Args:
        rows: ``model``, ``mean_intensity``, ``final_icl`` (fraction), ``text``, ``run`` (of what a single training
            run is one; "" for a model, which alone is labelled).
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
    gap = (high - low) * 15 / height
    means = [row for row in rows if not row["run"]]
    heights = apart([row["final_icl"] for row in means], gap=gap)
    labels = [{**row, "final_icl": at} for row, at in zip(means, heights, strict=True)]
    tooltip = [
        alt.Tooltip("model:N", title="Model"),
        alt.Tooltip("mean_intensity:Q", title="Mean intensity", format=".3f"),
        alt.Tooltip("final_icl:Q", title="Final ICL", format=".1%"),
        alt.Tooltip("text:N", title=" "),
    ]
    points = alt.Chart(rows_data(means)).mark_point(filled=True, size=90, opacity=1, color=palette.icl)
    single = alt.Chart(rows_data([row for row in rows if row["run"]])).mark_point(size=34, color=palette.soft)
    words = alt.Chart(rows_data(labels)).mark_text(align="left", dx=10, color=palette.ink)
    layers = alt.layer(
        single.encode(x, y, tooltip=tooltip), points.encode(x, y, tooltip=tooltip), words.encode(x, y, text="model:N")
    )
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
    dash = alt.StrokeDash(
        "model:N",
        sort=models,
        scale=alt.Scale(domain=models, range=[_DASHES[index % len(_DASHES)] for index in range(len(models))]),
        legend=None,
    )
    y_axis = alt.Axis(format=".0%", tickCount=5, minExtent=40, maxExtent=40)
    y = alt.Y("value:Q", title="Accumulated intensity R", scale=alt.Scale(domain=[0, 1]), axis=y_axis)
    means = [row for row in rows if not row["thin"]]
    lines = [
        alt.Chart(rows_data(part))
        .mark_line(interpolate="step-after", strokeWidth=width, color=palette.icl, opacity=opacity)
        .encode(axis.encode(), y, dash, detail="run:N")
        for part, width, opacity in ((means, 2, 1), ([row for row in rows if row["thin"]], 1, 0.35))
        if part
    ]
    points = (
        alt.Chart(rows_data(means))
        .mark_point(filled=True, size=30, opacity=1, color=palette.icl)
        .encode(axis.encode(), y, tooltip=[alt.Tooltip("text:N", title=" "), alt.Tooltip("value:Q", format=".1%")])
    )
    layers: list[Any] = [*lines, *phase_shades(phases, axis, palette), points]
    layers.append(_middle_labels(means, models, axis, palette, height))
    return configured(alt.layer(*layers).properties(height=height), palette)


def _middle_labels(rows: Sequence[Row], models: Sequence[str], axis: XAxis, palette: Palette, height: int) -> Any:
    """Each model's name at its last rise: all curves end at 100 %, so their ends would coincide."""
    spots = []
    for model in models:
        mine = [row for row in rows if row["model"] == model]
        halfway = next((row for row in mine if row["value"] >= 0.5), mine[-1])
        spots.append(halfway)
    heights = apart([row["value"] for row in spots], gap=17 / height)
    placed = [{**row, "value": at, "text": row["model"]} for row, at in zip(spots, heights, strict=True)]
    middle = sum(axis.domain) / 2
    layers = []
    for align, dx, part in (
        ("left", 8, [row for row in placed if row["x"] <= middle]),
        ("right", -8, [row for row in placed if row["x"] > middle]),
    ):
        mark: dict[str, Any] = {"align": align, "dx": dx, "dy": -8, "fontSize": 12, "fontWeight": 600}
        base = alt.Chart(rows_data(part)).encode(axis.encode(), alt.Y("value:Q"), text="text:N")
        layers += [base.mark_text(**mark, stroke=palette.background, strokeWidth=4)]
        layers += [base.mark_text(**mark, color=palette.ink)]
    return alt.layer(*layers)
