"""Fusion by hand and by property: weights, exact ends, order of members and labels, refusals."""

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

from icl_core.analysis.fusion import (
    FusionData,
    Member,
    ModelSplits,
    adaptive_weights,
    answer_scores,
    collect_members,
    development_weights,
    equal_weights,
    fuse,
    fused_answers,
    given_weights,
    label_probs,
    member_answers,
    no_excess,
    oracle_weights,
    weight_curve,
)
from icl_core.analysis.predictions import collect_predictions
from icl_core.errors import StudyError
from icl_core.records import CellRecord, CheckpointRef

Make = Callable[..., CellRecord]
MakeRef = Callable[..., CheckpointRef]
FloatArray = npt.NDArray[np.float64]
ScoresFor = Callable[[str, str], FloatArray]

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
    with pytest.raises(StudyError, match="fraction"):
        adaptive_weights(accuracies, 0.3)


@pytest.mark.parametrize("chance", [[0.3, 0.3], 33, -0.1])
def test_bad_chance_is_refused(chance: Any) -> None:
    with pytest.raises(StudyError, match="one chance accuracy a task"):
        adaptive_weights([0.5, 0.4], chance)


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
        ([[[0.5, 0.6]], [[0.5, 0.5]]], [0.5, 0.5], "do not sum to 1 over"),
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


GOLD = {"a": [0, 0, 1, 1, 0, 1], "b": [0, 1, 2, 2, 1, 0]}
N_LABELS = {"a": 2, "b": 3}
SEEDS = (13, 21)


def softmax(values: FloatArray) -> FloatArray:
    return np.asarray(np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True))


def test_stored_members_fuse_as_by_hand(data: FusionData, scores_for: ScoresFor) -> None:
    answers = fused_answers(data, given_weights(data, [0.3, 0.7]))
    for task, gold in GOLD.items():
        for at, seed in enumerate(SEEDS):
            tr = softmax(scores_for(f"m-110random{seed}{task}test", task))
            tl = softmax(scores_for(f"m-120abstract{seed}{task}test", task))
            expected = (0.3 * tr + 0.7 * tl).argmax(axis=-1)
            assert answers.predicted[task][at].tolist() == expected.tolist()
            assert answer_scores(answers).by_task_seed[list(GOLD).index(task), at] == np.mean(expected == gold)
    assert answer_scores(answers).mean == pytest.approx(np.mean(list(answer_scores(answers).by_task.values())))


def test_curve_ends_are_the_members_and_the_oracle_is_the_best_point(data: FusionData) -> None:
    curve = weight_curve(data, n_weights=11, n_replicates=20)
    assert curve.value[-1] == pytest.approx(answer_scores(member_answers(data, 0)).mean)
    assert curve.value[0] == pytest.approx(answer_scores(member_answers(data, 1)).mean)
    for w, value in zip(curve.weight, curve.value, strict=True):
        by_hand = answer_scores(fused_answers(data, given_weights(data, [w, 1 - w]))).mean
        assert value == pytest.approx(by_hand)
    oracle = oracle_weights(data, curve)
    assert oracle.kind == "oracle"
    assert answer_scores(fused_answers(data, oracle)).mean == pytest.approx(curve.value.max())
    per_task = answer_scores(fused_answers(data, oracle_weights(data, curve, per_task=True)))
    assert per_task.by_task == pytest.approx({task: values.max() for task, values in curve.by_task.items()})


def test_development_weights_come_from_development_accuracy_in_each_members_setting(
    data: FusionData, scores_for: ScoresFor
) -> None:
    accuracies = {
        task: [
            np.mean([(scores_for(f"m-1{at}{seed}{task}dev", task).argmax(-1) == GOLD[task]).mean() for seed in SEEDS])
            for at in ("10random", "20abstract")
        ]
        for task in GOLD
    }
    weights = development_weights(data)
    for task in GOLD:
        np.testing.assert_allclose(weights.by_task[task], adaptive_weights(accuracies[task], 1 / N_LABELS[task]))
    without = [task for task in GOLD if max(accuracies[task]) <= 1 / N_LABELS[task] + 1e-12]
    assert list(weights.equal_for_want_of_excess) == without
    pooled = development_weights(data, pooled=True)
    expected = adaptive_weights(np.mean(list(accuracies.values()), axis=0), (1 / 2 + 1 / 3) / 2)
    for task in GOLD:
        np.testing.assert_allclose(pooled.by_task[task], expected)


