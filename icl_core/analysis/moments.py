"""Clear changes of a trajectory: task recognition rises, task learning jumps, task recognition falls.

It reads finished curves and writes no sentences. A change counts if the 95 % bands at its two ends do not overlap; this
is stricter than a paired test of the difference. Which changes are sought: arXiv 2406.14022, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from icl_core.analysis.trajectories import AbilityCurve, AbilityCurves
from icl_core.records import CheckpointRef, LabelSetting

__all__ = ["Moment", "moments"]

MomentKind = Literal["tr_rise", "tl_jump", "tr_fall"]


@dataclass(frozen=True, slots=True)
class Moment:
    """One clear change of one curve.

    Attributes:
        kind: rise, jump or fall.
        label_setting: the setting of the curve.
        start: checkpoint before the change.
        end: checkpoint after it.
        before: the measure at the start, fraction.
        after: the measure at the end, fraction.
    """

    kind: MomentKind
    label_setting: LabelSetting
    start: CheckpointRef
    end: CheckpointRef
    before: float
    after: float


def moments(curves: AbilityCurves) -> tuple[Moment, ...]:
    """The clear changes, in the order rise, jump, fall; others are left out.

    The rise goes from TR's first checkpoint to its highest (the earliest on ties), the fall from there to the lowest
    one after it, and the jump is the interval in which TL gains most.
    """
    found: list[Moment | None] = []
    tr, tl = curves.curves.get("random"), curves.curves.get("abstract")
    if tr is not None:
        peak = int(np.argmax(tr.value))
        found.append(_clear("tr_rise", tr, start=0, end=peak))
    if tl is not None and tl.value.size > 1:
        jump = int(np.argmax(np.diff(tl.value)))
        found.append(_clear("tl_jump", tl, start=jump, end=jump + 1))
    if tr is not None and peak + 1 < tr.value.size:
        found.append(_clear("tr_fall", tr, start=peak, end=peak + 1 + int(np.argmin(tr.value[peak + 1 :]))))
    return tuple(moment for moment in found if moment is not None)


def _clear(kind: MomentKind, curve: AbilityCurve, *, start: int, end: int) -> Moment | None:
    apart = curve.high[end] < curve.low[start] if kind == "tr_fall" else curve.low[end] > curve.high[start]
    if not apart:
        return None
    return Moment(
        kind=kind,
        label_setting=curve.label_setting,
        start=curve.checkpoints[start],
        end=curve.checkpoints[end],
        before=float(curve.value[start]),
        after=float(curve.value[end]),
    )
