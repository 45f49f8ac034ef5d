"""Long work in processes of its own: a table of jobs, their launch, heartbeat, cancelling and resuming.

It does not know how to evaluate or train: :func:`work` is given one handler for each kind of job. It imports neither
torch nor transformers, so a page may poll it. The table is one SQLite file in the store's folder, read and written
through short connections. Whether a job lives is asked of its process (owners.py); the clock, which may be set
back, decides only where there is no process to ask.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import psutil

from icl_core import settings
from icl_core.errors import JobError, ObservatoryError, StoppedError, StudyError, in_words
from icl_core.evaluation.index import is_unwritable
from icl_core.evaluation.study import Study, study_from_json, study_to_json
from icl_core.owners import Owner, lives, owner_of, process_of

__all__ = [
    "NO_DEVICE",
    "Job",
    "JobContext",
    "JobKind",
    "JobState",
    "Outcome",
    "cancel",
    "list_jobs",
    "read_job",
    "read_log",
    "read_result",
    "reconcile",
    "resume",
    "study_of_job",
    "submit",
    "submit_estimate",
    "submit_payload",
    "wait_for",
    "work",
]

JobKind = Literal["evaluate", "train", "estimate"]
JobState = Literal["queued", "running", "done", "failed", "cancelled", "lost"]

BEAT_SECONDS = 1.0
"""Time between two heartbeats of a job."""
SILENT_SECONDS = 6.0
"""A job whose process is not there and that has not beaten for so long is dead."""
STALLED_SECONDS = 30.0
"""A job that has not beaten for so long is not responding; it is dead only where its process cannot be asked."""
TERM_SECONDS = 4.0
"""Time a cancelled job has to finish its cell before SIGTERM."""
KILL_SECONDS = 15.0
"""Time a cancelled job has before SIGKILL."""
NO_DEVICE = "none"
"""The device of jobs that compute on none: they wait for nobody, and nobody waits for them."""

_LOG = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    payload TEXT NOT NULL,
    device TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    beat REAL,
    host TEXT,
    pid INTEGER,
    pid_started REAL,
    cancel_asked REAL,
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    cells_per_second REAL,
    eta_seconds REAL,
    current TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    resumed_from INTEGER
)
"""


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the table, as it stood when it was read.

    Attributes:
        id: number of the job, ascending.
        kind: what it does.
        title: what a person calls it.
        payload: JSON text that the handler of this kind understands.
        device: the device it holds while it lives; ``auto`` holds all of them, ``none`` holds none.
        state: queued, running, done, failed, cancelled, lost (its process died without a word).
        created, started, ended, beat: seconds since 1970, None where it has not happened.
        host, pid, pid_started: place, id and start of its process, as in ``owners.Owner``.
        cancel_asked: when cancelling was asked for, s since 1970.
        done, total: units of work: cells of a study or a bundle, steps of a training, checkpoints of an estimate.
        cells_per_second: recent rate over units that were really computed, None before the first.
        eta_seconds: expected seconds to the end at the last heartbeat, None where unknown.
        current: the unit in work.
        message: one sentence: the outcome, the error, or what is going on.
        resumed_from: the job that this one continues.
    """

    id: int
    kind: JobKind
    title: str
    payload: str
    device: str
    state: JobState
    created: float
    started: float | None
    ended: float | None
    beat: float | None
    host: str | None
    pid: int | None
    pid_started: float | None
    cancel_asked: float | None
    done: int
    total: int
    cells_per_second: float | None
    eta_seconds: float | None
    current: str
    message: str
    resumed_from: int | None

    @property
    def is_live(self) -> bool:
        """Whether it still waits or works; a page polls while this holds."""
        return self.state in ("queued", "running")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a handler says at its end.

    Attributes:
        message: one sentence for the person who asked.
        complete: False if it stopped early because it was told to.
        result: what JSON can hold, for ``read_result``; None where there is nothing but the message.
    """

    message: str
    complete: bool = True
    result: Mapping[str, object] | None = None


# The table


def _store_folder(store_path: Path | None) -> Path:
    return (settings.store_path() if store_path is None else store_path).resolve()


