"""The sentences of the competition page: its finding, what is left out, and how it is computed."""

from __future__ import annotations

import streamlit as st

from icl_core.analysis.competition import CLEAR_CERTAINTY
from pages.competition.computed import ModelCompetition
from pages.ui.panels import blocks
from pages.ui.words import findings
from pages.ui.words.written import checkpoint_name, percent, plain

__all__ = ["finding", "how_computed", "left_out"]


def finding(competing: ModelCompetition) -> None:
    """The page's sentence."""
    blocks.finding(findings.competition_sentence(competing.result, competing.floor, competing.at_epsilon))


def left_out(competing: ModelCompetition) -> None:
    """Which checkpoints the intervals pass over, and why."""
    reasons = {
        f"{competing.model} {checkpoint_name(ref)}": "cells of TR or TL are missing; the interval joins its neighbours."
        for ref in competing.pair.partial
    }
    reasons |= {
        f"{competing.model} {checkpoint_name(ref)}": reason for ref, reason in competing.curves.excluded.items()
    }
    blocks.left_out(reasons)


def how_computed(competing: ModelCompetition) -> None:
    """The equations and the noise floor."""
    floor = competing.floor
    with st.expander("How this is computed"):
        st.latex(
            r"C^H_i = [\,\Delta TR_i \cdot \Delta TL_i < 0 \wedge |\Delta TR_i| > \varepsilon "
            r"\wedge |\Delta TL_i| > \varepsilon\,]"
        )
        st.latex(r"C^S_i = C^H_i \cdot |\mathrm{fall}_i| / |\mathrm{rise}_i|")
        st.latex(r"R_i = \sum_{j \le i} C^S_j / \sum_j C^S_j")
        st.markdown(
            "Equations 1 to 4 of arXiv 2406.14022 on the mean trajectory: averaged over tasks and seeds first, then "
            "compared. Comparisons are strict, and differences that equal epsilon up to rounding do not exceed it. "
            "**Noise alone**: each example's change of correctness is centred within its task, seeds and examples are "
            f"resampled {len(floor.null_ratio):,} times with one draw for both abilities and all intervals, and "
            "the equations are computed on every draw; p is the share of draws with at least the observed ratio. An "
            f"interval is **clear** where it competes in {percent(CLEAR_CERTAINTY, 0)} of draws without centring. One "
            f"standard error of a change is {percent(floor.standard_error)}. **What p does not tell**: the null "
            "is that nothing changes at all. If one ability really moves and the other only wavers by chance, an "
            "interval competes whenever the chance change goes the other way, and the intensity then divides a real "
            "change by noise. So check that both curves move."
        )
        if floor.n_seeds == 1:
            st.warning("With one seed the noise between seeds is unknown: the p-values are too small.")
        st.caption(plain(findings.band_sentence(competing.curves)))
