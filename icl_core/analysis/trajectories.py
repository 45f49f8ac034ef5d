"""Curves of ICL, TR and TL over pre-training, with their bands.

It averages stacked predictions; ``drilldown`` looks at single queries. Definitions: arXiv 2406.14022, section 2 (ICL,
TR and TL are accuracy in the gold, random and abstract setting).

**What enters a mean.** Accuracy of a setting = mean over tasks of mean over seeds of mean over examples. A checkpoint
is on a setting's curve only if the cells of *all* chosen tasks and *all* chosen seeds exist; otherwise the mean would
jump because other cells are averaged, not because the model changed. An incomplete checkpoint is listed as partial,
with what is missing. A checkpoint that the caller excludes is listed with its reason and is on no curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from icl_core.analysis.predictions import (
    Normalisation,
    Predictions,
    predicted_labels,
)
from icl_core.analysis.statistics import (
    Measure,
    TaskReplicates,
    hierarchical_band,
    measure_of,
    replicate_task,
)
from icl_core.errors import StudyError
from icl_core.records import ABILITY_BY_SETTING, LABEL_SETTINGS, CheckpointRef, LabelSetting

__all__ = [
    "AbilityCurve",
    "AbilityCurves",
    "PairedPredictions",
    "PartialCheckpoint",
    "SettingValues",
    "TaskCurve",
    "ability_curves",
    "baselines",
    "paired_predictions",
    "setting_values",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
LabelArray = npt.NDArray[np.int16]
_COMPETING: tuple[LabelSetting, ...] = ("random", "abstract")


@dataclass(frozen=True, slots=True)
class PartialCheckpoint:
    """A checkpoint that is not on a setting's curve, and the (task, seed) cells that it lacks."""

    checkpoint: CheckpointRef
    label_setting: LabelSetting
    missing: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class TaskCurve:
    """One task of an ability curve.

    Attributes:
        value: (n_checkpoints,) mean over seeds, fraction.
        low: (n_checkpoints,) lower end of the 95 % band.
        high: (n_checkpoints,) upper end.
        by_seed: (n_checkpoints, n_seeds).
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    by_seed: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class AbilityCurve:
    """One label setting over the checkpoints that are complete in it.

    Attributes:
        label_setting: gold (ICL), random (TR) or abstract (TL).
        checkpoints: those on the curve, in the order of training.
        value: (n_checkpoints,) mean over tasks of mean over seeds of the measure, fraction.
        low: (n_checkpoints,) lower end of the 95 % band.
        high: (n_checkpoints,) upper end.
        by_task: the same for each task.
    """

    label_setting: LabelSetting
    checkpoints: tuple[CheckpointRef, ...]
    value: FloatArray
    low: FloatArray
    high: FloatArray
    by_task: Mapping[str, TaskCurve]


@dataclass(frozen=True, slots=True, eq=False)
class AbilityCurves:
    """The curves of one model under one measure.

    Attributes:
        model: unique name.
        measure: of ``statistics.MEASURES``.
        normalisation: of ``NORMALISATIONS``.
        tasks: tasks in the mean.
        demo_seeds: seeds in the mean.
        curves: by label setting; a setting without a complete checkpoint is absent.
        chance: the measure for uniform guessing, averaged over tasks.
        majority: the measure for always naming the commonest gold label, averaged over tasks.
        chance_by_task: before averaging.
        majority_by_task: before averaging.
        n_examples: queries of each task.
        partial: checkpoints that are not on a curve, with what is missing.
        excluded: checkpoints that the caller left out, with the reason.
        n_replicates: of the bootstrap behind the bands.
    """

    model: str
    measure: Measure
    normalisation: Normalisation
    tasks: tuple[str, ...]
    demo_seeds: tuple[int, ...]
    curves: Mapping[LabelSetting, AbilityCurve]
    chance: float
    majority: float
    chance_by_task: Mapping[str, float]
    majority_by_task: Mapping[str, float]
    n_examples: Mapping[str, int]
    partial: tuple[PartialCheckpoint, ...]
    excluded: Mapping[CheckpointRef, str]
    n_replicates: int

    def farthest_above_chance(self, label_setting: LabelSetting) -> tuple[str, ...]:
        """The tasks of one setting, those first whose last value is farthest above chance."""
        by_task = self.curves[label_setting].by_task
        return tuple(sorted(by_task, key=lambda task: self.chance_by_task[task] - float(by_task[task].value[-1])))


def ability_curves(
    predictions: Predictions,
    *,
    measure: Measure = "accuracy",
    normalisation: Normalisation = "sum",
    task: str | Sequence[str] | None = None,
    demo_seeds: Sequence[int] | None = None,
    n_replicates: int = 1000,
    bootstrap_seed: int = 0,
) -> AbilityCurves:
    """ICL, TR and TL over the checkpoints, with 95 % bands from the hierarchical bootstrap of ``statistics``.

    One draw of seeds and examples serves all settings and checkpoints, so their differences are paired.

    Args:
        predictions: one model.
        measure: accuracy, balanced_accuracy or macro_f1.
        normalisation: of the label scores.
        task: one task, several, or None for all.
        demo_seeds: the seeds in the mean, None for all that occur.
        n_replicates: bootstrap draws.
        bootstrap_seed: keys the draws; equal seeds give equal bands.

    Raises:
        StudyError: there are no results for a chosen task or seed.
    """
    tasks, seeds = _chosen(predictions, task, demo_seeds)
    entering, partial = _complete_checkpoints(predictions, tasks, seeds)
    settings = tuple(setting for setting in entering if entering[setting].size)
    replicates = []
    for index, name in enumerate(tasks):
        rng = np.random.default_rng([bootstrap_seed, index])
        points = [
            _chosen_labels(predictions, name, setting=s, indices=entering[s], seeds=seeds, normalisation=normalisation)
            for s in settings
        ]
        if points:
            gold = predictions.settings[name, settings[0]].gold
            stacked = np.concatenate(points)
            replicates.append(replicate_task(stacked, gold, measure=measure, n_replicates=n_replicates, rng=rng))
    curves = _curves_by_setting(predictions, tasks, entering={s: entering[s] for s in settings}, replicates=replicates)
    chance, majority = _baselines_by_task(predictions, tasks, measure)
    return AbilityCurves(
        model=predictions.model,
        measure=measure,
        normalisation=normalisation,
        tasks=tasks,
        demo_seeds=seeds,
        curves=curves,
        chance=float(np.mean(list(chance.values()))),
        majority=float(np.mean(list(majority.values()))),
        chance_by_task=chance,
        majority_by_task=majority,
        n_examples={name: _gold(predictions, name).size for name in tasks},
        partial=partial,
        excluded=predictions.excluded,
        n_replicates=n_replicates,
    )


def _curves_by_setting(
    predictions: Predictions,
    tasks: Sequence[str],
    *,
    entering: Mapping[LabelSetting, npt.NDArray[np.intp]],
    replicates: Sequence[TaskReplicates],
) -> dict[LabelSetting, AbilityCurve]:
    if not entering:
        return {}
    mean = hierarchical_band(replicates)
    by_task = {}
    for name, task in zip(tasks, replicates, strict=True):
        band = hierarchical_band([task])
        by_task[name] = (band.value, band.low, band.high, task.value)
    curves: dict[LabelSetting, AbilityCurve] = {}
    start = 0
    for setting, indices in entering.items():
        part = slice(start, start + indices.size)
        start += indices.size
        curves[setting] = AbilityCurve(
            label_setting=setting,
            checkpoints=tuple(predictions.checkpoints[i] for i in indices),
            value=mean.value[part],
            low=mean.low[part],
            high=mean.high[part],
            by_task={name: TaskCurve(*(array[part] for array in arrays)) for name, arrays in by_task.items()},
        )
    return curves


def _chosen(
    predictions: Predictions, task: str | Sequence[str] | None, demo_seeds: Sequence[int] | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The tasks and seeds asked for, checked; None means all."""
    tasks = predictions.tasks if task is None else (task,) if isinstance(task, str) else tuple(task)
    seeds = predictions.demo_seeds if demo_seeds is None else tuple(demo_seeds)
    for what, chosen, known in (("task", tasks, predictions.tasks), ("demo seed", seeds, predictions.demo_seeds)):
        unknown = [str(item) for item in chosen if item not in known]
        if unknown or not chosen:
            listed = ", ".join(map(str, known)) or "none"
            asked = ", ".join(unknown) or "nothing"
            results = "development results" if predictions.split == "dev" else "results"
            raise StudyError(f"{predictions.model} has no {results} for {what} {asked}; there are: {listed}.")
    return tasks, seeds


