"""Measures of a set of predictions and the uncertainty of their means: one definition of each number.

It knows arrays only: no records, no label settings, no figures. Sources: Efron and Tibshirani (1993), An
Introduction to the Bootstrap; Owen (2007), The pigeonhole bootstrap, doi 10.1214/07-AOAS122 (seeds x examples).
Quantiles come from scipy's special functions: importing ``scipy.stats`` takes longer than drawing a page, so it is
imported only for a test.

**The hierarchical bootstrap.** A value here is a mean over tasks of a mean over demonstration seeds of a measure over
examples. The bootstrap estimates how far it would move with other seeds and other examples; tasks are fixed. Seeds are
resampled within tasks, and so are examples (one draw for all seeds: every seed asks the same queries). One draw serves
all trajectories that are given together, so that differences between them are paired. A replicate's deviation is the
sum of two parts. The example part is the measure on resampled examples, mean over seeds, minus the measure. The seed
part is the mean of the seeds' values under resampled seeds, minus their mean.

Two corrections make it honest with few seeds. The seed part is scaled by sqrt(n / (n - 1)), since n resampled seeds
spread too little by that factor. And it is shrunk by the share of the spread between seeds that resampled examples
already explain, which would otherwise be counted twice (resampling seeds and examples together without it counts the
noise of single answers three times). Bands and null distributions also allow for the uncertainty of the spread between
few seeds (``degrees_of_freedom``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from icl_core.errors import StudyError, UnknownNameError

__all__ = [
    "MEASURES",
    "Band",
    "Measure",
    "PairedTest",
    "PearsonResult",
    "TaskReplicates",
    "degrees_of_freedom",
    "hierarchical_band",
    "hierarchical_deviations",
    "measure_of",
    "paired_t_test",
    "pearson",
    "replicate_task",
    "resample_counts",
    "sign_flip_test",
    "studentised",
]

Measure = Literal["accuracy", "balanced_accuracy", "macro_f1"]
MEASURES: tuple[Measure, ...] = ("accuracy", "balanced_accuracy", "macro_f1")

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]
_MOST_KEPT = 2**20
"""Largest number of counts of one draw that are kept, 4 MB: 1,000 replicates of the paper's 1,000 queries."""


def measure_of(predicted: IntArray, gold: IntArray, *, measure: Measure) -> FloatArray:
    """One of ``MEASURES`` for (..., n_examples) predicted labels against (n_examples,) gold ones.

    ``accuracy`` is the share of examples whose predicted label is the gold one. ``balanced_accuracy`` is the mean
    recall and ``macro_f1`` the mean F1 (0 for a label that is never hit), over the labels that occur in ``gold``. A
    label that is predicted but never gold lowers the others' F1 through recall; it is not averaged in.

    Raises:
        UnknownNameError: there is no such measure.

    >>> float(measure_of(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]), measure="balanced_accuracy"))
    0.5
    >>> float(measure_of(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), measure="macro_f1"))  # F1: 2/3 and 4/5
    0.7333333333333334
    """
    weights = np.ones((1, gold.size), dtype=np.float32)
    return _weighted_measure(predicted, gold, counts=weights, measure=measure)[..., 0]


def _weighted_measure(predicted: IntArray, gold: IntArray, *, counts: Float32Array, measure: Measure) -> FloatArray:
    """The measure with example e counted ``counts[r, e]`` times: (..., n_examples) -> (..., n_replicates)."""
    if measure not in MEASURES:
        raise UnknownNameError(f"There is no measure {measure}; there are: {', '.join(MEASURES)}.")
    if measure == "accuracy":
        n_counted = counts.sum(axis=1, dtype=np.float64)
        return np.asarray(_count(predicted == gold, counts) / n_counted)
    total = np.zeros((*predicted.shape[:-1], counts.shape[0]))
    n_occurring = np.zeros(counts.shape[0])
    for label in np.unique(gold):
        of_label = gold == label
        n_gold = counts[:, of_label].sum(axis=1, dtype=np.float64)
        n_hits = _count(predicted[..., of_label] == label, counts[:, of_label])
        if measure == "balanced_accuracy":
            denominator = np.broadcast_to(n_gold, n_hits.shape)
            numerator = n_hits
        else:
            denominator = n_gold + _count(predicted == label, counts)
            numerator = 2 * n_hits
        # A rare label can be missing from a replicate; it is then not averaged in, as with a test set without it.
        total += np.divide(numerator, denominator, out=np.zeros(total.shape), where=n_gold > 0)
        n_occurring += n_gold > 0
    return total / n_occurring


def _count(hit: npt.NDArray[np.bool_], counts: Float32Array) -> FloatArray:
    """Counted hits, (..., n_examples) -> (..., n_replicates), as one matrix product.

    Whole numbers below 2**24 are exact in float32, so nothing is lost.
    """
    flat = hit.reshape(-1, hit.shape[-1]).astype(np.float32) @ counts.T
    return flat.reshape(*hit.shape[:-1], counts.shape[0]).astype(np.float64)


