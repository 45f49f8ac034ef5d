"""The chart of the evaluate page: the study's checkpoints on their axis of training, each with its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from icl_core.errors import StudyError
from icl_core.evaluation.study import Study
from icl_core.records import CheckpointRef
from pages.evaluate import computed, sentences
from pages.evaluate.vega import TIMELINE_STATES, timeline_chart
from pages.ui.charts.marks import PICK
from pages.ui.controls import selection
from pages.ui.data import cached, rows
from pages.ui.panels import blocks, frame, jobs
from pages.ui.words.written import checkpoint_name, plain

__all__ = ["checkpoints"]

MOST_OTHERS = 400
"""Checkpoints that are not chosen, of which more would hide the chosen ones."""


def checkpoints(study: Study, choice: selection.Choice) -> None:
    """Every chosen checkpoint with its state; if there is one model, also its others, which a click adds."""
    is_live = computed.is_in_work(study)

    def drawn() -> None:
        if st.session_state["checkpoints"] != choice.checkpoints:
            st.rerun()  # a click on a mark changed the choice, which the whole page shows
        _chart(study)

    jobs.refreshed(drawn, key="timeline-part", while_live=is_live)


def _chart(study: Study) -> None:
    """The marks of all models over one axis: their own numbers, or what they all have if those count differently."""
    single = len({ref.model for ref in study.checkpoints}) == 1
    known = cached.checkpoints_of(study.checkpoints[0].model) if single else ()
    others = [ref for ref in known if ref not in set(study.checkpoints)][:MOST_OTHERS]
    refs = [*study.checkpoints, *others]
    states = computed.states(study)
    try:
        quantity, instead = rows.settled(refs, "step")
    except StudyError as error:
        st.info(plain(str(error)))
        return
    axes: list[Mapping[CheckpointRef, float]] = []
    drawn: list[dict[str, Any]] = []
    for model in dict.fromkeys(ref.model for ref in refs):
        mine = [ref for ref in refs if ref.model == model]
        places = rows.positions(mine, quantity)
        axes.append(places)
        for ref in mine:
            state, text = states.get(ref, sentences.NOT_CHOSEN)
            name = selection.short_name(ref)
            drawn.append(
                {"model": model, "x": places[ref], "checkpoint": checkpoint_name(ref), "name": name}
                | {"revision": ref.weight_file or ref.revision, "state": state, "text": text}
            )
    figure = timeline_chart(drawn, rows.training_axis(axes, quantity=quantity), frame.palette())
    counted = {state: sum(row["state"] == state for row in drawn) for state in TIMELINE_STATES}
    blocks.chart(
        figure, key="timeline", alt=f"Checkpoints: {sentences.by_state(counted)}", on_pick=_toggle if single else None
    )
    st.caption(sentences.chosen(len(study.checkpoints), counted, instead))


def _toggle() -> None:
    """Adds or removes the clicked checkpoint."""
    picked = st.session_state["timeline"].selection.get(PICK) or []
    models = st.session_state["model"]
    if not picked or len(models) != 1:
        return
    refs = cached.checkpoints_of(models[0])
    chosen = {
        selection.short_name(ref) for ref in selection.checkpoints_for(models[0], st.session_state["checkpoints"])
    }
    names = chosen ^ {picked[0]["name"]}
    ordered = [selection.short_name(ref) for ref in refs if selection.short_name(ref) in names]
    st.session_state["checkpoints"] = ", ".join(ordered) or "paper"
