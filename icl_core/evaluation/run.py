"""The loop that does the missing cells of a study: one checkpoint in memory at a time, each cell stored when scored.

It decides nothing about prompts, scores or keys; it asks data, scoring and cells, each for its part. A checkpoint, task
or cell that fails is reported and the others go on; what is stored is never computed again.

Threads: the run belongs to the thread that calls ``run_study``; it loads, takes scores, stores, and calls
``on_progress`` and ``should_stop`` there. The engine encodes in a second thread, which sees the feed alone
(run_feed.py), and a third one beats for the claims (claims.py).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from icl_core.data.datasets import TaskData, load_task_data
from icl_core.errors import (
    CheckpointError,
    DataError,
    JobError,
    ObservatoryError,
    ScoringError,
    StoreError,
    StudyError,
    ends_process,
    in_words,
)
from icl_core.evaluation.cell_work import cell_key, cell_queries, make_record
from icl_core.evaluation.claims import Claims
from icl_core.evaluation.encodings import Encodings
from icl_core.evaluation.exclusions import note_identities
from icl_core.evaluation.job_worker import JobContext, Outcome
from icl_core.evaluation.rates import MeasuredCell, MeasuredLoad, note
from icl_core.evaluation.run_feed import Encoder, Feed, Ready
from icl_core.evaluation.run_progress import OnProgress, Progress, ProgressInfo
from icl_core.evaluation.run_report import RunReport, cell_name
from icl_core.evaluation.shapes import ModelShape, shape_of_config, work_flops
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells, study_from_json, validate_study
from icl_core.evaluation.told import CellFacts, cut_sentences, facts_of
from icl_core.models.identity import duplicate_weights, identify_checkpoint, shared_files
from icl_core.models.resolving import conversion_of
from icl_core.records import (
    CellKey,
    CellRecord,
    CellSpec,
    CheckpointIdentity,
    CheckpointRef,
    LabelScores,
)
from icl_core.registry.names import full_name
from icl_core.registry.tasks import get_task, shown_task

if TYPE_CHECKING:
    from icl_core.models.checkpoints import LoadedCheckpoint
    from icl_core.scoring.engine import HowScored

__all__ = [
    "evaluate_job",
    "resolve_device",
    "resolve_dtype",
    "run_study",
]

WAIT_SECONDS = 0.5
"""Time between two looks at cells that another process computes."""

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
        store: where results are looked up and put, each as soon as it is done.
        on_progress: called with finished cells, all cells and more whenever something happens.
        should_stop: looked at whenever cells are finished; True ends the run cleanly.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        offline: True uses only what is on this machine.

    Raises:
        ObservatoryError: the study is not valid, the device does not exist, or the store cannot be written (full
            disk); cells finished before are stored.
    """
    validate_study(study)
    device = resolve_device(device)
    try:
        store.clear_leftovers()
        with Claims(store.claims) as claims:
            return _Run(study, store, claims, device, offline, should_stop, on_progress).go()
    finally:
        store.close()