def resample_counts(n_items: int, n_replicates: int, rng: np.random.Generator) -> Float32Array:
    """How often each item is drawn when n_items are drawn with replacement: (n_replicates, n_items) float32.

    Equal draws are made once: all curves with the same number of queries are resampled with the same draw.

    >>> resample_counts(5, 2, np.random.default_rng(0)).sum(axis=1).tolist()
    [5.0, 5.0]
    """
    state = rng.bit_generator.state
    if state["bit_generator"] != "PCG64" or n_items * n_replicates > _MOST_KEPT:
        return _draw_counts(n_items, n_replicates, rng)
    key = (*state["state"].values(), state["has_uint32"], state["uinteger"])
    counts, rng.bit_generator.state = _kept_counts(n_items, n_replicates, key)
    return counts


@functools.lru_cache(maxsize=32)
def _kept_counts(n_items: int, n_replicates: int, key: tuple[int, ...]) -> tuple[Float32Array, dict[str, Any]]:
    """The counts that a generator in this state gives, and its state after it."""
    generator = np.random.PCG64()
    start, increment, has_uint32, uinteger = key
    generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": start, "inc": increment},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    counts = _draw_counts(n_items, n_replicates, np.random.Generator(generator))
    counts.setflags(write=False)
    return counts, dict(generator.state)


def _draw_counts(n_items: int, n_replicates: int, rng: np.random.Generator) -> Float32Array:
    drawn = rng.integers(0, n_items, size=(n_replicates, n_items))
    drawn += np.arange(n_replicates)[:, None] * n_items
    counts = np.bincount(drawn.ravel(), minlength=n_replicates * n_items)
    return counts.reshape(n_replicates, n_items).astype(np.float32)


@dataclass(frozen=True, eq=False)
class TaskReplicates:
    """A task's values and how they move under resampling; K is the number of points of all trajectories.

    Derived values are cached: they serve the task's own band and the band of the mean.

    Attributes:
        value: (K, n_seeds) the measure.
        example_deviation: (K, n_seeds, n_replicates) the measure on resampled examples minus ``value``.
        seed_counts: (n_replicates, n_seeds) how often each seed is drawn.
    """

    value: FloatArray
    example_deviation: FloatArray
    seed_counts: Float32Array

    def mapped(self, change: Callable[[FloatArray], FloatArray]) -> TaskReplicates:
        """The replicates of a linear map of the points, such as differences of neighbours on axis 0."""
        return TaskReplicates(change(self.value), change(self.example_deviation), self.seed_counts)

    @functools.cached_property
    def mean_deviation(self) -> FloatArray:
        """(K, n_replicates) the deviation of the mean over seeds under resampled examples."""
        return np.asarray(self.example_deviation.mean(axis=1))

    @functools.cached_property
    def seed_deviations(self) -> FloatArray:
        """(n_replicates, K): mean over resampled seeds minus the mean, scaled by sqrt(n / (n - 1)); 0 for one seed."""
        n_seeds = self.value.shape[1]
        scale = np.sqrt(n_seeds / max(n_seeds - 1, 1))
        return np.asarray((self.seed_counts - 1) @ self.value.T / n_seeds * scale)

    @functools.cached_property
    def seed_variance(self) -> FloatArray:
        """(K,) variance of the mean over seeds, estimated from their spread; 0 for one seed."""
        n_seeds = self.value.shape[1]
        return np.asarray(self.value.var(axis=1, ddof=min(n_seeds - 1, 1)) / n_seeds)

    @functools.cached_property
    def explained_variance(self) -> FloatArray:
        """(K,) the part of that variance that resampled examples explain."""
        n_seeds = self.value.shape[1]
        return np.asarray(self.example_deviation.var(axis=1).mean(axis=1) / (n_seeds - 1 or np.inf))


def replicate_task(
    predicted: IntArray,
    gold: IntArray,
    *,
    measure: Measure = "accuracy",
    n_replicates: int = 1000,
    rng: np.random.Generator,
) -> TaskReplicates:
    """Resamples one task: one draw of examples and of seeds for all K points.

    Args:
        predicted: (K, n_seeds, n_examples) label indices.
        gold: (n_examples,) label indices.
        measure: one of ``MEASURES``.
        n_replicates: number of draws.
        rng: consumed in a fixed order (examples, then seeds).
    """
    example_counts = resample_counts(gold.size, n_replicates, rng)
    seed_counts = resample_counts(predicted.shape[1], n_replicates, rng)
    value = measure_of(predicted, gold, measure=measure)
    resampled = _weighted_measure(predicted, gold, counts=example_counts, measure=measure)
    return TaskReplicates(value, resampled - value[..., None], seed_counts)


