"""Submits, reads, cancels and resumes jobs, for pages and the command line.

job_worker.py does the work, job_processes.py starts processes, and job_table.py keeps the records. It imports neither
torch nor transformers, so a page may poll it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from icl_core.errors import JobError, StudyError
from icl_core.evaluation.index import is_unwritable
from icl_core.evaluation.job_processes import reconcile, told
from icl_core.evaluation.job_table import (
    NO_DEVICE,
    Job,
    JobKind,
    job_of,
    job_table,
    log_path,
    result_path,
    rows_of,
    store_folder,
    update,
)
from icl_core.evaluation.study import Study, study_from_json, study_to_json

__all__ = [
    "cancel",
    "list_jobs",
    "read_job",
    "read_log",
    "read_result",
    "resume",
    "study_of_job",
    "submit",
    "submit_estimate",
    "submit_payload",
    "wait_for",
]


def submit(study: Study, *, device: str = "auto", offline: bool = False, store_path: Path | None = None) -> int:
    """Puts an evaluation into the table and starts it if its device is free.

    Args:
        study: what to evaluate; stored results are not computed again.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; one job per device runs, others wait.
        offline: True keeps the job off the network.
        store_path: the store's folder, None for the default one.

    Returns:
        The number of the job.
    """
    payload = {"study": json.loads(study_to_json(study)), "device": device, "offline": offline}
    return submit_payload("evaluate", payload, title=_title(study), device=device, store_path=store_path)


def submit_estimate(study: Study, *, device: str = "auto", offline: bool = True, store_path: Path | None = None) -> int:
    """Submits an estimate of the cost of a study's missing cells; the job's result is a ``cost.Estimate``.

    Args:
        study: what would be evaluated.
        device: on which it would be evaluated.
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
    folder = store_folder(store_path)
    device = "cuda:0" if device == "cuda" else device
    text = json.dumps(payload, sort_keys=True, allow_nan=False)
    with job_table(folder) as table:
        cursor = table.execute(
            "INSERT INTO jobs (kind, title, payload, device, created, resumed_from) VALUES (?, ?, ?, ?, ?, ?)",
            (kind, title, text, device, time.time(), resumed_from),
        )
        job_id = cast(int, cursor.lastrowid)
    reconcile(folder)
    return job_id


def resume(job_id: int, *, store_path: Path | None = None) -> int:
    """Submits the same work again as a new job, which computes only what is not stored yet.

    Raises:
        JobError: the job is unknown, still lives, or is done.
    """
    old = read_job(job_id, store_path=store_path)
    if old.is_live:
        raise JobError(f"job {job_id} is {old.state}; only a job that has ended can be resumed.")
    return submit_payload(
        cast(JobKind, old.kind),
        json.loads(old.payload),
        title=old.title,
        device=old.device,
        store_path=store_path,
        resumed_from=job_id,
    )


def cancel(job_id: int, *, store_path: Path | None = None) -> Job:
    """Cancels a job: at once if it waits, after its current cell if it runs, by signals if it does not stop.

    Raises:
        JobError: the job is unknown or has already ended.
    """
    folder = store_folder(store_path)
    with job_table(folder) as table:
        job = job_of(table, job_id)
        if not job.is_live:
            raise JobError(f"job {job_id} is {job.state} and cannot be cancelled.")
        if job.state == "queued":
            update(table, job_id, state="cancelled", ended=time.time(), message="Cancelled before it started.")
        elif job.cancel_asked is None:
            update(
                table, job_id, cancel_asked=time.time(), eta_seconds=None, message="Cancelling; finished work is kept."
            )
    return read_job(job_id, store_path=folder)


# Looking


def list_jobs(*, store_path: Path | None = None) -> tuple[Job, ...]:
    """All jobs, the newest first; a job whose process has died is marked as lost, unless the disk cannot be written."""
    folder = store_folder(store_path)
    if not (folder / "jobs.sqlite").exists():
        return ()
    try:
        reconcile(folder)
    except JobError as error:
        if not (isinstance(error.__cause__, Exception) and is_unwritable(error.__cause__)):
            raise
    with job_table(folder, to_write=False) as table:
        return tuple(told(job) for job in reversed(rows_of(table)))


def read_job(job_id: int, *, store_path: Path | None = None) -> Job:
    """One job as it is now; raises JobError if there is no job of this number."""
    folder = store_folder(store_path)
    with job_table(folder) as table:
        job = job_of(table, job_id)
    if not job.is_live:
        return job
    reconcile(folder)
    with job_table(folder) as table:
        return told(job_of(table, job_id))


def wait_for(job_id: int, *, timeout: float, store_path: Path | None = None) -> Job:
    """Polls until the job has ended or ``timeout`` seconds have passed, and returns its last state."""
    deadline = time.monotonic() + timeout
    while (job := read_job(job_id, store_path=store_path)).is_live and time.monotonic() < deadline:
        time.sleep(0.1)
    return job


def read_log(job_id: int, *, store_path: Path | None = None, max_bytes: int = 20_000) -> str:
    """The end of the job's log, at most ``max_bytes``, from the start of a line; empty if there is no log yet."""
    path = log_path(store_folder(store_path), job_id)
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - max_bytes))
            text = log.read(max_bytes).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return text.split("\n", 1)[-1] if size > max_bytes else text


def read_result(job_id: int, *, store_path: Path | None = None) -> Any:
    """The result that the job's handler gave besides its message; None if there is none, or it cannot be read."""
    try:
        return json.loads(result_path(store_folder(store_path), job_id).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def study_of_job(job: Job) -> Study | None:
    """The study that a job evaluates or estimates; None for other kinds, and if the payload is not a study."""
    return _study_in(job.payload) if job.kind in ("evaluate", "estimate") else None


@lru_cache(maxsize=512)
def _study_in(payload: str) -> Study | None:
    """Cached: pages ask for every job's study again and again."""
    try:
        return study_from_json(json.dumps(json.loads(payload)["study"]))
    except (StudyError, ValueError, KeyError, TypeError, RecursionError):
        return None
