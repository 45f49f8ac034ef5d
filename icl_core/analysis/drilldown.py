"""What lies behind an accuracy: which labels are predicted, which are confused, which queries change.

It takes stacked predictions; it does not average over tasks and resamples nothing. A model that names one label for
nearly everything can still be accurate (arXiv 2102.09690, majority-label bias), so these are shown with each accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from icl_core.analysis.predictions import Normalisation, Predictions, predicted_labels
from icl_core.records import CheckpointRef, LabelSetting

__all__ = [
    "ChangeOfAnswer",
    "LabelShares",
    "PredictionChange",
    "TaskChanges",
    "change_of_answer",
    "changed_predictions",
    "changes_by_task",
    "confusion",
    "confusion_shares",
    "label_shares",
]

FloatArray = npt.NDArray[np.float64]
ChangeOfAnswer = Literal["gained", "lost", "other"]


def change_of_answer(before: int, after: int, *, gold: int) -> ChangeOfAnswer:
    """The kind of change from one answer to a different one.

    Args:
        before: label index of the earlier answer.
        after: label index of the later answer, which differs.
        gold: index of the true label.

    Returns:
        ``gained``: wrong, then right; ``lost``: right, then wrong; ``other``: wrong both times.
    """
    return "gained" if after == gold else "lost" if before == gold else "other"


@dataclass(frozen=True, slots=True, eq=False)
class LabelShares:
    """How often each label is predicted.

    Attributes:
        checkpoints: those with all seeds present.
        label_words: (n_labels,) natural words.
        shares: (n_checkpoints, n_seeds, n_labels) shares of the predictions; they sum to 1 over labels.
        gold_shares: (n_labels,) shares of the gold labels.
        entropy: (n_checkpoints,) entropy of ``shares`` / log(n_labels), mean over seeds: 1 if labels are even, 0 if one
            label is predicted for everything. It is taken before averaging, since abstract symbols change with the
            seed.
        gold_entropy: the same for the gold labels.
    """

    checkpoints: tuple[CheckpointRef, ...]
    label_words: tuple[str, ...]
    shares: FloatArray
    gold_shares: FloatArray
    entropy: FloatArray
    gold_entropy: float

    @property
    def mean_shares(self) -> FloatArray:
        """(n_checkpoints, n_labels) mean of ``shares`` over seeds."""
        return np.asarray(self.shares.mean(axis=1))


def label_shares(
    predictions: Predictions, *, task: str, label_setting: LabelSetting, normalisation: Normalisation = "sum"
) -> LabelShares:
    """Shares of predictions by label, for one task in one setting.

    Raises:
        StudyError: nothing of it is stored.
    """
    scores = predictions.setting(task, label_setting)
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
    scores = predictions.setting(task, label_setting)
    at = predictions.checkpoint_index(checkpoint)
    labels = predicted_labels(scores, normalisation=normalisation)[at][scores.present[at]]
    n_labels = len(predictions.label_words[task])
    counts = np.zeros((n_labels, n_labels), dtype=np.int64)
    np.add.at(counts, (np.broadcast_to(scores.gold, labels.shape), labels), 1)
    return counts


def confusion_shares(counts: npt.NDArray[np.int64]) -> FloatArray:
    """(n_labels, n_labels) each row of ``confusion`` over its sum; 0 for a gold label that does not occur."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0))


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
    def outcome(self) -> ChangeOfAnswer:
        """The kind of change from ``before`` to ``after``."""
        return change_of_answer(self.before, self.after, gold=self.gold)


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
    scores = predictions.setting(task, label_setting)
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


@dataclass(frozen=True, slots=True)
class TaskChanges:
    """How many answers to one task in one setting changed; ``changed`` counts those from wrong to wrong too."""

    task: str
    label_setting: LabelSetting
    gained: int
    lost: int
    changed: int


def changes_by_task(changes: Sequence[PredictionChange]) -> tuple[TaskChanges, ...]:
    """Changes counted by task and setting, in the order in which these first come."""
    found: dict[tuple[str, LabelSetting], list[ChangeOfAnswer]] = {}
    for change in changes:
        found.setdefault((change.task, change.label_setting), []).append(change.outcome)
    return tuple(
        TaskChanges(task, setting, outcomes.count("gained"), outcomes.count("lost"), len(outcomes))
        for (task, setting), outcomes in found.items()
    )
