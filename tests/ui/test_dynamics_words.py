"""What the dynamics page says around its curves and in its tabs, whichever way the values behind it come out."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

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
    said = sentences.nothing_complete(done, total)
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
