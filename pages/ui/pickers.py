"""Controls whose value or options change without their user: what the box shows is what the page reads, always.

A browser keeps the text of a keyed control until it is told another value, and answers with what it holds. So a value
that has gone is replaced openly, and a control that repeats another one is a new control when that has moved. Every
control whose options are not fixed is drawn here; a test refuses others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

__all__ = ["mirror"]

_MOST_KNOWN = 50


def mirror(key: str, value: Any, take: Callable[[Any], None]) -> dict[str, Any]:
    """Key and callback of a control that repeats what another one holds, with its value set.

    Both can be used. A browser that has not yet heard of the latest value still reports the one before, which must not
    be taken for a change by the user. So when the other control has moved, this one goes on under a new key, and what
    is reported under a key counts only where it is not what was last known of it. While only this control is used,
    the key stays, and with it the focus.

    Args:
        key: the control's name; every key begins with it.
        value: what the other control holds now.
        take: is called with the value that the user sets here.
    """
    known: dict[str, Any] = st.session_state.setdefault(f"{key}.known", {key: value})
    name = next(reversed(known))
    if st.session_state.get(name, value) != value:
        name = f"{key}.{int(name.rpartition('.')[2]) + 1 if name != key else 1}"
    known[name] = st.session_state[name] = value
    for old in list(known)[:-_MOST_KNOWN]:
        del known[old]
    return {"key": name, "on_change": _taken, "args": (key, name, take)}


def _taken(key: str, name: str, take: Callable[[Any], None]) -> None:
    value, known = st.session_state[name], st.session_state[f"{key}.known"]
    if name in known and known[name] != value:
        known[name] = value
        take(value)