@contextmanager
def _table(folder: Path, *, to_write: bool = True) -> Iterator[sqlite3.Connection]:
    """A short connection; for writing inside one immediate transaction, which an error rolls back."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(folder / "jobs.sqlite", timeout=30, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise JobError(f"the job table in {folder} cannot be opened: {error}") from error
    try:
        connection.row_factory = sqlite3.Row
        if not to_write:
            yield connection
            return
        connection.execute("PRAGMA journal_mode = delete")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_SCHEMA)
        yield connection
        connection.execute("COMMIT")
    except (sqlite3.Error, IndexError) as error:  # also a table of another shape
        raise JobError(f"the job table in {folder} cannot be used: {error}") from error
    finally:
        connection.close()


_HINTS = get_type_hints(Job) | {"kind": str}  # whoever works a job says which kinds there are
_MOST_SECONDS = 1e11
"""Times and rates are smaller; a date beyond the year 5138 cannot be shown."""


def _job(row: sqlite3.Row) -> Job | None:
    """The job of a row, None where it holds what no job can."""
    values = {field.name: row[field.name] for field in fields(Job)}
    fits = all(_fits(value, _HINTS[name]) for name, value in values.items())
    return Job(**values) if fits else None


def _fits(value: object, hint: Any) -> bool:
    """Whether a value of the table is of a field's type; a column takes any."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_args(hint):
        return any(_fits(value, part) for part in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and abs(value) < _MOST_SECONDS
    return isinstance(value, hint)


def _rows(table: sqlite3.Connection, condition: str = "1", values: Sequence[object] = ()) -> list[Job]:
    """The jobs of the rows, without those rows that are none: a damaged row harms only itself."""
    rows = table.execute(f"SELECT * FROM jobs WHERE {condition} ORDER BY id", tuple(values))
    return [job for row in rows if (job := _job(row)) is not None]


def _get(table: sqlite3.Connection, job_id: int) -> Job:
    jobs = _rows(table, "id = ?", [job_id])
    if not jobs:
        known = [job.id for job in _rows(table)]
        raise JobError(f"there is no job {job_id}; the known ones are {', '.join(map(str, known)) or 'none'}.")
    return jobs[0]


def _set(table: sqlite3.Connection, job_id: int, **values: object) -> None:
    assignments = ", ".join(f"{name} = ?" for name in values)
    table.execute(f"UPDATE jobs SET {assignments} WHERE id = ?", (*values.values(), job_id))


def _conflict(first: str, second: str) -> bool:
    """Whether two jobs may not live at once: the same device, or one that may take any."""
    return NO_DEVICE not in (first, second) and (first == second or "auto" in (first, second))


# Asking for work


def submit(study: Study, *, device: str = "auto", offline: bool = False, store_path: Path | None = None) -> int:
    """Puts an evaluation into the table and starts it if its device is free.

    Args:
        study: what to evaluate; results that are stored already are not computed again.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; one live job a device, others wait.
        offline: True keeps the job off the network.
        store_path: the store's folder, None for the default one.

    Returns:
        The number of the job.
    """
    payload = {"study": json.loads(study_to_json(study)), "device": device, "offline": offline}
    return submit_payload("evaluate", payload, title=_title(study), device=device, store_path=store_path)


def submit_estimate(study: Study, *, device: str = "auto", offline: bool = True, store_path: Path | None = None) -> int:
    """Asks what the missing cells of a study would take; the job's result is a ``cost.Estimate``.

    Args:
        study: what would be evaluated.
        device: on which it would be.
        offline: False asks the Hub how much there is to download.
        store_path: the store's folder, None for the default one.
    """
    payload = {"study": json.loads(study_to_json(study)), "device": device, "offline": offline}
    title = f"Cost of {_title(study)}"
    return submit_payload("estimate", payload, title=title, device=NO_DEVICE, store_path=store_path)


def _title(study: Study) -> str:
    models = sorted({ref.model for ref in study.checkpoints})
    n_checkpoints = len(study.checkpoints)
    return f"{', '.join(models)}: {n_checkpoints} checkpoint{'s' * (n_checkpoints != 1)}, {', '.join(study.tasks)}"


def submit_payload(
    kind: JobKind,
    payload: Mapping[str, object],
    *,
    title: str,
    device: str = "auto",
    store_path: Path | None = None,
    resumed_from: int | None = None,
) -> int:
    """Puts a job of any kind into the table, starts it if its device is free, and returns its number."""
    folder = _store_folder(store_path)
    device = "cuda:0" if device == "cuda" else device
    text = json.dumps(payload, sort_keys=True, allow_nan=False)
    with _table(folder) as table:
        cursor = table.execute(
            "INSERT INTO jobs (kind, title, payload, device, created, resumed_from) VALUES (?, ?, ?, ?, ?, ?)",
            (kind, title, text, device, time.time(), resumed_from),
        )
        job_id = cast(int, cursor.lastrowid)
    reconcile(folder)
    return job_id


def resume(job_id: int, *, store_path: Path | None = None) -> int:
    """Asks for the same work again as a new job, which computes only what is not stored yet.

    Raises:
        JobError: the job is unknown, still lives, or is done.
    """
    old = read_job(job_id, store_path=store_path)
    if old.is_live:
        raise JobError(f"job {job_id} is {old.state}; only a job that has ended can be resumed.")
    return submit_payload(
        old.kind,
        json.loads(old.payload),
        title=old.title,
        device=old.device,
        store_path=store_path,
        resumed_from=job_id,
    )


def cancel(job_id: int, *, store_path: Path | None = None) -> Job:
    """Asks a job to stop: at once if it waits, after its cell if it runs, by signals if it does not listen.

    Raises:
        JobError: the job is unknown or has ended already.
    """
    folder = _store_folder(store_path)
    with _table(folder) as table:
        job = _get(table, job_id)
        if not job.is_live:
            raise JobError(f"job {job_id} is {job.state} and cannot be cancelled.")
        if job.state == "queued":
            _set(table, job_id, state="cancelled", ended=time.time(), message="Cancelled before it started.")
        elif job.cancel_asked is None:
            _set(table, job_id, cancel_asked=time.time(), eta_seconds=None, message="Cancelling; what is done is kept.")
    return read_job(job_id, store_path=folder)


# Looking


def list_jobs(*, store_path: Path | None = None) -> tuple[Job, ...]:
    """All jobs, the newest first; a job whose process has died is noted as lost, unless the disk cannot be written."""
    folder = _store_folder(store_path)
    if not (folder / "jobs.sqlite").exists():
        return ()
    try:
        reconcile(folder)
    except JobError as error:
        if not (isinstance(error.__cause__, Exception) and is_unwritable(error.__cause__)):
            raise
    with _table(folder, to_write=False) as table:
        return tuple(_told(job) for job in reversed(_rows(table)))


def read_job(job_id: int, *, store_path: Path | None = None) -> Job:
    """One job as it stands now; raises JobError if there is none of this number."""
    folder = _store_folder(store_path)
    with _table(folder) as table:
        job = _get(table, job_id)
    if not job.is_live:
        return job
    reconcile(folder)
    with _table(folder) as table:
        return _told(_get(table, job_id))


def wait_for(job_id: int, *, timeout: float, store_path: Path | None = None) -> Job:
    """Polls until the job has ended or ``timeout`` seconds have passed, and returns its last state."""
    deadline = time.monotonic() + timeout
    while (job := read_job(job_id, store_path=store_path)).is_live and time.monotonic() < deadline:
        time.sleep(0.1)
    return job


def read_log(job_id: int, *, store_path: Path | None = None, max_bytes: int = 20_000) -> str:
    """The end of the job's log, at most ``max_bytes``, from a line's start; empty if there is none yet."""
    path = _log_path(_store_folder(store_path), job_id)
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - max_bytes))
            text = log.read(max_bytes).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return text.split("\n", 1)[-1] if size > max_bytes else text


