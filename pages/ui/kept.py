"""The study between runs: what a page switch and the address keep of it, and the way back by one step.

It moves values of the sidebar's pickers and decides none of them.
"""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

from pages.ui.selection import FOLLOWED, KEYS, LISTS, as_shown, defaults_for, held, show

__all__ = ["EMPTY", "drawn", "keep_in_url", "read_empty", "remember", "undo_button"]

EMPTY = "none"
"""The name in the address that holds the names of the pickers in which nothing is picked."""
_PAGE, _NOW, _BEFORE, _DRAWN = "study_page", "study_now", "study_before", "study_page_drawn"


def read_empty() -> None:
    """Empties the pickers of which the link of a new visit says so; a list of nothing is not in an address itself."""
    for name in st.query_params.get_all(EMPTY):
        if name in LISTS and not any(st.query_params.get_all(name)):
            st.session_state[name] = []


def keep_in_url(page: str) -> None:
    """Writes the study into the address of another page; a switch would drop it though it still holds.

    It is written in one go, since the browser makes a step of its history of every change by the server, and each of
    them would be a study of its own on the way back.
    """
    if _PAGE not in st.session_state:
        st.query_params.update({})  # unchanged, but told: the browser then takes it along to the next page
    cut_short = not st.session_state.get(_DRAWN, True)
    st.session_state[_DRAWN] = False
    if st.session_state.get(_PAGE, page) == page:
        return
    if cut_short and not any(name in st.query_params for name in (*KEYS, EMPTY)):
        show(**st.session_state.get(_NOW, {}))  # the browser left before it was told the address
    known = {name: st.session_state[name] for name in KEYS if name in st.session_state}
    defaults = defaults_for(known.get("model", ()))
    changed = {name: value for name, value in known.items() if value != held(defaults, name)}
    study = {name: _written(name, value) for name, value in changed.items()}
    own: dict[str, str | list[str]] = {
        name: st.query_params.get_all(name) for name in st.query_params if name not in (*KEYS, EMPTY)
    }
    try:
        st.query_params.from_dict(study | own)
    except StreamlitAPIException:  # a picker still owns its name; each then writes its own
        show(**known)


def drawn() -> None:
    """Notes that a page was drawn to its end, so that the browser knows the address by heart."""
    st.session_state[_DRAWN] = True


def _written(name: str, value: Any) -> str | list[str]:
    return [as_shown(name, text) for text in value] or "" if isinstance(value, list) else str(value)


def remember(page: str) -> None:
    """Keeps the drawn pickers' values: the ones before them for the way back, the empty ones in the address."""
    st.session_state[_PAGE] = page
    now = {name: st.session_state[name] for name in (*KEYS, FOLLOWED)}
    if now != st.session_state.get(_NOW, now):
        st.session_state[_BEFORE] = st.session_state[_NOW]
    st.session_state[_NOW] = now
    empty = [name for name in LISTS if not now[name] and st.query_params.get_all(name) != [""]]
    if empty != st.query_params.get_all(EMPTY):
        if empty:
            st.query_params[EMPTY] = empty
        else:
            del st.query_params[EMPTY]


def undo_button() -> None:
    """Goes back to the study before the last change, once."""
    before: dict[str, Any] | None = st.session_state.get(_BEFORE)
    st.button(
        "Undo", key="undo", type="tertiary", on_click=_undo, disabled=before is None,
        help="Brings back the study before the last change; one step.",
    )  # fmt: skip


def _undo() -> None:
    """Restates the values of the study before; what follows is no change to come back from."""
    before = st.session_state.pop(_BEFORE)
    show(**before)
    st.session_state[_NOW] = before
