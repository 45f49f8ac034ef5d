"""The controls of the dynamics page: task and measure, and how the curves are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from pages.ui.charts.axes import Quantity, ScaleName
from pages.ui.controls import analysis
from pages.ui.data import cached, rows
from pages.ui.data.view import View

__all__ = ["CurveStyle", "style_controls", "view_controls"]


@dataclass(frozen=True, slots=True)
class CurveStyle:
    """How the curves are drawn.

    Attributes:
        quantity, scale: of the horizontal axis.
        bands: whether they are drawn.
        overlaid: whether several models share one chart.
        instead: why the axis does not count what was asked for, "" if it does.
    """

    quantity: Quantity
    scale: ScaleName
    bands: bool
    overlaid: bool
    instead: str


def view_controls(found: cached.Collected) -> View:
    """Task, measure and label score."""
    tasks = list(dict.fromkeys(task for predictions in found.predictions.values() for task in predictions.tasks))
    return analysis.view_controls(tasks)


def style_controls(found: cached.Collected) -> CurveStyle:
    """Axis, bands, and whether several models share a chart.

    Raises:
        StudyError: there is no axis for all models.
    """
    refs = [ref for predictions in found.predictions.values() for ref in predictions.checkpoints]
    wanted, scale = analysis.axis_controls(refs)
    quantity, instead = rows.settled(refs, wanted)
    bands = st.toggle("Bands", value=True, key="bands", bind="query-params")
    overlaid = False
    if len(found.predictions) > 1:
        overlaid = st.toggle("Overlay models", key="overlay", bind="query-params")
    return CurveStyle(quantity, scale, bands, overlaid, instead)
