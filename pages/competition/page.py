"""Competition: do TR and TL really compete, and when?"""

from __future__ import annotations

import streamlit as st

from pages.competition import compared, details, parts
from pages.ui import blocks, cached, frame
from pages.ui.words import reported

frame.heading("Competition", "Do task recognition and task learning really compete, and when?")
with reported():
    study = blocks.study_or_stop()
    models = blocks.models_or_stop(study)
    sentence = st.container()
    epsilon = parts.epsilon_controls()
    with st.container(horizontal=True, vertical_alignment="bottom", key="competition-controls"):
        model = parts.model_control(models)
        with sentence:
            found = blocks.results_or_stop(cached.of_model(study, model))  # the others' are read where they are shown
        view = parts.view_controls(found, model)
        look = parts.look_controls(found, model)
    seen = parts.observe(study, found, model=model, view=view, look=look, epsilon=epsilon)
    with sentence:
        parts.finding(seen)
    parts.panels(seen)
    parts.left_out(seen)
    tabs = st.tabs(
        ["Changes", "Epsilon", "Tasks", "What changed", "Table and downloads", "Models compared"],
        key="part",
        on_change="rerun",
        bind="query-params",
    )
    for tab, draw in zip(tabs, (*details.PARTS, compared.models), strict=True):
        with tab:
            if draw is details.changed:
                details.pick_interval(found, seen)
            if tab.open:
                draw(study, found, seen, view)
    parts.how_computed(seen)
