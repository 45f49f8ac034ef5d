"""Evaluate: what will it cost, and is it running?"""

from __future__ import annotations

import streamlit as st

from icl_core.errors import ObservatoryError
from pages.evaluate import form, jobs_view, opening, preflight, timeline
from pages.ui.controls import selection
from pages.ui.panels import frame
from pages.ui.words.written import plain, reported

frame.heading("Evaluate", "What will it cost, and is it running?")
with reported():
    opening.draw()
    form.models_and_checkpoints()
    spot = st.container()
    form.tasks()
    form.settings()
    run = form.run_options()
    study = None
    try:
        study = form.study_to_run(run)
        with spot:
            timeline.draw(study, selection.current_choice())
        preflight.box(study, run)
    except ObservatoryError as error:
        spot.info(plain(str(error)))
    jobs_view.live(study)
    jobs_view.past()
