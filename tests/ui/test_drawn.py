"""What is drawn is so: digits of tooltips, ticks, words that cover nothing, colours, one rounding, exported figures."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import vl_convert
from streamlit.testing.v1 import AppTest

from icl_core.analysis.fusion.gains import GainRow
from icl_core.evaluation.store import Store
from pages.competition import vega as competition_vega
from pages.dynamics.vega import label_share_chart
from pages.fusion import sentences
from pages.fusion import vega as fusion_vega
from pages.ui.charts.axes import free_spots, x_axis
from pages.ui.charts.marks import margin_words
from pages.ui.charts.theme import DARK, LIGHT, Figure, Palette, label_colours
from pages.ui.files import sheet
from pages.ui.panels import frame
from pages.ui.words import written
from tests.support import drawn
from tests.support.catalogue import LABELS, MODULES, STEPS, catalogue
from tests.support.colours import contrast
from tests.support.made_up import fill, made_up_study, refs_of

FIXED_WIDTH = ("token_chart",)
"""Charts whose width does not follow the window's."""
NAMES = tuple(catalogue(LIGHT))
PALETTES = {"light": LIGHT, "dark": DARK}


def charts_of(theme: str) -> dict[str, Figure]:
    return catalogue(PALETTES[theme])


@functools.cache
def drawn_at(name: str, width: int) -> drawn.Seen:
    return drawn.seen(charts_of("light")[name], width)


