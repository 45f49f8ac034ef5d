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

__all__ = ["accumulated_chart", "occurrence_chart", "scatter_chart"]

_DASHES = ([1, 0], [6, 3], [2, 2], [10, 3, 2, 3], [4, 6], [1, 4])


@remembered
def occurrence_chart(rows: Sequence[Row], palette: Palette, *, row_height: int = 34) -> Figure:
    """Share of competing intervals of each family as a bar (paper Fig. 2, left).

    Args:
        rows: ``family``, ``ratio`` (fraction), ``text`` (its models).
        palette: colours of the theme.
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
    words = base.mark_text(align="left", dx=6, color=palette.ink).encode(text=alt.Text("ratio:Q", format=".0%"))
    height = max(90, row_height * len(rows))
    return configured(alt.layer(bars, words).properties(height=height), palette)


@remembered
def scatter_chart(rows: Sequence[Row], palette: Palette, *, height: int = 340) -> Figure:
    """Mean intensity against final ICL, one point a model (paper Fig. 2, right).

    Args:
        rows: ``model``, ``mean_intensity``, ``final_icl`` (fraction), ``text``.
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
    heights = apart([row["final_icl"] for row in rows], gap=gap)
    labels = [{**row, "final_icl": at} for row, at in zip(rows, heights, strict=True)]
    tooltip = [
        alt.Tooltip("model:N", title="Model"),
        alt.Tooltip("mean_intensity:Q", title="Mean intensity", format=".3f"),
        alt.Tooltip("final_icl:Q", title="Final ICL", format=".1%"),
        alt.Tooltip("text:N", title=" "),
    ]
    points = alt.Chart(rows_data(rows)).mark_point(filled=True, size=90, opacity=1, color=palette.icl)
    words = alt.Chart(rows_data(labels)).mark_text(align="left", dx=10, color=palette.ink)
    layers = alt.layer(points.encode(x, y, tooltip=tooltip), words.encode(x, y, text="model:N"))
    return configured(layers.properties(height=height), palette)


@remembered
def accumulated_chart(
    rows: Sequence[Row], axis: XAxis, palette: Palette, *, height: int = 300, phases: Sequence[Row] = ()
) -> Figure:
    """R of several models over training as steps (paper Figs. 4 to 6).

    Args:
        rows: ``model``, ``x``, ``value`` (fraction), ``text``, in the order of training.
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
    lines = (
        alt.Chart(rows_data(rows))
        .mark_line(interpolate="step-after", strokeWidth=2, color=palette.icl)
        .encode(axis.encode(), y, dash, detail="model:N")
    )
    points = (
        alt.Chart(rows_data(rows))
        .mark_point(filled=True, size=30, opacity=1, color=palette.icl)
        .encode(axis.encode(), y, tooltip=[alt.Tooltip("text:N", title=" "), alt.Tooltip("value:Q", format=".1%")])
    )
    layers: list[Any] = [*phase_shades(phases, axis, palette), lines, points]
    layers.append(_middle_labels(rows, models, axis, palette, height))
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
