"""The checkpoints of the study on their axis of training, each with its state."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from icl_core.evaluation.exclusions import excluded_checkpoints
from icl_core.evaluation.jobs import Job
from icl_core.evaluation.study import Study
from icl_core.records import CheckpointRef
from pages.ui import blocks, cached, charts, frame, jobs, rows, selection
from pages.ui.axes import x_axis
from pages.ui.charts import PICK
from pages.ui.words import checkpoint_name, count

__all__ = ["draw"]

MOST_OTHERS = 400


def draw(study: Study, choice: selection.Choice) -> None:
    """Every chosen checkpoint with its state; for one model also those not chosen, to click on."""
    single = len({ref.model for ref in study.checkpoints}) == 1
    known = cached.checkpoints_of(study.checkpoints[0].model) if single else ()
    others = [ref for ref in known if ref not in set(study.checkpoints)][:MOST_OTHERS]
    refs = [*study.checkpoints, *others]
    states = _states(study)
    drawn: list[dict[str, Any]] = []
    for model in dict.fromkeys(ref.model for ref in refs):
        mine = [ref for ref in refs if ref.model == model]
        places = rows.positions(mine, "step")
        for ref in mine:
            state, text = states.get(ref, ("not chosen", "Click to add it."))
            name = selection.short_name(ref)
            drawn.append(
                {"model": model, "x": places[ref], "checkpoint": checkpoint_name(ref), "name": name}
                | {"state": state, "text": text}
            )
    figure = charts.timeline_chart(drawn, x_axis([row["x"] for row in drawn]), frame.palette())
    counted = {state: sum(row["state"] == state for row in drawn) for state in charts.TIMELINE_STATES}
    words = ", ".join(f"{n} {state}" for state, n in counted.items() if n)
    blocks.chart(figure, key="timeline", alt=f"Checkpoints: {words}", on_pick=_toggle if single else None)
    st.caption(f"{count(len(study.checkpoints), 'checkpoint')} chosen. {words.capitalize()}.")


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
    known = jobs.listed(quiet=True)
    live = [job for job in known if job.is_live]
    ended = [job for job in known if job.state in ("done", "failed")]
    states = {}
    for ref, (done, total) in counts.items():
        words = f"{done} of {count(total, 'cell')} stored."
        if ref in flagged:
            states[ref] = ("flagged", f"{flagged[ref]} {words}")
        elif done == total:
            states[ref] = ("stored", words)
        elif job := next((job for job in live if _asks_for(job, ref)), None):
            running = ref.model in job.current and ref.revision in job.current.split()
            states[ref] = ("running" if running else "queued", f"Job {job.id} is {job.state}. {words}")
        elif job := next((job for job in ended if _asks_for(job, ref)), None):
            states[ref] = ("failed", f"Job {job.id} ended without it: {job.message} {words}")
        else:
            states[ref] = ("partial" if done else "missing", words)
    return states


def _asks_for(job: Job, ref: CheckpointRef) -> bool:
    if job.kind != "evaluate":
        return False
    try:
        asked = json.loads(job.payload)["study"]["checkpoints"]
        return any(item["model"] == ref.model and item["revision"] == ref.revision for item in asked)
    except (ValueError, KeyError, TypeError):  # what no study is, asks for nothing
        return False
