"""The lab's charts from plain rows: valid Vega-Lite, and what they promise to show."""

from __future__ import annotations

from typing import Any

import altair as alt
import pytest

from pages.lab import vega
from pages.lab.vega import Look
from pages.ui.charts.axes import x_axis
from pages.ui.charts.theme import DARK, LIGHT, Palette
from tests.support.colours import contrast

STEPS = (0, 10, 100, 1000, 5000)
TITLES = ("Train", "ICL", "ICL novel", "CIWL", "Flip", "IWL")


def curve_rows(*, n: int = 1) -> list[dict[str, Any]]:
    return [
        {"run": "K 512", "series": title, "x": step, "value": 0.1 * index + 0.3, "n": n}
        | {"low": 0.1 * index + 0.3 - 0.05 * (n > 1), "high": 0.1 * index + 0.3 + 0.05 * (n > 1)}
        for title in TITLES
        for index, step in enumerate(STEPS)
    ]


def attention_rows(n_layers: int, n_heads: int, n_tokens: int) -> list[dict[str, Any]]:
    return [
        {"layer": layer, "head": head, "query": query, "key": key, "share": 1 / (query + 1), "name": "a"}
        | {"query_name": f"t{query}", "key_name": f"t{key}"}
        for layer in range(n_layers)
        for head in range(n_heads)
        for query in range(n_tokens)
        for key in range(query + 1)
    ]


def figures(palette: Palette) -> dict[str, dict[str, Any]]:
    path = [{"run": run, "step": s, "flip": 0.2 + 0.1 * i, "ciwl": 0.5} for run in "ab" for i, s in enumerate(STEPS)]
    index = [{"run": r, "series": s, "index": 0.4, "seed": 1} for r in "ab" for s in ("ICL", "Flip")]
    sweep = [{"n_classes": k, "value": v, "flip": 0.5, "low": 0.4, "high": 0.6, "n": 2, "text": "50 % (2)"}
             for k in (256, 512) for v in (0.0, 1.0)]  # fmt: skip
    seeds = [{"seed": n, "outcome": "stuck", "x": x, "value": 0.5} for n in (0, 1) for x in (0, 100)]
    median = [{"x": 0, "value": 0.5}, {"x": 100, "value": 0.4, "text": "median"}]
    outcomes = [{"outcome": o, "share": 0.5, "text": "2 of 4"} for o in vega.OUTCOME_TITLES]
    return {
        "curves": vega.series_chart(
            curve_rows(n=3),
            x_axis(STEPS),
            palette,
            references=[{"value": 0.5, "text": "chance 50 %"}, {"value": 0.03, "text": "chance of IWL"}],
            markers=[{"x": 300.0, "text": "ICL > .6"}, {"x": 310.0, "text": "Flip peak"}],
        ),
        "losses": vega.series_chart(
            curve_rows(), x_axis(STEPS), palette, look=Look(title="Loss", domain=None, unit="number", marker_rows=3)
        ),
        "attention": vega.attention_chart(attention_rows(2, 8, 5), palette, n_layers=2, n_heads=8, n_tokens=5),
        "portrait": vega.portrait_chart(path, palette, chance={"flip": 0.5, "ciwl": 0.5}),
        "transience": vega.transience_chart(index, palette),
        "sweep": vega.sweep_chart(sweep, palette, title="Copy probability"),
        "fan": vega.fan_chart(seeds, median, palette, n_steps=100, title="L1",
                                    thresholds=[{"value": 0.05, "text": "emerged"}]),
        "outcomes": vega.outcome_chart(outcomes, palette),
    }  # fmt: skip


def layers(figure: dict[str, Any]) -> list[dict[str, Any]]:
    return figure.get("layer", [figure])


