"""Measures, resampling and tests against hand-worked numbers, plain versions and scipy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from icl_core.analysis.statistics import (
    TaskReplicates,
    _random_flips,
    degrees_of_freedom,
    hierarchical_band,
    hierarchical_deviations,
    measure_of,
    paired_t_test,
    pearson,
    replicate_task,
    resample_counts,
    sign_flip_test,
    studentised,
)
from icl_core.errors import StudyError, UnknownNameError


def test_measures_hand_worked() -> None:
    gold = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    predicted = np.array([0, 0, 0, 1, 1, 0, 1, 3])  # label 3 never occurs in gold
    assert measure_of(predicted, gold, measure="accuracy") == 0.5
    assert measure_of(predicted, gold, measure="balanced_accuracy") == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    # label 0: 4 named, 4 gold, 3 hits; label 1: 3 named, 2 gold, 1 hit; label 2: never named.
    assert measure_of(predicted, gold, measure="macro_f1") == pytest.approx((2 * 3 / 8 + 2 * 1 / 5 + 0) / 3)


def test_an_unknown_measure_is_refused() -> None:
    """Whatever was not called accuracy or balanced_accuracy was macro F1 without a word."""
    with pytest.raises(UnknownNameError, match="no measure balanced; there are: accuracy, balanced_accuracy, macro_f1"):
        measure_of(np.array([0, 1]), np.array([0, 1]), measure="balanced")  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_counted_examples_equal_repeated_examples(measure: str) -> None:
    rng = np.random.default_rng(5)
    predicted, gold = rng.integers(0, 3, (4, 2, 30)), rng.integers(0, 3, 30)
    result = replicate_task(predicted, gold, measure=measure, n_replicates=25, rng=np.random.default_rng(1))  # type: ignore[arg-type]
    counts = resample_counts(30, 25, np.random.default_rng(1)).astype(int)
    for r in range(25):
        drawn = np.repeat(np.arange(30), counts[r])
        plain = measure_of(predicted[..., drawn], gold[drawn], measure=measure)  # type: ignore[arg-type]
        np.testing.assert_allclose(result.value + result.example_deviation[..., r], plain, atol=1e-12)


def test_seed_part_is_the_mean_over_drawn_seeds_scaled_for_few() -> None:
    value = np.array([[0.2, 0.4, 0.9]])
    drawn = np.array([[2, 2, 0], [0, 1, 2]])
    counts = np.array([np.bincount(row, minlength=3) for row in drawn], dtype=np.float32)
    task = TaskReplicates(value, np.zeros((1, 3, 2)), counts)
    expected = [(value[0, row].mean() - 0.5) * np.sqrt(3 / 2) for row in drawn]
    np.testing.assert_allclose(hierarchical_deviations([task])[:, 0], expected)
    twice = hierarchical_deviations([task, TaskReplicates(np.array([[0.5] * 3]), np.zeros((1, 3, 2)), counts)])
    np.testing.assert_allclose(twice[:, 0], np.array(expected) / 2)  # the second task does not move


def test_variance_is_that_of_a_crossed_design() -> None:
    """Seeds, examples and single answers all vary: the bootstrap's variance is neither doubled nor halved."""
    rng = np.random.default_rng(3)
    means, variances, naive = [], [], []
    for i in range(500):
        shape = (4, 5, 40)
        latent = 0.8 * rng.normal(size=(4, 1, 40)) + rng.normal(size=shape) + 0.2 * rng.normal(size=(4, 5, 1))
        right = (latent > 0).astype(int)
        tasks = [
            replicate_task(task[None], np.ones(40, int), n_replicates=200, rng=np.random.default_rng([i, t]))
            for t, task in enumerate(right)
        ]
        means.append(right.mean())
        variances.append(hierarchical_deviations(tasks).var())
        # Seeds and examples drawn together, without the two corrections: single answers count three times.
        together = [
            np.einsum("rs,sr->r", task.seed_counts, (task.value[..., None] + task.example_deviation)[0]) / 5
            for task in tasks
        ]
        naive.append(np.mean(together, axis=0).var())
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.15)
    assert np.mean(naive) > 1.3 * np.var(means)


