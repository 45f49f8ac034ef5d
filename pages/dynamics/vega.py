"""Charts of single checkpoints, shares of predicted labels and confusion: pure functions from rows to Altair charts.

They compute no measure: shares come in as fractions, ready to draw.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    ink_on_ramp,
    label_colours,
    ramp_scale,
    remembered,
)

__all__ = ["confusion_chart", "label_share_chart"]


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
