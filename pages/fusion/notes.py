"""What the fusion page says around its chart: the finding, what the marks are, what is missing, how it is computed."""

from __future__ import annotations

import streamlit as st

from icl_core.errors import StudyError
from pages.fusion import computed, sentences
from pages.fusion.computed import Asked, Comparison
from pages.ui.panels import blocks
from pages.ui.words.written import plain

__all__ = ["below_chart", "finding", "how_computed", "missing"]


def finding(asked: Asked, found: Comparison) -> None:
    """The page's sentence."""
    against = {
        line.entry.kind: computed.gains(asked, found.main.entry, line.entry)
        for line in found.of_kind("best gold", "control")
    }
    blocks.finding(sentences.finding(asked, found, against))


def below_chart(found: Comparison) -> None:
    """What the marks and the bands are, and on which tasks no member earned a weight."""
    for said in filter(None, (sentences.below_chart(found), sentences.equal_for_want(found))):
        st.caption(said)


def missing(error: StudyError) -> None:
    """The state in which results do not line up."""
    st.info(plain(str(error)))
    st.page_link("pages/evaluate/page.py", label="Evaluate what is missing")


def how_computed(asked: Asked, found: Comparison) -> None:
    """The equations behind the page."""
    with st.expander("How this is computed"):
        st.latex(r"\hat y = \arg\max_y\; w\,P_{TR}^{\mathrm{random}}(y|x) + (1-w)\,P_{TL}^{\mathrm{abstract}}(y|x)")
        st.latex(
            r"w = \frac{[\mathrm{Acc}_{TR} - b]_+}{[\mathrm{Acc}_{TR} - b]_+ + [\mathrm{Acc}_{TL} - b]_+}, \quad b ="
            r" 1/|\mathcal{Y}|"
        )
        st.markdown(sentences.how_computed(found, asked.normalisation))
