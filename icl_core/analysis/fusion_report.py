"""One fusion beside everything it has to beat: members, single checkpoints, an equal ensemble, mixed parameters.

It arranges answers and their comparison for the page and the command line; the mathematics is in ``fusion``, ``gains``
and ``selection``. Source: arXiv 2406.14022, section 4 and Table 1. The equal ensemble of the two checkpoints that are
best under gold labels is this project's addition: it shows whether a gain is more than plain ensembling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from icl_core.analysis.fusion import (
    Answers,
    FusionData,
    FusionWeights,
    Member,
    ModelSplits,
    adaptive_weights,
    answer_scores,
    collect_members,
    development_weights,
    equal_weights,
    fuse,
    fused_answers,
    label_probs,
    member_answers,
    oracle_weights,
    own_answers,
    weight_curve,
)
from icl_core.analysis.gains import GainRow, gain_table
from icl_core.analysis.predictions import Normalisation, first_highest
from icl_core.analysis.selection import SelectionRule, equal_gold_ensemble, select_checkpoint
from icl_core.analysis.statistics import Measure, hierarchical_band, measure_of, replicate_task
from icl_core.analysis.trajectories import setting_values
from icl_core.errors import StudyError
from icl_core.records import ABILITY_BY_SETTING, CheckpointRef, LabelSetting

__all__ = [
    "GAIN_MEASURES",
    "ROLES",
    "Entry",
    "EntryKind",
    "EntryScore",
    "Gain",
    "PairGrid",
    "Table1Row",
    "choose_member",
    "choose_members",
    "fusion_entries",
    "gains_over",
    "pair_grid",
    "scored_entries",
    "shared_tasks",
    "table_1",
]

EntryKind = Literal[
    "fusion", "upper bound", "member", "gold", "best gold", "control", "parameter fusion", "other model"
]
_BEST: Mapping[LabelSetting, SelectionRule] = MappingProxyType(
    {"random": "TR-best", "abstract": "TL-best", "gold": "ICL-best"}
)
GAIN_MEASURES: tuple[Measure, ...] = ("accuracy", "balanced_accuracy")
"""Every gain is shown under both: naming one label for everything can raise the first alone."""


ROLES: Mapping[LabelSetting, str] = MappingProxyType({setting: ABILITY_BY_SETTING[setting] for setting in _BEST})
"""What a member takes part as, by its label setting: the pair that is fused comes first."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One line of the comparison.

    Attributes:
        name: for tables and charts.
        kind: ``fusion``, or what it is compared with; ``best gold`` is the single checkpoint that is best under gold
            labels on the development set.
        answers: on the test set.
        checkpoints: all that have to run for one answer; its cost is the sum of theirs.
        weights: of a fusion of predictions, None for everything else.
    """

    name: str
    kind: EntryKind
    answers: Answers
    checkpoints: tuple[CheckpointRef, ...]
    weights: FusionWeights | None = None


def shared_tasks(roles: Sequence[tuple[ModelSplits, LabelSetting]]) -> tuple[str, ...]:
    """The tasks that all models have in the settings of their roles, in the first one's order.

    Raises:
        StudyError: there is none.
    """
    tests = [(model.test, setting) for model, setting in roles]
    tasks = tuple(t for t in tests[0][0].tasks if all((t, setting) in test.settings for test, setting in tests))
    if not tasks:
        who = " and ".join(f"{test.model} with {setting} labels" for test, setting in tests)
        raise StudyError(f"{who} have no task in common; evaluate one.")
    return tasks


def choose_member(
    model: ModelSplits,
    label_setting: LabelSetting,
    *,
    checkpoint: CheckpointRef | None = None,
    normalisation: Normalisation = "sum",
) -> Member:
    """A member in its role: the given checkpoint, or the one that is best in it on the development set.

    Raises:
        StudyError: a checkpoint is to be chosen and there are no development results.
    """
    ref = checkpoint or select_checkpoint(model, _BEST[label_setting], normalisation=normalisation)
    assert ref is not None  # only the rule "none" gives None
    return Member(model, ref, label_setting)


def choose_members(
    tr_model: ModelSplits,
    tl_model: ModelSplits,
    *,
    tr: CheckpointRef | None = None,
    tl: CheckpointRef | None = None,
    normalisation: Normalisation = "sum",
) -> tuple[Member, Member]:
    """The TR and the TL member: the given checkpoints, or those that are best on the development set.

    Raises:
        StudyError: a checkpoint is to be chosen and there are no development results.
    """
    return (
        choose_member(tr_model, "random", checkpoint=tr, normalisation=normalisation),
        choose_member(tl_model, "abstract", checkpoint=tl, normalisation=normalisation),
    )


def fusion_entries(
    members: Sequence[Member],
    *,
    normalisation: Normalisation = "sum",
    others: Sequence[ModelSplits] = (),
    mixed: Sequence[ModelSplits] = (),
) -> tuple[Entry, ...]:
    """The fusions of two or more members and all baselines that their results allow; what is missing is left out.

    Args:
        members: the TR and the TL member, and further ones in any role.
        normalisation: of the scores.
        others: further models, of which the last checkpoint under gold labels is a baseline.
        mixed: gold results of mixed parameters of members.

    Raises:
        StudyError: the members' own results are missing or do not line up, or a member takes part twice.
    """
    twice = [name for name, n in Counter(member.name for member in members).items() if n > 1]
    if twice:
        raise StudyError(f"{twice[0]} takes part twice; choose another checkpoint or another role for it.")
    tasks = shared_tasks([(member.model, member.label_setting) for member in members])
    data = collect_members(members, tasks=tasks, normalisation=normalisation)
    entries = [*_fusions(data), *_members(data)]
    models = list({id(member.model.test): member.model for member in members}.values())
    gold = [Member(member.model, member.checkpoint, "gold") for member in members if member.label_setting != "gold"]
    for member in {member.name: member for member in gold}.values():
        entries += _alone(member, "gold", f"{_title(member.checkpoint)} gold", data)
    entries += _chosen_on_development(models, data)
    for model in mixed:
        for ref in model.test.checkpoints:
            entries += _alone(Member(model, ref, "gold"), "parameter fusion", _title(ref), data)
    for model in others:
        if model.test.checkpoints:
            last = Member(model, model.test.checkpoints[-1], "gold")
            entries += _alone(last, "other model", f"{_title(last.checkpoint)} gold", data)
    return tuple(entries)


def _fusions(data: FusionData) -> list[Entry]:
    refs = tuple(member.checkpoint for member in data.members)
    found: list[tuple[str, EntryKind, FusionWeights]] = []
    if all(member.model.dev is not None for member in data.members):
        with suppress(StudyError):  # development results are there, but not of all tasks and seeds
            found += [
                ("fusion, adaptive", "fusion", development_weights(data)),
                ("fusion, pooled", "fusion", development_weights(data, pooled=True)),
            ]
    found.append(("fusion, fixed", "fusion", equal_weights(data)))
    if len(data.members) == 2:  # along one weight; a grid over several would be a search, not a curve
        found.append(("fusion, oracle", "upper bound", oracle_weights(data, weight_curve(data, n_replicates=2))))
    return [Entry(name, kind, fused_answers(data, w, name=name), refs, w) for name, kind, w in found]


def _members(data: FusionData) -> list[Entry]:
    return [
        Entry(
            f"{ROLES[member.label_setting]} alone: {_title(member.checkpoint)}",
            "member",
            member_answers(data, index),
            (member.checkpoint,),
        )
        for index, member in enumerate(data.members)
    ]


def _alone(member: Member, kind: EntryKind, name: str, data: FusionData) -> list[Entry]:
    """The member's own answers, or nothing where its results are missing or of other rows."""
    try:
        answers = own_answers(member, tuple(data.tasks), data.demo_seeds, normalisation=data.normalisation)
    except StudyError:
        return []
    if any(answers.row_ids[task] != part.row_ids for task, part in data.tasks.items()):
        return []
    return [Entry(name, kind, answers, (member.checkpoint,))]