def test_without_spread_between_seeds_only_examples_count() -> None:
    right = np.tile(np.arange(40) % 2, (1, 4, 1))  # every seed gives the same answers
    task = replicate_task(right, np.ones(40, int), n_replicates=4000, rng=np.random.default_rng(0))
    assert hierarchical_deviations([task]).std() == pytest.approx(np.sqrt(0.25 / 40), rel=0.05)


def test_one_seed_leaves_the_examples_part() -> None:
    right = (np.arange(50) % 5 > 0).astype(int)[None, None]
    band = hierarchical_band([replicate_task(right, np.ones(50, int), rng=np.random.default_rng(0))])
    half = 1.96 * np.sqrt(0.8 * 0.2 / 50)
    assert band.value[0] == pytest.approx(0.8)
    assert band.low[0] == pytest.approx(0.8 - half, abs=0.02) and band.high[0] == pytest.approx(0.8 + half, abs=0.02)


def test_few_seeds_widen_the_band_as_students_t_does() -> None:
    values = np.array([[0.4, 0.5, 0.6]])
    counts = resample_counts(3, 20_000, np.random.default_rng(0))
    band = hierarchical_band([TaskReplicates(values, np.zeros((1, 3, 20_000)), counts)])
    # All spread lies between 3 seeds: 2 degrees of freedom, t = 4.30 instead of 1.96; the most extreme draw
    # (three times the same seed, 1 in 27) is the 97.5 % point.
    extreme = 0.1 * np.sqrt(3 / 2)
    assert band.high[0] == pytest.approx(0.5 + extreme * stats.t.ppf(0.975, 2) / stats.norm.ppf(0.975), abs=0.01)


def test_degrees_of_freedom_hand_worked() -> None:
    values = np.array([[0.4, 0.5, 0.6], [0.5, 0.5, 0.5]])
    counts = resample_counts(3, 50_000, np.random.default_rng(0))
    task = TaskReplicates(values, np.zeros((2, 3, 50_000)), counts)
    one = [task]
    # All spread lies between the seeds: n - 1 = 2 degrees; a point without any spread has no uncertain one.
    np.testing.assert_allclose(degrees_of_freedom(one, hierarchical_deviations(one)), [2, np.inf], rtol=0.03)
    both = [task, replace(task, seed_counts=counts[::-1])]
    np.testing.assert_allclose(degrees_of_freedom(both, hierarchical_deviations(both))[0], 4, rtol=0.03)


def test_studentised_normal_deviations_follow_students_t_and_keep_their_signs() -> None:
    rng = np.random.default_rng(0)
    deviations = np.repeat(rng.normal(size=(40_000, 1)), 3, axis=1)
    result = studentised(deviations, np.array([4.0, 20.0, np.inf]), rng)
    np.testing.assert_array_equal(np.sign(result), np.sign(deviations))
    np.testing.assert_array_equal(result[:, 2], deviations[:, 2])
    for column, degrees in ((0, 4), (1, 20)):
        assert stats.kstest(result[:, column], stats.t(degrees).cdf).statistic < 0.01


def test_equal_points_move_together() -> None:
    """One draw for all points: two equal trajectories have a difference without noise."""
    right = np.random.default_rng(0).integers(0, 2, (1, 5, 60))
    task = replicate_task(np.concatenate([right, right]), np.ones(60, int), rng=np.random.default_rng(0))
    deviations = hierarchical_deviations([task])
    np.testing.assert_array_equal(deviations[:, 0], deviations[:, 1])
    assert deviations.std() > 0.02


