"""The panels of the paper's figures: what it reports as text, what this store gives as charts, what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import streamlit as st

from icl_core.records import LABEL_SETTINGS
from icl_core.registry.families import MODELS
from icl_core.registry.paper import FIGURES, INTENSITY_ICL_R, PAPER_MODELS
from icl_core.registry.tasks import TASKS
from pages.paper.fill import Filling, fillings
from pages.paper.parts import PaperView, differences_of, number, roles
from pages.ui.controls import analysis, selection
from pages.ui.data import suite
from pages.ui.files.sheet import together
from pages.ui.panels import side_by_side
from pages.ui.words.written import count, joined, plain

__all__ = ["PANELS", "study_choice", "wanted_choice"]

_SUITE_FACTORS = {"Fig. 4": "size", "Fig. 5": "documents", "Fig. 6": "curriculum"}
"""The suite's factor beside each figure of the paper."""


@contextmanager
def _panel(item: str) -> Iterator[None]:
    """A figure's title, what the paper reports as text, and this store below it."""
    figure = FIGURES[item]
    st.header(f"{item}: {figure.title}", anchor=False)
    st.markdown(f"**Reported by the paper**: {plain(figure.reported)}  \n**This store**:")
    yield


def _missing(item: str, seen: PaperView) -> None:
    """What of a figure is missing, with the study that would fill it."""
    wanted = list(dict.fromkeys(role for group in FIGURES[item].groups for role in group.models))
    _, absent = roles(seen, wanted)
    gaps = []
    if absent:
        models = tuple(seen.stand_ins.get(role, role) for role in absent)
        words = f"{joined([PAPER_MODELS[role] for role in absent], most=12)} ({count(len(absent), 'model')})"
        gaps.append(Filling(item, words, wanted_choice(seen, models)))
    fillings(gaps)
    differences_of(item)


def study_choice(seen: PaperView, models: Sequence[str]) -> selection.Choice:
    """The study's options for other models with all three label settings; the paper's grid for its own models."""
    own = all(model in MODELS for model in models)
    checkpoints = "paper" if own and seen.choice.checkpoints == "all" else seen.choice.checkpoints
    return dataclasses.replace(
        seen.choice,
        model=tuple(dict.fromkeys(models)),
        setting=LABEL_SETTINGS,
        local="",
        checkpoints=checkpoints,
    )


def wanted_choice(seen: PaperView, models: Sequence[str]) -> selection.Choice:
    """The same to evaluate what is missing: models of the paper are evaluated on its 16 tasks, whatever is shown."""
    choice = study_choice(seen, models)
    return dataclasses.replace(choice, task=tuple(TASKS)) if any(model in MODELS for model in models) else choice


def _nobody() -> None:
    st.info("None of these models has results under this study's options.")


def _abilities(seen: PaperView) -> None:
    """Fig. 1: the three abilities of each model."""
    with _panel("Fig. 1"):
        here, _ = roles(seen, FIGURES["Fig. 1"].groups[0].models)
        if here:
            models = list(dict.fromkeys(here.values()))
            side_by_side.abilities(seen.side, models, title=analysis.MEASURE_TITLES[seen.view.measure])
        else:
            _nobody()
        st.caption(
            "Difference: by eye, since the paper's points are not reported as numbers. The dynamics page has these "
            "curves with their bands."
        )
    _missing("Fig. 1", seen)


def _intensity_and_occurrence(seen: PaperView) -> None:
    """Fig. 2: mean intensity against final ICL, and how often TR and TL compete."""
    with _panel("Fig. 2 right"):
        right = side_by_side.scatter(seen.side)
        change = INTENSITY_ICL_R.difference(seen.side.correlation.r)
        words = "" if change is None else f" Difference: {change:+.2f}.".replace("-", "−")
        ours = side_by_side.correlation_words(seen.side.correlation)
        st.markdown(
            f"Reported: r = {number(INTENSITY_ICL_R)}, one point per family. Here: {ours}, one per model.{words}"
        )
        if not all(model in seen.stand_ins for model in seen.side.summaries):
            st.caption("Some points are not the paper's models; part of the difference may be due to that.")
    _missing("Fig. 2 right", seen)
    with _panel("Fig. 2 left"):
        if seen.side.summaries:
            left = side_by_side.occurrence(seen.side)
            side_by_side.summary_table(seen.side, seen.choice, together(right, left), view=seen.view)
        else:
            _nobody()


def _against_r(seen: PaperView) -> None:
    """Fig. 3: R and ICL of each model."""
    with _panel("Fig. 3"):
        if seen.side.summaries:
            side_by_side.multiples(seen.side, seen.side.groups)
            st.caption("Area: accumulated intensity R; line: ICL; both from 0 to 100 %. Difference: by eye.")
        else:
            _nobody()
    _missing("Fig. 3", seen)


def _factor(seen: PaperView, item: str) -> None:
    """Figs. 4 to 6: R of the models of each group over one axis, and their mean intensities."""
    with _panel(item):
        for index, group in enumerate(FIGURES[item].groups):
            here, _ = roles(seen, group.models)
            st.markdown(f"**{group.title[:1].upper()}{group.title[1:]}**")
            models = list(dict.fromkeys(here.values()))
            if models:
                phases_of = models[0] if item == "Fig. 6" else None
                side_by_side.accumulated(
                    seen.side, seen.side.groups_of(models), key=f"{item}-{index}", phases_of=phases_of
                )
            else:
                _nobody()
        if any(suite.member_of(model) for model in seen.side.summaries):
            st.markdown("**The embedded suite** (not the paper's models)")
            side_by_side.by_factor(seen.side, suite.FACTORS[_SUITE_FACTORS[item]])
        st.caption(
            "Difference: by eye, since the paper's curves are not reported as numbers. On share of training, models "
            "of unequal length have one axis; tokens compare amounts of data."
        )
    _missing(item, seen)


PANELS: dict[str, Callable[[PaperView], None]] = {
    "Fig. 1": _abilities,
    "Fig. 2": _intensity_and_occurrence,
    "Fig. 3": _against_r,
    **{item: partial(_factor, item=item) for item in ("Fig. 4", "Fig. 5", "Fig. 6")},
}
"""The figures by the name under which they are picked."""
