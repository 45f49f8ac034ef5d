"""The charts of competition: pure functions from plain rows to Altair charts; they compute no measure.

Sources of what is drawn: arXiv 2406.14022, Eqs. 1-4 and Fig. 3; the null band is this project's addition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from pages.ui.charts.axes import XAxis
from pages.ui.charts.marks import NARROWEST, PICK, Row, felt_points, free_words, names_axis, room_for_labels, rows_data
from pages.ui.charts.theme import Figure, Palette, configured, ink_on_ramp, ramp_scale, remembered

__all__ = ["epsilon_chart", "heat_map", "intensity_chart", "plane_chart"]


@remembered
def intensity_chart(rows: Sequence[Row], axis: XAxis, palette: Palette, *, height: int = 70) -> Figure:
    """C^S of each interval as a bar, which is as wide as the interval.

    Args:
        rows: ``x``, ``x2``, ``intensity``, ``text`` (the interval in words), ``certainty`` (fraction or None).
        axis: the axis of the trajectories above.
        palette: colours of the theme.
        height: of the plot, pixels.
    """
    y_axis = alt.Axis(tickCount=3, minExtent=40, maxExtent=40)
    bars = (
        alt.Chart(rows_data([row for row in rows if row["intensity"] > 0]))
        .mark_rect(color=palette.shade, stroke=palette.background, strokeWidth=1, opacity=0.9)
        .encode(
            axis.encode(title=False, labels=False),
            alt.X2("x2:Q"),
            alt.Y("intensity:Q", title="Intensity", axis=y_axis, scale=alt.Scale(domainMin=0, nice=True)),
            alt.Y2(datum=0),
            tooltip=_interval_tooltip(),
        )
    )
    layers = alt.layer(bars, room_for_labels(axis, palette))
    return configured(layers.properties(height=height), palette)


def _interval_tooltip(*, certainty: bool = True) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("text:N", title="Interval"),
        alt.Tooltip("delta_tr:Q", title="Change of TR", format="+.1%"),
        alt.Tooltip("delta_tl:Q", title="Change of TL", format="+.1%"),
        alt.Tooltip("intensity:Q", title="Intensity", format=".2f"),
        *([alt.Tooltip("certainty:Q", title="Competes in resamples", format=".0%")] if certainty else []),
    ]


@remembered
def plane_chart(rows: Sequence[Row], palette: Palette, *, epsilon: float, height: int = 320) -> Figure:
    """Changes of TR against changes of TL, one point per interval, with the band of epsilon around both zeros.

    Args:
        rows: ``delta_tr``, ``delta_tl``, ``competes`` (bool), ``text``, ``intensity``, ``certainty``.
        palette: colours of the theme.
        epsilon: fraction.
        height: of the plot, pixels.
    """
    reach = max([abs(row[name]) for row in rows for name in ("delta_tr", "delta_tl")] + [0.05]) * 1.15
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    x = alt.X("delta_tr:Q", title="Change of TR", scale=scale, axis=alt.Axis(format="+.0%", tickCount=5, grid=True))
    y = alt.Y("delta_tl:Q", title="Change of TL", scale=scale, axis=alt.Axis(format="+.0%", tickCount=5))
    corners = [
        {"x": -reach, "x2": -epsilon, "y": epsilon, "y2": reach},
        {"x": epsilon, "x2": reach, "y": -reach, "y2": -epsilon},
    ]
    fields = {"x": alt.X("x:Q", scale=scale), "y": alt.Y("y:Q", scale=scale), "x2": "x2:Q", "y2": "y2:Q"}
    compete = alt.Chart(rows_data(corners)).mark_rect(color=palette.shade, opacity=0.13).encode(**fields)
    cross = [
        {"x": -reach, "x2": reach, "y": -epsilon, "y2": epsilon},
        {"x": -epsilon, "x2": epsilon, "y": -reach, "y2": reach},
    ]
    band = alt.Chart(rows_data(cross)).mark_rect(color=palette.soft, opacity=0.2).encode(**fields)
    words: list[dict[str, Any]] = [
        {"delta_tr": -reach, "delta_tl": reach, "text": "TR falls, TL rises", "align": "left"},
        {"delta_tr": reach, "delta_tl": -reach, "text": "TR rises, TL falls", "align": "right"},
    ]
    corners_of_words: Any = zip(words, ("top", "bottom"), (6, -6), (6, -6), strict=True)
    named = [
        alt.Chart(rows_data([row]))
        .mark_text(align=row["align"], baseline=base, dx=dx, dy=dy, color=palette.soft, fontSize=11)
        .encode(x, y, text=alt.Text("text:N"))
        for row, base, dx, dy in corners_of_words
    ]
    points = alt.Chart(rows_data(rows)).encode(x, y, tooltip=_interval_tooltip())
    picked = alt.selection_point(name=PICK, fields=["interval"], on="click", empty=False)
    marks = points.mark_point(filled=True, stroke=palette.ink, strokeWidth=1.2, opacity=1).encode(
        fill=alt.condition("datum.competes", alt.value(palette.shade), alt.value(palette.background)),
        size=alt.condition(picked, alt.value(190), alt.value(80)),
    )
    layers = [compete, band, *named, marks.add_params(picked)]
    layers += _interval_names(rows, palette, reach=reach, height=height)
    return configured(alt.layer(*layers).properties(height=height), palette)


def _interval_names(rows: Sequence[Row], palette: Palette, *, reach: float, height: int) -> list[Any]:
    """The names of the competing intervals for which there is room; the words in the corners are obstacles too."""

    def place(row: Row) -> tuple[float, float]:
        return (row["delta_tr"] + reach) / (2 * reach), (reach - row["delta_tl"]) / (2 * reach)

    names = [
        {**row, "text": row["short"], "ink": palette.ink} | dict(zip(("across", "down"), place(row), strict=True))
        for row in rows
        if row["competes"]
    ]
    corners = [(part / 40, 0.04) for part in range(21)] + [(part / 40, 0.95) for part in range(20, 41)]
    marks = [*(place(row) for row in rows), *corners]
    x, size = alt.X("delta_tr:Q"), (NARROWEST + 60, height)
    return free_words(names, marks, palette, x=x, domain=(-reach, reach), size=size)


@remembered
def heat_map(rows: Sequence[Row], palette: Palette, *, counted: str = "Optimizer step", row_height: int = 26) -> Figure:
    """Task against interval: filled by intensity if the task's own TR and TL compete.

    Args:
        rows: ``task``, ``interval`` (short words, in order), ``competes``, ``intensity`` and as in the plane.
        palette: colours of the theme.
        counted: what the numbers in the interval's short name count.
        row_height: pixels per task.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    intervals = list(dict.fromkeys(row["short"] for row in rows))
    base = alt.Chart(rows_data(rows)).encode(
        alt.X(
            "short:N",
            sort=intervals,
            title=f"Interval from one checkpoint to the next ({counted[:1].lower()}{counted[1:]})",
            axis=names_axis(labelAngle=-60),
        ),
        alt.Y("task:N", sort=tasks, title=None, axis=names_axis()),
        tooltip=[alt.Tooltip("task:N", title="Task"), *_interval_tooltip(certainty=False)],
    )
    ramp = ramp_scale(palette, domain=[0, 1], clamp=True)
    cells = base.mark_rect(stroke=palette.background, strokeWidth=2).encode(
        alt.Color("intensity:Q", scale=ramp, legend=alt.Legend(title="Intensity", orient="right", gradientLength=80))
    )
    contrast = ink_on_ramp(palette, "intensity")
    marks = base.transform_filter("datum.competes").mark_point(filled=True, size=22, opacity=1).encode(color=contrast)
    height = max(row_height, row_height * len(tasks))
    layers = [cells, marks] if any(row["competes"] for row in rows) else [cells]
    return configured(alt.layer(*layers).properties(height=height), palette)