def hierarchical_deviations(tasks: Sequence[TaskReplicates]) -> FloatArray:
    """Deviations of the mean over tasks of the mean over seeds: (n_replicates, K); see the module's text.

    With one seed the spread between seeds is unknown, and the deviations hold only the example part.

    Raises:
        StudyError: no task.
    """
    if not tasks:
        raise StudyError("There is no task to resample; choose at least one.")
    example_part = np.mean([task.mean_deviation for task in tasks], axis=0).T
    seed_part = np.mean([task.seed_deviations for task in tasks], axis=0)
    return np.asarray(example_part + np.sqrt(_share_of_seeds(tasks)) * seed_part)


def _share_of_seeds(tasks: Sequence[TaskReplicates]) -> FloatArray:
    """(K,) share of the variance between seeds, pooled over tasks, that resampled examples do not explain."""
    between = np.sum([task.seed_variance for task in tasks], axis=0)
    explained = np.sum([task.explained_variance for task in tasks], axis=0)
    share = 1 - np.divide(explained, between, out=np.ones(between.shape), where=between > 0)
    return np.asarray(np.clip(share, 0, 1))


def degrees_of_freedom(tasks: Sequence[TaskReplicates], deviations: FloatArray) -> FloatArray:
    """(K,) Welch-Satterthwaite degrees of freedom of the variance of ``deviations``, at least 1, inf without seeds.

    Only the spread between n seeds is uncertain, with n - 1 degrees per task; the examples are many.
    """
    variances = np.array([task.seed_variance for task in tasks]) / len(tasks) ** 2
    n_free = np.array([[max(task.value.shape[1] - 1, 1)] for task in tasks])
    noise = (variances**2 / n_free).sum(axis=0)
    total = deviations.var(axis=0) ** 2
    degrees = np.divide(total, noise, out=np.full(total.shape, np.inf), where=noise > 0)
    return np.asarray(np.maximum(degrees, 1))


