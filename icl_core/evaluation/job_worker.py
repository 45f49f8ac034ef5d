"""The process of a job: sends heartbeats, works, and records its outcome.

It does not know how to evaluate or train: :func:`work` is given one handler for each kind of job. Threads: the handler
runs in the thread that calls ``work``, which must be the main thread, since signals end it. A second thread sends a
heartbeat once per second and writes progress to the table. Progress is kept under a lock until the next heartbeat.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from icl_core.errors import JobError, ObservatoryError, StoppedError, in_words
from icl_core.evaluation.job_processes import cancelled_words, press, process_of_job, reconcile
from icl_core.evaluation.job_table import (
    Job,
    JobState,
    conflict,
    job_of,
    job_table,
    result_path,
    rows_of,
    store_folder,
    update,
)
from icl_core.owners import owner_of

__all__ = ["JobContext", "Outcome", "work"]

BEAT_SECONDS = 1.0
"""Time between two heartbeats of a job."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a handler returns.

    Attributes:
        message: one sentence for the person who asked.
        complete: False if it was told to stop and stopped early.
        result: a value for ``read_result`` that JSON can hold; None if there is only the message.
    """

    message: str
    complete: bool = True
    result: Mapping[str, object] | None = None


class JobContext:
    """A handler's view of its job: tells whether to stop, and takes progress.

    Its thread sends a heartbeat once per second; progress reaches the table with the next one.
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
        """True once the job is cancelled (or taken over by another): the handler finishes its cell and returns."""
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
        """Takes progress: units done, units in all, the current unit, and the expected time of the end."""
        with self._lock:
            self._news |= {"done": done, "total": total, "current": current}
            self._news |= {"units_per_second": units_per_second, "eta_seconds": eta_seconds}

    def report_alike(self, done: int, total: int, *, current: str = "") -> None:
        """Takes progress of units that take equally long: rate and time left follow from the time since the first."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        seconds, n_done = now - self._first[0], done - self._first[1]
        rate = n_done / seconds if seconds > 0 and n_done > 0 else None
        left = None if rate is None else (total - done) / rate
        self.report(done, total, current=current, units_per_second=rate, eta_seconds=left)

    def _beat_until_end(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self._beat()
            except JobError as error:  # a full or slow disk must not end the work
                _LOG.warning("heartbeat missed: %s", error)

    def _beat(self) -> None:
        with self._lock:
            news, self._news = self._news, {}
        with job_table(self.store_path) as table:
            job = job_of(table, self.job.id)
            if self._is_still_mine(table, job):
                if job.cancel_asked is not None:
                    news.pop("eta_seconds", None)
                update(table, job.id, state="running", ended=None, beat=time.time(), **news)
            else:
                self._stop.set()
        if job.cancel_asked is not None:
            self._stop.set()
            if job.state == "running":
                press(job)

    def _is_still_mine(self, table: sqlite3.Connection, job: Job) -> bool:
        """True while running; also if declared lost (the machine slept) and no other job has taken the device."""
        if job.pid != os.getpid():
            return False
        others = [other.device for other in rows_of(table, "state = 'running' AND id != ?", [job.id])]
        return job.state == "running" or (
            job.state == "lost" and not any(conflict(job.device, device) for device in others)
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
    """Does a job in this process: sends heartbeats, calls its handler, records the outcome, starts the next job.

    SIGTERM and SIGINT end the handler with KeyboardInterrupt: the current cell is lost, finished ones are stored. A
    handler that was told to stop returns an outcome that is not complete, or raises StoppedError.

    Raises:
        JobError: the job is unknown, has ended, or is being done by another process.
    """
    folder = store_folder(store_path)
    job = _begin(folder, job_id)
    with JobContext(folder, job) as context:
        state, message = _do(job, handlers, context)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with job_table(folder) as table:
        now = job_of(table, job_id)
        if now.state == "running":
            message = cancelled_words(now, message) if state == "cancelled" else message
            update(table, job_id, state=state, ended=time.time(), message=message, current="", eta_seconds=None)
    reconcile(folder)
    return state


def _begin(folder: Path, job_id: int) -> Job:
    with job_table(folder) as table:
        job = job_of(table, job_id)
        if job.state not in ("queued", "running") or (
            job.pid not in (None, os.getpid()) and process_of_job(job) is not None
        ):
            raise JobError(f"job {job_id} is {job.state}, so this process cannot do it; resume it instead.")
        now = time.time()
        update(table, job_id, state="running", started=job.started or now, beat=now, message="")
        if owner := owner_of():
            update(table, job_id, host=owner.place, pid=owner.pid, pid_started=owner.started)
        return job_of(table, job_id)


def _do(job: Job, handlers: Mapping[str, Handler], context: JobContext) -> tuple[JobState, str]:
    _interrupt_on_signals()
    try:
        handler = handlers.get(job.kind)
        if handler is None:
            raise JobError(f"jobs of the kind {job.kind} cannot be done; the known kinds are {', '.join(handlers)}.")
        outcome = handler(json.loads(job.payload), context)
        if outcome.result is not None:
            path = result_path(context.store_path, job.id)
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
