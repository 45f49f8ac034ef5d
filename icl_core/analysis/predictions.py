"""Stored cells stacked into arrays, and the labels that they predict.

It reads records that are handed in; it opens no store, averages nothing and draws nothing. Cells made under different
options or on different rows are refused: their numbers must not share a curve. Normalisations of the label scores:
arXiv 2005.14165, section 2.4 (per token), and arXiv 2102.09690 (calibrated).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from icl_core.errors import StudyError
from icl_core.records import SHARED_OPTIONS, CellRecord, CheckpointRef, LabelSetting, Split
from icl_core.registry.names import home_of, order_question, training_order

__all__ = [
    "NORMALISATIONS",
    "Normalisation",
    "Predictions",
    "SettingScores",
    "collect_predictions",
    "correct",
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
            task's rows, two folders are called alike, or the order of the checkpoints is not certain; the message
            names what differs. Such numbers must not share a curve.
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
    kept = [cell for cell in cells if cell.spec.checkpoint not in excluded]
    _refuse_doubtful_trajectory(model, kept)
    options = _shared_options(model, kept)
    checkpoints = tuple(sorted({cell.spec.checkpoint for cell in kept}, key=training_order))
    tasks = tuple(dict.fromkeys(cell.spec.task for cell in kept))
    demo_seeds = tuple(sorted({cell.spec.demo_seed for cell in kept}))
    for task in tasks:
        _refuse_different_rows(model, task, [cell for cell in kept if cell.spec.task == task])
    by_setting: dict[tuple[str, LabelSetting], list[CellRecord]] = {}
    for cell in kept:
        by_setting.setdefault((cell.spec.task, cell.spec.label_setting), []).append(cell)
    return Predictions(
        model=model,
        split=split,
        checkpoints=checkpoints,
        tasks=tasks,
        demo_seeds=demo_seeds,
        options=options,
        scores={at: _stack_setting(group, checkpoints, demo_seeds) for at, group in by_setting.items()},
        label_words={cell.spec.task: cell.key.label_words for cell in kept},
        excluded={ref: reason for ref, reason in excluded.items() if ref.model == model},
    )


def _refuse_doubtful_trajectory(model: str, cells: Sequence[CellRecord]) -> None:
    """Checkpoints of one's own lie in one folder, and their order of training is certain."""
    refs = {cell.spec.checkpoint for cell in cells}
    places = {home_of(ref) or "a published model" for ref in refs}
    if len(places) > 1:
        raise StudyError(
            f"There are results of different models called {model} ({', '.join(sorted(places))}); evaluate one of them "
            "again under another name (--name): nothing is computed twice."
        )
    if question := order_question(refs):
        raise StudyError(question)


def _shared_options(model: str, cells: Sequence[CellRecord]) -> dict[str, str | int]:
    values: dict[str, set[str | int]] = {name: {getattr(c.spec, name) for c in cells} for name in SHARED_OPTIONS}
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
