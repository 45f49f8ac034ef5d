"""Adaptive fusion of other members than the best: Table 3 of arXiv 2406.14022, and all pairs of checkpoints.

``comparison`` compares fusions with baselines. No member and no weight is chosen on the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from icl_core.analysis.fusion.answers import AnswerScores, answer_scores, fused_answers
from icl_core.analysis.fusion.equations import adaptive_weights, fuse, label_probs
from icl_core.analysis.fusion.members import (
    FusionMember,
    MemberResults,
    ModelSplits,
    collect_members,
    shared_tasks,
)
from icl_core.analysis.fusion.selection import SelectionRule, select_checkpoint
from icl_core.analysis.fusion.weights import development_weights, fixed_weights
from icl_core.analysis.predictions import Normalisation, first_highest
from icl_core.analysis.statistics import Measure, measure_of
from icl_core.analysis.trajectories import setting_values
from icl_core.errors import StudyError
from icl_core.records import CheckpointRef, LabelSetting

__all__ = ["TABLE_3_RULES", "AblationRow", "PairGrid", "ablation_grid", "pair_grid"]

TABLE_3_RULES: tuple[tuple[SelectionRule, SelectionRule], ...] = (
    ("TR-best", "none"),
    ("none", "TL-best"),
    ("random", "random"),
    ("TR-best", "random"),
    ("random", "TL-best"),
    ("TR-best", "ICL-best"),
    ("ICL-best", "TL-best"),
    ("ICL-best", "ICL-best"),
    ("TR-best", "TL-best"),
)
"""The rules by which the TR and the TL member are chosen, for each row of the paper's Table 3."""


@dataclass(frozen=True, slots=True, eq=False)
class AblationRow:
    """One row of the paper's Table 3.

    Attributes:
        tr_rule: how the TR member was chosen.
        tl_rule: how the TL member was chosen.
        members: the chosen checkpoints; for random choices, those of the first draw.
        scores: mean over draws.
        n_draws: 1, or the number of random draws averaged.
    """

    tr_rule: SelectionRule
    tl_rule: SelectionRule
    members: tuple[FusionMember, ...]
    scores: AnswerScores
    n_draws: int


def ablation_grid(
    tr_model: ModelSplits,
    tl_model: ModelSplits,
    *,
    rules: Sequence[tuple[SelectionRule, SelectionRule]] = TABLE_3_RULES,
    measure: Measure = "accuracy",
    normalisation: Normalisation = "sum",
    n_draws: int = 10,
    seed: int = 0,
) -> tuple[AblationRow, ...]:
    """Table 3: adaptive fusion (per task) for each way of choosing the TR and the TL checkpoint.

    A random choice is averaged over ``n_draws`` draws. With the rule ``none`` there is only the other member.

    Raises:
        StudyError: results that a row needs are missing, or do not line up.
    """
    rows = []
    for index, (tr_rule, tl_rule) in enumerate(rules):
        rng = np.random.default_rng([seed, index])
        draws = n_draws if "random" in (tr_rule, tl_rule) else 1
        scored = []
        first: tuple[FusionMember, ...] = ()
        for _ in range(draws):
            members = _chosen_members((tr_model, tr_rule), (tl_model, tl_rule), normalisation, rng=rng)
            first = first or tuple(each.member for each in members)
            scored.append(_adaptive_scores(members, measure, normalisation))
        mean = AnswerScores(np.mean([each.by_task_seed for each in scored], axis=0), scored[0].tasks)
        rows.append(AblationRow(tr_rule, tl_rule, first, mean, draws))
    return tuple(rows)


def _chosen_members(
    tr: tuple[ModelSplits, SelectionRule],
    tl: tuple[ModelSplits, SelectionRule],
    normalisation: Normalisation,
    *,
    rng: np.random.Generator,
) -> list[MemberResults]:
    members = []
    roles: tuple[tuple[tuple[ModelSplits, SelectionRule], LabelSetting], ...] = ((tr, "random"), (tl, "abstract"))
    for (model, rule), setting in roles:
        checkpoint = select_checkpoint(model, rule, normalisation=normalisation, rng=rng)
        if checkpoint is not None:
            members.append(MemberResults(model, checkpoint, setting))
    return members


def _adaptive_scores(members: Sequence[MemberResults], measure: Measure, normalisation: Normalisation) -> AnswerScores:
    data = collect_members(members, normalisation=normalisation)
    weights = development_weights(data) if len(members) > 1 else fixed_weights(data)
    return answer_scores(fused_answers(data, weights), measure=measure)


@dataclass(frozen=True, slots=True, eq=False)
class PairGrid:
    """Adaptive fusion of every TR checkpoint with every TL checkpoint.

    Attributes:
        tr: checkpoints of the TR model whose results are complete.
        tl: the same of the TL model.
        value: (n_tr, n_tl) the measure on the test set, mean over tasks and seeds; weights per task from the
            development set.
        tr_gold: (n_tr,) the measure of the TR checkpoints alone under gold labels; NaN if it is missing.
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
        test = setting_values(model.test, setting, task=tasks, normalisation=normalisation)
        seeds = model.test.demo_seeds  # weights are those of the fusion itself: from the seeds that are fused
        dev = setting_values(model.development(), setting, task=tasks, demo_seeds=seeds, normalisation=normalisation)
        shared = [ref for ref in test.checkpoints if ref in dev.checkpoints]
        if not shared:
            raise StudyError(f"{model.test.model} has no checkpoint with complete {setting} results in both splits.")
        refs.append(tuple(shared))
        by_task = dev.by_task.mean(axis=-1)
        accuracy.append(by_task[:, [dev.checkpoints.index(ref) for ref in shared]])
    members = [
        [MemberResults(model, ref, kind) for ref in part] for (model, kind), part in zip(kinds, refs, strict=True)
    ]
    collect_members((members[0][0], members[1][0]), tasks=tasks, normalisation=normalisation)  # refuses what differs
    value = np.mean([_grid_of_task(members, task, accuracy, at=at, measure=measure, normalisation=normalisation)
                     for at, task in enumerate(tasks)], axis=0)  # fmt: skip
    return PairGrid(
        refs[0],
        refs[1],
        value,
        *(
            _gold_values(model, part, tasks, measure=measure, normalisation=normalisation)
            for (model, _), part in zip(kinds, refs, strict=True)
        ),
    )


def _grid_of_task(
    members: Sequence[Sequence[MemberResults]],
    task: str,
    accuracy: Sequence[npt.NDArray[np.float64]],
    *,
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
    *,
    measure: Measure,
    normalisation: Normalisation,
) -> npt.NDArray[np.float64]:
    found = setting_values(model.test, "gold", measure=measure, task=tasks, normalisation=normalisation)
    by_ref = dict(zip(found.checkpoints, found.value.tolist(), strict=True))
    return np.array([by_ref.get(ref, np.nan) for ref in refs])
