"""Charts from plain rows: valid Vega-Lite, and what they promise to show."""

from __future__ import annotations

import itertools
from typing import Any

import altair as alt
import pytest

from pages.competition import vega
from pages.dynamics.vega import confusion_chart, label_share_chart
from pages.evaluate.vega import TIMELINE_STATES, timeline_chart
from pages.home.vega import grid_chart
from pages.ui.charts.axes import apart, percent_domain, x_axis
from pages.ui.charts.curves import Style, ability_chart
from pages.ui.charts.several import accumulation_chart
from pages.ui.charts.theme import ABILITIES, DARK, LIGHT, Palette
from tests.support.colours import contrast

STEPS = (0, 110, 220, 330)


def curve_rows(model: str = "m", left_out: str = "") -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "ability": ability,
            "x": step,
            "checkpoint": f"step {step}",
            "revision": f"step{step}",
            "value": 0.4 + 0.1 * index,
            "low": 0.35 + 0.1 * index,
            "high": 0.45 + 0.1 * index,
            "left_out": left_out if step == 220 else "",
        }
        for ability in ABILITIES
        for index, step in enumerate(STEPS)
    ]


def interval_rows() -> list[dict[str, Any]]:
    return [
        {"interval": i, "x": i, "x2": i + 1, "text": f"step {i} to step {i + 1}", "short": f"{i}–{i + 1}"}
        | {"delta_tr": 0.1, "delta_tl": -0.1, "competes": i == 1, "intensity": float(i == 1), "certainty": 0.9}
        | {"task": "t"}
        for i in range(3)
    ]


def figures(palette: Palette) -> dict[str, dict[str, Any]]:
    axis = x_axis(STEPS)
    line = [{"x": step, "value": 0.5, "text": "at"} for step in STEPS]
    epsilon = [
        {"epsilon": e / 100, "observed": 0.5, "null_low": 0.1, "null_median": 0.2, "null_high": 0.3} for e in (1, 2)
    ]
    labels = [{"checkpoint": c, "label": w, "share": 0.5, "order": o} for c in ("0", "1") for o, w in enumerate("ab")]
    pairs = [{"gold": g, "predicted": p, "count": 3, "share": 0.5} for g in "ab" for p in "ab"]
    cells = [{"model": "m", "task": "t", "state": s, "text": "1/2"} for s in ("complete", "partial")]
    points = [
        {"model": "m", "x": i, "checkpoint": str(i), "name": str(i), "state": state, "text": "."}
        for i, state in enumerate(TIMELINE_STATES)
    ]
    return {
        "abilities": ability_chart(
            curve_rows(left_out="same weights"),
            axis,
            palette,
            style=Style(pickable=True),
            references=[{"value": 0.3, "text": "chance 30 %"}],
            phases=[{"x": 0.0, "x2": 110.0, "name": "first", "text": "first", "strength": 0.2}],
            boundaries=[{"x": 110.0, "name": "second", "text": "second: 110 to 330"}],
            notes=[{"x": 110.0, "value": 0.5, "text": "TR rises", "ability": "TR"}],
        ),
        "shares": label_share_chart(labels, palette),
        "confusion": confusion_chart(pairs, palette),
        "grid": grid_chart(cells, palette),
        "timeline": timeline_chart(points, x_axis([p["x"] for p in points]), palette),
        "intensity": vega.intensity_chart(interval_rows(), axis, palette),
        "accumulation": accumulation_chart(line, line, axis, palette=palette),
        "undefined accumulation": accumulation_chart([], line, axis, palette=palette),
        "plane": vega.plane_chart(interval_rows(), palette, epsilon=0.01),
        "heat": vega.heat_map(interval_rows(), palette),
        "epsilon": vega.epsilon_chart(epsilon, palette, epsilon=0.01, title="Ratio"),
    }


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_every_chart_is_valid_vega_lite_in_svg(palette: Palette) -> None:
    for name, figure in figures(palette).items():
        alt.Chart.from_dict(figure, validate=True)
        assert figure["usermeta"]["embedOptions"]["renderer"] == "svg", name
        assert figure["config"]["background"] == "transparent", name


def layers(figure: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for layer in figure["layer"] for part in (layers(layer) if "layer" in layer else [layer])]


