"""One fusion and its baselines: members alone, single checkpoints, an equal ensemble, mixed parameters.

It arranges answers, scores, gains and costs for the page and the command line; ``answers`` computes the answers.
Source: arXiv 2406.14022, section 4 and Table 1. This project adds the equal ensemble of the two checkpoints that are
best under gold labels: it shows whether a gain is more than any ensemble would give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from icl_core.analysis.fusion.answers import Answers, answer_scores, fused_answers, member_answers, own_answers
from icl_core.analysis.fusion.gains import GainRow, gain_table
from icl_core.analysis.fusion.members import (
    FusionData,
    FusionMember,
    MemberResults,
    ModelSplits,
    collect_members,
    shared_tasks,
)
from icl_core.analysis.fusion.selection import equal_gold_ensemble
from icl_core.analysis.fusion.weights import (
    FusionWeights,
    WeightKind,
    development_weights,
    fixed_weights,
    oracle_weights,
    weight_curve,
)
from icl_core.analysis.predictions import Normalisation
from icl_core.analysis.statistics import Measure, hierarchical_band, replicate_task
from icl_core.errors import StudyError
from icl_core.records import CheckpointRef

__all__ = [
    "GAIN_MEASURES",
    "Entry",
    "EntryAnswers",
    "EntryKind",
    "EntryScore",
    "Gain",
    "Table1Row",
    "fusion_entries",
    "gains_over",
    "main_fusion",
    "mixed_counterpart",
    "prompt_tflops",
    "scored_entries",
    "table_1",
]

EntryKind = Literal[
    "fusion", "upper bound", "member", "gold", "best gold", "control", "parameter fusion", "other model"
]
"""``best gold`` is the single checkpoint that is best under gold labels on the development set, ``control`` the equal
ensemble of the two best."""
GAIN_MEASURES: tuple[Measure, ...] = ("accuracy", "balanced_accuracy")
"""Each gain is shown under both measures: naming one label for everything can raise accuracy alone."""
_TITLES: Mapping[EntryKind, str] = MappingProxyType(
    {
        "fusion": "fusion, {weights}",
        "upper bound": "fusion, {weights}",
        "member": "{role} alone: {checkpoints}",
        "gold": "{checkpoints} gold",
        "best gold": "best on dev, gold: {checkpoints}",
        "control": "equal ensemble, gold: {checkpoints}",
        "parameter fusion": "{checkpoints}",
        "other model": "{checkpoints} gold",
    }
)
_MIXED_FIXED = 0.5
"""w of the paper's fixed mixture of parameters."""
_SAME_TWO_DIGITS = 0.0051


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the comparison, identified by these fields.

    Attributes:
        kind: a fusion, or what it is compared with.
        members: all checkpoints that have to run for one answer, in their roles; mixed parameters are one member.
        weight_kind: how the weights were found; None if there is one member.
        mixed_weight: w of mixed parameters, None for everything else.
    """

    kind: EntryKind
    members: tuple[FusionMember, ...]
    weight_kind: WeightKind | None = None
    mixed_weight: float | None = None

    @property
    def title(self) -> str:
        """The entry in tables, charts and sentences, on screen and on the command line."""
        return _TITLES[self.kind].format(
            weights=self.weight_kind,
            role=self.members[0].role,
            checkpoints=" + ".join(member.checkpoint_title for member in self.members),
        )

    @property
    def checkpoints(self) -> tuple[CheckpointRef, ...]:
        """The members' checkpoints."""
        return tuple(member.checkpoint for member in self.members)

    @property
    def roles(self) -> tuple[str, ...]:
        """The members' roles."""
        return tuple(member.role for member in self.members)


@dataclass(frozen=True, slots=True, eq=False)
class EntryAnswers:
    """An entry with its answers.

    Attributes:
        entry: which one.
        answers: on the test set.
        weights: for a fusion of the members; None for other entries.
    """

    entry: Entry
    answers: Answers
    weights: FusionWeights | None = None


