"""Tabs below a page's first screen: one is open, and what the others hold is not computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import streamlit as st

__all__ = ["Tab", "draw_tabs"]

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Tab(Generic[C]):
    """One tab.

    Attributes:
        name: as it stands on the tab and in the address.
        body: draws it from what the page shows; with ``pick``, from what was picked too.
        pick: a picker in it that is drawn while the tab is closed as well, so that a click elsewhere can set it.
    """

    name: str
    body: Callable[..., None]
    pick: Callable[[C], Any] | None = None


def draw_tabs(tabs: Sequence[Tab[C]], shown: C, *, key: str) -> None:
    """The tabs, with the body of the open one.

    Args:
        tabs: in their order.
        shown: what the page shows; every tab draws from it alone.
        key: under which the open tab stands in the address.
    """
    names = [tab.name for tab in tabs]
    for tab, place in zip(tabs, st.tabs(names, key=key, on_change="rerun", bind="query-params"), strict=True):
        with place:
            picked = () if tab.pick is None else (tab.pick(shown),)
            if place.open:
                tab.body(shown, *picked)
