"""Jobs as they run and as they ended: progress in place, cancel, resume, the end of the log."""

from __future__ import annotations

import streamlit as st

from icl_core.evaluation.jobs import Job, cancel, list_jobs, read_job, read_log, resume
from pages.ui.words import count, duration, plain, reported, when

__all__ = ["live", "past"]

MOST_PAST = 12
_UNITS = {"evaluate": "cell", "train": "step"}
"""What each kind of job counts."""


def live() -> None:
    """Every waiting or running job, with its progress."""
    for job in reversed([job for job in list_jobs() if job.is_live]):
        _progress(job)


def _progress(job: Job) -> None:
    @st.fragment(run_every=1, key=f"progress-{job.id}")
    def progress(job_id: int) -> None:
        with reported():
            now = read_job(job_id)
            if not now.is_live:
                st.rerun()
            _live_box(now)

    progress(job.id)


def _live_box(now: Job) -> None:
    with st.container(border=True, key=f"job-{now.id}"):
        st.markdown(f"**Job {now.id}** · {plain(now.title)}")
        share = now.done / now.total if now.total else 0.0
        st.progress(min(1.0, share), text=_words(now))
        if now.current:
            st.caption(plain(now.current))
        asked = now.cancel_asked is not None
        with st.container(horizontal=True):
            if st.button("Cancelling" if asked else "Cancel", key=f"cancel-{now.id}", disabled=asked):
                cancel(now.id)
                st.rerun(scope="fragment")
        with st.expander("End of the log"):
            st.code(read_log(now.id, max_bytes=4000) or "The log is still empty.", language=None, wrap_lines=True)


def _words(now: Job) -> str:
    if now.state == "queued":
        return "Waiting for its device"
    unit = _UNITS[now.kind]
    parts = [f"{now.done:,} of {count(now.total, unit)}"] if now.total else [plain(now.message) or "Starting"]
    if now.cells_per_second:
        rate = now.cells_per_second
        parts.append(f"{rate:.1f} {unit}s a second" if rate >= 1 else f"{duration(1 / rate)} a {unit}")
    if now.eta_seconds is not None:
        parts.append(f"{duration(now.eta_seconds)} to go")
    if now.cancel_asked is not None:
        parts.append(f"stopping after the running {unit}")
    return " · ".join(parts)


def past() -> None:
    """Jobs that have ended; what is missing of a failed, lost or cancelled one can be asked for again."""
    ended = [job for job in list_jobs() if not job.is_live]
    if not ended:
        return
    st.subheader("Past jobs", anchor=False)
    for job in ended[:MOST_PAST]:
        with st.expander(f"Job {job.id} · {job.state} · {plain(job.title)}", icon=_MARKS.get(job.state)):
            took = "" if job.started is None or job.ended is None else f", took {duration(job.ended - job.started)}"
            st.markdown(
                f"{plain(job.message)}  \nAsked {when(job.created)}{took}; "
                f"{job.done:,} of {count(job.total, _UNITS[job.kind])}."
            )
            if job.state != "done" and st.button("Resume", key=f"resume-{job.id}"):
                resume(job.id)
                st.rerun()
            if st.toggle("Show the log", key=f"log-{job.id}"):
                st.code(read_log(job.id, max_bytes=8000) or "The log is empty.", language=None, wrap_lines=True)


_MARKS = {"done": "✅", "failed": "❌", "cancelled": "⏹️", "lost": "⚠️"}
