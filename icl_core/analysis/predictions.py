"""Stored cells stacked into arrays, with their scores or only with the predicted labels.

The caller gives the cells; this module opens no store, averages nothing and draws nothing. Cells with different options
or rows are refused: their numbers must not share a curve. Normalisations of the label scores: arXiv 2005.14165, section
2.4 (per token), and arXiv 2102.09690 (calibrated).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from icl_core.errors import StudyError, UnknownNameError
from icl_core.records import SHARED_OPTIONS, CellKey, CellRecord, CellSpec, CheckpointRef, LabelSetting, Split
from icl_core.registry.names import home_of, order_question, training_order

__all__ = [
    "NORMALISATIONS",
    "CellLabels",
    "Normalisation",
    "Predictions",
    "SettingLabels",
    "SettingScores",
    "collect_predictions",
    "correct",
    "first_highest",
    "labels_of",
    "normalised_scores",
    "predicted_labels",
    "select_scores",
]

Normalisation = Literal["sum", "per_token", "calibrated"]
NORMALISATIONS: tuple[Normalisation, ...] = ("sum", "per_token", "calibrated")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
LabelArray = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class CellLabels:
    """What a stored cell predicts, without its scores.

    Attributes:
        spec, key, row_ids, gold, choices, context_cut, n_shortened: as those of ``CellRecord``; gold is int16.
        normalisation: of the scores from which the labels were predicted.
        predicted: (n_examples,) the predicted labels, of any integer type.
    """

    spec: CellSpec
    key: CellKey
    row_ids: tuple[str, ...]
    gold: LabelArray
    normalisation: Normalisation
    predicted: npt.NDArray[np.integer]
    choices: tuple[str, ...]
    context_cut: int | None
    n_shortened: int


@dataclass(frozen=True, slots=True, eq=False)
class SettingLabels:
    """Everything predicted for one task in one label setting.

    Attributes:
        normalisation: of the scores from which the labels were predicted.
        predicted: for each present cell its (n_examples,) labels, of any integer type.
        places: checkpoint and seed of each such cell.
        gold, present, choices, row_ids: as those of ``SettingScores``.
    """

    normalisation: Normalisation
    predicted: Sequence[npt.NDArray[np.integer]]
    places: tuple[tuple[int, ...], tuple[int, ...]]
    gold: LabelArray
    present: BoolArray
    choices: tuple[tuple[str, ...], ...]
    row_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SettingScores:
    """Everything scored for one task in one label setting; absent cells hold zeros.

    Attributes:
        loglikelihoods: (n_checkpoints, n_seeds, n_examples, n_choices) float32, nats.
        n_tokens: same shape, int32, tokens of each continuation.
        content_free: (n_checkpoints, n_seeds, n_choices) float32, the scores for the query "N/A".
        content_free_n_tokens: same shape, int32.
        gold: (n_examples,) int16, index of the true label.
        present: (n_checkpoints, n_seeds) bool.
        choices: for each seed, the scored strings by natural label index; empty if no cell is present.
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
    """All scores, or all predicted labels, of one model on one split, made under one set of options.

    Attributes:
        model: unique name.
        split: ``dev`` or ``test``.
        checkpoints: in the order of training.
        tasks: in the order in which they first occur.
        demo_seeds: ascending.
        options: what all cells share (n_shots, template, label_word_set, sampling, dtype, attention, alphabet).
        settings: by (task, label setting); all arrays run over ``checkpoints`` and ``demo_seeds``.
        label_words: the natural words of each task, by label index.
        excluded: checkpoints left out by the caller, with the reason.
    """

    model: str
    split: Split
    checkpoints: tuple[CheckpointRef, ...]
    tasks: tuple[str, ...]
    demo_seeds: tuple[int, ...]
    options: Mapping[str, str | int]
    settings: Mapping[tuple[str, LabelSetting], SettingScores | SettingLabels]
    label_words: Mapping[str, tuple[str, ...]]
    excluded: Mapping[CheckpointRef, str]

    @property
    def n_shots(self) -> int:
        """Demonstrations per prompt."""
        return int(self.options["n_shots"])

    def checkpoint_index(self, checkpoint: CheckpointRef) -> int:
        """Position of a checkpoint on the first axis of all arrays.

        Raises:
            StudyError: the checkpoint is not among the results.
        """
        if checkpoint not in self.checkpoints:
            reason = self.excluded.get(checkpoint, "it has no results")
            raise StudyError(f"{self.model} at {checkpoint.revision} is not among the results: {reason}.")
        return self.checkpoints.index(checkpoint)

    def setting(self, task: str, label_setting: LabelSetting) -> SettingScores | SettingLabels:
        """The results of one task in one setting.

        Raises:
            StudyError: nothing of it is stored.
        """
        if (task, label_setting) not in self.settings:
            raise StudyError(f"{self.model} has no {label_setting} results on {task} in split {self.split}.")
        return self.settings[task, label_setting]

    def setting_scores(self, task: str, label_setting: LabelSetting) -> SettingScores:
        """The scores of one task in one setting.

        Raises:
            StudyError: nothing of it is stored.
            TypeError: only the predicted labels were read.
        """
        found = self.setting(task, label_setting)
        if not isinstance(found, SettingScores):
            raise TypeError(f"{self.model} was read without its scores")
        return found


