"""The chart of the home page: three curves, with the words of each clear change at its place."""

from __future__ import annotations

from typing import Any

from icl_core.records import ABILITY_BY_SETTING
from pages.home import sentences
from pages.home.computed import FirstCurves
from pages.ui.charts.curves import Style, ability_chart
from pages.ui.data import rows
from pages.ui.panels import blocks, frame

__all__ = ["curves", "notes"]


def curves(found: FirstCurves) -> None:
    """ICL, TR and TL over training, with chance and the phases of the data."""
    figure = ability_chart(
        rows.curve_rows(found.curves, found.places),
        rows.training_axis([found.places], quantity="step", scale="linear"),
        frame.palette(),
        style=Style(height=330),
        references=rows.reference_rows(found.curves),
        phases=rows.phase_rows(found.curves.model, found.places, "step"),
        notes=notes(found),
    )
    blocks.chart(figure, key="home-curves", alt=f"ICL, TR and TL accuracy of {found.curves.model} over training")


def notes(found: FirstCurves) -> list[dict[str, Any]]:
    """The words of each clear change, beside the point where it ends."""
    return [
        {
            "x": found.places[moment.end],
            "value": moment.after,
            "text": sentences.CALLOUTS[moment.kind],
            "ability": ABILITY_BY_SETTING[moment.label_setting],
        }
        for moment in found.moments
    ]
