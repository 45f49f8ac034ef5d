"""What is missing of a panel, what it would cost, and the button that takes exactly that study to the evaluate page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation.cost import Estimate
from icl_core.evaluation.study import Study, n_cells, validate_study
from icl_core.records import Split
from pages.ui.controls import selection
from pages.ui.panels.costs import cost_of
from pages.ui.words.written import count, duration, joined, plain, short_number

__all__ = ["Filling", "fillings", "follow"]

_TAKEN = "study_taken"


@dataclass(frozen=True, slots=True)
class Filling:
    """A study that would fill a gap.

    Attributes:
        name: unique on the page.
        words: what it fills, as a clause in Markdown.
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


def fillings(gaps: Sequence[Filling]) -> None:
    """Each gap with its cost and its button; the cost is counted when it is opened."""
    for gap in gaps:
        with st.expander(f"Missing: {gap.words}", key=f"fill-{gap.name}", on_change="rerun") as box:
            if box.open:
                _cost_and_button(gap)


def _cost_and_button(gap: Filling) -> None:
    try:
        study = gap.study()
        validate_study(study)
    except ObservatoryError as error:
        st.info(plain(str(error)))
        return
    models = list(dict.fromkeys(ref.model for ref in study.checkpoints))
    st.markdown(
        f"{plain(joined(models, most=12))}: {count(len(study.checkpoints), 'checkpoint')}, "
        f"{count(len(study.tasks), 'task')}, {count(len(study.label_settings), 'setting')}, "
        f"{count(len(study.demo_seeds), 'seed')}, {study.n_shots} shots, {count(len(study.splits), 'split')} "
        f"({' and '.join(study.splits)}): {count(n_cells(study), 'cell')} of at most {study.n_test:,} test rows each."
    )
    if (cost := cost_of(study, key=gap.name)) is not None:
        st.markdown(_words(cost))
    st.button("Take this study to Evaluate", key=f"take-{gap.name}", on_click=_hand_over, args=(gap,))


def _words(cost: Estimate) -> str:
    time = plain(cost.time_words)
    if cost.seconds is not None:
        time = f"**{duration(cost.seconds)}**, {time}."
    return (
        f"**{cost.n_new:,}** of them to compute: {short_number(round(cost.tokens))} tokens, "
        f"{short_number(cost.tflops)} TFLOPs. {time}"
    )


def _hand_over(gap: Filling) -> None:
    """Sets the pickers, which the evaluate page mirrors, to the study."""
    for item in dataclasses.fields(selection.Choice):
        value = getattr(gap.choice, item.name)
        st.session_state[item.name] = list(value) if isinstance(value, tuple) else value
    st.session_state["dev"] = gap.dev
    st.session_state[_TAKEN] = True


def follow() -> None:
    """Goes to the evaluate page where a study was taken there; before the panels, which would show it themselves."""
    if st.session_state.pop(_TAKEN, False):
        st.switch_page("pages/evaluate/page.py", query_params={})  # None is refused while widgets own some
