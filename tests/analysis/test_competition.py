"""Eqs. 1-4 of arXiv 2406.14022 against independently worked vectors and hand-worked trajectories."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from icl_core.analysis.competition import (
    ChangeReplicates,
    competition,
    competition_against_epsilon,
    competition_measures,
    noise_floor,
    noise_floor_of,
    resample_changes,
    resample_correctness,
)
from icl_core.errors import StudyError

HAND_MADE_TR = [0.40, 0.45, 0.43, 0.50, 0.48]
HAND_MADE_TL = [0.30, 0.28, 0.33, 0.31, 0.36]


def test_agrees_with_every_golden_vector(golden_path: Path) -> None:
    vectors = json.loads((golden_path / "competition.json").read_text())
    assert len(vectors) >= 9
    for vector in vectors:
        result = competition(
            [float(x) for x in vector["tr"]], [float(x) for x in vector["tl"]], epsilon=float(vector["epsilon"])
        )
        expected = vector["expected"]
        for name, got in [
            ("delta_tr", result.delta_tr),
            ("delta_tl", result.delta_tl),
            ("intensity", result.intensity),
            ("ratio", result.ratio),
            ("mean_intensity", result.mean_intensity),
        ]:
            np.testing.assert_allclose(got, expected[name], rtol=0, atol=1e-12, err_msg=f"{vector['name']} {name}")
        assert result.indicator.tolist() == expected["indicator"], vector["name"]
        if expected["cumulative"] is None:
            assert result.cumulative_intensity is None
        else:
            assert result.cumulative_intensity is not None
            np.testing.assert_allclose(result.cumulative_intensity, expected["cumulative"], rtol=0, atol=1e-12)


def test_hand_worked_trajectory() -> None:
    result = competition(HAND_MADE_TR, HAND_MADE_TL, epsilon=0.01)
    np.testing.assert_allclose(result.intensity, [0.02 / 0.05, 0.02 / 0.05, 0.02 / 0.07, 0.02 / 0.05], atol=1e-12)
    total = 0.4 * 3 + 2 / 7
    cumulative = result.cumulative_by_checkpoint
    assert cumulative is not None
    np.testing.assert_allclose(cumulative, [0, 0.4 / total, 0.8 / total, (0.8 + 2 / 7) / total, 1], atol=1e-12)
    assert result.cumulative_intensity is not None and result.cumulative_intensity.shape == (4,)


def test_a_change_of_exactly_epsilon_does_not_compete_whatever_the_binary_rounding() -> None:
    # Every pair of neighbouring hundredths: half of the differences are above 0.01 in binary, half below.
    hundredths = [i / 100 for i in range(101)]
    above = [b - a > 0.01 for a, b in itertools.pairwise(hundredths)]
    assert any(above) and not all(above)
    for low, high in itertools.pairwise(hundredths):
        assert competition([low, high], [0.5, 0.4], epsilon=0.01).ratio == 0
        assert competition([low, high], [0.5, 0.4], epsilon=0.0099).ratio == 1


def test_no_competition_leaves_cumulative_intensity_undefined() -> None:
    result = competition([0.3, 0.4, 0.5], [0.3, 0.4, 0.5], epsilon=0.01)
    assert result.cumulative_intensity is None and result.cumulative_by_checkpoint is None
    assert result.ratio == 0 and result.mean_intensity == 0


def test_swapping_tr_and_tl_changes_nothing_but_the_deltas() -> None:
    one = competition(HAND_MADE_TR, HAND_MADE_TL, epsilon=0.01)
    other = competition(HAND_MADE_TL, HAND_MADE_TR, epsilon=0.01)
    np.testing.assert_array_equal(one.intensity, other.intensity)
    np.testing.assert_array_equal(one.delta_tr, other.delta_tl)


@pytest.mark.parametrize(
    ("tr", "tl", "epsilon", "message"),
    [
        ([], [], 0.01, r"^Competition needs at least two checkpoints; TR has 0\.$"),
        ([0.5], [0.5], 0.01, r"at least two checkpoints; TR has 1\.$"),
        ([0.5, 0.6], [0.5], 0.01, r"at least two checkpoints; TL has 1\.$"),
        ([0.5, 0.6], [0.5, 0.6, 0.7], 0.01, "^TR has 2 checkpoints and TL has 3: competition compares the two at the"),
        (
            [50, 60],
            [0.4, 0.3],
            0.01,
            r"^The TR trajectory holds values outside \[0, 1\]; accuracies are .* not percent\.$",
        ),
        ([0.5, 0.6], [0.4, 1.5], 0.01, "^The TL trajectory holds values outside"),
        ([0.5, -0.6], [0.4, 0.5], 0.01, "^The TR trajectory holds values outside"),
        ([0.5, float("nan")], [0.4, 0.3], 0.01, r"outside \[0, 1\]"),
        ([0.5, 0.6], [0.4, 0.3], -0.01, "^epsilon is -0.01; it is an accuracy fraction between 0 and 1"),
        ([0.5, 0.6], [0.4, 0.3], 1.5, "^epsilon is 1.5; it is"),
        ([0.5, 0.6], [0.4, 0.3], float("nan"), "^epsilon is nan;"),
        ([[0.5, 0.6]], [[0.4, 0.3]], 0.01, "^The TR trajectory has 2 dimensions; it needs one accuracy per checkpoint"),
        ([0.5, 0.6], 0.4, 0.01, "^The TL trajectory has 0 dimensions;"),
    ],
)
def test_bad_input_gets_one_clear_sentence(tr: list[float], tl: list[float], epsilon: float, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        competition(tr, tl, epsilon=epsilon)


def test_leading_axes_equal_one_at_a_time() -> None:
    rng = np.random.default_rng(0)
    tr, tl = rng.integers(0, 101, size=(2, 20, 9)) / 100
    together = competition_measures(np.diff(tr), np.diff(tl), epsilon=0.05)
    for i in range(20):
        alone = competition(tr[i], tl[i], epsilon=0.05)
        np.testing.assert_array_equal(together.indicator[i], alone.indicator)
        np.testing.assert_allclose(together.mean_intensity[i], alone.mean_intensity, rtol=0, atol=1e-15)
        assert together.ratio[i] == alone.ratio


def test_the_ends_of_accuracy_and_epsilon_are_allowed() -> None:
    result = competition([0, 1], [1, 0], epsilon=0)
    assert (result.epsilon, result.ratio, result.mean_intensity) == (0.0, 1.0, 1.0)
    assert competition([0, 1], [1, 0], epsilon=1).ratio == 0
    assert competition([0, 1], [1, 0.001], epsilon=0.998).ratio == 1


def test_without_a_change_of_one_ability_nothing_competes() -> None:
    result = competition([0.4, 0.4, 0.5], [0.3, 0.5, 0.5], epsilon=0)
    assert result.indicator.tolist() == [False, False] and result.cumulative_intensity is None


def test_single_precision_is_worked_out_in_double() -> None:
    tr, tl = np.array([0.1, 0.3], dtype=np.float32), np.array([0.7, 0.2], dtype=np.float32)
    result = competition(tr, tl, epsilon=0.01)
    rise, fall = float(tr[1]) - float(tr[0]), float(tl[0]) - float(tl[1])
    assert result.delta_tr.tolist() == [rise] and result.delta_tl.tolist() == [-fall]
    changes = np.diff(tr), np.diff(tl)
    quotient = -float(changes[1][0]) / float(changes[0][0])
    assert competition_measures(*changes, epsilon=0.01).intensity.tolist() == [quotient]
    assert result.mean_intensity == fall / rise


REPLICATES = ChangeReplicates(
    delta_tr=np.array([-0.2, 0.1]),
    delta_tl=np.array([0.1, 0.1]),
    deviations_tr=np.array([[-0.2, 0.1], [0, 0], [0.1, -0.1], [0.3, 0.3]]),
    deviations_tl=np.array([[0.1, -0.1], [0, 0], [0.1, 0.1], [-0.1, 0.2]]),
    standard_error=0.07,
    n_seeds=3,
)
"""Observed: a fall of .2 against a rise of .1 in the first interval, both rise in the second. Under the null, the four
draws have ratios 1, 0, 1/2, 1/2 and mean intensities (2 + 1) / 2, 0, 1 / 2, (1/3) / 2."""


def test_noise_floor_by_hand() -> None:
    floor = noise_floor_of(REPLICATES, epsilon=0.05)
    assert (floor.epsilon, floor.standard_error, floor.n_seeds) == (0.05, 0.07, 3)
    assert (floor.observed_ratio, floor.observed_mean_intensity) == (0.5, 1.0)
    assert floor.null_ratio.tolist() == [1, 0, 0.5, 0.5]
    assert (floor.p_ratio, floor.p_mean_intensity) == ((1 + 3) / 5, (1 + 1) / 5)
    # With its deviation added, TR falls and TL rises in the first interval of three draws; never in the second.
    assert floor.interval_certainty.tolist() == [0.75, 0]
    assert floor.inside_noise and not noise_floor_of(REPLICATES, epsilon=0.07).inside_noise


def test_against_epsilon_by_hand() -> None:
    curves = competition_against_epsilon(REPLICATES, [0, 0.05, 0.1, 0.15])
    assert curves.epsilon.tolist() == [0, 0.05, 0.1, 0.15] and curves.standard_error == 0.07
    ratio, intensity = curves.ratio, curves.mean_intensity
    assert ratio.observed.tolist() == [0.5, 0.5, 0, 0]
    assert intensity.observed.tolist() == pytest.approx([1, 1, 0, 0])
    assert ratio.p.tolist() == [0.8, 0.8, 1, 1] and intensity.p.tolist() == [0.4, 0.4, 1, 1]
    # Sorted, the null's ratios are 0, .5, .5, 1: the 2.5 % point lies .075 of the way to the second.
    np.testing.assert_allclose(ratio.null_low, [0.075 * 0.5, 0.075 * 0.5, 0, 0])
    np.testing.assert_allclose(ratio.null_median, [0.5, 0.5, 0, 0])
    np.testing.assert_allclose(ratio.null_high, [0.5 + 0.925 * 0.5, 0.5 + 0.925 * 0.5, 0, 0])
    np.testing.assert_allclose(intensity.null_low, [0.075 / 6, 0.075 / 6, 0, 0])
    np.testing.assert_allclose(intensity.null_median, [(1 / 6 + 1 / 2) / 2, (1 / 6 + 1 / 2) / 2, 0, 0])
    np.testing.assert_allclose(intensity.null_high, [0.5 + 0.925, 0.5 + 0.925, 0, 0])
    with pytest.raises(StudyError, match=r"^epsilon is 2\.0;"):
        competition_against_epsilon(REPLICATES, [0.1, 2])


def test_the_standard_error_is_that_of_paired_examples_over_both_abilities() -> None:
    """With one seed a change is the mean of its queries' changes, whose variance is known."""
    rng = np.random.default_rng(0)
    tr = (rng.random((3, 1, 60)) < np.array([0.2, 0.5, 0.9])[:, None, None]).astype(np.int16)
    tl = np.repeat(tr[:1], 3, axis=0)  # never changes
    gold = np.ones(60, np.int16)
    one = resample_changes([tr], [tl], [gold], n_replicates=5000)
    variances = np.diff(tr, axis=0).var(axis=-1)[:, 0] / 60
    np.testing.assert_allclose(one.deviations_tr.var(axis=0), variances, rtol=0.08)
    assert not one.deviations_tl.any() and one.n_seeds == 1
    assert one.standard_error == pytest.approx(np.sqrt(variances.sum() / 4), rel=0.04)
    same = resample_changes([tr[:2]], [tr[:2]], [gold], n_replicates=5000)
    assert same.standard_error == pytest.approx(np.sqrt(variances[0]), rel=0.04)
    # Two equal tasks are resampled apart, so the mean of them varies half as much.
    two = resample_changes([tr, tr], [tl, tl], [gold, gold], n_replicates=5000)
    assert two.standard_error == pytest.approx(np.sqrt(variances.sum() / 8), rel=0.04)
    np.testing.assert_allclose(two.delta_tr, one.delta_tr)
    mixed = resample_changes([tr, 1 - tr], [tl, tl], [gold, gold], n_replicates=2)
    np.testing.assert_allclose(mixed.delta_tr, 0, atol=1e-12)


