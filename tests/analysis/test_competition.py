"""Eqs. 1-4 of arXiv 2406.14022 against independently worked vectors and hand-worked trajectories."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from icl_core.analysis.competition import competition, competition_measures
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
        ([], [], 0.01, "at least two checkpoints"),
        ([0.5], [0.5], 0.01, "at least two checkpoints"),
        ([0.5, 0.6], [0.5, 0.6, 0.7], 0.01, "2 checkpoints and TL has 3"),
        ([50, 60], [40, 30], 0.01, "not percent"),
        ([0.5, float("nan")], [0.4, 0.3], 0.01, r"outside \[0, 1\]"),
        ([0.5, 0.6], [0.4, 0.3], -0.01, "epsilon"),
        ([0.5, 0.6], [0.4, 0.3], float("nan"), "epsilon"),
        ([[0.5, 0.6]], [[0.4, 0.3]], 0.01, "2 dimensions"),
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
