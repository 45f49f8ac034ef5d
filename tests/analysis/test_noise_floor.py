"""The noise floor by hand where that is possible, and by simulation: type-I error, power, coverage."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest

from icl_core.analysis.competition import (
    ChangeReplicates,
    competition,
    competition_against_epsilon,
    noise_floor,
    noise_floor_of,
    resample_changes,
    resample_correctness,
)
from icl_core.analysis.statistics import hierarchical_band, replicate_task
from icl_core.errors import StudyError

Correct = list[npt.NDArray[np.bool_]]
RATE = 0.45
"""The true accuracy in every simulation without change."""


def simulate(
    seed: int,
    *,
    n_tasks: int = 4,
    n_seeds: int = 5,
    n_examples: int = 80,
    n_checkpoints: int = 9,
    demonstration_effect: float = 0.3,
    shifts: npt.NDArray[np.float64] | None = None,
) -> tuple[Correct, Correct]:
    """Correct answers under TR and TL from a latent normal variable.

    Its parts: demonstrations (seed x checkpoint; lasting: seed), queries (query x checkpoint; lasting: query),
    and single answers; half of the first four's variance is shared by TR and TL. Without ``shifts``
    (2, n_checkpoints), in accuracy, the true accuracy is ``RATE`` everywhere.
    """
    rng = np.random.default_rng([7, seed])
    scale = np.sqrt(demonstration_effect**2 + 0.09 + 0.16 + 0.5 + 0.36)
    threshold = _quantile(np.full((2, n_checkpoints), RATE) + (0 if shifts is None else shifts)) * scale
    abilities: tuple[Correct, Correct] = ([], [])
    for _ in range(n_tasks):
        shapes = [(n_checkpoints, n_seeds, 1), (1, n_seeds, 1), (n_checkpoints, 1, n_examples), (1, 1, n_examples)]
        sizes = [demonstration_effect, 0.3, 0.4, np.sqrt(0.5)]
        shared = [rng.normal(size=shape) for shape in shapes]
        for ability, correct in enumerate(abilities):
            latent = threshold[ability][:, None, None] + 0.6 * rng.normal(size=(n_checkpoints, n_seeds, n_examples))
            for size, common in zip(sizes, shared, strict=True):
                latent = latent + size * np.sqrt(0.5) * (common + rng.normal(size=common.shape))
            correct.append(latent > 0)
    return abilities


def _quantile(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    from scipy.stats import norm

    return np.asarray(norm.ppf(share))


@lru_cache
def null_replicates(n_nulls: int, **options: float) -> list[ChangeReplicates]:
    return [
        resample_correctness(*simulate(i, **options), n_replicates=200, seed=i)  # type: ignore[arg-type]
        for i in range(n_nulls)
    ]


def type_one_errors(replicates: list[ChangeReplicates], epsilon: float) -> dict[str, list[float]]:
    floors = [noise_floor_of(each, epsilon=epsilon) for each in replicates]
    return {
        name: [float(np.mean([getattr(floor, name) <= alpha for floor in floors])) for alpha in (0.05, 0.1, 0.2)]
        for name in ("p_ratio", "p_mean_intensity")
    }


def assert_valid(replicates: list[ChangeReplicates]) -> None:
    standard_error = float(np.mean([each.standard_error for each in replicates]))
    for epsilon in (0.0, 0.01, 0.5 * standard_error, standard_error):
        for name, rates in type_one_errors(replicates, epsilon).items():
            for alpha, rate in zip((0.05, 0.1, 0.2), rates, strict=True):
                assert rate <= alpha + 0.03, f"{name} at epsilon {epsilon:.4f}: {rate} > {alpha} + .03"


@pytest.mark.parametrize("demonstration_effect", [0.0, 0.3])
def test_type_one_error_with_demonstration_effects_and_correlated_examples(demonstration_effect: float) -> None:
    assert_valid(null_replicates(300, demonstration_effect=demonstration_effect))


def test_null_distribution_has_the_right_height() -> None:
    """Valid could also mean blind: on average the null's ratio is the ratio that nulls show."""
    floors = [noise_floor_of(each, epsilon=0.01) for each in null_replicates(300, demonstration_effect=0.3)]
    observed = np.mean([floor.observed_ratio for floor in floors])
    expected = np.mean([floor.null_ratio.mean() for floor in floors])
    assert 0.15 < observed < 0.5
    assert expected == pytest.approx(observed, abs=0.03)


def planted(n_intervals: list[int], standard_error: float, *, size: float = 3) -> npt.NDArray[np.float64]:
    """Shifts in which TR falls and TL rises by ``size`` standard errors, then the reverse, and so on."""
    shifts = np.zeros((2, 9))
    for turn, interval in enumerate(n_intervals):
        step = (1 if turn % 2 else -1) * size * standard_error
        shifts[:, interval + 1 :] += [[step], [-step]]
    return shifts


