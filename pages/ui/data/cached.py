"""What pages read from the core, kept so that a rerun reads nothing twice.

Every argument that changes a result is in the cache key. So is the state of what was read: that of the whole store,
which changes with each stored cell, or that of one model's results, which do not change while a job runs on another
model. Nothing is computed here.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from icl_core import settings
from icl_core.analysis.competition import (
    ChangeReplicates,
    EpsilonCurves,
    competition_against_epsilon,
    resample_changes,
)
from icl_core.analysis.predictions import Normalisation, Predictions, collect_predictions
from icl_core.analysis.trajectories import AbilityCurves, ability_curves, paired_predictions
from icl_core.errors import ObservatoryError, StoreError, StudyError
from icl_core.evaluation.bundle import ensure_embedded
from icl_core.evaluation.exclusions import current_checkpoints, excluded_checkpoints
from icl_core.evaluation.store import CellSummary, Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.evaluation.told import CellFacts, current_status, facts_of, files_state, result_sentences
from icl_core.models.listing import embedded_members, list_checkpoints
from icl_core.models.parameter_fusion import FUSED_FAMILY
from icl_core.plain import from_plain
from icl_core.records import CheckpointRef, Split
from icl_core.registry.families import MODELS, known_checkpoints
from icl_core.registry.names import training_order
from icl_core.registry.tasks import get_task
from pages.ui.data.view import View

__all__ = [
    "Collected",
    "Paired",
    "Stored",
    "against_epsilon",
    "ask_hub",
    "checkpoints_of",
    "collected",
    "completeness",
    "curves",
    "excluded_curves",
    "generation",
    "in_order",
    "kept",
    "list_results",
    "models_with_results",
    "of_model",
    "paired",
    "predicted",
    "state_of_files",
    "state_of_model",
    "state_of_store",
    "store",
    "stored_models",
    "stored_tasks",
    "summaries",
    "texts",
    "troubles",
]


@dataclass
class _Opened:
    """The store, and how far the shipped results are in it; one visitor imports them while others wait."""

    store: Store
    trouble: str | None
    is_full: bool = False
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


_STORES: dict[Path, _Opened] = {}
_OPENING = threading.Lock()


def _open(path: Path) -> _Opened:
    """The store in a folder, one for all visitors."""
    with _OPENING:
        if path not in _STORES:
            opened = Store.open(path)
            _STORES[path] = _Opened(opened, opened.trouble)
        return _STORES[path]


def list_results() -> None:
    """Lists what is in the store, if there is one; if something is wrong with it, the first visit says so."""
    if (settings.store_path() / "index").is_dir():
        with suppress(ObservatoryError, OSError):
            _open(settings.store_path()).store.summaries()


def _opened() -> _Opened:
    """The store with the shipped results in it; the first visit says how far their import is."""
    opened = _open(settings.store_path())
    if opened.trouble or opened.is_full:
        return opened
    spot = st.empty()
    with opened.lock:
        try:
            if not opened.is_full:
                ensure_embedded(opened.store, on_progress=partial(_say_progress, spot))
                opened.is_full = True
        except StoreError as error:
            opened.trouble = f"The shipped results are not all there: {error}"
    spot.empty()
    return opened


def _say_progress(spot: DeltaGenerator, done: int, total: int) -> None:
    spot.progress(done / total, text=f"Bringing the shipped results into the store, once: {done} of {total} files")


def store() -> Store:
    """The store of this app, opened once; the shipped results are in it."""
    return _opened().store


def troubles() -> tuple[str, ...]:
    """What is wrong with the store so far: that it cannot be written, or what reading found damaged."""
    opened = _opened()
    return tuple(words for words in (opened.trouble, opened.store.damage_words) if words)


def generation() -> str:
    """Names the state of the store: its folder and the number that grows with each result."""
    return f"{settings.store_path()}@{store().generation()}"


@st.cache_resource(max_entries=2, show_spinner="Listing the results in the store")
def _summaries(generation: str) -> tuple[CellSummary, ...]:
    found = store().summaries()
    return tuple(each for each in found if each.is_current and each.spec.checkpoint.family != FUSED_FAMILY)


def summaries() -> tuple[CellSummary, ...]:
    """One line for each current result but those of mixed parameters; shared, not copied: a full store has 50,000."""
    return _summaries(generation())


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds of one model.

    Attributes:
        checkpoints: those with results, in the order of training.
        n_test: sizes of test sets, ascending, as they were asked for.
        state: names everything stored of it; it does not change with another model's new results.
    """

    checkpoints: tuple[CheckpointRef, ...]
    n_test: tuple[int, ...]
    state: str


