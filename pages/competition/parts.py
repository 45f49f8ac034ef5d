"""The first screen of the competition page: epsilon, the sentence, and three panels over one axis of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from icl_core.analysis.competition import (
    CLEAR_CERTAINTY,
    EPSILON_PAPER,
    EPSILON_REFERENCE_CODE,
    Competition,
    EpsilonCurves,
    NoiseFloor,
    competition,
    noise_floor_of,
)
from icl_core.analysis.trajectories import AbilityCurves
from icl_core.errors import StudyError
from icl_core.evaluation.study import Study
from icl_core.records import CheckpointRef
from pages.ui import blocks, cached, charts, charts_competition, controls, findings, frame, rows
from pages.ui.axes import Quantity, ScaleName, XAxis
from pages.ui.controls import View
from pages.ui.pickers import mirror, one_of
from pages.ui.sheet import Panel
from pages.ui.theme import Palette
from pages.ui.words import checkpoint_name, count, percent, plain

__all__ = [
    "Seen",
    "drawn",
    "epsilon_controls",
    "finding",
    "how_computed",
    "left_out",
    "look_controls",
    "model_control",
    "observe",
    "panels",
    "view_controls",
]

MOST_EPSILON = 0.1
PRESETS = {"paper 0.01": EPSILON_PAPER, "reference code 0.0001": EPSILON_REFERENCE_CODE}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the page shows, computed once for all its parts.

    Attributes:
        model: whose trajectories.
        curves: ICL, TR and TL.
        pair: TR and TL at the checkpoints that are complete in both.
        result: Eqs. 1-4 at the chosen epsilon.
        floor: the same under noise alone.
        at_epsilon: the null's range at this epsilon.
        places: of the checkpoints on the axis of training.
        axis: of training.
        title: of the measure.
        instead: why the axis does not count what was asked for, "" where it does.
    """

    model: str
    curves: AbilityCurves
    pair: cached.Paired
    result: Competition
    floor: NoiseFloor
    at_epsilon: EpsilonCurves
    places: Mapping[CheckpointRef, float]
    axis: XAxis
    title: str
    instead: str


def _set_epsilon(value: float) -> None:
    st.session_state["eps"] = value


def _from_number(typed: float) -> None:
    if 0 <= typed <= MOST_EPSILON:
        _set_epsilon(typed)
    else:
        st.session_state["eps_refused"] = f"Epsilon is a fraction from 0 to {MOST_EPSILON:g}, so {typed:g} is not used."


def epsilon_controls() -> float:
    """The smallest change that counts: slider, number, and the two published values."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="epsilon-controls"):
        epsilon = st.slider(
            "epsilon: smallest change",
            0.0,
            MOST_EPSILON,
            EPSILON_PAPER,
            step=0.0001,
            format="%.4f",
            key="eps",
            bind="query-params",
            help="A fraction: 0.01 is one percentage point. The paper says 0.01; its code compares percentages with "
            "0.01, which is 0.0001 here.",
        )
        st.number_input(  # without limits: a browser would keep what it refused in the box, whatever counts
            f"epsilon ({100 * epsilon:.2f} %)",
            step=0.0001,
            format="%.4f",
            width=150,
            **mirror("eps_number", epsilon, _from_number),
        )
        for name, value in PRESETS.items():
            st.button(name, key=f"preset-{value}", on_click=_set_epsilon, args=(value,))
    if refused := st.session_state.pop("eps_refused", ""):
        st.warning(refused)
    return epsilon


def model_control(models: Sequence[str]) -> str:
    """Whose trajectories."""
    return models[0] if len(models) == 1 else one_of("Model", list(models), key="who")


def view_controls(found: cached.Collected, model: str) -> View:
    """Over which tasks, under which measure."""
    task = controls.task_control(found.predictions[model].tasks)
    measure, normalisation = controls.measure_controls()
    return View(measure, normalisation, task)


def look_controls(found: cached.Collected, model: str) -> tuple[Quantity, ScaleName]:
    """The axis of training."""
    return controls.axis_controls(found.predictions[model].checkpoints)


def observe(
    study: Study,
    found: cached.Collected,
    *,
    model: str,
    view: View,
    look: tuple[Quantity, ScaleName],
    epsilon: float,
) -> Seen:
    """Everything the page shows at this epsilon.

    Raises:
        StudyError: fewer than two checkpoints have TR and TL.
    """
    kind: dict[str, Any] = {"measure": view.measure, "normalisation": view.normalisation, "task": view.task}
    pair = cached.paired(study, model, **kind)
    at_epsilon = cached.against_epsilon(study, model, (epsilon,), **kind)
    if pair.replicates is None or at_epsilon is None:
        raise StudyError(
            f"{model} has {count(len(pair.checkpoints), 'checkpoint')} with both TR and TL; competition needs at least "
            "two to have an interval. Evaluate more checkpoints."
        )
    wanted, scale = look
    refs = found.predictions[model].checkpoints
    quantity, instead = rows.settled(refs, wanted)
    places = rows.positions(refs, quantity)
    return Seen(
        model=model,
        curves=cached.curves(study, model, **kind),
        pair=pair,
        result=competition(pair.tr, pair.tl, epsilon=epsilon),
        floor=noise_floor_of(pair.replicates, epsilon=epsilon),
        at_epsilon=at_epsilon,
        places=places,
        axis=rows.training_axis([places], quantity=quantity, scale=scale),
        title=controls.MEASURE_TITLES[view.measure],
        instead=instead,
    )


def finding(seen: Seen) -> None:
    """The page's sentence."""
    blocks.finding(findings.competition_sentence(seen.result, seen.floor, seen.at_epsilon))


