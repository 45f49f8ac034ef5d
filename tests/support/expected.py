"""What a page has to say for what its address asks for, worked out by the core alone without the pages' code."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from icl_core.analysis.competition import competition, competition_against_epsilon, noise_floor_of, resample_changes
from icl_core.analysis.predictions import Normalisation, collect_predictions
from icl_core.analysis.statistics import Measure
from icl_core.analysis.trajectories import AbilityCurves, ability_curves, paired_predictions
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells

__all__ = ["cells_sentence", "competition_words", "curve_words"]

ABILITIES = {"gold": "ICL", "random": "TR", "abstract": "TL"}
MEASURES = {"Accuracy": "accuracy", "Balanced accuracy": "balanced_accuracy", "Macro F1": "macro_f1"}
NORMALISATIONS = {"Sum of tokens": "sum", "Mean per token": "per_token", "Calibrated": "calibrated"}
Query = Mapping[str, list[str]]
View = tuple[Measure, Normalisation, str | None]
"""A measure, a normalisation, and a task where one alone is looked at."""


def _last(query: Query, name: str, default: str) -> str:
    return query.get(name, [default])[-1]


@lru_cache(maxsize=4)
def _records(store_folder: Path, study: Study) -> tuple[Any, ...]:
    store = Store.open(store_folder)
    try:
        return tuple(store.find_many(study_cells(study)).values())
    finally:
        store.close()


def asked_of(study: Study, query: Query) -> Study:
    """The study with the options that an address changes; titles and short names both count."""
    changed: dict[str, Any] = {}
    if "seeds" in query:
        changed["demo_seeds"] = tuple(int(text) for text in _last(query, "seeds", "").split(","))
    if "setting" in query:
        named = {name: name for name in ABILITIES} | {
            f"{name} ({ability})": name for name, ability in ABILITIES.items()
        }
        changed["label_settings"] = tuple(named[text] for text in query["setting"])
    if "task" in query:
        changed["tasks"] = tuple(query["task"])
    for field, name in (("n_shots", "shots"), ("n_test", "examples")):
        if name in query:
            changed[field] = int(_last(query, name, ""))
    if "dtype" in query:
        changed["dtype"] = _last(query, "dtype", "")
    return dataclasses.replace(study, **changed)


def _view(query: Query) -> View:
    measure, normalisation = _last(query, "measure", "accuracy"), _last(query, "norm", "sum")
    task = _last(query, "on", "Mean over tasks")
    return (
        cast(Measure, MEASURES.get(measure, measure)),
        cast(Normalisation, NORMALISATIONS.get(normalisation, normalisation)),
        None if task == "Mean over tasks" else task,
    )


@lru_cache(maxsize=64)
def _curves(store_folder: Path, study: Study, model: str, view: View) -> AbilityCurves:
    measure, normalisation, task = view
    predictions = collect_predictions(_records(store_folder, study))[model]
    return ability_curves(predictions, measure=measure, normalisation=normalisation, task=task)


def cells_sentence(store_folder: Path, study: Study, query: Query) -> str:
    """How many cells of the study are stored."""
    cells = study_cells(asked_of(study, query))
    return f"{len(_records(store_folder, asked_of(study, query))):,} of {len(cells):,} cells"


def curve_words(store_folder: Path, study: Study, model: str, query: Query) -> list[str]:
    """The values at the last checkpoint with their bands, chance, and what the bands are of."""
    curves = _curves(store_folder, asked_of(study, query), model, _view(query))
    ends = []
    for setting, curve in curves.curves.items():
        value, low, high = (100 * numbers[-1] for numbers in (curve.value, curve.low, curve.high))
        ends.append(f"{ABILITIES[setting]} {value:.1f} % ({low:.1f} to {high:.1f} %)")
    seeds, tasks = len(curves.demo_seeds), len(curves.tasks)
    n = next(iter(curves.n_examples.values()))
    return [
        *ends,
        f"chance is {100 * curves.chance:.1f} %",
        f"over {seeds} seed{'s' * (seeds > 1)} and {n:,} queries per task; {tasks} task{'s' * (tasks > 1)}",
    ]


def competition_words(store_folder: Path, study: Study, model: str, query: Query) -> list[str]:
    """In how many intervals TR and TL compete, what noise gives, and what the bands are of."""
    epsilon = float(_last(query, "eps", "0.01"))
    return list(_competition_words(store_folder, asked_of(study, query), model, _view(query), epsilon))


@lru_cache(maxsize=64)
def _competition_words(store_folder: Path, study: Study, model: str, view: View, epsilon: float) -> tuple[str, ...]:
    measure, normalisation, task = view
    predictions = collect_predictions(_records(store_folder, study))[model]
    pair = paired_predictions(predictions, normalisation=normalisation, task=task)
    replicates = resample_changes(pair.tr_predicted, pair.tl_predicted, pair.gold, measure=measure)
    curves = _curves(store_folder, study, model, view).curves
    values = [
        [dict(zip(curve.checkpoints, curve.value, strict=True))[ref] for ref in pair.checkpoints]
        for curve in (curves["random"], curves["abstract"])
    ]
    result = competition(*values, epsilon=epsilon)
    floor = noise_floor_of(replicates, epsilon=epsilon)
    n, competing = len(result.indicator), int(result.indicator.sum())
    said = [f"one standard error of a change is {100 * floor.standard_error:.1f} %"]
    if not competing:
        none = f"TR and TL move in opposite directions by more than that in none of {n} intervals"
        return *said, f"No competition at epsilon {epsilon:g}: {none}"
    ratio = competition_against_epsilon(replicates, (epsilon,)).ratio
    low, high = (round(float(edge[0]) * n) for edge in (ratio.null_low, ratio.null_high))
    return (
        *said,
        f"TR and TL compete in {competing} of {n} intervals at epsilon {epsilon:g}; noise alone gives {low} to {high}",
    )
