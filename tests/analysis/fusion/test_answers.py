"""What fusions and members answer, against the equations by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from icl_core.analysis.fusion.answers import answer_scores, fused_answers, member_answers, own_answers
from icl_core.analysis.fusion.members import FusionData, MemberResults, ModelSplits, collect_members
from icl_core.analysis.fusion.weights import FusionWeights, fixed_weights, weight_curve
from icl_core.analysis.predictions import Normalisation
from icl_core.errors import StudyError
from icl_core.records import CheckpointRef

MakeRef = Callable[..., CheckpointRef]
FloatArray = npt.NDArray[np.float64]
ScoresFor = Callable[[str, str], FloatArray]

GOLD = {"a": [0, 0, 1, 1, 0, 1], "b": [0, 1, 2, 2, 1, 0]}
SEEDS = (13, 21)


def by_hand(data: FusionData, weights: list[float]) -> FusionWeights:
    """The same weights for every task."""
    return FusionWeights("oracle", dict.fromkeys(data.tasks, np.array(weights)))


def softmax(values: FloatArray) -> FloatArray:
    return np.asarray(np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True))


def test_stored_members_fuse_as_by_hand(data: FusionData, scores_for: ScoresFor) -> None:
    answers = fused_answers(data, by_hand(data, [0.3, 0.7]))
    for task, gold in GOLD.items():
        for at, seed in enumerate(SEEDS):
            tr = softmax(scores_for(f"m-110random{seed}{task}test", task))
            tl = softmax(scores_for(f"m-120abstract{seed}{task}test", task))
            expected = (0.3 * tr + 0.7 * tl).argmax(axis=-1)
            assert answers.predicted[task][at].tolist() == expected.tolist()
            assert answer_scores(answers).by_task_seed[list(GOLD).index(task), at] == np.mean(expected == gold)
    assert answer_scores(answers).mean == pytest.approx(np.mean(list(answer_scores(answers).by_task.values())))


def test_three_members_and_one_member(splits: ModelSplits, make_ref: MakeRef, data: FusionData) -> None:
    three = collect_members([*data.members, MemberResults(splits, make_ref(0), "gold")])
    alone = answer_scores(fused_answers(three, by_hand(three, [0, 0, 1]))).mean
    assert alone == answer_scores(member_answers(three, 2)).mean
    assert sum(fixed_weights(three).by_task["a"]) == pytest.approx(1)
    with pytest.raises(StudyError, match="needs two members, there are 3"):
        weight_curve(three)
    single = collect_members([data.members[0]])
    assert answer_scores(fused_answers(single, fixed_weights(single))).mean == (
        answer_scores(member_answers(data, 0)).mean
    )


@pytest.mark.parametrize("normalisation", ["sum", "calibrated"])
def test_a_checkpoint_alone_answers_by_its_own_scores(
    splits: ModelSplits, make_ref: MakeRef, scores_for: ScoresFor, normalisation: Normalisation
) -> None:
    member = MemberResults(splits, make_ref(20), "random")
    answers = own_answers(member, ("b", "a"), (21,), normalisation=normalisation)
    for task, gold in GOLD.items():
        name = f"m-120random21{task}test"
        empty = scores_for(f"{name}content-free", task)[0]
        scores = scores_for(name, task) - (empty if normalisation == "calibrated" else 0)
        assert answers.predicted[task].tolist() == [scores.argmax(axis=-1).tolist()]
        assert answers.gold[task].tolist() == gold
        assert answers.row_ids[task] == tuple(f"test:{i}" for i in range(6))
    assert (answers.title, tuple(answers.predicted), answers.demo_seeds) == ("m-1 step20 (random)", ("b", "a"), (21,))


def test_answers_are_by_the_sum_unless_asked_otherwise(splits: ModelSplits, make_ref: MakeRef) -> None:
    member = MemberResults(splits, make_ref(20), "random")
    plain, same = own_answers(member, ("b",), SEEDS), own_answers(member, ("b",), SEEDS, normalisation="sum")
    assert plain.predicted["b"].tolist() == same.predicted["b"].tolist()


def test_answers_keep_their_title(data: FusionData) -> None:
    weights = fixed_weights(data)
    assert fused_answers(data, weights).title == "fusion"
    assert fused_answers(data, weights, title="fusion, fixed").title == "fusion, fixed"
    assert member_answers(data).title == "m-1 step10 (random)"