def marks(figure: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [layer for layer in layers(figure) if layer["mark"]["type"] == kind]


def rows_of(figure: dict[str, Any], layer: dict[str, Any]) -> list[dict[str, Any]]:
    return list(figure["datasets"][layer["data"]["name"]])


def test_left_out_checkpoints_are_points_but_not_on_the_line() -> None:
    figure = figures(LIGHT)["abilities"]
    (line,) = marks(figure, "line")
    filled, hollow = (layer for layer in marks(figure, "point") if "ability" in str(layer["encoding"].get("shape")))
    for layer in (line, filled):
        assert {row["x"] for row in rows_of(figure, layer)} == {0, 110, 330}
    assert {(row["x"], row["left_out"]) for row in rows_of(figure, hollow)} == {(220, "same weights")}
    assert hollow["mark"]["fill"] == LIGHT.background and "left_out" in str(hollow["encoding"]["tooltip"])


def test_one_colour_per_ability_with_the_same_order_everywhere() -> None:
    figure = figures(LIGHT)["abilities"]
    scales = [
        layer["encoding"]["color"]["scale"]
        for layer in layers(figure)
        if layer["encoding"].get("color", {}).get("field") == "ability"
    ]
    assert len(scales) >= 4
    assert all(scale == {"domain": list(ABILITIES), "range": LIGHT.abilities} for scale in scales)


def test_bands_can_be_switched_off() -> None:
    axis = x_axis(STEPS)
    with_bands = ability_chart(curve_rows(), axis, LIGHT)
    without = ability_chart(curve_rows(), axis, LIGHT, style=Style(bands=False))
    assert len(marks(with_bands, "area")) == 1
    assert len(marks(without, "area")) == 0


def test_several_models_differ_by_dash_and_label() -> None:
    figure = ability_chart([*curve_rows("one"), *curve_rows("two")], x_axis(STEPS), LIGHT)
    (line,) = marks(figure, "line")
    assert line["encoding"]["strokeDash"]["field"] == "model"
    words = {row["text"] for layer in marks(figure, "text") for row in rows_of(figure, layer)}
    assert {"TR one", "TR two"} <= words


def test_only_competing_intervals_have_bars() -> None:
    figure = figures(LIGHT)["intensity"]
    (bars,) = marks(figure, "rect")
    assert [row["interval"] for row in rows_of(figure, bars)] == [1]


def test_undefined_accumulation_draws_no_area_and_no_name() -> None:
    figure = figures(LIGHT)["undefined accumulation"]
    assert rows_of(figure, marks(figure, "area")[0]) == []
    assert {row["text"] for layer in marks(figure, "text") for row in rows_of(figure, layer)} == {"ICL"}


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_of_meaning_reach_a_contrast_of_three(palette: Palette) -> None:
    for colour in (*palette.abilities, palette.ink, palette.soft, palette.shade, palette.states[0], palette.states[3]):
        assert contrast(colour, palette.background) >= 3, colour


def test_symlog_axis_has_explicit_ticks_and_keeps_zero() -> None:
    long = x_axis([0, 1, 512, 1000, 143_000])
    assert long.ticks == (0, 1, 10, 100, 1000, 10_000, 100_000)
    short = x_axis([0, 110, 220, 1760])
    assert short.ticks == (0, 100, 200, 500, 1000)
    assert x_axis([0, 50, 100], scale="linear").ticks[0] == 0


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0]])
def test_axis_of_few_values_has_a_width(values: list[float]) -> None:
    low, high = x_axis(values).domain
    assert high > low


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    placed = apart([0.6, 0.61, 0.605, 0.9], gap=0.05)
    assert placed[0] < placed[2] < placed[1] < placed[3]
    ordered = sorted(placed)
    assert all(b - a >= 0.05 - 1e-9 for a, b in itertools.pairwise(ordered))
    assert placed[3] == pytest.approx(0.9)


def test_domain_holds_bands_and_lines() -> None:
    low, high = percent_domain([0.36, 0.41], [0.62, 0.78])
    assert low <= 0.36 and high >= 0.78
    assert percent_domain([0.0], [1.0]) == (0.0, 1.0)
