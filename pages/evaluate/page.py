"""Evaluate: what will it cost, and is it running?"""

from __future__ import annotations

import streamlit as st

from icl_core.errors import ObservatoryError
from pages.evaluate import chart, computed, controls, cost, study_file, task_file
from pages.ui.controls import selection
from pages.ui.panels import frame, jobs
from pages.ui.words.written import plain, reported

frame.heading("Evaluate", "What will it cost, and is it running?")
with reported():
    study_file.draw()
    controls.models_and_checkpoints()
    place = st.container()
    controls.tasks()
    task_file.draw()
    controls.settings()
    run = controls.run_options()
    study = None
    try:
        study = computed.study_to_run(run)
        with place:
            chart.checkpoints(study, selection.current_choice())
        cost.box(study, run)
    except ObservatoryError as error:
        place.info(plain(str(error)))
    jobs.live(computed.listed_jobs(study), "Job", jobs.cell_and_log)
    jobs.past(jobs.listed(quiet=True), "Job")
