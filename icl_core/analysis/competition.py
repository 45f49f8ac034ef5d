"""Competition between task recognition (TR) and task learning (TL) over pre-training, and its noise floor.

It takes accuracies, or correctness and predictions of single queries, and returns measures. It reads no store and draws
nothing. Sources: arXiv 2406.14022, Eqs. 1-4 (competition); the noise floor is this project's own.

**Noise floor.** What would sampling noise alone give at this epsilon, if neither ability truly changed in any interval?
The changes of every task are resampled with the hierarchical bootstrap of ``statistics`` (seeds within tasks, examples
within tasks, tasks fixed). Each replicate's deviation from the observed change is a change under the null (the changes
centred on their mean); Eqs. 1-4 are recomputed on it. One draw serves both abilities and all intervals. So correlations
survive: between TR and TL (same queries, same demonstrations) and between neighbouring intervals (a shared checkpoint).
The spread between few seeds is itself uncertain, so replicates are studentised; otherwise one task or two seeds would
find competition in noise too often. The ratio is discrete: the claim is validity (type-I error at most alpha), not
uniform p-values.

Conventions: accuracies and epsilon are fractions in [0, 1]; an interval lies between two consecutive
checkpoints, so n_intervals = n_checkpoints - 1. ``|change| > epsilon`` is strict, and changes within
``TIE_TOLERANCE`` of epsilon count as equal to it: 0.46 - 0.45 does not exceed 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from icl_core.analysis.statistics import (
    Measure,
    degrees_of_freedom,
    hierarchical_deviations,
    replicate_task,
    studentised,
)
from icl_core.errors import StudyError

__all__ = [
    "CLEAR_CERTAINTY",
    "EPSILON_PAPER",
    "EPSILON_REFERENCE_CODE",
    "TIE_TOLERANCE",
    "ChangeReplicates",
    "Competition",
    "CompetitionMeasures",
    "EpsilonCurve",
    "EpsilonCurves",
    "IntervalCounts",
    "NoiseFloor",
    "competition",
    "competition_against_epsilon",
    "competition_measures",
    "count_intervals",
    "noise_floor",
    "noise_floor_of",
    "resample_changes",
    "resample_correctness",
]

TIE_TOLERANCE = 1e-9
"""Accuracies are ratios of counts; two that differ by less than this are the same number in binary rounding."""
EPSILON_PAPER = 0.01
"""The paper's epsilon, on accuracies as fractions."""
EPSILON_REFERENCE_CODE = 0.0001
"""What the paper's code applies: it compares accuracies in percent with 0.01."""

CLEAR_CERTAINTY = 0.95
"""An interval competes clearly when at least this share of uncentred replicates competes in it."""

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
        intensity: (n_intervals,) C^S of Eq. 3: fall over rise; 0 if the indicator is False.
        cumulative_intensity: (n_intervals,) R of Eq. 4 at the end of each interval, last value 1; None if
            there is no competition at this epsilon (0/0).
        ratio: share of competing intervals.
        mean_intensity: mean of ``intensity`` over all intervals, with or without competition.
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
        """(n_checkpoints,) R preceded by 0 for the first checkpoint, as the paper draws it; None if R is None."""
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
        raise StudyError(f"The {name} trajectory has {values.ndim} dimensions; it needs one accuracy per checkpoint.")
    if values.size < 2:
        raise StudyError(f"Competition needs at least two checkpoints; {name} has {values.size}.")
    if not bool(np.all((values >= 0) & (values <= 1))):
        raise StudyError(f"The {name} trajectory holds values outside [0, 1]; accuracies are fractions, not percent.")
    return values


def _epsilon(epsilon: float) -> float:
    if not 0 <= epsilon <= 1:
        raise StudyError(f"epsilon is {epsilon}; it is an accuracy fraction between 0 and 1 (the paper's is 0.01).")
    return float(epsilon)


