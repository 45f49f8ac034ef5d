"""The first screen of the dynamics page: its controls, its sentence, the curves and what is not in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from icl_core.analysis.moments import moments
from icl_core.analysis.trajectories import AbilityCurves
from icl_core.evaluation.study import Study
from icl_core.records import CheckpointRef
from pages.ui import blocks, cached, charts, controls, findings, frame, rows, selection
from pages.ui.axes import Quantity, ScaleName, percent_domain
from pages.ui.controls import View
from pages.ui.sheet import Draw
from pages.ui.theme import Figure, Palette
from pages.ui.words import checkpoint_name, count, joined, legible, plain, task_title

__all__ = [
    "Look",
    "checkpoints_of",
    "curves_of",
    "finding",
    "how_computed",
    "look_controls",
    "main_chart",
    "model_rows",
    "notes_below",
    "nothing_complete",
    "view_controls",
]

Curves = Mapping[str, AbilityCurves]


@dataclass(frozen=True, slots=True)
class Look:
    """How the curves are drawn.

    Attributes:
        quantity, scale: of the horizontal axis.
        bands: whether they are drawn.
        overlaid: whether several models share one chart.
        instead: why the axis does not count what was asked for, "" where it does.
    """

    quantity: Quantity
    scale: ScaleName
    bands: bool
    overlaid: bool
    instead: str


def view_controls(found: cached.Collected) -> View:
    """Task, measure and normalisation."""
    tasks = list(dict.fromkeys(task for predictions in found.predictions.values() for task in predictions.tasks))
    task = controls.task_control(tasks)
    measure, normalisation = controls.measure_controls()
    return View(measure, normalisation, task)


def look_controls(found: cached.Collected) -> Look:
    """Axis, bands, and how several models share the page.

    Raises:
        StudyError: there is no axis for all models.
    """
    refs = checkpoints_of(found)
    wanted, scale = controls.axis_controls(refs)
    quantity, instead = rows.settled(refs, wanted)
    bands = st.toggle("Bands", value=True, key="bands", bind="query-params")
    overlaid = False
    if len(found.predictions) > 1:
        overlaid = st.toggle("Overlay models", key="overlay", bind="query-params")
    return Look(quantity, scale, bands, overlaid, instead)


def checkpoints_of(found: cached.Collected) -> list[CheckpointRef]:
    """The checkpoints of all models, which share one axis."""
    return [ref for predictions in found.predictions.values() for ref in predictions.checkpoints]


def curves_of(study: Study, found: cached.Collected, view: View) -> Curves:
    """The curves of each model that has a complete checkpoint."""
    drawn = {}
    for model, predictions in found.predictions.items():
        if view.task is None or view.task in predictions.tasks:
            curves = cached.curves(study, model, measure=view.measure, normalisation=view.normalisation, task=view.task)
            if curves.curves:
                drawn[model] = curves
    return drawn


def finding(drawn: Curves, view: View) -> None:
    """One sentence for one model, one short one each for several."""
    shown = list(drawn.values())[:3]
    sentences = [findings.curves_sentence(curves, moments(curves), task=view.task) for curves in shown]
    if len(drawn) > 3:
        sentences.append(f"{count(len(drawn) - 3, 'further model')} below.")
    blocks.finding("\n\n".join(sentences))


def model_rows(study: Study, found: cached.Collected, curves: AbilityCurves, look: Look, view: View) -> Any:
    """Rows of one model, those of excluded checkpoints marked, and where its checkpoints stand on the axis."""
    hollow = cached.excluded_curves(study, curves, task=view.task)
    flagged = {ref for curve in hollow.curves.values() for ref in curve.checkpoints} if hollow else set()
    refs = cached.in_order({*found.predictions[curves.model].checkpoints, *flagged})
    places = rows.positions(refs, look.quantity)
    drawn = rows.curve_rows(curves, places)
    if hollow is not None:
        drawn += rows.curve_rows(hollow, places, left_out=curves.excluded)
    return drawn, places


def main_chart(
    study: Study, found: cached.Collected, shown: Curves, view: View, look: Look
) -> tuple[Draw, list[dict[str, Any]]]:
    """The curves at full width: one model, models overlaid, or one below the other with shared axes.

    Returns what draws them in other colours, and all their rows.
    """
    placed = {model: model_rows(study, found, curves, look, view) for model, curves in shown.items()}
    everything = [row for part, _ in placed.values() for row in part]
    heights = [row["value"] for curves in shown.values() for row in rows.reference_rows(curves)]
    low, high = ("low", "high") if look.bands else ("value", "value")
    domain = percent_domain(
        [*(row[low] for row in everything), *heights], [*(row[high] for row in everything), *heights]
    )
    axis = rows.training_axis([places for _, places in placed.values()], quantity=look.quantity, scale=look.scale)
    groups = [list(shown)] if look.overlaid or len(shown) == 1 else [[model] for model in shown]
    title = controls.MEASURE_TITLES[view.measure]
    style = charts.Style(
        height=400 if len(groups) == 1 else 240, bands=look.bands, domain=domain, pickable=True, title=title
    )

    def figure(group: Sequence[str], palette: Palette, *, pickable: bool) -> Figure:
        first = shown[group[0]]
        return charts.ability_chart(
            [row for model in group for row in placed[model][0]],
            axis,
            palette,
            style=dataclasses.replace(style, pickable=pickable),
            references=rows.reference_rows(first),
            phases=rows.phase_rows(first.model, placed[group[0]][1], look.quantity) if len(group) == 1 else (),
        )

    for index, group in enumerate(groups):
        if len(groups) > 1:
            st.markdown(f"**{plain(group[0])}**")
        key = f"curves-{index}"
        blocks.chart(
            figure(group, frame.palette(), pickable=True),
            key=key,
            alt=f"{title} of ICL, TR and TL over training for {', '.join(group)}",
            on_pick=partial(pick_checkpoint, key),
        )
    if look.instead:
        st.caption(plain(look.instead))
    return lambda palette: [
        ("" if len(group) > 1 else group[0], figure(group, palette, pickable=False)) for group in groups
    ], everything


def pick_checkpoint(key: str) -> None:
    """Copies a clicked point into the picker of the checkpoint, which is in the URL."""
    picked = st.session_state[key].selection.get(charts.PICK) or []
    if picked:
        selection.show(at=f"{legible(picked[0]['model'])} {picked[0]['checkpoint']}", tab="One checkpoint")


def notes_below(found: cached.Collected, drawn: Curves, study: Study) -> None:
    """What the bands are, and which checkpoints and tasks are not in the curves."""
    st.caption(f"{bands_of(drawn)} Click a point to open its checkpoint.")
    _different_tasks(drawn)
    absent = [task_title(task) for task in study.tasks if all(task not in p.tasks for p in found.predictions.values())]
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


def bands_of(drawn: Curves) -> str:
    """What the bands are; by model, where the models were evaluated on different things."""
    sentences = {model: findings.band_sentence(curves) for model, curves in drawn.items()}
    if len(set(sentences.values())) == 1:
        return next(iter(sentences.values()))
    return " ".join(f"{plain(model)}: {sentence}" for model, sentence in sentences.items())


def _different_tasks(drawn: Curves) -> None:
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


def nothing_complete(found: cached.Collected, study: Study) -> None:
    """The state in which cells exist, but no checkpoint has all of them."""
    counts = cached.completeness(study)
    done, total = (sum(pair[index] for pair in counts.values()) for index in (0, 1))
    st.info(
        f"{done:,} of {count(total, 'cell')} are stored, but no checkpoint has all tasks and seeds yet. "
        "Show one task, or evaluate the rest."
    )
    st.page_link("pages/evaluate/page.py", label="Evaluate what is missing")


def how_computed(drawn: Curves, view: View) -> None:
    """The definitions behind the page."""
    with st.expander("How this is computed"):
        st.markdown(
            "ICL, TR and TL are the measure under true labels (gold), random labels and symbols (abstract) in the "
            "demonstrations. Every label is scored exactly: the sum of the log-probabilities of its tokens given the "
            "prompt; the prediction is the highest, ties go to the first label."
        )
        st.latex(r"\mathrm{Acc} = \frac{1}{T}\sum_{t}\frac{1}{S}\sum_{s}\frac{1}{n_t}\sum_{i} [\hat y_{tsi} = y_{ti}]")
        st.markdown(
            f"{bands_of(drawn)} One draw serves all settings and checkpoints, so that differences are "
            "paired. A checkpoint enters a curve only when the cells of all tasks and seeds exist. "
            f"Measure: {controls.MEASURE_TITLES[view.measure].lower()}; label score: {view.normalisation}."
        )
