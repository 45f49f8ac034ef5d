"""The parts of the home page: live curves with words at the place, the ways in, the store as a grid, recent jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from icl_core.analysis.moments import Moment, moments
from icl_core.evaluation.coverage import Coverage, coverage
from icl_core.evaluation.job_table import Job
from icl_core.evaluation.jobs import study_of_job
from icl_core.records import ABILITY_BY_SETTING, CheckpointRef
from pages.home.vega import grid_chart
from pages.ui.charts.curves import Style, ability_chart
from pages.ui.controls import selection
from pages.ui.data import cached, rows
from pages.ui.data.view import View
from pages.ui.panels import blocks, frame, jobs
from pages.ui.words import findings
from pages.ui.words.written import count, plain, task_title, when

__all__ = ["doors", "live_curves", "recent_jobs", "stored"]

_CALLOUTS = {"tr_rise": "TR rises", "tl_jump": "TL jumps", "tr_fall": "TR falls"}


def live_curves() -> None:
    """The shipped suite's three curves from the store, or what to do where there are none."""
    defaults = selection.defaults_for(())
    found = cached.collected(selection.study_of(defaults)).predictions if defaults.model else {}
    if not found:
        st.info("No results are stored yet. Evaluate the shipped tiny suite: it takes about two minutes on a CPU.")
        return
    study, model = selection.study_of(defaults), next(iter(found))
    curves = cached.curves(study, model, View())
    if not curves.curves:
        st.info(f"No checkpoint of {plain(model)} is complete yet; its curves appear with the first one.")
        return
    seen = moments(curves)
    blocks.finding(findings.curves_sentence(curves, seen))
    places = rows.positions(found[model].checkpoints, "step")
    chart_rows = rows.curve_rows(curves, places)
    figure = ability_chart(
        chart_rows,
        rows.training_axis([places], quantity="step", scale="linear"),
        frame.palette(),
        style=Style(height=330),
        references=rows.reference_rows(curves),
        phases=rows.phase_rows(model, places, "step"),
        notes=_notes(seen, places),
    )
    blocks.chart(figure, key="home-curves", alt=f"ICL, TR and TL accuracy of {model} over training")
    st.caption(findings.band_sentence(curves))


def _notes(seen: Sequence[Moment], places: dict[CheckpointRef, float]) -> list[dict[str, Any]]:
    """The words of each clear change, beside the point where it ends."""
    return [
        {
            "x": places[moment.end],
            "value": moment.after,
            "text": _CALLOUTS[moment.kind],
            "ability": ABILITY_BY_SETTING[moment.label_setting],
        }
        for moment in seen
    ]


def doors() -> None:
    """The ways in."""
    with st.container(horizontal=True):
        if st.button("Explore", type="primary", key="door-explore"):
            st.switch_page("pages/dynamics/page.py", query_params={})
        if st.button("Evaluate a model", key="door-evaluate"):
            st.switch_page("pages/evaluate/page.py", query_params={})  # None is refused while widgets own some
        if st.button("Try a sentence", key="door-playground"):
            st.switch_page("pages/playground/page.py", query_params={})


def stored() -> None:
    """What the store holds, models against tasks."""
    summaries = cached.summaries()
    studies = (study_of_job(job) for job in jobs.listed(quiet=True) if job.kind == "evaluate")
    found = coverage((each.spec for each in summaries), (study for study in studies if study is not None))
    if not found:
        return
    st.header("What is computed", anchor=False)
    grid = [_field(each) for each in found]
    models = len({row["model"] for row in grid})
    st.caption(
        f"{count(len(summaries), 'cell')} of {count(models, 'model')}. Each square shows how many checkpoints "
        "have all their cells: the cells that a job was asked for, and those that another checkpoint has."
    )
    blocks.chart(
        grid_chart(grid, frame.palette()),
        key="home-grid",
        alt=f"Stored results of {count(models, 'model')} by task: complete, partial or missing",
    )


def _field(each: Coverage) -> dict[str, Any]:
    """One model on one task, as the grid draws it."""
    text = f"{each.n_complete}/{each.n_checkpoints}" if each.n_cells else ""
    return {"model": each.model, "task": task_title(each.task), "state": each.state, "text": text}


def recent_jobs() -> None:
    """The last jobs, a line each."""
    last = [job for job in jobs.listed() if job.kind != "estimate"][:5]
    if not last:
        return
    st.header("Recent jobs", anchor=False)
    st.dataframe([_job_row(job) for job in last], hide_index=True, alt="Recent jobs", key="home-jobs")


def _job_row(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "what": job.title,
        "state": job.state,
        "done": f"{job.done:,} of {job.total:,} {'steps' if job.kind == 'train' else 'cells'}",
        "asked": when(job.created),
        "says": job.message,
    }
