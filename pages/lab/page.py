"""Lab: what makes ICL emerge, and what makes it fade?"""

from __future__ import annotations

from pages.lab import form, found, jobs_view, minimal, tabs, trained
from pages.ui.panels import frame
from pages.ui.panels.tabs import Tab, draw_tabs
from pages.ui.words.written import reported


def train(shown: None) -> None:
    """The form, and the runs that are trained now or were."""
    form.draw()
    jobs_view.live()
    jobs_view.past()


TABS: tuple[Tab[None], ...] = (
    Tab("Trained runs", lambda shown: trained.draw(found.groups(), tabs.draw)),
    Tab("Train a run", train),
    Tab("Minimal model", lambda shown: minimal.draw()),
)

frame.heading("Lab", "What makes in-context learning emerge, and what makes it fade?")
with reported():
    draw_tabs(TABS, None, key=form.TAB_KEY)