def intervals(seen: Seen, places: Mapping[CheckpointRef, float]) -> list[dict[str, Any]]:
    """One row for each interval, with its certainty."""
    return rows.interval_rows(
        seen.result, seen.pair.checkpoints, places, certainty=seen.floor.interval_certainty.tolist()
    )


def panels(seen: Seen) -> None:
    """Trajectories with competing intervals shaded, C^S as bars, and R over ICL; one axis for all three."""
    trajectories, intensity, accumulation = (figure for _, figure in drawn(seen, frame.palette()))
    n = int(seen.result.indicator.sum())
    blocks.chart(trajectories, key="trajectories", alt=f"TR, TL and ICL of {seen.model}; {count(n, 'interval')} shaded")
    blocks.chart(
        intensity,
        key="intensity",
        alt=f"Competition intensity of each interval, mean {seen.result.mean_intensity:.2f}",
    )
    blocks.chart(
        accumulation, key="accumulation", alt="Accumulated competition intensity R and ICL accuracy over training"
    )
    if seen.instead:
        st.caption(plain(seen.instead))
    if seen.result.cumulative_by_checkpoint is None:
        st.caption("No competition at this epsilon: R is 0/0 and is not drawn.")
    st.caption(
        "Shaded: TR and TL move in opposite directions, both by more than epsilon; saturated where "
        f"{percent(CLEAR_CERTAINTY, 0)} of resamples agree. Bars: fall over rise (Eq. 3). R: share of the summed "
        "intensity so far (Eq. 4)."
    )


def drawn(seen: Seen, palette: Palette) -> list[Panel]:
    """The three panels in the colours of a palette."""
    parts = intervals(seen, seen.places)
    shades = [
        {
            "x": row["x"],
            "x2": row["x2"],
            "strength": 0.85 if clear else 0.35,
            "text": f"{row['text']}: competes in {percent(row['certainty'], 0)} of resamples",
        }
        for row, clear in zip(parts, seen.floor.clear, strict=True)
        if row["competes"]
    ]
    curve_rows = rows.curve_rows(seen.curves, seen.places)
    trajectories = charts.ability_chart(
        curve_rows,
        seen.axis,
        palette,
        style=charts.Style(height=240, x_labels=False, title=seen.title),
        references=rows.reference_rows(seen.curves)[:1],
        phases=shades,
        boundaries=rows.phase_rows(seen.model, seen.places, seen.axis.quantity),
    )
    accuracy = [row for row in curve_rows if row["ability"] == "ICL"]
    icl = [{"x": row["x"], "value": row["value"], "text": f"ICL at {row['checkpoint']}"} for row in accuracy]
    accumulation = charts_competition.accumulation_chart(accumulated(seen), icl, seen.axis, palette)
    return [
        ("", trajectories),
        ("", charts_competition.intensity_chart(parts, seen.axis, palette)),
        ("", accumulation),
    ]


def accumulated(seen: Seen) -> list[dict[str, Any]]:
    """R at each checkpoint; nothing where it is undefined."""
    values = seen.result.cumulative_by_checkpoint
    if values is None:
        return []
    return [
        {"x": seen.places[ref], "value": float(value), "text": f"R at {checkpoint_name(ref)}"}
        for ref, value in zip(seen.pair.checkpoints, values, strict=True)
    ]


def left_out(seen: Seen) -> None:
    """Which checkpoints the intervals pass over, and why."""
    reasons = {
        f"{seen.model} {checkpoint_name(ref)}": "cells of TR or TL are missing; the interval joins its neighbours."
        for ref in seen.pair.partial
    }
    reasons |= {f"{seen.model} {checkpoint_name(ref)}": reason for ref, reason in seen.curves.excluded.items()}
    blocks.left_out(reasons)


def how_computed(seen: Seen) -> None:
    """The equations and the noise floor."""
    with st.expander("How this is computed"):
        st.latex(
            r"C^H_i = [\,\Delta TR_i \cdot \Delta TL_i < 0 \wedge |\Delta TR_i| > \varepsilon "
            r"\wedge |\Delta TL_i| > \varepsilon\,]"
        )
        st.latex(r"C^S_i = C^H_i \cdot |\mathrm{fall}_i| / |\mathrm{rise}_i|")
        st.latex(r"R_i = \sum_{j \le i} C^S_j / \sum_j C^S_j")
        st.markdown(
            "Equations 1 to 4 of arXiv 2406.14022 on the mean trajectory: averaged over tasks and seeds first, then "
            "compared. Comparisons are strict, and differences that equal epsilon up to rounding do not exceed it. "
            "**Noise alone**: each example's change of correctness is centred within its task, seeds and examples are "
            f"resampled {len(seen.floor.null_ratio):,} times with one draw for both abilities and all intervals, and "
            "the equations are computed on every draw; p is the share of draws with at least the observed ratio. An "
            f"interval is **clear** where it competes in {percent(CLEAR_CERTAINTY, 0)} of draws without centring. One "
            f"standard error of a change is {percent(seen.floor.standard_error)}. **What p does not tell**: the null "
            "is that nothing changes at all. Where one ability really moves and the other only wavers, waverings "
            "against the move compete too, and the intensity divides a real change by noise; so look whether both "
            "curves move."
        )
        if seen.floor.n_seeds == 1:
            st.warning("With one seed the noise between seeds is unknown: the p-values are too small.")
        st.caption(plain(findings.band_sentence(seen.curves)))
