"""What the study will cost, what that rests on, and the button that starts it."""

from __future__ import annotations

from functools import partial

import streamlit as st

from icl_core.evaluation import jobs as table
from icl_core.evaluation.coverage import cell_counts
from icl_core.evaluation.study import Study
from pages.evaluate import sentences
from pages.evaluate.computed import RunOptions
from pages.ui.data import cached
from pages.ui.panels import blocks, jobs
from pages.ui.panels.costs import cost_of
from pages.ui.words.written import plain

__all__ = ["box"]


def box(study: Study, run: RunOptions) -> None:
    """The cost of the missing cells, and the start."""
    counts = cell_counts(cached.completeness(study))
    with st.container(border=True, key="preflight"):
        st.markdown(sentences.study_as_product(study, counts.n_cells))
        left, right = st.columns([3, 2])
        with right:
            on_hub = not run.offline and any(ref.source == "hub" for ref in study.checkpoints)
            spot = st.container()
            cost = cost_of(study, key="study", device=run.device, ask_hub=on_hub)
            for sentence in cost.basis if cost else ():
                spot.caption(plain(sentence))
        with left:
            st.markdown(sentences.cost(counts, cost))
        blocks.remarks(cost.rows if cost else ())
        _start(study, run, counts.n_missing)


def _start(study: Study, run: RunOptions, n_missing: int) -> None:
    """The button; while a job evaluates exactly this study, how far it is stands beside it."""
    job = jobs.live_of(study)
    with st.container(horizontal=True, vertical_alignment="center"):
        if jobs.button(sentences.start_label(n_missing), job, key="start", disabled=not n_missing):
            jobs.start(partial(table.submit, study, device=run.device, offline=run.offline))
        if job is not None:
            jobs.status(job)