def units(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "mark" in part:
        yield part
    for child in part.get("layer", ()):
        yield from units(child)


def rows_of(figure: Figure, unit: dict[str, Any]) -> list[dict[str, Any]]:
    return list(figure["datasets"][unit["data"]["name"]]) if "name" in unit.get("data", {}) else []


def test_the_catalogue_has_every_chart() -> None:
    functions = {
        name
        for module in MODULES
        for name in module.__all__
        if callable(found := getattr(module, name)) and inspect.get_annotations(found).get("return") == "Figure"
    }
    assert functions - {"at_weight"} == {re.split(r" |,", name)[0] for name in NAMES}


# Tooltips


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_tooltip_has_a_format(name: str) -> None:
    figure = charts_of("light")[name]
    for unit in units(figure):
        tooltip = unit["encoding"].get("tooltip")
        for field in tooltip if isinstance(tooltip, list) else []:
            values = [row.get(field["field"]) for row in rows_of(figure, unit)]
            counts = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
            assert field["type"] != "quantitative" or "format" in field, field
            assert not counts or "format" in field, field
            assert None not in values, f"{field['field']} would be shown as null"
            assert field.get("title"), field


@pytest.mark.parametrize("name", NAMES)
def test_a_line_has_no_tooltip_since_it_would_be_that_of_its_first_point(name: str) -> None:
    for unit in units(charts_of("light")[name]):
        if unit["mark"]["type"] in ("line", "area"):
            assert not isinstance(unit["encoding"].get("tooltip"), list), unit["mark"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_aloud_has_the_digits_of_the_tooltips(name: str) -> None:
    svg = vl_convert.vegalite_to_svg({**charts_of("light")[name], "width": 482})
    said = re.findall(r'aria-label="([^"]*)"', svg)
    assert said
    assert [text for text in said if re.search(r"\.0*[1-9]\d{4}|null|undefined|NaN", text)] == []


# Ticks


@pytest.mark.parametrize("width", drawn.WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_ticks_are_round_and_apart(name: str, width: int) -> None:
    labels = [w for w in drawn_at(name, width).words if "axis-label" in w.role]
    for _, group in itertools.groupby(labels, key=lambda word: word.group):
        axis = list(group)
        texts = [word.text for word in axis]
        assert len(set(texts)) == len(texts) or any(text.startswith("n = ") for text in texts), texts
        for text in texts:
            number = re.fullmatch(r"[+−]?(\d[\d,.]*) ?[%kMBT]?", text)
            if number is not None:
                assert len(number[1].replace(",", "").replace(".", "").strip("0")) <= 3 or name == "sweep_chart", texts
        for one, other in itertools.pairwise(axis):
            if one.angle == other.angle == 0 and one.anchor[1] == other.anchor[1] and one.anchor != other.anchor:
                assert other.at[0] - one.at[2] >= 3, (one.text, other.text)


@pytest.mark.parametrize("quantity", ["step", "tokens", "share"])
@pytest.mark.parametrize("scale", ["symlog", "linear"])
def test_ticks_of_training_are_never_the_checkpoints_own_numbers(quantity: Any, scale: Any) -> None:
    factor = {"step": 1, "tokens": 1664, "share": 1 / 3300}[quantity]
    for steps in (STEPS, (0, 220), (2860, 3300), (3300,), (0, 1, 512, 143_000)):
        ticks = x_axis([step * factor for step in steps], quantity=quantity, scale=scale).ticks
        assert 2 <= len(ticks) <= 9, (steps, ticks)
        assert all(float(f"{tick:.3g}") == pytest.approx(tick) for tick in ticks), ticks
    assert 1100 * factor not in x_axis([s * factor for s in STEPS], quantity=quantity, scale=scale).ticks


# Words


@pytest.mark.parametrize("width", drawn.WIDTHS)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in FIXED_WIDTH])
def test_words_cover_no_mark_and_no_other_words(name: str, width: int) -> None:
    seen = drawn_at(name, width)
    assert drawn.covering_words(seen) == []
    assert drawn.covered_marks(seen) == []
    assert drawn.cut_words(seen) == []
    assert seen.plot >= 90


@pytest.mark.parametrize("name", ["series_chart", "accumulated_chart", "weight_chart"])
def test_the_names_of_curves_lines_and_diamonds_are_all_there(name: str) -> None:
    wanted = {
        "series_chart": {"chance 50.0 %", "IWL chance 3.1 %", "ICL novel", "Flip peak"},
        "accumulated_chart": {"tiny-base", "tiny-noisy-first", "tiny-one-phase", "knowledge first", "lists"},
        "weight_chart": {"fixed", "pooled", "adaptive", "oracle (upper bound)", "TR alone", "TL alone", "best single"},
    }[name]
    for width in drawn.WIDTHS:
        assert wanted <= {word.text for word in drawn_at(name, width).words}


def test_the_mean_of_a_bar_stands_beside_no_dot() -> None:
    seen = drawn_at("occurrence_chart", 980)
    means = [word for word in seen.words if word.text.startswith("mean ")]
    assert {word.text for word in means} == {"mean 35.3 %", "mean 32.3 %", "mean 29.3 %", "mean 26.3 %"}
    assert min(word.at[0] for word in means) > max(x for x, _ in seen.symbols) + 100


def test_no_free_spot_covers_a_mark_or_another_name() -> None:
    crowd = [(x / 20, y / 20) for x in range(8) for y in range(8)]
    spots = free_spots(crowd, ["a long name"] * len(crowd), obstacles=crowd, size=(400, 300))
    assert any(spot is None for spot in spots) and any(spot is not None for spot in spots)
    assert free_spots([(0.5, 0.5)], ["a"], obstacles=[(0.5, 0.5)], size=(400, 300))[0] is not None


# Colours


def hue(colour: str) -> float:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return math.degrees(math.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_a_word_that_names_a_colour_is_drawn_in_it(palette: Palette) -> None:
    colours = dict(zip(LABELS, label_colours(LABELS, palette), strict=True))
    for name, at in (("red", 0), ("green", 120), ("blue", 220), ("yellow", 50)):
        assert abs((hue(colours[name]) - at + 180) % 360 - 180) < 25, (name, colours[name])
    grey = [max(int(colours[name][i : i + 2], 16) for i in (1, 3, 5)) for name in ("black", "white")]
    assert grey[0] < 40 and grey[1] > 240
    assert len(set(colours.values())) == len(LABELS)
    assert label_colours(["no", "Dark Red", "yes"], palette) == [
        palette.labels[0], palette.named["red"], palette.labels[1]
    ]  # fmt: skip


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_a_label_has_one_colour_in_all_charts(palette: Palette) -> None:
    def shares(checkpoints: str) -> list[dict[str, Any]]:
        return [
            {"checkpoint": c, "label": w, "share": 0.5, "order": o} for c in checkpoints for o, w in enumerate(LABELS)
        ]

    first, second = (label_share_chart(shares(names), palette) for names in ("01", "0123"))
    assert first["encoding"]["color"]["scale"] == second["encoding"]["color"]["scale"]
    assert first["encoding"]["color"]["scale"]["domain"] == list(LABELS)


@pytest.mark.parametrize("theme", PALETTES)
@pytest.mark.parametrize("name", NAMES)
def test_words_can_be_read(name: str, theme: str) -> None:
    """Words beside marks on the page; those inside coloured cells are in the next test."""
    palette = PALETTES[theme]
    svg = vl_convert.vegalite_to_svg({**charts_of(theme)[name], "width": 980})
    inks = set(re.findall(r'<text [^>]*fill="(#[0-9A-Fa-f]{6})"', svg)) - {"#000000", "#FFFFFF"}
    if name == "grid_chart":
        inks -= {palette.background}  # on the colour of what is complete
        assert contrast(palette.background, palette.states[0]) >= 4.5
    assert {
        ink: round(contrast(ink, palette.background), 2) for ink in inks if contrast(ink, palette.background) < 4.5
    } == {}


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_words_on_a_ramp_can_be_read_everywhere(palette: Palette) -> None:
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in palette.ramp]
    for share in (step / 100 for step in range(101)):
        cell = "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in zip(*ends, strict=True))
        first, second = ("#000000", "#FFFFFF") if palette is LIGHT else ("#FFFFFF", "#000000")
        assert contrast(first if share < palette.ramp_turn else second, cell) >= 4.4, share


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_marks_can_be_told_from_the_page(palette: Palette) -> None:
    for colour in (*palette.labels, palette.shade, *palette.abilities, palette.states[0], palette.states[1]):
        assert contrast(colour, palette.background) >= 3, colour


@pytest.mark.parametrize(("theme", "at"), [("light", 0), ("dark", 1)])
def test_captions_can_be_read_on_the_page_and_in_the_sidebar(theme: str, at: int) -> None:
    style = frame.STYLE.read_text()
    found = re.search(r"stCaptionContainer.*?light-dark\((#\w{6}), (#\w{6})\)", style)
    assert found is not None
    sidebar = {"light": "#F3F0EA", "dark": "#1A1D21"}[theme]
    for paper in (PALETTES[theme].background, sidebar):
        assert contrast(found[at + 1], paper) >= 4.5


# Legends


@pytest.mark.parametrize("name", NAMES)
def test_no_channel_and_no_field_is_with_and_without_a_legend(name: str) -> None:
    kinds: dict[str, set[bool]] = {}
    for unit in units(charts_of("light")[name]):
        for channel in ("color", "shape", "fill", "stroke", "strokeDash", "opacity"):
            found = unit["encoding"].get(channel, {})
            for each in (found, found.get("condition", {}) if isinstance(found.get("condition"), dict) else {}):
                if "field" in each and "legend" in each:
                    for what in (channel, each["field"]):
                        kinds.setdefault(what, set()).add(each["legend"] is None)
    assert [what for what, without in kinds.items() if len(without) > 1] == []


# One rounding


GAINS = (0.0055, 0.00549999999999995, 0.6825, -0.0125, 0.0005, -0.0003, 0.1, 0.12345, 0.04999999999, -1e-17, 0.5485)


def in_a_browser(value: float, pattern: str) -> str:
    """A number as JavaScript writes it (d3's "f" and "%" are Number.prototype.toFixed)."""
    text = {"value": {"expr": f"format({value!r}, '{pattern}')"}}
    svg = vl_convert.vegalite_to_svg({"data": {"values": [{}]}, "mark": "text", "encoding": {"text": text}})
    (found,) = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return str(found)


@pytest.mark.parametrize("gain", GAINS)
def test_sentence_table_and_chart_say_one_number(gain: float) -> None:
    row = GainRow(None, 0.5 + gain, 0.5, gain, gain, gain, 0.1, 0.1, 5, 100)
    sentence = sentences.gain_text(row).split(" points")[0]
    table = in_a_browser(written.in_points(gain), "+.1f")  # st.column_config.NumberColumn(format="%+.1f")
    part = {
        "interval": 0,
        "x": 0,
        "x2": 1,
        "text": "a",
        "short": "a",
        "competes": True,
        "intensity": 1.0,
        "certainty": 1,
    }
    figure = competition_vega.plane_chart([part | {"delta_tr": gain, "delta_tl": -gain}], LIGHT, epsilon=0.01)
    (chart,) = set(re.findall(r"Change of TR: ([^%]*)%", vl_convert.vegalite_to_svg({**figure, "width": 400})))
    assert sentence == table == (chart if abs(gain) > 1e-12 else "+0.0")


@pytest.mark.parametrize("value", [0.6825, 0.5485, 0.00055, 1 / 3, 0.99951, 0.0])
def test_percent_is_what_a_tooltip_shows(value: float) -> None:
    assert written.percent(value) == in_a_browser(value, ".1%").replace("%", " %")
    assert written.percent(value) == in_a_browser(written.in_percent(value), ".1f") + " %"


# Figures for paper


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FIXED_WIDTH])
def test_a_chart_stands_in_a_figure_of_several(name: str) -> None:
    paper = catalogue(sheet.PAPER)
    both = sheet.sheet([("one", paper[name]), ("", paper["intensity_chart"])])
    svg = vl_convert.vegalite_to_svg(both)
    assert 'fill="#FFFFFF"' in svg.upper().replace("FILL=", "fill=") or "#FFFFFF" in svg.upper()
    assert ">one</text>" in svg and "Intensity" in svg


