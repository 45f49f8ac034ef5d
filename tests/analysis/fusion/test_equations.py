"""Eqs. 5 and 6 by hand and by property: weights, exact ends, order of members and labels, refusals."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from icl_core.analysis.fusion.equations import adaptive_weights, fuse, label_probs, no_excess, weighted_sum
from icl_core.analysis.predictions import collect_predictions
from icl_core.errors import StudyError
from icl_core.records import CellRecord

Make = Callable[..., CellRecord]
FloatArray = npt.NDArray[np.float64]

fractions = st.floats(0, 1)


@st.composite
def member_probs(draw: st.DrawFn, n_members: int = 2) -> list[FloatArray]:
    n_examples, n_choices = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    shape = (n_members, n_examples, n_choices)
    return list(_normalised(draw(hnp.arrays(np.float64, shape, elements=st.floats(0.01, 1)))))


def _normalised(values: FloatArray) -> FloatArray:
    return np.asarray(values / values.sum(axis=-1, keepdims=True))


def test_weights_hand_worked() -> None:
    # Excess .10 and .05 over .36, and three members with one below chance.
    np.testing.assert_allclose(adaptive_weights([0.46, 0.41], 0.36), [2 / 3, 1 / 3])
    np.testing.assert_allclose(adaptive_weights([0.6, 0.2, 0.7], 0.5), [1 / 3, 0, 2 / 3])
    per_task = adaptive_weights([[0.6, 0.7], [0.4, 0.4]], [0.5, 0.5])
    np.testing.assert_allclose(per_task, [[1 / 3, 2 / 3], [0.5, 0.5]])
    assert no_excess([[0.6, 0.7], [0.4, 0.4]], [0.5, 0.5]).tolist() == [False, True]


def test_an_accuracy_equal_to_chance_has_no_excess_whatever_the_rounding() -> None:
    assert adaptive_weights([1 - 2 / 3, 0.9], 1 / 3).tolist() == [0.0, 1.0]
    assert bool(no_excess([0.1 + 0.2, 0.3], 0.3))


@given(st.lists(fractions, min_size=1, max_size=6), fractions)
def test_weights_sum_to_one_and_are_never_negative(accuracies: list[float], chance: float) -> None:
    weights = adaptive_weights(accuracies, chance)
    assert weights.sum() == pytest.approx(1) and bool((weights >= 0).all())
    assert bool(no_excess(accuracies, chance)) == (max(accuracies) - chance <= 1e-12)


@given(st.lists(fractions, min_size=2, max_size=6), fractions)
def test_a_better_member_never_weighs_less(accuracies: list[float], chance: float) -> None:
    weights = adaptive_weights(accuracies, chance)
    ordered = weights[np.argsort(accuracies, kind="stable")]
    assert all(a <= b + 1e-12 for a, b in pairwise(ordered))


@pytest.mark.parametrize("accuracies", [[], [1.5, 0.2], [60, 40], [float("nan"), 0.5], 0.5])
def test_bad_accuracies_are_refused(accuracies: Any) -> None:
    with pytest.raises(
        StudyError, match=r"^Fusion weights need one accuracy for each member, a fraction between 0 and 1\.$"
    ):
        adaptive_weights(accuracies, 0.3)


@pytest.mark.parametrize("chance", [[0.3, 0.3], 33, 1.5, -0.1])
def test_bad_chance_is_refused(chance: Any) -> None:
    with pytest.raises(
        StudyError, match=r"^Fusion weights need one chance accuracy for each task, a fraction between 0 and 1\.$"
    ):
        adaptive_weights([0.5, 0.4], chance)


def test_where_guessing_is_always_right_nobody_has_excess() -> None:
    assert adaptive_weights([1.0, 0.5], 1.0).tolist() == [0.5, 0.5]


def test_single_precision_is_worked_out_in_double() -> None:
    accuracies, chance = np.array([0.3, 0.4], dtype=np.float32), np.float32(0.2)
    excess = [float(accuracy) - float(chance) for accuracy in accuracies]
    assert adaptive_weights(accuracies, chance).tolist() == [each / sum(excess) for each in excess]
    one, other = np.array([[0.1, 0.9]], dtype=np.float32), np.array([[0.3, 0.7]], dtype=np.float32)
    expected = [0.25 * float(a) + 0.75 * float(b) for a, b in zip(one[0], other[0], strict=True)]
    assert fuse([one, other], [0.25, 0.75])[0].tolist() == expected


def test_members_without_weight_are_left_out_whatever_they_hold() -> None:
    nothing, member = np.full((1, 2), np.nan), np.array([[0.25, 0.75]])
    assert weighted_sum([nothing, member], np.array([0.0, 1.0])).tolist() == [[0.25, 0.75]]
    with pytest.raises(ValueError, match="zip"):
        weighted_sum([member], np.array([0.5, 0.5]))


@given(member_probs())
def test_weight_one_gives_a_member_back_exactly(probs: list[FloatArray]) -> None:
    np.testing.assert_array_equal(fuse(probs, [1, 0]), probs[0])
    np.testing.assert_array_equal(fuse(probs, [0, 1]), probs[1])


@given(member_probs(3), hnp.arrays(np.float64, 3, elements=st.floats(0.01, 1)))
def test_order_of_members_does_not_matter_and_rows_sum_to_one(probs: list[FloatArray], raw: FloatArray) -> None:
    weights = _normalised(raw)
    one = fuse(probs, weights)
    other = fuse(probs[::-1], weights[::-1])
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-15)
    np.testing.assert_allclose(one.sum(axis=-1), 1)


@given(member_probs(), fractions, st.randoms(use_true_random=False))
def test_permuting_labels_permutes_the_result(probs: list[FloatArray], w: float, random: Any) -> None:
    order = list(range(probs[0].shape[-1]))
    random.shuffle(order)
    permuted = fuse([member[:, order] for member in probs], [w, 1 - w])
    np.testing.assert_array_equal(permuted, fuse(probs, [w, 1 - w])[:, order])


@given(member_probs(), fractions)
def test_fusion_lies_between_its_members(probs: list[FloatArray], w: float) -> None:
    fused = fuse(probs, [w, 1 - w])
    assert bool((fused <= np.maximum(*probs) + 1e-12).all()) and bool((fused >= np.minimum(*probs) - 1e-12).all())


@pytest.mark.parametrize(
    ("probs", "weights", "message"),
    [
        ([[[0.5, 0.5]], [[0.2, 0.3, 0.5]]], [0.5, 0.5], "same queries"),
        (
            [[[0.5, 0.6]], [[0.5, 0.5]]],
            [0.5, 0.5],
            r"^A member's label probabilities do not sum to 1 over the labels\.$",
        ),
        ([[[0.5, 0.5]], [[0.5, 0.5]]], [0.5, 0.6], "must sum to 1"),
        ([[[0.5, 0.5]], [[0.5, 0.5]]], [1.5, -0.5], "must not be negative"),
        ([[[0.5, 0.5]]], [0.5, 0.5], "2 fusion weights for 1 members"),
        ([], [], "0 fusion weights for 0 members"),
    ],
)
def test_what_cannot_be_fused_is_refused(probs: Any, weights: list[float], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        fuse(probs, weights)


@given(st.permutations(range(3)), fractions)
def test_permuting_labels_of_a_task_permutes_predictions(order: list[int], w: float) -> None:
    rng = np.random.default_rng(0)
    probs = [_normalised(rng.random((50, 3))) for _ in range(2)]
    plain = fuse(probs, [w, 1 - w]).argmax(axis=-1)
    permuted = fuse([member[:, order] for member in probs], [w, 1 - w]).argmax(axis=-1)
    np.testing.assert_array_equal(np.array(order)[permuted], plain)


def test_calibrated_probabilities_divide_and_renormalise(make_record: Make) -> None:
    record = make_record([0], [1], loglikelihoods=np.log([[0.6, 0.2]]), content_free=np.log([0.9, 0.1]))
    scores = collect_predictions([record])["m-1"].settings["t", "gold"]
    divided = np.array([0.6 / 0.9, 0.2 / 0.1])
    np.testing.assert_allclose(
        label_probs(scores, normalisation="calibrated")[0, 0, 0], divided / divided.sum(), rtol=1e-6
    )
    np.testing.assert_allclose(label_probs(scores)[0, 0, 0], [0.75, 0.25], rtol=1e-6)