@st.cache_resource(max_entries=2, show_spinner=False)
def _stored_models(generation: str) -> dict[str, Stored]:
    by_model: dict[str, list[CellSummary]] = {}
    for summary in _summaries(generation):
        by_model.setdefault(summary.model, []).append(summary)
    return {
        model: Stored(
            in_order(current_checkpoints(store(), {s.spec.checkpoint for s in mine})),
            tuple(sorted({s.spec.n_examples for s in mine if s.split == "test"})),
            _state(mine),
        )
        for model, mine in by_model.items()
    }


def in_order(refs: Iterable[CheckpointRef]) -> tuple[CheckpointRef, ...]:
    """Checkpoints of one model in the order of training."""
    return tuple(sorted(refs, key=training_order))


def _state(summaries: Iterable[CellSummary]) -> str:
    names = sorted(f"{s.key_digest} {s.revision} {s.n_shots} {s.n_examples}" for s in summaries)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def stored_models() -> Mapping[str, Stored]:
    """What the store holds, by model."""
    return _stored_models(generation())


@st.cache_data(max_entries=2, show_spinner=False)
def _stored_tasks(generation: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(summary.task for summary in _summaries(generation)))


def stored_tasks() -> tuple[str, ...]:
    """Names of the tasks with results."""
    return _stored_tasks(generation())


def checkpoints_of(model: str) -> tuple[CheckpointRef, ...]:
    """The checkpoints that are known without a network: shipped, documented, or with results in the store."""
    if model in embedded_members():
        return list_checkpoints(model)
    known = list(known_checkpoints(MODELS[model])) if model in MODELS else []
    listed = store().notes.get("checkpoints", model)
    if listed:
        with suppress(ValueError, TypeError):  # a damaged list is as good as none; the Hub can be asked again
            known = [from_plain(CheckpointRef, entry) for entry in json.loads(listed)]
    named = {ref.revision for ref in known}
    stored = stored_models().get(model)
    known += [ref for ref in (stored.checkpoints if stored else ()) if ref.revision not in named]
    return in_order(known)


def ask_hub(model: str) -> None:
    """Lists a model's checkpoints on the Hub and keeps the list with the store.

    Raises:
        CheckpointError: the Hub cannot be reached.
    """
    refs = [asdict(ref) for ref in list_checkpoints(model)]
    store().notes.put("checkpoints", model, json.dumps(refs))


# What is kept of a study

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


def kept(
    state: Callable[[V], str], *, of: type[Any] = Study, is_shared: bool = False, **options: Any
) -> Callable[[Callable[Concatenate[V, P], R]], Callable[Concatenate[V, P], R]]:
    """Keeps the result of a function of a study and further values until what it reads changes.

    In the key, a study stands as Python writes it out. That takes 0.3 ms for 51 checkpoints; canonical JSON takes 2 ms,
    and Streamlit's own way 7 ms. A view stands there in the same way, at a fifth of the cost of Streamlit's own.

    Args:
        state: names the state of what is read for a study.
        of: the frozen class of the first value: a study, or a question that holds one.
        is_shared: all visitors get one value and no copies; for what is large and never changed.
        options: ``max_entries`` and ``show_spinner`` of Streamlit's caches.
    """
    cache: Any = st.cache_resource if is_shared else st.cache_data

    def decorate(compute: Callable[Concatenate[V, P], R]) -> Callable[Concatenate[V, P], R]:
        @functools.wraps(compute)  # Streamlit tells functions apart by their names and their source
        def at(*args: Any, state_of_results: str, **kwargs: Any) -> R:
            return compute(*args, **kwargs)

        keep = cache(hash_funcs={of: repr, View: repr}, **options)(at)

        def asked(value: V, /, *args: P.args, **kwargs: P.kwargs) -> R:
            found: R = keep(value, *args, state_of_results=state(value), **kwargs)
            return found

        return functools.update_wrapper(asked, compute)

    return decorate


def state_of_store(study: Study) -> str:
    """Names the state of all results, and of the user's own files in the study."""
    return f"{generation()} {state_of_files(study)}"


