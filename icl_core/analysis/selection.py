"""Which checkpoints take part in a fusion: chosen on the development set alone.

It chooses and scores choices; the fusion itself is in ``fusion``. Source: arXiv 2406.14022, section 4 and Table 3.
Ties go to the earlier step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from icl_core.analysis.fusion import (
    AnswerScores,
    Member,
    ModelSplits,
    answer_scores,
    collect_members,
    development_weights,
    equal_weights,
    fused_answers,
)
from icl_core.analysis.predictions import Normalisation
from icl_core.analysis.statistics import Measure
from icl_core.analysis.trajectories import setting_values
from icl_core.errors import StudyError
from icl_core.records import CheckpointRef, LabelSetting

__all__ = [
    "SELECTION_RULES",
    "TABLE_3_RULES",
    "AblationRow",
    "SelectionRule",
    "ablation_grid",
    "equal_gold_ensemble",
    "select_checkpoint",
]

SelectionRule = Literal["TR-best", "TL-best", "ICL-best", "random", "none"]
SELECTION_RULES: tuple[SelectionRule, ...] = ("TR-best", "TL-best", "ICL-best", "random", "none")
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
"""How the TR and the TL member are chosen in the rows of the paper's Table 3."""

_SETTING_OF_RULE: Mapping[SelectionRule, LabelSetting] = {
    "TR-best": "random",
    "TL-best": "abstract",
    "ICL-best": "gold",
}


def select_checkpoint(
    model: ModelSplits,
    rule: SelectionRule,
    *,
    tasks: Sequence[str] | None = None,
    demo_seeds: Sequence[int] | None = None,
    normalisation: Normalisation = "sum",
    rng: np.random.Generator | None = None,
) -> CheckpointRef | None:
    """Chooses a checkpoint by development accuracy; ties go to the earlier step; ``none`` gives None.

    Args:
        model: test and development results.
        rule: whose accuracy decides, or ``random`` (needs ``rng``) over all checkpoints that have results.
        tasks: None for all.
        demo_seeds: None for all.
        normalisation: of the scores.
        rng: for ``random``.

    Raises:
        StudyError: no development results in the setting that decides.
    """
    if rule == "none":
        return None
    if rule == "random":
        if rng is None:
            raise StudyError("A random choice of checkpoint needs a generator with a named seed.")
        return model.test.checkpoints[int(rng.integers(len(model.test.checkpoints)))]
    setting = _SETTING_OF_RULE[rule]
    values = setting_values(
        model.development(), setting, task=tasks, demo_seeds=demo_seeds, normalisation=normalisation
    )
    if not values.checkpoints:
        raise StudyError(
            f"{model.test.model} has no checkpoint with complete {setting} results on the development set."
        )
    # argmax takes the first of equals, which is the earlier step.
    return values.checkpoints[int(np.argmax(np.round(values.value, 9)))]


def equal_gold_ensemble(
    models: Sequence[ModelSplits],
    *,
    tasks: Sequence[str] | None = None,
    demo_seeds: Sequence[int] | None = None,
    normalisation: Normalisation = "sum",
) -> tuple[Member, Member]:
    """The control that shows whether a gain is more than ensembling: the two checkpoints best under gold.

    The choice is over all checkpoints of the models by development accuracy; weigh them with ``equal_weights``.

    Raises:
        StudyError: fewer than two checkpoints have gold results on the development set.
    """
    ranked: list[tuple[float, int, Member]] = []
    for model in {id(model.test): model for model in models}.values():
        values = setting_values(
            model.development(), "gold", task=tasks, demo_seeds=demo_seeds, normalisation=normalisation
        )
        for ref, value in zip(values.checkpoints, values.value, strict=True):
            ranked.append((-round(float(value), 9), len(ranked), Member(model, ref, "gold")))
    if len(ranked) < 2:
        raise StudyError("The equal ensemble needs two checkpoints with gold results on the development set.")
    best, second = sorted(ranked, key=lambda item: item[:2])[:2]
    return best[2], second[2]


@dataclass(frozen=True, slots=True, eq=False)
class AblationRow:
    """One row of the paper's Table 3.

    Attributes:
        tr_rule: how the TR member was chosen.
        tl_rule: how the TL member was chosen.
        members: the names of the members; for random choices those of the first draw.
        scores: mean over draws.
        n_draws: 1, or the number of random draws averaged.
    """

    tr_rule: SelectionRule
    tl_rule: SelectionRule
    members: tuple[str, ...]
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

    A random choice is averaged over ``n_draws`` draws. A rule ``none`` leaves the other member alone.

    Raises:
        StudyError: results that a row needs are missing, or do not line up.
    """
    rows = []
    for index, (tr_rule, tl_rule) in enumerate(rules):
        rng = np.random.default_rng([seed, index])
        draws = n_draws if "random" in (tr_rule, tl_rule) else 1
        scored = []
        names: tuple[str, ...] = ()
        for _ in range(draws):
            members = _chosen_members((tr_model, tr_rule), (tl_model, tl_rule), normalisation, rng)
            names = names or tuple(member.name for member in members)
            scored.append(_adaptive_scores(members, measure, normalisation))
        mean = AnswerScores(np.mean([each.by_task_seed for each in scored], axis=0), scored[0].tasks)
        rows.append(AblationRow(tr_rule, tl_rule, names, mean, draws))
    return tuple(rows)


def _chosen_members(
    tr: tuple[ModelSplits, SelectionRule],
    tl: tuple[ModelSplits, SelectionRule],
    normalisation: Normalisation,
    rng: np.random.Generator,
) -> list[Member]:
    members = []
    roles: tuple[tuple[tuple[ModelSplits, SelectionRule], LabelSetting], ...] = ((tr, "random"), (tl, "abstract"))
    for (model, rule), setting in roles:
        checkpoint = select_checkpoint(model, rule, normalisation=normalisation, rng=rng)
        if checkpoint is not None:
            members.append(Member(model, checkpoint, setting))
    return members


def _adaptive_scores(members: Sequence[Member], measure: Measure, normalisation: Normalisation) -> AnswerScores:
    data = collect_members(members, normalisation=normalisation)
    weights = development_weights(data) if len(members) > 1 else equal_weights(data)
    return answer_scores(fused_answers(data, weights), measure=measure)
