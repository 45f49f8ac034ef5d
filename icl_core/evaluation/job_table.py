"""The table of jobs: reads and writes its rows, and names the files of a job's log and result.

It starts, stops and does no job. The table is one SQLite file in the store's folder, read and written through short
connections, so any thread of any process may use it. An impossible row is left out and harms no other. It imports
neither torch nor transformers, so a page may poll it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from icl_core import settings
from icl_core.errors import JobError
from icl_core.owners import Owner
from icl_core.plain import from_plain
from icl_core.records import plain_fields

__all__ = [
    "NO_DEVICE",
    "Job",
    "JobKind",
    "JobState",
    "conflict",
    "job_of",
    "job_table",
    "log_path",
    "owner_of_job",
    "result_path",
    "rows_of",
    "store_folder",
    "update",
]

JobKind = Literal["evaluate", "train", "estimate"]
JobState = Literal["queued", "running", "done", "failed", "cancelled", "lost"]

NO_DEVICE = "none"
"""The device of jobs that need no device: they wait for no job, and no job waits for them."""
_MOST_SECONDS = 1e11
"""Upper bound of times and rates; a date beyond the year 5138 cannot be shown."""
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

_COLUMNS = {"units_per_second": "cells_per_second"}
"""Columns of the stored table whose names differ from those of the fields."""


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the table, as it was when it was read.

    Attributes:
        id: number of the job, ascending.
        kind: what it does; the handlers given to ``job_worker.work`` decide which kinds there are.
        title: shown to people.
        payload: JSON text that the handler of this kind understands.
        device: the device it holds while it lives; ``auto`` holds all of them, ``none`` holds none.
        state: queued, running, done, failed, cancelled, lost (its process ended unexpectedly).
        created, started, ended, beat: seconds since 1970, None if it has not happened.
        host, pid, pid_started: place, id and start of its process, as in ``owners.Owner``.
        cancel_asked: time of the request to cancel, seconds since 1970.
        done, total: units of work: cells of a study or a bundle, steps of a training, checkpoints of an estimate.
        units_per_second: recent rate of computed units (not stored ones), None before the first.
        eta_seconds: expected seconds to the end at the last heartbeat, None if unknown.
        current: the unit that is being worked on.
        message: one sentence: the outcome, the error, or the current state.
        resumed_from: the job that this one continues.
    """

    id: int
    kind: str
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
    units_per_second: float | None
    eta_seconds: float | None
    current: str
    message: str
    resumed_from: int | None

    @property
    def is_live(self) -> bool:
        """Whether it still waits or works; a page polls as long as this is true."""
        return self.state in ("queued", "running")

    @property
    def share_done(self) -> float:
        """Done units as a fraction of all, at most 1; 0 as long as their number is not known."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def seconds_taken(self) -> float | None:
        """From start to end, s; None if it has not ended or was never started."""
        return None if self.started is None or self.ended is None else self.ended - self.started


def store_folder(store_path: Path | None) -> Path:
    """The folder of a store; for None, the one of the settings."""
    return (settings.store_path() if store_path is None else store_path).resolve()


def log_path(folder: Path, job_id: int) -> Path:
    """The log file of a job's process."""
    return folder / "jobs" / f"{job_id}.log"


def result_path(folder: Path, job_id: int) -> Path:
    """The file of a job's result, which its handler may give besides its message."""
    return folder / "jobs" / f"{job_id}.json"


@contextmanager
def job_table(folder: Path, *, to_write: bool = True) -> Iterator[sqlite3.Connection]:
    """A short connection to the table; if for writing, it is one immediate transaction, which an error rolls back.

    Raises:
        JobError: the table cannot be opened or used.
    """
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
    except (sqlite3.Error, IndexError) as error:  # also if the table has other columns
        raise JobError(f"the job table in {folder} cannot be used: {error}") from error
    finally:
        connection.close()


def _job(row: sqlite3.Row) -> Job | None:
    """The job of a row, None if the row is impossible."""
    try:
        job = from_plain(Job, {field.name: row[_COLUMNS.get(field.name, field.name)] for field in fields(Job)})
    except ValueError:
        return None
    numbers = [value for value in plain_fields(job).values() if isinstance(value, float)]
    return job if all(abs(number) < _MOST_SECONDS for number in numbers) else None


def rows_of(table: sqlite3.Connection, condition: str = "1", values: Sequence[object] = ()) -> list[Job]:
    """The jobs of the rows; impossible rows are left out, so that a damaged row harms no other."""
    rows = table.execute(f"SELECT * FROM jobs WHERE {condition} ORDER BY id", tuple(values))
    return [job for row in rows if (job := _job(row)) is not None]


def job_of(table: sqlite3.Connection, job_id: int) -> Job:
    """One job; raises JobError if there is no job of this number."""
    jobs = rows_of(table, "id = ?", [job_id])
    if not jobs:
        known = [job.id for job in rows_of(table)]
        raise JobError(f"there is no job {job_id}; the known ones are {', '.join(map(str, known)) or 'none'}.")
    return jobs[0]


def update(table: sqlite3.Connection, job_id: int, **values: object) -> None:
    """Sets fields of a job, by their names."""
    assignments = ", ".join(f"{_COLUMNS.get(name, name)} = ?" for name in values)
    table.execute(f"UPDATE jobs SET {assignments} WHERE id = ?", (*values.values(), job_id))


def conflict(first: str, second: str) -> bool:
    """Whether two jobs cannot run at once: they need the same device, or one may take any."""
    return NO_DEVICE not in (first, second) and (first == second or "auto" in (first, second))


def owner_of_job(job: Job) -> Owner | None:
    """The process that does a job, None if the table does not name one."""
    if job.host is None or job.pid is None or job.pid_started is None:
        return None
    return Owner(job.host, job.pid, job.pid_started)
