"""The sentences of the dynamics page: its finding, what is not in the curves, and how they are computed."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from icl_core.analysis.moments import moments
from icl_core.analysis.trajectories import AbilityCurves
from icl_core.evaluation.study import Study
from pages.dynamics.computed import ShownCurves
from pages.ui.controls import analysis, selection
from pages.ui.data import cached
from pages.ui.panels import blocks
from pages.ui.words import findings
from pages.ui.words.written import checkpoint_name, count, joined, plain, task_title

__all__ = ["finding", "how_computed", "left_out", "nothing_complete"]

MOST_SENTENCES = 3
"""Models that the finding speaks of."""


def finding(shown: ShownCurves) -> None:
    """One sentence for one model, one short one each for several."""
    first = list(shown.curves.values())[:MOST_SENTENCES]
    sentences = [findings.curves_sentence(curves, moments(curves), task=shown.view.task) for curves in first]
    if len(shown.curves) > len(first):
        sentences.append(f"{count(len(shown.curves) - len(first), 'further model')} below.")
    blocks.finding("\n\n".join(sentences))


def left_out(shown: ShownCurves) -> None:
    """What the bands are, and which checkpoints and tasks are not in the curves."""
    drawn, having = shown.curves, shown.found.predictions.values()
    st.caption(f"{_bands_of(drawn)} Click a point to open its checkpoint.")
    _different_tasks(drawn)
    absent = [task_title(task) for task in shown.study.tasks if all(task not in each.tasks for each in having)]
    if absent:
        st.caption(f"Without results yet, and not in the mean: {plain(joined(absent, most=6))}.")
    reasons = {}
    for curves in drawn.values():
        for item in curves.partial:
            name = f"{curves.model} {checkpoint_name(item.checkpoint)} ({item.label_setting})"
            reasons[name] = f"{count(len(item.missing), 'cell')} missing; it enters when they are computed."
        for ref, reason in curves.excluded.items():
            reasons[f"{curves.model} {checkpoint_name(ref)}"] = f"{reason} Hollow in the chart where it has results."
    blocks.left_out(reasons)


def _bands_of(drawn: Mapping[str, AbilityCurves]) -> str:
    """What the bands are; by model, where the models were evaluated on different things."""
    sentences = {model: findings.band_sentence(curves) for model, curves in drawn.items()}
    if len(set(sentences.values())) == 1:
        return next(iter(sentences.values()))
    return " ".join(f"{plain(model)}: {sentence}" for model, sentence in sentences.items())


def _different_tasks(drawn: Mapping[str, AbilityCurves]) -> None:
    """Where the models' means are over different tasks: that they are, and the tasks that all of them have."""
    sets = [set(curves.tasks) for curves in drawn.values()]
    common = set.intersection(*sets)
    if all(tasks == common for tasks in sets):
        return
    held = "; ".join(f"{model} {joined([task_title(t) for t in c.tasks], most=4)}" for model, c in drawn.items())
    st.caption(f"The means are over different tasks, so they cannot be compared with each other: {plain(held)}.")
    if common:
        st.button("Only the tasks that all have", key="common-tasks", on_click=selection.show,
                  kwargs={"task": [task for task in next(iter(drawn.values())).tasks if task in common]})  # fmt: skip


def nothing_complete(study: Study) -> None:
    """The state in which cells exist, but no checkpoint has all of them."""
    counts = cached.completeness(study)
    done, total = (sum(pair[index] for pair in counts.values()) for index in (0, 1))
    st.info(
        f"{done:,} of {count(total, 'cell')} are stored, but no checkpoint has all tasks and seeds yet. "
        "Show one task, or evaluate the rest."
    )
    st.page_link("pages/evaluate/page.py", label="Evaluate what is missing")


def how_computed(shown: ShownCurves) -> None:
    """The definitions behind the page."""
    with st.expander("How this is computed"):
        st.markdown(
            "ICL, TR and TL are the measure under true labels (gold), random labels and symbols (abstract) in the "
            "demonstrations. Every label is scored exactly: the sum of the log-probabilities of its tokens given the "
            "prompt; the prediction is the highest, ties go to the first label."
        )
        st.latex(r"\mathrm{Acc} = \frac{1}{T}\sum_{t}\frac{1}{S}\sum_{s}\frac{1}{n_t}\sum_{i} [\hat y_{tsi} = y_{ti}]")
        st.markdown(
            f"{_bands_of(shown.curves)} One draw serves all settings and checkpoints, so that differences are "
            "paired. A checkpoint enters a curve only when the cells of all tasks and seeds exist. "
            f"Measure: {analysis.MEASURE_TITLES[shown.view.measure].lower()}; label score: {shown.view.normalisation}."
        )