def fusion_entries(
    members: Sequence[MemberResults],
    *,
    normalisation: Normalisation = "sum",
    others: Sequence[ModelSplits] = (),
    mixed: Mapping[float, MemberResults] = MappingProxyType({}),
) -> tuple[EntryAnswers, ...]:
    """The fusions of two or more members, and all baselines for which there are results.

    Args:
        members: the TR and the TL member, and further ones in any role.
        normalisation: of the scores.
        others: further models; the last checkpoint of each, under gold labels, is a baseline.
        mixed: mixed parameters of the first two members under gold labels, by w.

    Raises:
        StudyError: the members' own results are missing or do not line up, or a member takes part twice.
    """
    twice = [member for member, n in Counter(each.member for each in members).items() if n > 1]
    if twice:
        raise StudyError(f"{twice[0].title} takes part twice; choose another checkpoint or another role for it.")
    tasks = shared_tasks([(each.model, each.label_setting) for each in members])
    data = collect_members(members, tasks=tasks, normalisation=normalisation)
    entries = [*_fusions(data), *_members(data)]
    models = list({id(each.model.test): each.model for each in members}.values())
    gold = [MemberResults(each.model, each.checkpoint, "gold") for each in members if each.label_setting != "gold"]
    for each in {each.member: each for each in gold}.values():
        entries += _alone(each, "gold", data)
    entries += _chosen_on_development(models, data)
    for weight, each in mixed.items():
        entries += _alone(each, "parameter fusion", data, mixed_weight=weight)
    for model in others:
        if model.test.checkpoints:
            entries += _alone(MemberResults(model, model.test.checkpoints[-1], "gold"), "other model", data)
    return tuple(entries)


def _fusions(data: FusionData) -> list[EntryAnswers]:
    found: list[FusionWeights] = []
    if all(each.model.dev is not None for each in data.members):
        with suppress(StudyError):  # there are development results, but not for all tasks and seeds
            found += [development_weights(data), development_weights(data, pooled=True)]
    found.append(fixed_weights(data))
    if len(data.members) == 2:  # with more than two members there is no curve against one weight
        found.append(oracle_weights(data, weight_curve(data, n_replicates=2)))
    return [_fusion("upper bound" if weights.kind == "oracle" else "fusion", weights, data) for weights in found]


def _fusion(kind: EntryKind, weights: FusionWeights, data: FusionData) -> EntryAnswers:
    entry = Entry(kind, tuple(each.member for each in data.members), weights.kind)
    answers = fused_answers(data, weights, title=entry.title)
    return EntryAnswers(entry, answers, None if kind == "control" else weights)


def _members(data: FusionData) -> list[EntryAnswers]:
    return [
        EntryAnswers(Entry("member", (each.member,)), member_answers(data, index))
        for index, each in enumerate(data.members)
    ]


def _alone(
    each: MemberResults, kind: EntryKind, data: FusionData, *, mixed_weight: float | None = None
) -> list[EntryAnswers]:
    """The member's own answers; nothing if its results are missing or are of other rows."""
    try:
        answers = own_answers(each, tuple(data.tasks), data.demo_seeds, normalisation=data.normalisation)
    except StudyError:
        return []
    if any(answers.row_ids[task] != part.row_ids for task, part in data.tasks.items()):
        return []
    return [EntryAnswers(Entry(kind, (each.member,), mixed_weight=mixed_weight), answers)]


def _chosen_on_development(models: Sequence[ModelSplits], data: FusionData) -> list[EntryAnswers]:
    """The single checkpoint that is best under gold labels, and the equal ensemble of the two best."""
    if any(model.dev is None for model in models):
        return []
    try:
        best, second = equal_gold_ensemble(
            models, tasks=tuple(data.tasks), demo_seeds=data.demo_seeds, normalisation=data.normalisation
        )
        both = collect_members(
            (best, second), tasks=tuple(data.tasks), demo_seeds=data.demo_seeds, normalisation=data.normalisation
        )
    except StudyError:
        return []
    return [*_alone(best, "best gold", data), _fusion("control", fixed_weights(both), both)]


def main_fusion(entries: Sequence[Entry]) -> Entry:
    """The fusion that counts as the result: with adaptive weights or, without development results, with fixed ones."""
    by_kind = {entry.weight_kind: entry for entry in entries if entry.kind == "fusion"}
    return by_kind.get("adaptive") or by_kind["fixed"]


@dataclass(frozen=True, slots=True, eq=False)
class EntryScore:
    """A measure of one entry.

    Attributes:
        entry: which one.
        value: mean over tasks of mean over seeds, fraction.
        low: lower end of the 95 % interval.
        high: upper end.
        by_task: the same three for each task.
        weights: for a fusion of the members; None for other entries.
    """

    entry: Entry
    value: float
    low: float
    high: float
    by_task: Mapping[str, tuple[float, float, float]]
    weights: FusionWeights | None = None

    def of(self, task: str | None) -> tuple[float, float, float]:
        """Value, lower and upper end on one task; for None, of the mean over tasks."""
        return (self.value, self.low, self.high) if task is None else self.by_task[task]

    def lead_of(self, value: float, *, task: str | None = None) -> float:
        """Another entry's value of the same measure minus this one's, fraction."""
        return value - self.of(task)[0]


