"""The curves of the dynamics page at full width: one model, models overlaid, or one below the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from icl_core.records import CheckpointRef
from pages.dynamics.computed import ShownCurves
from pages.ui.charts.axes import XAxis, percent_domain
from pages.ui.charts.curves import Style, ability_chart
from pages.ui.charts.marks import PICK
from pages.ui.charts.theme import Figure, Palette
from pages.ui.controls import analysis, selection
from pages.ui.data import rows
from pages.ui.files.sheet import Panel
from pages.ui.panels import blocks, frame
from pages.ui.words.written import legible, plain

__all__ = ["PanelLayout", "layout_of", "panels"]


@dataclass(frozen=True, slots=True)
class PanelLayout:
    """How the curves are laid out on the page.

    Attributes:
        shown: the curves.
        placed: by model, its rows and the places of its checkpoints.
        groups: models that share a chart, from top to bottom.
        axis: of training, one for all charts.
        style: of each chart.
    """

    shown: ShownCurves
    placed: Mapping[str, tuple[list[dict[str, Any]], dict[CheckpointRef, float]]]
    groups: Sequence[Sequence[str]]
    axis: XAxis
    style: Style

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Those of all charts."""
        return [row for part, _ in self.placed.values() for row in part]

    def figure(self, group: Sequence[str], palette: Palette, *, pickable: bool) -> Figure:
        """The chart of one group."""
        places = self.placed[group[0]][1]
        return ability_chart(
            [row for model in group for row in self.placed[model][0]],
            self.axis,
            palette,
            style=dataclasses.replace(self.style, pickable=pickable),
            references=rows.reference_rows(self.shown.curves[group[0]]),
            phases=rows.phase_rows(group[0], places, self.shown.style.quantity) if len(group) == 1 else (),
        )

    def drawn(self, palette: Palette) -> list[Panel]:
        """All charts in the colours of a palette, for a file."""
        return [
            ("" if len(group) > 1 else group[0], self.figure(group, palette, pickable=False)) for group in self.groups
        ]


def layout_of(shown: ShownCurves) -> PanelLayout:
    """One chart for one model or for all overlaid, else one per model; axes are shared."""
    placed = {model: shown.rows_of(model) for model in shown.curves}
    everything = [row for part, _ in placed.values() for row in part]
    heights = [row["value"] for curves in shown.curves.values() for row in rows.reference_rows(curves)]
    low, high = ("low", "high") if shown.style.bands else ("value", "value")
    domain = percent_domain(
        [*(row[low] for row in everything), *heights], [*(row[high] for row in everything), *heights]
    )
    is_one = shown.style.overlaid or len(placed) == 1
    return PanelLayout(
        shown,
        placed,
        groups=[list(placed)] if is_one else [[model] for model in placed],
        axis=rows.training_axis(
            [places for _, places in placed.values()], quantity=shown.style.quantity, scale=shown.style.scale
        ),
        style=Style(
            height=400 if is_one else 240,
            bands=shown.style.bands,
            domain=domain,
            pickable=True,
            title=analysis.MEASURE_TITLES[shown.view.measure],
        ),
    )


def panels(shown: ShownCurves) -> None:
    """The charts; a click on a point opens its checkpoint."""
    layout = layout_of(shown)
    for index, group in enumerate(layout.groups):
        if len(layout.groups) > 1:
            st.markdown(f"**{plain(group[0])}**")
        key = f"curves-{index}"
        blocks.chart(
            layout.figure(group, frame.palette(), pickable=True),
            key=key,
            alt=f"{layout.style.title} of ICL, TR and TL over training for {', '.join(group)}",
            on_pick=partial(_pick_checkpoint, key),
        )
    if shown.style.instead:
        st.caption(plain(shown.style.instead))


def _pick_checkpoint(key: str) -> None:
    """Copies a clicked point into the picker of the checkpoint, which is in the address."""
    picked = st.session_state[key].selection.get(PICK) or []
    if picked:
        selection.show(at=f"{legible(picked[0]['model'])} {picked[0]['checkpoint']}", tab="One checkpoint")
