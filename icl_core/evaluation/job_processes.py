"""Starts and stops the processes of jobs, and tells which of them live.

It does no job itself and knows no kinds of jobs. A job lives if its process does (owners.py); the clock, which may be
set back, decides only if the process cannot be asked. Any process may call it at any time: a page, or a job at its end.
The table keeps two of them from doing the same thing at once.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

import psutil

from icl_core import settings
from icl_core.evaluation.job_table import (
    Job,
    conflict,
    job_table,
    log_path,
    owner_of_job,
    rows_of,
    store_folder,
    update,
)
from icl_core.owners import lives, owner_of, process_of

__all__ = ["cancelled_words", "press", "process_of_job", "reconcile", "told"]

SILENT_SECONDS = 6.0
"""Seconds without a heartbeat after which a job without a process counts as dead."""
STALLED_SECONDS = 30.0
"""Seconds without a heartbeat after which a job is not responding; if its process cannot be asked, it is dead."""
TERM_SECONDS = 4.0
"""Seconds that a cancelled job has to finish its cell before SIGTERM."""
KILL_SECONDS = 15.0
"""Seconds that a cancelled job has before SIGKILL."""


def reconcile(store_path: Path | None = None) -> None:
    """Brings the table up to date: marks dead jobs, signals cancelled ones, starts waiting ones.

    It is called when the app starts, whenever jobs are read, and by a job at its end. It is cheap and safe from
    anywhere.
    """
    folder = store_folder(store_path)
    with job_table(folder) as table:
        _forget_the_future(table)
        for job in rows_of(table, "state = 'running'"):
            if job.cancel_asked is not None:
                press(job)
            if _is_dead(job):
                update(table, job.id, ended=time.time(), **_epitaph(job))
        launched = _take_leases(table)
    for job_id in launched:
        _launch(folder, job_id)


def _forget_the_future(table: sqlite3.Connection) -> None:
    """Counts ages from now if the clock was set back, so that no job waits until the old time is reached again."""
    times = ("created", "started", "beat", "cancel_asked")
    changes = ", ".join(f"{name} = min({name}, :now)" for name in times)
    ahead = " OR ".join(f"{name} > :now" for name in times)
    query = f"UPDATE jobs SET {changes} WHERE state IN ('queued', 'running') AND ({ahead})"
    table.execute(query, {"now": time.time()})


def _silence(job: Job) -> float:
    return time.time() - (job.beat or job.started or job.created)


def _is_dead(job: Job) -> bool:
    owner = owner_of_job(job)
    alive = lives(owner) if owner else False
    if alive is None:
        return _silence(job) > STALLED_SECONDS
    return not alive and _silence(job) > SILENT_SECONDS


def told(job: Job) -> Job:
    """The job; if it runs but does not respond, such as one stopped by a signal, with a message that says so."""
    if job.state != "running" or _silence(job) <= STALLED_SECONDS:
        return job
    words = f"Not responding for {_silence(job):.0f} s: its process exists but does not go on; cancel the job, or wait."
    return replace(job, message=words, eta_seconds=None)


def _epitaph(job: Job) -> dict[str, str]:
    if job.cancel_asked is not None:
        return {"state": "cancelled", "message": cancelled_words(job, "")}
    reason = "Its process never started" if job.pid is None else "Its process ended unexpectedly"
    return {"state": "lost", "message": f"{reason}; finished work is stored, and resume does the rest."}


def cancelled_words(job: Job, said: str) -> str:
    """How a job was stopped (cancelled, or by a signal from outside), and what its handler said."""
    if job.cancel_asked is None:
        return said or "Stopped by a signal; finished work is stored."
    return f"Cancelled. {said or 'Finished work is stored.'}"


def process_of_job(job: Job) -> psutil.Process | None:
    """The job's process, if it runs on this host, has the same start time and is not a zombie."""
    owner = owner_of_job(job)
    return process_of(owner) if owner else None


def press(job: Job) -> None:
    """Sends SIGTERM, and later SIGKILL, to the process group of a cancelled job that does not stop by itself."""
    waited = time.time() - cast(float, job.cancel_asked)
    process = process_of_job(job)
    if process is None or waited < TERM_SECONDS:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL if waited > KILL_SECONDS else signal.SIGTERM)


def _take_leases(table: sqlite3.Connection) -> list[int]:
    """Marks waiting jobs whose device is free as running, oldest first, and returns their numbers."""
    held = [job.device for job in rows_of(table, "state = 'running'")]
    taken: list[int] = []
    for job in rows_of(table, "state = 'queued'"):
        if not any(conflict(job.device, device) for device in held):
            update(table, job.id, state="running", started=time.time(), message="Starting.")
            taken.append(job.id)
        held.append(job.device)
    return taken


def _worker_command(folder: Path, job_id: int) -> list[str]:
    return [sys.executable, "-m", "icl_core", "run-job", str(job_id), "--store", str(folder)]


def _launch(folder: Path, job_id: int) -> None:
    """Starts the job's process in its own session, so that it outlives the process that starts it."""
    log_file = log_path(folder, job_id)
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
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
            with job_table(folder) as table:
                update(table, job_id, host=owner.place, pid=owner.pid, pid_started=owner.started)
    except OSError as error:
        with job_table(folder) as table:
            update(table, job_id, state="failed", ended=time.time(), message=f"The process cannot be started: {error}.")
        return
    threading.Thread(target=process.wait, name=f"reap-job-{job_id}", daemon=True).start()