def evaluate_job(payload: Mapping[str, object], context: JobContext) -> Outcome:
    """Does a job of the kind ``evaluate``: runs its study and reports to the job table and the log.

    Raises:
        ObservatoryError: as ``run_study``; also where not one cell of the study has a result.
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
    """The device that a name stands for on this machine: ``auto`` is the first GPU where there is one.

    Raises:
        StudyError: the name is not known or the device is not there.
    """
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = ["cpu", *(f"cuda:{index}" for index in range(n_gpus))]
    name = {"auto": known[min(1, n_gpus)], "cuda": "cuda:0"}.get(device, device)
    if name not in known:
        raise StudyError(f"There is no device {device!r} here; known are auto, {', '.join(known)}.")
    return name


def resolve_dtype(dtype: str, device: str) -> str:
    """The dtype that ``auto`` stands for: float32 on the CPU, bfloat16 on a GPU that has it, else float32."""
    if dtype != "auto":
        return dtype
    import torch

    return "bfloat16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "float32"


@dataclass
class _Run:
    """One run: what it was asked, what it has found and done so far."""

    study: Study
    store: Store
    claims: Claims
    device: str
    offline: bool
    should_stop: Callable[[], bool]
    on_progress: OnProgress
    identities: dict[CheckpointRef, CheckpointIdentity] = field(default_factory=dict)
    stopped: bool = False
    shape: ModelShape | None = None
    mark: float = 0.0
    encodings: Encodings = field(default_factory=Encodings)
    facts: list[CellFacts] = field(default_factory=list)
    _sizes: dict[tuple[str, str, int], float] = field(default_factory=dict)
    _tasks: dict[str, TaskData | Exception] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cells = study_cells(self.study)
        self.progress = Progress(len(self.cells), size_of=self._work_of, on_progress=self.on_progress)

    @property
    def hash_cache(self) -> Path:
        """Where hashes of files are kept between runs."""
        return self.store.path / "hashes.json"

    # The whole

    def go(self) -> RunReport:
        start = time.monotonic()
        by_checkpoint: dict[CheckpointRef, list[CellSpec]] = {}
        for spec in self.cells:
            by_checkpoint.setdefault(spec.checkpoint, []).append(spec)
        status = self.store.status(self.cells)
        self.progress.expect(spec for spec in self.cells if status[spec] == "missing")
        for specs in by_checkpoint.values():
            self._do_checkpoint(specs, wait=False)
        for specs in by_checkpoint.values():
            while (left := self.progress.unfinished(specs)) and not self._stops():
                self._do_checkpoint(left, wait=True)
        note_identities(self.store, self.identities)
        return RunReport(
            n_cells=self.progress.total,
            n_stored=self.progress.n_stored,
            n_computed=self.progress.n_computed,
            failures=tuple(self.progress.failures),
            duplicates=duplicate_weights(self.identities),
            complete=not self.stopped,
            seconds=time.monotonic() - start,
            shared=shared_files(self.identities),
            cuts=cut_sentences(self.facts),
        )

    def _stops(self) -> bool:
        self.stopped = self.stopped or self.should_stop()
        return self.stopped

    def _do_checkpoint(self, specs: Sequence[CellSpec], *, wait: bool) -> None:
        """Does the missing cells of one checkpoint; those that another process has claimed stay unfinished."""
        if self._stops():
            return
        ref, start = specs[0].checkpoint, time.monotonic()
        self.progress.report(f"{full_name(ref)}: looking")
        try:
            missing = self._missing(specs)
            if wait:
                missing, start = self._wait_for_others(missing), time.monotonic()
            if missing and not self._stops():
                with self._loaded(ref) as loaded:
                    self.progress.started(time.monotonic() - start)
                    self._do_cells(loaded, missing)
        except StoreError:
            raise
        except BaseException as error:
            if ends_process(error):
                raise
            self._fail(full_name(ref), error, self.progress.unfinished(specs))
        finally:
            self.claims.give_back()
            self._join(ref)

    def _join(self, ref: CheckpointRef) -> None:
        """Joins what was stored of a checkpoint pass by pass; where that fails the results stay as they are."""
        try:
            self.store.join(ref)
        except StoreError as error:
            _LOG.warning("The results of %s stay in several files: %s", full_name(ref), error)

    # What is there already

    def _missing(self, specs: Sequence[CellSpec]) -> list[tuple[CellSpec, CellKey]]:
        """Resolves specs to keys, counts what is stored or cannot be done, and returns the rest."""
        ref = specs[0].checkpoint
        if ref not in self.identities:
            self.identities[ref] = identify_checkpoint(ref, offline=self.offline, hash_cache=self.hash_cache)
        keys: dict[CellSpec, CellKey] = {}
        failed: dict[str, list[CellSpec]] = {}
        for spec in specs:
            found = self._task(spec.task)
            if isinstance(found, TaskData):
                keys[spec] = cell_key(spec, found, identity=self.identities[ref])
            else:
                failed.setdefault(spec.task, []).append(spec)
        for task, lost in failed.items():
            self._fail(f"{full_name(ref)}, {shown_task(task)}", cast(Exception, self._tasks[task]), lost)
        missing = self._not_stored(keys)
        self._turn_from_other_content(missing)
        self.progress.expect(spec for spec, _ in missing)
        return missing

    def _turn_from_other_content(self, missing: Sequence[tuple[CellSpec, CellKey]]) -> None:
        """Names that led to results of other content lead to them no more, even if the new content cannot be scored."""
        status = self.store.status(spec for spec, _ in missing)
        self.store.resolve_many({spec: key for spec, key in missing if status[spec] == "complete"})

    def _task(self, name: str) -> TaskData | Exception:
        """The rows of a task, or why there are none: a fault of one task leaves the others as they are."""
        if name not in self._tasks:
            data_dir = None if self.study.data_dir is None else Path(self.study.data_dir)
            try:
                self._tasks[name] = load_task_data(get_task(name), data_dir=data_dir, offline=self.offline)
            except BaseException as error:
                if ends_process(error):
                    raise
                self._tasks[name] = error if isinstance(error, ObservatoryError) else DataError(in_words(error))
        return self._tasks[name]

    def _not_stored(self, keys: Mapping[CellSpec, CellKey]) -> list[tuple[CellSpec, CellKey]]:
        """The cells without a result; the others are counted, and their specs point to their results."""
        stored = {spec: key for spec, key in keys.items() if self.store.has(key)}
        self._count_stored(stored)
        return [(spec, key) for spec, key in keys.items() if spec not in stored]

    def _count_stored(self, stored: Mapping[CellSpec, CellKey]) -> None:
        if stored:
            self.store.resolve_many(stored)
            self.progress.finish(list(stored), "stored")

    def _wait_for_others(self, missing: Sequence[tuple[CellSpec, CellKey]]) -> list[tuple[CellSpec, CellKey]]:
        """Waits until each cell is stored by the process that claimed it; returns those that became free."""
        waiting = list(missing)
        while waiting and not self._stops():
            self.progress.waits = True
            self.progress.report(f"{full_name(waiting[0][0].checkpoint)}: waiting for another process")
            waiting = self._not_stored(dict(waiting))
            free = set(self.claims.take(key for _, key in waiting))
            self.progress.waits = False
            if free:
                return [(spec, key) for spec, key in waiting if key in free]
            time.sleep(WAIT_SECONDS if waiting else 0)
        return []

    # Computing

    def _converts(self, ref: CheckpointRef) -> bool:
        """Whether loading also converts a GGUF file, which happens once."""
        if ref.source != "gguf":
            return False
        return conversion_of(self.identities[ref].weight_files[0][1], hash_cache=self.hash_cache) is None

    @contextmanager
    def _loaded(self, ref: CheckpointRef) -> Iterator[LoadedCheckpoint]:
        from icl_core.models.checkpoints import load_checkpoint, release

        self.progress.report(f"{full_name(ref)}: loading")
        tells_later_loads = not self._converts(ref)
        start = time.monotonic()
        loaded = load_checkpoint(
            ref,
            dtype=self.study.dtype,
            device=self.device,
            attention=self.study.attention,
            offline=self.offline,
            hash_cache=self.hash_cache,
        )
        try:
            self._refuse_other_content(ref, loaded.identity)
            self.shape = _shape(loaded.model)
            n_bytes = sum(parameter.nbytes for parameter in loaded.model.parameters())
            kind, seconds = self.device.split(":")[0], time.monotonic() - start
            if tells_later_loads:
                is_first = not self.progress.has_started
                note(self.store.path, MeasuredLoad(ref.model, kind, n_bytes, seconds, is_first=is_first))
            self.progress.loaded = ref
            yield loaded
        finally:
            self.progress.loaded = None
            release(loaded)

    def _refuse_other_content(self, ref: CheckpointRef, loaded: CheckpointIdentity) -> None:
        """What was loaded has to be what the keys of its results say; the number of parameters is in no key."""
        expected = self.identities[ref]
        if replace(loaded, n_parameters=None) != replace(expected, n_parameters=None):
            del self.identities[ref]
            raise CheckpointError(f"{full_name(ref)} changed while it was being loaded; evaluate it again.")

    def _do_cells(self, loaded: LoadedCheckpoint, missing: Sequence[tuple[CellSpec, CellKey]]) -> None:
        """Scores and stores the cells that no other process has claimed.

        Cells that share a forward pass fail together; then each of them is scored alone to see which it was.
        """
        from icl_core.scoring.engine import score_bursts

        ways: list[HowScored] = []
        self.mark = time.monotonic()
        left = list(missing)
        while left and not self._stops():
            feed = self._feed(loaded, left)
            try:
                with closing(score_bursts(loaded.model, feed, told=ways.append)) as bursts:
                    for burst in bursts:
                        self._keep([feed.ready.popleft() for _ in burst], burst, ways.pop())
                        self._set_aside(feed)
                        if self._stops():
                            return
                left = []
            except StoreError:
                raise
            except BaseException as error:
                if ends_process(error) or not feed.ready:
                    raise
                while feed.ready and not self._stops():
                    self._do_alone(loaded, feed.ready.popleft())
                still = set(self.progress.unfinished([spec for spec, _ in left]))
                left = [(spec, key) for spec, key in left if spec in still]
            self._set_aside(feed)

    def _feed(self, loaded: LoadedCheckpoint, missing: Sequence[tuple[CellSpec, CellKey]]) -> Feed:
        data = {task: found for task, found in self._tasks.items() if isinstance(found, TaskData)}
        identity = self.identities[missing[0][0].checkpoint]
        return Feed(
            missing,
            encoder=Encoder(self.encodings, loaded.tokenizer, identity, data),
            claims=self.claims,
            store=self.store,
            cells_per_second=lambda: self.progress.cells_per_second,
        )

    def _do_alone(self, loaded: LoadedCheckpoint, cell: Ready) -> None:
        from icl_core.scoring.engine import score_requests

        ways: list[HowScored] = []
        try:
            scores = score_requests(loaded.model, cell.prepared.requests, told=ways.append)
        except BaseException as error:
            if ends_process(error):
                raise
            self.claims.spend(cell.key)
            self._fail(cell_name(cell.spec), error, [cell.spec])
        else:
            self._keep([cell], [scores], ways.pop())

    def _set_aside(self, feed: Feed) -> None:
        """Counts the cells that the feed found stored meanwhile, or could not encode."""
        while feed.stored:
            self._count_stored(dict([feed.stored.popleft()]))
        while feed.failed:
            spec, key, error = feed.failed.popleft()
            self.claims.spend(key)
            self._fail(cell_name(spec), error, [spec])

    def _keep(self, cells: Sequence[Ready], scores: Sequence[Sequence[LabelScores]], how: HowScored) -> None:
        """Stores cells that one forward pass has finished, in one step; they share its time by their tokens."""
        n_tokens = sum(cell.prepared.work.unique_tokens for cell in cells)
        elapsed, self.mark = time.monotonic() - self.mark, time.monotonic()
        seconds = [elapsed * cell.prepared.work.unique_tokens / n_tokens for cell in cells]
        records = [
            self._record(cell, of_cell, self._provenance(part, how))
            for cell, of_cell, part in zip(cells, scores, seconds, strict=True)
        ]
        try:
            differing = self.store.put_many(records).differing
            same = [cell for cell in cells if cell.key.digest not in differing]
            self.store.resolve_many({cell.spec: cell.key for cell in same})
        finally:
            for cell in cells:
                self.claims.spend(cell.key)
        to_store = (time.monotonic() - self.mark) / len(cells)
        for cell, record, to_score in zip(cells, records, seconds, strict=True):
            if cell.key.digest in differing:
                self._fail(cell_name(cell.spec), ScoringError(differing[cell.key.digest]), [cell.spec])
                continue
            self.facts.append(facts_of(record))
            self._measure(cell, to_score + to_store)
            self.progress.finish([cell.spec], "computed")
        self.mark = time.monotonic()

    def _record(self, cell: Ready, scores: Sequence[LabelScores], facts: Mapping[str, str | int | float]) -> CellRecord:
        queries = cell_queries(cell.spec, cast(TaskData, self._task(cell.spec.task)))
        return make_record(cell.spec, cell.key, cell.prepared.encoded, queries=queries, scores=scores, provenance=facts)

    def _provenance(self, seconds: float, how: HowScored) -> dict[str, str | int | float]:
        """What is stored beside the numbers; path, budget and threads decide the last bits in half precision."""
        import torch
        import transformers

        is_gpu = self.device.startswith("cuda")
        return {
            "device": torch.cuda.get_device_name(self.device) if is_gpu else "cpu",
            "wall_time_s": round(seconds, 4),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "n_threads": torch.get_num_threads(),
            "path": how.path,
            **({} if how.token_budget is None else {"token_budget": how.token_budget}),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def _measure(self, cell: Ready, seconds: float) -> None:
        """Notes the time of a cell, for later estimates and for the end of this run."""
        spec, work = cell.spec, cell.prepared.work
        self.progress.took(spec, seconds)
        if self.shape is None:
            return
        measured = MeasuredCell(
            model=spec.checkpoint.model,
            task=spec.task,
            device=self.device.split(":")[0],
            dtype=spec.dtype,
            n_non_embedding=self.shape.n_non_embedding,
            n_queries=work.n_queries,
            characters=cell.prepared.n_characters,
            tokens=round(work.unique_tokens),
            flops=work_flops(self.shape, work),
            seconds=seconds,
            encode_seconds=cell.prepared.seconds,
        )
        note(self.store.path, measured)

    # Progress

    def _work_of(self, spec: CellSpec) -> float:
        """A size of a cell, in characters of text that pass through the model; any unit does."""
        size = (spec.task, spec.split, spec.n_examples)
        found = self._task(spec.task)
        if size not in self._sizes and isinstance(found, TaskData):
            queries = cell_queries(spec, found)
            n_query = sum(len(query.text) for query in queries)
            self._sizes[size] = 1 + n_query * (1 + spec.n_shots / max(len(queries), 1))
        return self._sizes.get(size, 1.0)

    def _fail(self, what: str, error: BaseException, specs: Sequence[CellSpec]) -> None:
        if isinstance(error, ObservatoryError):
            message = str(error)
        else:
            _LOG.error("%s failed", what, exc_info=error)
            message = in_words(error)
        self.progress.fail(what, message, specs)


def _shape(model: Any) -> ModelShape | None:
    """What the cost of the loaded model follows from, None for a configuration that does not tell."""
    try:
        return shape_of_config(model.config.to_dict())
    except CheckpointError:
        return None