def test_draws_are_keyed_by_the_seed_and_there_are_a_thousand() -> None:
    rng = np.random.default_rng(1)
    tr, tl = [rng.random((3, n_seeds, 20)) < 0.5 for n_seeds in (3, 2)], [rng.random((3, n, 20)) < 0.5 for n in (3, 2)]
    plain, same, other = resample_correctness(tr, tl), *(resample_correctness(tr, tl, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(plain.deviations_tr, same.deviations_tr)
    np.testing.assert_array_equal(plain.deviations_tl, same.deviations_tl)
    assert not np.array_equal(plain.deviations_tr, other.deviations_tr)
    assert plain.deviations_tr.shape == plain.deviations_tl.shape == (1000, 2) and plain.n_seeds == 2
    ones = [np.ones(20, np.int16)] * 2
    labels = [[each.astype(np.int16) for each in ability] for ability in (tr, tl)]
    changes = resample_changes(labels[0], labels[1], ones)
    np.testing.assert_array_equal(changes.deviations_tr, plain.deviations_tr)
    floors = [noise_floor(tr, tl, epsilon=0.01, **options) for options in ({}, {"seed": 0}, {"seed": 1})]
    assert np.array_equal(floors[0].null_ratio, floors[1].null_ratio)
    assert not np.array_equal(floors[0].null_ratio, floors[2].null_ratio)
    np.testing.assert_allclose(plain.delta_tr, np.diff(np.mean([each.mean(axis=(1, 2)) for each in tr], axis=0)))
    assert resample_correctness(tr, tl, n_replicates=7).deviations_tr.shape == (7, 2)
    assert noise_floor(tr, tl, epsilon=0.01, n_replicates=7).null_ratio.shape == (7,)
