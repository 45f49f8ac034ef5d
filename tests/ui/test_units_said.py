"""What the numbers of checkpoints count, on the pages: each family's own unit, and no axis that mixes two of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from icl_core.analysis.competition import competition
from icl_core.analysis.moments import Moment
from icl_core.errors import StudyError
from icl_core.evaluation.store import Store
from icl_core.records import CheckpointRef
from icl_core.registry.families import FAMILIES, MODELS, Model, known_checkpoints
from icl_core.registry.step_units import UNIT_WORDS, number_words
from pages.ui.charts.axes import ORDER_TITLE
from pages.ui.controls import analysis
from pages.ui.data import rows
from pages.ui.files.exports import as_csv
from pages.ui.words import findings
from tests.support.made_up import fill, made_up_study, refs_of

LISTED = [model for model in MODELS.values() if known_checkpoints(model)]
OPEN = Callable[..., AppTest]


def unit_of(model: Model) -> Any:
    return FAMILIES[model.family].step_unit


def ends_of(model: Model) -> tuple[CheckpointRef, CheckpointRef]:
    refs = known_checkpoints(model)
    return refs[0], refs[-1]


def curves_of(refs: Sequence[CheckpointRef]) -> Any:
    """Curves at these checkpoints, of one setting."""
    values = np.linspace(0.4, 0.6, len(refs))
    curve = SimpleNamespace(checkpoints=refs, value=values, low=values - 0.1, high=values + 0.1)
    return SimpleNamespace(model=refs[0].model, chance=0.5, curves={"gold": curve})


@pytest.mark.parametrize("model", LISTED, ids=lambda model: model.name)
def test_axis_sentence_table_and_file_of_every_model_say_its_unit(model: Model) -> None:
    refs = known_checkpoints(model)[-3:]
    unit, words = unit_of(model), UNIT_WORDS[unit_of(model)]
    places = rows.positions(refs, "step")
    axis = rows.training_axis([places], quantity="step")
    assert axis.title == axis.encode().to_dict()["title"] == words.title
    assert list(places.values()) == [float(ref.step or 0) for ref in refs]
    assert analysis.own_title(refs) == words.plural.capitalize()
    last = number_words(unit, refs[-1].step or 0)
    curves = curves_of(refs)
    assert f"At {last}, **" in findings.curves_sentence(curves, ()).replace("\\", "")
    told = [{**row, "axis": rows.axis_column(refs, "step")} for row in rows.curve_rows(curves, places)]
    written = list(csv.DictReader(io.StringIO(as_csv(told).decode())))
    assert [row["checkpoint"] for row in written] == [number_words(unit, ref.step or 0) for ref in refs]
    assert [row["revision"] for row in written] == [ref.weight_file or ref.revision for ref in refs]
    assert {row["axis"] for row in written} == {unit}
    if len(refs) > 1:
        found = competition(np.linspace(0.5, 0.7, len(refs)), np.linspace(0.7, 0.5, len(refs)), epsilon=0.01)
        before = number_words(unit, refs[-2].step or 0)
        assert rows.interval_rows(found, refs, places)[-1]["text"] == f"{before} to {last}"
        jump = Moment("tl_jump", "abstract", refs[-2], refs[-1], 0.4, 0.8)
        assert findings.moment_words(jump).replace("\\", "").endswith(f"between {before} and {last}")


def test_models_that_count_one_thing_share_its_axis_and_others_share_none_of_numbers() -> None:
    amber, k2, tiny, pythia, bloom = (
        known_checkpoints(MODELS[name])[:3]
        for name in ("amber-7b", "k2-65b", "tinyllama-1.1b", "pythia-70m", "bloom-560m")
    )
    assert rows.settled([*amber, *k2], "step") == ("step", "")
    assert rows.settled([*pythia, *bloom], "step") == ("step", "")
    assert rows.settled([*amber, *pythia, *tiny], "step") == (
        "tokens",
        "One axis cannot count data chunks (amber-7b), steps (pythia-70m) and billions of tokens (tinyllama-1.1b), so "
        "the axis shows training tokens.",
    )
    quantity, sentence = rows.settled([*amber, *bloom], "step")
    assert quantity == "share" and sentence.endswith("so the axis shows the share of training.")
    assert rows.settled(bloom, "tokens") == (
        "step",
        "Training tokens are not known of all checkpoints, so the axis shows steps.",
    )
    untold = CheckpointRef("local", "mine", "warm", "folder", "/m")
    with pytest.raises(StudyError, match=r"data chunks \(amber-7b\) and places in an order \(mine\).*Show one model"):
        rows.settled([*amber, untold], "step")


def test_checkpoints_of_ones_own_have_the_axis_that_their_names_tell() -> None:
    def axis(names: Sequence[str], numbers: Sequence[int]) -> Any:
        refs = [CheckpointRef("local", "m", name, "folder", "/m", n) for name, n in zip(names, numbers, strict=True)]
        return rows.training_axis([rows.positions(refs, "step")], quantity="step")

    assert axis(("step-10", "step-20"), (10, 20)).title == "Optimizer step"
    assert axis(("epoch_1", "epoch_2"), (1, 2)).title == "Epoch"
    assert axis(("tokens-2B", "tokens-4B"), (2 * 10**9, 4 * 10**9)).title == "Training tokens"
    assert axis(("warm", "best"), (1, 2)).title == ORDER_TITLE, "places in an order that was given are no steps"


# On the pages


@pytest.fixture
def stored(store_folder: Path) -> None:
    """Ten checkpoints each of a model of steps, of data chunks, and of billions of tokens."""
    store = Store.open(store_folder)
    amber = known_checkpoints(MODELS["amber-7b"])[::40] + known_checkpoints(MODELS["amber-7b"])[-1:]
    baichuan = known_checkpoints(MODELS["baichuan2-7b"])[:10]
    for refs in (amber, baichuan, refs_of("someone-model")):
        fill(store, dataclasses.replace(made_up_study(n_test=60), checkpoints=tuple(refs)))
    store.close()


def titles(app: AppTest) -> list[str]:
    """The title of the horizontal axis of every chart, in their order; "" where it has none."""
    found = []
    for chart in app.get("vega_lite_chart"):
        layers = [json.loads(chart.proto.spec)]
        layers += layers[0].get("layer", [])
        named = [layer["encoding"]["x"].get("title") for layer in layers if "x" in layer.get("encoding", {})]
        found.append(next((str(title) for title in named if title), ""))
    return found


def words(app: AppTest) -> str:
    said = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error]
    return "\n".join(str(item.value) for item in said).replace("\\", "")


AMBER: dict[str, Any] = {"model": "amber-7b"}
BOTH: dict[str, Any] = {"model": ["amber-7b", "someone-model"]}
APART = "One axis cannot count data chunks (amber-7b) and steps (someone-model), so the axis shows training tokens."


@pytest.mark.parametrize(
    ("model", "title", "said"),
    [
        ("amber-7b", "Data chunk", ("At data chunk 359", "by data chunk 160", "between data chunk 200 and data chunk")),
        (
            "baichuan2-7b",
            "Training tokens (billions)",
            ("At 2,200 billion tokens", "by 1,100 billion tokens", "between 1,320 billion tokens and 1,540"),
        ),
        ("someone-model", "Optimizer step", ("At step 990", "by step 440", "between step 550 and step 660")),
    ],
)
def test_the_dynamics_page_speaks_in_the_unit(
    model: str, title: str, said: tuple[str, ...], stored: None, open_page: OPEN
) -> None:
    app = open_page("dynamics", model=model)
    assert not app.exception and titles(app)[0] == title
    assert all(part in words(app) for part in said), words(app)
    assert app.session_state["at"].endswith(said[0].removeprefix("At "))
    shares = open_page("dynamics", model=model, tab="Predicted labels")
    assert title.removesuffix(" (billions)") in titles(shares)


def test_the_competition_page_speaks_in_the_unit(stored: None, open_page: OPEN) -> None:
    app = open_page("competition", **AMBER, part="Tasks")
    assert not app.exception and "Data chunk" in titles(app)
    assert "Interval from one checkpoint to the next (data chunk)" in titles(app)
    assert app.session_state["interval"].startswith("data chunk ")


def test_the_control_calls_the_number_by_its_unit_and_old_links_still_mean_it(stored: None, open_page: OPEN) -> None:
    for asked in ({}, {"x": "Steps"}, {"x": "step"}, {"x": "Data chunks"}):
        app = open_page("dynamics", **AMBER, **asked)
        control = next(each for each in app.get("button_group") if each.key == "x")
        assert control.options == ["Data chunks", "Tokens", "Share"] and control.value == "step", asked
        assert "not here" not in words(app) and titles(app)[0] == "Data chunk"
    query: dict[str, Any] = {"part": "Models compared", "compare": "amber-7b", "comparison": "R over training"}
    for word in ("Steps", "step", "Data chunks"):
        app = open_page("competition", **AMBER, **query, compare_x=word)
        assert app.session_state["compare_x"] == "step" and "not here" not in words(app), word
        assert titles(app)[-1] == "Data chunk"


def test_two_units_share_no_axis_of_numbers(stored: None, open_page: OPEN) -> None:
    app = open_page("dynamics", **BOTH)
    assert not app.exception and APART in words(app)
    assert titles(app)[:2] == ["Training tokens", "Training tokens"]
    control = next(each for each in app.get("button_group") if each.key == "x")
    assert control.options[0] == "Own number"
    app.multiselect(key="model").set_value(["someone-model"]).run()
    assert not app.exception and titles(app)[0] == "Optimizer step" and APART not in words(app)
    shown = open_page("evaluate", **BOTH)
    assert not shown.exception and APART in words(shown) and "Training tokens" in titles(shown)


def test_models_compared_keep_their_own_unit_alone_and_share_tokens_together(stored: None, open_page: OPEN) -> None:
    query: dict[str, Any] = {"part": "Models compared", "compare": BOTH["model"], "compare_x": "Own number"}
    together = open_page("competition", **BOTH, **query, comparison="R over training")
    assert not together.exception and APART in words(together) and titles(together)[-1] == "Training tokens"
    alone = open_page("competition", **BOTH, **query, comparison="R and ICL")
    assert not alone.exception and APART not in words(alone)
    assert {"Data chunk", "Optimizer step"} <= set(titles(alone))
    paper = open_page("paper", **BOTH, panel="Fig. 3")
    assert not paper.exception and {"Data chunk", "Optimizer step"} <= set(titles(paper))


def test_files_say_the_unit_and_the_revision(stored: None, open_page: OPEN, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Callable[[], bytes]] = {}
    monkeypatch.setattr(st, "download_button", lambda _, data, *, key, **__: found.update({key: data}))
    open_page("dynamics", **AMBER, tab="Table and downloads")
    open_page("competition", **AMBER, part="Table and downloads")
    curves, intervals = (
        list(csv.DictReader(io.StringIO(found[name]().decode()))) for name in ("curves-csv", "intervals-csv")
    )
    assert {row["axis"] for row in [*curves, *intervals]} == {"data chunk"}
    assert curves[1] | {"checkpoint": "data chunk 40", "revision": "ckpt_040", "x": "40.0"} == curves[1]
    assert intervals[0]["text"] == "data chunk 0 to data chunk 40"


def test_the_command_lists_results_in_the_unit(
    stored: None, store_folder: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    code, text, _ = cli("results", "--model", "amber-7b", store=store_folder)
    assert code == 0 and "ckpt_040  data chunk 40 " in text and "main      data chunk 359" in text
    listed = json.loads(cli("results", "--json", store=store_folder)[1])["results"]
    units = {"amber-7b": "data chunk", "baichuan2-7b": "billion tokens", "someone-model": "step"}
    assert {(row["model"], row["step_unit"]) for row in listed} == set(units.items())
    competing = json.loads(cli("compete", "--json", "--replicates", 20, store=store_folder)[1])
    assert {(row["model"], row["step_unit"]) for row in competing} == set(units.items())
