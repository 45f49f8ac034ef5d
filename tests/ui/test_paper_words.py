"""The paper page's sentences: how much of the paper is here, its numbers beside ours, and their difference."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icl_core.analysis.comparison import ModelTrajectory, SeedGroup, summarise
from icl_core.analysis.statistics import PearsonResult
from icl_core.records import CheckpointRef
from icl_core.registry.paper import INTENSITY_ICL_R, PAPER_MODELS, TABLE_7, Reported
from pages.paper import computed, notes, sentences, tables
from pages.paper.tabs import PANELS
from pages.ui.charts.theme import LIGHT
from pages.ui.data.view import View
from pages.ui.panels import side_by_side
from pages.ui.panels.side_by_side import SideBySide, correlation_words
from tests.support.said import after, numbers

ROLES = tuple(PAPER_MODELS)
NO_CORRELATION = re.compile(r"no correlation can be given")


def trajectory(model: str, tr: Sequence[float], tl: Sequence[float], icl: float | None) -> ModelTrajectory:
    refs = tuple(CheckpointRef("fam", model, f"step{at}", "hub", f"a/{model}", at) for at in range(len(tr)))
    one, other = np.array(tr), np.array(tl)
    return ModelTrajectory(
        model, "fam", ("sst2",), refs, one, other, one[None], other[None], {} if icl is None else {refs[-1]: icl}
    )


COMPETES = {
    "one": ([0.5, 0.4, 0.5], [0.5, 0.6, 0.5], 0.81),  # intensities 1 and 1
    "two": ([0.5, 0.4, 0.4], [0.5, 0.6, 0.6], 0.72),  # 1 and 0
    "three": ([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], 0.66),  # none
    "four": ([0.5, 0.45, 0.45], [0.5, 0.6, 0.6], None),  # no final ICL
}


def seen_of(stand_ins: Mapping[str, str], models: Sequence[str], epsilon: float = 0.01) -> Any:
    own = dict(zip(models, COMPETES.values(), strict=False))
    found = {model: trajectory(model, *own[model]) for model in models}
    summaries = {model: summarise(each, epsilon=epsilon) for model, each in found.items()}
    side = SideBySide(SimpleNamespace(trajectories=found), summaries, ("share", "linear"), {})  # type: ignore[arg-type]
    return SimpleNamespace(
        stand_ins=stand_ins, side=side, choice=None, epsilon=epsilon, view=View("accuracy", "sum", None)
    )


@pytest.fixture
def finding(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str]:
    said: list[str] = []
    monkeypatch.setattr("pages.ui.panels.blocks.finding", said.append)

    def told(seen: Any) -> str:
        notes.finding(seen)
        return said.pop()

    return told


@pytest.mark.parametrize(
    ("stand_ins", "models", "itself", "played"),
    [
        ({}, [], 0, 0),
        ({ROLES[0]: ROLES[0], ROLES[1]: ROLES[1]}, ROLES[:2], 2, 0),
        ({ROLES[0]: ROLES[0], ROLES[1]: "tiny"}, [ROLES[0], "tiny"], 1, 1),
        ({role: "tiny" for role in ROLES[:5]}, ["tiny"], 0, 5),
        ({ROLES[0]: ROLES[0], ROLES[1]: "gone", ROLES[2]: ROLES[2]}, [ROLES[0]], 1, 0),
        ({ROLES[0]: ROLES[0], ROLES[1]: ROLES[0]}, [ROLES[0]], 1, 1),
    ],
    ids=["nothing", "two of its own", "one stands in", "one for five", "without results", "one of its own for another"],
)
def test_models_of_the_papers_own_and_stand_ins_are_counted_apart(
    finding: Callable[[Any], str], stand_ins: dict[str, str], models: Sequence[str], itself: int, played: int
) -> None:
    said = finding(seen_of(stand_ins, models))
    counts = numbers(said.partition("Mean intensity")[0])
    assert counts == [itself, len(PAPER_MODELS), *([played] if played else [])]
    assert ("stands in for" in said) == (played > 0)


@pytest.mark.parametrize(
    ("n_models", "correlated"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3)], ids=lambda value: f"{value}"
)
def test_the_papers_correlation_stands_beside_ours(
    finding: Callable[[Any], str], n_models: int, correlated: int
) -> None:
    """The fourth model has no final ICL, so it has no point."""
    said = finding(seen_of({}, list(COMPETES)[:n_models])).partition("Mean intensity")[2]
    assert numbers(said)[0] == INTENSITY_ICL_R.value
    if correlated < 3:
        assert NO_CORRELATION.search(said) and numbers(said)[1:] == [correlated]
        return
    r = np.corrcoef([1, 0.5, 0], [0.81, 0.72, 0.66])[0, 1]
    assert numbers(said)[1] == round(r, 2) and numbers(said)[-2:] == [95, 3]
    assert not NO_CORRELATION.search(said)


@pytest.mark.parametrize("r", [-0.714, 0.5, -0.004])
def test_a_correlation_has_its_sign_its_interval_and_n(r: float) -> None:
    said = correlation_words(PearsonResult(r, -0.913, 0.207, 0.02, 8))
    assert numbers(said) == [round(r, 2), -0.91, 0.21, 95, 8]
    assert "-" not in said, "a minus sign, no hyphen"


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_where_models_do_not_differ_there_is_no_correlation(n: int) -> None:
    said = correlation_words(PearsonResult(None, None, None, None, n))
    assert NO_CORRELATION.search(said) and numbers(said) == [n]


def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    for name in ("markdown", "caption", "info"):
        monkeypatch.setattr(f"pages.paper.figures.st.{name}", said.append)
    return said


@pytest.mark.parametrize(("n_models", "stand_ins"), [(3, True), (3, False), (2, True)])
def test_the_difference_of_the_correlations_is_ours_minus_theirs(
    monkeypatch: pytest.MonkeyPatch, n_models: int, stand_ins: bool
) -> None:
    said = written(monkeypatch)
    monkeypatch.setattr("pages.ui.panels.side_by_side.scatter", lambda side: None)
    monkeypatch.setattr("pages.ui.panels.side_by_side.occurrence", lambda side: None)
    monkeypatch.setattr("pages.ui.panels.side_by_side.summary_table", lambda *args, **more: None)
    monkeypatch.setattr("pages.paper.figures._missing", lambda item, seen: None)
    models = list(COMPETES)[:n_models]
    seen = seen_of(dict(zip(models if stand_ins else (), models, strict=False)), models)
    next(panel for panel in PANELS if panel.name == "Fig. 2").body(seen)
    line = next(each for each in said if each.startswith("Reported: r"))
    r = np.corrcoef([1, 0.5, 0], [0.81, 0.72, 0.66])[0, 1]
    if n_models < 3:
        assert "Difference" not in line
    else:
        assert after(line, "Difference") == [round(r - INTENSITY_ICL_R.value, 2)]
    assert any("paper's models" in each for each in said) == (not stand_ins)


@pytest.mark.parametrize(
    ("reported", "percent", "told"),
    [
        (Reported(0.4663, 0.0012), True, [46.63, 0.12]),
        (Reported(0.4663), True, [46.63]),
        (Reported(-0.714), False, [-0.714]),
        (Reported(0.375, starred=True), True, [37.5]),
        (Reported(1.25, 0.5, "uncertain"), False, [1.25, 0.5]),
        (Reported(None, mark="not legible"), True, []),
        (Reported(None, mark="not reported"), False, []),
    ],
)
def test_a_reported_number_has_its_spread_star_and_doubt(reported: Reported, percent: bool, told: list[float]) -> None:
    said = sentences.number(reported, as_percent=percent)
    assert numbers(said) == told
    assert ("±" in said) == (reported.spread is not None)
    assert ("*" in said) == reported.starred
    assert ("%" in said) == (percent and reported.value is not None)
    assert reported.mark in said


@pytest.mark.parametrize(
    ("theirs", "ours", "told"), [(0.375, 0.5, [12.5]), (0.5, 0.375, [-12.5]), (None, 0.5, []), (0.5, None, [])]
)
def test_a_difference_is_ours_minus_theirs(theirs: float | None, ours: float | None, told: list[float]) -> None:
    mark = Reported(theirs) if theirs is not None else Reported(None, mark="not legible")
    assert numbers(sentences.difference_words(mark, ours)) == told
    row = tables.row("x", mark, ours)
    assert numbers(row["difference"]) == told
    assert numbers(row["this store"]) == ([] if ours is None else [100 * ours])


def test_the_ratio_of_a_field_of_table_7_is_over_its_own_intervals() -> None:
    """TR falls and TL rises between the first and the middle checkpoint alone: 1 of 4 intervals, 1 of 2."""
    one = trajectory("one", [0.5, 0.5, 0.4, 0.5, 0.6], [0.5, 0.5, 0.6, 0.7, 0.8], 0.7)
    by_option = {table.option: table for table in TABLE_7.values()}
    assert computed.ratio_of(one, by_option["shots"], "16", epsilon=0.01) == 1 / 4
    assert computed.ratio_of(one, by_option["checkpoints"], "2", epsilon=0.01) == 1 / 2
    ours, why = tables._ratio_or_why(one, by_option["checkpoints"], "16", epsilon=0.01)
    assert ours is None and numbers(why) == [17, 5]
    assert tables._ratio_or_why(None, by_option["shots"], "16", epsilon=0.01)[0] is None


def test_mean_intensity_of_each_model_is_over_its_own_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("pages.ui.panels.side_by_side.blocks.chart", lambda *args, **more: None)
    monkeypatch.setattr("pages.ui.panels.side_by_side.frame.palette", lambda: LIGHT)
    monkeypatch.setattr("pages.ui.panels.side_by_side.st.caption", said.append)
    side = seen_of({}, ["one", "two", "three"]).side
    side_by_side.accumulated(side, side.groups, key="x")
    assert numbers(said[0].replace("0/0", "")) == [1.0, 2, 0.5, 2, 0.0, 2]
    assert [("no competition" in part) for part in said[0].split(";")] == [False, False, True]
    several = SeedGroup("three seeds", tuple(side.summaries[name] for name in ("one", "three", "two")))
    side_by_side.accumulated(side, [several], key="x")
    assert numbers(said[1]) == [0.5, 2, 2, 3], "mean of 1, 0 and 1/2; two of three seeds compete"
    side_by_side.seeds_caption([several, *side.groups])
    assert numbers(said[2]) == [3] and "three seeds" in said[2]