def studentised(deviations: FloatArray, degrees: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Deviations widened for an uncertain spread: each replicate times sqrt(degrees / chi2).

    Normal deviations become Student's t. One quantile per replicate serves all K points, which keeps correlations.

    Args:
        deviations: (n_replicates, K).
        degrees: (K,) of freedom, inf for a known spread.
        rng: one draw per replicate.
    """
    quantile = rng.random((deviations.shape[0], 1))
    scale = np.ones(deviations.shape)
    finite = np.isfinite(degrees)
    scale[:, finite] = np.sqrt(degrees[finite] / (2 * special.gammaincinv(degrees[finite] / 2, quantile)))
    return np.asarray(deviations * scale)


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """A mean with its interval; every array is (K,).

    Attributes:
        value: mean over tasks of mean over seeds, fraction.
        low: lower end.
        high: upper end.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray


def hierarchical_band(
    tasks: Sequence[TaskReplicates], *, level: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0)
) -> Band:
    """Percentile interval of the hierarchical bootstrap, widened for few seeds.

    The spread between n seeds is estimated with n - 1 degrees of freedom per task, which a percentile interval ignores.
    So deviations are stretched by the ratio of Student's t to the normal quantile at the Welch-Satterthwaite degrees of
    freedom (Hesterberg 2015, arXiv 1411.5279, expanded percentile interval).

    Args:
        tasks: the tasks in the mean.
        level: share of replicates between the two ends.
        bounds: smallest and largest possible value; the ends are cut to them; (-1, 1) for differences.
    """
    value = np.mean([task.value.mean(axis=1) for task in tasks], axis=0)
    deviations = hierarchical_deviations(tasks)
    degrees = degrees_of_freedom(tasks, deviations)
    upper = (1 + level) / 2
    stretch = special.stdtrit(degrees, upper) / special.ndtri(upper)
    low, high = value + stretch * np.percentile(deviations, [100 * (1 - upper), 100 * upper], axis=0)
    return Band(value, np.clip(low, *bounds), np.clip(high, *bounds))


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A test of whether the mean of paired differences is 0.

    Attributes:
        p: two-sided; None if the test is undefined (fewer than two pairs).
        n: number of pairs.
    """

    p: float | None
    n: int


def paired_t_test(first: npt.ArrayLike, second: npt.ArrayLike) -> PairedTest:
    """Student's t-test of paired values, two-sided (``scipy.stats.ttest_rel``).

    Differences that are all equal have no spread: p is 1 if they are 0 and 0 otherwise.

    Raises:
        StudyError: unequal lengths.

    >>> result = paired_t_test([0.5, 0.6, 0.7], [0.4, 0.4, 0.4])
    >>> round(result.p, 4), result.n
    (0.0742, 3)
    """
    from scipy import stats

    difference = _differences(first, second)
    mean = float(difference.mean()) if difference.size else 0.0
    if difference.size < 2:
        return PairedTest(None, difference.size)
    if np.ptp(difference) < 1e-12:
        return PairedTest(1.0 if abs(mean) < 1e-12 else 0.0, difference.size)
    return PairedTest(float(stats.ttest_1samp(difference, 0.0).pvalue), difference.size)


def _differences(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise StudyError(f"A paired test needs two lists of equal length, not {one.shape} and {other.shape}.")
    return one - other


def sign_flip_test(differences: Sequence[npt.ArrayLike], *, n_permutations: int = 2000, seed: int = 0) -> PairedTest:
    """Sign-flip permutation test of paired differences in strata, two-sided.

    The statistic is the mean over strata (tasks) of the sum of the differences divided by the stratum's size; under
    the null each pair is as likely in the other order. If there are at most ``n_permutations`` flips, all are counted;
    otherwise they are drawn and p = (1 + #{|flipped| >= |observed|}) / (1 + n_permutations).

    Args:
        differences: one (n_pairs,) array per stratum; zeros count as pairs, but flipping them changes nothing.
        n_permutations: number of random flips.
        seed: keys them.

    Raises:
        StudyError: no stratum, or an empty one.

    >>> sign_flip_test([[1, 1, 1, 1, 1]]).p  # 2 of the 32 flips are as far from 0
    0.0625
    """
    strata = [np.asarray(stratum, dtype=np.float64) for stratum in differences]
    if not strata or any(stratum.size == 0 for stratum in strata):
        raise StudyError("The sign-flip test needs at least one pair in every stratum.")
    weighted = np.concatenate([stratum / (stratum.size * len(strata)) for stratum in strata])
    moving = weighted[weighted != 0]
    observed = float(weighted.sum())
    if 2**moving.size <= n_permutations:
        signs = 1 - 2 * ((np.arange(2**moving.size)[:, None] >> np.arange(moving.size)) & 1)
        p = float(np.mean(np.abs(signs @ moving) >= abs(observed) - 1e-12))
    else:
        flipped = _random_flips(moving, n_permutations, np.random.default_rng(seed))
        p = float((1 + np.count_nonzero(np.abs(flipped) >= abs(observed) - 1e-12)) / (1 + n_permutations))
    return PairedTest(p, weighted.size)


def _random_flips(moving: FloatArray, n_permutations: int, rng: np.random.Generator) -> FloatArray:
    """(n_permutations,) sums under random signs.

    Differences of equal size are flipped together: the number that keep their sign is binomial. Differences of
    correctness have few sizes, so this is far cheaper than one sign per pair, and has the same distribution.
    """
    sizes, n_equal = np.unique(np.round(np.abs(moving), 12), return_counts=True)
    sums = np.zeros(n_permutations)
    for size, n in zip(sizes, n_equal, strict=True):
        sums += size * (2 * rng.binomial(n, 0.5, size=n_permutations) - n)
    return sums


@dataclass(frozen=True, slots=True)
class PearsonResult:
    """A correlation over a few points, and its uncertainty.

    Attributes:
        r: Pearson's correlation; None with fewer than 3 points or if one variable does not vary.
        low: lower end of the 95 % bootstrap interval over points; None if r is None.
        high: upper end.
        p: two-sided, ``scipy.stats.pearsonr``.
        n: number of points.
    """

    r: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int


def pearson(x: npt.ArrayLike, y: npt.ArrayLike, *, n_replicates: int = 2000, seed: int = 0) -> PearsonResult:
    """Pearson's r with a percentile bootstrap interval over the points.

    A replicate in which a variable does not vary (one point drawn every time) has no r and is left out.

    Raises:
        StudyError: unequal lengths.

    >>> result = pearson([1, 2, 3, 4], [2, 1, 4, 3])
    >>> round(result.r, 3), result.n
    (0.6, 4)
    """
    one, other = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise StudyError(f"A correlation needs two lists of equal length, not {one.shape} and {other.shape}.")
    if one.size < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return PearsonResult(None, None, None, None, one.size)
    from scipy import stats

    observed = stats.pearsonr(one, other)
    counts = resample_counts(one.size, n_replicates, np.random.default_rng(seed)) / one.size
    dx, dy = one - (counts @ one)[:, None], other - (counts @ other)[:, None]
    covariance = (counts * dx * dy).sum(axis=1)
    spread = np.sqrt((counts * dx**2).sum(axis=1) * (counts * dy**2).sum(axis=1))
    defined = spread > 1e-12 * np.ptp(one) * np.ptp(other)
    low, high = np.percentile(np.clip(covariance[defined] / spread[defined], -1, 1), [2.5, 97.5])
    return PearsonResult(float(observed.statistic), float(low), float(high), float(observed.pvalue), one.size)
