"""What the paper page says around its panels: the finding, where paper and code differ, how it is computed."""

from __future__ import annotations

import streamlit as st

from icl_core.registry.paper import CODE_DIFFERENCES, PAPER_MODELS
from pages.paper import sentences
from pages.paper.computed import PaperView, roles
from pages.ui.controls.analysis import MEASURE_TITLES
from pages.ui.panels import blocks
from pages.ui.words.written import count, plain

__all__ = ["differences_of", "finding", "how_computed"]


def finding(seen: PaperView) -> None:
    """The page's sentence."""
    here, _ = roles(seen, tuple(PAPER_MODELS))
    blocks.finding(sentences.finding(here, seen.side.correlation))


def differences_of(item: str) -> None:
    """Where paper and code differ on this figure or table, and which of them is shown."""
    mine = [difference for difference in CODE_DIFFERENCES if item in difference.items]
    if mine:
        with st.expander(f"Where the paper and its code differ here, and which one is shown ({len(mine)})"):
            for difference in mine:
                st.markdown(sentences.differing(difference))


def how_computed(seen: PaperView) -> None:
    """Options, sizes, exclusions."""
    with st.expander("How this is computed"):
        st.markdown(sentences.how_computed(seen.choice, seen.epsilon))
        st.caption(f"Measure: {MEASURE_TITLES[seen.view.measure].lower()}; label score: {seen.view.normalisation}.")
    blocks.left_out(seen.side.found.left_out)
    if seen.side.found.problems:
        with st.expander(f"{count(len(seen.side.found.problems), 'model')} not shown"):
            for model, problem in seen.side.found.problems.items():
                st.markdown(f"- **{plain(model)}**: {plain(problem)}")
