"""What the home page shows: the curves of the shipped suite's first member, and where they clearly change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from icl_core.analysis.moments import Moment, moments
from icl_core.analysis.trajectories import AbilityCurves
from icl_core.records import CheckpointRef
from pages.ui.controls import selection
from pages.ui.data import cached, rows
from pages.ui.data.view import View

__all__ = ["FirstCurves", "NoCurves", "shown_curves"]


@dataclass(frozen=True, slots=True)
class FirstCurves:
    """The curves that a visitor sees first.

    Attributes:
        curves: ICL, TR and TL accuracy.
        moments: the clear changes on the way.
        places: of the checkpoints on the axis of training.
    """

    curves: AbilityCurves
    moments: tuple[Moment, ...]
    places: Mapping[CheckpointRef, float]


@dataclass(frozen=True, slots=True)
class NoCurves:
    """There is nothing to draw yet.

    Attributes:
        model: has results, but no complete checkpoint; "" if nothing is stored.
    """

    model: str


def shown_curves() -> FirstCurves | NoCurves:
    """The first model's curves under the options with most results."""
    defaults = selection.defaults_for(())
    found = cached.collected(selection.study_of(defaults)).predictions if defaults.model else {}
    if not found:
        return NoCurves("")
    model = next(iter(found))
    curves = cached.curves(selection.study_of(defaults), model, View())
    if not curves.curves:
        return NoCurves(model)
    return FirstCurves(curves, moments(curves), rows.positions(found[model].checkpoints, "step"))
