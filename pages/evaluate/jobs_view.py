"""All jobs on the evaluate page, whatever their kind: what runs, with its current cell and log, and what has ended."""

from __future__ import annotations

import streamlit as st

from icl_core.evaluation.job_table import Job
from icl_core.evaluation.jobs import study_of_job
from icl_core.evaluation.study import Study
from pages.ui.panels import jobs
from pages.ui.words.written import plain

__all__ = ["live", "past"]


def live(study: Study | None) -> None:
    """Every waiting or running job, with its progress, but the cost question of this study, which stands above."""
    known = jobs.listed()
    jobs.live([job for job in known if job.kind != "estimate" or study_of_job(job) != study], "Job", _cell_and_log)


def _cell_and_log(now: Job) -> None:
    if now.current:
        st.caption(plain(now.current))
    with st.expander("End of the log"):
        jobs.log_end(now)


def past() -> None:
    """Every job that has ended."""
    jobs.past(jobs.listed(quiet=True), "Job")