def _complete_checkpoints(
    predictions: Predictions, tasks: Sequence[str], seeds: Sequence[int]
) -> tuple[dict[LabelSetting, npt.NDArray[np.intp]], tuple[PartialCheckpoint, ...]]:
    """For each setting with results, the indices of the complete checkpoints; and what the others lack."""
    at_seed = [predictions.demo_seeds.index(seed) for seed in seeds]
    entering: dict[LabelSetting, npt.NDArray[np.intp]] = {}
    partial: list[PartialCheckpoint] = []
    for setting in LABEL_SETTINGS:
        if not any((task, setting) in predictions.settings for task in tasks):
            continue
        present = np.zeros((len(predictions.checkpoints), len(tasks), len(seeds)), dtype=np.bool_)
        for index, task in enumerate(tasks):
            if (task, setting) in predictions.settings:
                present[:, index] = predictions.settings[task, setting].present[:, at_seed]
        complete = present.all(axis=(1, 2))
        entering[setting] = np.flatnonzero(complete)
        for i in np.flatnonzero(~complete):
            missing = tuple((tasks[t], seeds[s]) for t, s in np.argwhere(~present[i]))
            partial.append(PartialCheckpoint(predictions.checkpoints[i], setting, missing))
    return entering, tuple(partial)


def _chosen_labels(
    predictions: Predictions,
    task: str,
    *,
    setting: LabelSetting,
    indices: npt.NDArray[np.intp],
    seeds: Sequence[int],
    normalisation: Normalisation,
) -> LabelArray:
    at_seed = [predictions.demo_seeds.index(seed) for seed in seeds]
    labels = predicted_labels(predictions.settings[task, setting], normalisation=normalisation)
    return labels[indices][:, at_seed]


