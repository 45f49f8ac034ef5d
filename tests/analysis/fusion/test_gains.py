"""Gains, their two tests, diversity, and the queries behind them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from icl_core.analysis.fusion.answers import fused_answers, member_answers
from icl_core.analysis.fusion.gains import _query_differences, answer_differences, diversity, gain_table
from icl_core.analysis.fusion.members import FusionData, MemberResults, ModelSplits, collect_members
from icl_core.analysis.fusion.weights import fixed_weights
from icl_core.analysis.predictions import collect_predictions
from icl_core.analysis.statistics import hierarchical_band, replicate_task, sign_flip_test
from icl_core.errors import StudyError
from icl_core.records import CellRecord

Make = Callable[..., CellRecord]


def answers_of(make: Make, predicted: list[list[int]], gold: list[int]) -> Any:
    n_labels = max(gold) + 1
    cells = [
        make(labels, gold, demo_seed=seed, n_labels=n_labels)
        for seed, labels in zip((13, 21, 42), predicted, strict=False)
    ]
    test = collect_predictions(cells)["m-1"]
    return member_answers(collect_members([MemberResults(ModelSplits(test), test.checkpoints[0], "gold")]))


def test_gain_hand_worked(make_record: Make) -> None:
    gold = [0, 0, 0, 1]
    better = answers_of(make_record, [[0, 0, 0, 1], [0, 0, 1, 1]], gold)
    base = answers_of(make_record, [[0, 0, 0, 0], [0, 0, 0, 0]], gold)
    mean, task = gain_table(better, base, n_replicates=200)
    assert (mean.task, task.task) == (None, "t")
    assert (mean.value, mean.baseline) == (0.875, 0.75) and mean.gain == pytest.approx(0.125)
    # By query, mean over seeds: 0, 0, -1/2, +1: none of the 4 flips of the two that move comes nearer to 0.
    assert mean.p_examples == pytest.approx(1.0) and mean.n_examples == 4
    assert mean.p_seeds == pytest.approx(0.5) and mean.n_seeds == 2  # differences .25 and 0
    balanced = gain_table(better, base, measure="balanced_accuracy", n_replicates=50)[0]
    assert balanced.value == pytest.approx((1 + (2 / 3 + 1) / 2) / 2) and balanced.baseline == 0.5
    assert gain_table(better, base, measure="macro_f1", n_replicates=50)[0].p_examples is None
    assert [(d.task, d.row_id, d.demo_seed, d.outcome) for d in answer_differences(better, base, task="t")] == [
        ("t", "test:3", 13, "gained"),
        ("t", "test:2", 21, "lost"),
        ("t", "test:3", 21, "gained"),
    ]


def test_query_weights_of_the_sign_flip_add_up_to_the_gain(data: FusionData) -> None:
    fused, base = fused_answers(data, fixed_weights(data)), member_answers(data, 0)
    for measure in ("accuracy", "balanced_accuracy"):
        for row in gain_table(fused, base, measure=measure, n_replicates=20)[1:]:  # type: ignore[arg-type]
            assert row.task is not None
            differences = _query_differences(fused, base, row.task, measure=measure)  # type: ignore[arg-type]
            assert differences.mean() == pytest.approx(row.gain)


def test_a_query_weighs_as_much_as_its_gold_label_is_rare_under_balanced_accuracy(make_record: Make) -> None:
    gold = [0, 0, 0, 0, 2, 2, 0, 0]  # 6 and 2 of 8; label 1 is never gold, so 2 labels share the mean
    better = answers_of(make_record, [[0, 0, 0, 0, 2, 0, 0, 0], [0, 0, 0, 0, 2, 0, 1, 0]], gold)
    base = answers_of(make_record, [[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1]], gold)
    gained = _query_differences(better, base, "t", measure="balanced_accuracy")
    # Mean over two seeds: the rare query gains 1, of the common ones one loses 1/2 and one gains 1.
    assert gained == pytest.approx([0, 0, 0, 0, 8 / (2 * 2), 0, -1 / 2 * 8 / (2 * 6), 8 / (2 * 6)])
    row = gain_table(better, base, measure="balanced_accuracy", n_replicates=20)[1]
    recall = (np.mean([1, 5 / 6]) + 1 / 2) / 2, (5 / 6 + 0) / 2
    assert (row.value, row.baseline) == pytest.approx(recall)
    assert gained.mean() == pytest.approx(row.gain) == pytest.approx(recall[0] - recall[1])


def test_the_permutation_test_weighs_queries_as_balanced_accuracy_does(make_record: Make) -> None:
    """Nine common queries gained and one rare one lost: clear under accuracy, nothing under balanced accuracy."""
    gold = [0] * 9 + [1]
    better, base = (answers_of(make_record, [labels], gold) for labels in ([0] * 10, [1] * 10))
    plain, balanced = (
        gain_table(better, base, measure=measure, n_replicates=20)[0]  # type: ignore[arg-type]
        for measure in ("accuracy", "balanced_accuracy")
    )
    assert plain.gain == pytest.approx(0.8) and balanced.gain == pytest.approx(0)
    assert plain.p_examples is not None and plain.p_examples < 0.05
    assert balanced.p_examples == 1, "no flip of signs comes nearer to 0"


def test_a_clear_gain_is_clear_and_no_gain_is_not(make_record: Make) -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 300).tolist()
    draw = lambda rate: [np.where(rng.random(300) < rate, gold, 1 - np.array(gold)).tolist() for _ in range(3)]  # noqa: E731
    good, base, same = (answers_of(make_record, draw(rate), gold) for rate in (0.9, 0.6, 0.6))
    clear, none = gain_table(good, base)[0], gain_table(same, base)[0]
    assert clear.p_examples == pytest.approx(1 / 2001) and clear.low > 0.1
    assert none.p_examples is not None and none.p_examples > 0.05 and none.low < 0 < none.high


def test_intervals_and_p_values_are_those_of_the_draws_that_seed_and_numbers_key(make_record: Make) -> None:
    rng = np.random.default_rng(3)
    gold = rng.integers(0, 2, 40).tolist()
    one, base = (answers_of(make_record, rng.integers(0, 2, (3, 40)).tolist(), gold) for _ in range(2))
    row = gain_table(one, base, n_replicates=33, n_permutations=50, seed=7)[1]
    both = np.stack([one.predicted["t"], base.predicted["t"]])
    pair = replicate_task(both, one.gold["t"], n_replicates=33, rng=np.random.default_rng([7, 0]))
    band = hierarchical_band([pair.mapped(lambda each: each[:1] - each[1:])], bounds=(-1, 1))
    assert (row.low, row.high) == pytest.approx((band.low[0], band.high[0]))
    flips = sign_flip_test([_query_differences(one, base, "t", measure="accuracy")], n_permutations=50, seed=7)
    assert row.p_examples == flips.p
    assert gain_table(one, base) == gain_table(one, base, n_replicates=500, n_permutations=2000, seed=0)


def test_the_interval_of_a_gain_ends_where_gains_end(make_record: Make) -> None:
    """Two seeds that differ give a wide interval; a gain is never more than all answers."""
    gold = [0, 0, 0, 0, 1]
    right, wrong = ([gold, gold], [[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])
    best, worst = (answers_of(make_record, labels, gold) for labels in (right, wrong))
    assert gain_table(best, worst)[0].high == 1 and gain_table(worst, best)[0].low == -1


def test_diversity_hand_worked(make_record: Make) -> None:
    # Both right: 3 of 9 queries; both wrong, with the same label: 2; the first alone is right in 3, the second in 1.
    gold = [0, 0, 1, 1, 1, 0, 0, 1, 0]
    one = answers_of(make_record, [[0, 1, 1, 0, 1, 0, 0, 0, 0]], gold)
    other = answers_of(make_record, [[0, 0, 0, 0, 1, 1, 1, 0, 0]], gold)
    result = diversity(one, other)
    assert (result.agreement, result.double_fault, result.either_right) == pytest.approx((5 / 9, 2 / 9, 7 / 9))


def test_answers_on_other_rows_or_seeds_are_refused(make_record: Make, data: FusionData) -> None:
    one = answers_of(make_record, [[0, 1]], [0, 1])
    with pytest.raises(
        StudyError, match=rf"^{re.escape(one.title)} and {re.escape(one.title)} have different demo seeds"
    ):
        gain_table(one, answers_of(make_record, [[0, 1], [0, 1]], [0, 1]))
    with pytest.raises(StudyError, match="different test rows"):
        diversity(one, answers_of(make_record, [[0, 1, 1]], [0, 1, 1]))
    with pytest.raises(StudyError, match="different tasks"):
        diversity(one, member_answers(data))
    with pytest.raises(StudyError, match="no answers on zzz"):
        answer_differences(one, one, task="zzz")
    with pytest.raises(StudyError, match=r"there are: a, b\.$"):
        answer_differences(member_answers(data), member_answers(data), task="zzz")
