"""What the study will cost, what that rests on, and the button that starts it."""

from __future__ import annotations

import streamlit as st

from icl_core.evaluation import jobs
from icl_core.evaluation.cost import Estimate, estimate
from icl_core.evaluation.study import Study, study_from_json, study_to_json
from pages.evaluate.form import RunOptions, summary
from pages.ui import blocks, cached
from pages.ui.words import byte_count, count, duration, plain, short_number

__all__ = ["box"]


@st.cache_data(max_entries=32, show_spinner="Counting tokens on a sample of the prompts")
def _estimate(study: str, device: str, offline: bool, generation: str, files: str) -> Estimate:
    return estimate(study_from_json(study), cached.store(), device=device, offline=offline)


def box(study: Study, run: RunOptions) -> None:
    """The cost of the missing cells, and the start."""
    with st.container(border=True, key="preflight"):
        ask = st.session_state.get("ask_hub", False) and not run.offline
        files = cached.state_of_files(study)
        cost = _estimate(study_to_json(study), run.device, not ask, cached.generation(), files)
        st.markdown(f"**{summary(study)}** = {count(cost.n_cells, 'cell')}")
        left, right = st.columns([3, 2])
        with left:
            st.markdown(_lines(cost))
        with right:
            for sentence in cost.basis:
                st.caption(plain(sentence))
            if not run.offline and any(ref.source == "hub" for ref in study.checkpoints):
                st.toggle("Ask the Hub how much there is to download", key="ask_hub")
        blocks.remarks(cost.rows)
        _start(study, run, cost)


def _lines(cost: Estimate) -> str:
    """The cost as a short list."""
    if not cost.n_new:
        return "Every cell is stored already: nothing to compute."
    download = "not asked" if cost.download_bytes is None else byte_count(cost.download_bytes)
    rests = "from cells measured on this machine" if cost.is_calibrated else "a rough guess: nothing measured here yet"
    return (
        f"- **{cost.n_new:,}** to compute, {cost.n_stored:,} stored already\n"
        f"- **{duration(cost.seconds)}**, {rests}\n"
        f"- {count(cost.n_prompts, 'prompt')}, {short_number(round(cost.tokens))} tokens, "
        f"{short_number(cost.tflops)} TFLOPs ({cost.tflops_per_prompt:.3g} a prompt)\n"
        f"- memory {byte_count(cost.memory_bytes)}, disk {byte_count(cost.disk_bytes)}, download {download}"
    )


def _start(study: Study, run: RunOptions, cost: Estimate) -> None:
    label = f"Evaluate {count(cost.n_new, 'cell')}" if cost.n_new else "Nothing to evaluate"
    if st.button(label, type="primary", key="start", disabled=not cost.n_new):
        jobs.submit(study, device=run.device, offline=run.offline)
        st.rerun()
