"""The paper page's sentences: how much of the paper is here, its numbers beside ours, and their difference."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icl_core.analysis.comparison import ModelTrajectory, SeedGroup, summarise
from icl_core.analysis.fusion.comparison import Entry, EntryScore
from icl_core.analysis.fusion.grids import ablation_grid
from icl_core.analysis.fusion.members import FusionMember
from icl_core.analysis.statistics import PearsonResult, pearson
from icl_core.errors import StudyError
from icl_core.records import CheckpointRef
from icl_core.registry.paper import (
    CODE_DIFFERENCES,
    INTENSITY_ICL_R,
    PAPER_MODELS,
    TABLE_3,
    TABLE_3_COLUMNS,
    TABLE_7,
    Reported,
)
from pages.paper import computed, notes, sentences, tables
from pages.paper.tabs import PANELS
from pages.ui.charts.theme import LIGHT
from pages.ui.data.view import View
from pages.ui.panels import side_by_side
from pages.ui.panels.side_by_side import SideBySide, correlation_words
from tests.support.made_up import made_up_study
from tests.support.said import after, numbers

ROLES = tuple(PAPER_MODELS)
REF = CheckpointRef("hub", "someone", "step440", "hub", "a/someone", 440)
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
    assert f"models** {'has' if itself == 1 else 'have'} results" in said


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


# In the tables


@pytest.mark.parametrize("mixed", [None, 0.5, 0.314])
def test_our_value_has_its_interval_and_the_weight_of_mixed_parameters(mixed: float | None) -> None:
    members = (FusionMember(REF, "gold"),)
    entry = Entry("fusion" if mixed is None else "parameter fusion", members, mixed_weight=mixed)
    said = sentences.value_words(EntryScore(entry, 0.7321, 0.7012, 0.7643, {}))
    assert numbers(said.replace("w = ", "")) == [73.2, 70.1, 76.4, *([] if mixed is None else [round(mixed, 2)])]
    assert sentences.value_words(None) == ""


@pytest.mark.parametrize(("needed", "present"), [(17, 10), (3, 1)])
def test_a_field_without_enough_checkpoints_says_both_numbers(needed: int, present: int) -> None:
    assert numbers(sentences.too_few(needed, present)) == [needed, present]


@pytest.mark.parametrize(("computed", "pairs"), [(0, 4), (3, 4), (1, 1)])
def test_the_pairs_that_are_computed_are_counted(computed: int, pairs: int) -> None:
    said = sentences.pairs_computed(computed, pairs)
    assert numbers(said) == [computed, pairs]
    assert ("pairs computed" in said) == (pairs > 1)
    assert "ten draws" in said and inspect.signature(ablation_grid).parameters["n_draws"].default == 10


def test_the_table_of_pairs_counts_those_without_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pairs are played, and one of them cannot be read."""
    said: list[str] = []
    lines: list[Sequence[dict[str, Any]]] = []
    monkeypatch.setattr("pages.paper.tables.st.caption", said.append)
    monkeypatch.setattr("pages.paper.tables.st.header", lambda *args, **more: None)
    monkeypatch.setattr("pages.paper.tables._table", lambda rows, seen, **more: lines.append(rows))
    for name in ("_fusion_gaps", "differences_of"):
        monkeypatch.setattr(f"pages.paper.tables.{name}", lambda *args: None)
    first, second = TABLE_3_COLUMNS[:2]
    monkeypatch.setattr(
        "pages.paper.tables.computed.fusion_pairs", lambda seen: {first: ("a", "b"), second: ("c", "d")}
    )
    monkeypatch.setattr("pages.paper.tables.computed.fusion_asked", lambda seen, pair: pair)
    rules = next(iter(TABLE_3))

    def ablated(pair: tuple[str, str]) -> Any:
        if pair == ("c", "d"):
            raise StudyError("c has no results in this study.")
        return [SimpleNamespace(tr_rule=rules[0], tl_rule=rules[1], scores=SimpleNamespace(mean=0.6543))]

    monkeypatch.setattr("pages.paper.tables.fusion.ablation", ablated)
    tables.ablation(seen_of({}, []))
    assert numbers(said[0]) == [1, len(TABLE_3_COLUMNS)]
    ours = [line["this store"] for line in lines[0] if line["this store"] not in ("not computed", tables.ABSENT)]
    assert ours == ["65.4 %"]
    assert len(lines[0]) == len(TABLE_3_COLUMNS) * len(TABLE_3)
    assert sum(line["this store"] == tables.ABSENT for line in lines[0]) == (len(TABLE_3_COLUMNS) - 2) * len(TABLE_3)


