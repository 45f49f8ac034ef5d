"""Trainings as they run and as they ended: steps, live curves, cancel, resume, the end of the log."""

from __future__ import annotations

import json

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation.jobs import Job, cancel, list_jobs, read_job, read_log, resume
from icl_core.pretraining.lab.config import LabConfig, config_from_json
from icl_core.pretraining.lab.summary import group_runs
from pages.lab import found, trained
from pages.ui import blocks, charts_lab, frame
from pages.ui.words import count, duration, plain, reported, when

__all__ = ["configs_in_work", "live", "past"]

MOST_PAST = 10


def _trainings() -> list[Job]:
    return [job for job in list_jobs() if job.kind == "train" and _config(job) is not None]


def _config(job: Job) -> LabConfig | None:
    """What a job trains, None where it is no lab run."""
    try:
        return config_from_json(json.dumps(json.loads(job.payload)["config"]))
    except (ObservatoryError, KeyError, TypeError, ValueError):
        return None


def configs_in_work() -> list[LabConfig]:
    """The configurations of waiting and running trainings."""
    return [config for job in _trainings() if job.is_live and (config := _config(job)) is not None]


def live() -> None:
    """Every waiting or running training, with its progress and its curves so far."""
    for job in reversed([job for job in _trainings() if job.is_live]):
        _progress(job)


def _progress(job: Job) -> None:
    @st.fragment(run_every=1, key=f"training-{job.id}")
    def progress(job_id: int) -> None:
        with reported():
            now = read_job(job_id)
            if not now.is_live:
                st.rerun()
            _live_box(now)

    progress(job.id)


def _live_box(now: Job) -> None:
    with st.container(border=True, key=f"labjob-{now.id}"):
        st.markdown(f"**Training {now.id}** · {plain(now.title)}")
        st.progress(min(1.0, now.done / now.total) if now.total else 0.0, text=_words(now))
        asked = now.cancel_asked is not None
        if st.button("Cancelling" if asked else "Cancel", key=f"labcancel-{now.id}", disabled=asked):
            cancel(now.id)
            st.rerun(scope="fragment")
        _curves_so_far(now)


def _curves_so_far(now: Job) -> None:
    config = _config(now)
    run = found.run_of(config) if config is not None and now.state == "running" else None
    if run is None or len(run.curves["step"]) < 2:
        return
    group = group_runs([run])[0]
    figure = charts_lab.series_chart(
        trained.curve_rows(group, ["ICL", "CIWL", "Flip"]),
        trained.axis_of([group]),
        frame.palette(),
        look=charts_lab.Look(height=150),
    )
    blocks.chart(figure, key=f"lab-live-{now.id}", alt=f"ICL, CIWL and Flip up to step {run.last_step:,}")


def _words(now: Job) -> str:
    if now.state == "queued":
        return "Waiting for the processor"
    parts = [f"{now.done:,} of {count(now.total, 'step')}"] if now.total else [plain(now.message) or "Starting"]
    if now.cells_per_second:
        parts.append(f"{now.cells_per_second:,.0f} steps a second")
    if now.eta_seconds is not None:
        parts.append(f"{duration(now.eta_seconds)} to go")
    if now.cancel_asked is not None:
        parts.append("stopping; what is trained is kept")
    return " · ".join(parts)


def past() -> None:
    """Trainings that have ended; a failed, lost or cancelled one goes on from its last saved state."""
    ended = [job for job in _trainings() if not job.is_live]
    if not ended:
        return
    st.subheader("Past trainings", anchor=False)
    for job in ended[:MOST_PAST]:
        with st.expander(f"Training {job.id} · {job.state} · {plain(job.title)}", icon=_MARKS.get(job.state)):
            took = "" if job.started is None or job.ended is None else f", took {duration(job.ended - job.started)}"
            st.markdown(
                f"{plain(job.message)}  \nAsked {when(job.created)}{took}; {job.done:,} of {count(job.total, 'step')}."
            )
            if job.state != "done" and st.button("Resume", key=f"labresume-{job.id}"):
                resume(job.id)
                st.rerun()
            if st.toggle("Show the log", key=f"lablog-{job.id}"):
                st.code(read_log(job.id, max_bytes=8000) or "The log is empty.", language=None, wrap_lines=True)


_MARKS = {"done": "✅", "failed": "❌", "cancelled": "⏹️", "lost": "⚠️"}
