"""Home: what can I learn here, and what is already computed?"""

from __future__ import annotations

import streamlit as st

from pages.home import chart, computed, controls, overview, sentences
from pages.ui.panels import blocks, frame
from pages.ui.words import findings
from pages.ui.words.written import reported

frame.heading(
    "ICL Observatory",
    "How in-context learning emerges during pre-training: recognising a task from its inputs (TR), "
    "and learning it from its labels (TL).",
)
with reported():
    found = computed.shown_curves()
    if isinstance(found, computed.NoCurves):
        st.info(sentences.no_curves(found.model))
    else:
        blocks.finding(findings.curves_sentence(found.curves, found.moments))
        chart.curves(found)
        st.caption(findings.band_sentence(found.curves))
    controls.doors()
    overview.stored()
    overview.recent_jobs()
