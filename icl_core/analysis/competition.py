"""Competition between task recognition (TR) and task learning (TL) over pre-training, and its noise floor.

It takes accuracies or correctness and returns measures; it reads no store and draws nothing. Sources:
arXiv 2406.14022, Eqs. 1-4 (competition); the noise floor is this project's addition.

Conventions: accuracies and epsilon are fractions in [0, 1]; an interval lies between two consecutive
checkpoints, so n_intervals = n_checkpoints - 1. ``|change| > epsilon`` is strict, and changes within
``TIE_TOLERANCE`` of epsilon count as equal to it: 0.46 - 0.45 does not exceed 0.01.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from icl_core.errors import StudyError

__all__ = [
    "EPSILON_PAPER",
    "EPSILON_REFERENCE_CODE",
    "TIE_TOLERANCE",
    "Competition",
    "CompetitionMeasures",
    "competition",
    "competition_measures",
]

TIE_TOLERANCE = 1e-9
"""Accuracies are ratios of counts; two that differ by less than this are the same number in binary rounding."""
EPSILON_PAPER = 0.01
"""The paper's epsilon, on accuracies as fractions."""
EPSILON_REFERENCE_CODE = 0.0001
"""What the paper's code applies: it compares accuracies in percent with 0.01."""

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Competition:
    """Eqs. 1-4 of arXiv 2406.14022 on one pair of trajectories.

    Attributes:
        epsilon: smallest change that counts, accuracy fraction.
        delta_tr: (n_intervals,) change of TR accuracy, Eq. 1.
        delta_tl: (n_intervals,) change of TL accuracy, Eq. 1.
        indicator: (n_intervals,) bool, C^H of Eq. 2.
        intensity: (n_intervals,) C^S of Eq. 3: fall over rise; 0 where the indicator is False.
        cumulative_intensity: (n_intervals,) R of Eq. 4 at the end of each interval, last value 1; None where
            there is no competition at this epsilon (0/0).
        ratio: share of competing intervals.
        mean_intensity: mean of ``intensity`` over all intervals, those without competition included.
    """

    epsilon: float
    delta_tr: FloatArray
    delta_tl: FloatArray
    indicator: BoolArray
    intensity: FloatArray
    cumulative_intensity: FloatArray | None
    ratio: float
    mean_intensity: float

    @property
    def cumulative_by_checkpoint(self) -> FloatArray | None:
        """(n_checkpoints,) R with the 0 of the first checkpoint in front, as the paper draws it; None as above."""
        if self.cumulative_intensity is None:
            return None
        return np.concatenate([[0.0], self.cumulative_intensity])


@dataclass(frozen=True, slots=True, eq=False)
class CompetitionMeasures:
    """Eqs. 1-4 on many pairs of trajectories at once (replicates, tasks).

    Attributes:
        indicator: (..., n_intervals) bool.
        intensity: (..., n_intervals).
        ratio: (...,) share of competing intervals.
        mean_intensity: (...,).
    """

    indicator: BoolArray
    intensity: FloatArray
    ratio: FloatArray
    mean_intensity: FloatArray


def competition_measures(
    delta_tr: npt.ArrayLike, delta_tl: npt.ArrayLike, *, epsilon: float | FloatArray
) -> CompetitionMeasures:
    """Eqs. 2-3 from changes of accuracy, for any leading axes.

    Args:
        delta_tr: (..., n_intervals) changes of TR accuracy.
        delta_tl: same shape, changes of TL accuracy.
        epsilon: fraction; an array is broadcast against the changes.

    >>> competition_measures([[0.05, -0.02], [0.01, 0.0]], [[-0.02, 0.05], [-0.02, 0.1]], epsilon=0.01).ratio.tolist()
    [1.0, 0.0]
    """
    tr = np.asarray(delta_tr, dtype=np.float64)
    tl = np.asarray(delta_tl, dtype=np.float64)
    smaller = np.minimum(np.abs(tr), np.abs(tl))
    indicator = (np.sign(tr) * np.sign(tl) < 0) & (smaller > np.asarray(epsilon) + TIE_TOLERANCE)
    fall = -np.minimum(tr, tl)
    rise = np.maximum(tr, tl)
    intensity = np.divide(fall, rise, out=np.zeros(indicator.shape), where=indicator)
    return CompetitionMeasures(indicator, intensity, indicator.mean(axis=-1), intensity.mean(axis=-1))


def competition(tr_accuracy: npt.ArrayLike, tl_accuracy: npt.ArrayLike, *, epsilon: float) -> Competition:
    """Competition indicator, intensity, cumulative intensity, ratio and mean intensity of two trajectories.

    Args:
        tr_accuracy: (n_checkpoints,) accuracy fractions under random labels, in the order of training.
        tl_accuracy: (n_checkpoints,) the same under abstract labels.
        epsilon: smallest change that counts, fraction.

    Raises:
        StudyError: fewer than two checkpoints, unequal lengths, a value outside [0, 1], or epsilon outside [0, 1].

    >>> result = competition([0.40, 0.45, 0.43], [0.30, 0.28, 0.33], epsilon=0.01)
    >>> result.indicator.tolist(), [round(x, 3) for x in result.intensity.tolist()]
    ([True, True], [0.4, 0.4])
    >>> [round(x, 3) for x in result.cumulative_by_checkpoint.tolist()]
    [0.0, 0.5, 1.0]
    """
    tr = _trajectory(tr_accuracy, "TR")
    tl = _trajectory(tl_accuracy, "TL")
    if tr.shape != tl.shape:
        raise StudyError(
            f"TR has {tr.size} checkpoints and TL has {tl.size}: competition compares the two at the same checkpoints."
        )
    checked = _epsilon(epsilon)
    delta_tr, delta_tl = np.diff(tr), np.diff(tl)
    measures = competition_measures(delta_tr, delta_tl, epsilon=checked)
    total = float(measures.intensity.sum())
    return Competition(
        epsilon=checked,
        delta_tr=delta_tr,
        delta_tl=delta_tl,
        indicator=measures.indicator,
        intensity=measures.intensity,
        cumulative_intensity=np.cumsum(measures.intensity) / total if total > 0 else None,
        ratio=float(measures.ratio),
        mean_intensity=float(measures.mean_intensity),
    )


def _trajectory(accuracy: npt.ArrayLike, name: str) -> FloatArray:
    values = np.asarray(accuracy, dtype=np.float64)
    if values.ndim != 1:
        raise StudyError(f"The {name} trajectory has {values.ndim} dimensions; it needs one accuracy a checkpoint.")
    if values.size < 2:
        raise StudyError(
            f"Competition needs at least two checkpoints, {name} has {values.size}: with fewer there is no interval."
        )
    if not bool(np.all((values >= 0) & (values <= 1))):
        raise StudyError(f"The {name} trajectory holds values outside [0, 1]; accuracies are fractions, not percent.")
    return values


def _epsilon(epsilon: float) -> float:
    if not 0 <= epsilon <= 1:
        raise StudyError(f"epsilon is {epsilon}; it is an accuracy fraction between 0 and 1 (the paper's is 0.01).")
    return float(epsilon)
