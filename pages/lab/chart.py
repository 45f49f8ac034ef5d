"""The chart of the lab page: the curves of each chosen configuration, with chance, markers and changes of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import streamlit as st

from icl_core.pretraining.lab.runs import chance
from icl_core.pretraining.lab.summary import Group, marker_spread
from pages.lab import sentences, vega
from pages.lab.computed import CURVES, ChosenRuns, curve_rows
from pages.ui.charts.theme import Figure, Palette
from pages.ui.files.sheet import Draw
from pages.ui.panels import blocks, frame
from pages.ui.words.written import count, plain

__all__ = ["chance_rows", "curves", "marker_rows", "two_in_a_row"]


def two_in_a_row(n: int) -> list[Any]:
    """Places for n charts: two next to each other, one alone over the whole width."""
    return [st.container()] if n == 1 else [column for _ in range((n + 1) // 2) for column in st.columns(2)]


def curves(shown: ChosenRuns) -> tuple[Draw | None, list[dict[str, Any]]]:
    """The main chart, one part per configuration; gives what draws all of them in other colours, and all rows."""
    n = len(shown.groups)
    columns = two_in_a_row(n)
    look = vega.Look(height=380 if n < 3 else 250, marker_rows=0 if n == 1 else 4)
    everything: list[dict[str, Any]] = []
    drawn: list[tuple[str, Callable[[Palette], Figure]]] = []
    for index, group in enumerate(shown.groups):
        rows = curve_rows(group, shown.titles)
        everything += rows
        seeds = count(len(group.runs), "seed")
        with columns[index]:
            if n > 1:
                st.markdown(f"**{plain(group.title)}** · {seeds}")
            if not rows:
                st.info("This run has not reached its first evaluation, or no curve is chosen.")
                continue
            draw = partial(
                vega.series_chart,
                rows,
                shown.axis,
                look=look,
                references=chance_rows(group, shown.titles),
                markers=marker_rows(group),
            )
            drawn.append((f"{group.title} · {seeds}", draw))
            alt = f"{', '.join(shown.titles)} of {group.title} over training steps, with chance and phase markers"
            blocks.chart(draw(frame.palette()), key=f"lab-curves-{index}", alt=alt)
            if group.state == "partial":
                st.caption(sentences.not_finished(group))
    st.caption(sentences.bands(max(len(group.runs) for group in shown.groups)))
    return (lambda palette: [(title, draw(palette)) for title, draw in drawn]) if drawn else None, everything


def chance_rows(group: Group, titles: Sequence[str]) -> list[dict[str, Any]]:
    """Chance among the labels of the context; that of CIWL and of IWL too, if it is another and they are drawn."""
    run = group.runs[0]
    among = chance(run, "icl")
    rows = [{"value": among, "text": sentences.chance_line(among)}]
    for title in ("CIWL", "IWL"):
        level = chance(run, CURVES[title])
        if title in titles and level != among:
            rows.append({"value": level, "text": sentences.chance_line(level, title)})
    return rows


def marker_rows(group: Group) -> list[dict[str, Any]]:
    """The phase markers, and where the data change."""
    switch = group.config.switch_step
    changed = [] if switch is None else [{"x": switch, "text": "data change"}]
    return changed + [
        {"x": marker.step, "text": sentences.marker_words(name, marker, group)}
        for name, marker in marker_spread(group.runs).items()
    ]