def power(intervals: list[int], *, epsilon_in_errors: float, n_runs: int) -> tuple[float, float]:
    standard_error = float(np.mean([r.standard_error for r in null_replicates(300, demonstration_effect=0.3)]))
    shifts = planted(intervals, standard_error)
    floors = [
        noise_floor(
            *simulate(1000 + i, shifts=shifts), epsilon=epsilon_in_errors * standard_error, n_replicates=200, seed=i
        )
        for i in range(n_runs)
    ]
    by_ratio = np.mean([floor.p_ratio <= 0.05 for floor in floors])
    return float(by_ratio), float(np.mean([floor.p_mean_intensity <= 0.05 for floor in floors]))


def test_power_for_a_planted_competition_of_three_standard_errors() -> None:
    assert min(power([1, 4, 6], epsilon_in_errors=1, n_runs=60)) >= 0.8


def coverage(n_runs: int, **options: float) -> float:
    covered = []
    for i in range(n_runs):
        tasks = [
            replicate_task(
                task.astype(np.int16),
                np.ones(task.shape[-1], np.int16),
                n_replicates=300,
                rng=np.random.default_rng([i, t]),
            )
            for t, task in enumerate(simulate(5000 + i, **options)[0])  # type: ignore[arg-type]
        ]
        band = hierarchical_band(tasks)
        covered.append((band.low <= RATE) & (band.high >= RATE))
    return float(np.mean(covered))


@pytest.mark.parametrize("demonstration_effect", [0.0, 0.3])
def test_accuracy_bands_cover(demonstration_effect: float) -> None:
    assert 0.93 <= coverage(250, demonstration_effect=demonstration_effect, n_checkpoints=4) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("n_tasks", [1, 4, 16])
@pytest.mark.parametrize("n_seeds", [2, 5])
@pytest.mark.parametrize("demonstration_effect", [0.0, 0.3, 0.6])
def test_type_one_error_over_designs(n_tasks: int, n_seeds: int, demonstration_effect: float) -> None:
    assert_valid(null_replicates(500, n_tasks=n_tasks, n_seeds=n_seeds, demonstration_effect=demonstration_effect))


@pytest.mark.slow
def test_power_over_designs() -> None:
    assert min(power([3], epsilon_in_errors=1.5, n_runs=300)) >= 0.75  # one interval of eight
    # Below one standard error noise competes too, and mean intensity, a mean of ratios of small changes, loses power
    # first (.77 here): the ratio must still tell.
    assert power([0, 2, 4, 6], epsilon_in_errors=0.5, n_runs=200)[0] >= 0.9
    for epsilon_in_errors in (1.0, 1.5):
        assert min(power([0, 2, 4, 6], epsilon_in_errors=epsilon_in_errors, n_runs=200)) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("demonstration_effect", [0.0, 0.3, 0.6])
@pytest.mark.parametrize(("n_tasks", "n_seeds"), [(1, 5), (4, 2), (4, 5), (16, 5)])
def test_coverage_over_designs(n_tasks: int, n_seeds: int, demonstration_effect: float) -> None:
    rate = coverage(600, n_tasks=n_tasks, n_seeds=n_seeds, demonstration_effect=demonstration_effect, n_checkpoints=4)
    assert 0.93 <= rate <= 0.97


def test_certainty_of_a_clear_and_of_an_absent_competition() -> None:
    rng = np.random.default_rng(0)
    rates = np.array([[0.7, 0.5, 0.5], [0.3, 0.5, 0.5]])  # interval 0 competes, interval 1 is noise
    correct = [rng.random((3, 5, 400)) < rate[:, None, None] for rate in rates]
    floor = noise_floor([correct[0]], [correct[1]], epsilon=0.05)
    assert floor.interval_certainty[0] > 0.97 and floor.clear.tolist() == [True, False]
    assert floor.observed_ratio == 0.5
    assert floor.null_ratio.shape == (1000,)
    assert floor.p_ratio == (1 + np.count_nonzero(floor.null_ratio >= 0.5)) / 1001 < 0.01


@pytest.mark.parametrize(("n_competing", "clear"), [(100, True), (95, True), (94, False), (60, False), (0, False)])
def test_clear_is_what_competes_in_at_least_95_percent_of_the_replicates(n_competing: int, clear: bool) -> None:
    """TR falls and TL rises by 0.2; in a part of 100 draws TR's deviation turns its fall into a rise."""
    turned = np.where(np.arange(100) < n_competing, 0.0, 0.5)[:, None]
    replicates = ChangeReplicates(
        delta_tr=np.array([-0.2]),
        delta_tl=np.array([0.2]),
        deviations_tr=turned,
        deviations_tl=np.zeros((100, 1)),
        standard_error=0.01,
        n_seeds=3,
    )
    floor = noise_floor_of(replicates, epsilon=0.05)
    assert floor.interval_certainty.tolist() == [n_competing / 100]
    assert floor.clear.tolist() == [clear]


