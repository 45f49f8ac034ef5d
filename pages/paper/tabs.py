"""The panels of the page, one of which is shown: the paper's figures, its tables, and where paper and code differ."""

from __future__ import annotations

from functools import partial

from pages.paper import figures, tables
from pages.paper.computed import PaperView
from pages.ui.panels.tabs import Tab

__all__ = ["PANELS", "PANEL_NAMES"]

PANELS: tuple[Tab[PaperView], ...] = (
    Tab("Fig. 1", figures.abilities),
    Tab("Fig. 2", figures.intensity_and_occurrence),
    Tab("Fig. 3", figures.against_r),
    *(Tab(item, partial(figures.by_factor, item=item)) for item in ("Fig. 4", "Fig. 5", "Fig. 6")),
    Tab("Tables 1, 2", tables.accuracies),
    Tab("Table 3", tables.ablation),
    Tab("Table 7", tables.sensitivity),
    Tab("Paper and code", tables.code_differences),
)
"""In their order."""

PANEL_NAMES = tuple(panel.name for panel in PANELS)
