"""The tab that compares models: any models of the store, under the options of the current study."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from pages.competition.computed import ModelCompetition
from pages.ui.charts.axes import Quantity, ScaleName
from pages.ui.controls import selection
from pages.ui.controls.analysis import quantity_control
from pages.ui.controls.pickers import several_of
from pages.ui.data import cached, compared, suite
from pages.ui.data.view import View
from pages.ui.files.sheet import Draw
from pages.ui.panels import blocks, side_by_side
from pages.ui.panels.side_by_side import SideBySide, correlation_words
from pages.ui.words.written import plain

__all__ = ["models"]

MOST_AT_FIRST = 12
_VIEWS = ("Intensity and ICL", "Occurrence", "R over training", "R and ICL", "By factor")


def models(competing: ModelCompetition) -> None:
    """Occurrence, mean intensity against final ICL, and R of any models of the store."""
    stored = compared.stored_models()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        current = cached.models_with_results(competing.study)
        chosen = several_of("Models compared", stored, default=_at_first(stored, current), key="compare")
        shown = st.segmented_control(
            "Comparison", list(_VIEWS), default=_VIEWS[0], required=True, key="comparison", bind="query-params"
        )
        axis = quantity_control("Axis of training", compared.checkpoints_of(chosen), default="share", key="compare_x")
    side = _side(chosen, competing.view, axis, epsilon=competing.result.epsilon)
    if not side.summaries:
        st.info("None of these models has TR and TL at two checkpoints or more under this study's options.")
    else:
        draw = _draw(side, str(shown))
        columns = side_by_side.SMALL if shown == "R and ICL" else 1
        side_by_side.summary_table(side, selection.current_choice(), draw, view=competing.view, columns=columns)
    for model, problem in side.found.problems.items():
        st.caption(f"{plain(model)} is not shown: {plain(problem)}")
    blocks.left_out(side.found.left_out)
    st.caption(
        "All models under the same tasks, seeds, shots and measure, each at its own stored checkpoints: Eqs. 1 to 4 on "
        "the mean trajectory, at the epsilon above."
    )


def _at_first(stored: Sequence[str], current: Sequence[str]) -> list[str]:
    """The study's models; if it has one alone, those of the store up to a number, each with all its training seeds."""
    if len(current) > 1:
        return list(current)
    known = list(dict.fromkeys([*current, *stored]))
    groups = list(dict.fromkeys(suite.group_of(model) for model in known))[:MOST_AT_FIRST]
    return [model for model in known if suite.group_of(model) in groups]


def _draw(side: SideBySide, shown: str) -> Draw | None:
    """The comparison that is picked."""
    if shown == "Intensity and ICL":
        draw = side_by_side.scatter(side)
        st.markdown(f"Mean intensity against final ICL: {correlation_words(side.correlation)}.")
        return draw
    if shown == "Occurrence":
        return side_by_side.occurrence(side)
    if shown == "R over training":
        return side_by_side.accumulated(side, side.groups, key="compared-r")
    if shown == "R and ICL":
        return side_by_side.multiples(side, side.groups)
    return _by_factor(side)


def _by_factor(side: SideBySide) -> Draw | None:
    """Models that differ in one factor, which is picked."""
    name = st.segmented_control(
        "Factor",
        list(suite.FACTORS),
        default="size",
        required=True,
        format_func=lambda name: suite.FACTORS[name].title,
        key="factor",
        bind="query-params",
    )
    return side_by_side.by_factor(side, suite.FACTORS[str(name)])


def _side(chosen: list[str], view: View, quantity: Quantity, *, epsilon: float) -> SideBySide:
    scale: ScaleName = "linear"
    compared_models = compared.compare(partial(selection.study_of_model, selection.current_choice()), chosen, view=view)
    summaries = compared.summaries_of(compared_models, epsilon=epsilon)
    return SideBySide(compared_models, summaries, (quantity, scale), {})