def _chosen_on_development(models: Sequence[ModelSplits], data: FusionData) -> list[Entry]:
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
    name = f"equal ensemble, gold: {_title(best.checkpoint)} + {_title(second.checkpoint)}"
    control = Entry(
        name,
        "control",
        fused_answers(both, equal_weights(both), name=name),
        (best.checkpoint, second.checkpoint),
        equal_weights(both),
    )
    return [*_alone(best, "best gold", f"best on dev, gold: {_title(best.checkpoint)}", data), control]


def _title(ref: CheckpointRef) -> str:
    return f"{ref.model} {ref.weight_file or ref.revision}"


@dataclass(frozen=True, slots=True)
class EntryScore:
    """A measure of one entry.

    Attributes:
        value: mean over tasks of mean over seeds, fraction.
        low: lower end of the 95 % interval.
        high: upper end.
        by_task: the same three for each task.
    """

    value: float
    low: float
    high: float
    by_task: Mapping[str, tuple[float, float, float]]


def scored_entries(
    entries: Sequence[Entry], *, measure: Measure = "accuracy", n_replicates: int = 300, bootstrap_seed: int = 0
) -> tuple[EntryScore, ...]:
    """A measure of every entry, one draw of seeds and examples for all, so that differences are paired."""
    tasks = tuple(entries[0].answers.predicted)
    replicates = [
        replicate_task(
            np.stack([entry.answers.predicted[task] for entry in entries]),
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
            float(mean.value[at]),
            float(mean.low[at]),
            float(mean.high[at]),
            {
                task: (float(band.value[at]), float(band.low[at]), float(band.high[at]))
                for task, band in zip(tasks, by_task, strict=True)
            },
        )
        for at in range(len(entries))
    )


