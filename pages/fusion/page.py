"""Fusion: does combining a TR-strong and a TL-strong checkpoint help, beyond ensembling?"""

from __future__ import annotations

import streamlit as st

from icl_core.errors import StudyError
from pages.fusion import compute, details, parts
from pages.fusion.compute import Asked, Shown
from pages.ui import blocks, cached, frame
from pages.ui.words import reported

TABS = ["Tasks", "Cost", "Selection", "Queries", "Mixed parameters", "Table and downloads"]


@st.fragment
def laboratory(asked: Asked, shown: Shown) -> None:
    """Slider, chart and tabs: moving w reruns these alone."""
    with reported(st.stop):
        view, weight = parts.look(shown)
        parts.chart(asked, shown, view, weight)
        parts.notes(shown)
        details.draw(TABS, details.Context(asked, shown, view, weight))


frame.heading("Fusion", "Does combining a TR-strong and a TL-strong checkpoint help, beyond ensembling?")
with reported():
    study = blocks.study_or_stop()
    room = st.container()
    asked = parts.ask(study)
    try:
        shown = compute.shown(asked)
        parts.keep_members(shown)
        with room:
            parts.finding(asked, shown)
    except StudyError as error:
        parts.missing(error)
    else:
        blocks.remarks(cached.collected(study).told)
        laboratory(asked, shown)
        details.how_computed(asked, shown)
