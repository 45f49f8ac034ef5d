"""Trained runs: the finding, evaluator curves side by side with chance and phase markers, and what they do not show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import streamlit as st

from icl_core.pretraining.lab.config import PRESETS, without_seeds
from icl_core.pretraining.lab.runs import chance
from icl_core.pretraining.lab.summary import Group, marker_spread, spread
from pages.lab import found, vega, wording
from pages.ui.charts.axes import ScaleName, XAxis, x_axis
from pages.ui.charts.theme import Figure, Palette
from pages.ui.controls.pickers import several_of
from pages.ui.files.sheet import Draw
from pages.ui.panels import blocks, frame
from pages.ui.words.written import percent, plain

__all__ = ["CURVES", "RUNS_KEY", "ChosenRuns", "DrawnRuns", "axis_of", "curve_rows", "draw"]

RUNS_KEY = "labrun"
CURVES = {
    "Train": "train",
    "ICL": "icl",
    "ICL novel": "icl_novel",
    "CIWL": "ciwl",
    "Flip": "flip",
    "IWL": "iwl",
    "ICL copy": "icl_copy",
    "Flip copy": "flip_copy",
}
"""Title of each evaluator's curve, and its name in a run."""
AT_FIRST = ("Train", "ICL", "ICL novel", "CIWL", "Flip", "IWL")
FIRST_PRESETS = ("Default: 512 classes", "All contexts copied (repetition paper)")
"""What is shown before anyone chooses, where it has been trained: the cleanest contrast."""
MOST_RUNS = 6


@dataclass(frozen=True, slots=True)
class ChosenRuns:
    """What is chosen: configurations, the axis they share, and which curves."""

    groups: list[Group]
    axis: XAxis
    titles: list[str]


@dataclass(frozen=True, slots=True)
class DrawnRuns:
    """The chosen runs, all there are, and what is drawn of them: every tab draws from it."""

    shown: ChosenRuns
    groups: tuple[Group, ...]
    drawn: Draw | None
    rows: list[dict[str, Any]]


def empty() -> None:
    """The state in which nothing has been trained."""
    st.info("No run of the lab is on this machine yet. Train one under *Train a run*; the default takes about 80 s.")


def draw(groups: Sequence[Group], draw_parts: Callable[[DrawnRuns], None]) -> None:
    """Everything of the tab; ``draw_parts`` draws what stands below the main chart."""
    if not groups:
        empty()
        return
    sentence = st.container()
    shown = choose(groups)
    if not shown.groups:
        st.info("Choose at least one configuration.")
        return
    with sentence:
        blocks.finding(wording.runs_sentence(shown.groups))
    drawn, rows = curves(shown)
    st.caption(wording.lab_and_paper(found.verdicts()))
    draw_parts(DrawnRuns(shown, tuple(groups), drawn, rows))
    how_computed(shown)


def choose(groups: Sequence[Group]) -> ChosenRuns:
    """The pickers above the chart: which runs, which curves, which scale."""
    by_title = {group.title: group for group in groups}
    with st.container(horizontal=True, vertical_alignment="bottom", key="lab-controls"):
        chosen = several_of(
            "Configurations",
            list(by_title),
            default=_at_first(groups),
            max_selections=MOST_RUNS,
            key=RUNS_KEY,
            width=280,
            help="What differs from the lab's default knobs; repeats over seeds stand together.",
        )
        titles = st.pills(
            "Curves",
            list(CURVES),
            default=list(AT_FIRST),
            selection_mode="multi",
            key="labcurves",
            bind="query-params",
            help="**ICL**: context labels redrawn, so weights are useless. **ICL novel**: on classes never trained on. "
            "**CIWL**: the query's class is absent, its label stands on another item. **Flip**: context labels "
            "swapped; 1 is pure ICL, 0 pure CIWL. **IWL**: label absent. **copy**: the query is an exact copy.",
        )
        scale = st.segmented_control(
            "Scale", ["symlog", "linear"], default="symlog", required=True, key="scale", bind="query-params"
        )
    shown = [by_title[title] for title in chosen]
    return ChosenRuns(shown, axis_of(shown, cast(ScaleName, scale)), [title for title in CURVES if title in titles])


def _at_first(groups: Sequence[Group]) -> list[str]:
    wanted = [without_seeds(PRESETS[name]) for name in FIRST_PRESETS]
    found_ = [group.title for config in wanted for group in groups if group.config == config]
    return found_[:2] or [group.title for group in groups[:2]]


def axis_of(groups: Sequence[Group], scale: ScaleName = "symlog") -> XAxis:
    """One axis of steps for all of them."""
    steps = {float(step) for group in groups for run in group.runs for step in run.curves["step"]}
    return x_axis(sorted(steps), scale=scale)


