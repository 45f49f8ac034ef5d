"""What is missing of a panel, what it would cost, and the button that takes exactly that study to the evaluate page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation.study import Study, validate_study
from icl_core.records import Split
from pages.paper import sentences
from pages.ui.controls import selection
from pages.ui.panels.costs import cost_of
from pages.ui.words.written import plain

__all__ = ["Gap", "follow", "offer"]

_TAKEN = "study_taken"


@dataclass(frozen=True, slots=True)
class Gap:
    """Results that are missing, with the study that would fill them in.

    Attributes:
        name: unique on the page.
        words: what is missing, as a clause in Markdown.
        choice: the pickers' values that ask for it.
        dev: whether the development split is needed too.
    """

    name: str
    words: str
    choice: selection.Choice = field(repr=False)
    dev: bool = False

    def study(self) -> Study:
        """The study that the evaluate page will show.

        Raises:
            ObservatoryError: the values are no study.
        """
        splits: tuple[Split, ...] = ("dev", "test") if self.dev else ("test",)
        return dataclasses.replace(selection.study_of(self.choice), splits=splits)


def offer(gaps: Sequence[Gap]) -> None:
    """Each gap with its cost and its button; the cost is counted when it is opened."""
    for gap in gaps:
        with st.expander(f"Missing: {gap.words}", key=f"fill-{gap.name}", on_change="rerun") as box:
            if box.open:
                _cost_and_button(gap)


def _cost_and_button(gap: Gap) -> None:
    try:
        study = gap.study()
        validate_study(study)
    except ObservatoryError as error:
        st.info(plain(str(error)))
        return
    st.markdown(sentences.study_words(study))
    if (cost := cost_of(study, key=gap.name)) is not None:
        st.markdown(sentences.cost_words(cost))
    st.button("Take this study to Evaluate", key=f"take-{gap.name}", on_click=_hand_over, args=(gap,))


def _hand_over(gap: Gap) -> None:
    """Sets the pickers, which the evaluate page mirrors, to the study."""
    for item in dataclasses.fields(selection.Choice):
        value = getattr(gap.choice, item.name)
        st.session_state[item.name] = list(value) if isinstance(value, tuple) else value
    st.session_state["dev"] = gap.dev
    st.session_state[_TAKEN] = True


def follow() -> None:
    """Goes to the evaluate page if a study was taken there; before the panels, which would show it themselves."""
    if st.session_state.pop(_TAKEN, False):
        st.switch_page("pages/evaluate/page.py", query_params={})  # None is refused while widgets own some
