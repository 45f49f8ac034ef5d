"""The sentences of the dynamics page: computed values in words, whichever way they come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icl_core.analysis.drilldown import LabelShares
from icl_core.analysis.moments import moments
from icl_core.analysis.trajectories import AbilityCurves
from icl_core.evaluation.coverage import CellCounts
from pages.ui.controls.analysis import MEASURE_TITLES
from pages.ui.data.view import View
from pages.ui.words import findings
from pages.ui.words.study_words import stored_cells
from pages.ui.words.written import count, joined, plain, task_title

__all__ = [
    "absent_tasks",
    "bands",
    "different_tasks",
    "evenness",
    "excluded",
    "finding",
    "how_computed",
    "missing_cells",
    "nothing_complete",
]

MOST_SENTENCES = 3
"""Models that the finding speaks of."""


def finding(curves: Sequence[AbilityCurves], task: str | None) -> str:
    """One sentence per model for the first models, and how many follow."""
    first, further = curves[:MOST_SENTENCES], curves[MOST_SENTENCES:]
    sentences = [findings.curves_sentence(each, moments(each), task=task) for each in first]
    if further:
        sentences.append(f"{count(len(further), 'further model')} below.")
    return "\n\n".join(sentences)


def bands(drawn: Mapping[str, AbilityCurves]) -> str:
    """What the bands are; by model, if the models were evaluated on different things."""
    sentences = {model: findings.band_sentence(curves) for model, curves in drawn.items()}
    if len(set(sentences.values())) == 1:
        return next(iter(sentences.values()))
    return " ".join(f"{plain(model)}: {sentence}" for model, sentence in sentences.items())


def different_tasks(drawn: Mapping[str, AbilityCurves]) -> str:
    """That the models' means are over different tasks, and over which; "" if they are over the same ones."""
    if len({frozenset(curves.tasks) for curves in drawn.values()}) <= 1:
        return ""
    held = "; ".join(f"{model} {joined([task_title(t) for t in c.tasks], most=4)}" for model, c in drawn.items())
    return f"The means are over different tasks, so they cannot be compared with each other: {plain(held)}."


def absent_tasks(tasks: Sequence[str]) -> str:
    """Which tasks of the study no model has results of; "" if there are none."""
    named = plain(joined([task_title(task) for task in tasks], most=6))
    return f"Without results yet, and not in the mean: {named}." if tasks else ""


def missing_cells(n: int) -> str:
    """Why a checkpoint is not in a curve yet."""
    return f"{count(n, 'cell')} missing. It enters the curve when {'it is' if n == 1 else 'they are'} computed."


def excluded(reason: str) -> str:
    """Why a checkpoint is in no curve, and how it is drawn."""
    return f"{reason} It is hollow in the chart if it has results."


def nothing_complete(counts: CellCounts) -> str:
    """The state in which cells exist, but no checkpoint has all of them."""
    are = "is" if counts.n_stored == 1 else "are"
    stored = f"{stored_cells(counts)} {are} stored"
    return f"{stored}, but no checkpoint has all tasks and seeds yet. Show one task, or evaluate the rest."


def evenness(shares: LabelShares) -> str:
    """How evenly the labels are predicted at the last checkpoint, beside the gold labels."""
    return (
        "Evenness of the predictions at the last checkpoint (entropy; 1 is even): "
        f"{shares.entropy[-1]:.2f}. Evenness of the gold labels: {shares.gold_entropy:.2f}."
    )


def how_computed(drawn: Mapping[str, AbilityCurves], view: View) -> str:
    """What the bands rest on, and under which options the page was computed."""
    return (
        f"{bands(drawn)} All settings and checkpoints share one draw, so differences between them are paired. "
        "A checkpoint enters a curve only when the cells of all tasks and seeds exist. "
        f"Measure: {MEASURE_TITLES[view.measure].lower()}; label score: {view.normalisation}."
    )
