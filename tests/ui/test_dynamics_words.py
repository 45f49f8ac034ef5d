"""What the dynamics page says around its curves and in its tabs, whichever way the values behind it come out."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icl_core.evaluation.coverage import CellCounts
from pages.dynamics import sentences
from pages.ui.data.view import View
from tests.support.said import assert_well_formed, numbers


def curves(
    *, tasks: tuple[str, ...] = ("sst2", "mrpc"), seeds: int = 2, rows: int = 872, n_replicates: int = 1000
) -> Any:
    return SimpleNamespace(
        tasks=tasks, demo_seeds=tuple(range(seeds)), n_examples=dict.fromkeys(tasks, rows), n_replicates=n_replicates
    )


def test_bands_of_models_with_the_same_rows_are_told_once_and_of_others_by_model() -> None:
    same = sentences.bands({"one": curves(), "two": curves()})
    assert numbers(same) == [95, 1000, 2, 872, 2] and "one" not in same
    other = sentences.bands({"one": curves(), "two": curves(seeds=3, rows=50)})
    first, second = other.split("two: ")
    assert first.startswith("one: ") and numbers(first) == [95, 1000, 2, 872, 2]
    assert numbers(second) == [95, 1000, 3, 50, 2]


@pytest.mark.parametrize(
    ("tasks", "is_told"),
    [
        ([("sst2", "mrpc"), ("sst2", "mrpc")], False),
        ([("sst2", "mrpc"), ("mrpc", "sst2")], False),
        ([("sst2", "mrpc"), ("sst2",)], True),
        ([("sst2",), ("mrpc",)], True),
        ([("sst2",)], False),
    ],
    ids=["the same", "in another order", "one lacks a task", "nothing in common", "one model"],
)
def test_means_over_different_tasks_are_told_with_the_tasks_of_each(
    tasks: list[tuple[str, ...]], is_told: bool
) -> None:
    names = ("first", "second")[: len(tasks)]
    said = sentences.different_tasks({name: curves(tasks=own) for name, own in zip(names, tasks, strict=True)})
    assert bool(said) == is_told
    if is_told:
        assert_well_formed(said)
        for name, own in zip(names, tasks, strict=True):
            assert re.search(rf"{name} {', '.join(own)}[;.]", said)


def test_tasks_without_results_are_named() -> None:
    assert sentences.absent_tasks([]) == ""
    assert re.search(r"\bsst2, mrpc\.", sentences.absent_tasks(["sst2", "mrpc"]))
    assert numbers(sentences.absent_tasks([f"task{chr(97 + at)}" for at in range(9)])) == [3]


@pytest.mark.parametrize("n", [1, 2, 1234])
def test_missing_cells_are_counted(n: int) -> None:
    said = sentences.missing_cells(n)
    assert numbers(said) == [n]
    assert ("cells" in said, "they are" in said) == (n > 1, n > 1)


@pytest.mark.parametrize(("done", "total"), [(0, 4080), (1, 12), (1100, 4080)])
def test_a_study_without_a_complete_checkpoint_says_how_far_it_is(done: int, total: int) -> None:
    said = sentences.nothing_complete(CellCounts(done, total, 0, 17))
    assert numbers(said) == [done, total] and ("is stored" in said) == (done == 1)


def test_an_excluded_checkpoint_keeps_its_reason() -> None:
    assert sentences.excluded("Its weights are those of another.").startswith("Its weights are those of another. ")


@pytest.mark.parametrize(("entropy", "gold", "told"), [([0.2, 0.934], 1.0, [0.93, 1.0]), ([0.0], 0.811, [0.0, 0.81])])
def test_evenness_is_that_of_the_last_checkpoint_beside_gold(
    entropy: list[float], gold: float, told: list[float]
) -> None:
    shares: Any = SimpleNamespace(entropy=np.array(entropy), gold_entropy=gold)
    said = sentences.evenness(shares)
    assert numbers(said.replace("1 is even", "")) == told
    assert numbers(said.partition("gold labels")[2]) == told[1:]


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (View(), ("measure: accuracy;", "label score: sum.")),
        (View("macro_f1", "calibrated", "sst2"), ("measure: macro f1;", "label score: calibrated.")),
    ],
)
def test_how_it_is_computed_names_measure_and_label_score(view: View, told: tuple[str, str]) -> None:
    said = sentences.how_computed({"one": curves()}, view)
    assert_well_formed(said)
    assert all(part in said.lower() for part in told)
    assert numbers(said) == [95, 1000, 2, 872, 2]


# In whole sentences

BANDS = "Bands: 95 %, bootstrap (1,000 draws) over 2 seeds and 872 queries per task; 2 tasks."


@pytest.mark.parametrize(
    ("n", "further"), [(1, []), (3, []), (4, ["1 further model below."]), (5, ["2 further models below."])]
)
@pytest.mark.parametrize("task", [None, "sst2"])
def test_the_finding_has_a_sentence_for_each_of_three_models(
    n: int, further: list[str], task: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.dynamics.sentences.moments", lambda curves: f"moments of {curves}")
    monkeypatch.setattr(
        "pages.dynamics.sentences.findings.curves_sentence",
        lambda curves, found, *, task: f"{curves} with {found} on {task}.",
    )
    models: Any = ["one", "two", "three", "four", "five"]
    told = [f"{each} with moments of {each} on {task}." for each in models[: min(n, 3)]]
    assert sentences.finding(models[:n], task) == "\n\n".join(told + further)


def test_bands_and_options_read_whole() -> None:
    assert sentences.bands({"one": curves(), "two": curves()}) == BANDS
    assert sentences.bands({"*one*": curves(), "two": curves(seeds=1, tasks=("sst2",))}) == (
        rf"\*one\*: {BANDS} two: Bands: 95 %, bootstrap (1,000 draws) over 1 seed and 872 queries per task; 1 task. "
        "With one seed the spread between seeds is unknown, so the bands leave it out."
    )
    assert sentences.how_computed({"one": curves()}, View("balanced_accuracy", "per_token", None)) == (
        f"{BANDS} All settings and checkpoints share one draw, so differences between them are paired. A checkpoint "
        "enters a curve only when the cells of all tasks and seeds exist. Measure: balanced accuracy; label score: "
        "per_token."
    )


def test_tasks_without_results_and_different_tasks_read_whole() -> None:
    many = tuple(f"task{name}" for name in "abcde")
    drawn = {"one": curves(tasks=many), "two": curves(tasks=("*x*",))}
    assert sentences.different_tasks(drawn) == (
        "The means are over different tasks, so they cannot be compared with each other: one taska, taskb, taskc, "
        r"taskd and 1 more; two \*x\*."
    )
    assert sentences.absent_tasks(["*x*", *many]) == (
        r"Without results yet, and not in the mean: \*x\*, taska, taskb, taskc, taskd, taske."
    )
    assert sentences.absent_tasks([*many, "file:/x/y/mine", "last"]) == (
        "Without results yet, and not in the mean: taska, taskb, taskc, taskd, taske, mine and 1 more."
    )


def test_checkpoints_outside_the_curves_read_whole() -> None:
    assert sentences.missing_cells(1) == "1 cell missing. It enters the curve when it is computed."
    assert sentences.missing_cells(1200) == "1,200 cells missing. It enters the curve when they are computed."
    assert sentences.excluded("A copy.") == "A copy. It is hollow in the chart if it has results."
    advice = "but no checkpoint has all tasks and seeds yet. Show one task, or evaluate the rest."
    assert sentences.nothing_complete(CellCounts(1, 1, 0, 1)) == f"1 of 1 cell is stored, {advice}"
    assert sentences.nothing_complete(CellCounts(1100, 4080, 0, 17)) == f"1,100 of 4,080 cells are stored, {advice}"
    shares: Any = SimpleNamespace(entropy=np.array([0.2, 0.934, 0.756]), gold_entropy=0.981)
    assert sentences.evenness(shares) == (
        "Evenness of the predictions at the last checkpoint (entropy; 1 is even): 0.76. Evenness of the gold labels: "
        "0.98."
    )