def test_replicates_are_seeded() -> None:
    right = np.random.default_rng(0).integers(0, 2, (2, 3, 20))
    one, same, other = (
        hierarchical_deviations([replicate_task(right, np.ones(20, int), rng=np.random.default_rng(s))])
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_no_task_is_an_error() -> None:
    with pytest.raises(StudyError, match=r"^There is no task to resample; choose at least one\.$"):
        hierarchical_deviations([])


def test_t_test_agrees_with_scipy_and_names_its_edges() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 5))
    assert paired_t_test(one, other).p == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert paired_t_test([0.5], [0.4]).p is None
    assert paired_t_test([0.5, 0.5], [0.5, 0.5]).p == 1
    assert paired_t_test([0.6, 0.5], [0.5, 0.4]).p == 0
    assert [paired_t_test(*pairs).n for pairs in (([], []), ([0.5], [0.4]), (one, other))] == [0, 1, 5]
    assert paired_t_test([], []).p is None and paired_t_test([0.6, 0.5], [0.5, 0.4]).n == 2
    assert paired_t_test([0.5, 0.5], [0.5, 0.5]).n == 2
    # Differences of 0.1 that are equal up to binary rounding have no spread; 0.1 and 0.2 have one: t = 3, one degree.
    assert paired_t_test([0.3, 0.4, 0.8], [0.2, 0.3, 0.7]).p == 0
    assert paired_t_test([0.3, 0.4], [0.2, 0.2]).p == pytest.approx(2 * stats.t.sf(3, 1))
    with pytest.raises(StudyError, match=r"^A paired test needs two lists of equal length, not \(2,\) and \(3,\)\.$"):
        paired_t_test([1, 2], [1, 2, 3])
    with pytest.raises(StudyError, match="equal length"):
        paired_t_test([[1, 2]], [[1, 2]])


