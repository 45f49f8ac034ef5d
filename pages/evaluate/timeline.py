"""The checkpoints of the study on their axis of training, each with its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from icl_core.errors import StudyError
from icl_core.evaluation.exclusions import excluded_checkpoints
from icl_core.evaluation.job_table import Job
from icl_core.evaluation.jobs import study_of_job
from icl_core.evaluation.study import Study
from icl_core.records import CheckpointRef
from icl_core.registry.names import full_name
from pages.evaluate.vega import TIMELINE_STATES, timeline_chart
from pages.ui.charts.marks import PICK
from pages.ui.controls import selection
from pages.ui.data import cached, rows
from pages.ui.panels import blocks, frame, jobs
from pages.ui.words.written import checkpoint_name, count, plain

__all__ = ["draw"]

MOST_OTHERS = 400


def draw(study: Study, choice: selection.Choice) -> None:
    """Every chosen checkpoint with its state; for one model also those not chosen, to click on."""
    is_live = any(job.is_live and refs & set(study.checkpoints) for job, refs in _asked())

    def drawn() -> None:
        if st.session_state["checkpoints"] != choice.checkpoints:
            st.rerun()  # a click on a mark changed the choice, which the whole page shows
        _chart(study)

    jobs.refreshed(drawn, key="timeline-part", while_live=is_live)


def _chart(study: Study) -> None:
    """The marks of all models over one axis: their own numbers, or what they all have where those count differently."""
    single = len({ref.model for ref in study.checkpoints}) == 1
    known = cached.checkpoints_of(study.checkpoints[0].model) if single else ()
    others = [ref for ref in known if ref not in set(study.checkpoints)][:MOST_OTHERS]
    refs = [*study.checkpoints, *others]
    states = _states(study)
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
            state, text = states.get(ref, ("not chosen", "Click to add it."))
            name = selection.short_name(ref)
            drawn.append(
                {"model": model, "x": places[ref], "checkpoint": checkpoint_name(ref), "name": name}
                | {"revision": ref.weight_file or ref.revision, "state": state, "text": text}
            )
    figure = timeline_chart(drawn, rows.training_axis(axes, quantity=quantity), frame.palette())
    counted = {state: sum(row["state"] == state for row in drawn) for state in TIMELINE_STATES}
    words = ", ".join(f"{n} {state}" for state, n in counted.items() if n)
    blocks.chart(figure, key="timeline", alt=f"Checkpoints: {words}", on_pick=_toggle if single else None)
    st.caption(f"{count(len(study.checkpoints), 'checkpoint')} chosen. {words.capitalize()}. {plain(instead)}")


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


def _states(study: Study) -> dict[CheckpointRef, tuple[str, str]]:
    """State and sentence of each checkpoint: stored, partial, missing, queued, running, failed or flagged."""
    counts = cached.completeness(study)
    flagged = excluded_checkpoints(cached.store(), study.checkpoints)
    known = _asked()
    live = [(job, refs) for job, refs in known if job.is_live]
    ended = [(job, refs) for job, refs in known if job.state in ("done", "failed")]
    states = {}
    for ref, (done, total) in counts.items():
        words = f"{done} of {count(total, 'cell')} stored."
        if ref in flagged:
            states[ref] = ("flagged", f"{flagged[ref]} {words}")
        elif done == total:
            states[ref] = ("stored", words)
        elif job := next((job for job, refs in live if ref in refs), None):
            running = job.current.startswith((f"{full_name(ref)},", f"{full_name(ref)}:"))
            states[ref] = ("running" if running else "queued", f"Job {job.id} is {job.state}. {words}")
        elif job := next((job for job, refs in ended if ref in refs), None):
            states[ref] = ("failed", f"Job {job.id} ended without it: {job.message} {words}")
        else:
            states[ref] = ("partial" if done else "missing", words)
    return states


def _asked() -> list[tuple[Job, frozenset[CheckpointRef]]]:
    """The evaluations, the newest first, each with the checkpoints that it is about."""
    found = ((job, study_of_job(job)) for job in jobs.listed(quiet=True) if job.kind == "evaluate")
    return [(job, frozenset(study.checkpoints)) for job, study in found if study is not None]