_Cell = CellRecord | CellLabels


def collect_predictions(
    cells: Iterable[CellRecord] | Iterable[CellLabels],
    *,
    split: Split = "test",
    excluded: Mapping[CheckpointRef, str] | None = None,
) -> dict[str, Predictions]:
    """Stacks stored cells into arrays, one ``Predictions`` per model, in the order in which models first occur.

    Args:
        cells: of any models, tasks, settings and seeds, with their scores or only with the predicted labels; cells of
            the other split are ignored.
        split: which split to take.
        excluded: checkpoints to leave out (such as those with another's weights), with the reason; they are listed but
            not stacked.

    Raises:
        StudyError: cells of one model differ in an option (shots, template, alphabet, dtype, ...) or in a
            task's rows, two folders have one name, or the order of the checkpoints is not certain; the message names
            what differs. Such numbers must not share a curve.
    """
    left_out = dict(excluded or {})
    by_model: dict[str, list[_Cell]] = {}
    for cell in cells:
        if cell.spec.split == split:
            by_model.setdefault(cell.spec.checkpoint.model, []).append(cell)
    return {model: _stack_model(model, mine, split=split, excluded=left_out) for model, mine in by_model.items()}


def _stack_model(
    model: str, cells: Sequence[_Cell], *, split: Split, excluded: Mapping[CheckpointRef, str]
) -> Predictions:
    kept = [cell for cell in cells if cell.spec.checkpoint not in excluded]
    _refuse_doubtful_trajectory(model, kept)
    options = _shared_options(model, kept)
    checkpoints = tuple(sorted({cell.spec.checkpoint for cell in kept}, key=training_order))
    tasks = tuple(dict.fromkeys(cell.spec.task for cell in kept))
    demo_seeds = tuple(sorted({cell.spec.demo_seed for cell in kept}))
    for task in tasks:
        _refuse_different_rows(model, task, [cell for cell in kept if cell.spec.task == task])
    by_setting: dict[tuple[str, LabelSetting], list[_Cell]] = {}
    for cell in kept:
        by_setting.setdefault((cell.spec.task, cell.spec.label_setting), []).append(cell)
    return Predictions(
        model=model,
        split=split,
        checkpoints=checkpoints,
        tasks=tasks,
        demo_seeds=demo_seeds,
        options=options,
        settings={at: _stack_setting(group, checkpoints, demo_seeds) for at, group in by_setting.items()},
        label_words={cell.spec.task: cell.key.label_words for cell in kept},
        excluded={ref: reason for ref, reason in excluded.items() if ref.model == model},
    )


