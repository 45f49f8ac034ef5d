"""Checkpoints on their axis of training, each with its state: a pure function from rows to an Altair chart.

It knows no jobs and no results: each row says its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import altair as alt

from pages.ui.charts.axes import XAxis
from pages.ui.charts.marks import (
    COLUMNS,
    PICK,
    Row,
    names_axis,
    revision_tooltip,
    rows_data,
)
from pages.ui.charts.theme import (
    Figure,
    Palette,
    configured,
    remembered,
)

__all__ = ["HOLLOW", "TIMELINE_STATES", "timeline_chart"]

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
                *revision_tooltip(rows),
                alt.Tooltip("state:N", title="State"),
                alt.Tooltip("text:N", title=" "),
            ],
        )
        .add_params(picked)
        .properties(height=max(height_per_model, height_per_model * len(models)))
    )
    return configured(chart, palette)