def test_a_figure_has_every_panel_with_its_rows() -> None:
    paper = catalogue(sheet.PAPER)
    panels = [("K 512", paper["series_chart"]), ("K 512, copy 1", paper["series_chart of losses"])]
    whole = sheet.sheet(panels, columns=2)
    assert [view["title"] for view in whole["concat"]] == ["K 512", "K 512, copy 1"]
    for _, figure in panels:
        assert figure["datasets"].items() <= whole["datasets"].items()
    assert whole["background"] == "#FFFFFF" and DARK.ink not in str(whole)
    assert sheet.together(None, None) is None
    one, two = (lambda palette: [panels[0]], lambda palette: [panels[1]])
    drawing = sheet.together(one, None, two)
    assert drawing is not None and drawing(sheet.PAPER) == panels


def test_the_names_of_marks_above_the_plot_meet_no_pole() -> None:
    marks = [{"w": w, "label": "a name"} for w in (0.5, 0.517, 0.523, 0.0, 1.0)]
    lines = {row["w"]: line for row, line in fusion_vega.flag_lines(marks)}
    assert lines[0.5] > lines[0.517] > lines[0.523] and lines[1.0] == 0
    assert margin_words([], [], x_axis(STEPS), palette=LIGHT, domain=(0.0, 1.0), height=100)


def test_the_file_of_dynamics_has_every_model(
    store_folder: Path, open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(store_folder)
    for model in ("someone-model", "other-model"):
        fill(store, dataclasses.replace(made_up_study(n_test=40), checkpoints=refs_of(model)))
    store.close()
    given: list[sheet.Draw] = []
    monkeypatch.setattr("pages.ui.panels.blocks.table", lambda rows, *, draw, **options: given.append(draw))
    app = open_page(
        "dynamics", model=["someone-model", "other-model"], task=["sst2", "mrpc"], tab="Table and downloads"
    )
    assert not app.exception, [item.value for item in app.exception]
    panels = given[-1](sheet.PAPER)
    assert [title for title, _ in panels] == ["someone-model", "other-model"]
    vl_convert.vegalite_to_svg(sheet.sheet(panels))
