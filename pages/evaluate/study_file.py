"""Opens a study from its JSON file: the pickers, the address and every page then hold what it asks for."""

from __future__ import annotations

from dataclasses import asdict

import streamlit as st

from icl_core.errors import ObservatoryError
from pages.evaluate import sentences
from pages.ui.controls import selection
from pages.ui.controls.opened import open_study
from pages.ui.words.written import plain

__all__ = ["draw"]

_SAID = "study_file_said"


def draw() -> None:
    """The upload, and whether its file could be opened."""
    with st.expander("Open a study"):
        st.file_uploader(
            "A study's JSON file, as every page with a table gives it", type=["json"], key="study_file", on_change=_take
        )
        if said := st.session_state.get(_SAID):
            opened, sentence = said
            (st.success if opened else st.error)(plain(sentence))


def _take() -> None:
    """Sets the pickers from the uploaded study; a file that cannot be opened leaves them as they are."""
    uploaded = st.session_state["study_file"]
    st.session_state[_SAID] = None
    if uploaded is None:
        return
    try:
        choice, dev = open_study(uploaded.getvalue(), uploaded.name)
    except ObservatoryError as error:
        st.session_state[_SAID] = (False, str(error))
        return
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(choice).items()}
    selection.show(**values, dev=dev)
    st.session_state[_SAID] = (True, sentences.study_opened(uploaded.name))
