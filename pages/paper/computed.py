"""What the paper page shows: the models that stand for the paper's, their trajectories, and this store's numbers.

It calls the core and the fusion page's kept comparisons, and computes no measure itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from icl_core.analysis.comparison import ModelTrajectory, subsample, summarise
from icl_core.analysis.fusion.comparison import EntryScore, mixed_counterpart
from icl_core.analysis.fusion.weights import WeightKind
from icl_core.records import LABEL_SETTINGS
from icl_core.registry.families import MODELS
from icl_core.registry.paper import PAPER_MODELS, TABLE_3_COLUMNS, Table7
from icl_core.registry.tasks import TASKS
from pages.fusion import computed as fusion
from pages.ui.charts.axes import Quantity, ScaleName
from pages.ui.controls import selection
from pages.ui.data import compared
from pages.ui.data.view import View
from pages.ui.panels.side_by_side import SideBySide
from pages.ui.words.written import joined

__all__ = [
    "FUSION_ROLES",
    "PaperView",
    "fused_line",
    "fusion_asked",
    "fusion_pairs",
    "observe",
    "ratio_of",
    "roles",
    "study_choice",
    "table_7_choices",
    "trajectories_under",
    "wanted_choice",
]

FUSION_ROLES = tuple(dict.fromkeys(role for pair in TABLE_3_COLUMNS for role in pair))
"""The paper's models that are fused."""


@dataclass(frozen=True, slots=True)
class PaperView:
    """What all panels share.

    Attributes:
        choice: the study's options.
        view: how predictions are scored.
        epsilon: smallest change that counts, fraction.
        stand_ins: store model by registry name of the paper's model.
        side: the stand-ins and the other models shown, side by side.
    """

    choice: selection.Choice
    view: View
    epsilon: float
    stand_ins: Mapping[str, str]
    side: SideBySide


def observe(
    view: View, axis: tuple[Quantity, ScaleName], epsilon: float, *, chosen: Mapping[str, str], further: Sequence[str]
) -> PaperView:
    """The trajectories of everything shown, each read once."""
    choice = selection.current_choice()
    study_of = partial(selection.study_of_model, choice)
    found = compared.compare(study_of, [*chosen.values(), *further], view=view)
    summaries = compared.summaries_of(found, epsilon=epsilon)
    return PaperView(choice, view, epsilon, chosen, SideBySide(found, summaries, axis, _names(chosen)))


def _names(chosen: Mapping[str, str]) -> dict[str, str]:
    """Stand-ins as they are called in charts: with the paper's models that they stand for."""
    names = {}
    for model in chosen.values():
        played = [PAPER_MODELS[role] for role, stand_in in chosen.items() if stand_in == model != role]
        if played:
            names[model] = f"{model} (as {joined(played)})"
    return names


def roles(seen: PaperView, wanted: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The store's model for each of these of the paper that has a trajectory here, and the paper's models without."""
    here = {role: seen.stand_ins[role] for role in wanted if seen.stand_ins.get(role) in seen.side.found.trajectories}
    return here, [role for role in wanted if role not in here]


# Studies


def study_choice(seen: PaperView, models: Sequence[str]) -> selection.Choice:
    """The study's options for other models with all three label settings; the paper's grid for its own models."""
    own = all(model in MODELS for model in models)
    checkpoints = "paper" if own and seen.choice.checkpoints == "all" else seen.choice.checkpoints
    choice = selection.for_models(seen.choice, dict.fromkeys(models))
    return dataclasses.replace(choice, setting=LABEL_SETTINGS, checkpoints=checkpoints)


def wanted_choice(seen: PaperView, models: Sequence[str]) -> selection.Choice:
    """The same to evaluate what is missing: models of the paper are evaluated on its 16 tasks, whatever is shown."""
    choice = study_choice(seen, models)
    return dataclasses.replace(choice, task=tuple(TASKS)) if any(model in MODELS for model in models) else choice


# Table 7


def table_7_choices(table: Table7, choice: selection.Choice) -> dict[str, selection.Choice]:
    """For each column of a part of Table 7 the options under which its results are made."""
    if table.option == "alphabet":
        return {str(column): dataclasses.replace(choice, alphabet=str(column)) for column in table.columns}
    if table.option == "shots":
        return {str(column): dataclasses.replace(choice, shots=int(column)) for column in table.columns}
    wide = dataclasses.replace(choice, checkpoints=str(int(table.columns[-1]) + 1))
    return {str(column): wide if column == table.columns[-1] else choice for column in table.columns}


def trajectories_under(seen: PaperView, choice: selection.Choice, wanted: Sequence[str]) -> dict[str, ModelTrajectory]:
    """The trajectories of the paper's models under other options, of those that have one."""
    played = {role: seen.stand_ins[role] for role in wanted if role in seen.stand_ins}
    study_of = partial(selection.study_of_model, choice)
    found = compared.compare(study_of, tuple(played.values()), view=seen.view).trajectories
    return {role: found[model] for role, model in played.items() if model in found}


def ratio_of(trajectory: ModelTrajectory, table: Table7, column: str, *, epsilon: float) -> float:
    """The competition ratio of one field of Table 7.

    Raises:
        StudyError: the trajectory has too few checkpoints.
    """
    if table.option == "checkpoints":
        trajectory = subsample(trajectory, n_intervals=int(column))
    return summarise(trajectory, epsilon=epsilon).competition.ratio


# Tables 1 to 3: fusion


def fusion_pairs(seen: PaperView) -> dict[tuple[str, str], tuple[str, str]]:
    """Store models by the pair of roles that they play, of pairs whose both roles are played."""
    return {
        (tr, tl): (seen.stand_ins[tr], seen.stand_ins[tl])
        for tr, tl in TABLE_3_COLUMNS
        if tr in seen.stand_ins and tl in seen.stand_ins
    }


def fusion_asked(seen: PaperView, pair: tuple[str, str]) -> fusion.Asked:
    """The fusion page's question for one pair of stand-ins; all pairs are read with one study."""
    models = [seen.stand_ins[role] for role in FUSION_ROLES if role in seen.stand_ins]
    study = selection.study_of(study_choice(seen, models))
    tr, tl = pair
    return fusion.Asked(study, tr, tl, None, None, seen.view.measure, seen.view.normalisation)


def fused_line(found: fusion.Comparison | None, kind: WeightKind, *, mixed: bool) -> EntryScore | None:
    """This store's line for one of Table 1: fused predictions, or mixed parameters; None if it is not computed."""
    if found is None:
        return None
    return mixed_counterpart(found.lines, kind) if mixed else found.fusion(kind)
