"""Lab: what makes ICL emerge, and what makes it fade?"""

from __future__ import annotations

import streamlit as st

from pages.lab import details, form, found, jobs_view, minimal, trained
from pages.ui import frame
from pages.ui.words import reported

frame.heading("Lab", "What makes in-context learning emerge, and what makes it fade?")
with reported():
    runs_tab, train_tab, minimal_tab = st.tabs(
        ["Trained runs", "Train a run", "Minimal model"], key=form.TAB_KEY, on_change="rerun", bind="query-params"
    )
    with runs_tab:
        if runs_tab.open:
            trained.draw(found.groups(), details.draw)
    with train_tab:
        if train_tab.open:
            form.draw()
            jobs_view.live()
            jobs_view.past()
    with minimal_tab:
        if minimal_tab.open:
            minimal.draw()