def read_result(job_id: int, *, store_path: Path | None = None) -> Any:
    """What the job's handler gave beside its message, None where there is nothing that can be read."""
    try:
        return json.loads(_result_path(_store_folder(store_path), job_id).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def study_of_job(job: Job) -> Study | None:
    """The study that a job evaluates or prices; None for other kinds, and where the payload is no study."""
    return _study_in(job.payload) if job.kind in ("evaluate", "estimate") else None


@lru_cache(maxsize=512)
def _study_in(payload: str) -> Study | None:
    """Kept, since pages ask for every job's study again and again."""
    try:
        return study_from_json(json.dumps(json.loads(payload)["study"]))
    except (StudyError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _log_path(folder: Path, job_id: int) -> Path:
    return folder / "jobs" / f"{job_id}.log"


def _result_path(folder: Path, job_id: int) -> Path:
    return folder / "jobs" / f"{job_id}.json"


# Who lives


def reconcile(store_path: Path | None = None) -> None:
    """Brings the table in line with the world: marks dead jobs, presses cancelled ones, starts waiting ones.

    Called when the app starts, whenever jobs are read, and by a job at its end; cheap and safe from anywhere.
    """
    folder = _store_folder(store_path)
    with _table(folder) as table:
        _forget_the_future(table)
        for job in _rows(table, "state = 'running'"):
            if job.cancel_asked is not None:
                _press(job)
            if _is_dead(job):
                _set(table, job.id, ended=time.time(), **_epitaph(job))
        launched = _take_leases(table)
    for job_id in launched:
        _launch(folder, job_id)


def _forget_the_future(table: sqlite3.Connection) -> None:
    """Counts ages from now where the clock was set back, so that no job waits for the old time to come again."""
    times = ("created", "started", "beat", "cancel_asked")
    changes = ", ".join(f"{name} = min({name}, :now)" for name in times)
    ahead = " OR ".join(f"{name} > :now" for name in times)
    query = f"UPDATE jobs SET {changes} WHERE state IN ('queued', 'running') AND ({ahead})"
    table.execute(query, {"now": time.time()})


def _silence(job: Job) -> float:
    return time.time() - (job.beat or job.started or job.created)


def _is_dead(job: Job) -> bool:
    owner = _owner(job)
    alive = lives(owner) if owner else False
    if alive is None:
        return _silence(job) > STALLED_SECONDS
    return not alive and _silence(job) > SILENT_SECONDS


def _told(job: Job) -> Job:
    """The job with a message that says so if it runs but does not respond, such as one that is stopped by a signal."""
    if job.state != "running" or _silence(job) <= STALLED_SECONDS:
        return job
    words = f"Not responding for {_silence(job):.0f} s: its process is there but does not go on; cancel it, or wait."
    return replace(job, message=words, eta_seconds=None)


def _epitaph(job: Job) -> dict[str, str]:
    if job.cancel_asked is not None:
        return {"state": "cancelled", "message": _cancelled_words(job, "")}
    reason = "Its process never started" if job.pid is None else "Its process died without a word"
    return {"state": "lost", "message": f"{reason}; what was finished is stored, resume does the rest."}


def _cancelled_words(job: Job, said: str) -> str:
    """Who stopped a job, and what its handler said; nobody asked for a signal from outside."""
    if job.cancel_asked is None:
        return said or "Stopped by a signal; what was finished is stored."
    return f"Cancelled. {said or 'What was finished is stored.'}"


def _owner(job: Job) -> Owner | None:
    if job.host is None or job.pid is None or job.pid_started is None:
        return None
    return Owner(job.host, job.pid, job.pid_started)


def _process(job: Job) -> psutil.Process | None:
    """The job's process if it runs on this host, the same one by its start, and is no zombie."""
    owner = _owner(job)
    return process_of(owner) if owner else None


def _press(job: Job) -> None:
    """SIGTERM, later SIGKILL to the process group of a cancelled job that does not stop by itself."""
    waited = time.time() - cast(float, job.cancel_asked)
    process = _process(job)
    if process is None or waited < TERM_SECONDS:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL if waited > KILL_SECONDS else signal.SIGTERM)


def _take_leases(table: sqlite3.Connection) -> list[int]:
    """Marks waiting jobs whose device is free as running, oldest first, and returns their numbers."""
    held = [job.device for job in _rows(table, "state = 'running'")]
    taken: list[int] = []
    for job in _rows(table, "state = 'queued'"):
        if not any(_conflict(job.device, device) for device in held):
            _set(table, job.id, state="running", started=time.time(), message="Starting.")
            taken.append(job.id)
        held.append(job.device)
    return taken


def _worker_command(folder: Path, job_id: int) -> list[str]:
    return [sys.executable, "-m", "icl_core", "run-job", str(job_id), "--store", str(folder)]


def _launch(folder: Path, job_id: int) -> None:
    """Starts the job's process in a session of its own, which outlives the one that starts it."""
    log_path = _log_path(folder, job_id)
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                _worker_command(folder, job_id),
                cwd=settings.project_path(),
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if owner := owner_of(process.pid):
            with _table(folder) as table:
                _set(table, job_id, host=owner.place, pid=owner.pid, pid_started=owner.started)
    except OSError as error:
        with _table(folder) as table:
            _set(table, job_id, state="failed", ended=time.time(), message=f"The process cannot be started: {error}.")
        return
    threading.Thread(target=process.wait, name=f"reap-job-{job_id}", daemon=True).start()


# Inside the job's process


class JobContext:
    """What a handler sees of its job: whether to stop, and where to say how far it is.

    A thread of it beats once a second; progress reaches the table with the next beat.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self.job = job
        self.store_path = folder
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._first: tuple[float, int] | None = None
        self._lock = threading.Lock()
        self._news: dict[str, object] = {}
        self._thread = threading.Thread(target=self._beat_until_end, name="heartbeat", daemon=True)

    def should_stop(self) -> bool:
        """True once the job was cancelled (or taken over by another): finish the cell and return."""
        return self._stop.is_set()

    def report(
        self,
        done: int,
        total: int,
        *,
        current: str = "",
        units_per_second: float | None = None,
        eta_seconds: float | None = None,
    ) -> None:
        """Says how many units of how many are done, what is in work, and when the end is expected."""
        with self._lock:
            self._news |= {"done": done, "total": total, "current": current}
            self._news |= {"cells_per_second": units_per_second, "eta_seconds": eta_seconds}

    def report_alike(self, done: int, total: int, *, current: str = "") -> None:
        """Says the same of units that take equally long: rate and time left follow from the time since the first."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        seconds, n_done = now - self._first[0], done - self._first[1]
        rate = n_done / seconds if seconds > 0 and n_done > 0 else None
        left = None if rate is None else (total - done) / rate
        self.report(done, total, current=current, units_per_second=rate, eta_seconds=left)

    def say(self, message: str) -> None:
        """Shows one sentence about what is going on."""
        with self._lock:
            self._news["message"] = message

    def _beat_until_end(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self._beat()
            except JobError as error:  # a full or slow disk must not end the work
                _LOG.warning("heartbeat missed: %s", error)

    def _beat(self) -> None:
        with self._lock:
            news, self._news = self._news, {}
        with _table(self.store_path) as table:
            job = _get(table, self.job.id)
            if self._is_still_mine(table, job):
                if job.cancel_asked is not None:
                    news.pop("eta_seconds", None)
                _set(table, job.id, state="running", ended=None, beat=time.time(), **news)
            else:
                self._stop.set()
        if job.cancel_asked is not None:
            self._stop.set()
            if job.state == "running":
                _press(job)

    def _is_still_mine(self, table: sqlite3.Connection, job: Job) -> bool:
        """True while running; also if declared lost (a machine that slept) and nobody took the device since."""
        if job.pid != os.getpid():
            return False
        others = [other.device for other in _rows(table, "state = 'running' AND id != ?", [job.id])]
        return job.state == "running" or (
            job.state == "lost" and not any(_conflict(job.device, device) for device in others)
        )

    def __enter__(self) -> JobContext:
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(JobError):
            self._beat()


Handler = Callable[[Mapping[str, object], JobContext], Outcome]


def work(job_id: int, handlers: Mapping[str, Handler], *, store_path: Path | None = None) -> JobState:
    """Does a job in this process: beats, lets the handler of its kind work, notes the outcome, starts the next.

    SIGTERM and SIGINT end the handler with KeyboardInterrupt: the running cell is lost, finished ones are stored.
    A handler that was told to stop returns an outcome that is not complete, or raises StoppedError.

    Raises:
        JobError: the job is unknown, has ended, or is in work in another process.
    """
    folder = _store_folder(store_path)
    job = _begin(folder, job_id)
    with JobContext(folder, job) as context:
        state, message = _do(job, handlers, context)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with _table(folder) as table:
        now = _get(table, job_id)
        if now.state == "running":
            message = _cancelled_words(now, message) if state == "cancelled" else message
            _set(table, job_id, state=state, ended=time.time(), message=message, current="", eta_seconds=None)
    reconcile(folder)
    return state


def _begin(folder: Path, job_id: int) -> Job:
    with _table(folder) as table:
        job = _get(table, job_id)
        if job.state not in ("queued", "running") or (job.pid not in (None, os.getpid()) and _process(job) is not None):
            raise JobError(f"job {job_id} is {job.state} and not for this process to do; resume it instead.")
        now = time.time()
        _set(table, job_id, state="running", started=job.started or now, beat=now, message="")
        if owner := owner_of():
            _set(table, job_id, host=owner.place, pid=owner.pid, pid_started=owner.started)
        return _get(table, job_id)


def _do(job: Job, handlers: Mapping[str, Handler], context: JobContext) -> tuple[JobState, str]:
    _interrupt_on_signals()
    try:
        handler = handlers.get(job.kind)
        if handler is None:
            raise JobError(f"jobs of the kind {job.kind} cannot be done; the known kinds are {', '.join(handlers)}.")
        outcome = handler(json.loads(job.payload), context)
        if outcome.result is not None:
            path = _result_path(context.store_path, job.id)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dict(outcome.result)), encoding="utf-8")
    except KeyboardInterrupt:
        return "cancelled", ""
    except StoppedError as error:
        return "cancelled", str(error)
    except ObservatoryError as error:
        return "failed", str(error)
    except BaseException as error:
        _LOG.exception("job %d failed", job.id)
        return "failed", f"{in_words(error)[:-1]} (the log has the details)."
    return "done" if outcome.complete else "cancelled", outcome.message


def _interrupt_on_signals() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
