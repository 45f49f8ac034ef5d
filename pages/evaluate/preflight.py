"""What the study will cost, what that rests on, and the button that starts it."""

from __future__ import annotations

from functools import partial

import streamlit as st

from icl_core.evaluation import jobs as table
from icl_core.evaluation.cost import Estimate
from icl_core.evaluation.study import Study
from icl_core.units import byte_count
from pages.evaluate.form import RunOptions, summary
from pages.ui.data import cached
from pages.ui.panels import blocks, jobs
from pages.ui.panels.costs import cost_of
from pages.ui.words.written import count, duration, plain, short_number

__all__ = ["box"]


def box(study: Study, run: RunOptions) -> None:
    """The cost of the missing cells, and the start."""
    counts = cached.completeness(study).values()
    n_stored, n_cells = sum(done for done, _ in counts), sum(total for _, total in counts)
    with st.container(border=True, key="preflight"):
        st.markdown(f"**{summary(study)}** = {count(n_cells, 'cell')}")
        left, right = st.columns([3, 2])
        with right:
            on_hub = not run.offline and any(ref.source == "hub" for ref in study.checkpoints)
            spot = st.container()
            cost = cost_of(study, key="study", device=run.device, ask_hub=on_hub)
            for sentence in cost.basis if cost else ():
                spot.caption(plain(sentence))
        with left:
            st.markdown(_lines(n_stored, n_cells - n_stored, cost))
        blocks.remarks(cost.rows if cost else ())
        _start(study, run, n_cells - n_stored)


def _lines(n_stored: int, n_new: int, cost: Estimate | None) -> str:
    """The cost as a short list."""
    if not n_new:
        return "Every cell is stored already: nothing to compute."
    counted = f"- **{n_new:,}** to compute, {n_stored:,} stored already"
    if cost is None:
        return counted
    download = "not asked" if cost.download_bytes is None else byte_count(cost.download_bytes)
    words = plain(cost.time_words)
    operations = f"{short_number(cost.tflops)} TFLOPs ({cost.tflops_per_prompt:.3g} per prompt)"
    memory = f"memory {byte_count(cost.memory_bytes)}"
    if not cost.flops:
        operations, memory = "operations not known", "memory not known"
    return (
        f"{counted}\n"
        f"- {words if cost.seconds is None else f'**{duration(cost.seconds)}**, {words}'}\n"
        f"- {count(cost.n_prompts, 'prompt')}, {short_number(round(cost.tokens))} tokens, {operations}\n"
        f"- {memory}, disk {byte_count(cost.disk_bytes)}, download {download}"
    )


def _start(study: Study, run: RunOptions, n_new: int) -> None:
    """The button, and beside it how far the job is that does this study."""
    job = jobs.live_of(study)
    label = f"Evaluate {count(n_new, 'cell')}" if n_new else "Nothing to evaluate"
    with st.container(horizontal=True, vertical_alignment="center"):
        if jobs.button(label, job, key="start", disabled=not n_new):
            jobs.start(partial(table.submit, study, device=run.device, offline=run.offline))
        if job is not None:
            jobs.status(job)
