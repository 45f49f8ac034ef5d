"""Home: what can I learn here, and what is already computed?"""

from __future__ import annotations

from pages.home import parts
from pages.ui.panels import frame
from pages.ui.words.written import reported

frame.heading(
    "ICL Observatory",
    "How in-context learning emerges during pre-training: recognising a task from its inputs (TR), "
    "and learning it from its labels (TL).",
)
with reported():
    parts.live_curves()
    parts.doors()
    parts.stored()
    parts.recent_jobs()