def _refuse_doubtful_trajectory(model: str, cells: Sequence[_Cell]) -> None:
    """Refuses local checkpoints from more than one folder, or without a certain order of training."""
    refs = {cell.spec.checkpoint for cell in cells}
    places = {home_of(ref) or "a published model" for ref in refs}
    if len(places) > 1:
        raise StudyError(
            f"Different models with results are called {model} ({', '.join(sorted(places))}); evaluate one of them "
            "again under another name (--name): nothing is computed twice."
        )
    if question := order_question(refs):
        raise StudyError(question)


def _shared_options(model: str, cells: Sequence[_Cell]) -> dict[str, str | int]:
    values: dict[str, set[str | int]] = {name: {getattr(c.spec, name) for c in cells} for name in SHARED_OPTIONS}
    # The alphabet changes nothing in the gold and random settings, so their cells serve every alphabet.
    values["alphabet"] = {cell.spec.alphabet for cell in cells if cell.spec.label_setting == "abstract"}
    for name, found in values.items():
        if len(found) > 1:
            listed = ", ".join(sorted(str(value) for value in found))
            raise StudyError(f"The results of {model} differ in {name} ({listed}); choose one before comparing.")
    return {name: next(iter(found)) for name, found in values.items() if found}


def _refuse_different_rows(model: str, task: str, cells: Sequence[_Cell]) -> None:
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
    cells: Sequence[_Cell], checkpoints: tuple[CheckpointRef, ...], demo_seeds: tuple[int, ...]
) -> SettingScores | SettingLabels:
    at_checkpoint = {ref: i for i, ref in enumerate(checkpoints)}
    at_seed = {seed: i for i, seed in enumerate(demo_seeds)}
    places = [(at_checkpoint[cell.spec.checkpoint], at_seed[cell.spec.demo_seed]) for cell in cells]
    present = np.zeros((len(checkpoints), len(demo_seeds)), dtype=np.bool_)
    choices: list[tuple[str, ...]] = [() for _ in demo_seeds]
    for at, cell in zip(places, cells, strict=True):
        present[at] = True
        choices[at[1]] = cell.choices
    shared: dict[str, Any] = {
        "gold": cells[0].gold.astype(np.int16),
        "present": present,
        "choices": tuple(choices),
        "row_ids": cells[0].row_ids,
    }
    labelled = [cell for cell in cells if isinstance(cell, CellLabels)]
    if labelled:
        at_checkpoints, at_seeds = zip(*places, strict=True)
        predicted = [cell.predicted for cell in labelled]
        return SettingLabels(labelled[0].normalisation, predicted, (at_checkpoints, at_seeds), **shared)
    return _stack_scores([cell for cell in cells if isinstance(cell, CellRecord)], places, shared)


def _stack_scores(
    cells: Sequence[CellRecord], places: Sequence[tuple[int, int]], shared: Mapping[str, Any]
) -> SettingScores:
    n_examples, n_choices = cells[0].loglikelihoods.shape
    shape = shared["present"].shape
    loglikelihoods = np.zeros((*shape, n_examples, n_choices), dtype=np.float32)
    n_tokens = np.zeros(loglikelihoods.shape, dtype=np.int32)
    content_free = np.zeros((*shape, n_choices), dtype=np.float32)
    content_free_n_tokens = np.zeros(content_free.shape, dtype=np.int32)
    for at, cell in zip(places, cells, strict=True):
        loglikelihoods[at] = cell.loglikelihoods
        n_tokens[at] = cell.n_tokens
        content_free[at] = cell.content_free
        content_free_n_tokens[at] = cell.content_free_n_tokens
    return SettingScores(loglikelihoods, n_tokens, content_free, content_free_n_tokens, **shared)


def select_scores(scores: SettingScores, *, checkpoints: Sequence[int], seeds: Sequence[int]) -> SettingScores:
    """The scores of some checkpoints and seeds, given by their positions on the first two axes."""
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
    """Scores whose argmax is the prediction and whose softmax gives the label_probs.

    ``sum`` takes the log-likelihood, ``per_token`` its mean over the label's tokens, ``calibrated`` subtracts
    the log-likelihood for the content-free query under the same demonstrations (arXiv 2102.09690).

    Returns:
        (n_checkpoints, n_seeds, n_examples, n_choices) float64, nats up to a constant for each query.

    Raises:
        UnknownNameError: there is no such normalisation.
    """
    return _normalised(
        scores.loglikelihoods, normalisation, n_tokens=scores.n_tokens, content_free=scores.content_free[:, :, None, :]
    )


