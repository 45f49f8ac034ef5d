"""Fusion of the label probabilities of checkpoints that recognise the task and that learn it.

It combines stored scores; it loads no model (mixing parameters is elsewhere) and draws nothing. Source: arXiv
2406.14022, Eqs. 5-6. Column i of every score belongs to natural label i in every setting, so the abstract
symbols' probabilities are already carried back to the labels they stand for.

Where the paper leaves a gap: accuracies in Eq. 6 are those of the development set; chance is 1 / n_labels of a
task; an accuracy below chance counts as no excess, and members without any excess share the weight equally.
Which checkpoints take part is chosen in ``selection``; what a fusion gains is measured in ``gains``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from icl_core.analysis.predictions import (
    Normalisation,
    Predictions,
    SettingLabels,
    SettingScores,
    correct,
    first_highest,
    normalised_scores,
    predicted_labels,
    select_scores,
)
from icl_core.analysis.statistics import (
    Measure,
    hierarchical_band,
    measure_of,
    replicate_task,
)
from icl_core.errors import StudyError
from icl_core.records import CheckpointRef, LabelSetting

__all__ = [
    "AnswerScores",
    "Answers",
    "FusionData",
    "FusionTask",
    "FusionWeights",
    "Member",
    "ModelSplits",
    "WeightCurve",
    "adaptive_weights",
    "answer_scores",
    "collect_members",
    "development_weights",
    "equal_weights",
    "fuse",
    "fused_answers",
    "given_weights",
    "label_probs",
    "member_answers",
    "no_excess",
    "oracle_weights",
    "own_answers",
    "weight_curve",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
LabelArray = npt.NDArray[np.int16]


def adaptive_weights(accuracies: npt.ArrayLike, chance: npt.ArrayLike) -> FloatArray:
    """Eq. 6: each member's share of the summed excess over chance.

    Args:
        accuracies: (..., n_members) fractions, on the development set.
        chance: accuracy of guessing, one number or (...,).

    Returns:
        (..., n_members) weights, not negative, summing to 1. An accuracy below chance has no excess; where no
        member has any, all weights are equal (``no_excess`` tells where).

    >>> adaptive_weights([0.6, 0.4], 0.3).round(3).tolist()
    [0.75, 0.25]
    >>> adaptive_weights([0.2, 0.3], 0.5).tolist()
    [0.5, 0.5]
    """
    excess = _excess(accuracies, chance)
    total = excess.sum(axis=-1, keepdims=True)
    equal = np.full(excess.shape, 1 / excess.shape[-1])
    return np.asarray(np.divide(excess, total, out=equal, where=total > 0))


def no_excess(accuracies: npt.ArrayLike, chance: npt.ArrayLike) -> BoolArray:
    """Where no member is above chance, so that ``adaptive_weights`` are equal for want of better: (...,) bool.

    >>> no_excess([[0.2, 0.3], [0.6, 0.3]], 0.5).tolist()
    [True, False]
    """
    return np.asarray(_excess(accuracies, chance).sum(axis=-1) <= 0)


def _excess(accuracies: npt.ArrayLike, chance: npt.ArrayLike) -> FloatArray:
    values = np.asarray(accuracies, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0 or not bool(np.all((values >= 0) & (values <= 1))):
        raise StudyError("Fusion weights need one accuracy a member, each a fraction between 0 and 1.")
    guessing = np.asarray(chance, dtype=np.float64)
    if guessing.shape not in ((), values.shape[:-1]) or not bool(np.all((guessing >= 0) & (guessing <= 1))):
        raise StudyError("Fusion weights need one chance accuracy a task, a fraction between 0 and 1.")
    above = values - guessing[..., None]
    # An accuracy that equals chance must not gain a weight from binary rounding (1 - 2/3 against 1/3).
    return np.where(above > 1e-12, above, 0.0)


def fuse(label_probs: Sequence[npt.ArrayLike], weights: npt.ArrayLike) -> FloatArray:
    """Eq. 5 before the argmax: the weighted sum of the members' label_probs.

    Args:
        label_probs: n_members arrays (..., n_choices) in one order of queries and labels; rows sum to 1.
        weights: (n_members,) not negative, summing to 1; a weight of 1 gives that member back exactly.

    Returns:
        (..., n_choices); rows sum to 1. The prediction is the argmax, ties to the lowest index.

    Raises:
        StudyError: shapes differ, rows or weights do not sum to 1, or a weight is negative.

    >>> fuse([[[0.9, 0.1]], [[0.5, 0.5]]], [0.25, 0.75]).round(3).tolist()
    [[0.6, 0.4]]
    """
    members = [np.asarray(member, dtype=np.float64) for member in label_probs]
    checked = _weights(weights, len(members))
    shapes = {member.shape for member in members}
    if len(shapes) > 1:
        raise StudyError(f"Members have label probabilities of shapes {sorted(shapes)}; they need the same queries.")
    if any(not np.allclose(member.sum(axis=-1), 1, atol=1e-6) for member in members):
        raise StudyError("A member's label probabilities do not sum to 1 over the labels.")
    return _weighted_sum(members, checked)


def _weighted_sum(members: Sequence[FloatArray], weights: FloatArray) -> FloatArray:
    """Members without weight are left out, so that a weight of 1 is exact."""
    used = [(weight, member) for weight, member in zip(weights, members, strict=True) if weight > 0]
    return np.asarray(sum(weight * member for weight, member in used))


def _weights(weights: npt.ArrayLike, n_members: int) -> FloatArray:
    checked = np.asarray(weights, dtype=np.float64)
    if checked.shape != (n_members,) or n_members == 0:
        raise StudyError(f"{checked.size} fusion weights for {n_members} members; each member needs one.")
    if not (bool(np.all(checked >= 0)) and abs(float(checked.sum()) - 1) < 1e-9):
        raise StudyError(f"Fusion weights {checked.tolist()} must not be negative and must sum to 1.")
    return checked


def label_probs(scores: SettingScores, *, normalisation: Normalisation = "sum") -> FloatArray:
    """Softmax over the candidates' normalised scores, same shape as the log-likelihoods.

    ``calibrated`` divides the probabilities by those for the content-free query and renormalises.
    """
    return np.asarray(special.softmax(normalised_scores(scores, normalisation=normalisation), axis=-1))


@dataclass(frozen=True, slots=True, eq=False)
class ModelSplits:
    """A model's test results and, where it is to be chosen or weighed, its development results.

    Attributes:
        test: with their scores, or the predicted labels alone where scores are read when they are asked for.
        dev: with scores or without.
        read_scores: gives the test scores of one checkpoint in one setting; None where ``test`` holds them.
    """

    test: Predictions
    dev: Predictions | None = None
    read_scores: Callable[[CheckpointRef, LabelSetting], Predictions] | None = None

    def scores(self, checkpoint: CheckpointRef, label_setting: LabelSetting) -> Predictions:
        """Test results with the scores of at least one checkpoint in one setting."""
        return self.test if self.read_scores is None else self.read_scores(checkpoint, label_setting)

    def development(self) -> Predictions:
        """The development results.

        Raises:
            StudyError: there are none.
        """
        if self.dev is None:
            raise StudyError(
                f"{self.test.model} has no development results; evaluate split dev to choose checkpoints or weights."
            )
        return self.dev


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One checkpoint in the setting in which it takes part: random for a TR member, abstract for a TL member."""

    model: ModelSplits
    checkpoint: CheckpointRef
    label_setting: LabelSetting

    @property
    def name(self) -> str:
        """Model, revision and setting, for tables."""
        return f"{self.checkpoint.model} {self.checkpoint.revision} ({self.label_setting})"

    def scores(self, task: str, demo_seeds: Sequence[int]) -> SettingScores:
        """Its test scores on one task, (1, n_seeds, ...).

        Raises:
            StudyError: the checkpoint, the task or a seed is missing.
        """
        predictions = self.model.scores(self.checkpoint, self.label_setting)
        at = _place(predictions, self, task, demo_seeds)
        return select_scores(predictions.setting_scores(task, self.label_setting), checkpoints=at[0], seeds=at[1])


