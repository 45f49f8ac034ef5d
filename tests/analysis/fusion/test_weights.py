"""Weights from the development set, equal ones, the best on the test set, and accuracy against w."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from icl_core.analysis.fusion.answers import answer_scores, fused_answers, member_answers
from icl_core.analysis.fusion.equations import adaptive_weights
from icl_core.analysis.fusion.members import FusionData
from icl_core.analysis.fusion.weights import (
    FusionWeights,
    development_weights,
    fixed_weights,
    oracle_weights,
    weight_curve,
)

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


def test_development_weights_come_from_development_accuracy_in_each_members_setting(
    data: FusionData, scores_for: ScoresFor
) -> None:
    accuracies = {
        task: [
            np.mean([(scores_for(f"m-1{at}{seed}{task}dev", task).argmax(-1) == GOLD[task]).mean() for seed in SEEDS])
            for at in ("10random", "20abstract")
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
