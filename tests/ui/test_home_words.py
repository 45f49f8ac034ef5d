"""What the home page says: what is stored, what a square of the grid shows, the words beside a change, recent jobs."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from icl_core.analysis.moments import Moment
from icl_core.evaluation.coverage import Coverage
from icl_core.records import CheckpointRef
from pages.home import chart, overview, sentences
from pages.home.computed import FirstCurves
from tests.support.said import assert_well_formed, numbers

TR = CheckpointRef("hub", "early", "step440", "hub", "a/early", 440)
TL = CheckpointRef("hub", "late", "step880", "hub", "a/late", 880)


@pytest.mark.parametrize(
    ("n_cells", "models"), [(1, ["a"]), (4080, ["a", "b", "a", "c"])], ids=["one model", "several models"]
)
def test_home_counts_cells_and_models(n_cells: int, models: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    drawn: dict[str, Any] = {}
    found = [Coverage(model, f"task{at}", 3, at % 2, 2) for at, model in enumerate(models)]
    at = "pages.home.overview"
    monkeypatch.setattr(f"{at}.cached.summaries", lambda: [SimpleNamespace(spec=None)] * n_cells)
    monkeypatch.setattr(f"{at}.coverage", lambda specs, studies: found)
    monkeypatch.setattr(f"{at}.jobs.listed", lambda **_: [])
    monkeypatch.setattr(f"{at}.blocks.chart", lambda figure, **words: drawn.update(words, rows=figure))
    monkeypatch.setattr(f"{at}.frame.palette", lambda: None)
    monkeypatch.setattr(f"{at}.grid_chart", lambda rows, palette: rows)
    monkeypatch.setattr("pages.home.overview.st.caption", said.append)
    overview.stored()
    assert numbers(said[0]) == [n_cells, len(set(models))]
    assert_well_formed(f"It holds {said[0]}")
    assert numbers(drawn["alt"]) == [len(set(models))] and len(drawn["rows"]) == len(models)


@pytest.mark.parametrize(
    ("n_cells", "complete", "of", "state"), [(6, 2, 2, "complete"), (5, 1, 2, "partial"), (0, 0, 4, "missing")]
)
def test_a_square_of_the_grid_says_complete_of_all_and_nothing_if_nothing_is_stored(
    n_cells: int, complete: int, of: int, state: str
) -> None:
    square = overview.square(Coverage("a", "sst2", n_cells, complete, of))
    assert square["state"] == state
    assert numbers(square["text"].replace("/", " ")) == ([complete, of] if n_cells else [])


@pytest.mark.parametrize(("setting", "kinds"), [("random", ("tr_rise", "tr_fall")), ("abstract", ("tl_jump",))])
def test_words_beside_a_curve_are_those_of_its_change(setting: Any, kinds: tuple[Any, ...]) -> None:
    found = [Moment(kind, setting, TR, TL, 0.3, 0.5 + at / 10) for at, kind in enumerate(kinds)]
    curves: Any = None
    notes = chart.notes(FirstCurves(curves, tuple(found), {TR: 440.0, TL: 880.0}))
    ability = {"random": "TR", "abstract": "TL"}[setting]
    verbs = {"tr_rise": "ris", "tl_jump": "jump", "tr_fall": "fall"}
    assert [(note["x"], note["value"], note["ability"]) for note in notes] == [
        (880.0, 0.5 + at / 10, ability) for at, _ in enumerate(kinds)
    ]
    for note, kind in zip(notes, kinds, strict=True):
        assert re.match(rf"{ability} {verbs[kind]}", note["text"])


def test_without_curves_home_says_what_to_do_or_whose_are_not_complete() -> None:
    nothing, one = sentences.no_curves(""), sentences.no_curves("*someone* model")
    for said in (nothing, one):
        assert_well_formed(said)
    assert "Evaluate the shipped" in nothing and "complete" not in nothing
    assert r"\\*someone\\* model is complete" in repr(one) and "stored" not in one


def test_what_is_stored_reads_whole() -> None:
    square = (
        "Each square says how many of the model's checkpoints have all the cells that a job was asked for or that "
        "another checkpoint has."
    )
    assert sentences.stored(n_cells=1, n_models=1) == f"1 cell of 1 model. {square}"
    assert sentences.stored(n_cells=4080, n_models=3) == f"4,080 cells of 3 models. {square}"
    assert sentences.no_curves("") == (
        "No results are stored yet. Evaluate the shipped tiny suite: it takes about two minutes on a CPU."
    )
    assert sentences.no_curves("*x*") == (
        r"No checkpoint of \*x\* is complete yet; its curves appear with the first one."
    )
    assert sentences.complete_of_all(Coverage("a", "sst2", 0, 0, 4)) == ""
    assert sentences.complete_of_all(Coverage("a", "sst2", 5, 1, 4)) == "1/4"
