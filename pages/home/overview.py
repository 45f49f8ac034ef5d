"""What is computed, as a grid of models and tasks, and the latest jobs."""

from __future__ import annotations

from typing import Any

import streamlit as st

from icl_core.evaluation.coverage import Coverage, coverage
from icl_core.evaluation.job_table import Job
from icl_core.evaluation.jobs import study_of_job
from pages.home import sentences
from pages.home.vega import grid_chart
from pages.ui.data import cached
from pages.ui.panels import blocks, frame, jobs
from pages.ui.words import job_words
from pages.ui.words.written import count, task_title, when

__all__ = ["recent_jobs", "square", "stored"]

MOST_JOBS = 5


def stored() -> None:
    """How many checkpoints are complete, for each model and task; nothing if nothing was stored or asked for."""
    summaries = cached.summaries()
    studies = (study_of_job(job) for job in jobs.listed(quiet=True) if job.kind == "evaluate")
    found = coverage((each.spec for each in summaries), (study for study in studies if study is not None))
    if not found:
        return
    st.header("What is computed", anchor=False)
    n_models = len({each.model for each in found})
    st.caption(sentences.stored(n_cells=len(summaries), n_models=n_models))
    blocks.chart(
        grid_chart([square(each) for each in found], frame.palette()),
        key="home-grid",
        alt=f"Stored results of {count(n_models, 'model')} by task: complete, partial or missing",
    )


def square(each: Coverage) -> dict[str, Any]:
    """One model on one task, as the grid draws it."""
    return {
        "model": each.model,
        "task": task_title(each.task),
        "state": each.state,
        "text": sentences.complete_of_all(each),
    }


def recent_jobs() -> None:
    """The latest jobs in a table; estimates of a cost are left out."""
    last = [job for job in jobs.listed() if job.kind != "estimate"][:MOST_JOBS]
    if not last:
        return
    st.header("Recent jobs", anchor=False)
    st.dataframe([_job_row(job) for job in last], hide_index=True, alt="Recent jobs", key="home-jobs")


def _job_row(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "what": job.title,
        "state": job.state,
        "done": job_words.done_of_all(job),
        "asked": when(job.created),
        "says": job.message,
    }
