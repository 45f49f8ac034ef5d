"""What a study would cost: counted at once if that is quick, else by a job whose progress stands in its place.

It draws no numbers; each page puts the estimate into words.
"""

from __future__ import annotations

import json
import time
from functools import partial

import streamlit as st

from icl_core.errors import StoppedError
from icl_core.evaluation.cost import Estimate, estimate, estimate_from_plain, takes_long
from icl_core.evaluation.job_table import Job
from icl_core.evaluation.jobs import read_result, study_of_job, submit_estimate
from icl_core.evaluation.study import Study
from pages.ui.data import cached
from pages.ui.panels import jobs
from pages.ui.words.written import plain

__all__ = ["cost_of"]

QUICK_SECONDS = 5.0


@cached.kept(cached.state_of_store, max_entries=32, show_spinner="Counting tokens on a sample of the prompts")
def _quick(study: Study, device: str) -> Estimate | None:
    """The cost without asking the Hub; None if it cannot be counted in a few seconds."""
    end = time.monotonic() + QUICK_SECONDS
    try:
        return estimate(study, cached.store(), device=device, should_stop=lambda: time.monotonic() > end)
    except StoppedError:
        return None


def cost_of(study: Study, *, key: str, device: str = "auto", ask_hub: bool = False) -> Estimate | None:
    """The cost of a study as far as it is known; draws the buttons that ask for more, and how far the answer is.

    Args:
        study: a valid one.
        key: of its buttons, unique on the page.
        device: on which it would be evaluated.
        ask_hub: whether to offer asking the Hub how much there is to download.

    Returns:
        None until a job has counted it.

    Raises:
        ObservatoryError: the study is not valid.
    """
    known = None
    if not takes_long(study):
        known = _quick(study, device)
    asked = [job for job in jobs.listed(quiet=True) if _is_of(job, study, device)]
    answer, is_old = _answered(asked, known)
    known = answer or known
    if (running := next((job for job in asked if job.is_live), None)) is not None:
        jobs.live([running], "Cost question")
        return known
    if (failed := next(iter(asked), None)) is not None and failed.state == "failed":
        st.warning(plain(failed.message))
    if known is None or is_old:
        st.caption(
            "Results have come since this was counted."
            if is_old
            else "Counting what this study costs takes longer than a page can wait."
        )
        if st.button("Count the cost", key=f"count-cost-{key}"):
            jobs.start(partial(submit_estimate, study, device=device, offline=True))
    wanted = ask_hub and (known is None or known.download_bytes is None)
    if wanted and st.button("Ask the Hub how much there is to download", key=f"ask-hub-{key}"):
        jobs.start(partial(submit_estimate, study, device=device, offline=False))
    return known


def _is_of(job: Job, study: Study, device: str) -> bool:
    return job.kind == "estimate" and study_of_job(job) == study and json.loads(job.payload).get("device") == device


def _answered(asked: list[Job], now: Estimate | None) -> tuple[Estimate | None, bool]:
    """The newest answer of a job, and whether results have come since; None if the page itself knows better."""
    for job in asked:
        found = estimate_from_plain(read_result(job.id)) if job.state == "done" else None
        if found is not None and now is None:
            return found[0], found[1] != cached.store().generation()
        if found is not None and now is not None and found[0].n_new == now.n_new:
            return found[0], False
    return None, False
