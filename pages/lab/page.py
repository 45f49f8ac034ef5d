"""Lab: what makes ICL emerge, and what makes it fade?"""

from __future__ import annotations

from pages.lab import controls, minimal_model, trained_runs, training
from pages.ui.panels import frame
from pages.ui.panels.tabs import Tab, draw_tabs
from pages.ui.words.written import reported

TABS: tuple[Tab[None], ...] = (
    Tab("Trained runs", trained_runs.draw),
    Tab("Train a run", training.draw),
    Tab("Minimal model", minimal_model.draw),
)

frame.heading("Lab", "What makes in-context learning emerge, and what makes it fade?")
with reported():
    draw_tabs(TABS, None, key=controls.TAB_KEY)
