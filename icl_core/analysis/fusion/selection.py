"""The choice of a fusion's checkpoints: given by the user, or made on the development set alone.

Nothing is fused or compared here. Source: arXiv 2406.14022, section 4. Ties go to the earlier step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np

from icl_core.analysis.fusion.members import MemberResults, ModelSplits
from icl_core.analysis.predictions import Normalisation
from icl_core.analysis.trajectories import setting_values
from icl_core.errors import StudyError
from icl_core.records import CheckpointRef, LabelSetting

__all__ = [
    "SelectionRule",
    "choose_member",
    "choose_members",
    "equal_gold_ensemble",
    "select_checkpoint",
]

SelectionRule = Literal["TR-best", "TL-best", "ICL-best", "random", "none"]

_SETTING_BY_RULE: Mapping[SelectionRule, LabelSetting] = MappingProxyType(
    {"TR-best": "random", "TL-best": "abstract", "ICL-best": "gold"}
)
_RULE_BY_SETTING = MappingProxyType({setting: rule for rule, setting in _SETTING_BY_RULE.items()})


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
        rule: the accuracy that decides, or ``random`` (needs ``rng``) among all checkpoints with results.
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
    setting = _SETTING_BY_RULE[rule]
    values = setting_values(
        model.development(), setting, task=tasks, demo_seeds=demo_seeds, normalisation=normalisation
    )
    if not values.checkpoints:
        raise StudyError(
            f"{model.test.model} has no checkpoint with complete {setting} results on the development set."
        )
    # argmax takes the first of equals, which is the earlier step.
    return values.checkpoints[int(np.argmax(np.round(values.value, 9)))]


def choose_member(
    model: ModelSplits,
    label_setting: LabelSetting,
    *,
    checkpoint: CheckpointRef | None = None,
    normalisation: Normalisation = "sum",
) -> MemberResults:
    """A member in its role: the given checkpoint, or the best one in this role on the development set.

    Raises:
        StudyError: a checkpoint is to be chosen and there are no development results.
    """
    ref = checkpoint or select_checkpoint(model, _RULE_BY_SETTING[label_setting], normalisation=normalisation)
    assert ref is not None  # only the rule "none" gives None
    return MemberResults(model, ref, label_setting)


def choose_members(
    tr_model: ModelSplits,
    tl_model: ModelSplits,
    *,
    tr: CheckpointRef | None = None,
    tl: CheckpointRef | None = None,
    normalisation: Normalisation = "sum",
) -> tuple[MemberResults, MemberResults]:
    """The TR and the TL member: the given checkpoints, or the best ones on the development set.

    Raises:
        StudyError: a checkpoint is to be chosen and there are no development results.
    """
    return (
        choose_member(tr_model, "random", checkpoint=tr, normalisation=normalisation),
        choose_member(tl_model, "abstract", checkpoint=tl, normalisation=normalisation),
    )


def equal_gold_ensemble(
    models: Sequence[ModelSplits],
    *,
    tasks: Sequence[str] | None = None,
    demo_seeds: Sequence[int] | None = None,
    normalisation: Normalisation = "sum",
) -> tuple[MemberResults, MemberResults]:
    """The control that shows whether a gain is more than ensembling: the two checkpoints best under gold.

    They are chosen among all checkpoints of the models by development accuracy; weigh them with ``fixed_weights``.

    Raises:
        StudyError: fewer than two checkpoints have gold results on the development set.
    """
    ranked: list[tuple[float, int, MemberResults]] = []
    for model in {id(model.test): model for model in models}.values():
        values = setting_values(
            model.development(), "gold", task=tasks, demo_seeds=demo_seeds, normalisation=normalisation
        )
        for ref, value in zip(values.checkpoints, values.value, strict=True):
            ranked.append((-round(float(value), 9), len(ranked), MemberResults(model, ref, "gold")))
    if len(ranked) < 2:
        raise StudyError("The equal ensemble needs two checkpoints with gold results on the development set.")
    best, second = sorted(ranked, key=lambda item: item[:2])[:2]
    return best[2], second[2]
