"""The paper page around its panels: which models stand for which, how they are seen, the sentence, what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st

from icl_core.registry.paper import CODE_DIFFERENCES, INTENSITY_ICL_R, PAPER_MODELS, URL, Reported
from pages.ui.charts.axes import Quantity, ScaleName
from pages.ui.controls import analysis, selection
from pages.ui.controls.pickers import one_of, several_of
from pages.ui.data import compared
from pages.ui.data.view import View
from pages.ui.panels import blocks
from pages.ui.panels.side_by_side import SideBySide, correlation_words
from pages.ui.words.written import count, joined, plain, points

__all__ = [
    "PaperView",
    "difference_words",
    "differences_of",
    "finding",
    "how_computed",
    "number",
    "observe",
    "roles",
    "stand_ins",
    "view_controls",
]

NOBODY = "not in this store"
MOST_FURTHER = 36


@dataclass(frozen=True, slots=True)
class PaperView:
    """What all panels share.

    Attributes:
        choice: the study's options.
        view: how predictions are scored.
        epsilon: smallest change that counts, fraction.
        stand_ins: store model by registry name of the paper's model.
        side: the stand-ins and the other models shown, side by side.
    """

    choice: selection.Choice
    view: View
    epsilon: float
    stand_ins: Mapping[str, str]
    side: SideBySide


def stand_ins() -> tuple[dict[str, str], list[str]]:
    """Which of the store's models stand for the paper's, and which further ones are shown."""
    stored = compared.stored_models()
    chosen: dict[str, str] = {}
    with st.expander("Which models stand for which", key="stand-ins"):
        st.caption(
            "A model of the paper stands for itself where the store has its results. Another can stand in for it; "
            "its numbers are then this project's for another model, not a replication."
        )
        columns = st.columns(4)
        for index, (role, title) in enumerate(PAPER_MODELS.items()):
            options = [NOBODY, *stored]
            with columns[index % 4]:
                picked = one_of(title, options, default=role if role in stored else NOBODY, key=f"as_{role}")
            if picked != NOBODY:
                chosen[role] = picked
        others = [name for name in stored if name not in chosen.values()]
        more = several_of("Further models in Figs. 2 to 6", others, default=others[:MOST_FURTHER], key="further")
    return chosen, more


def view_controls() -> tuple[View, tuple[Quantity, ScaleName]]:
    """Measure, label score and axis."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="paper-controls"):
        measure, normalisation = analysis.measure_controls()
        look = analysis.axis_controls(compared.checkpoints_of(compared.stored_models()))
    return View(measure, normalisation, None), look


def observe(
    view: View, look: tuple[Quantity, ScaleName], epsilon: float, *, chosen: Mapping[str, str], further: Sequence[str]
) -> PaperView:
    """The trajectories of everything shown, each read once."""
    choice = selection.current_choice()
    found = compared.compare(partial(selection.study_of_model, choice), [*chosen.values(), *further], view=view)
    summaries = compared.summaries_of(found, epsilon=epsilon)
    return PaperView(choice, view, epsilon, chosen, SideBySide(found, summaries, look, _names(chosen)))


def _names(chosen: Mapping[str, str]) -> dict[str, str]:
    """Stand-ins as they are called in charts: with the paper's models that they stand for."""
    names = {}
    for model in chosen.values():
        played = [PAPER_MODELS[role] for role, stand_in in chosen.items() if stand_in == model != role]
        if played:
            names[model] = f"{model} (as {joined(played)})"
    return names


def roles(seen: PaperView, wanted: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Of the paper's models those that have a trajectory here, by role, and those that have none."""
    here = {role: seen.stand_ins[role] for role in wanted if seen.stand_ins.get(role) in seen.side.found.trajectories}
    return here, [role for role in wanted if role not in here]


def finding(seen: PaperView) -> None:
    """How much of the paper is here, and its one number beside ours."""
    here, _ = roles(seen, tuple(PAPER_MODELS))
    itself = [role for role, model in here.items() if role == model]
    played = len(here) - len(itself)
    more = "1 more is" if played == 1 else f"{played} more are"
    standing = f", {more} stood in for by another model" if played else ""
    blocks.finding(
        f"**{len(itself)} of the paper's {len(PAPER_MODELS)} models** have results here under this study's options"
        f"{standing}. Mean intensity against final ICL: the paper reports r = {number(INTENSITY_ICL_R)}; here "
        f"{correlation_words(seen.side.correlation)}."
    )


def number(reported: Reported, *, percent: bool = False) -> str:
    """A number of the paper as text, or why there is none."""
    if reported.value is None:
        return reported.mark
    value = f"{100 * reported.value:.2f} %" if percent else f"{reported.value:.3g}".replace("-", "−")
    spread = "" if reported.spread is None else f" ± {100 * reported.spread if percent else reported.spread:.2f}"
    doubt = f" ({reported.mark})" if reported.mark else ""
    return f"{value}{'*' if reported.starred else ''}{spread}{doubt}"


def difference_words(reported: Reported, ours: float | None) -> str:
    """Ours minus theirs in percentage points."""
    change = reported.difference(ours)
    return "" if change is None else points(change)


def differences_of(item: str) -> None:
    """Where paper and code differ on this item, and which of them is shown."""
    mine = [difference for difference in CODE_DIFFERENCES if item in difference.items]
    if mine:
        with st.expander(f"Where the paper and its code differ here, and which one is shown ({len(mine)})"):
            for difference in mine:
                st.markdown(
                    f"**{difference.topic}.** Paper: {plain(difference.paper)} Code: {plain(difference.code)} "
                    f"**Shown here**: {plain(difference.here)}"
                )


def how_computed(seen: PaperView) -> None:
    """Options, sizes, exclusions."""
    with st.expander("How this is computed"):
        choice = seen.choice
        st.markdown(
            f"Reported figures are those of [arXiv 2406.14022]({URL}), read from a copy in which some cells are not "
            "legible; they are shown as text and never drawn as results. Everything under **this store** is computed "
            f"from stored predictions on {count(len(choice.task), 'task')} with seeds {plain(choice.seeds)}, "
            f"{choice.shots} demonstrations and at most {choice.examples:,} queries per task (the paper: 16 tasks, 5 "
            "seeds, 16 demonstrations, 1,000 queries). A checkpoint enters when all of its TR and TL cells exist. "
            f"Competition: Eqs. 1 to 4 on the mean trajectory at epsilon {seen.epsilon:g}. Final ICL is the gold value "
            "at the last such checkpoint. Intervals of r: percentile bootstrap over models, 2,000 draws; with few "
            "models they say little."
        )
        st.caption(
            f"Measure: {analysis.MEASURE_TITLES[seen.view.measure].lower()}; label score: {seen.view.normalisation}."
        )
    blocks.left_out(seen.side.found.left_out)
    if seen.side.found.problems:
        with st.expander(f"{count(len(seen.side.found.problems), 'model')} not shown"):
            for model, problem in seen.side.found.problems.items():
                st.markdown(f"- **{plain(model)}**: {plain(problem)}")
