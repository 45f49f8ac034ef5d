"""The loop over the missing cells of a study: one checkpoint in memory at a time, each cell stored once scored.

Other modules do the work: run_rows.py reads the tasks, run_looking.py finds what is missing, run_loading.py loads,
run_feed.py encodes, run_scoring.py scores with the engine, run_storing.py stores, and run_speed.py notes the time. A
checkpoint, task or cell that fails is reported, and the others go on. What is stored is never computed again.

Threads: the run belongs to the thread that calls ``run_study``. There it loads, takes scores, stores, and calls
``on_progress`` and ``should_stop``. The engine encodes in a second thread, which uses only the feed (run_feed.py). A
third thread sends heartbeats for the reservations (reservations.py).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from icl_core.errors import JobError, StoreError, StudyError, ends_process
from icl_core.evaluation.exclusions import note_identities
from icl_core.evaluation.job_worker import JobContext, Outcome
from icl_core.evaluation.reservations import OwnReservations
from icl_core.evaluation.run_loading import RunCheckpoints
from icl_core.evaluation.run_looking import RunLooking
from icl_core.evaluation.run_progress import OnProgress, Progress, ProgressInfo
from icl_core.evaluation.run_report import RunReport
from icl_core.evaluation.run_rows import RunRows
from icl_core.evaluation.run_scoring import Feeds, RunScoring
from icl_core.evaluation.run_speed import SpeedNotes
from icl_core.evaluation.run_storing import RunStoring
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells, study_from_json, validate_study
from icl_core.evaluation.told import cut_sentences
from icl_core.models.identity import duplicate_weights, shared_files
from icl_core.records import CellSpec, CheckpointRef
from icl_core.registry.names import full_name

__all__ = [
    "evaluate_job",
    "resolve_device",
    "resolve_dtype",
    "run_study",
]

_LOG = logging.getLogger(__name__)


def run_study(
    study: Study,
    store: Store,
    *,
    on_progress: OnProgress = lambda done, total, info: None,
    should_stop: Callable[[], bool] = lambda: False,
    device: str = "auto",
    offline: bool = False,
) -> RunReport:
    """Computes every cell of the study that the store lacks.

    Args:
        study: what is asked for; it is validated first.
        store: gives stored results, and receives new ones as soon as they are done.
        on_progress: called on every change with finished cells, all cells and further facts.
        should_stop: asked whenever cells are finished; True ends the run cleanly.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        offline: True uses only what is on this machine.

    Raises:
        ObservatoryError: the study is not valid, the device does not exist, or the store cannot be written (full disk);
            cells that were finished before are stored.
    """
    validate_study(study)
    device = resolve_device(device)
    try:
        store.clear_leftovers()
        with OwnReservations(store.reservations) as reservations:
            return _study_run(
                study,
                store,
                reservations=reservations,
                device=device,
                offline=offline,
                on_progress=on_progress,
                stops=_Stop(should_stop),
            ).go()
    finally:
        store.close()


def evaluate_job(payload: Mapping[str, object], context: JobContext) -> Outcome:
    """Does a job of the kind ``evaluate``: runs its study and reports to the job table and the log.

    Raises:
        ObservatoryError: as ``run_study``; also if no cell of the study has a result.
    """
    study = study_from_json(json.dumps(payload["study"]))
    logged = -1

    def report(done: int, total: int, info: ProgressInfo) -> None:
        nonlocal logged
        rates = {"units_per_second": info.cells_per_second, "eta_seconds": info.eta_seconds}
        context.report(done, total, current=info.current, **rates)
        if done != logged:
            _LOG.info("%d of %d cells: %s", done, total, info.current)
            logged = done

    result = run_study(
        study,
        Store.open(context.store_path),
        on_progress=report,
        should_stop=context.should_stop,
        device=str(payload["device"]),
        offline=bool(payload["offline"]),
    )
    for failure in result.failures:
        _LOG.warning("failed: %s: %s", failure.what, failure.message)
    for reason in result.duplicates.values():
        _LOG.warning("left out of curves: %s", reason)
    for sentence in (*result.shared, *result.cuts):
        _LOG.warning("%s", sentence)
    if result.complete and result.n_failed == result.n_cells:
        raise JobError(f"Nothing could be computed: {result.failures[0].what}: {result.failures[0].message}")
    return Outcome(result.message, complete=result.complete)


def resolve_device(device: str) -> str:
    """The device with this name on this machine: ``auto`` is the first GPU, or else the CPU.

    Raises:
        StudyError: the name is unknown or the device does not exist.
    """
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = ["cpu", *(f"cuda:{index}" for index in range(n_gpus))]
    name = {"auto": known[min(1, n_gpus)], "cuda": "cuda:0"}.get(device, device)
    if name not in known:
        raise StudyError(f"There is no device {device!r} here; known are auto, {', '.join(known)}.")
    return name


def resolve_dtype(dtype: str, device: str) -> str:
    """The dtype for ``auto``: bfloat16 on a GPU that has it, otherwise float32."""
    if dtype != "auto":
        return dtype
    import torch

    return "bfloat16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "float32"


class _Stop:
    """Whether the run was told to stop; once True, it stays True."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self.happened = False

    def __call__(self) -> bool:
        self.happened = self.happened or self._should_stop()
        return self.happened


