"""The ways from the home page to the others."""

from __future__ import annotations

import streamlit as st

__all__ = ["doors"]


def doors() -> None:
    """A button for each of three ways in."""
    with st.container(horizontal=True):
        if st.button("Explore", type="primary", key="door-explore"):
            st.switch_page("pages/dynamics/page.py", query_params={})
        if st.button("Evaluate a model", key="door-evaluate"):
            st.switch_page("pages/evaluate/page.py", query_params={})  # None is refused while widgets own some
        if st.button("Try a sentence", key="door-playground"):
            st.switch_page("pages/playground/page.py", query_params={})
