"""Measures, resampling and tests against hand-worked numbers, plain versions and scipy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from icl_core.analysis.statistics import (
    TaskReplicates,
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
    with pytest.raises(StudyError, match="no task"):
        hierarchical_deviations([])


def test_t_test_agrees_with_scipy_and_names_its_edges() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 5))
    assert paired_t_test(one, other).p == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert paired_t_test([0.5], [0.4]).p is None
    assert paired_t_test([0.5, 0.5], [0.5, 0.5]).p == 1
    assert paired_t_test([0.6, 0.5], [0.5, 0.4]).p == 0
    with pytest.raises(StudyError, match="equal length"):
        paired_t_test([1, 2], [1, 2, 3])


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
    with pytest.raises(StudyError, match="at least one pair"):
        sign_flip_test([[]])


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
