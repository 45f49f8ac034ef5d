"""Curves from hand-made records: means, completeness, measures, label shares, drill-down."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from icl_core.analysis.predictions import collect_predictions
from icl_core.analysis.trajectories import ability_curves, baselines, paired_predictions
from icl_core.errors import StudyError
from icl_core.records import CellRecord, CheckpointRef

Make = Callable[..., CellRecord]
MakeRef = Callable[..., CheckpointRef]
GOLD_A = [0, 0, 1, 1]
GOLD_B = [0, 1, 2, 2, 2]


def grid(make: Make, *, skip: set[tuple[int, str, str, int]] = frozenset()) -> list[CellRecord]:  # type: ignore[assignment]
    """Three steps, two tasks (2 and 3 labels), three settings, two seeds; prediction = label (step + seed) mod n."""
    cells = []
    for step, setting, seed in product((0, 10, 20), ("gold", "random", "abstract"), (13, 21)):
        for task, gold, n in (("a", GOLD_A, 2), ("b", GOLD_B, 3)):
            if (step, task, setting, seed) not in skip:
                predicted = [(step // 10 + (seed == 21)) % n] * len(gold)
                cells.append(make(predicted, gold, step=step, task=task, setting=setting, demo_seed=seed, n_labels=n))
    return cells


def test_mean_over_tasks_of_mean_over_seeds_of_mean_over_examples(make_record: Make) -> None:
    predictions = collect_predictions(grid(make_record))["m-1"]
    curves = ability_curves(predictions, n_replicates=50)
    # Task a: every constant answer is right half the time. Task b: seeds name labels (0, 1), (1, 2), (2, 0),
    # whose shares are 1/5, 1/5, 3/5.
    task_b = [(0.2 + 0.2) / 2, (0.2 + 0.6) / 2, (0.6 + 0.2) / 2]
    curve = curves.curves["abstract"]
    np.testing.assert_allclose(curve.by_task["a"].value, [0.5] * 3)
    np.testing.assert_allclose(curve.by_task["b"].value, task_b)
    np.testing.assert_allclose(curve.by_task["b"].by_seed, [[0.2, 0.2], [0.2, 0.6], [0.6, 0.2]])
    np.testing.assert_allclose(curve.value, [(0.5 + b) / 2 for b in task_b])
    assert [ref.step for ref in curve.checkpoints] == [0, 10, 20]
    assert curves.chance == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert curves.majority == pytest.approx((1 / 2 + 3 / 5) / 2)
    assert curves.n_examples == {"a": 4, "b": 5} and curves.partial == ()
    assert bool(np.all((curve.low <= curve.value) & (curve.value <= curve.high)))


def test_tasks_stand_in_the_order_of_what_is_above_chance_at_the_end(make_record: Make) -> None:
    """Task a ends at its chance of 1/2, b at 2/5, which is above its chance of 1/3."""
    curves = ability_curves(collect_predictions(grid(make_record))["m-1"], n_replicates=20)
    assert curves.farthest_above_chance("gold") == ("b", "a")


def test_one_task_and_one_seed(make_record: Make) -> None:
    predictions = collect_predictions(grid(make_record))["m-1"]
    curves = ability_curves(predictions, task="b", demo_seeds=(21,), n_replicates=50)
    np.testing.assert_allclose(curves.curves["gold"].value, [0.2, 0.6, 0.2])
    assert curves.tasks == ("b",) and curves.demo_seeds == (21,)


def test_balanced_accuracy_and_macro_f1_of_a_constant_answer(make_record: Make) -> None:
    predictions = collect_predictions(grid(make_record))["m-1"]
    balanced = ability_curves(predictions, measure="balanced_accuracy", task="b", n_replicates=20)
    np.testing.assert_allclose(balanced.curves["gold"].value, [1 / 3] * 3)
    assert balanced.chance == pytest.approx(1 / 3) and balanced.majority == pytest.approx(1 / 3)
    f1 = ability_curves(predictions, measure="macro_f1", task="b", n_replicates=20)
    f1_of = {share: 2 * share / (1 + share) / 3 for share in (0.2, 0.6)}
    np.testing.assert_allclose(f1.curves["gold"].by_task["b"].by_seed[1], [f1_of[0.2], f1_of[0.6]])
    assert f1.majority == pytest.approx(f1_of[0.6])


def test_a_checkpoint_enters_only_when_complete_and_only_where_complete(make_record: Make) -> None:
    skip = {(10, "b", "random", 21), (10, "a", "random", 13), (20, "b", "gold", 13)}
    predictions = collect_predictions(grid(make_record, skip=skip))["m-1"]
    curves = ability_curves(predictions, n_replicates=20)
    assert {s: [r.step for r in c.checkpoints] for s, c in curves.curves.items()} == {
        "gold": [0, 10],
        "random": [0, 20],
        "abstract": [0, 10, 20],
    }
    listed = {(p.checkpoint.step, p.label_setting): p.missing for p in curves.partial}
    assert listed == {(20, "gold"): (("b", 13),), (10, "random"): (("a", 13), ("b", 21))}
    paired = paired_predictions(predictions)
    assert [r.step for r in paired.checkpoints] == [0, 20]
    assert [p.checkpoint.step for p in paired.partial] == [10]
    one_task = ability_curves(predictions, task="a", demo_seeds=(21,), n_replicates=20)
    assert one_task.partial == ()


def test_excluded_checkpoints_are_listed_and_enter_nothing(make_record: Make, make_ref: MakeRef) -> None:
    flagged = {make_ref(10): "shares its weights with step20"}
    predictions = collect_predictions(grid(make_record), excluded=flagged)["m-1"]
    curves = ability_curves(predictions, n_replicates=20)
    assert [r.step for r in curves.curves["gold"].checkpoints] == [0, 20]
    assert dict(curves.excluded) == flagged
    with pytest.raises(StudyError, match="shares its weights"):
        predictions.checkpoint_index(make_ref(10))


def test_nothing_complete_gives_no_curves_and_everything_excluded_says_so(make_record: Make, make_ref: MakeRef) -> None:
    cells = [make_record([0, 1], [0, 1], demo_seed=13), make_record([0, 1], [0, 1], step=10, demo_seed=21)]
    curves = ability_curves(collect_predictions(cells)["m-1"], n_replicates=5)
    assert curves.curves == {} and len(curves.partial) == 2
    gone = collect_predictions(cells, excluded={make_ref(0): "flagged", make_ref(10): "flagged"})["m-1"]
    assert gone.checkpoints == () and len(gone.excluded) == 2
    with pytest.raises(StudyError, match="there are: none"):
        ability_curves(gone)


def test_order_of_records_does_not_matter(make_record: Make) -> None:
    cells = grid(make_record)
    one = ability_curves(collect_predictions(cells)["m-1"], task=("a", "b"), n_replicates=30)
    other = ability_curves(collect_predictions(cells[::-1])["m-1"], task=("a", "b"), n_replicates=30)
    for setting in one.curves:
        np.testing.assert_array_equal(one.curves[setting].low, other.curves[setting].low)


def test_unknown_task_or_seed_is_named(make_record: Make) -> None:
    predictions = collect_predictions(grid(make_record))["m-1"]
    with pytest.raises(StudyError, match="task zzz; there are: a, b"):
        ability_curves(predictions, task="zzz")
    with pytest.raises(StudyError, match="demo seed 7"):
        ability_curves(predictions, demo_seeds=(7,))
    with pytest.raises(StudyError, match="no results for demo seed nothing"):
        ability_curves(predictions, demo_seeds=())


def test_competition_needs_both_abilities(make_record: Make) -> None:
    predictions = collect_predictions([make_record([0, 0], [0, 1]), make_record([0, 0], [0, 1], setting="random")])
    with pytest.raises(StudyError, match="no TL results"):
        paired_predictions(predictions["m-1"])


def test_baselines_under_macro_f1() -> None:
    chance, majority = baselines([0, 0, 0, 1], n_labels=2, measure="macro_f1")
    assert majority == pytest.approx((2 * 0.75 / 1.75) / 2)
    assert chance == pytest.approx((2 * 0.75 * 0.5 / 1.25 + 2 * 0.25 * 0.5 / 0.75) / 2)
