"""What one set of answers gains over another, and how differently they answer.

It compares given answers; it chooses no members and no weights. Sources: arXiv 2406.14022, section 4 (t-test over
seeds); Kuncheva and Whitaker (2003) for agreement and double fault. A gain is shown under accuracy and under balanced
accuracy, since naming one label for everything can raise accuracy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from icl_core.analysis.drilldown import ChangeOfAnswer, change_of_answer
from icl_core.analysis.fusion.answers import Answers, answer_scores
from icl_core.analysis.statistics import Measure, hierarchical_band, paired_t_test, replicate_task, sign_flip_test
from icl_core.errors import StudyError

__all__ = [
    "Diversity",
    "GainRow",
    "QueryDifference",
    "answer_differences",
    "diversity",
    "gain_table",
]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GainRow:
    """Answers against a baseline on one task, or on the mean over tasks.

    Attributes:
        task: its name, None for the mean.
        value: the measure of the answers, fraction.
        baseline: the measure of the baseline.
        gain: value - baseline.
        low: lower end of the gain's 95 % interval (hierarchical bootstrap, paired).
        high: upper end.
        p_seeds: paired t-test over seeds, as in the paper; None with one seed.
        p_examples: sign-flip permutation test over queries (each query's mean over seeds); None for macro_f1, which is
            not a mean over queries.
        n_seeds: pairs of the first test.
        n_examples: pairs of the second.
    """

    task: str | None
    value: float
    baseline: float
    gain: float
    low: float
    high: float
    p_seeds: float | None
    p_examples: float | None
    n_seeds: int
    n_examples: int


def gain_table(
    answers: Answers,
    baseline: Answers,
    *,
    measure: Measure = "accuracy",
    n_replicates: int = 500,
    n_permutations: int = 2000,
    seed: int = 0,
) -> tuple[GainRow, ...]:
    """The mean over tasks first, then each task: gain, interval and both p-values.

    Raises:
        StudyError: tasks, rows or seeds differ.
    """
    _refuse_unpaired_answers(answers, baseline)
    tasks = tuple(answers.predicted)
    one, two = (answer_scores(each, measure=measure).by_task_seed for each in (answers, baseline))
    replicates = [
        replicate_task(
            np.stack([answers.predicted[task], baseline.predicted[task]]),
            answers.gold[task],
            measure=measure,
            n_replicates=n_replicates,
            rng=np.random.default_rng([seed, index]),
        ).mapped(lambda pair: pair[:1] - pair[1:])
        for index, task in enumerate(tasks)
    ]
    differences = [_query_differences(answers, baseline, task, measure=measure) for task in tasks]
    groups = [(None, list(range(len(tasks)))), *((task, [index]) for index, task in enumerate(tasks))]
    rows = []
    for name, at in groups:
        band = hierarchical_band([replicates[i] for i in at], bounds=(-1.0, 1.0))
        over_seeds = paired_t_test(one[at].mean(axis=0), two[at].mean(axis=0))
        strata = [differences[i] for i in at]
        flips = sign_flip_test(strata, n_permutations=n_permutations, seed=seed)
        rows.append(
            GainRow(
                task=name,
                value=float(one[at].mean()),
                baseline=float(two[at].mean()),
                gain=float(band.value[0]),
                low=float(band.low[0]),
                high=float(band.high[0]),
                p_seeds=over_seeds.p,
                p_examples=None if measure == "macro_f1" else flips.p,
                n_seeds=over_seeds.n,
                n_examples=flips.n,
            )
        )
    return tuple(rows)


def _refuse_unpaired_answers(answers: Answers, baseline: Answers) -> None:
    who = f"{answers.title} and {baseline.title}"
    if tuple(answers.predicted) != tuple(baseline.predicted):
        raise StudyError(f"{who} have different tasks: {list(answers.predicted)} and {list(baseline.predicted)}.")
    if answers.demo_seeds != baseline.demo_seeds:
        raise StudyError(f"{who} have different demo seeds: {answers.demo_seeds} and {baseline.demo_seeds}.")
    for task in answers.predicted:
        if answers.row_ids[task] != baseline.row_ids[task]:
            raise StudyError(f"{who} have different test rows on {task}; evaluate both on the same rows.")


def _query_differences(answers: Answers, baseline: Answers, task: str, *, measure: Measure) -> FloatArray:
    """(n_examples,) difference of a query's mean correctness over seeds; its mean is the gain.

    For balanced accuracy the weight of a query is inverse to the frequency of its gold label.
    """
    gold = answers.gold[task]
    right = (answers.predicted[task] == gold).mean(axis=0) - (baseline.predicted[task] == gold).mean(axis=0)
    if measure == "accuracy":
        return np.asarray(right)
    counts = np.bincount(gold)
    return np.asarray(right * gold.size / (np.count_nonzero(counts) * counts[gold]))


@dataclass(frozen=True, slots=True)
class Diversity:
    """How differently two members answer: shares of queries, mean over tasks of mean over seeds.

    Attributes:
        agreement: both name the same label.
        double_fault: both are wrong.
        either_right: at least one is right, which is what a perfect choice between the two would reach.
    """

    agreement: float
    double_fault: float
    either_right: float


def diversity(one: Answers, other: Answers) -> Diversity:
    """Agreement and double fault of two members.

    Raises:
        StudyError: tasks, rows or seeds differ.
    """
    _refuse_unpaired_answers(one, other)
    agree, fault = [], []
    for task, gold in one.gold.items():
        first, second = one.predicted[task], other.predicted[task]
        agree.append((first == second).mean())
        fault.append(((first != gold) & (second != gold)).mean())
    return Diversity(float(np.mean(agree)), float(np.mean(fault)), 1 - float(np.mean(fault)))


@dataclass(frozen=True, slots=True)
class QueryDifference:
    """A query to which two sets of answers give different labels, by index."""

    task: str
    row_id: str
    demo_seed: int
    gold: int
    baseline: int
    answer: int

    @property
    def outcome(self) -> ChangeOfAnswer:
        """The kind of change from the baseline's answer to this one."""
        return change_of_answer(self.baseline, self.answer, gold=self.gold)


def answer_differences(answers: Answers, baseline: Answers, *, task: str) -> tuple[QueryDifference, ...]:
    """The queries of one task with different answers, by seed, then in the order of the rows.

    Raises:
        StudyError: tasks, rows or seeds differ, or the task is unknown.
    """
    _refuse_unpaired_answers(answers, baseline)
    if task not in answers.predicted:
        raise StudyError(f"There are no answers on {task}; there are: {', '.join(answers.predicted)}.")
    new, old, gold = answers.predicted[task], baseline.predicted[task], answers.gold[task]
    return tuple(
        QueryDifference(
            task=task,
            row_id=answers.row_ids[task][e],
            demo_seed=answers.demo_seeds[s],
            gold=int(gold[e]),
            baseline=int(old[s, e]),
            answer=int(new[s, e]),
        )
        for s, e in np.argwhere(new != old)
    )