def test_sign_flip_exact_and_random_agree_with_scipy() -> None:
    difference = np.random.default_rng(2).normal(0.3, 1, size=10)
    exact = stats.permutation_test(
        (difference, np.zeros(10)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    assert sign_flip_test([difference]).p == pytest.approx(exact)
    assert sign_flip_test([difference], n_permutations=1000, seed=1).p == pytest.approx(exact, abs=0.04)


def test_sign_flip_weighs_strata_equally_and_ignores_pairs_without_a_difference() -> None:
    result = sign_flip_test([[1, 0, 0, 0], [1, 1]])
    assert result.n == 6 and result.p == pytest.approx(2 / 8)
    assert sign_flip_test([[0, 0, 0]]).p == 1
    with pytest.raises(StudyError, match=r"^The sign-flip test needs at least one pair in every stratum\.$"):
        sign_flip_test([[]])
    for strata in ([], [[1], []]):
        with pytest.raises(StudyError, match="at least one pair"):
            sign_flip_test(strata)


def test_sign_flip_of_many_pairs_approaches_the_normal_law() -> None:
    difference = np.random.default_rng(0).choice([-1, -0.4, 0, 0.4, 1], size=5000, p=[0.1, 0.1, 0.58, 0.1, 0.12])
    p = sign_flip_test([difference], n_permutations=8000).p
    z = difference.sum() / np.sqrt((difference**2).sum())
    assert p == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.02)


def test_pearson_interval_and_undefined_cases() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = -0.7 * x + np.sqrt(1 - 0.49) * rng.normal(size=200)
    result = pearson(x, y)
    assert result.r == pytest.approx(stats.pearsonr(x, y).statistic)
    assert result.r is not None and result.low is not None and result.high is not None
    fisher = np.tanh(np.arctanh(result.r) + np.array([-1.96, 1.96]) / np.sqrt(197))
    np.testing.assert_allclose([result.low, result.high], fisher, atol=0.04)
    for few in ([1.0, 2.0], [1.0, 1.0, 1.0]):
        undefined = pearson(few, list(range(len(few))))
        assert undefined.r is None and undefined.low is None and undefined.n == len(few)


def test_counts_that_are_kept_are_those_of_the_generator_and_move_it_as_far():
    for n_items, n_replicates in ((30, 25), (1, 3), (2000, 600)):
        drawn = np.random.default_rng([1, 2]).integers(0, n_items, size=(n_replicates, n_items))
        expected = np.array([np.bincount(row, minlength=n_items) for row in drawn])
        for _ in range(2):
            rng, plain = np.random.default_rng([1, 2]), np.random.default_rng([1, 2])
            assert np.array_equal(resample_counts(n_items, n_replicates, rng), expected)
            plain.integers(0, n_items, size=(n_replicates, n_items))
            assert rng.bit_generator.state == plain.bit_generator.state


def test_a_rare_label_leaves_the_mean_of_a_replicate_without_it() -> None:
    predicted, gold = np.array([[0, 1, 1, 2], [1, 1, 0, 2]]), np.array([0, 0, 1, 2])
    for measure in ("balanced_accuracy", "macro_f1"):
        task = replicate_task(predicted[None], gold, measure=measure, n_replicates=40, rng=np.random.default_rng(0))  # type: ignore[arg-type]
        counts = resample_counts(4, 40, np.random.default_rng(0)).astype(int)
        missing = 0
        for r in range(40):
            drawn = np.repeat(np.arange(4), counts[r])
            missing += len(set(gold[drawn])) < 3
            plain = measure_of(predicted[:, drawn], gold[drawn], measure=measure)  # type: ignore[arg-type]
            np.testing.assert_allclose((task.value + task.example_deviation[..., r])[0], plain, atol=1e-12)
        assert missing > 5


def test_examples_are_drawn_before_seeds_a_thousand_times() -> None:
    right = np.random.default_rng(0).integers(0, 2, (2, 3, 7))
    task = replicate_task(right, np.ones(7, int), rng=np.random.default_rng(9))
    rng = np.random.default_rng(9)
    examples = np.array([np.bincount(row, minlength=7) for row in rng.integers(0, 7, (1000, 7))])
    seeds = np.array([np.bincount(row, minlength=3) for row in rng.integers(0, 3, (1000, 3))])
    np.testing.assert_array_equal(task.seed_counts, seeds)
    np.testing.assert_allclose(task.value, right.mean(axis=-1))
    np.testing.assert_allclose(
        task.example_deviation,
        np.einsum("kse,re->ksr", right, examples) / 7 - right.mean(axis=-1)[..., None],
        atol=1e-12,
    )
    assert task.seed_counts.dtype == np.float32


def test_counts_of_other_generators_and_of_half_used_words_are_drawn_as_they_come() -> None:
    def generators() -> list[np.random.Generator]:
        half_used = np.random.default_rng(5)
        half_used.integers(0, 9, dtype=np.int32)  # leaves half of a 64-bit word for the next draw of 32 bits
        return [np.random.Generator(np.random.MT19937(3)), half_used, np.random.default_rng(5)]

    for rng, plain in zip(generators(), generators(), strict=True):
        expected = [np.bincount(row, minlength=6) for row in plain.integers(0, 6, (8, 6))]
        counts = resample_counts(6, 8, rng)
        np.testing.assert_array_equal(counts, expected)
        assert counts.dtype == np.float32
        np.testing.assert_array_equal(
            rng.integers(0, 1000, 5, dtype=np.int32), plain.integers(0, 1000, 5, dtype=np.int32)
        )


TWO_SEEDS = np.array([[2, 0], [0, 2], [1, 1]], dtype=np.float32)


def two_seeds(half_difference: float, example_deviation: float) -> TaskReplicates:
    """One point at 0.5 -+ ``half_difference``; resampled examples move the two seeds apart by as much each time."""
    value = np.array([[0.5 - half_difference, 0.5 + half_difference]])
    return TaskReplicates(value, np.full((1, 2, 3), example_deviation) * [[1], [-1]], TWO_SEEDS)


@pytest.mark.parametrize(
    ("tasks", "share"),
    [
        # Between seeds: 2 h^2 / 2 = h^2; explained by examples: e^2.
        ([(0.1, 0.05)], 1 - 0.0025 / 0.01),
        ([(0.1, 0.0)], 1),
        ([(0.1, 0.2)], 0),
        ([(0.0, 0.1)], 0),
        ([(0.1, 0.05), (0.2, 0.1)], 1 - (0.0025 + 0.01) / (0.01 + 0.04)),
        ([(0.1, 0.1), (0.3, 0.0)], 1 - 0.01 / (0.01 + 0.09)),
    ],
)
def test_the_share_between_seeds_that_examples_do_not_explain(tasks: list[tuple[float, float]], share: float) -> None:
    deviations = hierarchical_deviations([two_seeds(*each) for each in tasks])
    # The first draw is the lower seed twice: lower than the mean by h, times sqrt(2 / 1).
    lower = -np.mean([half for half, _ in tasks]) * np.sqrt(2) * np.sqrt(share)
    np.testing.assert_allclose(deviations[:, 0], [lower, -lower, 0], atol=1e-9)


def test_degrees_of_freedom_of_given_deviations() -> None:
    one = [two_seeds(0.1, 0.0)]  # variance of the mean .01, one degree
    for spread, degrees in ((0.1, 1), (0.2, 16), (0.01, 1)):  # var^2 / .01^2, at least 1
        assert degrees_of_freedom(one, np.array([[-spread], [spread]])) == pytest.approx(degrees)
    assert degrees_of_freedom([two_seeds(0.0, 0.1)], np.array([[-0.1], [0.1]])) == np.inf
    three = TaskReplicates(np.array([[0.3, 0.5, 0.7]]), np.zeros((1, 3, 3)), np.ones((3, 3), np.float32))
    # Variances of the means .01 / 4 with 1 degree and .04 / 3 / 4 with 2.
    noise = (0.01 / 4) ** 2 + (0.04 / 3 / 4) ** 2 / 2
    assert degrees_of_freedom([*one, three], np.array([[-0.2], [0.2]])) == pytest.approx(0.04**2 / noise)
    lone = TaskReplicates(np.array([[0.5]]), np.zeros((1, 1, 3)), np.ones((3, 1), np.float32))
    assert degrees_of_freedom([lone], np.array([[-0.2], [0.2]])) == np.inf
    # A task of one seed adds no uncertainty of its own and halves the other's part.
    assert degrees_of_freedom([*one, lone], np.array([[-0.05], [0.05]])) == pytest.approx(0.0025**2 / (0.01 / 4) ** 2)


def test_studentised_divides_by_one_chi_square_per_replicate() -> None:
    deviations = np.array([[1.0, 1.0, 1.0], [-2.0, 3.0, 4.0]])
    result = studentised(deviations, np.array([3.0, 7.0, np.inf]), np.random.default_rng(2))
    quantiles = np.random.default_rng(2).random(2)
    expected = [
        [row[0] * np.sqrt(3 / stats.chi2.ppf(q, 3)), row[1] * np.sqrt(7 / stats.chi2.ppf(q, 7)), row[2]]
        for row, q in zip(deviations, quantiles, strict=True)
    ]
    np.testing.assert_allclose(result, expected)


def test_bands_by_hand() -> None:
    # 101 evenly spread deviations of one seed: percentiles are known and nothing is stretched.
    deviations = np.linspace(-0.5, 0.5, 101)[None, None]
    one = TaskReplicates(np.array([[0.6]]), deviations, np.ones((101, 1), np.float32))
    band = hierarchical_band([one])
    assert (band.value[0], band.low[0], band.high[0]) == pytest.approx((0.6, 0.6 - 0.475, 1))
    wide = hierarchical_band([one], level=0.8, bounds=(-1, 2))
    assert (wide.low[0], wide.high[0]) == pytest.approx((0.6 - 0.4, 0.6 + 0.4))
    low = hierarchical_band([TaskReplicates(np.array([[0.2]]), deviations, one.seed_counts)])
    assert (low.low[0], low.high[0]) == pytest.approx((0, 0.2 + 0.475))
    difference = hierarchical_band([TaskReplicates(np.array([[-0.8]]), deviations, one.seed_counts)], bounds=(-1, 1))
    assert (difference.low[0], difference.high[0]) == pytest.approx((-1, -0.8 + 0.475))
    both = hierarchical_band([one, TaskReplicates(np.array([[0.2]]), 0 * deviations, one.seed_counts)])
    assert (both.value[0], both.low[0], both.high[0]) == pytest.approx((0.4, 0.4 - 0.2375, 0.4 + 0.2375))


def test_sign_flips_are_all_counted_up_to_two_thousand_and_drawn_beyond() -> None:
    rng = np.random.default_rng(0)
    ten, eleven = (np.round(rng.normal(0.4, 1, size=n), 3) for n in (10, 11))
    p = sign_flip_test([ten]).p
    assert p is not None and (p * 1024).is_integer() and 0 < p < 1
    assert p == sign_flip_test([ten], n_permutations=1024).p != sign_flip_test([ten], n_permutations=1023).p
    p = sign_flip_test([eleven]).p
    assert p is not None and p * 2001 == pytest.approx(round(p * 2001), abs=1e-9) and 1 / 2001 < p < 1
    assert p == sign_flip_test([eleven], seed=0).p != sign_flip_test([eleven], seed=1).p


def test_sign_flips_that_are_as_far_up_to_rounding_count() -> None:
    # .1 + .2 - .3 is not 0 in binary; flipping .3 alone or .1 and .2 together gives the same distance from 0.
    assert sign_flip_test([[0.1, 0.2, 0.3]]).p == 2 / 8
    assert sign_flip_test([[0.1, 0.2, -0.3]]).p == 1
    # Strata of 1 and 2 pairs: 1 / 2 and 1 / 4, 1 / 4; of the 8 flips 2 are as far as 1, 6 as far as 1/2.
    assert sign_flip_test([[1], [1, 1]]).p == 2 / 8 and sign_flip_test([[1], [1, -1]]).p == 6 / 8


def test_random_flips_of_few_sizes_follow_their_law() -> None:
    sums = _random_flips(np.array([0.3, -0.3, 0.2]), 8000, np.random.default_rng(0))
    values, counts = np.unique(np.round(sums, 9), return_counts=True)
    # .3 keeps its sign twice, once or never (1/4, 1/2, 1/4), .2 as often as not.
    assert values.tolist() == [-0.8, -0.4, -0.2, 0.2, 0.4, 0.8]
    np.testing.assert_allclose(counts / 8000, np.array([1, 1, 2, 2, 1, 1]) / 8, atol=0.02)


def test_a_random_flip_test_counts_the_observed_order() -> None:
    difference = np.ones(20)  # no flip of 20 ones is as far but 2 in a million
    result = sign_flip_test([difference], n_permutations=99)
    assert result.p == 1 / 100 and result.n == 20


def test_pearson_interval_is_that_of_resampled_points() -> None:
    x, y = [1.0, 2.0, 4.0, 7.0], [3.0, 1.0, 5.0, 4.0]
    result = pearson(x, y, n_replicates=300, seed=3)
    drawn = np.random.default_rng(3).integers(0, 4, (300, 4))
    kept = [rows for rows in drawn if len(set(rows)) > 1]
    values = [np.corrcoef(np.array(x)[rows], np.array(y)[rows])[0, 1] for rows in kept]
    assert len(kept) < 300
    assert (result.low, result.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))
    assert (result.r, result.p, result.n) == pytest.approx((*stats.pearsonr(x, y), 4))
    many = np.random.default_rng(1).normal(size=(2, 9))
    assert pearson(*many) == pearson(*many, n_replicates=2000, seed=0)
    assert pearson(x[:3], y[:3]).r == pytest.approx(np.corrcoef(x[:3], y[:3])[0, 1])
    undefined = pearson([1, 2, 3], [5, 5, 5])
    assert (undefined.r, undefined.low, undefined.high, undefined.p, undefined.n) == (None, None, None, None, 3)
    with pytest.raises(StudyError, match=r"^A correlation needs two lists of equal length, not \(2,\) and \(3,\)\.$"):
        pearson([1, 2], [1, 2, 3])
    with pytest.raises(StudyError, match="equal length"):
        pearson([[1, 2, 3]], [[1, 2, 3]])
