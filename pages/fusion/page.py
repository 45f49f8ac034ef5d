"""Fusion: does combining a TR-strong and a TL-strong checkpoint help, beyond ensembling?"""

from __future__ import annotations

import streamlit as st

from icl_core.errors import StudyError
from pages.fusion import compute, details, parts
from pages.fusion.compute import Asked, Comparison
from pages.ui import blocks, cached, frame
from pages.ui.tabs import draw_tabs
from pages.ui.words import reported


@st.fragment
def laboratory(asked: Asked, found: Comparison) -> None:
    """Slider, chart and tabs: moving w reruns these alone."""
    with reported(st.stop):
        view, weight = parts.tasks_and_weight(found)
        parts.chart(asked, found, view, weight=weight)
        parts.notes(found)
        draw_tabs(details.TABS, details.Screen(asked, found, view, weight), key="fusion_part")


frame.heading("Fusion", "Does combining a TR-strong and a TL-strong checkpoint help, beyond ensembling?")
with reported():
    study = blocks.study_or_stop()
    room = st.container()
    asked = parts.ask(study)
    try:
        found = compute.comparison(asked)
        parts.keep_members(found)
        with room:
            parts.finding(asked, found)
    except StudyError as error:
        parts.missing(error)
    else:
        blocks.remarks(cached.collected(study).told)
        laboratory(asked, found)
        details.how_computed(asked, found)