def test_calibrated_probabilities_divide_and_renormalise(make_record: Make) -> None:
    record = make_record([0], [1], loglikelihoods=np.log([[0.6, 0.2]]), content_free=np.log([0.9, 0.1]))
    scores = collect_predictions([record])["m-1"].settings["t", "gold"]
    divided = np.array([0.6 / 0.9, 0.2 / 0.1])
    np.testing.assert_allclose(
        label_probs(scores, normalisation="calibrated")[0, 0, 0], divided / divided.sum(), rtol=1e-6
    )
    np.testing.assert_allclose(label_probs(scores)[0, 0, 0], [0.75, 0.25], rtol=1e-6)


def test_three_members_and_one_member(splits: ModelSplits, make_ref: MakeRef, data: FusionData) -> None:
    three = collect_members([*data.members, Member(splits, make_ref(0), "gold")])
    alone = answer_scores(fused_answers(three, given_weights(three, [0, 0, 1]))).mean
    assert alone == answer_scores(member_answers(three, 2)).mean
    assert sum(equal_weights(three).by_task["a"]) == pytest.approx(1)
    with pytest.raises(StudyError, match="needs two members, there are 3"):
        weight_curve(three)
    single = collect_members([data.members[0]])
    assert answer_scores(fused_answers(single, equal_weights(single))).mean == (
        answer_scores(member_answers(data, 0)).mean
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row_ids": tuple(f"test:{i}" for i in range(1, 7))}, r"test rows differ \(2 rows are in one only"),
        ({"row_ids": tuple(f"test:{i}" for i in (1, 0, 2, 3, 4, 5))}, "same rows in another order"),
        ({"n_shots": 4}, "has n_shots 16 and m-2 step0 .abstract. has 4"),
        ({"sampling": "balanced"}, "has sampling uniform and"),
    ],
)
def test_members_that_do_not_pair_are_refused_with_what_differs(
    splits: ModelSplits,
    make_splits: Callable[..., ModelSplits],
    make_ref: MakeRef,
    change: dict[str, Any],
    message: str,
) -> None:
    other = make_splits("m-2", **change)
    with pytest.raises(StudyError, match=message):
        collect_members([Member(splits, make_ref(0), "random"), Member(other, make_ref(0, "m-2"), "abstract")])


def test_another_label_order_is_refused(make_record: Make, make_ref: MakeRef) -> None:
    one, other = (
        ModelSplits(collect_predictions([make_record([0, 1], [0, 1], model=name, label_words=words)])[name])
        for name, words in (("m-1", ("bad", "good")), ("m-2", ("good", "bad")))
    )
    with pytest.raises(StudyError, match=r"labels or their order differ \(\['bad', 'good'\]"):
        collect_members([Member(one, make_ref(0), "gold"), Member(other, make_ref(0, "m-2"), "gold")])


def test_missing_seeds_tasks_checkpoints_and_development_results_are_named(
    splits: ModelSplits, make_record: Make, make_ref: MakeRef
) -> None:
    cells = [make_record([0] * 6, GOLD["a"], task="a", model="m-2", setting="abstract", demo_seed=s) for s in (13, 99)]
    other = ModelSplits(collect_predictions(cells)["m-2"])
    first, second = Member(splits, make_ref(0), "random"), Member(other, make_ref(0, "m-2"), "abstract")
    with pytest.raises(StudyError, match=r"Demo seeds differ: .* has \[13, 21\], m-2 .* has \[13, 99\]"):
        collect_members([first, second], tasks=["a"])
    with pytest.raises(StudyError, match=r"m-2 step0 \(abstract\) has no results on a .* demo seeds \[21\]"):
        collect_members([first, second], tasks=["a"], demo_seeds=(13, 21))
    with pytest.raises(StudyError, match="no abstract results on b"):
        collect_members([first, second])
    both = collect_members([first, second], tasks=["a"], demo_seeds=(13,))
    with pytest.raises(StudyError, match="m-2 has no development results"):
        development_weights(both)
    with pytest.raises(StudyError, match="not among the results"):
        collect_members([Member(splits, make_ref(77), "random")])
    with pytest.raises(StudyError, match="at least one member"):
        collect_members([])