def state_of_model(study: Study) -> str:
    """Names the state of the results of a study's one model, which has some."""
    return stored_models()[study.checkpoints[0].model].state


def state_of_files(study: Study) -> str:
    """Names the state of the user's own files in the study."""
    return files_state(study.checkpoints, study.tasks)


def of_model(study: Study, model: str) -> Study:
    """The part of a study that concerns one model."""
    return dataclasses.replace(study, checkpoints=tuple(ref for ref in study.checkpoints if ref.model == model))


Counts = dict[CheckpointRef, tuple[int, int]]


@kept(state_of_store, max_entries=16, show_spinner="Counting what is stored")
def _completeness(study: Study) -> tuple[Counts, tuple[str, ...]]:
    """Counts, and the models with any result of the study, whatever the state of their files."""
    specs = study_cells(study)
    counts: Counts = {}
    for spec, state in current_status(store(), specs).items():
        done, total = counts.get(spec.checkpoint, (0, 0))
        counts[spec.checkpoint] = (done + (state == "complete"), total + 1)
    models = dict.fromkeys(spec.checkpoint.model for spec, s in store().status(specs).items() if s == "complete")
    return counts, tuple(models)


def completeness(study: Study) -> Counts:
    """How many cells are stored for each checkpoint of the study, for its files as they are now, and of how many."""
    return _completeness(study)[0]


def models_with_results(study: Study) -> tuple[str, ...]:
    """The models that have results of the study in the index, in the study's order; the results are not read."""
    return _completeness(study)[1]


@dataclass(frozen=True, slots=True)
class Collected:
    """The study's results, by model.

    Attributes:
        predictions: of models with results; labels under summed log-likelihoods (``predicted`` gives others).
        problems: why the results of a model cannot share a curve, a sentence by model.
        told: sentences on rows that were left out, texts that were cut, and files that have changed since.
    """

    predictions: Mapping[str, Predictions]
    problems: Mapping[str, str]
    told: tuple[str, ...] = ()


@kept(state_of_model, is_shared=True, max_entries=16, show_spinner="Reading the results of one model")
def _read(
    study: Study, split: Split, normalisation: Normalisation
) -> tuple[Predictions | str | None, tuple[CellFacts, ...]]:
    """One model's results (or a sentence on why they cannot share a curve, or None), and what they come from."""
    specs = [spec for spec in study_cells(study) if spec.split == split]
    cells = store().find_labels(specs, normalisation=normalisation)
    facts = tuple(map(facts_of, cells.values()))
    try:
        excluded = excluded_checkpoints(store(), {spec.checkpoint for spec in cells})
        return next(iter(collect_predictions(cells.values(), split=split, excluded=excluded).values()), None), facts
    except ObservatoryError as error:
        return str(error), facts


def _state_of_model_and_files(study: Study) -> str:
    return f"{state_of_model(study)} {state_of_files(study)}"


@kept(_state_of_model_and_files, max_entries=32, show_spinner=False)
def _told(study: Study, split: Split) -> tuple[str, ...]:
    return result_sentences(_read(study, split, "sum")[1], hash_cache=store().path / "hashes.json")


def collected(study: Study, *, split: Split = "test") -> Collected:
    """What the study's stored results predict, flagged checkpoints left out with their reason."""
    predictions: dict[str, Predictions] = {}
    problems: dict[str, str] = {}
    told: dict[str, None] = {}
    stored = stored_models()
    for model in dict.fromkeys(ref.model for ref in study.checkpoints):
        if model in stored:
            part = of_model(study, model)
            found, _ = _read(part, split, "sum")
            told |= dict.fromkeys(_told(part, split))
            if isinstance(found, str):
                problems[model] = found
            elif found is not None:
                predictions[model] = found
    return Collected(predictions, problems, tuple(told))


def predicted(study: Study, model: str, view: View) -> Predictions:
    """The labels that one model predicts on all tasks of the test split.

    Raises:
        StudyError: it has no results, or they cannot share a curve.
    """
    return _test_predictions(of_model(study, model), view)


def _test_predictions(study: Study, view: View) -> Predictions:
    """The test results of one model."""
    found, _ = _read(study, "test", view.normalisation)
    if not isinstance(found, Predictions):
        raise StudyError(found or "There are no results of this model.")
    return found


