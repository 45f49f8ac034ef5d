"""Label shares, confusion and changed queries, hand-worked."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pytest

from icl_core.analysis.drilldown import (
    PredictionChange,
    TaskChanges,
    changed_predictions,
    changes_by_task,
    confusion,
    confusion_shares,
    label_shares,
)
from icl_core.analysis.predictions import CellLabels, collect_predictions
from icl_core.records import CellRecord, CheckpointRef

Make = Callable[..., CellRecord]
MakeRef = Callable[..., CheckpointRef]
GOLD_A = [0, 0, 1, 1]


def test_label_shares_and_entropy(make_record: Make) -> None:
    cells = [
        make_record([0, 0, 1, 1], GOLD_A, setting="abstract", demo_seed=13),
        make_record([1, 1, 1, 1], GOLD_A, setting="abstract", demo_seed=21),
    ]
    shares = label_shares(collect_predictions(cells)["m-1"], task="t", label_setting="abstract")
    assert shares.shares.tolist() == [[[0.5, 0.5], [0.0, 1.0]]]
    assert [ref.step for ref in shares.checkpoints] == [0] and shares.label_words == ("w0", "w1")
    assert shares.entropy.tolist() == [0.5]  # 1 for the even seed, 0 for the constant one
    assert shares.gold_shares.tolist() == [0.5, 0.5] and shares.gold_entropy == pytest.approx(1)
    three = collect_predictions([make_record([0, 0, 0, 1], [0, 1, 2, 2], n_labels=3)])["m-1"]
    expected = -(0.75 * log(0.75) + 0.25 * log(0.25)) / log(3)
    assert label_shares(three, task="t", label_setting="gold").entropy[0] == pytest.approx(expected)
    never = collect_predictions([make_record([0, 1], [0, 1], n_labels=3)])["m-1"]
    assert label_shares(never, task="t", label_setting="gold").gold_shares.tolist() == [0.5, 0.5, 0.0]


def test_confusion_counts_rows_gold_columns_predicted(make_record: Make, make_ref: MakeRef) -> None:
    cells = [
        make_record([0, 2, 2, 1], [0, 1, 2, 2], n_labels=3),
        make_record([0] * 4, [0, 1, 2, 2], n_labels=3, demo_seed=21),
    ]
    counts = confusion(collect_predictions(cells)["m-1"], task="t", label_setting="gold", checkpoint=make_ref(0))
    assert counts.tolist() == [[2, 0, 0], [1, 0, 1], [2, 1, 1]] and counts.dtype.kind == "i"


def test_changed_predictions_name_gained_and_lost(make_record: Make, make_ref: MakeRef) -> None:
    gold = [0, 1, 2, 2]
    cells = [
        make_record([1, 1, 0, 2], gold, step=0, n_labels=3),
        make_record([0, 0, 1, 2], gold, step=10, n_labels=3),
    ]
    changes = changed_predictions(
        collect_predictions(cells)["m-1"], make_ref(0), make_ref(10), task="t", label_setting="gold"
    )
    assert {(c.task, c.label_setting, c.demo_seed) for c in changes} == {("t", "gold", 13)}
    assert [(c.row_id, c.outcome, c.before, c.after) for c in changes] == [
        ("test:0", "gained", 1, 0),
        ("test:1", "lost", 1, 0),
        ("test:2", "other", 0, 1),
    ]


def test_labels_are_those_of_the_label_score_and_of_the_checkpoint_asked_for(
    make_record: Make, make_ref: MakeRef
) -> None:
    """Label 0 has the higher sum; label 1, of three tokens, the higher mean a token."""
    close = [[-1.0, -1.5], [-1.0, -1.5]]
    cells = [
        make_record([0, 0], [0, 1], step=0, loglikelihoods=close, n_tokens=[[1, 3], [1, 3]]),
        make_record([1, 1], [0, 1], step=10, n_tokens=[[1, 1], [1, 1]]),
    ]
    found = collect_predictions(cells)["m-1"]
    of = {"task": "t", "label_setting": "gold"}
    for normalisation, first in (("sum", 0), ("per_token", 1)):
        by_label = [float(label == first) for label in (0, 1)]
        shares = label_shares(found, normalisation=normalisation, **of)  # type: ignore[arg-type]
        assert shares.shares[:, 0].tolist() == [by_label, [0.0, 1.0]]
        for step, label in ((0, first), (10, 1)):
            counts = confusion(found, checkpoint=make_ref(step), normalisation=normalisation, **of)  # type: ignore[arg-type]
            assert counts.sum(axis=0).tolist() == [2 * (label == 0), 2 * (label == 1)]
        changes = changed_predictions(found, make_ref(0), make_ref(10), normalisation=normalisation, **of)  # type: ignore[arg-type]
        assert len(changes) == (2 if first == 0 else 0)


def test_without_a_label_score_it_is_the_sum_also_of_labels_that_are_stored(
    make_record: Make, make_ref: MakeRef
) -> None:
    def labels(step: int, predicted: list[int]) -> CellLabels:
        cell = make_record(predicted, [0, 1], step=step)
        gold, answers = np.array([0, 1], np.int16), np.array(predicted, np.int16)
        return CellLabels(cell.spec, cell.key, cell.row_ids, gold, "sum", answers, cell.choices, None, 0)

    found = collect_predictions([labels(0, [0, 0]), labels(10, [0, 1])])["m-1"]
    assert label_shares(found, task="t", label_setting="gold").shares[:, 0].tolist() == [[1, 0], [0.5, 0.5]]
    assert confusion(found, task="t", label_setting="gold", checkpoint=make_ref(10)).tolist() == [[1, 0], [0, 1]]
    changes = changed_predictions(found, make_ref(0), make_ref(10), task="t", label_setting="gold")
    assert [(change.row_id, change.outcome) for change in changes] == [("test:1", "gained")]


def test_shares_are_means_over_seeds_and_rows_of_the_confusion_sum_to_one(make_record: Make) -> None:
    cells = [
        make_record([0, 0, 1, 1], GOLD_A, setting="abstract", demo_seed=13),
        make_record([1, 1, 1, 0], GOLD_A, setting="abstract", demo_seed=21),
    ]
    shares = label_shares(collect_predictions(cells)["m-1"], task="t", label_setting="abstract")
    assert shares.mean_shares.tolist() == [[0.375, 0.625]]
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
    assert confusion_shares(counts).tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0.25, 0.25, 0.5]]


def test_changes_are_counted_by_task_and_setting() -> None:
    gained, lost, other = (1, 0, 1), (1, 1, 0), (1, 0, 2)  # gold, before, after
    changes = [
        PredictionChange(task, setting, "row", 13, *outcome)  # type: ignore[arg-type]
        for task, setting, outcomes in (
            ("b", "random", (gained, lost, gained, other)),
            ("b", "abstract", (lost,)),
            ("a", "random", (other,)),
            ("b", "random", (lost,)),
        )
        for outcome in outcomes
    ]
    assert changes_by_task(changes) == (
        TaskChanges("b", "random", gained=2, lost=2, changed=5),
        TaskChanges("b", "abstract", gained=0, lost=1, changed=1),
        TaskChanges("a", "random", gained=0, lost=0, changed=1),
    )
    assert changes_by_task([]) == ()
