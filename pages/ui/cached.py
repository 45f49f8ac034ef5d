"""What pages read from the core, kept by the store's generation number so that a rerun reads nothing twice.

Every argument that changes a result is in the cache key: the study as canonical JSON, and the generation, which grows
with each stored cell. It computes nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from icl_core import settings
from icl_core.analysis.competition import (
    ChangeReplicates,
    EpsilonCurves,
    competition_against_epsilon,
    resample_changes,
)
from icl_core.analysis.statistics import Measure
from icl_core.analysis.trajectories import (
    AbilityCurves,
    Normalisation,
    Predictions,
    ability_curves,
    collect_predictions,
    paired_predictions,
)
from icl_core.errors import ObservatoryError
from icl_core.evaluation.bundle import ensure_embedded
from icl_core.evaluation.exclusions import excluded_checkpoints
from icl_core.evaluation.store import CellSummary, Store
from icl_core.evaluation.study import Study, study_cells, study_from_json, study_to_json
from icl_core.models.hub import embedded_members, list_checkpoints
from icl_core.records import CellRecord, CheckpointRef, Split
from icl_core.registry.families import MODELS, known_checkpoints
from icl_core.registry.tasks import get_task

__all__ = [
    "Collected",
    "Paired",
    "against_epsilon",
    "ask_hub",
    "checkpoints_of",
    "collected",
    "completeness",
    "curves",
    "generation",
    "paired",
    "store",
    "summaries",
    "texts",
]


@st.cache_resource(show_spinner="Opening the store of results")
def _open(path: Path) -> Store:
    opened = Store.open(path)
    ensure_embedded(opened)
    return opened


def store() -> Store:
    """The store of this app, opened once; the shipped results are in it."""
    return _open(settings.store_path())


def generation() -> str:
    """Names the state of the store: its folder and the number that grows with each result."""
    return f"{settings.store_path()}@{store().generation()}"


@st.cache_data(max_entries=2, show_spinner=False)
def _summaries(generation: str) -> list[CellSummary]:
    return [summary for summary in store().summaries() if summary.is_current]


def summaries() -> list[CellSummary]:
    """One line for each current result in the store."""
    return _summaries(generation())


@st.cache_data(max_entries=64, show_spinner=False)
def _stored_checkpoints(model: str, generation: str) -> tuple[CheckpointRef, ...]:
    refs = {summary.spec.checkpoint for summary in _summaries(generation) if summary.model == model}
    return tuple(sorted(refs, key=lambda ref: (ref.step is None, ref.step or 0, ref.revision)))


def checkpoints_of(model: str) -> tuple[CheckpointRef, ...]:
    """The checkpoints that are known without a network: shipped, documented, or with results in the store."""
    if model in embedded_members():
        return list_checkpoints(model)
    known = list(known_checkpoints(MODELS[model])) if model in MODELS else []
    listed = store().get_note("checkpoints", model)
    if listed:
        known = [CheckpointRef(**entry) for entry in json.loads(listed)]
    named = {ref.revision for ref in known}
    known += [ref for ref in _stored_checkpoints(model, generation()) if ref.revision not in named]
    return tuple(sorted(known, key=lambda ref: (ref.step is None, ref.step or 0, ref.revision)))


def ask_hub(model: str) -> None:
    """Lists a model's checkpoints on the Hub and keeps the list with the store.

    Raises:
        CheckpointError: the Hub cannot be reached.
    """
    refs = [asdict(ref) for ref in list_checkpoints(model)]
    store().put_note("checkpoints", model, json.dumps(refs))


@st.cache_data(max_entries=16, show_spinner=False)
def _completeness(study: str, generation: str) -> dict[CheckpointRef, tuple[int, int]]:
    states = store().status(study_cells(study_from_json(study)))
    counts: dict[CheckpointRef, tuple[int, int]] = {}
    for spec, state in states.items():
        done, total = counts.get(spec.checkpoint, (0, 0))
        counts[spec.checkpoint] = (done + (state == "complete"), total + 1)
    return counts


def completeness(study: Study) -> dict[CheckpointRef, tuple[int, int]]:
    """For each checkpoint of the study how many of its cells are stored, and of how many."""
    return _completeness(study_to_json(study), generation())


@dataclass(frozen=True, slots=True)
class Collected:
    """The study's results, by model.

    Attributes:
        predictions: models with results.
        problems: models whose results cannot share a curve, with the sentence that says why.
    """

    predictions: Mapping[str, Predictions]
    problems: Mapping[str, str]


@st.cache_data(max_entries=4, show_spinner="Reading results")
def _collected(study: str, split: Split, generation: str) -> Collected:
    records = store().find_many([spec for spec in study_cells(study_from_json(study)) if spec.split == split])
    by_model: dict[str, list[CellRecord]] = {}
    for record in records.values():
        by_model.setdefault(record.spec.checkpoint.model, []).append(record)
    predictions: dict[str, Predictions] = {}
    problems: dict[str, str] = {}
    for model, cells in by_model.items():
        try:
            refs = {cell.spec.checkpoint for cell in cells}
            predictions |= collect_predictions(cells, split=split, excluded=excluded_checkpoints(store(), refs))
        except ObservatoryError as error:
            problems[model] = str(error)
    return Collected(predictions, problems)


def collected(study: Study, *, split: Split = "test") -> Collected:
    """The study's stored results as arrays, flagged checkpoints left out with their reason."""
    return _collected(study_to_json(study), split, generation())