@dataclass(frozen=True, slots=True, eq=False)
class ChangeReplicates:
    """Observed changes, and how far resampling moves them. Epsilon is applied later, so that moving it costs nothing.

    Attributes:
        delta_tr: (n_intervals,) observed change of the mean TR trajectory.
        delta_tl: (n_intervals,) the same for TL.
        deviations_tr: (n_replicates, n_intervals) changes under the null: no true change anywhere.
        deviations_tl: the same draws for TL.
        standard_error: typical standard error of a change (root mean square over abilities and intervals), fraction;
            an epsilon below it cannot tell a change from noise.
        n_seeds: the smallest number of seeds of any task; with 1 the noise between seeds is unknown and left out.
    """

    delta_tr: FloatArray
    delta_tl: FloatArray
    deviations_tr: FloatArray
    deviations_tl: FloatArray
    standard_error: float
    n_seeds: int


@dataclass(frozen=True, slots=True, eq=False)
class NoiseFloor:
    """Competition compared with what sampling noise alone gives, at one epsilon.

    Attributes:
        epsilon: fraction.
        observed_ratio: share of competing intervals.
        null_ratio: (n_replicates,) the same under the null.
        p_ratio: (1 + #{null >= observed}) / (1 + n_replicates).
        observed_mean_intensity: mean intensity.
        p_mean_intensity: as ``p_ratio``, of the mean intensity.
        interval_certainty: (n_intervals,) share of uncentred replicates in which the interval competes.
        standard_error: typical standard error of a change, see ``ChangeReplicates``.
        n_seeds: the smallest number of seeds of any task; with 1 the p-values are too small, since they ignore the
            noise between seeds.
    """

    epsilon: float
    observed_ratio: float
    null_ratio: FloatArray
    p_ratio: float
    observed_mean_intensity: float
    p_mean_intensity: float
    interval_certainty: FloatArray
    standard_error: float
    n_seeds: int

    @property
    def clear(self) -> BoolArray:
        """(n_intervals,) which intervals compete in at least ``CLEAR_CERTAINTY`` of the replicates."""
        return self.interval_certainty >= CLEAR_CERTAINTY

    @property
    def inside_noise(self) -> bool:
        """Whether epsilon lies below one standard error of a change."""
        return self.epsilon < self.standard_error


def noise_floor(
    tr_correct: Sequence[npt.ArrayLike],
    tl_correct: Sequence[npt.ArrayLike],
    *,
    epsilon: float,
    n_replicates: int = 1000,
    seed: int = 0,
) -> NoiseFloor:
    """Competition ratio and mean intensity of the mean trajectory against their noise floor.

    Args:
        tr_correct: for each task a bool array (n_checkpoints, n_seeds, n_examples) under random labels.
        tl_correct: the same tasks, seeds and queries under abstract labels.
        epsilon: smallest change that counts, fraction.
        n_replicates: bootstrap draws.
        seed: keys the draws.

    Raises:
        StudyError: no task, fewer than two checkpoints, or shapes that do not pair.
    """
    replicates = resample_correctness(tr_correct, tl_correct, n_replicates=n_replicates, seed=seed)
    return noise_floor_of(replicates, epsilon=epsilon)


def resample_correctness(
    tr_correct: Sequence[npt.ArrayLike], tl_correct: Sequence[npt.ArrayLike], *, n_replicates: int = 1000, seed: int = 0
) -> ChangeReplicates:
    """``resample_changes`` for accuracy, from correctness alone; arguments as in ``noise_floor``."""
    tr = [np.asarray(task, dtype=np.bool_).astype(np.int16) for task in tr_correct]
    tl = [np.asarray(task, dtype=np.bool_).astype(np.int16) for task in tl_correct]
    gold = [np.ones(task.shape[-1:], dtype=np.int16) for task in tr]
    return resample_changes(tr, tl, gold, n_replicates=n_replicates, seed=seed)


