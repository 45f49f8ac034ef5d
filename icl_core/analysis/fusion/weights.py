"""The weights of the members: equal, from development accuracy, or best on the test set; and accuracy against w.

It chooses no members and computes no gains. Source: arXiv 2406.14022, Eq. 6. Where the paper leaves a gap: Eq. 6 takes
accuracies on the development set, and chance is 1 / n_labels of a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from icl_core.analysis.fusion.equations import adaptive_weights, no_excess, weighted_sum
from icl_core.analysis.fusion.members import FusionData, FusionTask, MemberResults
from icl_core.analysis.predictions import correct, first_highest
from icl_core.analysis.statistics import Measure, hierarchical_band, replicate_task
from icl_core.errors import StudyError

__all__ = [
    "FusionWeights",
    "WeightCurve",
    "WeightKind",
    "development_weights",
    "fixed_weights",
    "oracle_weights",
    "weight_curve",
]

FloatArray = npt.NDArray[np.float64]
LabelArray = npt.NDArray[np.int16]

WeightKind = Literal["adaptive", "pooled", "fixed", "oracle"]
"""``adaptive``: Eq. 6 for each task. ``pooled``: Eq. 6 once, from the mean accuracies. ``fixed``: equal. ``oracle``:
best on the test set, an upper bound and never a result."""


@dataclass(frozen=True, slots=True, eq=False)
class FusionWeights:
    """Weights of the members for each task, and how they were found.

    Attributes:
        kind: how they were found.
        by_task: (n_members,) for each task.
        equal_for_want_of_excess: tasks on which no member was above chance on the development set, so that all weights
            are equal; with pooled weights, all tasks or none.
    """

    kind: WeightKind
    by_task: Mapping[str, FloatArray]
    equal_for_want_of_excess: tuple[str, ...] = ()

    @property
    def mean_w(self) -> float | None:
        """w, the first member's weight, mean over tasks; None unless there are two members."""
        firsts = [float(weights[0]) for weights in self.by_task.values() if len(weights) == 2]
        return sum(firsts) / len(firsts) if firsts else None


def fixed_weights(data: FusionData) -> FusionWeights:
    """The paper's fixed fusion: all members have equal weights."""
    n_members = len(data.members)
    return FusionWeights("fixed", {task: np.full(n_members, 1 / n_members) for task in data.tasks})


def development_weights(data: FusionData, *, pooled: bool = False) -> FusionWeights:
    """Eq. 6 from each member's development accuracy in its own setting, per task or pooled over tasks.

    Raises:
        StudyError: a member has no development results on a task.
    """
    accuracies = np.array([[_development_accuracy(m, task, data) for m in data.members] for task in data.tasks])
    chance = np.array([task.chance for task in data.tasks.values()])
    if pooled:
        weights = adaptive_weights(accuracies.mean(axis=0), chance.mean())
        without = tuple(data.tasks) if bool(no_excess(accuracies.mean(axis=0), chance.mean())) else ()
        return FusionWeights("pooled", dict.fromkeys(data.tasks, weights), without)
    by_task = dict(zip(data.tasks, adaptive_weights(accuracies, chance), strict=True))
    flagged = zip(data.tasks, no_excess(accuracies, chance), strict=True)
    return FusionWeights("adaptive", by_task, tuple(task for task, without in flagged if without))


def _development_accuracy(member: MemberResults, task: str, data: FusionData) -> float:
    predictions = member.model.development()
    at, seeds = member.place(predictions, task, data.demo_seeds)
    hits = correct(predictions.setting(task, member.label_setting), normalisation=data.normalisation)
    return float(hits[np.ix_([at], seeds)].mean())


@dataclass(frozen=True, slots=True, eq=False)
class WeightCurve:
    """A measure against the first member's weight; the second has the rest.

    Attributes:
        weight: (n_weights,) from 0 (second member alone) to 1 (first member alone).
        value: (n_weights,) mean over tasks.
        low: (n_weights,) lower end of the 95 % band.
        high: (n_weights,) upper end.
        by_task: (n_weights,) for each task.
    """

    weight: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray
    by_task: Mapping[str, FloatArray]

    def at(self, weight: float, *, task: str | None = None) -> float:
        """The measure at the weight of the curve nearest to this one, on one task or as the mean over tasks."""
        values = self.value if task is None else self.by_task[task]
        return float(values[int(np.argmin(np.abs(self.weight - weight)))])

    @property
    def oracle_weight(self) -> float:
        """The weight that is best on these test data (ties: nearest to 1/2); an upper bound and not a result."""
        return _best_weight(self.weight, self.value)


def _best_weight(weight: FloatArray, value: FloatArray) -> float:
    best = weight[value >= value.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def weight_curve(
    data: FusionData,
    *,
    measure: Measure = "accuracy",
    n_weights: int = 101,
    n_replicates: int = 300,
    bootstrap_seed: int = 0,
) -> WeightCurve:
    """The measure of the fusion of two members for evenly spread weights, one for all tasks.

    Raises:
        StudyError: not two members.
    """
    if len(data.members) != 2:
        raise StudyError(f"Accuracy against one weight needs two members, there are {len(data.members)}.")
    weight = np.linspace(0, 1, n_weights)
    replicates = []
    for index, task in enumerate(data.tasks.values()):
        predicted = _predicted_over_weights(task, weight)
        rng = np.random.default_rng([bootstrap_seed, index])
        replicates.append(replicate_task(predicted, task.gold, measure=measure, n_replicates=n_replicates, rng=rng))
    band = hierarchical_band(replicates)
    by_task = {name: part.value.mean(axis=1) for name, part in zip(data.tasks, replicates, strict=True)}
    return WeightCurve(weight, band.value, band.low, band.high, by_task)


def _predicted_over_weights(task: FusionTask, weight: FloatArray) -> LabelArray:
    """(n_weights, n_seeds, n_examples) answers, with the same arithmetic as ``fused_answers``."""
    return np.array([first_highest(weighted_sum(task.label_probs, np.array([w, 1 - w]))) for w in weight])


def oracle_weights(data: FusionData, curve: WeightCurve, *, per_task: bool = False) -> FusionWeights:
    """The weights that are best on the test data, one set for all tasks or one for each task: an upper bound."""
    best = {
        task: _best_weight(curve.weight, curve.by_task[task]) if per_task else curve.oracle_weight
        for task in data.tasks
    }
    return FusionWeights("oracle", {task: np.array([w, 1 - w]) for task, w in best.items()})
