"""The answers of a fusion or a member on the test set, and their measures.

It chooses no weights and compares nothing. Source: arXiv 2406.14022, Eq. 5; argmax ties go to the lowest label index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from icl_core.analysis.fusion.equations import fuse
from icl_core.analysis.fusion.members import FusionData, MemberResults
from icl_core.analysis.fusion.weights import FusionWeights
from icl_core.analysis.predictions import Normalisation, first_highest, predicted_labels
from icl_core.analysis.statistics import Measure, measure_of

__all__ = ["AnswerScores", "Answers", "answer_scores", "fused_answers", "member_answers", "own_answers"]

FloatArray = npt.NDArray[np.float64]
LabelArray = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Predicted labels of a checkpoint or of a fusion.

    Attributes:
        title: for sentences.
        predicted: by task (n_seeds, n_examples).
        gold: by task (n_examples,).
        row_ids: by task.
        demo_seeds: order of the seed axis.
    """

    title: str
    predicted: Mapping[str, LabelArray]
    gold: Mapping[str, LabelArray]
    row_ids: Mapping[str, tuple[str, ...]]
    demo_seeds: tuple[int, ...]


def fused_answers(data: FusionData, weights: FusionWeights, *, title: str = "fusion") -> Answers:
    """Eq. 5: the argmax of the fused label_probs, ties to the lowest label index."""
    predicted = {
        name: first_highest(fuse(task.label_probs, weights.by_task[name])) for name, task in data.tasks.items()
    }
    return _answers(title, predicted, data)


def own_answers(
    member: MemberResults, tasks: Sequence[str], demo_seeds: Sequence[int], *, normalisation: Normalisation = "sum"
) -> Answers:
    """The answers of a member by itself, without fusion; its predicted labels suffice.

    Raises:
        StudyError: the checkpoint, a task or a seed is missing.
    """
    test = member.model.test
    predicted, found = {}, {}
    for task in tasks:
        at, seeds = member.place(test, task, demo_seeds)
        found[task] = test.setting(task, member.label_setting)
        predicted[task] = predicted_labels(found[task], normalisation=normalisation)[at, seeds]
    gold, row_ids = ({task: getattr(part, name) for task, part in found.items()} for name in ("gold", "row_ids"))
    return Answers(member.title, predicted, gold, row_ids, tuple(demo_seeds))


def member_answers(data: FusionData, index: int = 0) -> Answers:
    """The answers of one of several members by itself."""
    predicted = {name: first_highest(task.label_probs[index]) for name, task in data.tasks.items()}
    return _answers(data.members[index].title, predicted, data)


def _answers(title: str, predicted: Mapping[str, LabelArray], data: FusionData) -> Answers:
    gold = {task: part.gold for task, part in data.tasks.items()}
    return Answers(title, predicted, gold, {task: part.row_ids for task, part in data.tasks.items()}, data.demo_seeds)


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