def first_highest(values: npt.NDArray[np.floating]) -> LabelArray:
    """Argmax over the last axis, ties to the lowest index, of finite values: int16; faster than numpy's on short axes.

    >>> first_highest(np.array([[0.0, 2.0, 2.0], [1.0, 0.5, 0.0]])).tolist()
    [1, 0]
    """
    best = values[..., 0].copy()
    labels = np.zeros(best.shape, dtype=np.int16)
    for index in range(1, values.shape[-1]):
        one = values[..., index]
        labels[one > best] = index
        np.maximum(best, one, out=best)
    return labels


def labels_of(
    loglikelihoods: npt.NDArray[np.float32],
    *,
    normalisation: Normalisation,
    n_tokens: npt.NDArray[np.integer] | None = None,
    content_free: npt.NDArray[np.float32] | None = None,
) -> LabelArray:
    """The predicted labels of queries: argmax, ties to the lowest index.

    Args:
        loglikelihoods: (..., n_choices), nats.
        normalisation: of the scores.
        n_tokens: the same shape; needed for ``per_token``.
        content_free: of a shape that broadcasts to it; needed for ``calibrated``.

    Returns:
        (...) int16.

    Raises:
        UnknownNameError: there is no such normalisation.
    """
    if normalisation == "sum":
        return first_highest(loglikelihoods)
    return first_highest(_normalised(loglikelihoods, normalisation, n_tokens=n_tokens, content_free=content_free))


def _normalised(
    loglikelihoods: npt.NDArray[np.float32],
    normalisation: Normalisation,
    *,
    n_tokens: npt.NDArray[np.integer] | None,
    content_free: npt.NDArray[np.float32] | None,
) -> FloatArray:
    total = loglikelihoods.astype(np.float64)
    if normalisation == "per_token":
        if n_tokens is None:
            raise ValueError("the mean over tokens needs their number")
        return np.asarray(total / np.maximum(n_tokens, 1))
    if normalisation == "calibrated":
        if content_free is None:
            raise ValueError("calibrated scores need those of the content-free query")
        return np.asarray(total - content_free)
    if normalisation != "sum":
        raise UnknownNameError(f"There is no normalisation {normalisation}; there are: {', '.join(NORMALISATIONS)}.")
    return total


def predicted_labels(scores: SettingScores | SettingLabels, *, normalisation: Normalisation = "sum") -> LabelArray:
    """Predicted label of every query: argmax, ties to the lowest index.

    Returns:
        (n_checkpoints, n_seeds, n_examples) int16; -1 if the cell is not present.

    Raises:
        ValueError: only labels were read, and they were predicted under another normalisation.
        UnknownNameError: there is no such normalisation.
    """
    if isinstance(scores, SettingScores):
        labels = labels_of(
            scores.loglikelihoods,
            normalisation=normalisation,
            n_tokens=scores.n_tokens,
            content_free=scores.content_free[:, :, None, :],
        )
        return np.where(scores.present[:, :, None], labels, np.int16(-1))
    if normalisation != scores.normalisation:
        raise ValueError(f"the labels were read under {scores.normalisation}, not under {normalisation}")
    labels = np.full((*scores.present.shape, scores.gold.size), -1, dtype=np.int16)
    labels[scores.places] = scores.predicted
    return labels


def correct(scores: SettingScores | SettingLabels, *, normalisation: Normalisation = "sum") -> BoolArray:
    """Whether each prediction is the gold label: (n_checkpoints, n_seeds, n_examples); False if not present."""
    return np.asarray(predicted_labels(scores, normalisation=normalisation) == scores.gold)