@remembered
def epsilon_chart(rows: Sequence[Row], palette: Palette, *, epsilon: float, title: str, height: int = 220) -> Figure:
    """A measure of competition against epsilon, with the range that noise alone gives and the chosen epsilon.

    Args:
        rows: ``epsilon`` (fraction), ``observed``, and ``null_low``, ``null_median``, ``null_high`` if they are known.
        palette: colours of the theme.
        epsilon: the chosen one, fraction.
        title: of the vertical axis.
        height: of the plot, pixels.
    """
    base = alt.Chart(rows_data(rows))
    top = max([0.05, *(row["observed"] for row in rows), *(row.get("null_high") or 0.0 for row in rows)])
    x = alt.X("epsilon:Q", title="epsilon", axis=alt.Axis(format=".1%", tickCount=6), scale=alt.Scale(nice=False))
    y = alt.Y(
        "observed:Q", title=title, scale=alt.Scale(domain=[0, top * 1.05], nice=False), axis=alt.Axis(tickCount=4)
    )
    known = any(row.get("null_high") is not None for row in rows)
    tip = [
        alt.Tooltip("epsilon:Q", title="epsilon", format=".2%"),
        alt.Tooltip("observed:Q", title="Observed", format=".3f"),
        *([alt.Tooltip("null_median:Q", title="Noise alone, median", format=".3f")] if known else []),
    ]
    line = base.mark_line(color=palette.ink, strokeWidth=2, interpolate="step-after")
    layers = [line.encode(x, y)]
    if known:
        band = base.mark_area(color=palette.soft, opacity=0.22, interpolate="monotone")
        layers.append(band.encode(x, alt.Y("null_low:Q"), alt.Y2("null_high:Q")))
        median = base.mark_line(color=palette.soft, strokeDash=[4, 3], strokeWidth=1.5)
        layers.append(median.encode(x, alt.Y("null_median:Q")))
    chosen = alt.Chart(rows_data([{"epsilon": epsilon}])).mark_rule(color=palette.shade, strokeWidth=2)
    layers += [chosen.encode(alt.X("epsilon:Q")), felt_points(rows, x, y, tooltip=tip)]
    return configured(alt.layer(*layers).properties(height=height), palette)
