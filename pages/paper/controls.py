"""The controls of the paper page: the panel, the analysis, and which models stand for the paper's."""

from __future__ import annotations

import streamlit as st

from icl_core.registry.paper import PAPER_MODELS
from pages.paper.computed import PaperView
from pages.paper.tabs import PANEL_NAMES, PANELS
from pages.ui.charts.axes import Quantity, ScaleName
from pages.ui.controls import analysis
from pages.ui.controls.pickers import one_of, several_of
from pages.ui.data import compared
from pages.ui.data.view import View
from pages.ui.panels.tabs import Tab

__all__ = ["panel_control", "stand_ins", "view_controls"]

NOBODY = "not in this store"
MOST_FURTHER = 36


def panel_control() -> Tab[PaperView]:
    """Which of the panels is shown."""
    chosen = st.segmented_control(
        "Panel",
        PANEL_NAMES,
        default="Fig. 2",
        required=True,
        key="panel",
        bind="query-params",
        label_visibility="collapsed",
    )
    return PANELS[PANEL_NAMES.index(str(chosen))]


def view_controls() -> tuple[View, tuple[Quantity, ScaleName]]:
    """Measure, label score and axis."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="paper-controls"):
        measure, normalisation = analysis.measure_controls()
        axis = analysis.axis_controls(compared.checkpoints_of(compared.stored_models()))
    return View(measure, normalisation), axis


def stand_ins() -> tuple[dict[str, str], list[str]]:
    """Which of the store's models stand for the paper's, by registry name, and which further ones are shown."""
    stored = compared.stored_models()
    chosen: dict[str, str] = {}
    with st.expander("Which models stand for which", key="stand-ins"):
        st.caption(
            "A model of the paper stands for itself if the store has its results. Another model can stand in for it; "
            "the numbers are then those of the other model, and no replication of the paper's."
        )
        columns = st.columns(4)
        for index, (role, title) in enumerate(PAPER_MODELS.items()):
            options = [NOBODY, *stored]
            with columns[index % 4]:
                picked = one_of(title, options, default=role if role in stored else NOBODY, key=f"as_{role}")
            if picked != NOBODY:
                chosen[role] = picked
        others = [name for name in stored if name not in chosen.values()]
        more = several_of("Further models in Figs. 2 to 6", others, default=others[:MOST_FURTHER], key="further")
    return chosen, more