def curve_rows(group: Group, titles: Sequence[str], names: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """One row for each curve and step, over the repeats of a configuration."""
    rows = []
    for title in titles:
        curve = spread(group.runs, (names or CURVES)[title])
        for step, mean, low, high in zip(curve.steps, curve.mean, curve.low, curve.high, strict=True):
            if mean == mean:  # the training loss has none at step 0
                point = {"value": float(mean), "low": float(low), "high": float(high), "n": curve.n}
                rows.append({"run": group.title, "series": title, "x": float(step)} | point)
    return rows


def curves(shown: ChosenRuns) -> tuple[Draw | None, list[dict[str, Any]]]:
    """The main chart, a facet for each configuration; returns what draws all of them in other colours, and all rows."""
    n = len(shown.groups)
    columns = [st.container()] if n == 1 else [column for _ in range((n + 1) // 2) for column in st.columns(2)]
    look = vega.Look(height=380 if n < 3 else 250, marker_rows=0 if n == 1 else 4)
    everything: list[dict[str, Any]] = []
    drawn: list[tuple[str, Callable[[Palette], Figure]]] = []
    for index, group in enumerate(shown.groups):
        rows = curve_rows(group, shown.titles)
        everything += rows
        title = f"{group.title} · {wording.seeds_words(len(group.runs))}"
        with columns[index]:
            if n > 1:
                st.markdown(f"**{plain(group.title)}** · {wording.seeds_words(len(group.runs))}")
            if not rows:
                st.info("This run has not reached its first evaluation, or no curve is chosen.")
                continue
            draw = partial(
                vega.series_chart,
                rows,
                shown.axis,
                look=look,
                references=_chance_rows(group, shown.titles),
                markers=_marker_rows(group),
            )
            drawn.append((title, draw))
            alt = f"{', '.join(shown.titles)} of {group.title} over training steps, with chance and phase markers"
            blocks.chart(draw(frame.palette()), key=f"lab-curves-{index}", alt=alt)
            _progress_words(group)
    _caption(shown)
    return (lambda palette: [(title, draw(palette)) for title, draw in drawn]) if drawn else None, everything


def _progress_words(group: Group) -> None:
    if group.state == "partial":
        reached = ", ".join(f"{run.last_step:,} of {run.config.n_steps:,}" for run in group.runs)
        st.caption(f"Not finished: evaluated up to step {reached}. Train it again to resume where it stopped.")


def _chance_rows(group: Group, titles: Sequence[str]) -> list[dict[str, Any]]:
    """Chance among the labels of the context, and where it differs that of CIWL and of IWL."""
    run = group.runs[0]
    among = chance(run, "icl")
    rows = [{"value": among, "text": f"chance {percent(among)}"}]
    for title in ("CIWL", "IWL"):
        level = chance(run, CURVES[title])
        if title in titles and level != among:
            rows.append({"value": level, "text": f"{title} chance {percent(level)}"})
    return rows


def _marker_rows(group: Group) -> list[dict[str, Any]]:
    """The phase markers, and where the data change."""
    switch = group.config.switch_step
    changed = [] if switch is None else [{"x": switch, "text": "data change"}]
    return changed + [
        {"x": marker.step, "text": wording.marker_words(name, marker, group)}
        for name, marker in marker_spread(group.runs).items()
    ]


def _caption(shown: ChosenRuns) -> None:
    most = max(len(group.runs) for group in shown.groups)
    band = (
        "Lines: mean over seeds; bands: lowest to highest seed; markers: median seed."
        if most > 1
        else "One seed each: the spread between seeds is not known here."
    )
    st.caption(
        f"{band} Each point: accuracy over 1,000 fixed sequences, among the labels in the context (IWL: among all "
        "labels). Flip swaps the two context labels: 100 % is pure ICL, 0 % pure CIWL."
    )


def how_computed(shown: ChosenRuns) -> None:
    """Definitions, n and seeds behind the page."""
    with st.expander("How this is computed"):
        st.markdown(
            "A sequence is pairs of an exemplar x and a label l, and a query: x₁ l₁ x₂ l₂ x_q. Class k has a Gaussian "
            "centre and exemplars around it; K classes share L labels "
            "([arXiv 2312.03002](https://arxiv.org/abs/2312.03002)), so that look-up in the weights is as hard as K "
            "makes it. The loss is on the query's label."
        )
        st.latex(r"\mathrm{Acc} = \frac1n \sum_{i=1}^{n} [\arg\max_{l \in C_i} p(l \mid s_i) = y_i]")
        st.latex(r"\mathrm{transience} = (\mathrm{peak} - \mathrm{final}) / (\mathrm{peak} - \mathrm{chance})")
        st.markdown(
            "C is the set of labels in the context (all L for IWL, TR and TL), n = 1,000 fixed sequences of each kind, "
            "the same for all steps. The target y is the class's label (Train), the label redrawn for this context "
            "(ICL; ICL novel on unseen classes), the query's in-weights label on another class's item (CIWL), the "
            "label that the swap gave the query's class (Flip). Markers: first step with ICL a fifth of the way from "
            "chance to 1; highest Flip, where that is 3 standard deviations above chance; first step after it below "
            "chance; first step from which CIWL stays above ICL."
        )
        seeds = "; ".join(
            f"{plain(group.title)}: {', '.join(str(run.config.init_seed) for run in group.runs)}"
            for group in shown.groups
        )
        st.markdown(f"Seeds: {seeds}. A run is trained again bit for bit from its configuration on the same machine.")
