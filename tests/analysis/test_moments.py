"""Clear changes of TR and TL on hand-made curves."""

from __future__ import annotations

import numpy as np

from icl_core.analysis.moments import moments
from icl_core.analysis.trajectories import AbilityCurve, AbilityCurves
from icl_core.records import CheckpointRef, LabelSetting

REFS = tuple(CheckpointRef("f", "m", f"step{n}", "hub", "o/m", n) for n in range(6))


def curves(half_width: float, **values: list[float]) -> AbilityCurves:
    def curve(setting: LabelSetting, value: list[float]) -> AbilityCurve:
        array = np.array(value)
        return AbilityCurve(setting, REFS[: len(value)], array, array - half_width, array + half_width, {})

    made = {setting: curve(setting, value) for setting, value in values.items()}  # type: ignore[arg-type]
    return AbilityCurves("m", "accuracy", "sum", ("t",), (13,), made, 0.3, 0.3, {}, {}, {}, (), {}, 1000)  # type: ignore[arg-type]


def test_rise_jump_and_fall_are_found_where_they_are() -> None:
    found = moments(curves(0.01, random=[0.3, 0.5, 0.7, 0.6, 0.4, 0.45], abstract=[0.3, 0.3, 0.3, 0.6, 0.62, 0.63]))
    assert [(m.kind, m.start.step, m.end.step) for m in found] == [
        ("tr_rise", 0, 2),
        ("tl_jump", 2, 3),
        ("tr_fall", 2, 4),
    ]
    assert [(m.before, m.after) for m in found] == [(0.3, 0.7), (0.3, 0.6), (0.7, 0.4)]


def test_changes_within_their_bands_are_not_called_out() -> None:
    assert moments(curves(0.2, random=[0.3, 0.5, 0.7, 0.5], abstract=[0.3, 0.3, 0.5, 0.5])) == ()


def test_bands_that_touch_are_not_clear() -> None:
    assert moments(curves(0.25, random=[0.25, 0.75], abstract=[0.25, 0.75])) == ()
    assert moments(curves(0.25, random=[0.75, 0.25])) == (), "nor is a fall"


def test_tr_that_only_rises_does_not_fall() -> None:
    found = moments(curves(0.01, random=[0.3, 0.4, 0.5, 0.6], abstract=[0.3, 0.3, 0.3, 0.3]))
    assert [m.kind for m in found] == ["tr_rise"]


def test_one_checkpoint_or_one_ability_has_no_jump() -> None:
    assert moments(curves(0.01, abstract=[0.5])) == ()
    assert [m.kind for m in moments(curves(0.01, abstract=[0.3, 0.6]))] == ["tl_jump"]
