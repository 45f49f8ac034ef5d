"""Paper: what did arXiv 2406.14022 report, and what do we get?"""

from __future__ import annotations

import streamlit as st

from pages.paper import computed, controls, missing, notes
from pages.ui.controls.analysis import epsilon_control
from pages.ui.panels import frame
from pages.ui.words.written import reported

missing.follow()
frame.heading("Paper", "What did the paper report, and what do we get?")
with reported():
    finding = st.container()
    panel = controls.panel_control()
    epsilon = epsilon_control()
    view, axis = controls.view_controls()
    body = st.container()
    chosen, further = controls.stand_ins()
    seen = computed.observe(view, axis, epsilon, chosen=chosen, further=further)
    with finding:
        notes.finding(seen)
    with body:
        panel.body(seen)
    notes.how_computed(seen)
