"""The panel of jobs, one for all pages: the sidebar's lines, progress with time left, start, cancel, resume, logs.

A page says which jobs it shows and what stands below the progress of each. Nothing above a button that starts a job
moves when the button is clicked: it then says that the job runs, and a notice says where to look.
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
from pages.ui.words import job_words
from pages.ui.words.written import plain, reported

__all__ = ["button", "cell_and_log", "line", "listed", "live", "live_of", "past", "refreshed", "start", "status"]

MOST_PAST = 12
_HOMES = {
    "evaluate": ("pages/evaluate/page.py", "See it on Evaluate"),
    "train": ("pages/lab/page.py", "See it on Lab"),
    "estimate": ("pages/evaluate/page.py", "See it on Evaluate"),
}
"""The page that shows each kind of job, and the words of the link to it."""
_MARKS = {"done": "✅", "failed": "❌", "cancelled": "⏹️", "lost": "⚠️"}
_SEEN, _STARTED, _TOOK = "jobs_seen", "job_started", "refresh_took"
"""Keys of the session: live jobs at the last run, the job whose start is not told yet, seconds of a refresh."""
LEAST_SECONDS, MOST_LOAD = 2.0, 20.0
"""Between two refreshes: so many seconds, and so many times as long as one takes."""


def listed(*, quiet: bool = False) -> tuple[Job, ...]:
    """All jobs, the newest first; none if their table cannot be read, which the page says unless ``quiet``."""
    try:
        return tuple(job for job in list_jobs() if job.kind in job_words.KINDS)
    except ObservatoryError as error:
        if not quiet:
            st.warning(job_words.cannot_be_used(str(error)))
        return ()


def live_of(study: Study, kind: str = "evaluate") -> Job | None:
    """The waiting or running job of this kind for exactly this study, None if there is none."""
    found = (job for job in listed(quiet=True) if job.is_live and job.kind == kind)
    return next((job for job in found if study_of_job(job) == study), None)


# In the sidebar


def line(results: Callable[[], None]) -> None:
    """What the sidebar says of results, and below it a line for each live job; both are kept up to date.

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
                st.progress(job.share_done, text=f"**{job_words.title(job)}** · {job_words.progress(job)}")
                page, words = _HOMES[job.kind]
                st.page_link(page, label=words)

    refreshed(lines, key="job-lines", while_live=bool(before))


def refreshed(draw: Callable[[], None], *, key: str, while_live: bool) -> None:
    """Draws a part of a page, and while a job lives again and again; less often if drawing takes long."""

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
        st.toast(job_words.started(started))
    for job in (jobs[seen] for seen in st.session_state.get(_SEEN, ()) if seen in jobs):
        if not job.is_live:
            said, icon = job_words.ended(job), _MARKS[job.state]
            st.toast(said, icon=icon, duration="long" if job.state == "done" else "infinite")


# Starting


def start(submit: Callable[[], int]) -> None:
    """Starts a job and draws the page again, which then says that it runs.

    Args:
        submit: puts it into the table and gives its number.
    """
    with reported():
        st.session_state[_STARTED] = submit()
    st.rerun()


def button(label: str, job: Job | None, *, key: str, disabled: bool = False) -> bool:
    """The button that starts a job, True when it is clicked; while the job lives, it says so and cannot be clicked."""
    if job is None:
        return st.button(label, type="primary", key=key, disabled=disabled)
    st.button("Running" if job.state == "running" else "Waiting", type="primary", key=key, disabled=True)
    return False


def status(job: Job) -> None:
    """How far a job is, in a line beside its button that is kept up to date."""

    @st.fragment(run_every=1, key=f"status-{job.id}")
    def told() -> None:
        with reported():
            now = read_job(job.id)
            if not now.is_live:
                st.rerun()
            st.caption(f"{job_words.title(now)}: {job_words.progress(now)}")

    told()


# In place


def live(jobs: Iterable[Job], name: str, draw_below: Callable[[Job], None] | None = None) -> None:
    """Waiting and running jobs, oldest first, each with its progress, time left and a button that cancels it.

    Args:
        jobs: those that the page shows; ended ones are left out.
        name: what the page calls one of them.
        draw_below: draws what stands below the progress of each, every second.
    """
    for job in reversed([job for job in jobs if job.is_live]):
        _panel(job, name, draw_below)


def _panel(job: Job, name: str, draw_below: Callable[[Job], None] | None) -> None:
    @st.fragment(run_every=1, key=f"progress-{job.id}")
    def progress(job_id: int) -> None:
        with reported(st.stop):
            now = read_job(job_id)
            if not now.is_live:
                st.rerun()
            with st.container(border=True, key=f"job-{job_id}"):
                st.markdown(f"**{name} {job_id}** · {plain(now.title)}")
                st.progress(now.share_done, text=job_words.progress(now))
                _cancel_button(now)
                if draw_below is not None:
                    draw_below(now)

    progress(job.id)


def cell_and_log(now: Job) -> None:
    """The cell in work and the end of the log, for below the progress of a job."""
    if now.current:
        st.caption(plain(now.current))
    with st.expander("End of the log"):
        _log_end(now)


def _cancel_button(now: Job) -> None:
    asked = now.cancel_asked is not None
    if st.button("Cancelling" if asked else "Cancel", key=f"cancel-{now.id}", disabled=asked):
        cancel(now.id)
        st.rerun(scope="fragment")


def past(jobs: Iterable[Job], name: str) -> None:
    """Jobs that have ended, the latest first; one that did not get to its end can be resumed from what it stored."""
    jobs = [job for job in jobs if job.kind != "estimate"]
    ended = [job for job in jobs if not job.is_live]
    in_work = {job.payload: job for job in jobs if job.is_live}
    if not ended:
        return
    st.header(f"Past {name.lower()}s", anchor=False)
    for job in ended[:MOST_PAST]:
        with st.expander(f"{name} {job.id} · {job.state} · {plain(job.title)}", icon=_MARKS.get(job.state)):
            st.markdown(job_words.outcome(job))
            if job.state != "done":
                again = in_work.get(job.payload)
                if button("Resume", again, key=f"resume-{job.id}"):
                    start(partial(resume, job.id))
                elif again is not None:
                    st.caption(f"{job_words.title(again)} does the rest.")
            if st.toggle("Show the log", key=f"log-{job.id}"):
                _log_end(job)


def _log_end(job: Job) -> None:
    """The last lines that a job wrote, letter by letter."""
    st.code(read_log(job.id, max_bytes=8000) or "The log is empty.", language=None, wrap_lines=True)