def _gold(predictions: Predictions, task: str) -> LabelArray:
    return next(predictions.settings[task, s].gold for s in LABEL_SETTINGS if (task, s) in predictions.settings)


def _baselines_by_task(
    predictions: Predictions, tasks: Sequence[str], measure: Measure
) -> tuple[dict[str, float], dict[str, float]]:
    both = {
        task: baselines(_gold(predictions, task), n_labels=len(predictions.label_words[task]), measure=measure)
        for task in tasks
    }
    return {task: pair[0] for task, pair in both.items()}, {task: pair[1] for task, pair in both.items()}


def baselines(gold: npt.ArrayLike, *, n_labels: int, measure: Measure = "accuracy") -> tuple[float, float]:
    """The measure for uniform guessing and for always naming the commonest gold label (ties: lowest index).

    Guessing has recall 1 / n_labels, and precision s for a label with a share s of the rows; F1 follows from these two
    expectations.

    >>> baselines([0, 0, 0, 1], n_labels=2)
    (0.5, 0.75)
    >>> baselines([0, 0, 0, 1], n_labels=2, measure="balanced_accuracy")
    (0.5, 0.5)
    """
    indices = np.asarray(gold, dtype=np.int64)
    shares = np.bincount(indices, minlength=n_labels) / indices.size
    commonest = np.full(indices.shape, np.argmax(shares))
    recall = 1 / n_labels
    chance = recall
    if measure == "macro_f1":
        occurring = shares[shares > 0]
        chance = float(np.mean(2 * occurring * recall / (occurring + recall)))
    return chance, float(measure_of(commonest, indices, measure=measure))