def resample_changes(
    tr_predicted: Sequence[npt.NDArray[np.integer]],
    tl_predicted: Sequence[npt.NDArray[np.integer]],
    gold: Sequence[npt.NDArray[np.integer]],
    *,
    measure: Measure = "accuracy",
    n_replicates: int = 1000,
    seed: int = 0,
) -> ChangeReplicates:
    """Changes of the mean trajectory under any measure, resampled.

    Args:
        tr_predicted: for each task (n_checkpoints, n_seeds, n_examples) predicted labels under random labels.
        tl_predicted: the same tasks, seeds and queries under abstract labels.
        gold: for each task (n_examples,) true labels.
        measure: accuracy, balanced_accuracy or macro_f1.
        n_replicates: bootstrap draws.
        seed: keys the draws.

    Raises:
        StudyError: no task, fewer than two checkpoints, or shapes that do not pair.
    """
    _refuse_unpaired(tr_predicted, tl_predicted, gold)
    tasks = []
    for index, (tr, tl, labels) in enumerate(zip(tr_predicted, tl_predicted, gold, strict=True)):
        rng = np.random.default_rng([seed, index])
        both = replicate_task(np.concatenate([tr, tl]), labels, measure=measure, n_replicates=n_replicates, rng=rng)
        tasks.append(both.mapped(_changes_of_both))
    observed = np.mean([task.value.mean(axis=1) for task in tasks], axis=0)
    plain = hierarchical_deviations(tasks)
    deviations = studentised(plain, degrees_of_freedom(tasks, plain), np.random.default_rng([seed, len(tasks)]))
    half = observed.size // 2
    return ChangeReplicates(
        delta_tr=observed[:half],
        delta_tl=observed[half:],
        deviations_tr=deviations[:, :half],
        deviations_tl=deviations[:, half:],
        standard_error=float(np.sqrt(plain.var(axis=0).mean())),
        n_seeds=min(task.value.shape[1] for task in tasks),
    )


def _changes_of_both(values: FloatArray) -> FloatArray:
    """TR's checkpoints, then TL's, on axis 0 -> TR's intervals, then TL's."""
    tr, tl = np.split(values, 2)
    return np.concatenate([np.diff(tr, axis=0), np.diff(tl, axis=0)])


def _refuse_unpaired(
    tr: Sequence[npt.NDArray[np.integer]],
    tl: Sequence[npt.NDArray[np.integer]],
    gold: Sequence[npt.NDArray[np.integer]],
) -> None:
    if not tr or len(tr) != len(tl):
        raise StudyError(
            f"TR has {len(tr)} tasks and TL {len(tl)}; the noise floor needs the same tasks, at least one."
        )
    n_checkpoints = tr[0].shape[0]
    if n_checkpoints < 2:
        raise StudyError(f"Competition needs at least two checkpoints; these results have {n_checkpoints}.")
    for index, (one, other, labels) in enumerate(zip(tr, tl, gold, strict=True)):
        if one.shape != other.shape or one.ndim != 3 or one.shape[0] != n_checkpoints or 0 in one.shape:
            raise StudyError(
                f"Task {index}: TR has shape {one.shape} and TL {other.shape}; both need the same "
                f"({n_checkpoints} checkpoints, seeds, examples)."
            )
        if labels.shape != one.shape[2:]:
            raise StudyError(f"Task {index}: {labels.size} gold labels for {one.shape[2]} examples.")


def noise_floor_of(replicates: ChangeReplicates, *, epsilon: float) -> NoiseFloor:
    """The noise floor at one epsilon, from replicates made once (milliseconds).

    Raises:
        StudyError: epsilon outside [0, 1].
    """
    checked = _epsilon(epsilon)
    observed = competition_measures(replicates.delta_tr, replicates.delta_tl, epsilon=checked)
    null = competition_measures(replicates.deviations_tr, replicates.deviations_tl, epsilon=checked)
    uncentred = competition_measures(
        replicates.delta_tr + replicates.deviations_tr, replicates.delta_tl + replicates.deviations_tl, epsilon=checked
    )
    return NoiseFloor(
        epsilon=checked,
        observed_ratio=float(observed.ratio),
        null_ratio=null.ratio,
        p_ratio=_p_value(float(observed.ratio), null.ratio),
        observed_mean_intensity=float(observed.mean_intensity),
        p_mean_intensity=_p_value(float(observed.mean_intensity), null.mean_intensity),
        interval_certainty=uncentred.indicator.mean(axis=0),
        standard_error=replicates.standard_error,
        n_seeds=replicates.n_seeds,
    )


def _p_value(observed: float, null: FloatArray) -> float:
    """One-sided; equal up to rounding counts as at least as large."""
    return float((1 + np.count_nonzero(null >= observed - 1e-12)) / (1 + null.size))