# What is missing, and what the numbers rest on


def words_of(text: str) -> str:
    """Without the names of the paper's models, which hold digits."""
    for title in sorted(PAPER_MODELS.values(), key=len, reverse=True):
        text = text.replace(title, "model")
    return text


@pytest.mark.parametrize("n", [1, 3, len(PAPER_MODELS)])
def test_missing_models_are_named_and_counted(n: int) -> None:
    said = sentences.missing_models(ROLES[:n])
    assert all(PAPER_MODELS[role] in said for role in ROLES[:n])
    assert numbers(words_of(said)) == [n] and ("models)" in said) == (n > 1)
    split = sentences.missing_splits(ROLES[:2])
    assert split.startswith(f"{PAPER_MODELS[ROLES[0]]}, {PAPER_MODELS[ROLES[1]]}, test and development")


@pytest.mark.parametrize(("checkpoints", "told"), [("paper", "the paper's checkpoints"), ("33", "33 checkpoints")])
def test_missing_options_are_those_of_the_study_that_fills_them(checkpoints: str, told: str) -> None:
    wanted: Any = SimpleNamespace(checkpoints=checkpoints, shots=8, alphabet="letters")
    said = sentences.missing_options(ROLES[:1], wanted)
    assert said == f"{PAPER_MODELS[ROLES[0]]} with {told}, 8 shots, letters"


@pytest.mark.parametrize(
    "change",
    [{}, {"splits": ("dev", "test")}, {"n_shots": 1, "n_test": 1, "demo_seeds": (13,), "tasks": ("sst2",)}],
    ids=["test", "both splits", "one of everything"],
)
def test_the_study_that_fills_a_gap_is_the_product_that_its_cells_are(change: dict[str, Any]) -> None:
    study = dataclasses.replace(made_up_study(), **change)
    said = sentences.study_words(study)
    told = numbers(said)
    sizes = [10, len(study.tasks), 3, len(study.demo_seeds)]
    assert told[:6] == [*sizes, study.n_shots, len(study.splits)]
    assert told[6:] == [np.prod(sizes) * len(study.splits), study.n_test]
    for noun in ("checkpoint", "task", "setting", "seed", "shot", "split", "cell", "test row"):
        n = re.search(rf"([\d,]+) {noun}(s?)\b", said)
        assert n is not None and (n[2] == "s") == (n[1] != "1"), noun


def test_the_cost_of_a_gap_says_cells_tokens_operations_and_time() -> None:
    cost: Any = SimpleNamespace(n_new=4896, tokens=2_512_345, tflops=3400.0, seconds=7800, time_words="measured here")
    said = sentences.cost_words(cost)
    assert numbers(said) == [4896, 2.5, 3.4, 2, 10] and "measured here" in said
    unknown = sentences.cost_words(SimpleNamespace(**{**vars(cost), "seconds": None, "time_words": "Not known."}))
    assert unknown.replace("\\", "").endswith("Not known.") and numbers(unknown) == [4896, 2.5, 3.4]


@pytest.mark.parametrize(("shots", "examples", "epsilon"), [(16, 1000, 0.01), (1, 200, 0.0001)])
def test_how_it_is_computed_has_the_options_of_the_study(shots: int, examples: int, epsilon: float) -> None:
    choice: Any = SimpleNamespace(task=("sst2", "mrpc"), seeds="13, 21", shots=shots, examples=examples)
    said = sentences.how_computed(choice, epsilon)
    assert after(said, "stored predictions on") == [2]
    assert after(said, "with seeds", 4) == [13, 21, shots, examples]
    assert after(said, "the paper:", 4) == [16, 5, 16, 1000]
    assert after(said, "at epsilon") == [epsilon]
    assert after(said, "bootstrap over models,") == [inspect.signature(pearson).parameters["n_replicates"].default]


