"""Playground: what do these two checkpoints say about my sentence?"""

from __future__ import annotations

import streamlit as st

from icl_core.errors import ObservatoryError
from pages.playground import form, views, worker
from pages.ui.panels import frame
from pages.ui.words.written import legible, plain, reported

frame.heading("Playground", "What do these two checkpoints say about my sentence?")
with reported():
    tr, tl = form.members()
    room = st.container()
    with st.expander("Demonstrations and labels", expanded=True):
        asked = form.demonstrations()
        for text, label in asked.rows[:3]:
            st.text(f"{legible(text)}  →  {legible(label)}")
        if len(asked.rows) > 3:
            st.caption(f"and {len(asked.rows) - 3} more")
    with room:
        sentence = form.text(asked)
        offline = form.network((tr, tl))
        question = form.question(tr, tl, asked, texts=(sentence,), offline=offline)
        reply = None
        try:
            reply = worker.answer(question)
        except ObservatoryError as error:
            st.info(plain(str(error)))
        if reply is not None:
            views.answers(question, reply)
    names = ["Prompts", "A file of sentences"]
    for tab, name in zip(st.tabs(names, key="play_tab", on_change="rerun", bind="query-params"), names, strict=True):
        with tab:
            if tab.open and name == "Prompts" and reply is not None:
                views.prompts(reply)
            if tab.open and name != "Prompts":
                views.batch(question)