@dataclass(frozen=True, slots=True, eq=False)
class EpsilonCurve:
    """One measure against epsilon, with the null's band; every array is (n_epsilons,).

    Attributes:
        observed: the measure.
        null_median: under the null.
        null_low: 2.5th percentile under the null.
        null_high: 97.5th percentile under the null.
        p: one-sided p-value at each epsilon, not corrected for multiple comparisons.
    """

    observed: FloatArray
    null_median: FloatArray
    null_low: FloatArray
    null_high: FloatArray
    p: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class EpsilonCurves:
    """Ratio and mean intensity as functions of epsilon.

    Attributes:
        epsilon: (n_epsilons,) fractions.
        ratio: share of competing intervals.
        mean_intensity: mean of C^S.
        standard_error: typical standard error of a change; an epsilon below it cannot tell a change from noise.
    """

    epsilon: FloatArray
    ratio: EpsilonCurve
    mean_intensity: EpsilonCurve
    standard_error: float


@dataclass(frozen=True, slots=True)
class IntervalCounts:
    """Intervals between neighbouring checkpoints at one epsilon.

    Attributes:
        total: all of them.
        competing: those in which TR and TL compete.
        clear: those of ``competing`` that are clear of noise, see ``NoiseFloor.clear``.
        null_low: how many noise alone makes compete, 2.5 % point.
        null_high: 97.5 % point.
    """

    total: int
    competing: int
    clear: int
    null_low: int
    null_high: int


def count_intervals(result: Competition, floor: NoiseFloor, at_epsilon: EpsilonCurves) -> IntervalCounts:
    """Shares of intervals as numbers of intervals.

    Args:
        result: of one pair of trajectories.
        floor: of the same at the same epsilon.
        at_epsilon: of the same at this one epsilon.
    """
    total = result.indicator.size
    low, high = (round(float(edge[0]) * total) for edge in (at_epsilon.ratio.null_low, at_epsilon.ratio.null_high))
    return IntervalCounts(
        total=total,
        competing=int(result.indicator.sum()),
        clear=int((floor.clear & result.indicator).sum()),
        null_low=low,
        null_high=high,
    )


def competition_against_epsilon(replicates: ChangeReplicates, epsilons: npt.ArrayLike) -> EpsilonCurves:
    """Ratio and mean intensity over a grid of epsilons, so that no finding depends on one choice.

    Args:
        replicates: of one model.
        epsilons: (n_epsilons,) fractions.
    """
    grid = np.array([_epsilon(epsilon) for epsilon in np.asarray(epsilons, dtype=np.float64)])
    observed = _over_grid(replicates.delta_tr[None], replicates.delta_tl[None], grid)
    null = _over_grid(replicates.deviations_tr, replicates.deviations_tl, grid)
    return EpsilonCurves(
        epsilon=grid,
        ratio=_epsilon_curve(observed[0][:, 0], null[0]),
        mean_intensity=_epsilon_curve(observed[1][:, 0], null[1]),
        standard_error=replicates.standard_error,
    )


def _over_grid(delta_tr: FloatArray, delta_tl: FloatArray, grid: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ratio and mean intensity, (n_epsilons, n_replicates) each: epsilon only decides which intervals count."""
    opposite = competition_measures(delta_tr, delta_tl, epsilon=0.0)
    smaller = np.where(opposite.indicator, np.minimum(np.abs(delta_tr), np.abs(delta_tl)), -1.0)
    counts = [smaller > epsilon + TIE_TOLERANCE for epsilon in grid]
    ratio = np.array([count.mean(axis=-1) for count in counts])
    return ratio, np.array([(count * opposite.intensity).mean(axis=-1) for count in counts])


def _epsilon_curve(observed: FloatArray, null: FloatArray) -> EpsilonCurve:
    low, median, high = np.percentile(null, [2.5, 50, 97.5], axis=1)
    p = np.array([_p_value(value, row) for value, row in zip(observed.tolist(), null, strict=True)])
    return EpsilonCurve(observed=observed, null_median=median, null_low=low, null_high=high, p=p)
