"""What the competition page says around its panels: the finding, what is left out, how it is computed."""

from __future__ import annotations

import streamlit as st

from pages.competition import sentences
from pages.competition.computed import ModelCompetition
from pages.ui.panels import blocks
from pages.ui.words import findings
from pages.ui.words.written import checkpoint_name, plain

__all__ = ["finding", "how_computed", "left_out"]


def finding(competing: ModelCompetition) -> None:
    """The page's sentence."""
    blocks.finding(findings.competition_sentence(competing.result, competing.floor, competing.at_epsilon))


def left_out(competing: ModelCompetition) -> None:
    """Which checkpoints the intervals pass over, and why."""
    passed = dict.fromkeys(competing.pair.partial, findings.PASSED_OVER)
    reasons = {**passed, **competing.curves.excluded}
    blocks.left_out({f"{competing.model} {checkpoint_name(ref)}": reason for ref, reason in reasons.items()})


def how_computed(competing: ModelCompetition) -> None:
    """The equations and the noise floor."""
    with st.expander("How this is computed"):
        st.latex(
            r"C^H_i = [\,\Delta TR_i \cdot \Delta TL_i < 0 \wedge |\Delta TR_i| > \varepsilon "
            r"\wedge |\Delta TL_i| > \varepsilon\,]"
        )
        st.latex(r"C^S_i = C^H_i \cdot |\mathrm{fall}_i| / |\mathrm{rise}_i|")
        st.latex(r"R_i = \sum_{j \le i} C^S_j / \sum_j C^S_j")
        st.markdown(sentences.how_computed(competing.floor))
        if competing.floor.n_seeds == 1:
            st.warning("With one seed the noise between seeds is unknown: the p-values are too small.")
        st.caption(plain(findings.band_sentence(competing.curves)))
