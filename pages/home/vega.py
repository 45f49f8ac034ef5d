"""The grid of what is computed, models against tasks: a pure function from rows to an Altair chart.

It counts nothing: each row says its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from pages.ui.charts.marks import (
    Row,
    names_axis,
    rows_data,
)
from pages.ui.charts.theme import (
    Figure,
    Palette,
    configured,
    remembered,
)

__all__ = ["STATE_ORDER", "grid_chart"]

STATE_ORDER = ("complete", "partial", "missing", "failed")


@remembered
def grid_chart(rows: Sequence[Row], palette: Palette, *, row_height: int = 26) -> Figure:
    """What the store holds: models against tasks.

    Args:
        rows: ``model``, ``task``, ``state`` (complete, partial, missing), ``text`` (such as ``51/51``).
        palette: colours of the theme.
        row_height: pixels per model.
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
