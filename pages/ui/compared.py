"""Trajectories of several models, each read once and kept small, and the rows that charts of them draw.

A model's values are kept for as long as that model's stored results stay the same, so that a running job of another
model costs nothing here. It computes no measure itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from icl_core.analysis.comparison import (
    FamilyOccurrence,
    ModelSummary,
    ModelTrajectory,
    model_trajectory,
    summarise,
)
from icl_core.analysis.predictions import Normalisation, collect_predictions
from icl_core.analysis.statistics import Measure
from icl_core.errors import ObservatoryError
from icl_core.evaluation.exclusions import excluded_checkpoints
from icl_core.evaluation.study import Study, study_cells, study_from_json, study_to_json
from icl_core.registry.families import FAMILIES, MODELS
from pages.ui import cached, rows, selection
from pages.ui.axes import Quantity
from pages.ui.controls import View
from pages.ui.words import checkpoint_name, count, joined, short_number

__all__ = [
    "Compared",
    "ability_rows",
    "accumulated_rows",
    "compare",
    "icl_rows",
    "occurrence_rows",
    "point_rows",
    "stored_models",
    "study_of_model",
    "summaries_of",
    "summary_rows",
]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Compared:
    """Models side by side under the same options.

    Attributes:
        trajectories: by model, of those with at least two complete checkpoints on all tasks and seeds.
        problems: why the others are not in it, a sentence for each.
        left_out: checkpoints that do not enter, with the reason.
    """

    trajectories: Mapping[str, ModelTrajectory]
    problems: Mapping[str, str]
    left_out: Mapping[str, str]


def stored_models() -> list[str]:
    """Names of the models with results."""
    return list(cached.stored_models())


def study_of_model(choice: selection.Choice, model: str) -> Study:
    """The study's options for one model.

    Raises:
        ObservatoryError: the choice is no study for this model.
    """
    return selection.study_of(dataclasses.replace(choice, model=(model,), local=""))


@st.cache_data(max_entries=512, show_spinner="Reading the results of one more model")
def _trajectory(
    study: str, measure: Measure, normalisation: Normalisation, tasks: tuple[str, ...], state: str
) -> tuple[ModelTrajectory | str, dict[str, str]]:
    asked = study_from_json(study)
    model = asked.checkpoints[0].model
    excluded = excluded_checkpoints(cached.store(), asked.checkpoints)
    left_out = {f"{model} {checkpoint_name(ref)}": reason for ref, reason in excluded.items()}
    try:
        records = cached.store().find_many(study_cells(dataclasses.replace(asked, tasks=tasks)))
        found = collect_predictions(records.values(), excluded=excluded).get(model)
        if found is None:
            return f"{model} has no results under these options.", left_out
        trajectory = model_trajectory(
            found, measure=measure, normalisation=normalisation, task=tasks, demo_seeds=asked.demo_seeds
        )
    except ObservatoryError as error:
        return str(error), left_out
    lacking = set(found.checkpoints) - set(trajectory.checkpoints)
    reason = "cells of TR or TL are missing; the interval joins its neighbours."
    return trajectory, left_out | {f"{model} {checkpoint_name(ref)}": reason for ref in lacking}


def compare(choice: selection.Choice, models: Iterable[str], *, view: View) -> Compared:
    """The trajectories of these models under one choice of options; what is missing is said, not filled in."""
    stored = cached.stored_models()
    trajectories: dict[str, ModelTrajectory] = {}
    problems: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for model in dict.fromkeys(models):
        if model not in stored:
            problems[model] = f"{model} has no results in this store."
            continue
        try:
            study = study_of_model(choice, model)
        except ObservatoryError as error:
            problems[model] = str(error)
            continue
        here = set(stored[model].checkpoints)
        refs = tuple(ref for ref in study.checkpoints if ref in here)
        if not refs:
            problems[model] = f"{model} has no results at the chosen checkpoints."
            continue
        tasks = study.tasks if view.task is None else (view.task,)
        asked = study_to_json(dataclasses.replace(study, checkpoints=refs))
        found, without = _trajectory(asked, view.measure, view.normalisation, tasks, stored[model].state)
        left_out |= without
        if isinstance(found, str):
            problems[model] = found
        else:
            trajectories[model] = found
    return Compared(trajectories, problems, left_out)


def summaries_of(found: Compared, *, epsilon: float) -> dict[str, ModelSummary]:
    """Eqs. 1-4 of every model."""
    return {model: summarise(trajectory, epsilon=epsilon) for model, trajectory in found.trajectories.items()}


# Rows


def _size(model: str) -> str:
    n_parameters = MODELS[model].n_parameters if model in MODELS else None
    return short_number(n_parameters) if n_parameters else ""


def summary_rows(found: Compared, summaries: Mapping[str, ModelSummary]) -> list[Row]:
    """One row a model with everything that is compared."""
    return [
        {
            "model": model,
            "family": summary.family,
            "parameters": _size(model),
            "intervals": summary.n_intervals,
            "competing": int(summary.competition.indicator.sum()),
            "ratio": summary.competition.ratio,
            "mean_intensity": summary.competition.mean_intensity,
            "final_icl": summary.final_icl,
            "final_checkpoint": checkpoint_name(summary.final_checkpoint),
            "tasks": len(found.trajectories[model].tasks),
        }
        for model, summary in summaries.items()
    ]


def occurrence_rows(occurrence: Sequence[FamilyOccurrence]) -> list[Row]:
    """One row a family."""
    return [
        {
            "family": FAMILIES[item.family].title if item.family in FAMILIES else item.family,
            "ratio": item.ratio,
            "text": f"{count(len(item.models), 'model')}: {joined(item.models, most=8)}",
        }
        for item in occurrence
    ]


def point_rows(summaries: Mapping[str, ModelSummary], names: Mapping[str, str]) -> list[Row]:
    """One point a model that has a final ICL value; ``names`` says what a model is called in the chart."""
    return [
        {
            "model": names.get(model, model),
            "mean_intensity": summary.competition.mean_intensity,
            "final_icl": summary.final_icl,
            "text": f"{summary.n_intervals} intervals, last {checkpoint_name(summary.final_checkpoint)}",
        }
        for model, summary in summaries.items()
        if summary.final_icl is not None
    ]


def accumulated_rows(
    trajectory: ModelTrajectory, summary: ModelSummary, quantity: Quantity, *, name: str | None = None
) -> list[Row]:
    """R of one model at each checkpoint; nothing where it is undefined (no competition)."""
    values = summary.competition.cumulative_by_checkpoint
    if values is None:
        return []
    places = rows.positions(trajectory.checkpoints, quantity)
    shown = name or trajectory.model
    return [
        {"model": shown, "x": places[ref], "value": float(value), "text": f"{shown} at {checkpoint_name(ref)}"}
        for ref, value in zip(trajectory.checkpoints, values, strict=True)
    ]


def icl_rows(trajectory: ModelTrajectory, quantity: Quantity) -> list[Row]:
    """ICL of one model at its complete checkpoints."""
    places = rows.positions(trajectory.checkpoints, quantity)
    return [
        {"x": places[ref], "value": value, "text": f"ICL at {checkpoint_name(ref)}"}
        for ref, value in trajectory.icl.items()
    ]


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
            "value": value,
            "low": value,
            "high": value,
            "left_out": "",
        }
        for ability, values in by_ability.items()
        for ref, value in values.items()
    ]
