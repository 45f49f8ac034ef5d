"""Trajectories of several models, each read once and kept small, and the rows that charts of them draw.

A model's values are kept for as long as that model's stored results stay the same, so that a running job of another
model costs nothing here. It computes no measure itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from icl_core.analysis.comparison import (
    FamilyOccurrence,
    ModelSummary,
    ModelTrajectory,
    SeedGroup,
    mean_over_runs,
    model_trajectory,
    summarise,
)
from icl_core.analysis.predictions import collect_predictions
from icl_core.errors import ObservatoryError
from icl_core.evaluation.exclusions import excluded_checkpoints
from icl_core.evaluation.study import Study, study_cells
from icl_core.records import CheckpointRef
from icl_core.registry.families import FAMILIES
from pages.ui.charts.axes import Quantity
from pages.ui.data import cached, rows, suite
from pages.ui.data.view import View
from pages.ui.words.findings import PASSED_OVER
from pages.ui.words.written import checkpoint_name, count, joined, legible, short_number

__all__ = [
    "Compared",
    "ability_rows",
    "accumulated_rows",
    "checkpoints_of",
    "compare",
    "level_rows",
    "occurrence_rows",
    "point_rows",
    "run_rows",
    "stored_models",
    "summaries_of",
    "summary_rows",
]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Compared:
    """Models side by side under the same options.

    Attributes:
        trajectories: by model, of those with at least two complete checkpoints on all tasks and seeds.
        problems: why each of the others is not in it, a sentence.
        left_out: checkpoints that do not enter, with the reason.
        n_test: most test rows per task, by model: the study's number, or another if the model has no results of it.
    """

    trajectories: Mapping[str, ModelTrajectory]
    problems: Mapping[str, str]
    left_out: Mapping[str, str]
    n_test: Mapping[str, int]


def stored_models() -> list[str]:
    """Names of the models with results."""
    return list(cached.stored_models())


def checkpoints_of(models: Sequence[str]) -> list[CheckpointRef]:
    """The stored checkpoints of these models."""
    stored = cached.stored_models()
    return [ref for model in models if model in stored for ref in stored[model].checkpoints]


@cached.kept(cached.state_of_model, max_entries=512, show_spinner="Reading the results of one more model")
def _trajectory(asked: Study, view: View) -> tuple[ModelTrajectory | str, dict[str, str]]:
    model = asked.checkpoints[0].model
    tasks = asked.tasks if view.task is None else (view.task,)
    excluded = excluded_checkpoints(cached.store(), asked.checkpoints)
    left_out = {f"{model} {checkpoint_name(ref)}": reason for ref, reason in excluded.items()}
    try:
        specs = study_cells(dataclasses.replace(asked, tasks=tasks))
        cells = cached.store().find_labels(specs, normalisation=view.normalisation)
        found = collect_predictions(cells.values(), excluded=excluded).get(model)
        if found is None:
            return f"{model} has no results under these options.", left_out
        trajectory = model_trajectory(
            found, measure=view.measure, normalisation=view.normalisation, task=tasks, demo_seeds=asked.demo_seeds
        )
    except ObservatoryError as error:
        return str(error), left_out
    lacking = set(found.checkpoints) - set(trajectory.checkpoints)
    return trajectory, left_out | {f"{model} {checkpoint_name(ref)}": PASSED_OVER for ref in lacking}


def compare(study_of: Callable[[str], Study], models: Sequence[str], *, view: View) -> Compared:
    """The trajectories of these models under the same options; what is missing is said, not filled in.

    Noise depends on the number of test rows. If some models have not been evaluated on as many as the study asks for,
    the largest number that all have is taken. A model that has no number in common with the others keeps its own.

    Args:
        study_of: gives a model's study under the options; an ``ObservatoryError`` says why there is none.
        models: names.
        view: tasks and measure.
    """
    stored = cached.stored_models()
    trajectories: dict[str, ModelTrajectory] = {}
    problems: dict[str, str] = {}
    left_out: dict[str, str] = {}
    rows_asked: dict[str, int] = {}
    sizes = [set(stored[model].n_test) for model in models if model in stored and stored[model].n_test]
    common = set.intersection(*sizes) if sizes else set()
    for model in dict.fromkeys(models):
        if model not in stored:
            problems[model] = f"{model} has no results in this store."
            continue
        try:
            study = study_of(model)
        except ObservatoryError as error:
            problems[model] = str(error)
            continue
        here = set(stored[model].checkpoints)
        refs = tuple(ref for ref in study.checkpoints if ref in here)
        if not refs:
            problems[model] = f"{model} has no results at the chosen checkpoints."
            continue
        n_test = _n_test(study.n_test, stored[model].n_test, common)
        asked = dataclasses.replace(study, checkpoints=refs, n_test=n_test)
        found, without = _trajectory(asked, view)
        left_out |= without
        if isinstance(found, str):
            problems[model] = found
        else:
            trajectories[model] = found
            rows_asked[model] = n_test
    return Compared(trajectories, problems, left_out, rows_asked)


def _n_test(asked: int, own: Sequence[int], common: Set[int]) -> int:
    """Test rows per task: those asked for if all models have them, else the most that all have, else the model's."""
    return asked if asked in common or not own else max(common or own)


def summaries_of(found: Compared, *, epsilon: float) -> dict[str, ModelSummary]:
    """Eqs. 1-4 of every model."""
    return {model: summarise(trajectory, epsilon=epsilon) for model, trajectory in found.trajectories.items()}


# Rows