def marks(figure: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [layer for layer in layers(figure) if layer["mark"]["type"] == kind]


def rows_of(figure: dict[str, Any], layer: dict[str, Any]) -> list[dict[str, Any]]:
    return list(figure["datasets"][layer["data"]["name"]])


def texts(figure: dict[str, Any]) -> set[str]:
    fields = [(layer, layer["encoding"]["text"]["field"]) for layer in marks(figure, "text")]
    return {row[field] for layer, field in fields for row in rows_of(figure, layer)}


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_every_chart_is_valid_vega_lite_in_svg(palette: Palette) -> None:
    for name, figure in figures(palette).items():
        alt.Chart.from_dict(figure, validate=True)
        assert figure["usermeta"]["embedOptions"]["renderer"] == "svg", name
        assert figure["config"]["background"] == "transparent", name


def test_curves_are_named_at_their_ends_with_chance_and_markers() -> None:
    figure = figures(LIGHT)["curves"]
    assert {*TITLES, "chance 50 %", "chance of IWL", "ICL > .6", "Flip peak"} <= texts(figure)
    rules = {row.get("x", row.get("value")) for layer in marks(figure, "rule") for row in rows_of(figure, layer)}
    assert {300.0, 310.0} <= rules


def test_a_curve_has_one_colour_and_dash_in_every_chart() -> None:
    for figure in (figures(LIGHT)["curves"], figures(LIGHT)["losses"]):
        (line,) = marks(figure, "line")
        for channel, names in (("color", "range"), ("strokeDash", "range")):
            scale = line["encoding"][channel]["scale"]
            assert len(scale["domain"]) == len(scale[names]) == len(TITLES)
        pairs = list(
            zip(*(map(str, line["encoding"][each]["scale"]["range"]) for each in ("color", "strokeDash")), strict=True)
        )
        assert len(set(pairs)) == len(pairs), "two curves look alike"


def test_a_band_is_drawn_for_several_seeds_alone() -> None:
    assert len(marks(figures(LIGHT)["curves"], "area")) == 1
    assert len(marks(figures(LIGHT)["losses"], "area")) == 0


def test_words_of_markers_that_would_overlap_stand_in_rows() -> None:
    axis = x_axis((0, 5000), scale="linear")
    marked = [{"x": 1000.0, "text": "ICL > .6"}, {"x": 1010.0, "text": "Flip peak"}, {"x": 3000.0, "text": "Flip = .5"}]
    figure = vega.series_chart(curve_rows(), axis, LIGHT, markers=marked)
    heights = {
        row["text"]: layer["encoding"]["y"]["value"]
        for layer in marks(figure, "text")
        for row in rows_of(figure, layer)
        if "value" in layer["encoding"].get("y", {})
    }
    assert heights["Flip = .5"] > heights["Flip peak"] > heights["ICL > .6"]
    far = [{"x": 0.0, "text": "a"}, {"x": 3000.0, "text": "b"}]
    assert [line for _, line in vega.marker_lines(far, axis)] == [0, 0]


def test_every_head_has_its_map_and_its_name() -> None:
    figure = figures(LIGHT)["attention"]
    (cells,) = marks(figure, "rect")
    assert len(rows_of(figure, cells)) == 2 * 8 * 15
    assert {f"layer {a}, head {b}" for a in (1, 2) for b in range(1, 9)} <= texts(figure)
    corners = {(row["x"], row["y"]) for row in rows_of(figure, cells)}
    assert len(corners) == 2 * 8 * 15, "maps overlap"


def test_a_fan_keeps_its_frame_when_its_rows_change() -> None:
    first = figures(LIGHT)["fan"]
    other = vega.fan_chart([], [], LIGHT, n_steps=100, title="L1", thresholds=[{"value": 0.05, "text": "emerged"}])
    assert {k: v for k, v in first.items() if k != "datasets"} == {k: v for k, v in other.items() if k != "datasets"}
    assert first["datasets"]["words"] == [{"x": 100, "value": 0.4, "text": "median"}]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_of_curves_can_be_read_as_words(palette: Palette) -> None:
    for title in (*TITLES, "Induction", "Previous token", "Self"):
        assert contrast(vega.colour_of(palette, title), palette.background) >= 4.5, title