def test_observed_values_are_those_of_competition_and_a_flat_run_has_p_one() -> None:
    tr, tl = simulate(3)
    accuracy = [np.mean([task.mean(axis=(1, 2)) for task in ability], axis=0) for ability in (tr, tl)]
    direct = competition(*accuracy, epsilon=0.01)
    floor = noise_floor(tr, tl, epsilon=0.01, n_replicates=50)
    assert floor.observed_ratio == direct.ratio
    assert floor.observed_mean_intensity == pytest.approx(direct.mean_intensity)
    flat = [np.repeat(tr[0][:1], 4, axis=0)]
    still = noise_floor(flat, flat, epsilon=0.0, n_replicates=50)
    assert still.observed_ratio == 0 and still.p_ratio == 1 and still.p_mean_intensity == 1
    assert not still.null_ratio.any() and not still.interval_certainty.any()


def test_pairing_of_abilities_survives() -> None:
    """TR and TL with the same answers change together: under the null they can never compete."""
    tr, _ = simulate(4)
    same = noise_floor(tr, tr, epsilon=0.0, n_replicates=200)
    assert not same.null_ratio.any()
    opposite = noise_floor(tr, [~task for task in tr], epsilon=0.0, n_replicates=200)
    assert opposite.null_ratio.mean() > 0.95


def test_epsilon_curves_agree_with_single_epsilons_and_fall() -> None:
    replicates = resample_correctness(*simulate(5), n_replicates=100)
    curves = competition_against_epsilon(replicates, [0.0, 0.01, 0.05])
    floor = noise_floor_of(replicates, epsilon=0.01)
    assert curves.ratio.observed[1] == floor.observed_ratio and curves.ratio.p[1] == floor.p_ratio
    assert curves.mean_intensity.p[1] == floor.p_mean_intensity
    assert bool(np.all(np.diff(curves.ratio.observed) <= 0)) and bool(np.all(np.diff(curves.ratio.null_high) <= 0))
    assert floor.inside_noise == (curves.standard_error > 0.01)


def test_other_measures_use_their_own_values() -> None:
    rng = np.random.default_rng(0)
    gold = (np.arange(90) % 9 == 0).astype(np.int16)
    tr, tl = rng.integers(0, 2, (2, 3, 4, 90)).astype(np.int16)
    replicates = resample_changes([tr], [tl], [gold], measure="balanced_accuracy", n_replicates=20)
    recall = np.mean([(tr[:, :, gold == label] == label).mean(axis=(1, 2)) for label in (0, 1)], axis=0)
    np.testing.assert_allclose(replicates.delta_tr, np.diff(recall), atol=1e-12)


def test_shapes_that_do_not_pair_are_named() -> None:
    five, four = np.zeros((5, 2, 10), bool), np.zeros((4, 2, 10), bool)
    with pytest.raises(
        StudyError, match=r"^TR has 0 tasks and TL 0; the noise floor needs the same tasks, at least one\.$"
    ):
        noise_floor([], [], epsilon=0.01)
    with pytest.raises(StudyError, match="TR has 1 tasks and TL 2"):
        noise_floor([five], [five, five], epsilon=0.01)
    with pytest.raises(StudyError, match=r"\(5, 2, 10\) and TL \(4, 2, 10\)"):
        noise_floor([five], [four], epsilon=0.01)
    with pytest.raises(StudyError, match="Task 1"):
        noise_floor([five, four], [five, four], epsilon=0.01)
    with pytest.raises(StudyError, match=r"^Competition needs at least two checkpoints; these results have 1\.$"):
        noise_floor([five[:1]], [five[:1]], epsilon=0.01)
    noise_floor([five[:2]], [five[:2]], epsilon=0.01, n_replicates=2)
    for shape in ((5, 2, 0), (5, 0, 10), (5, 20), (4, 2, 10)):
        message = f"^Task 1: TR has shape {shape} and TL {shape}; both need the same (5 checkpoints, seeds, examples)."
        with pytest.raises(StudyError, match=message.replace("(", r"\(").replace(")", r"\)")):
            noise_floor([five, np.zeros(shape, bool)], [five, np.zeros(shape, bool)], epsilon=0.01)
    answers = five.astype(np.int16)
    with pytest.raises(StudyError, match=r"^Task 0: 9 gold labels for 10 examples\.$"):
        resample_changes([answers], [answers], [np.zeros(9, np.int16)])
    with pytest.raises(StudyError, match="epsilon"):
        noise_floor([five], [five], epsilon=2)
