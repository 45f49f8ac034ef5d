"""The panels of the paper's figures: what it reports as text, what this store gives as charts, what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from icl_core.registry.paper import FIGURES
from pages.paper import sentences
from pages.paper.computed import PaperView, roles, wanted_choice
from pages.paper.missing import Gap, offer
from pages.paper.notes import differences_of
from pages.ui.controls.analysis import MEASURE_TITLES
from pages.ui.data import suite
from pages.ui.files.sheet import together
from pages.ui.panels import side_by_side
from pages.ui.words.written import plain

__all__ = ["abilities", "against_r", "by_factor", "intensity_and_occurrence"]

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
    """The models that a figure lacks, with the study that would fill them in."""
    wanted = list(dict.fromkeys(role for group in FIGURES[item].groups for role in group.models))
    _, absent = roles(seen, wanted)
    if absent:
        models = tuple(seen.stand_ins.get(role, role) for role in absent)
        offer([Gap(item, sentences.missing_models(absent), wanted_choice(seen, models))])
    differences_of(item)


def _nobody() -> None:
    st.info("None of these models has results under this study's options.")


def abilities(seen: PaperView) -> None:
    """Fig. 1: the three abilities of each model."""
    with _panel("Fig. 1"):
        here, _ = roles(seen, FIGURES["Fig. 1"].groups[0].models)
        if here:
            models = list(dict.fromkeys(here.values()))
            side_by_side.abilities(seen.side, models, title=MEASURE_TITLES[seen.view.measure])
        else:
            _nobody()
        st.caption(
            "Compare by eye: the paper does not report its points as numbers. The dynamics page shows these curves "
            "with their bands."
        )
    _missing("Fig. 1", seen)


def intensity_and_occurrence(seen: PaperView) -> None:
    """Fig. 2: mean intensity against final ICL, and how often TR and TL compete."""
    with _panel("Fig. 2 right"):
        right = side_by_side.scatter(seen.side)
        st.markdown(sentences.correlations(seen.side.correlation))
        if not all(model in seen.stand_ins for model in seen.side.summaries):
            st.caption("Some points are not the paper's models; part of the difference may be due to that.")
    _missing("Fig. 2 right", seen)
    with _panel("Fig. 2 left"):
        if seen.side.summaries:
            left = side_by_side.occurrence(seen.side)
            side_by_side.summary_table(seen.side, seen.choice, together(right, left), view=seen.view)
        else:
            _nobody()


def against_r(seen: PaperView) -> None:
    """Fig. 3: R and ICL of each model."""
    with _panel("Fig. 3"):
        if seen.side.summaries:
            side_by_side.multiples(seen.side, seen.side.groups)
            st.caption("Area: accumulated intensity R. Line: ICL. Both run from 0 to 100 %. Compare by eye.")
        else:
            _nobody()
    _missing("Fig. 3", seen)


def by_factor(seen: PaperView, *, item: str) -> None:
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
            "Compare by eye: the paper does not report its curves as numbers. Share of training puts runs of "
            "different length on one axis; tokens compare amounts of data."
        )
    _missing(item, seen)
