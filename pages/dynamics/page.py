"""Dynamics: how do ICL, TR and TL develop over pre-training?"""

from __future__ import annotations

import streamlit as st

from pages.dynamics import chart, computed, controls, notes
from pages.dynamics.tabs import TABS
from pages.ui.panels import blocks, frame
from pages.ui.panels.tabs import draw_tabs
from pages.ui.words.written import reported

frame.heading("Dynamics", "How do ICL, TR and TL develop over pre-training?")
with reported():
    study = blocks.study_or_stop()
    found = blocks.results_or_stop(study)
    finding = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom", key="dynamics-controls"):
        view = controls.view_controls(found)
        style = controls.style_controls(found)
    shown = computed.compute(study, found, view=view, style=style)
    if shown.curves:
        with finding:
            notes.finding(shown)
        chart.panels(shown)
        notes.left_out(shown)
        draw_tabs(TABS, shown, key="tab")
        notes.how_computed(shown)
    else:
        notes.nothing_complete(study)
