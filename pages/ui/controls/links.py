"""What a link asks for, and what became of it: a value that cannot be used is left out, and the page says so.

Every control reads its value from the address, and falls back to its default if it does not know the value. This module
keeps what the link asked for and compares. It also writes short names out as the controls show them. It does not decide
which values are right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import streamlit as st

from icl_core.records import LABEL_SETTINGS
from pages.ui.controls import kept
from pages.ui.controls.analysis import MEASURE_TITLES, NORMALISATION_TITLES, OWN_TITLES, QUANTITY_TITLES
from pages.ui.data.suite import FACTORS
from pages.ui.words.written import plain, setting_title, task_title

__all__ = ["read", "say", "settle"]

_NUMBERS = re.compile(r"shots|examples|eps|w|play_(w|seed|shots)|min_\w+|lab2?_\w+")
"""Names of the controls that hold numbers; such a control cannot be drawn with an infinite one."""
_TITLES: Mapping[str, Mapping[str, str]] = {
    "setting": {name: setting_title(name) for name in LABEL_SETTINGS},
    "measure": MEASURE_TITLES,
    "norm": NORMALISATION_TITLES,
    "x": QUANTITY_TITLES,
    "compare_x": QUANTITY_TITLES,
    "factor": {name: factor.title for name, factor in FACTORS.items()},
}
"""By control: what it shows and writes into the address for a name of the core."""
_TASKS = ("task", "on", "task_shown", "play_task", "queries_task")
_OURS = (kept.EMPTY, "embed", "embed_options")
"""Names in an address that no control owns."""
_PENDING, _SAID = "link_pending", "link_said"
MOST_SAID = 8


def read() -> None:
    """Keeps what the link of a new visit asks for, before any control takes its value from the address.

    First, numbers that are not finite are taken out of the address and short names are written out; then the run
    begins again.
    """
    asked = {name: st.query_params.get_all(name) for name in st.query_params}
    if _PENDING not in st.session_state:
        st.session_state[_PENDING] = {name: values for name, values in asked.items() if name not in _OURS}
        st.session_state[_SAID] = {}
        kept.read_empty()
        written = {name: [_title(name, text) for text in values] for name, values in asked.items()}
    else:
        written = asked
    sound = {n: v for n, v in written.items() if not (_NUMBERS.fullmatch(n) and not _is_finite(v[-1]))}
    if sound != asked:
        st.query_params.from_dict(sound)
        st.rerun()


def _title(control: str, text: str) -> str:
    """How a control shows a name of the core; any other text as it is."""
    shown = task_title(text) if control in _TASKS else text
    return _TITLES.get(control, {}).get(text, shown)


def _is_finite(text: str) -> bool:
    """False for infinity and nan; a text that is no number is left to its control, which refuses it."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return True


def settle() -> None:
    """After a page was drawn to its end: whatever no control has taken is not here."""
    pending, said = st.session_state[_PENDING], st.session_state[_SAID]
    for name in [name for name in pending if name not in st.session_state]:
        lost = [text for text in pending.pop(name) if text]
        if lost:
            said[name] = (lost, None)


def say() -> None:
    """One sentence that names all that the link asks for and no control holds; nothing if there is no such value.

    A value is no longer named once its control is used.
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
        verb = "is" if len(said) == 1 and len(next(iter(said.values()))[0]) == 1 else "are"
        st.warning(plain(f"This link asks for {'; '.join(parts)}{more}, which {verb} not here."))


def _short(lost: Sequence[str]) -> str:
    text = ", ".join(lost)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _lost(asked: Sequence[str], held: object) -> list[str]:
    """What a link asks of a control and it does not hold; for a control of one value, the last one asked counts."""
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
    own = OWN_TITLES if name == "step" else ()
    return [name, task_title(name), *own, *(titles[name] for titles in _TITLES.values() if name in titles)]