@dataclass(frozen=True, slots=True)
class _StudyRun:
    """One run: goes through the checkpoints of a study and calls each part."""

    cells: Sequence[CellSpec]
    store: Store
    reservations: OwnReservations
    stops: _Stop
    progress: Progress
    checkpoints: RunCheckpoints
    looking: RunLooking
    storing: RunStoring
    scoring: RunScoring

    def go(self) -> RunReport:
        """Computes what is missing, then what other processes did not finish, and reports on all cells."""
        start = time.monotonic()
        by_checkpoint: dict[CheckpointRef, list[CellSpec]] = {}
        for spec in self.cells:
            by_checkpoint.setdefault(spec.checkpoint, []).append(spec)
        status = self.store.status(self.cells)
        self.progress.expect(spec for spec in self.cells if status[spec] == "missing")
        for specs in by_checkpoint.values():
            self._do_checkpoint(specs, wait=False)
        for specs in by_checkpoint.values():
            while (left := self.progress.unfinished(specs)) and not self.stops():
                self._do_checkpoint(left, wait=True)
        identities = self.checkpoints.identities
        note_identities(self.store, identities)
        return RunReport(
            n_cells=self.progress.total,
            n_stored=self.progress.n_stored,
            n_computed=self.progress.n_computed,
            failures=tuple(self.progress.failures),
            duplicates=duplicate_weights(identities),
            complete=not self.stops.happened,
            seconds=time.monotonic() - start,
            shared=shared_files(identities),
            cuts=cut_sentences(self.storing.facts),
        )

    def _do_checkpoint(self, specs: Sequence[CellSpec], *, wait: bool) -> None:
        """Computes the missing cells of one checkpoint, except those that another process has reserved."""
        if self.stops():
            return
        ref, start = specs[0].checkpoint, time.monotonic()
        self.progress.report(f"{full_name(ref)}: looking")
        try:
            missing = self.looking.missing(specs, identity=self.checkpoints.identify(ref))
            if wait:
                missing, start = self.looking.wait_for_others(missing, stops=self.stops), time.monotonic()
            if missing and not self.stops():
                with self.checkpoints.loaded(ref) as loaded:
                    self.progress.started(time.monotonic() - start)
                    self.scoring.do(loaded, missing)
        except StoreError:
            raise
        except BaseException as error:
            if ends_process(error):
                raise
            self.progress.fail(full_name(ref), error, self.progress.unfinished(specs))
        finally:
            self.reservations.give_back()
            self._join(ref)

    def _join(self, ref: CheckpointRef) -> None:
        """Joins the files that the passes of a checkpoint stored; if that fails, they stay as they are."""
        try:
            self.store.join(ref)
        except StoreError as error:
            _LOG.warning("The results of %s stay in several files: %s", full_name(ref), error)


def _study_run(
    study: Study,
    store: Store,
    *,
    reservations: OwnReservations,
    device: str,
    offline: bool,
    on_progress: OnProgress,
    stops: _Stop,
) -> _StudyRun:
    """The parts of a run, each with what it needs."""
    cells = study_cells(study)
    rows = RunRows(data_dir=study.data_dir, offline=offline)
    progress = Progress(len(cells), size_of=rows.size_of, on_progress=on_progress)
    speed = SpeedNotes(store.path, device=device)
    hash_cache = store.path / "hashes.json"
    checkpoints = RunCheckpoints(
        study, device=device, offline=offline, hash_cache=hash_cache, progress=progress, speed=speed
    )
    looking = RunLooking(store, reservations=reservations, rows=rows, progress=progress)
    storing = RunStoring(store, device=device, reservations=reservations, rows=rows, progress=progress, speed=speed)
    feeds = Feeds(store, reservations=reservations, rows=rows, cells_per_second=lambda: progress.cells_per_second)
    scoring = RunScoring(
        feeds, looking=looking, storing=storing, reservations=reservations, progress=progress, stops=stops
    )
    return _StudyRun(
        cells,
        store,
        reservations,
        stops=stops,
        progress=progress,
        checkpoints=checkpoints,
        looking=looking,
        storing=storing,
        scoring=scoring,
    )