@dataclass(frozen=True, slots=True)
class Gain:
    """What one entry gains over a baseline under one measure.

    Attributes:
        baseline: name of the baseline.
        kind: its kind.
        measure: of the gain.
        mean: over tasks.
        tasks: each task.
    """

    baseline: str
    kind: EntryKind
    measure: Measure
    mean: GainRow
    tasks: tuple[GainRow, ...]


def gains_over(
    entry: Entry, baselines: Sequence[Entry], *, measures: Sequence[Measure] = GAIN_MEASURES, n_replicates: int = 500
) -> tuple[Gain, ...]:
    """The gain over every baseline under every measure."""
    found = []
    for baseline in baselines:
        for measure in measures:
            mean, *tasks = gain_table(entry.answers, baseline.answers, measure=measure, n_replicates=n_replicates)
            found.append(Gain(baseline.name, baseline.kind, measure, mean, tuple(tasks)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Table1Row:
    """One line of the paper's Table 1.

    Attributes:
        name, kind: of the entry.
        accuracy: mean over tasks of mean over seeds, fraction.
        accuracy_spread: standard deviation over seeds of the mean over tasks (the paper's +-), None with one seed.
        balanced_accuracy: the same mean of balanced accuracy.
        tflops: operations of one prompt in units of 10^12, all members added; None where a shape is not known.
    """

    name: str
    kind: EntryKind
    accuracy: float
    accuracy_spread: float | None
    balanced_accuracy: float
    tflops: float | None


def table_1(entries: Sequence[Entry], flops: Mapping[str, float]) -> tuple[Table1Row, ...]:
    """The paper's Table 1 for these entries.

    Args:
        entries: lines, in order.
        flops: operations of one whole prompt, by model name; a model without its entry has no known cost.
    """
    rows = []
    for entry in entries:
        accuracy = answer_scores(entry.answers)
        known = [flops.get(ref.model) or None for ref in entry.checkpoints]
        costs = [cost for cost in known if cost is not None]
        rows.append(
            Table1Row(
                name=entry.name,
                kind=entry.kind,
                accuracy=accuracy.mean,
                accuracy_spread=accuracy.spread,
                balanced_accuracy=answer_scores(entry.answers, measure="balanced_accuracy").mean,
                tflops=sum(costs) / 1e12 if len(costs) == len(known) else None,
            )
        )
    return tuple(rows)


@dataclass(frozen=True, slots=True, eq=False)
class PairGrid:
    """Adaptive fusion of every TR checkpoint with every TL checkpoint.

    Attributes:
        tr: checkpoints of the TR model whose results are complete.
        tl: the same of the TL model.
        value: (n_tr, n_tl) the measure on the test set, mean over tasks and seeds; weights per task from the
            development set.
        tr_gold: (n_tr,) the measure of the TR checkpoints alone under gold labels; NaN where it is missing.
        tl_gold: (n_tl,) the same of the TL checkpoints.
    """

    tr: tuple[CheckpointRef, ...]
    tl: tuple[CheckpointRef, ...]
    value: npt.NDArray[np.float64]
    tr_gold: npt.NDArray[np.float64]
    tl_gold: npt.NDArray[np.float64]


def pair_grid(
    tr_model: ModelSplits,
    tl_model: ModelSplits,
    *,
    measure: Measure = "accuracy",
    normalisation: Normalisation = "sum",
) -> PairGrid:
    """The measure of the adaptive fusion for every pair of checkpoints; nothing is chosen on the test set.

    Raises:
        StudyError: there are no development results, or test results do not line up.
    """
    kinds: tuple[tuple[ModelSplits, LabelSetting], ...] = ((tr_model, "random"), (tl_model, "abstract"))
    tasks = shared_tasks(kinds)
    refs, accuracy = [], []
    for model, setting in kinds:
        dev = setting_values(model.development(), setting, task=tasks, normalisation=normalisation)
        test = setting_values(model.test, setting, task=tasks, normalisation=normalisation)
        shared = [ref for ref in test.checkpoints if ref in dev.checkpoints]
        if not shared:
            raise StudyError(f"{model.test.model} has no checkpoint with complete {setting} results in both splits.")
        refs.append(tuple(shared))
        by_task = dev.by_task.mean(axis=-1)
        accuracy.append(by_task[:, [dev.checkpoints.index(ref) for ref in shared]])
    members = [[Member(model, ref, kind) for ref in part] for (model, kind), part in zip(kinds, refs, strict=True)]
    collect_members((members[0][0], members[1][0]), tasks=tasks, normalisation=normalisation)  # refuses what differs
    value = np.mean([_grid_of_task(members, task, accuracy, at, measure, normalisation)
                     for at, task in enumerate(tasks)], axis=0)  # fmt: skip
    return PairGrid(
        refs[0],
        refs[1],
        value,
        *(
            _gold_values(model, part, tasks, measure, normalisation)
            for (model, _), part in zip(kinds, refs, strict=True)
        ),
    )


def _grid_of_task(
    members: Sequence[Sequence[Member]],
    task: str,
    accuracy: Sequence[npt.NDArray[np.float64]],
    at: int,
    measure: Measure,
    normalisation: Normalisation,
) -> npt.NDArray[np.float64]:
    """(n_tr, n_tl) the measure on one task, mean over seeds."""
    seeds = members[0][0].model.test.demo_seeds
    scores = [[member.scores(task, seeds) for member in part] for part in members]
    probs = [[label_probs(each, normalisation=normalisation)[0] for each in part] for part in scores]
    gold = scores[0][0].gold
    chance = 1 / probs[0][0].shape[-1]
    value = np.zeros((len(members[0]), len(members[1])))
    for i, tr in enumerate(probs[0]):
        for j, tl in enumerate(probs[1]):
            weights = adaptive_weights([accuracy[0][at, i], accuracy[1][at, j]], chance)
            predicted = first_highest(fuse([tr, tl], weights))
            value[i, j] = measure_of(predicted, gold, measure=measure).mean()
    return value


def _gold_values(
    model: ModelSplits,
    refs: Sequence[CheckpointRef],
    tasks: Sequence[str],
    measure: Measure,
    normalisation: Normalisation,
) -> npt.NDArray[np.float64]:
    found = setting_values(model.test, "gold", measure=measure, task=tasks, normalisation=normalisation)
    by_ref = dict(zip(found.checkpoints, found.value.tolist(), strict=True))
    return np.array([by_ref.get(ref, np.nan) for ref in refs])
