"""Jobs on a page: their line in the sidebar, progress in place, starting, cancelling, resuming, the end of the log.

Each page says which jobs are its own and what it draws below the progress of a running one. Nothing above a button that
starts a job moves when it is clicked: the button says that the job runs, and a notice says where to look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation.job_table import Job
from icl_core.evaluation.jobs import cancel, list_jobs, read_job, read_log, resume, study_of_job
from icl_core.evaluation.study import Study
from pages.ui.words.written import count, duration, plain, reported, when

__all__ = ["button", "line", "listed", "live", "live_of", "log_end", "past", "refreshed", "start", "status"]

MOST_PAST = 12
_UNITS = {"evaluate": "cell", "train": "step", "estimate": "checkpoint"}
"""What each kind of job counts."""
_NAMES = {"evaluate": "Job", "train": "Training", "estimate": "Cost question"}
_HOMES = {
    "evaluate": ("pages/evaluate/page.py", "See it on Evaluate"),
    "train": ("pages/lab/page.py", "See it on Lab"),
    "estimate": ("pages/evaluate/page.py", "See it on Evaluate"),
}
"""The page that shows each kind of job, and the words of the link to it."""
_WAITING = {"evaluate": "Waiting for its device", "train": "Waiting for the processor"}
_STOPPING = {"evaluate": "stopping after the running cell", "train": "stopping; what is trained is kept"}
_MARKS = {"done": "✅", "failed": "❌", "cancelled": "⏹️", "lost": "⚠️"}
_SEEN, _STARTED, _TOOK = "jobs_seen", "job_started", "refresh_took"
"""Keys of the session: live jobs at the last run, the job whose start is not told yet, seconds of a refresh."""
LEAST_SECONDS, MOST_LOAD = 2.0, 20.0
"""Between two refreshes: so many seconds, and so many times as long as one takes."""


def listed(*, quiet: bool = False) -> tuple[Job, ...]:
    """All jobs, the newest first; none where their table cannot be read, which a sentence says unless ``quiet``."""
    try:
        return tuple(job for job in list_jobs() if job.kind in _UNITS)
    except ObservatoryError as error:
        if not quiet:
            st.warning(f"Jobs cannot be shown or started: {plain(str(error).rstrip('.'))}. Results are not affected.")
        return ()


def live_of(study: Study, kind: str = "evaluate") -> Job | None:
    """The waiting or running job that evaluates exactly this study, or prices it; None where there is none."""
    found = (job for job in listed(quiet=True) if job.is_live and job.kind == kind)
    return next((job for job in found if study_of_job(job) == study), None)


# In the sidebar


def line(results: Callable[[], None]) -> None:
    """What the sidebar says of results, and below it a line for each live job; both stay up to date while one lives.

    Args:
        results: draws what changes while a job runs.
    """
    found = listed(quiet=True)
    before = [job for job in found if job.is_live]
    _tell({job.id: job for job in found})
    st.session_state[_SEEN] = [job.id for job in before]

    def lines() -> None:
        results()
        now = [job for job in listed(quiet=True) if job.is_live] if before else []
        if {job.id for job in now} != {job.id for job in before}:
            st.rerun()
        for job in reversed(now):
            with st.container(key=f"job-line-{job.id}"):
                st.progress(_share(job), text=f"**{_NAMES[job.kind]} {job.id}** · {_words(job)}")
                page, words = _HOMES[job.kind]
                st.page_link(page, label=words)

    refreshed(lines, key="job-lines", while_live=bool(before))


def refreshed(draw: Callable[[], None], *, key: str, while_live: bool) -> None:
    """Draws a part of a page, again and again while a job lives, less often where that takes long."""

    @st.fragment(run_every=max(LEAST_SECONDS, MOST_LOAD * st.session_state.get(_TOOK, 0.0)) if while_live else None,
                 key=key)  # fmt: skip
    def drawn() -> None:
        start = time.monotonic()
        draw()
        st.session_state[_TOOK] = time.monotonic() - start

    drawn()


def _tell(jobs: Mapping[int, Job]) -> None:
    """A notice for the job that was started just now, and for each that has ended since the last run."""
    started = jobs.get(st.session_state.pop(_STARTED, 0))
    if started is not None and started.is_live:
        words = "is running" if started.state == "running" else "waits for its device"
        st.toast(f"**{_NAMES[started.kind]} {started.id}** {words}. The sidebar shows how far it is, on every page.")
    for job in (jobs[seen] for seen in st.session_state.get(_SEEN, ()) if seen in jobs):
        if not job.is_live:
            words = "" if job.message.startswith("Cancelled") else f" is {job.state}"
            said = f"**{_NAMES[job.kind]} {job.id}**{words}. {plain(job.message)}"
            st.toast(said, icon=_MARKS[job.state], duration="long" if job.state == "done" else "infinite")


# Starting


def start(submit: Callable[[], int]) -> None:
    """Starts a job and draws the page again, which then says so.

    Args:
        submit: puts it into the table and gives its number.
    """
    with reported():
        st.session_state[_STARTED] = submit()
    st.rerun()


def button(label: str, job: Job | None, *, key: str, disabled: bool = False) -> bool:
    """The button that starts a job, True when it is clicked; while its job lives it says so, and cannot be clicked."""
    if job is None:
        return st.button(label, type="primary", key=key, disabled=disabled)
    st.button("Running" if job.state == "running" else "Waiting", type="primary", key=key, disabled=True)
    return False


def status(job: Job) -> None:
    """How far a job is, in a line that stays up to date, for beside its button."""

    @st.fragment(run_every=1, key=f"status-{job.id}")
    def told() -> None:
        with reported():
            now = read_job(job.id)
            if not now.is_live:
                st.rerun()
            st.caption(f"{_NAMES[now.kind]} {now.id}: {_words(now)}")

    told()


# In place


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
                st.progress(_share(now), text=_words(now))
                _cancel_button(now)
                details(now)

    progress(job.id)


def _cancel_button(now: Job) -> None:
    asked = now.cancel_asked is not None
    if st.button("Cancelling" if asked else "Cancel", key=f"cancel-{now.id}", disabled=asked):
        cancel(now.id)
        st.rerun(scope="fragment")


def _share(now: Job) -> float:
    return min(1.0, now.done / now.total) if now.total else 0.0


def _words(now: Job) -> str:
    if now.state == "queued":
        return _WAITING.get(now.kind, "Waiting")
    unit = _UNITS[now.kind]
    parts = [f"{now.done:,} of {count(now.total, unit)}"] if now.total else [plain(now.message) or "Starting"]
    if now.units_per_second:
        parts.append(_rate(now.units_per_second, unit))
    if now.eta_seconds is not None and now.done < now.total:
        parts.append(f"{duration(now.eta_seconds)} to go")
    if now.cancel_asked is not None:
        parts.append(_STOPPING.get(now.kind, "stopping"))
    return " · ".join(parts)


def _rate(per_second: float, unit: str) -> str:
    if per_second < 1:
        return f"{duration(1 / per_second)} per {unit}"
    return f"{per_second:,.{1 if per_second < 10 else 0}f} {unit}s per second"


def past(jobs: Iterable[Job], name: str) -> None:
    """Jobs that have ended, latest first; a failed, lost or cancelled one goes on from what it stored."""
    jobs = [job for job in jobs if job.kind != "estimate"]
    ended = [job for job in jobs if not job.is_live]
    in_work = {job.payload: job for job in jobs if job.is_live}
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
            if job.state != "done":
                again = in_work.get(job.payload)
                if button("Resume", again, key=f"resume-{job.id}"):
                    start(partial(resume, job.id))
                elif again is not None:
                    st.caption(f"{_NAMES[again.kind]} {again.id} does the rest.")
            if st.toggle("Show the log", key=f"log-{job.id}"):
                log_end(job)


def log_end(job: Job) -> None:
    """The last lines that a job wrote, as they are."""
    st.code(read_log(job.id, max_bytes=8000) or "The log is empty.", language=None, wrap_lines=True)
