"""Fusion: does combining a TR-strong and a TL-strong checkpoint help, beyond ensembling?"""

from __future__ import annotations

import streamlit as st

from icl_core.errors import StudyError
from pages.fusion import chart, computed, controls, notes
from pages.fusion.computed import Asked, Comparison
from pages.fusion.tabs import TABS, Screen
from pages.ui.data import cached
from pages.ui.panels import blocks, frame
from pages.ui.panels.tabs import draw_tabs
from pages.ui.words.written import reported


@st.fragment
def laboratory(asked: Asked, found: Comparison) -> None:
    """Slider, chart and tabs: moving w reruns these alone."""
    with reported(st.stop):
        view, weight = controls.tasks_and_weight(found)
        chart.chart(asked, found, view, weight=weight)
        notes.below_chart(found)
        draw_tabs(TABS, Screen(asked, found, view, weight), key="fusion_part")


frame.heading("Fusion", "Does combining a TR-strong and a TL-strong checkpoint help, beyond ensembling?")
with reported():
    study = blocks.study_or_stop()
    room = st.container()
    asked = controls.ask(study)
    try:
        found = computed.comparison(asked)
        controls.keep_members(found)
        with room:
            notes.finding(asked, found)
    except StudyError as error:
        notes.missing(error)
    else:
        blocks.remarks(cached.collected(study).told)
        laboratory(asked, found)
        notes.how_computed(asked, found)