@kept(state_of_model, max_entries=64, show_spinner="Computing bands")
def _curves(study: Study, view: View) -> AbilityCurves:
    return _curves_of(_test_predictions(study, view), view)


def _curves_of(found: Predictions, view: View) -> AbilityCurves:
    return ability_curves(found, measure=view.measure, normalisation=view.normalisation, task=view.task)


def curves(study: Study, model: str, view: View) -> AbilityCurves:
    """ICL, TR and TL of one model, over all tasks of the study or one of them."""
    return _curves(of_model(study, model), view)


@kept(state_of_model, max_entries=64, show_spinner=False)
def _excluded_curves(study: Study, view: View) -> AbilityCurves | None:
    specs = [spec for spec in study_cells(study) if spec.split == "test"]
    cells = store().find_labels(specs, normalisation=view.normalisation)
    try:
        found = next(iter(collect_predictions(cells.values()).values()), None)
        return None if found is None else _curves_of(found, view)
    except ObservatoryError:  # made under other options or on other rows than it needs: listed, not drawn
        return None


def excluded_curves(study: Study, curves: AbilityCurves, view: View) -> AbilityCurves | None:
    """The values of the checkpoints that are left out of a model's curves; None if they have none.

    Args:
        study: the current one.
        curves: of the model; they name what is excluded.
        view: under which the curves were made.
    """
    refs = tuple(ref for ref in study.checkpoints if ref in curves.excluded)
    if not refs:
        return None
    return _excluded_curves(dataclasses.replace(study, checkpoints=refs), view)


@dataclass(frozen=True, slots=True)
class Paired:
    """TR and TL of one model at the checkpoints that are complete in both.

    Attributes:
        checkpoints: in the order of training.
        tr, tl: the measure at each checkpoint, fractions.
        replicates: how far resampling moves the changes; None if there are fewer than two checkpoints.
        partial: the checkpoints left out because cells are missing.
    """

    checkpoints: tuple[CheckpointRef, ...]
    tr: tuple[float, ...]
    tl: tuple[float, ...]
    replicates: ChangeReplicates | None
    partial: tuple[CheckpointRef, ...]


@kept(state_of_model, max_entries=64, show_spinner="Resampling changes")
def _paired(study: Study, view: View) -> Paired:
    pair = paired_predictions(_test_predictions(study, view), normalisation=view.normalisation, task=view.task)
    known = _curves(study, view).curves
    values = {
        setting: dict(zip(known[setting].checkpoints, known[setting].value.tolist(), strict=True))
        for setting in ("random", "abstract")
        if setting in known
    }
    replicates = None
    if len(pair.checkpoints) > 1:
        replicates = resample_changes(pair.tr_predicted, pair.tl_predicted, pair.gold, measure=view.measure)
    return Paired(
        checkpoints=pair.checkpoints,
        tr=tuple(values["random"][ref] for ref in pair.checkpoints),
        tl=tuple(values["abstract"][ref] for ref in pair.checkpoints),
        replicates=replicates,
        partial=tuple(dict.fromkeys(item.checkpoint for item in pair.partial)),
    )


def paired(study: Study, model: str, view: View) -> Paired:
    """What competition needs, over all tasks of the study or one of them."""
    return _paired(of_model(study, model), view)


@kept(state_of_model, max_entries=32, show_spinner=False)
def _against_epsilon(study: Study, view: View, epsilons: tuple[float, ...]) -> EpsilonCurves | None:
    replicates = _paired(study, view).replicates
    return None if replicates is None else competition_against_epsilon(replicates, epsilons)


def against_epsilon(study: Study, model: str, view: View, *, epsilons: Sequence[float]) -> EpsilonCurves | None:
    """Ratio and mean intensity over a grid of epsilons, with the null's range; None if there is no interval."""
    return _against_epsilon(of_model(study, model), view, tuple(epsilons))


@st.cache_data(max_entries=16, show_spinner=False)
def texts(task_name: str, data_dir: str | None, split: Split) -> dict[str, str]:
    """Text of each row of a task by row id, from this machine alone; empty if the rows are not on it."""
    from icl_core.data.datasets import load_task_data

    try:
        data = load_task_data(get_task(task_name), data_dir=Path(data_dir) if data_dir else None, offline=True)
    except (ObservatoryError, OSError):
        return {}
    return {example.row_id: example.text for example in (data.test if split == "test" else data.dev)}
