"""Controls whose value or options change without their user: what the box shows is what the page reads, always.

A browser keeps the text of a keyed control until it is told another value, and answers with what it holds. So a value
that has gone is replaced openly, and a control that repeats another one is a new control when that has moved. Every
control whose options can change is drawn here; a test refuses others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

__all__ = ["mirror", "offers", "one_of", "several_of", "step_of"]

_MOST_KNOWN = 50


def mirror(key: str, value: Any, take: Callable[[Any], None]) -> dict[str, Any]:
    """Key and callback of a control that repeats what another one holds, with its value set.

    Both can be used. A browser that does not know the latest value yet still reports the one before, which must not be
    taken for a change by the user. So when the other control has moved, this one gets a new key, and a value reported
    under a key counts only if it differs from the last known one. While only this control is used, the key stays, and
    the focus with it.

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


def one_of(
    label: str, options: Sequence[str], *, key: str, default: str | None = None, at: Any = st, **look: Any
) -> str:
    """A box over options that can change, its key in the address.

    A value that is not among the options any more gives way to the default, and the browser is told so.

    Args:
        label: what is chosen.
        options: at least one.
        key: of the control, and its name in the address.
        default: what is shown before anyone chooses; the first option if None.
        at: where the control stands: ``st`` or a container.
        look: further arguments of ``st.selectbox``.
    """
    first = options[0] if default is None else default
    _keep(key, lambda value: value if value in options else first)
    placed = {"bind": "query-params", **look, "key": key, "index": list(options).index(first)}
    return str(at.selectbox(label, list(options), **placed))


def several_of(label: str, options: Sequence[str], *, key: str, default: Sequence[str] = (), **look: Any) -> list[str]:
    """A box for several of options that can change, its key in the address.

    Values that are not among the options any more are taken out, and the browser is told so.

    Args:
        label: what is chosen.
        options: what there is.
        key: of the control, and its name in the address.
        default: what is shown before anyone chooses; those that are no option are left out.
        look: further arguments of ``st.multiselect``.
    """
    _keep(key, lambda value: [name for name in value if name in options])
    first = [name for name in default if name in options]
    return list(st.multiselect(label, list(options), **{"bind": "query-params", **look, "key": key, "default": first}))


def step_of(label: str, options: Sequence[str], *, key: str) -> str:
    """A slider over options that can change, at first on the last of them; as ``one_of`` in all else."""
    _keep(key, lambda value: value if value in options else options[-1])
    return str(st.select_slider(label, list(options), value=options[-1], key=key, bind="query-params"))


def offers(key: str, values: Mapping[str, object], take: Callable[[Any], None]) -> None:
    """A row of small buttons that fill or empty a control.

    Args:
        key: of the row and its buttons, unique on the page.
        values: what each button sets, by its words.
        take: is called with the value.
    """
    with st.container(horizontal=True, gap="small", key=f"offers-{key}"):
        for words, value in values.items():
            st.button(words, key=f"{key}-{words}", type="tertiary", on_click=take, args=(value,))


def _keep(key: str, fitting: Callable[[Any], Any]) -> None:
    """Replaces a control's value if it does not fit; if it were only dropped, the browser would keep the old text."""
    if key in st.session_state and fitting(st.session_state[key]) != st.session_state[key]:
        st.session_state[key] = fitting(st.session_state[key])
