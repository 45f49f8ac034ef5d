"""What a link asks for, and what became of it: a value that cannot be honoured is left out, and that is said.

Every control reads its own value from the address and falls back to its default where the value is none of its own.
This module keeps what the link asked for, and compares. It decides nothing about the values themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import streamlit as st

from pages.ui.controls import MEASURE_TITLES, NORMALISATION_TITLES, QUANTITY_TITLES
from pages.ui.suite import FACTORS
from pages.ui.theme import ABILITY_BY_SETTING
from pages.ui.words import plain, task_title

__all__ = ["read", "say"]

_NUMBERS = re.compile(r"shots|examples|eps|w|play_(w|seed|shots)|min_\w+|lab2?_\w+")
"""Names of the controls that hold numbers; a control that counts cannot be drawn over an infinite one."""
_PENDING, _SAID = "link_pending", "link_said"
MOST_SAID = 8


def read() -> None:
    """Keeps what the link of a new visit asks for, before any control takes its value from the address.

    Numbers that are none are taken out of the address first, and the run begins again.
    """
    if _PENDING not in st.session_state:
        st.session_state[_PENDING] = {name: st.query_params.get_all(name) for name in st.query_params}
        st.session_state[_SAID] = {}
    wrong = [name for name in st.query_params if _NUMBERS.fullmatch(name) and not _is_finite(st.query_params[name])]
    if wrong:
        st.query_params.from_dict({n: st.query_params.get_all(n) for n in st.query_params if n not in wrong})
        st.rerun()


def _is_finite(text: str) -> bool:
    """False for infinite numbers and those that are none; a text is left to its control, which refuses it."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return True


def say() -> None:
    """One sentence with everything that the link asks for and the drawn controls do not hold; none where they do.

    A line of it goes when its control is used.
    """
    pending, said = st.session_state[_PENDING], st.session_state[_SAID]
    for name in [name for name in pending if name in st.session_state]:
        lost = _lost([text for text in pending.pop(name) if text], st.session_state[name])
        if lost:
            said[name] = (lost, st.session_state[name])
    for name in [name for name, (_, held) in said.items() if st.session_state.get(name, held) != held]:
        del said[name]
    if said:
        parts = [f"{name} = {_short(lost)}" for name, (lost, _) in list(said.items())[:MOST_SAID]]
        more = f" and {len(said) - MOST_SAID} more" if len(said) > MOST_SAID else ""
        st.warning(plain(f"Some of this link cannot be followed and was left out: "
                         f"{'; '.join(parts)}{more}."))  # fmt: skip


def _short(lost: Sequence[str]) -> str:
    text = ", ".join(lost)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _lost(asked: Sequence[str], held: object) -> list[str]:
    """What was asked of a control and it does not hold; a control of one value takes the last that is asked of it."""
    if isinstance(held, list | tuple):
        names = {name for each in held for name in _names(each)}
        return [text for text in asked if text not in names]
    names = {name.casefold() for name in _names(held)}
    return [text for text in asked[-1:] if text.casefold() not in names and not _equals(text, held)]


def _equals(text: str, held: object) -> bool:
    try:
        return isinstance(held, int | float) and float(text) == held
    except ValueError:
        return False


def _names(held: object) -> list[str]:
    """Everything that an address calls a value: itself, or its title in a control that shows titles."""
    name = str(held)
    titles = [titles[name] for titles in (MEASURE_TITLES, NORMALISATION_TITLES, QUANTITY_TITLES) if name in titles]
    titles += [f"{name} ({ABILITY_BY_SETTING[name]})"] if name in ABILITY_BY_SETTING else []
    titles += [FACTORS[name].title] if name in FACTORS else []
    return [name, task_title(name), *titles]
