"""The charts of the lab: pure functions from plain rows to Vega-Lite specifications; they compute no measure.

Sources of what is drawn: arXiv 2503.05631 (evaluator curves, phase markers, portrait, minimal model) and arXiv
2501.06256 (number of classes, copies).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import altair as alt

from pages.ui.charts.axes import STEP_LABEL, XAxis
from pages.ui.charts.marks import NARROWEST, Row, dash_of_each, margin_words, names_axis, rows_data
from pages.ui.charts.theme import Figure, Palette, configured, ink_on_ramp, ramp_scale, remembered

__all__ = [
    "OUTCOME_TITLES",
    "Look",
    "attention_chart",
    "colour_of",
    "fan_chart",
    "outcome_chart",
    "portrait_chart",
    "series_chart",
    "sweep_chart",
    "transience_chart",
]

_COLOURS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "ciwl": ("#00785A", "#3CC29A"),
        "flip": ("#8F6400", "#E3B341"),
        "iwl": ("#7A5BA8", "#B9A6E8"),
    }
)
"""Light and dark; ICL has the colour it has everywhere, TR's blue and TL's vermillion stay theirs."""


@dataclass(frozen=True, slots=True)
class _Series:
    """How one curve is drawn: the name of its colour, and its dash."""

    colour: str
    dash: tuple[int, int] = (1, 0)


_SERIES: Mapping[str, _Series] = MappingProxyType(
    {
        "ICL": _Series("icl"),
        "ICL novel": _Series("icl", (5, 3)),
        "ICL copy": _Series("icl", (2, 2)),
        "Flip": _Series("flip"),
        "Flip copy": _Series("flip", (5, 3)),
        "CIWL": _Series("ciwl"),
        "IWL": _Series("iwl", (2, 2)),
        "Train": _Series("soft", (5, 3)),
        "Training": _Series("soft"),
        "In context": _Series("soft", (2, 2)),
        "Previous token": _Series("iwl"),
        "Induction": _Series("icl"),
        "Self": _Series("soft", (5, 3)),
    }
)
"""The curves of the lab by their titles; each has one colour and dash in all charts."""


def colour_of(palette: Palette, name: str) -> str:
    """The colour of a curve by its title, on this theme."""
    key = _SERIES[name].colour if name in _SERIES else name
    if key in _COLOURS:
        return _COLOURS[key][palette.name == "dark"]
    return palette.icl if key == "icl" else palette.soft


@dataclass(frozen=True, slots=True)
class Look:
    """How a chart of curves is drawn.

    Attributes:
        title: of the vertical axis.
        domain: of the vertical axis, None for 0 to what the rows need.
        height: of the plot, pixels.
        marker_rows: rows of words above the plot that are kept free, so that charts side by side stand level.
        unit: format of the vertical axis: ``percent`` or ``number``.
    """

    title: str = "Accuracy"
    domain: tuple[float, float] | None = (0.0, 1.0)
    height: int = 360
    marker_rows: int = 0
    unit: str = "percent"

    @property
    def format(self) -> str:
        """Of ticks and tooltips."""
        return ".0%" if self.unit == "percent" else "~f"


@remembered
def series_chart(
    rows: Sequence[Row],
    axis: XAxis,
    palette: Palette,
    *,
    look: Look = Look(),
    references: Sequence[Row] = (),
    markers: Sequence[Row] = (),
) -> Figure:
    """Curves over training steps with their spread over seeds, direct labels, levels of chance and phase markers.

    Args:
        rows: ``series`` (a title of the lab's curves), ``x`` (step), ``value``, ``low``, ``high``, ``n`` (seeds).
        axis: horizontal axis.
        palette: colours of the theme.
        look: sizes and the vertical axis.
        references: ``value`` and ``text`` of horizontal lines, such as chance.
        markers: ``x`` and ``text`` of vertical lines.
    """
    low, high = look.domain or (0.0, max([1e-9, *(row["high"] for row in rows)]) * 1.05)
    y_axis = alt.Axis(format=look.format, tickCount=5, minExtent=40, maxExtent=40)
    y = alt.Y("value:Q", title=look.title, scale=alt.Scale(domain=[low, high], nice=False, clamp=True), axis=y_axis)
    colour, dash = _series_scales(rows, palette)
    data = rows_data(rows)
    tooltip = [
        alt.Tooltip("series:N", title="Curve"),
        alt.Tooltip("x:Q", title="Step", format=",.0f"),
        *(
            alt.Tooltip(f"{name}:Q", title=title, format=".1%" if look.unit == "percent" else ".3f")
            for name, title in (("value", "Mean over seeds"), ("low", "Lowest seed"), ("high", "Highest seed"))
        ),
        alt.Tooltip("n:Q", title="Seeds", format=",d"),
    ]
    rule = alt.Chart(rows_data(references)).mark_rule(strokeDash=[3, 3], color=palette.soft, opacity=0.8)
    layers: list[Any] = [
        *([rule.encode(alt.Y("value:Q"))] if references else []),
        alt.Chart(data).mark_line(strokeWidth=2).encode(axis.encode(), y, colour, dash),
        *_markers(markers, axis, palette, look=look),
        alt.Chart(data).mark_point(filled=True, size=26, opacity=1).encode(alt.X("x:Q"), y, colour, tooltip=tooltip),
    ]
    if any(row["low"] < row["high"] for row in rows):
        band = alt.Chart(data).mark_area(opacity=0.16).encode(alt.X("x:Q"), alt.Y("low:Q"), alt.Y2("high:Q"), colour)
        layers.insert(0, band)
    ends = {row["series"]: row for row in sorted(rows, key=lambda row: row["x"])}
    named = [{"value": row["value"], "text": name, "ink": colour_of(palette, name)} for name, row in ends.items()]
    layers += margin_words(named, references, axis, palette=palette, domain=(low, high), height=look.height)
    return configured(alt.layer(*layers).properties(height=look.height), palette)


def _series_scales(rows: Sequence[Row], palette: Palette) -> tuple[alt.Color, alt.StrokeDash]:
    names = [name for name in _SERIES if any(row["series"] == name for row in rows)]
    colours = [colour_of(palette, name) for name in names]
    dashes = [list(_SERIES[name].dash) for name in names]
    return (
        alt.Color("series:N", sort=names, scale=alt.Scale(domain=names, range=colours), legend=None),
        alt.StrokeDash("series:N", sort=names, scale=alt.Scale(domain=names, range=dashes), legend=None),
    )


MARKER_PIXELS = 6.3
"""About how wide a letter of a marker is."""


def _markers(rows: Sequence[Row], axis: XAxis, palette: Palette, *, look: Look) -> list[Any]:
    """Vertical lines with their words above the plot, one row higher if words would overlap in a narrow window."""
    lines = list(marker_lines(rows, axis))
    n_lines = max([look.marker_rows, *(line + 1 for _, line in lines)])
    top = alt.Chart(rows_data([{"x": axis.domain[0]}])).mark_point(size=1, opacity=0)
    layers: list[Any] = [top.encode(alt.X("x:Q"), y=alt.value(-4 - 14 * n_lines), tooltip=alt.TooltipValue(None))]
    if not rows:
        return layers
    tip = [alt.Tooltip("text:N", title=" "), alt.Tooltip("x:Q", title="Step", format=",.0f")]
    layers.append(
        alt.Chart(rows_data(rows))
        .mark_rule(strokeDash=[2, 3], color=palette.ink, opacity=0.55)
        .encode(alt.X("x:Q"), tooltip=tip)
    )
    for row, line in lines:
        mark: Any = {"align": "left", "baseline": "bottom", "fontSize": 11, "dx": 2}
        words = alt.Chart(rows_data([row])).mark_text(**mark, color=palette.ink, clip=False)
        layers.append(words.encode(alt.X("x:Q"), y=alt.value(-8 - 14 * line), text=alt.Text("text:N")))
    return layers


def marker_lines(rows: Sequence[Row], axis: XAxis) -> list[tuple[Row, int]]:
    """Each marker with the line above the plot (0 is the lowest) on which its words meet no others.

    Words begin at their marker and may reach over the plot's right end, where nothing else stands above it.
    """
    found: list[tuple[Row, int]] = []
    for row in sorted(rows, key=lambda row: -row["x"]):
        end = axis.share(row["x"]) * NARROWEST + len(row["text"]) * MARKER_PIXELS + 8
        reached = [line for other, line in found if axis.share(other["x"]) * NARROWEST < end]
        found.append((row, max(reached, default=-1) + 1))
    return found


# Attention


@remembered
def attention_chart(rows: Sequence[Row], palette: Palette, *, n_layers: int, n_heads: int, n_tokens: int) -> Figure:
    """All heads at one step: a map of each, queries down, keys across, layers below one another.

    Args:
        rows: ``layer``, ``head``, ``query``, ``key`` (indices from 0), ``share`` (of the query's attention),
            ``query_name``, ``key_name``.
        palette: colours of the theme.
        n_layers: rows of maps.
        n_heads: maps in a row.
        n_tokens: rows and columns of a map.
    """
    gap, between = 0.8, 1.6
    placed = [
        {
            **row,
            "x": row["head"] * (n_tokens + gap) + row["key"],
            "y": row["layer"] * (n_tokens + between) + row["query"],
        }
        for row in rows
    ]
    for row in placed:
        row |= {"x2": row["x"] + 1, "y2": row["y"] + 1}
    wide, tall = n_heads * (n_tokens + gap), n_layers * (n_tokens + between)
    x = alt.X("x:Q", scale=alt.Scale(domain=[-1.2, wide], nice=False), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[tall, -between], nice=False), axis=None)
    share = alt.Color(
        "share:Q",
        scale=ramp_scale(palette, domain=[0, 1]),
        legend=alt.Legend(title="Attention", orient="right", gradientLength=110, format=".0%"),
    )
    tooltip = [
        alt.Tooltip("name:N", title="Head"),
        alt.Tooltip("query_name:N", title="From"),
        alt.Tooltip("key_name:N", title="To"),
        alt.Tooltip("share:Q", title="Mean share", format=".1%"),
    ]
    cells = alt.Chart(rows_data(placed)).mark_rect(stroke=palette.background, strokeWidth=0.6)
    layers = [cells.encode(x, y, share, alt.X2("x2:Q"), alt.Y2("y2:Q"), tooltip=tooltip)]
    names = [
        {"x": head * (n_tokens + gap), "y": layer * (n_tokens + between)}
        | {"text": f"layer {layer + 1}, head {head + 1}", "short": f"L{layer + 1} H{head + 1}"}
        for layer in range(n_layers)
        for head in range(n_heads)
    ]
    room = f"width / {n_heads}"  # of a map, pixels; where not even the short name fits, the tooltip has it
    for field, fits in (("text", f"{room} >= 92"), ("short", f"{room} >= 38 && {room} < 92")):
        mark: Any = {"align": "left", "baseline": "bottom", "dy": -3, "fontSize": 11, "color": palette.soft}
        named = alt.Chart(rows_data(names)).mark_text(**mark, opacity={"expr": f"{fits} ? 1 : 0"})
        layers.append(named.encode(x, y, text=f"{field}:N"))
    first = [row for row in placed if row["head"] == 0 and row["key"] == 0]
    side = [{"x": -0.15, "y": row["y"] + 0.5, "text": row["query_name"]} for row in first]
    mark = {"align": "right", "baseline": "middle", "fontSize": 11, "color": palette.soft}
    layers.append(alt.Chart(rows_data(side)).mark_text(**mark).encode(x, y, text=alt.Text("text:N")))
    height = min(720, round(24 * tall * min(1.0, 8 / n_tokens)))
    return configured(alt.layer(*layers).properties(height=height), palette)


# What becomes of ICL


@remembered
def portrait_chart(rows: Sequence[Row], palette: Palette, *, chance: Row, height: int = 380) -> Figure:
    """Flip accuracy against CIWL accuracy along training, one path per run.

    Args:
        rows: ``run``, ``step``, ``flip``, ``ciwl`` (fractions), in the order of training.
        palette: colours of the theme.
        chance: ``flip`` and ``ciwl`` of guessing.
        height: of the plot, pixels.
    """
    runs = list(dict.fromkeys(row["run"] for row in rows))
    steps = sorted({row["step"] for row in rows})
    scale = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("flip:Q", title="Flip accuracy (1 = ICL decides)", scale=scale, axis=alt.Axis(format=".0%", tickCount=5))
    y = alt.Y("ciwl:Q", title="CIWL accuracy", scale=scale, axis=alt.Axis(format=".0%", tickCount=5))
    dash = dash_of_each("run", runs, palette, above=16)
    tooltip = [
        alt.Tooltip("run:N", title="Run"),
        alt.Tooltip("step:Q", title="Step", format=",.0f"),
        alt.Tooltip("flip:Q", title="Flip", format=".1%"),
        alt.Tooltip("ciwl:Q", title="CIWL", format=".1%"),
    ]
    data = rows_data(rows)
    lines = alt.Chart(data).mark_line(color=palette.ink, strokeWidth=1.6).encode(x, y, dash, order="step:Q")
    shade = alt.Fill(
        "step:Q",
        title="Step",
        scale=ramp_scale(palette, type="symlog", constant=50),
        legend=alt.Legend(orient="right", gradientLength=120, values=[steps[0], steps[-1]], labelExpr=STEP_LABEL),
    )
    points = alt.Chart(data).mark_point(filled=True, size=70, opacity=1, stroke=palette.ink, strokeWidth=0.8)
    layers: list[Any] = [
        *_cross(chance, palette, x, y=y),
        lines,
        points.encode(x, y, fill=shade, tooltip=tooltip),
    ]
    return configured(alt.layer(*layers).properties(height=height), palette)


def _cross(chance: Row, palette: Palette, x: alt.X, *, y: alt.Y) -> list[Any]:
    rule: Any = {"strokeDash": [3, 3], "color": palette.soft, "opacity": 0.8}
    row = rows_data([{**chance, "text": "chance"}])
    word: Any = {"color": palette.soft, "fontSize": 11, "baseline": "bottom", "dy": -4}
    return [
        alt.Chart(row).mark_rule(**rule).encode(x),
        alt.Chart(row).mark_rule(**rule).encode(y),
        alt.Chart(row).mark_text(**word).encode(x=x, y=alt.value(0), text=alt.Text("text:N")),
    ]


@remembered
def transience_chart(rows: Sequence[Row], palette: Palette, *, row_height: int = 34) -> Figure:
    """The transience index of each run: 0 keeps the peak, 1 is back at chance; one dot per seed.

    Args:
        rows: ``run``, ``series`` (ICL or Flip), ``index`` (fraction), ``seed``.
        palette: colours of the theme.
        row_height: pixels per run.
    """
    runs = list(dict.fromkeys(row["run"] for row in rows))
    top = max([1.05, *(row["index"] * 1.05 for row in rows)])
    scale = alt.Scale(domain=[min([0.0, *(row["index"] for row in rows)]), top], nice=False)
    axis = alt.Axis(tickCount=4, format="~f", grid=True)
    x = alt.X("index:Q", title="Transience index (1: back at chance)", scale=scale, axis=axis)
    y = alt.Y("run:N", sort=runs, title=None, axis=names_axis())
    names = [name for name in ("ICL", "Flip") if any(row["series"] == name for row in rows)]
    colours = alt.Scale(domain=names, range=[colour_of(palette, name) for name in names])
    legend = alt.Legend(title=None, orient="top", symbolSize=110)
    shapes = alt.Scale(domain=names, range=["diamond", "circle"][: len(names)])
    points = (
        alt.Chart(rows_data(rows))
        .mark_point(filled=True, size=110, opacity=0.9)
        .encode(
            x,
            y,
            alt.Color("series:N", sort=names, scale=colours, legend=legend),
            alt.Shape("series:N", sort=names, scale=shapes, legend=legend),
            tooltip=[
                alt.Tooltip("run:N", title="Run"),
                alt.Tooltip("series:N", title="Curve"),
                alt.Tooltip("seed:Q", title="Seed", format="d"),
                alt.Tooltip("index:Q", title="Transience index", format=".2f"),
            ],
        )
    )
    return configured(points.properties(height=max(70, row_height * len(runs))), palette)


@remembered
def sweep_chart(rows: Sequence[Row], palette: Palette, *, title: str, row_height: int = 44) -> Figure:
    """Final Flip accuracy over the number of classes and another knob.

    Args:
        rows: ``n_classes``, ``value`` (of the other knob), ``flip``, ``low``, ``high`` (fractions), ``n`` (seeds).
        palette: colours of the theme.
        title: of the other knob.
        row_height: pixels per row, one row per number of classes.
    """
    base = alt.Chart(rows_data(rows)).encode(
        alt.X("value:O", title=title, axis=alt.Axis(labelAngle=0, format="~g")),
        alt.Y("n_classes:O", sort="descending", title="Classes K", axis=alt.Axis(format=",")),
        tooltip=[
            alt.Tooltip("n_classes:Q", title="Classes K", format=",d"),
            alt.Tooltip("value:Q", title=title, format="~g"),
            alt.Tooltip("flip:Q", title="Final Flip, mean over seeds", format=".1%"),
            alt.Tooltip("low:Q", title="Lowest seed", format=".1%"),
            alt.Tooltip("high:Q", title="Highest seed", format=".1%"),
            alt.Tooltip("n:Q", title="Seeds", format=",d"),
        ],
    )
    ramp = ramp_scale(palette, domain=[0, 1], clamp=True)
    cells = base.mark_rect(stroke=palette.background, strokeWidth=3).encode(
        alt.Color("flip:Q", scale=ramp, legend=None)
    )
    contrast = ink_on_ramp(palette, "flip")
    words = base.mark_text(fontSize=13).encode(text=alt.Text("text:N"), color=contrast)
    n_rows = len({row["n_classes"] for row in rows})
    return configured(alt.layer(cells, words).properties(height=max(60, row_height * n_rows)), palette)


# The minimal model


OUTCOME_TITLES: Mapping[str, str] = MappingProxyType(
    {"stuck": "stuck", "transient": "transient", "persistent": "persistent"}
)
"""Outcomes in the order of charts and tables."""


def _outcome_colour(palette: Palette) -> alt.Color:
    colours = [palette.soft, colour_of(palette, "flip"), palette.icl]
    scale = alt.Scale(domain=list(OUTCOME_TITLES), range=colours)
    return alt.Color("outcome:N", sort=list(OUTCOME_TITLES), scale=scale, legend=None)


def _outcome_dash() -> alt.StrokeDash:
    scale = alt.Scale(domain=list(OUTCOME_TITLES), range=[[2, 2], [1, 0], [1, 0]])
    return alt.StrokeDash("outcome:N", sort=list(OUTCOME_TITLES), scale=scale, legend=None)


MOST_LOSS = 1.6
"""Top of the fans' axis; it stays where it is while sliders move, and a start above it is drawn at the edge."""


@remembered
def _fan_frame(palette: Palette, n_steps: int, title: str, *, thresholds: Sequence[Row], height: int) -> Figure:
    """A fan without its rows."""
    x = alt.X(
        "x:Q",
        title="Step of gradient descent",
        scale=alt.Scale(domain=[0, n_steps], nice=False),
        axis=alt.Axis(tickCount=5, labelExpr=STEP_LABEL),
    )
    y = alt.Y(
        "value:Q",
        title=title,
        scale=alt.Scale(type="sqrt", domain=[0, MOST_LOSS], nice=False, clamp=True),
        axis=alt.Axis(values=[0, 0.05, 0.15, 0.5, 1, 1.5], labelExpr="datum.value"),
    )
    seeds = alt.Chart(alt.NamedData("seeds")).mark_line(strokeWidth=1.3, opacity=0.75)
    middle = alt.Chart(alt.NamedData("median")).mark_line(strokeWidth=3, color=palette.ink, strokeDash=[7, 4])
    words = alt.Chart(alt.NamedData("words")).mark_text(
        align="right", baseline="bottom", fontSize=12, fontWeight=600, color=palette.ink
    )
    layers: list[Any] = [
        seeds.encode(x, y, _outcome_colour(palette), _outcome_dash(), detail=alt.Detail("seed:N")),
        middle.encode(x, y),
        words.encode(alt.X("x:Q"), y=alt.value(-4), text=alt.Text("text:N")),
    ]
    if thresholds:
        data = rows_data([{**row, "x": n_steps} for row in thresholds])
        rule = alt.Chart(data).mark_rule(strokeDash=[3, 3], color=palette.soft).encode(alt.Y("value:Q"))
        levels = alt.Chart(data).mark_text(align="left", dx=6, fontSize=11, color=palette.soft)
        layers += [rule, levels.encode(alt.X("x:Q"), alt.Y("value:Q"), text=alt.Text("text:N"))]
    return configured(alt.layer(*layers).properties(height=height), palette)


def fan_chart(
    rows: Sequence[Row],
    median: Sequence[Row],
    palette: Palette,
    *,
    n_steps: int,
    title: str,
    thresholds: Sequence[Row] = (),
    height: int = 300,
) -> Figure:
    """A loss of the minimal model over gradient descent: a line per seed, coloured by its outcome, and their median.

    Args:
        rows: ``seed``, ``outcome``, ``x`` (step), ``value``.
        median: ``x``, ``value`` and, on the one that carries the name, ``text``.
        palette: colours of the theme.
        n_steps: end of the horizontal axis.
        title: of the vertical axis.
        thresholds: ``value`` and ``text`` of horizontal lines.
        height: of the plot, pixels.
    """
    frame = _fan_frame(palette, n_steps, title, thresholds=thresholds, height=height)
    named = [row for row in median if row.get("text")]
    return {**frame, "datasets": {**frame.get("datasets", {}), "seeds": rows, "median": median, "words": named}}


@remembered
def _outcome_frame(palette: Palette) -> Figure:
    """The bars without their rows."""
    base = alt.Chart(alt.NamedData("outcomes")).encode(
        alt.X(
            "share:Q",
            title="Share of seeds",
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(format=".0%", tickCount=5, grid=True),
        ),
        alt.Y("outcome:N", sort=list(OUTCOME_TITLES), title=None, axis=alt.Axis(labelFontSize=13)),
    )
    bars = base.mark_bar(height={"band": 0.62}).encode(_outcome_colour(palette))
    words = base.mark_text(align="left", dx=6, fontSize=13, color=palette.ink).encode(text=alt.Text("text:N"))
    return configured(alt.layer(bars, words).properties(height=120), palette)


def outcome_chart(rows: Sequence[Row], palette: Palette) -> Figure:
    """How many seeds had which outcome; as with the fans, only its rows change, so the browser keeps the chart.

    Args:
        rows: ``outcome``, ``share`` (fraction), ``text``.
        palette: colours of the theme.
    """
    return {**_outcome_frame(palette), "datasets": {"outcomes": rows}}
