"""Paper: what did arXiv 2406.14022 report, and what do we get?"""

from __future__ import annotations

import streamlit as st

from pages.paper import figures, fill, parts, tables
from pages.ui.controls.analysis import epsilon_control
from pages.ui.panels import frame
from pages.ui.words.written import reported

PANELS = {**figures.PANELS, **tables.PANELS}

fill.follow()
frame.heading("Paper", "What did the paper report, and what do we get?")
with reported():
    sentence = st.container()
    panel = st.segmented_control(
        "Panel",
        list(PANELS),
        default="Fig. 2",
        required=True,
        key="panel",
        bind="query-params",
        label_visibility="collapsed",
    )
    epsilon = epsilon_control()
    view, look = parts.view_controls()
    body = st.container()
    chosen, further = parts.stand_ins()
    seen = parts.observe(view, look, epsilon, chosen=chosen, further=further)
    with sentence:
        parts.finding(seen)
    with body:
        PANELS[panel](seen)
    parts.how_computed(seen)
