"""What the dynamics page shows, computed once for the chart and the tabs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from icl_core.analysis.trajectories import AbilityCurves
from icl_core.evaluation.study import Study
from icl_core.records import CheckpointRef
from pages.dynamics.controls import CurveStyle
from pages.ui.data import cached, rows
from pages.ui.data.view import View

__all__ = ["ShownCurves", "compute"]


@dataclass(frozen=True, slots=True)
class ShownCurves:
    """The curves of the study's models.

    Attributes:
        study: the current one.
        found: its results.
        view: tasks and measure.
        style: how the curves are drawn.
        curves: by model, of those with a complete checkpoint.
    """

    study: Study
    found: cached.Collected
    view: View
    style: CurveStyle
    curves: Mapping[str, AbilityCurves]

    @property
    def checkpoints(self) -> list[CheckpointRef]:
        """Those of all models, which share one axis."""
        return [ref for predictions in self.found.predictions.values() for ref in predictions.checkpoints]

    def rows_of(self, model: str) -> tuple[list[dict[str, Any]], dict[Any, float]]:
        """Rows of one model, with excluded checkpoints marked, and the places of its checkpoints on the axis."""
        curves = self.curves[model]
        hollow = cached.excluded_curves(self.study, curves, self.view)
        flagged = {ref for curve in hollow.curves.values() for ref in curve.checkpoints} if hollow else set()
        refs = cached.in_order({*self.found.predictions[model].checkpoints, *flagged})
        places = rows.positions(refs, self.style.quantity)
        drawn = rows.curve_rows(curves, places)
        if hollow is not None:
            drawn += rows.curve_rows(hollow, places, left_out=curves.excluded)
        return drawn, places


def compute(study: Study, found: cached.Collected, *, view: View, style: CurveStyle) -> ShownCurves:
    """The curves of each model that has a complete checkpoint."""
    curves = {}
    for model, predictions in found.predictions.items():
        if view.task is None or view.task in predictions.tasks:
            own = cached.curves(study, model, view)
            if own.curves:
                curves[model] = own
    return ShownCurves(study, found, view, style, curves)
