"""Jobs on a page: progress in place, cancel, resume, the end of the log.

Each page says which jobs are its own and what it draws below the progress of a running one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation.jobs import Job, cancel, list_jobs, read_job, read_log, resume
from pages.ui.words import count, duration, plain, reported, when

__all__ = ["listed", "live", "log_end", "past"]

MOST_PAST = 12
_UNITS = {"evaluate": "cell", "train": "step"}
"""What each kind of job counts."""
_WAITING = {"evaluate": "Waiting for its device", "train": "Waiting for the processor"}
_STOPPING = {"evaluate": "stopping after the running cell", "train": "stopping; what is trained is kept"}
_MARKS = {"done": "✅", "failed": "❌", "cancelled": "⏹️", "lost": "⚠️"}


def listed(*, quiet: bool = False) -> tuple[Job, ...]:
    """All jobs, the newest first; none where their table cannot be read, which a sentence says unless ``quiet``."""
    try:
        return tuple(job for job in list_jobs() if job.kind in _UNITS)
    except ObservatoryError as error:
        if not quiet:
            st.warning(f"Jobs cannot be shown or started: {plain(str(error).rstrip('.'))}. Results are not affected.")
        return ()


def live(jobs: Iterable[Job], name: str, details: Callable[[Job], None]) -> None:
    """Waiting and running jobs, oldest first, with their progress; ``details`` draws below each, every second."""
    for job in reversed([job for job in jobs if job.is_live]):
        _progress(job, name, details)


def _progress(job: Job, name: str, details: Callable[[Job], None]) -> None:
    @st.fragment(run_every=1, key=f"progress-{job.id}")
    def progress(job_id: int) -> None:
        with reported(st.stop):
            now = read_job(job_id)
            if not now.is_live:
                st.rerun()
            with st.container(border=True, key=f"job-{job_id}"):
                st.markdown(f"**{name} {job_id}** · {plain(now.title)}")
                st.progress(min(1.0, now.done / now.total) if now.total else 0.0, text=_words(now))
                _cancel_button(now)
                details(now)

    progress(job.id)


def _cancel_button(now: Job) -> None:
    asked = now.cancel_asked is not None
    if st.button("Cancelling" if asked else "Cancel", key=f"cancel-{now.id}", disabled=asked):
        cancel(now.id)
        st.rerun(scope="fragment")


def _words(now: Job) -> str:
    if now.state == "queued":
        return _WAITING[now.kind]
    unit = _UNITS[now.kind]
    parts = [f"{now.done:,} of {count(now.total, unit)}"] if now.total else [plain(now.message) or "Starting"]
    if now.cells_per_second:
        parts.append(_rate(now.cells_per_second, unit))
    if now.eta_seconds is not None:
        parts.append(f"{duration(now.eta_seconds)} to go")
    if now.cancel_asked is not None:
        parts.append(_STOPPING[now.kind])
    return " · ".join(parts)


def _rate(per_second: float, unit: str) -> str:
    if per_second < 1:
        return f"{duration(1 / per_second)} a {unit}"
    return f"{per_second:,.{1 if per_second < 10 else 0}f} {unit}s a second"


def past(jobs: Iterable[Job], name: str) -> None:
    """Jobs that have ended, latest first; a failed, lost or cancelled one goes on from what it stored."""
    ended = [job for job in jobs if not job.is_live]
    if not ended:
        return
    st.header(f"Past {name.lower()}s", anchor=False)
    for job in ended[:MOST_PAST]:
        with st.expander(f"{name} {job.id} · {job.state} · {plain(job.title)}", icon=_MARKS.get(job.state)):
            took = "" if job.started is None or job.ended is None else f", took {duration(job.ended - job.started)}"
            st.markdown(
                f"{plain(job.message)}  \nAsked {when(job.created)}{took}; "
                f"{job.done:,} of {count(job.total, _UNITS[job.kind])}."
            )
            if job.state != "done" and st.button("Resume", key=f"resume-{job.id}"):
                resume(job.id)
                st.rerun()
            if st.toggle("Show the log", key=f"log-{job.id}"):
                log_end(job)


def log_end(job: Job) -> None:
    """The last lines that a job wrote, as they are."""
    st.code(read_log(job.id, max_bytes=8000) or "The log is empty.", language=None, wrap_lines=True)