@st.cache_data(max_entries=64, show_spinner="Computing bands")
def _curves(
    study: str, model: str, measure: Measure, normalisation: Normalisation, task: str | None, generation: str
) -> AbilityCurves:
    predictions = _collected(study, "test", generation).predictions[model]
    return ability_curves(predictions, measure=measure, normalisation=normalisation, task=task)


def curves(
    study: Study, model: str, *, measure: Measure, normalisation: Normalisation, task: str | None = None
) -> AbilityCurves:
    """ICL, TR and TL of one model, over all tasks of the study or one of them."""
    return _curves(study_to_json(study), model, measure, normalisation, task, generation())


@dataclass(frozen=True, slots=True)
class Paired:
    """TR and TL of one model at the checkpoints that are complete in both.

    Attributes:
        checkpoints: in the order of training.
        tr, tl: the measure at each checkpoint, fractions.
        replicates: how far resampling moves the changes; None where there are fewer than two checkpoints.
        partial: names of the checkpoints left out because cells are missing.
    """

    checkpoints: tuple[CheckpointRef, ...]
    tr: tuple[float, ...]
    tl: tuple[float, ...]
    replicates: ChangeReplicates | None
    partial: tuple[CheckpointRef, ...]


@st.cache_data(max_entries=64, show_spinner="Resampling changes")
def _paired(
    study: str, model: str, measure: Measure, normalisation: Normalisation, task: str | None, generation: str
) -> Paired:
    predictions = _collected(study, "test", generation).predictions[model]
    pair = paired_predictions(predictions, normalisation=normalisation, task=task)
    known = _curves(study, model, measure, normalisation, task, generation).curves
    values = {
        setting: dict(zip(known[setting].checkpoints, known[setting].value.tolist(), strict=True))
        for setting in ("random", "abstract")
        if setting in known
    }
    replicates = None
    if len(pair.checkpoints) > 1:
        replicates = resample_changes(pair.tr_predicted, pair.tl_predicted, pair.gold, measure=measure)
    return Paired(
        checkpoints=pair.checkpoints,
        tr=tuple(values["random"][ref] for ref in pair.checkpoints),
        tl=tuple(values["abstract"][ref] for ref in pair.checkpoints),
        replicates=replicates,
        partial=tuple(dict.fromkeys(item.checkpoint for item in pair.partial)),
    )


def paired(
    study: Study, model: str, *, measure: Measure, normalisation: Normalisation, task: str | None = None
) -> Paired:
    """What competition needs, over all tasks of the study or one of them."""
    return _paired(study_to_json(study), model, measure, normalisation, task, generation())


@st.cache_data(max_entries=32, show_spinner=False)
def _against_epsilon(
    study: str,
    model: str,
    measure: Measure,
    normalisation: Normalisation,
    task: str | None,
    epsilons: tuple[float, ...],
    generation: str,
) -> EpsilonCurves | None:
    replicates = _paired(study, model, measure, normalisation, task, generation).replicates
    return None if replicates is None else competition_against_epsilon(replicates, epsilons)


def against_epsilon(
    study: Study,
    model: str,
    epsilons: Sequence[float],
    *,
    measure: Measure,
    normalisation: Normalisation,
    task: str | None = None,
) -> EpsilonCurves | None:
    """Ratio and mean intensity over a grid of epsilons, with the null's range; None without an interval."""
    return _against_epsilon(study_to_json(study), model, measure, normalisation, task, tuple(epsilons), generation())


@st.cache_data(max_entries=16, show_spinner=False)
def texts(task_name: str, data_dir: str | None, split: Split) -> dict[str, str]:
    """Text of each row of a task by row id, from this machine alone; empty where the rows are not on it."""
    from icl_core.data.datasets import load_task_data

    try:
        data = load_task_data(get_task(task_name), data_dir=Path(data_dir) if data_dir else None, offline=True)
    except (ObservatoryError, OSError):
        return {}
    return {example.row_id: example.text for example in (data.test if split == "test" else data.dev)}