def summary_rows(found: Compared, summaries: Mapping[str, ModelSummary]) -> list[Row]:
    """One row per model with everything that is compared."""
    return [
        {
            "model": model,
            "family": summary.family,
            "parameters": short_number(size) if (size := suite.n_parameters_of(model)) else "",
            "training_seed": suite.training_seed_of(model),
            "intervals": summary.n_intervals,
            "competing": int(summary.competition.indicator.sum()),
            "ratio": summary.competition.ratio,
            "mean_intensity": summary.competition.mean_intensity,
            "final_icl": summary.final_icl,
            "final_checkpoint": checkpoint_name(summary.final_checkpoint),
            "tasks": len(found.trajectories[model].tasks),
            "test_rows": found.n_test[model],
        }
        for model, summary in summaries.items()
    ]


def _family_title(family: str) -> str:
    return FAMILIES[family].title if family in FAMILIES else family


def occurrence_rows(occurrence: Sequence[FamilyOccurrence]) -> list[Row]:
    """One row per family."""
    return [
        {
            "family": _family_title(item.family),
            "ratio": item.ratio,
            "text": _runs_words(item),
        }
        for item in occurrence
    ]


def _runs_words(item: FamilyOccurrence) -> str:
    seeds = f", {len(item.runs)} training runs" if len(item.runs) > len(item.models) else ""
    return f"{count(len(item.models), 'model')}{seeds}: {joined(item.models, most=8)}"


def run_rows(occurrence: Sequence[FamilyOccurrence]) -> list[Row]:
    """One row per training run of the families whose bar is a mean."""
    return [
        {"family": _family_title(item.family), "ratio": ratio, "text": model}
        for item in occurrence
        if len(item.runs) > 1
        for model, ratio in item.runs.items()
    ]


def point_rows(groups: Sequence[SeedGroup], names: Mapping[str, str]) -> list[Row]:
    """One point per model that has a final ICL value, and one per training run if it has several runs.

    Args:
        groups: models with their runs.
        names: what a model is called in the chart.
    """
    found: list[Row] = []
    for group in groups:
        if group.final_icl is not None:
            name, n = names[group.name], len(group.runs)
            last = group.runs[0]
            said = f"{last.n_intervals} intervals, last {checkpoint_name(last.final_checkpoint)}"
            found.append(
                {"model": name if n == 1 else f"{name} (n = {n})", "run": "", "mean_intensity": group.mean_intensity,
                 "final_icl": group.final_icl, "text": said if n == 1 else f"mean of {n} training seeds, {said}"}
            )  # fmt: skip
            found += [
                {"model": run.model, "run": name, "mean_intensity": run.competition.mean_intensity,
                 "final_icl": run.final_icl, "text": "one training seed"}
                for run in group.runs
                if n > 1 and run.final_icl is not None
            ]  # fmt: skip
    return found


def level_rows(levels: Sequence[tuple[str, SeedGroup]], value: Callable[[SeedGroup], float | None]) -> list[Row]:
    """The mean over training runs at each level of a factor, and every run.

    Args:
        levels: in words, each with its model, in order.
        value: what is drawn of a model; called with single runs too.
    """
    found: list[Row] = []
    for level, group in levels:
        at = f"{level}|n = {len(group.runs)}"
        found.append({"level": at, "model": group.name, "value": value(group), "run": False})
        singles = [SeedGroup(run.model, (run,)) for run in group.runs]
        found += [{"level": at, "model": one.name, "value": value(one), "run": True} for one in singles]
    return [row for row in found if row["value"] is not None]


def accumulated_rows(
    curves: Sequence[Mapping[CheckpointRef, float]], quantity: Quantity, *, name: str, what: str = ""
) -> list[Row]:
    """A curve of one model: the mean over its training runs, and, marked ``thin``, each of several runs.

    Args:
        curves: of each run, by checkpoint; empty if it is undefined.
        quantity: of the horizontal axis.
        name: of the model.
        what: the curve's name in tooltips, if it is not the model's.
    """
    known = [curve for curve in curves if curve]
    several = len(known) > 1
    drawn = [(f"mean of {len(known)} seeds of {what or name}" if several else what or name, mean_over_runs(known))]
    if several:
        drawn += [(f"{legible(what or name)}, {legible(next(iter(curve)).model)}", dict(curve)) for curve in known]
    return [
        {"model": name, "run": title, "thin": index > 0, "x": places[ref], "value": float(value),
         "text": f"{title} at {checkpoint_name(ref)}"}
        for index, (title, curve) in enumerate(drawn)
        for places in [rows.positions(list(curve), quantity)]
        for ref, value in curve.items()
    ]  # fmt: skip


def ability_rows(trajectory: ModelTrajectory, quantity: Quantity) -> list[Row]:
    """ICL, TR and TL of one model, without bands."""
    places = rows.positions(trajectory.checkpoints, quantity)
    by_ability = {
        "ICL": trajectory.icl,
        "TR": dict(zip(trajectory.checkpoints, trajectory.tr.tolist(), strict=True)),
        "TL": dict(zip(trajectory.checkpoints, trajectory.tl.tolist(), strict=True)),
    }
    return [
        {
            "model": trajectory.model,
            "ability": ability,
            "x": places[ref],
            "checkpoint": checkpoint_name(ref),
            "revision": ref.weight_file or ref.revision,
            "value": value,
            "low": value,
            "high": value,
            "left_out": "",
        }
        for ability, values in by_ability.items()
        for ref, value in values.items()
    ]
