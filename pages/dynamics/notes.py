"""What the dynamics page says around its chart: the finding, what is not in the curves, how they are computed."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from icl_core.analysis.trajectories import AbilityCurves
from icl_core.evaluation.coverage import cell_counts
from icl_core.evaluation.study import Study
from pages.dynamics import sentences
from pages.dynamics.computed import ShownCurves
from pages.ui.controls import selection
from pages.ui.data import cached
from pages.ui.panels import blocks
from pages.ui.words.written import checkpoint_name

__all__ = ["finding", "how_computed", "left_out", "nothing_complete"]


def finding(shown: ShownCurves) -> None:
    """The page's sentence."""
    blocks.finding(sentences.finding(list(shown.curves.values()), shown.view.task))


def left_out(shown: ShownCurves) -> None:
    """What the bands are, and which checkpoints and tasks are not in the curves."""
    drawn, having = shown.curves, shown.found.predictions.values()
    st.caption(f"{sentences.bands(drawn)} Click a point to open its checkpoint.")
    _different_tasks(drawn)
    if absent := [task for task in shown.study.tasks if all(task not in each.tasks for each in having)]:
        st.caption(sentences.absent_tasks(absent))
    reasons = {}
    for curves in drawn.values():
        for item in curves.partial:
            name = f"{curves.model} {checkpoint_name(item.checkpoint)} ({item.label_setting})"
            reasons[name] = sentences.missing_cells(len(item.missing))
        for ref, reason in curves.excluded.items():
            reasons[f"{curves.model} {checkpoint_name(ref)}"] = sentences.excluded(reason)
    blocks.left_out(reasons)


def _different_tasks(drawn: Mapping[str, AbilityCurves]) -> None:
    """If the models' means are over different tasks: that they are, and a button for the tasks that all have."""
    if not (said := sentences.different_tasks(drawn)):
        return
    st.caption(said)
    common = set.intersection(*(set(curves.tasks) for curves in drawn.values()))
    if common:
        st.button("Only the tasks that all have", key="common-tasks", on_click=selection.show,
                  kwargs={"task": [task for task in next(iter(drawn.values())).tasks if task in common]})  # fmt: skip


def nothing_complete(study: Study) -> None:
    """The state in which cells exist, but no checkpoint has all of them."""
    st.info(sentences.nothing_complete(cell_counts(cached.completeness(study))))
    st.page_link("pages/evaluate/page.py", label="Evaluate what is missing")


def how_computed(shown: ShownCurves) -> None:
    """The definitions behind the page."""
    with st.expander("How this is computed"):
        st.markdown(
            "ICL, TR and TL are the measure under true labels (gold), random labels and symbols (abstract) in the "
            "demonstrations. Every label is scored exactly: its score is the sum of the log-probabilities of its "
            "tokens given the prompt. The prediction is the label with the highest score; ties go to the first label."
        )
        st.latex(r"\mathrm{Acc} = \frac{1}{T}\sum_{t}\frac{1}{S}\sum_{s}\frac{1}{n_t}\sum_{i} [\hat y_{tsi} = y_{ti}]")
        st.markdown(sentences.how_computed(shown.curves, shown.view))
