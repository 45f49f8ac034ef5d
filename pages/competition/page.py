"""Competition: do TR and TL really compete, and when?"""

from __future__ import annotations

import streamlit as st

from pages.competition import chart, computed, controls, notes
from pages.competition.tabs import TABS
from pages.ui.controls.analysis import axis_controls, epsilon_control, view_controls
from pages.ui.panels import blocks, frame
from pages.ui.panels.tabs import draw_tabs
from pages.ui.words.written import reported

frame.heading("Competition", "Do task recognition and task learning really compete, and when?")
with reported():
    study = blocks.study_or_stop()
    models = blocks.models_or_stop(study)
    finding = st.container()
    epsilon = epsilon_control()
    with st.container(horizontal=True, vertical_alignment="bottom", key="competition-controls"):
        model = controls.model_control(models)
        with finding:
            found = blocks.results_or_stop(study, model=model)  # the others' are read where they are shown
        predictions = found.predictions[model]
        view = view_controls(predictions.tasks)
        axis = axis_controls(predictions.checkpoints)
    competing = computed.compute(study, predictions, view=view, axis=axis, epsilon=epsilon)
    with finding:
        notes.finding(competing)
    chart.panels(competing)
    notes.left_out(competing)
    draw_tabs(TABS, competing, key="part")
    notes.how_computed(competing)