@pytest.mark.parametrize("item", ["Fig. 2 right", "Tables 1, 2", "no such item"])
def test_differences_of_paper_and_code_are_counted_and_told_whole(item: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said, titles = [], []
    monkeypatch.setattr("pages.paper.notes.st.markdown", said.append)
    monkeypatch.setattr("pages.paper.notes.st.expander", lambda title: titles.append(title) or nullcontext())
    notes.differences_of(item)
    mine = [each for each in CODE_DIFFERENCES if item in each.items]
    assert len(titles) == bool(mine) and len(said) == len(mine)
    assert all(numbers(title) == [len(mine)] for title in titles)
    for text, each in zip(said, mine, strict=True):
        told = text.replace("\\", "")
        places = [told.index(part) for part in (each.topic, each.paper, "Code:", each.code, "Shown here", each.here)]
        assert places == sorted(places)


# In whole sentences

OURS, THEIRS_ALONE = PearsonResult(-0.504, -0.913, 0.207, 0.02, 8), PearsonResult(None, None, None, None, 1)
OUR_WORDS = "r = **−0.50** (−0.91 to 0.21, 95 % bootstrap over n = 8 models)"
NO_WORDS = "no correlation can be given over 1 model (at least three different ones are needed)"


def test_the_finding_and_the_correlations_read_whole() -> None:
    own = {ROLES[0]: ROLES[0], ROLES[1]: ROLES[1], ROLES[2]: "tiny", ROLES[3]: "tiny", ROLES[4]: "tiny"}
    reported = "Mean intensity against final ICL: the paper reports r = −0.714; here"
    assert sentences.finding(own, OURS) == (
        "**2 of the paper's 12 models** have results here under this study's options; another model stands in for 3 "
        f"more. {reported} {OUR_WORDS}."
    )
    assert sentences.finding({ROLES[0]: ROLES[0]}, THEIRS_ALONE) == (
        f"**1 of the paper's 12 models** has results here under this study's options. {reported} {NO_WORDS}."
    )
    reported = "Reported: r = −0.714, one point per family. Here:"
    assert sentences.correlations(OURS) == f"{reported} {OUR_WORDS}, one point per model. Difference: +0.21."
    assert sentences.correlations(THEIRS_ALONE) == f"{reported} {NO_WORDS}, one point per model."


@pytest.mark.parametrize(
    ("reported", "as_fraction", "as_percent"),
    [
        (Reported(0.46634, 0.00127), "0.466 ± 0.00", "46.63 % ± 0.13"),
        (Reported(-0.71418), "−0.714", "−71.42 %"),
        (Reported(0.375, starred=True), "0.375*", "37.50 %*"),
        (
            Reported(1.25, 0.5678, "uncertain", starred=True),
            "1.25* ± 0.57 (uncertain)",
            "125.00 %* ± 56.78 (uncertain)",
        ),
        (Reported(None, mark="not legible"), "not legible", "not legible"),
    ],
)
def test_a_reported_number_reads_whole(reported: Reported, as_fraction: str, as_percent: str) -> None:
    assert sentences.number(reported) == as_fraction
    assert sentences.number(reported, as_percent=True) == as_percent


def test_values_differences_and_what_is_too_few_read_whole() -> None:
    assert sentences.difference_words(Reported(0.375), 0.3121) == "−6.3 points"
    assert sentences.difference_words(Reported(0.375), None) == ""
    value = EntryScore(Entry("best gold", (FusionMember(REF, "gold"),)), 0.7321, 0.7012, 0.7643, {})
    assert sentences.value_words(value) == "73.2 % (70.1 to 76.4 %)"
    mixed = dataclasses.replace(value, entry=dataclasses.replace(value.entry, mixed_weight=0.314))
    assert sentences.value_words(mixed) == "73.2 % (70.1 to 76.4 %), w = 0.31"
    assert sentences.too_few(17, 5) == "needs 17 checkpoints, has 5"
    assert sentences.too_few(1, 0) == "needs 1 checkpoint, has 0"
    rule = "Accuracy of the adaptive fusion. Each row names how the TR and the TL checkpoint were chosen."
    ten = "computed here; a random choice is the mean of ten draws."
    assert sentences.pairs_computed(0, 1) == f"{rule} 0 of 1 pair {ten}"
    assert sentences.pairs_computed(3, 4) == f"{rule} 3 of 4 pairs {ten}"


def test_what_is_missing_reads_whole() -> None:
    assert sentences.missing_models(ROLES[-1:]) == "K2-65B (1 model)"
    assert sentences.missing_models([*ROLES, ROLES[0]]) == f"{', '.join(PAPER_MODELS.values())} and 1 more (13 models)"
    four = "Pythia-410M, Pythia-1B, Pythia-1.4B and 1 more"
    wanted: Any = SimpleNamespace(checkpoints="*all*", shots=8, alphabet="letters")
    assert sentences.missing_options(ROLES[:4], wanted) == rf"{four} with \*all\* checkpoints, 8 shots, letters"
    assert sentences.missing_splits(ROLES[:4]) == f"{four}, test and development split"


def test_the_study_that_fills_a_gap_and_its_cost_read_whole() -> None:
    refs = tuple(CheckpointRef("hub", f"m{name}", "main", "hub", f"a/{name}") for name in "abcdefghijklm")
    study = dataclasses.replace(made_up_study(), checkpoints=refs, splits=("test", "dev"), n_shots=16, n_test=1000)
    assert sentences.study_words(study) == (
        "ma, mb, mc, md, me, mf, mg, mh, mi, mj, mk, ml and 1 more: 13 checkpoints, 2 tasks, 3 settings, 2 seeds, "
        "16 shots, 2 splits (test and dev): 312 cells of at most 1,000 test rows each."
    )
    one = dataclasses.replace(
        study, checkpoints=refs[:1], tasks=("sst2",), label_settings=("gold",), demo_seeds=(13,), splits=("test",),
        n_shots=1, n_test=1,
    )  # fmt: skip
    assert sentences.study_words(one) == (
        "ma: 1 checkpoint, 1 task, 1 setting, 1 seed, 1 shot, 1 split (test): 1 cell of at most 1 test row each."
    )
    cost: Any = SimpleNamespace(n_new=4896, tokens=2_512_345, tflops=3400.0, seconds=7800, time_words="*measured*")
    counts = "**4,896** of them to compute: 2.5 M tokens, 3.4k TFLOPs."
    assert sentences.cost_words(cost) == rf"{counts} **2 h 10 min**, \*measured\*."
    cost.seconds, cost.time_words = None, "*Not* known"
    assert sentences.cost_words(cost) == rf"{counts} \*Not\* known"


def test_what_the_numbers_rest_on_reads_whole() -> None:
    difference: Any = SimpleNamespace(topic="Seeds", paper="*Five*.", code="*Three*.", here="*Both*.")
    assert sentences.differing(difference) == (
        r"**Seeds.** Paper: \*Five\*\. Code: \*Three\*\. **Shown here**: \*Both\*\."
    )
    choice: Any = SimpleNamespace(task=("sst2",), seeds="13, *", shots=1, examples=1200)
    assert sentences.how_computed(choice, 0.0001) == (
        "Reported figures are those of [arXiv 2406.14022](https://arxiv.org/abs/2406.14022). Some cells of the copy "
        "that was read are not legible. They are shown as text and never drawn as results. Everything under **this "
        r"store** is computed from stored predictions on 1 task with seeds 13, \*, 1 demonstration and at most 1,200 "
        "queries per task (the paper: 16 tasks, 5 seeds, 16 demonstrations, 1,000 queries). A checkpoint enters when "
        "all of its TR and TL cells exist. Competition: Eqs. 1 to 4 on the mean trajectory at epsilon 0.0001. Final "
        "ICL is the value under true labels at the last such checkpoint. Intervals of r: percentile bootstrap over "
        "models, 2,000 draws. With few models they say little."
    )
