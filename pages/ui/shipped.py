"""The offer to bring the shipped results of the suite's other models into the store, which takes about a minute."""

from __future__ import annotations

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation.bundle import ensure_embedded, waiting_bundles
from pages.ui import cached
from pages.ui.words import count, plain

__all__ = ["offer"]


def offer(key: str) -> None:
    """A sentence and a button while shipped results wait outside the store; nothing once they are in."""
    waiting = waiting_bundles(cached.store())
    if not waiting:
        return
    with st.container(horizontal=True, vertical_alignment="center", key=f"shipped-{key}"):
        st.markdown(
            "The shipped results of the embedded suite's other training runs, one factor changed at a time, are not "
            f"in this store yet ({count(len(waiting), 'bundle')})."
        )
        if st.button("Bring them in (one to two minutes)", key=f"shipped-button-{key}"):
            _import(waiting)


def _import(bundles: tuple[str, ...]) -> None:
    progress = st.progress(0.0)
    try:
        for done, name in enumerate(bundles):
            progress.progress(done / len(bundles), text=f"{plain(name)}: {done + 1} of {len(bundles)}")
            ensure_embedded(cached.store(), [name])
    except ObservatoryError as error:
        st.error(plain(str(error)))
        return
    st.rerun()