@dataclass(frozen=True, slots=True, eq=False)
class PairedPredictions:
    """Predicted labels under random (TR) and abstract labels (TL) at the checkpoints that are complete in both.

    Attributes:
        checkpoints: in the order of training.
        tasks: order of the tuples below.
        demo_seeds: order of the seed axes.
        tr_predicted: for each task (n_checkpoints, n_seeds, n_examples) int16.
        tl_predicted: the same.
        gold: for each task (n_examples,).
        partial: checkpoints left out, with what they lack.
    """

    checkpoints: tuple[CheckpointRef, ...]
    tasks: tuple[str, ...]
    demo_seeds: tuple[int, ...]
    tr_predicted: tuple[LabelArray, ...]
    tl_predicted: tuple[LabelArray, ...]
    gold: tuple[LabelArray, ...]
    partial: tuple[PartialCheckpoint, ...]

    @property
    def tr_correct(self) -> tuple[BoolArray, ...]:
        """For each task (n_checkpoints, n_seeds, n_examples)."""
        return tuple(p == g for p, g in zip(self.tr_predicted, self.gold, strict=True))

    @property
    def tl_correct(self) -> tuple[BoolArray, ...]:
        """For each task (n_checkpoints, n_seeds, n_examples)."""
        return tuple(p == g for p, g in zip(self.tl_predicted, self.gold, strict=True))


def paired_predictions(
    predictions: Predictions,
    *,
    normalisation: Normalisation = "sum",
    task: str | Sequence[str] | None = None,
    demo_seeds: Sequence[int] | None = None,
) -> PairedPredictions:
    """What competition and its noise floor need; arguments as in ``ability_curves``.

    Raises:
        StudyError: nothing is stored in one of the two settings.
    """
    tasks, seeds = _chosen(predictions, task, demo_seeds)
    entering, partial = _complete_checkpoints(predictions, tasks, seeds)
    for setting in _COMPETING:
        if setting not in entering:
            ability = ABILITY_BY_SETTING[setting]
            raise StudyError(f"{predictions.model} has no {ability} results ({setting} labels); evaluate them first.")
    both = np.intersect1d(entering["random"], entering["abstract"])
    tr, tl = (
        tuple(
            _chosen_labels(predictions, name, setting=setting, indices=both, seeds=seeds, normalisation=normalisation)
            for name in tasks
        )
        if both.size
        else ()
        for setting in ("random", "abstract")
    )
    return PairedPredictions(
        checkpoints=tuple(predictions.checkpoints[i] for i in both),
        tasks=tasks,
        demo_seeds=seeds,
        tr_predicted=tr,
        tl_predicted=tl,
        gold=tuple(_gold(predictions, name) for name in tasks) if both.size else (),
        partial=tuple(item for item in partial if item.label_setting != "gold"),
    )


@dataclass(frozen=True, slots=True, eq=False)
class SettingValues:
    """A measure in one setting, without bands, for choosing and comparing checkpoints.

    Attributes:
        checkpoints: those with all chosen cells, in the order of training.
        tasks: order of the first axis.
        by_task: (n_tasks, n_checkpoints, n_seeds) fractions.
    """

    checkpoints: tuple[CheckpointRef, ...]
    tasks: tuple[str, ...]
    by_task: FloatArray

    @property
    def value(self) -> FloatArray:
        """(n_checkpoints,) mean over tasks of mean over seeds."""
        return np.asarray(self.by_task.mean(axis=(0, 2)))


def setting_values(
    predictions: Predictions,
    label_setting: LabelSetting,
    *,
    measure: Measure = "accuracy",
    normalisation: Normalisation = "sum",
    task: str | Sequence[str] | None = None,
    demo_seeds: Sequence[int] | None = None,
) -> SettingValues:
    """The values of ``ability_curves`` for one setting, without resampling; arguments as there.

    Arrays are empty if no checkpoint is complete.
    """
    tasks, seeds = _chosen(predictions, task, demo_seeds)
    entering, _ = _complete_checkpoints(predictions, tasks, seeds)
    indices = entering.get(label_setting, np.zeros(0, dtype=np.intp))
    values = np.zeros((len(tasks), indices.size, len(seeds)))
    for index, name in enumerate(tasks):
        if indices.size:
            labels = _chosen_labels(
                predictions, name, setting=label_setting, indices=indices, seeds=seeds, normalisation=normalisation
            )
            values[index] = measure_of(labels, _gold(predictions, name), measure=measure)
    return SettingValues(tuple(predictions.checkpoints[i] for i in indices), tasks, values)
