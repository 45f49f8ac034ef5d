"""How the study lasts: when the page is switched, in the address, and one step back.

It moves values of the sidebar's pickers and chooses none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

from pages.ui.controls.selection import FOLLOWED, KEYS, LISTS, as_shown, defaults_for, held, show

__all__ = ["EMPTY", "drawn", "keep_in_url", "offer_left", "read_empty", "remember", "say_stayed", "undo_button"]

EMPTY = "none"
"""The name in the address that holds the names of the pickers in which nothing is picked."""
_PAGE, _NOW, _BEFORE, _STAYED = "study_page", "study_now", "study_before", "study_stayed"
_SHOWN = "studies_shown"
"""By page: what an address says of each study that the page has shown."""
_OWN, _LEFT = "own_choices", "own_choices_left"


def read_empty() -> None:
    """Empties the pickers that the link of a new visit names as empty; an address cannot hold an empty list itself."""
    for name in st.query_params.get_all(EMPTY):
        if name in LISTS and not any(st.query_params.get_all(name)):
            st.session_state[name] = []


def keep_in_url(page: str) -> None:
    """Writes the study into the address of another page; a switch of pages would drop it.

    It is written at once: every change by the server is a step in the browser's history, and half a study must not be
    one of them.
    """
    if _PAGE not in st.session_state:
        st.query_params.update({})  # unchanged, but told: the browser then takes it along to the next page
    if st.session_state.get(_PAGE, page) == page:
        return
    known = {name: st.session_state[name] for name in KEYS if name in st.session_state}
    before: dict[str, Any] = st.session_state.get(_NOW, {})
    asked = {name: texts for name in KEYS if (texts := st.query_params.get_all(name))}
    empty = st.query_params.get_all(EMPTY)
    is_blank = not asked and not empty
    st.session_state[_STAYED] = is_blank and any(before[name] != value for name, value in known.items())
    if is_blank or (not empty and _is_part(asked, page)):
        known = {name: before[name] for name in KEYS}  # boxes that are not ready yet send their defaults, or nothing
    own = {name: st.query_params.get_all(name) for name in _own_in_address()}
    st.session_state[_LEFT] = {} if own else st.session_state.get(_OWN, {}).get(page, {})
    with suppress(StreamlitAPIException):  # a picker still owns its name; each then writes its own
        st.query_params.from_dict(_study(known) | own)
    show(**known)  # told anew: pickers that were not ready when their user left would begin with their defaults


def _is_part(asked: Mapping[str, list[str]], page: str) -> bool:
    """Whether an address is what a switch of pages left of the study, and not one that the page has shown.

    A switch keeps only what the boxes have reported by then.
    """
    whole = _study(st.session_state.get(_NOW, {}))
    is_known = asked in st.session_state.get(_SHOWN, {}).get(page, ())
    return asked == whole or (not is_known and asked.items() <= whole.items())


def _study(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """What an address says of a study: the pickers that differ from their defaults, an empty one by an empty text."""
    defaults = defaults_for(values.get("model", ()))
    return {
        name: _written(name, values[name]) for name in KEYS if name in values and values[name] != held(defaults, name)
    }


def drawn(page: str) -> None:
    """Notes the choices of a page that was drawn to its end."""
    st.session_state.setdefault(_OWN, {})[page] = {
        name: st.session_state[name] for name in _own_in_address() if name in st.session_state
    }


def _written(name: str, value: Any) -> list[str]:
    return [as_shown(name, text) for text in value] or [""] if isinstance(value, list) else [str(value)]


def remember(page: str) -> None:
    """Keeps the pickers' values: those before them for the way back, and in the address which pickers are empty."""
    st.session_state[_PAGE] = page
    now = {name: st.session_state[name] for name in (*KEYS, FOLLOWED)}
    if now != st.session_state.get(_NOW, now):
        st.session_state[_BEFORE] = st.session_state[_NOW]
        st.session_state[_STAYED] = False
    st.session_state[_NOW] = now
    shown = st.session_state.setdefault(_SHOWN, {}).setdefault(page, [])
    if (written := _study(now)) not in shown:
        shown.append(written)
    empty = [name for name in LISTS if not now[name] and st.query_params.get_all(name) != [""]]
    if empty != st.query_params.get_all(EMPTY):
        if empty:
            st.query_params[EMPTY] = empty
        else:
            del st.query_params[EMPTY]


def say_stayed() -> None:
    """Says that the study stays, if a step back in the browser led to an address without one."""
    if st.session_state.get(_STAYED):
        st.info("This address names no study, so your study stays as it was.")


def offer_left() -> None:
    """Offers to bring back a page's own choices that a switch of pages has dropped."""
    left: dict[str, Any] = st.session_state.get(_LEFT, {})
    if not _own_in_address() and any(st.session_state.get(name) != value for name, value in left.items()):
        st.caption("Your choices on this page have been reset.")
        st.button("Bring them back", key="bring-back", type="tertiary", on_click=_bring_back)


def _own_in_address() -> list[str]:
    return [name for name in st.query_params if name not in (*KEYS, EMPTY)]


def _bring_back() -> None:
    left = st.session_state.pop(_LEFT)
    for name, value in left.items():
        with suppress(StreamlitAPIException):  # a drawn control writes its own
            st.query_params[name] = _written(name, value)
    show(**left)


def undo_button() -> None:
    """Goes back to the study before the last change, once."""
    before: dict[str, Any] | None = st.session_state.get(_BEFORE)
    st.button(
        "Undo", key="undo", type="tertiary", on_click=_undo, disabled=before is None,
        help="Brings back the study before the last change; one step.",
    )  # fmt: skip


def _undo() -> None:
    """Sets the pickers to the study before; this change itself cannot be undone."""
    before = st.session_state.pop(_BEFORE)
    show(**before)
    st.session_state[_NOW] = before