def scored_entries(
    entries: Sequence[EntryAnswers],
    *,
    measure: Measure = "accuracy",
    n_replicates: int = 300,
    bootstrap_seed: int = 0,
) -> tuple[EntryScore, ...]:
    """A measure of every entry; one draw of seeds and examples serves all, so that differences are paired."""
    tasks = tuple(entries[0].answers.predicted)
    replicates = [
        replicate_task(
            np.stack([each.answers.predicted[task] for each in entries]),
            entries[0].answers.gold[task],
            measure=measure,
            n_replicates=n_replicates,
            rng=np.random.default_rng([bootstrap_seed, index]),
        )
        for index, task in enumerate(tasks)
    ]
    mean, *by_task = (hierarchical_band(part) for part in (replicates, *([each] for each in replicates)))
    return tuple(
        EntryScore(
            entry=each.entry,
            value=float(mean.value[at]),
            low=float(mean.low[at]),
            high=float(mean.high[at]),
            by_task={
                task: (float(band.value[at]), float(band.low[at]), float(band.high[at]))
                for task, band in zip(tasks, by_task, strict=True)
            },
            weights=each.weights,
        )
        for at, each in enumerate(entries)
    )


def mixed_counterpart(scores: Sequence[EntryScore], weight_kind: WeightKind) -> EntryScore | None:
    """The mixed parameters with which Table 1 compares a fusion; None if they are not evaluated.

    Args:
        scores: of all entries.
        weight_kind: ``fixed`` for the paper's weight 1/2; ``adaptive`` for Eq. 6 pooled over tasks, rounded to two
            digits as on the fusion page.
    """
    wanted: float | None = _MIXED_FIXED
    if weight_kind != "fixed":
        pooled = (each.weights for each in scores if each.entry.weight_kind == "pooled")
        wanted = next((weights.mean_w for weights in pooled if weights is not None), None)
    if wanted is None:
        return None
    return next(
        (
            each
            for each in scores
            if each.entry.mixed_weight is not None and abs(each.entry.mixed_weight - wanted) < _SAME_TWO_DIGITS
        ),
        None,
    )


@dataclass(frozen=True, slots=True)
class Gain:
    """What one entry gains over a baseline under one measure.

    Attributes:
        baseline: which entry.
        measure: of the gain.
        mean: over tasks.
        tasks: each task.
    """

    baseline: Entry
    measure: Measure
    mean: GainRow
    tasks: tuple[GainRow, ...]


def gains_over(
    ours: EntryAnswers,
    baselines: Sequence[EntryAnswers],
    *,
    measures: Sequence[Measure] = GAIN_MEASURES,
    n_replicates: int = 500,
) -> tuple[Gain, ...]:
    """The gain over every baseline under every measure."""
    found = []
    for baseline in baselines:
        for measure in measures:
            mean, *tasks = gain_table(ours.answers, baseline.answers, measure=measure, n_replicates=n_replicates)
            found.append(Gain(baseline.entry, measure, mean, tuple(tasks)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Table1Row:
    """One line of the paper's Table 1.

    Attributes:
        entry: which one.
        accuracy: mean over tasks of mean over seeds, fraction.
        accuracy_spread: standard deviation over seeds of the mean over tasks (the paper's +-), None with one seed.
        balanced_accuracy: the same mean of balanced accuracy.
        tflops: as ``prompt_tflops``.
    """

    entry: Entry
    accuracy: float
    accuracy_spread: float | None
    balanced_accuracy: float
    tflops: float | None


def table_1(entries: Sequence[EntryAnswers], flops: Mapping[str, float]) -> tuple[Table1Row, ...]:
    """The paper's Table 1 for these entries.

    Args:
        entries: lines, in order.
        flops: as in ``prompt_tflops``.
    """
    rows = []
    for each in entries:
        accuracy = answer_scores(each.answers)
        rows.append(
            Table1Row(
                entry=each.entry,
                accuracy=accuracy.mean,
                accuracy_spread=accuracy.spread,
                balanced_accuracy=answer_scores(each.answers, measure="balanced_accuracy").mean,
                tflops=prompt_tflops(each.entry, flops),
            )
        )
    return tuple(rows)


def prompt_tflops(entry: Entry, flops: Mapping[str, float]) -> float | None:
    """Operations of one prompt in units of 10^12, sum over members; None if the cost of one is not known.

    Args:
        entry: which one.
        flops: operations of one whole prompt, by model name; the cost of a model that is absent or has 0 is unknown.
    """
    costs = [flops.get(ref.model, 0.0) for ref in entry.checkpoints]
    return sum(costs) / 1e12 if all(costs) else None