def _place(
    predictions: Predictions, member: Member, task: str, demo_seeds: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Positions of a member's checkpoint and of some seeds, all of which hold results on a task."""
    found = predictions.setting(task, member.label_setting)
    at = predictions.checkpoint_index(member.checkpoint)
    missing = [s for s in demo_seeds if s not in _present_seeds(predictions, found, at)]
    if missing:
        raise StudyError(
            f"{member.name} has no results on {task} (split {predictions.split}) for demo seeds {missing}; "
            "evaluate them or leave the seeds out."
        )
    return [at], [predictions.demo_seeds.index(s) for s in demo_seeds]


def _present_seeds(
    predictions: Predictions, found: SettingScores | SettingLabels, checkpoint_index: int
) -> tuple[int, ...]:
    present = found.present[checkpoint_index]
    return tuple(seed for seed, there in zip(predictions.demo_seeds, present, strict=True) if there)


@dataclass(frozen=True, slots=True, eq=False)
class FusionTask:
    """One task's label_probs from all members, in one order.

    Attributes:
        label_probs: for each member (n_seeds, n_examples, n_choices).
        gold: (n_examples,).
        row_ids: (n_examples,).
        label_words: (n_choices,) natural words.
    """

    label_probs: tuple[FloatArray, ...]
    gold: LabelArray
    row_ids: tuple[str, ...]
    label_words: tuple[str, ...]

    @property
    def chance(self) -> float:
        """1 / n_labels."""
        return 1 / len(self.label_words)


@dataclass(frozen=True, slots=True, eq=False)
class FusionData:
    """Members that answered the same queries under the same demonstrations.

    Attributes:
        members: at least one.
        tasks: by name.
        demo_seeds: seeds of the second axis.
        normalisation: of the scores.
    """

    members: tuple[Member, ...]
    tasks: Mapping[str, FusionTask]
    demo_seeds: tuple[int, ...]
    normalisation: Normalisation


def collect_members(
    members: Sequence[Member],
    *,
    tasks: Sequence[str] | None = None,
    demo_seeds: Sequence[int] | None = None,
    normalisation: Normalisation = "sum",
) -> FusionData:
    """Lines up the members' label_probs, or says what keeps them apart.

    Args:
        members: checkpoints of any models, each in its setting.
        tasks: None for the first member's.
        demo_seeds: None for the first member's; all members must hold exactly the same ones.
        normalisation: of the scores.

    Raises:
        StudyError: a member lacks a task or a seed; or shots, seeds, rows, label order or gold labels differ.
    """
    if not members:
        raise StudyError("Fusion needs at least one member; choose a checkpoint.")
    first = members[0]
    names = tuple(tasks) if tasks is not None else first.model.test.tasks
    if not names:
        raise StudyError(f"{first.name} has no task in common to fuse on; evaluate one.")
    for member in members[1:]:
        _refuse_different_options(first, member)
    seeds = tuple(demo_seeds) if demo_seeds is not None else _common_seeds(members, names)
    collected = {}
    for name in names:
        parts = [member.scores(name, seeds) for member in members]
        for member, part in zip(members[1:], parts[1:], strict=True):
            _refuse_different_queries(name, (first, parts[0]), (member, part))
        probs = tuple(label_probs(part, normalisation=normalisation)[0] for part in parts)
        words = first.model.test.label_words[name]
        collected[name] = FusionTask(probs, parts[0].gold, parts[0].row_ids, words)
    return FusionData(tuple(members), collected, seeds, normalisation)


def _refuse_different_options(first: Member, other: Member) -> None:
    for option in ("n_shots", "sampling"):
        one, two = (member.model.test.options[option] for member in (first, other))
        if one != two:
            raise StudyError(f"{first.name} has {option} {one} and {other.name} has {two}; fuse equal demonstrations.")


def _common_seeds(members: Sequence[Member], tasks: Sequence[str]) -> tuple[int, ...]:
    """The seeds of the first member on the first task; any other member or task must hold the same."""
    found = {}
    for member in members:
        test = member.model.test
        for task in tasks:
            setting = test.setting(task, member.label_setting)
            found[member.name, task] = _present_seeds(test, setting, test.checkpoint_index(member.checkpoint))
    (first_name, first_task), first = next(iter(found.items()))
    for (name, task), seeds in found.items():
        if seeds != first:
            raise StudyError(
                f"Demo seeds differ: {first_name} on {first_task} has {list(first)}, {name} on {task} has "
                f"{list(seeds)}; evaluate what is missing or choose common seeds."
            )
    return first


def _refuse_different_queries(
    task: str, first: tuple[Member, SettingScores], other: tuple[Member, SettingScores]
) -> None:
    (one, one_scores), (two, two_scores) = first, other
    words = one.model.test.label_words[task], two.model.test.label_words[task]
    who = f"{one.name} and {two.name} on {task}"
    if words[0] != words[1]:
        raise StudyError(f"{who}: labels or their order differ ({list(words[0])} and {list(words[1])}).")
    if one_scores.row_ids != two_scores.row_ids:
        only = set(one_scores.row_ids) ^ set(two_scores.row_ids)
        what = f"{len(only)} rows are in one only, such as {min(only)}" if only else "the same rows in another order"
        raise StudyError(f"{who}: test rows differ ({what}); evaluate both on the same rows.")
    if not np.array_equal(one_scores.gold, two_scores.gold):
        raise StudyError(f"{who}: gold labels of the same rows differ; the datasets are not the same version.")


@dataclass(frozen=True, slots=True, eq=False)
class FusionWeights:
    """Weights of the members for each task, and where they come from.

    Attributes:
        kind: ``adaptive`` (per task), ``pooled`` (one set from the mean accuracies), ``fixed`` (equal), ``given``, or
            ``oracle`` (best on the test set: an upper bound, never a result).
        by_task: (n_members,) for each task.
        equal_for_want_of_excess: tasks where no member was above chance on the development set (for pooled
            weights: all tasks or none).
    """

    kind: Literal["adaptive", "pooled", "fixed", "given", "oracle"]
    by_task: Mapping[str, FloatArray]
    equal_for_want_of_excess: tuple[str, ...] = ()


def equal_weights(data: FusionData) -> FusionWeights:
    """The paper's fixed fusion: every member weighs the same."""
    n_members = len(data.members)
    return FusionWeights("fixed", {task: np.full(n_members, 1 / n_members) for task in data.tasks})


def given_weights(data: FusionData, weights: npt.ArrayLike) -> FusionWeights:
    """The same weights, (n_members,), for every task.

    Raises:
        StudyError: negative, not summing to 1, or not one a member.
    """
    checked = _weights(weights, len(data.members))
    return FusionWeights("given", dict.fromkeys(data.tasks, checked))


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


def _development_accuracy(member: Member, task: str, data: FusionData) -> float:
    predictions = member.model.development()
    at = _place(predictions, member, task, data.demo_seeds)
    hits = correct(predictions.setting(task, member.label_setting), normalisation=data.normalisation)
    return float(hits[np.ix_(*at)].mean())


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Predicted labels of a checkpoint or of a fusion.

    Attributes:
        name: for tables.
        predicted: by task (n_seeds, n_examples).
        gold: by task (n_examples,).
        row_ids: by task.
        demo_seeds: order of the seed axis.
    """

    name: str
    predicted: Mapping[str, LabelArray]
    gold: Mapping[str, LabelArray]
    row_ids: Mapping[str, tuple[str, ...]]
    demo_seeds: tuple[int, ...]


def fused_answers(data: FusionData, weights: FusionWeights, *, name: str = "fusion") -> Answers:
    """Eq. 5: the argmax of the fused label_probs, ties to the lowest label index."""
    predicted = {}
    for task_name, task in data.tasks.items():
        fused = _weighted_sum(task.label_probs, _weights(weights.by_task[task_name], len(data.members)))
        predicted[task_name] = first_highest(fused)
    return _answers(name, predicted, data)


def own_answers(
    member: Member, tasks: Sequence[str], demo_seeds: Sequence[int], *, normalisation: Normalisation = "sum"
) -> Answers:
    """What a member answers that is fused with nothing; its predicted labels suffice.

    Raises:
        StudyError: the checkpoint, a task or a seed is missing.
    """
    test = member.model.test
    predicted, found = {}, {}
    for task in tasks:
        (at,), seeds = _place(test, member, task, demo_seeds)
        found[task] = test.setting(task, member.label_setting)
        predicted[task] = predicted_labels(found[task], normalisation=normalisation)[at, seeds]
    gold, row_ids = ({task: getattr(part, name) for task, part in found.items()} for name in ("gold", "row_ids"))
    return Answers(member.name, predicted, gold, row_ids, tuple(demo_seeds))


def member_answers(data: FusionData, index: int = 0) -> Answers:
    """What one member of several answers alone."""
    predicted = {name: first_highest(task.label_probs[index]) for name, task in data.tasks.items()}
    return _answers(data.members[index].name, predicted, data)


def _answers(name: str, predicted: Mapping[str, LabelArray], data: FusionData) -> Answers:
    gold = {task: part.gold for task, part in data.tasks.items()}
    return Answers(name, predicted, gold, {task: part.row_ids for task, part in data.tasks.items()}, data.demo_seeds)


@dataclass(frozen=True, slots=True, eq=False)
class AnswerScores:
    """A measure of answers.

    Attributes:
        by_task_seed: (n_tasks, n_seeds) fractions.
        tasks: order of the first axis.
    """

    by_task_seed: FloatArray
    tasks: tuple[str, ...]

    @property
    def mean(self) -> float:
        """Mean over tasks of mean over seeds."""
        return float(self.by_task_seed.mean())

    @property
    def by_seed(self) -> FloatArray:
        """(n_seeds,) mean over tasks."""
        return np.asarray(self.by_task_seed.mean(axis=0))

    @property
    def by_task(self) -> dict[str, float]:
        """Mean over seeds."""
        return dict(zip(self.tasks, self.by_task_seed.mean(axis=1).tolist(), strict=True))

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds of ``by_seed`` (the paper's +-); None with one seed."""
        return float(self.by_seed.std(ddof=1)) if self.by_seed.size > 1 else None


def answer_scores(answers: Answers, *, measure: Measure = "accuracy") -> AnswerScores:
    """One measure of all answers, by task and seed."""
    values = [measure_of(answers.predicted[task], answers.gold[task], measure=measure) for task in answers.predicted]
    return AnswerScores(np.array(values), tuple(answers.predicted))


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

    @property
    def oracle_weight(self) -> float:
        """The weight that is best on these test data (ties: nearest to 1/2): an upper bound, not a result."""
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
    """(n_weights, n_seeds, n_examples), by the same arithmetic as ``fused_answers``."""
    return np.array([first_highest(_weighted_sum(task.label_probs, np.array([w, 1 - w]))) for w in weight])


def oracle_weights(data: FusionData, curve: WeightCurve, *, per_task: bool = False) -> FusionWeights:
    """The weights that are best on the test data themselves, one for all tasks or one each: an upper bound."""
    best = {
        task: _best_weight(curve.weight, curve.by_task[task]) if per_task else curve.oracle_weight
        for task in data.tasks
    }
    return FusionWeights("oracle", {task: np.array([w, 1 - w]) for task, w in best.items()})
