"""Weights from the development set, equal ones, the best on the test set, and accuracy against w."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from icl_core.analysis.fusion.answers import answer_scores, fused_answers, member_answers
from icl_core.analysis.fusion.equations import adaptive_weights
from icl_core.analysis.fusion.members import FusionData, MemberResults, ModelSplits, collect_members
from icl_core.analysis.fusion.weights import (
    FusionWeights,
    WeightCurve,
    development_weights,
    fixed_weights,
    oracle_weights,
    weight_curve,
)
from icl_core.analysis.predictions import Normalisation, collect_predictions
from icl_core.records import CellRecord, CheckpointRef

FloatArray = npt.NDArray[np.float64]
ScoresFor = Callable[[str, str], FloatArray]

GOLD = {"a": [0, 0, 1, 1, 0, 1], "b": [0, 1, 2, 2, 1, 0]}
N_LABELS = {"a": 2, "b": 3}
SEEDS = (13, 21)


def by_hand(data: FusionData, weights: list[float]) -> FusionWeights:
    """The same weights for every task."""
    return FusionWeights("oracle", dict.fromkeys(data.tasks, np.array(weights)))


def test_curve_ends_are_the_members_and_the_oracle_is_the_best_point(data: FusionData) -> None:
    curve = weight_curve(data, n_weights=11, n_replicates=20)
    assert curve.value[-1] == pytest.approx(answer_scores(member_answers(data, 0)).mean)
    assert curve.value[0] == pytest.approx(answer_scores(member_answers(data, 1)).mean)
    for w, value in zip(curve.weight, curve.value, strict=True):
        expected = answer_scores(fused_answers(data, by_hand(data, [w, 1 - w]))).mean
        assert value == pytest.approx(expected)
    oracle = oracle_weights(data, curve)
    assert oracle.kind == "oracle"
    assert answer_scores(fused_answers(data, oracle)).mean == pytest.approx(curve.value.max())
    per_task = answer_scores(fused_answers(data, oracle_weights(data, curve, per_task=True)))
    assert per_task.by_task == pytest.approx({task: values.max() for task, values in curve.by_task.items()})


@pytest.mark.parametrize("normalisation", ["sum", "calibrated"])
def test_development_weights_come_from_development_accuracy_in_each_members_setting(
    data: FusionData, scores_for: ScoresFor, normalisation: Normalisation
) -> None:
    data = collect_members(data.members, normalisation=normalisation)

    def accuracy(name: str, task: str) -> float:
        empty = scores_for(f"{name}content-free", task)[0] if normalisation == "calibrated" else 0
        return float(((scores_for(name, task) - empty).argmax(-1) == GOLD[task]).mean())

    accuracies = {
        task: [
            np.mean([accuracy(f"m-1{at}{seed}{task}dev", task) for seed in SEEDS]) for at in ("10random", "20abstract")
        ]
        for task in GOLD
    }
    weights = development_weights(data)
    for task in GOLD:
        np.testing.assert_allclose(weights.by_task[task], adaptive_weights(accuracies[task], 1 / N_LABELS[task]))
    without = [task for task in GOLD if max(accuracies[task]) <= 1 / N_LABELS[task] + 1e-12]
    assert list(weights.equal_for_want_of_excess) == without
    pooled = development_weights(data, pooled=True)
    expected = adaptive_weights(np.mean(list(accuracies.values()), axis=0), (1 / 2 + 1 / 3) / 2)
    for task in GOLD:
        np.testing.assert_allclose(pooled.by_task[task], expected)


def test_w_is_the_first_of_two_members_weights_as_a_mean_over_tasks(data: FusionData) -> None:
    uneven = FusionWeights("adaptive", {"a": np.array([0.2, 0.8]), "b": np.array([0.4, 0.6])})
    assert uneven.mean_w == (0.2 + 0.4) / 2 and fixed_weights(data).mean_w == 0.5
    assert FusionWeights("fixed", {"a": np.full(3, 1 / 3)}).mean_w is None


def test_the_curve_is_read_at_the_nearest_weight(data: FusionData) -> None:
    curve = weight_curve(data, n_weights=11, n_replicates=2)
    assert curve.at(0.31) == curve.value[3] and curve.at(1.0, task="b") == curve.by_task["b"][10]


def weighed(
    make: Callable[..., CellRecord], make_ref: Callable[..., CheckpointRef], hits: list[list[int]]
) -> FusionData:
    """TR and TL with hits of 4 on the development set of tasks a and b, two labels each."""
    gold = [0, 1, 0, 1]
    cells = [
        make([g if i < n else 1 - g for i, g in enumerate(gold)], gold, task=task, setting=setting, split=split)
        for setting, of_tasks in zip(("random", "abstract"), hits, strict=True)
        for task, n in zip("ab", of_tasks, strict=True)
        for split in ("dev", "test")
    ]
    splits = ModelSplits(collect_predictions(cells)["m-1"], collect_predictions(cells, split="dev")["m-1"])
    return collect_members([MemberResults(splits, make_ref(0), setting) for setting in ("random", "abstract")])


def test_weights_by_hand_and_where_nobody_is_above_chance(
    make_record: Callable[..., CellRecord], make_ref: Callable[..., CheckpointRef]
) -> None:
    # Task a: excess .25 and .5. Task b: .25 and .5 are not above 1/2. Pooled: .5 and .75 against .5.
    data = weighed(make_record, make_ref, [[3, 1], [4, 2]])
    adaptive = development_weights(data)
    assert adaptive.by_task["a"].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert adaptive.by_task["b"].tolist() == [0.5, 0.5]
    assert (adaptive.kind, adaptive.equal_for_want_of_excess) == ("adaptive", ("b",))
    pooled = development_weights(data, pooled=True)
    assert [weights.tolist() for weights in pooled.by_task.values()] == [[0, 1], [0, 1]]
    assert (pooled.kind, pooled.equal_for_want_of_excess) == ("pooled", ())
    # Pooled .5 and .375: nobody is above chance, though TR is on task a.
    pooled = development_weights(weighed(make_record, make_ref, [[3, 1], [2, 1]]), pooled=True)
    assert [weights.tolist() for weights in pooled.by_task.values()] == [[0.5, 0.5], [0.5, 0.5]]
    assert pooled.equal_for_want_of_excess == ("a", "b")
    fixed = fixed_weights(data)
    assert (fixed.kind, [weights.tolist() for weights in fixed.by_task.values()]) == ("fixed", [[0.5, 0.5]] * 2)


def test_the_best_weight_is_the_nearest_to_a_half_of_equals(data: FusionData) -> None:
    weight = np.array([0, 0.2, 0.6, 1])
    by_task = {"a": np.array([0.5, 0.9 - 1e-13, 0.3, 0.9]), "b": np.array([0.8, 0.2, 0.7, 0.4])}
    value = np.array([0.5, 0.7, 0.7 - 1e-13, 0.7])
    curve = WeightCurve(weight, value, value, value, by_task)
    assert curve.oracle_weight == 0.6
    shared = oracle_weights(data, curve)
    assert [weights.tolist() for weights in shared.by_task.values()] == [[0.6, 0.4]] * 2
    each = oracle_weights(data, curve, per_task=True)
    assert (each.kind, {task: w.tolist() for task, w in each.by_task.items()}) == (
        "oracle",
        {"a": [0.2, 0.8], "b": [0, 1]},
    )


def test_a_curve_has_a_hundred_steps_and_the_band_of_its_seed(data: FusionData) -> None:
    curve = weight_curve(data, n_replicates=20)
    np.testing.assert_allclose(curve.weight, np.arange(101) / 100, atol=1e-15)
    same, other = (weight_curve(data, n_replicates=20, bootstrap_seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(curve.low, same.low)
    np.testing.assert_array_equal(curve.high, same.high)
    assert not np.array_equal(curve.low, other.low) and np.array_equal(curve.value, other.value)
    assert not np.array_equal(curve.low, weight_curve(data, n_replicates=40).low)
    ends, same = (weight_curve(data, n_weights=2, **options) for options in ({}, {"n_replicates": 300}))
    np.testing.assert_array_equal((ends.low, ends.high), (same.low, same.high))


def test_a_curve_under_another_measure(data: FusionData) -> None:
    curve = weight_curve(data, measure="macro_f1", n_weights=2, n_replicates=2)
    for at, member in ((1, 0), (0, 1)):
        alone = answer_scores(member_answers(data, member), measure="macro_f1")
        assert {task: values[at] for task, values in curve.by_task.items()} == pytest.approx(alone.by_task)
        assert curve.value[at] == pytest.approx(alone.mean) != answer_scores(member_answers(data, member)).mean
