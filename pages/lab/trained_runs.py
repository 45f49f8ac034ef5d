"""The tab of trained runs: what they came to, their curves, and the tabs below."""

from __future__ import annotations

import streamlit as st

from icl_core.pretraining.lab.config import LabConfig
from icl_core.pretraining.lab.summary import expected_seconds
from pages.lab import chart, computed, controls, notes, sentences
from pages.lab.computed import DrawnRuns
from pages.lab.tabs import TABS
from pages.ui.panels import blocks
from pages.ui.panels.tabs import draw_tabs

__all__ = ["draw"]


def draw(shown: None) -> None:
    """Everything of the tab."""
    groups = computed.groups()
    if not groups:
        st.info(sentences.nothing_trained(expected_seconds(LabConfig())))
        return
    finding = st.container()
    chosen = controls.chosen_runs(groups)
    if not chosen.groups:
        st.info("Choose at least one configuration.")
        return
    with finding:
        blocks.finding(sentences.finding(chosen.groups))
    drawn, rows = chart.curves(chosen)
    st.caption(sentences.lab_and_paper(computed.verdicts()))
    draw_tabs(TABS, DrawnRuns(chosen, groups, drawn, rows), key="labpart")
    notes.how_runs_are_computed(chosen)
