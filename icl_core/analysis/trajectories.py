"""From stored cells to arrays, and from arrays to curves of ICL, TR and TL accuracy over pre-training.

It reads records that are handed in; it opens no store, loads no model and draws nothing. Definitions:
arXiv 2406.14022, section 2 (ICL, TR and TL are accuracy in the gold, random and abstract setting).

**What enters a mean.** Accuracy of a setting = mean over tasks of mean over seeds of mean over examples. A
checkpoint enters a setting's curve only when the cells of *all* chosen tasks and *all* chosen seeds exist;
otherwise the mean would jump because its ingredients change, not because the model does. Such checkpoints
are listed as partial with what is missing; checkpoints excluded by the caller (flagged weights) are listed
with their reason and enter nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from icl_core.analysis.statistics import (
    Measure,
    TaskReplicates,
    hierarchical_band,
    measure_of,
    replicate_task,
)
from icl_core.errors import StudyError
from icl_core.records import LABEL_SETTINGS, CellRecord, CheckpointRef, LabelSetting, Split

__all__ = [
    "NORMALISATIONS",
    "AbilityCurve",
    "AbilityCurves",
    "LabelShares",
    "Normalisation",
    "PairedPredictions",
    "PartialCheckpoint",
    "PredictionChange",
    "Predictions",
    "SettingScores",
    "SettingValues",
    "TaskCurve",
    "ability_curves",
    "baselines",
    "changed_predictions",
    "collect_predictions",
    "confusion",
    "correct",
    "label_shares",
    "normalised_scores",
    "paired_predictions",
    "predicted_labels",
    "select_scores",
    "setting_values",
]

Normalisation = Literal["sum", "per_token", "calibrated"]
NORMALISATIONS: tuple[Normalisation, ...] = ("sum", "per_token", "calibrated")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
LabelArray = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class SettingScores:
    """Everything scored for one task in one label setting; cells that are not present hold zeros.

    Attributes:
        loglikelihoods: (n_checkpoints, n_seeds, n_examples, n_choices) float32, nats.
        n_tokens: same shape, int32, tokens of each continuation.
        content_free: (n_checkpoints, n_seeds, n_choices) float32, the scores for the query "N/A".
        content_free_n_tokens: same shape, int32.
        gold: (n_examples,) int16, index of the true label.
        present: (n_checkpoints, n_seeds) bool.
        choices: for each seed the scored strings by natural label index; empty where no cell is present.
        row_ids: (n_examples,) the evaluated rows.
    """

    loglikelihoods: npt.NDArray[np.float32]
    n_tokens: npt.NDArray[np.int32]
    content_free: npt.NDArray[np.float32]
    content_free_n_tokens: npt.NDArray[np.int32]
    gold: LabelArray
    present: BoolArray
    choices: tuple[tuple[str, ...], ...]
    row_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """All scores of one model on one split, made under one set of options.

    Attributes:
        model: unique name.
        split: ``dev`` or ``test``.
        checkpoints: in the order of training.
        tasks: in the order in which they first came.
        demo_seeds: ascending.
        options: what all cells share (n_shots, template, label_word_set, sampling, dtype, attention, alphabet).
        scores: by (task, label setting); all arrays run over ``checkpoints`` and ``demo_seeds``.
        label_words: the natural words of each task, by label index.
        excluded: checkpoints left out by the caller, with the reason.
    """

    model: str
    split: Split
    checkpoints: tuple[CheckpointRef, ...]
    tasks: tuple[str, ...]
    demo_seeds: tuple[int, ...]
    options: Mapping[str, str | int]
    scores: Mapping[tuple[str, LabelSetting], SettingScores]
    label_words: Mapping[str, tuple[str, ...]]
    excluded: Mapping[CheckpointRef, str]

    @property
    def n_shots(self) -> int:
        """Demonstrations a prompt."""
        return int(self.options["n_shots"])

    def checkpoint_index(self, checkpoint: CheckpointRef) -> int:
        """Position of a checkpoint on the first axis of all arrays.

        Raises:
            StudyError: it is not there.
        """
        if checkpoint not in self.checkpoints:
            reason = self.excluded.get(checkpoint, "it has no results")
            raise StudyError(f"{self.model} at {checkpoint.revision} is not among the results: {reason}.")
        return self.checkpoints.index(checkpoint)

    def setting_scores(self, task: str, label_setting: LabelSetting) -> SettingScores:
        """The scores of one task in one setting.

        Raises:
            StudyError: nothing of it is stored.
        """
        if (task, label_setting) not in self.scores:
            raise StudyError(f"{self.model} has no {label_setting} results on {task} in split {self.split}.")
        return self.scores[task, label_setting]


_SHARED_OPTIONS = ("n_shots", "template", "label_word_set", "sampling", "dtype", "attention")


def collect_predictions(
    records: Iterable[CellRecord],
    *,
    split: Split = "test",
    excluded: Mapping[CheckpointRef, str] | None = None,
) -> dict[str, Predictions]:
    """Stacks stored cells into arrays, one ``Predictions`` a model, in the order in which models first come.

    Args:
        records: cells of any models, tasks, settings and seeds; those of the other split are passed over.
        split: which split to take.
        excluded: checkpoints to leave out (flagged weights), with the reason; they are listed, not stacked.

    Raises:
        StudyError: records of one model differ in an option (shots, template, alphabet, dtype, ...) or in a
            task's rows; the message names what differs. Such numbers must not share a curve.
    """
    left_out = dict(excluded or {})
    by_model: dict[str, list[CellRecord]] = {}
    for record in records:
        if record.spec.split == split:
            by_model.setdefault(record.spec.checkpoint.model, []).append(record)
    return {model: _stack_model(model, cells, split, left_out) for model, cells in by_model.items()}


def _stack_model(
    model: str, cells: Sequence[CellRecord], split: Split, excluded: Mapping[CheckpointRef, str]
) -> Predictions:
    options = _shared_options(model, cells)
    seen = {cell.spec.checkpoint for cell in cells}
    checkpoints = tuple(sorted((ref for ref in seen if ref not in excluded), key=_training_order))
    tasks = tuple(dict.fromkeys(cell.spec.task for cell in cells))
    demo_seeds = tuple(sorted({cell.spec.demo_seed for cell in cells}))
    by_setting: dict[tuple[str, LabelSetting], list[CellRecord]] = {}
    for cell in cells:
        if cell.spec.checkpoint not in excluded:
            by_setting.setdefault((cell.spec.task, cell.spec.label_setting), []).append(cell)
    for task in tasks:
        _refuse_different_rows(model, task, [cell for cell in cells if cell.spec.task == task])
    scores = {at: _stack_setting(group, checkpoints, demo_seeds) for at, group in by_setting.items()}
    return Predictions(
        model=model,
        split=split,
        checkpoints=checkpoints,
        tasks=tasks,
        demo_seeds=demo_seeds,
        options=options,
        scores=scores,
        label_words={cell.spec.task: cell.key.label_words for cell in cells},
        excluded={ref: reason for ref, reason in excluded.items() if ref.model == model},
    )


def _training_order(ref: CheckpointRef) -> tuple[bool, int, str]:
    return (ref.step is None, ref.step or 0, ref.revision)


def _shared_options(model: str, cells: Sequence[CellRecord]) -> dict[str, str | int]:
    values: dict[str, set[str | int]] = {name: {getattr(c.spec, name) for c in cells} for name in _SHARED_OPTIONS}
    # The alphabet changes nothing in the gold and random settings, so their cells serve every alphabet.
    values["alphabet"] = {cell.spec.alphabet for cell in cells if cell.spec.label_setting == "abstract"}
    for name, found in values.items():
        if len(found) > 1:
            listed = ", ".join(sorted(str(value) for value in found))
            raise StudyError(f"The results of {model} differ in {name} ({listed}); choose one before comparing.")
    return {name: next(iter(found)) for name, found in values.items() if found}


def _refuse_different_rows(model: str, task: str, cells: Sequence[CellRecord]) -> None:
    for name, words in (
        ("dataset_fingerprint", "the version of the dataset"),
        ("row_ids_sha256", "the rows evaluated"),
        ("label_words", "the label words"),
        ("task_version", "the version of the task"),
    ):
        if len({getattr(cell.key, name) for cell in cells}) > 1:
            raise StudyError(
                f"The results of {model} on {task} differ in {words}; evaluate all checkpoints on the same rows."
            )


def _stack_setting(
    cells: Sequence[CellRecord], checkpoints: tuple[CheckpointRef, ...], demo_seeds: tuple[int, ...]
) -> SettingScores:
    n_examples, n_choices = cells[0].loglikelihoods.shape
    shape = (len(checkpoints), len(demo_seeds))
    loglikelihoods = np.zeros((*shape, n_examples, n_choices), dtype=np.float32)
    n_tokens = np.zeros(loglikelihoods.shape, dtype=np.int32)
    content_free = np.zeros((*shape, n_choices), dtype=np.float32)
    content_free_n_tokens = np.zeros(content_free.shape, dtype=np.int32)
    present = np.zeros(shape, dtype=np.bool_)
    choices: list[tuple[str, ...]] = [() for _ in demo_seeds]
    at_checkpoint = {ref: i for i, ref in enumerate(checkpoints)}
    at_seed = {seed: i for i, seed in enumerate(demo_seeds)}
    for cell in cells:
        at = at_checkpoint[cell.spec.checkpoint], at_seed[cell.spec.demo_seed]
        loglikelihoods[at] = cell.loglikelihoods
        n_tokens[at] = cell.n_tokens
        content_free[at] = cell.content_free
        content_free_n_tokens[at] = cell.content_free_n_tokens
        present[at] = True
        choices[at[1]] = cell.choices
    gold = cells[0].gold.astype(np.int16)
    return SettingScores(
        loglikelihoods,
        n_tokens,
        content_free,
        content_free_n_tokens,
        gold,
        present,
        tuple(choices),
        cells[0].row_ids,
    )


def select_scores(scores: SettingScores, *, checkpoints: Sequence[int], seeds: Sequence[int]) -> SettingScores:
    """The same scores for some checkpoints and seeds, given by their positions on the first two axes."""
    at = np.ix_(list(checkpoints), list(seeds))
    return replace(
        scores,
        loglikelihoods=scores.loglikelihoods[at],
        n_tokens=scores.n_tokens[at],
        content_free=scores.content_free[at],
        content_free_n_tokens=scores.content_free_n_tokens[at],
        present=scores.present[at],
        choices=tuple(scores.choices[i] for i in seeds),
    )


def normalised_scores(scores: SettingScores, *, normalisation: Normalisation = "sum") -> FloatArray:
    """Scores whose argmax is the prediction and whose softmax is the label_probs.

    ``sum`` takes the log-likelihood, ``per_token`` its mean over the label's tokens, ``calibrated`` subtracts
    the log-likelihood for the content-free query under the same demonstrations (arXiv 2102.09690).

    Returns:
        (n_checkpoints, n_seeds, n_examples, n_choices) float64, nats up to a constant for each query.
    """
    total = scores.loglikelihoods.astype(np.float64)
    if normalisation == "sum":
        return total
    if normalisation == "per_token":
        return np.asarray(total / np.maximum(scores.n_tokens, 1))
    return np.asarray(total - scores.content_free[:, :, None, :])


def predicted_labels(scores: SettingScores, *, normalisation: Normalisation = "sum") -> LabelArray:
    """Predicted label of every query: argmax, ties to the lowest index.

    Returns:
        (n_checkpoints, n_seeds, n_examples) int16; -1 where the cell is not present.
    """
    if normalisation == "sum":
        values: npt.NDArray[np.floating] = scores.loglikelihoods
    else:
        values = normalised_scores(scores, normalisation=normalisation)
    predicted = np.argmax(values, axis=-1).astype(np.int16)
    return np.where(scores.present[:, :, None], predicted, np.int16(-1))


def correct(scores: SettingScores, *, normalisation: Normalisation = "sum") -> BoolArray:
    """Whether each prediction is the gold label: (n_checkpoints, n_seeds, n_examples); False where not present."""
    return np.asarray(predicted_labels(scores, normalisation=normalisation) == scores.gold)


@dataclass(frozen=True, slots=True)
class PartialCheckpoint:
    """A checkpoint that does not enter a setting's curve, and the (task, seed) cells that it lacks."""

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
        checkpoints: those that enter, in the order of training.
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
        partial: checkpoints that do not enter, with what is missing.
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
        StudyError: a task or seed without results is asked for.
    """
    tasks, seeds = _chosen(predictions, task, demo_seeds)
    entering, partial = _complete_checkpoints(predictions, tasks, seeds)
    settings = tuple(setting for setting in entering if entering[setting].size)
    replicates = []
    for index, name in enumerate(tasks):
        rng = np.random.default_rng([bootstrap_seed, index])
        points = [_chosen_labels(predictions, name, s, entering[s], seeds, normalisation) for s in settings]
        if points:
            gold = predictions.scores[name, settings[0]].gold
            stacked = np.concatenate(points)
            replicates.append(replicate_task(stacked, gold, measure=measure, n_replicates=n_replicates, rng=rng))
    curves = _curves_by_setting(predictions, tasks, {s: entering[s] for s in settings}, replicates)
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
            raise StudyError(f"{predictions.model} has no results for {what} {asked}; there are: {listed}.")
    return tasks, seeds


def _complete_checkpoints(
    predictions: Predictions, tasks: Sequence[str], seeds: Sequence[int]
) -> tuple[dict[LabelSetting, npt.NDArray[np.intp]], tuple[PartialCheckpoint, ...]]:
    """By setting that occurs at all: indices of the complete checkpoints; and what the others lack."""
    at_seed = [predictions.demo_seeds.index(seed) for seed in seeds]
    entering: dict[LabelSetting, npt.NDArray[np.intp]] = {}
    partial: list[PartialCheckpoint] = []
    for setting in LABEL_SETTINGS:
        if not any((task, setting) in predictions.scores for task in tasks):
            continue
        present = np.zeros((len(predictions.checkpoints), len(tasks), len(seeds)), dtype=np.bool_)
        for index, task in enumerate(tasks):
            if (task, setting) in predictions.scores:
                present[:, index] = predictions.scores[task, setting].present[:, at_seed]
        complete = present.all(axis=(1, 2))
        entering[setting] = np.flatnonzero(complete)
        for i in np.flatnonzero(~complete):
            missing = tuple((tasks[t], seeds[s]) for t, s in np.argwhere(~present[i]))
            partial.append(PartialCheckpoint(predictions.checkpoints[i], setting, missing))
    return entering, tuple(partial)


def _chosen_labels(
    predictions: Predictions,
    task: str,
    setting: LabelSetting,
    indices: npt.NDArray[np.intp],
    seeds: Sequence[int],
    normalisation: Normalisation,
) -> LabelArray:
    at_seed = [predictions.demo_seeds.index(seed) for seed in seeds]
    chosen = select_scores(predictions.scores[task, setting], checkpoints=indices.tolist(), seeds=at_seed)
    return predicted_labels(chosen, normalisation=normalisation)


def _gold(predictions: Predictions, task: str) -> LabelArray:
    return next(predictions.scores[task, s].gold for s in LABEL_SETTINGS if (task, s) in predictions.scores)


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

    Guessing has recall 1 / n_labels and, for a label that holds a share s of the rows, precision s; its F1 is
    taken from these two expectations.

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
    for setting, ability in (("random", "TR"), ("abstract", "TL")):
        if setting not in entering:
            raise StudyError(f"{predictions.model} has no {ability} results ({setting} labels); evaluate them first.")
    both = np.intersect1d(entering["random"], entering["abstract"])
    tr, tl = (
        tuple(_chosen_labels(predictions, name, setting, both, seeds, normalisation) for name in tasks)
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
    """A measure in one setting without bands, for choosing and comparing checkpoints.

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

    No complete checkpoint gives empty arrays.
    """
    tasks, seeds = _chosen(predictions, task, demo_seeds)
    entering, _ = _complete_checkpoints(predictions, tasks, seeds)
    indices = entering.get(label_setting, np.zeros(0, dtype=np.intp))
    values = np.zeros((len(tasks), indices.size, len(seeds)))
    for index, name in enumerate(tasks):
        if indices.size:
            labels = _chosen_labels(predictions, name, label_setting, indices, seeds, normalisation)
            values[index] = measure_of(labels, _gold(predictions, name), measure=measure)
    return SettingValues(tuple(predictions.checkpoints[i] for i in indices), tasks, values)


@dataclass(frozen=True, slots=True, eq=False)
class LabelShares:
    """How often each label is predicted.

    Attributes:
        checkpoints: those with all seeds present.
        label_words: (n_labels,) natural words.
        shares: (n_checkpoints, n_seeds, n_labels) shares of the predictions; they sum to 1 over labels.
        gold_shares: (n_labels,) shares of the gold labels.
        entropy: (n_checkpoints,) mean over seeds of the entropy of ``shares`` / log(n_labels): 1 is even, 0 is one
            label for everything. Taken before averaging over seeds, as abstract symbols change with the seed.
        gold_entropy: the same for the gold labels.
    """

    checkpoints: tuple[CheckpointRef, ...]
    label_words: tuple[str, ...]
    shares: FloatArray
    gold_shares: FloatArray
    entropy: FloatArray
    gold_entropy: float


def label_shares(
    predictions: Predictions, *, task: str, label_setting: LabelSetting, normalisation: Normalisation = "sum"
) -> LabelShares:
    """Shares of predictions by label, for one task in one setting.

    Raises:
        StudyError: nothing of it is stored.
    """
    scores = predictions.setting_scores(task, label_setting)
    words = predictions.label_words[task]
    complete = np.flatnonzero(scores.present.all(axis=1))
    labels = predicted_labels(scores, normalisation=normalisation)[complete]
    shares = np.stack([(labels == index).mean(axis=-1) for index in range(len(words))], axis=-1)
    gold_shares = np.bincount(scores.gold, minlength=len(words)) / scores.gold.size
    return LabelShares(
        checkpoints=tuple(predictions.checkpoints[i] for i in complete),
        label_words=words,
        shares=shares,
        gold_shares=gold_shares,
        entropy=_normalised_entropy(shares).mean(axis=-1),
        gold_entropy=float(_normalised_entropy(gold_shares)),
    )


def _normalised_entropy(shares: FloatArray) -> FloatArray:
    logs = np.log(shares, out=np.zeros(shares.shape), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=-1) / np.log(max(2, shares.shape[-1])))


def confusion(
    predictions: Predictions,
    *,
    task: str,
    label_setting: LabelSetting,
    checkpoint: CheckpointRef,
    normalisation: Normalisation = "sum",
) -> npt.NDArray[np.int64]:
    """(n_labels, n_labels) counts over all present seeds: row = gold label, column = predicted label.

    Raises:
        StudyError: the checkpoint or the setting has no results.
    """
    scores = predictions.setting_scores(task, label_setting)
    at = predictions.checkpoint_index(checkpoint)
    labels = predicted_labels(scores, normalisation=normalisation)[at][scores.present[at]]
    n_labels = len(predictions.label_words[task])
    counts = np.zeros((n_labels, n_labels), dtype=np.int64)
    np.add.at(counts, (np.broadcast_to(scores.gold, labels.shape), labels), 1)
    return counts


@dataclass(frozen=True, slots=True)
class PredictionChange:
    """A query that two checkpoints answer differently under the same demonstrations; labels by index."""

    task: str
    label_setting: LabelSetting
    row_id: str
    demo_seed: int
    gold: int
    before: int
    after: int

    @property
    def outcome(self) -> Literal["gained", "lost", "other"]:
        """``gained``: wrong, then right; ``lost``: right, then wrong; ``other``: wrong both times."""
        return "gained" if self.after == self.gold else "lost" if self.before == self.gold else "other"


def changed_predictions(
    predictions: Predictions,
    before: CheckpointRef,
    after: CheckpointRef,
    *,
    task: str,
    label_setting: LabelSetting,
    normalisation: Normalisation = "sum",
) -> tuple[PredictionChange, ...]:
    """The queries of one task that changed between two checkpoints, by seed, then in the order of the rows.

    Raises:
        StudyError: a checkpoint or the setting has no results.
    """
    scores = predictions.setting_scores(task, label_setting)
    labels = predicted_labels(scores, normalisation=normalisation)
    first, second = (labels[predictions.checkpoint_index(ref)] for ref in (before, after))
    changed = (first != second) & (first >= 0) & (second >= 0)
    return tuple(
        PredictionChange(
            task=task,
            label_setting=label_setting,
            row_id=scores.row_ids[e],
            demo_seed=predictions.demo_seeds[s],
            gold=int(scores.gold[e]),
            before=int(first[s, e]),
            after=int(second[s, e]),
        )
        for s, e in np.argwhere(changed)
    )
