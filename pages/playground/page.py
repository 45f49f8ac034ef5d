"""Playground: what do these two checkpoints say about my sentence?"""

from __future__ import annotations

import streamlit as st

from icl_core.errors import ObservatoryError
from pages.playground import chart, controls, notes, worker
from pages.playground.tabs import TABS, Conversation
from pages.ui.panels import frame
from pages.ui.panels.tabs import draw_tabs
from pages.ui.words.written import plain, reported

frame.heading("Playground", "What do these two checkpoints say about my sentence?")
with reported():
    tr, tl = controls.members()
    answers = st.container()
    with st.expander("Demonstrations and labels", expanded=True):
        shown = controls.demonstrations()
        notes.first_of(shown)
    with answers:
        question = controls.question(tr, tl, shown)
        reply = None
        try:
            reply = worker.answer(question)
        except ObservatoryError as error:
            st.info(plain(str(error)))
        if reply is not None:
            chart.answers(question, reply)
    draw_tabs(TABS, Conversation(question, reply), key="play_tab")
