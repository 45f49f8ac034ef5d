"""Members lined up query by query, or refused with what keeps them apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from icl_core.analysis.fusion.members import FusionData, MemberResults, ModelSplits, collect_members, shared_tasks
from icl_core.analysis.fusion.weights import development_weights
from icl_core.analysis.predictions import Normalisation, Predictions, collect_predictions
from icl_core.errors import StudyError
from icl_core.records import CellRecord, CheckpointRef

Make = Callable[..., CellRecord]
MakeRef = Callable[..., CheckpointRef]
GOLD = [0, 0, 1, 1, 0, 1]


def test_lined_up_members_tell_their_chance_and_their_queries(data: FusionData) -> None:
    assert [each.role for each in (member.member for member in data.members)] == ["TR", "TL"]
    assert data.chance == (1 / 2 + 1 / 3) / 2 and data.n_examples == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"row_ids": tuple(f"test:{i}" for i in range(1, 7))},
            r"^m-1 step0 \(random\) and m-2 step0 \(abstract\) on a: test rows differ \(2 rows are in only one, "
            r"such as test:0\); evaluate both on the same rows\.$",
        ),
        (
            {"row_ids": tuple(f"test:{i}" for i in (1, 0, 2, 3, 4, 5))},
            r"test rows differ \(the same rows in another order\)",
        ),
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
        collect_members(
            [MemberResults(splits, make_ref(0), "random"), MemberResults(other, make_ref(0, "m-2"), "abstract")]
        )


def test_another_label_order_is_refused(make_record: Make, make_ref: MakeRef) -> None:
    one, other = (
        ModelSplits(collect_predictions([make_record([0, 1], [0, 1], model=name, label_words=words)])[name])
        for name, words in (("m-1", ("bad", "good")), ("m-2", ("good", "bad")))
    )
    with pytest.raises(StudyError, match=r"labels or their order differ \(\['bad', 'good'\] and \['good', 'bad'\]\)"):
        collect_members([MemberResults(one, make_ref(0), "gold"), MemberResults(other, make_ref(0, "m-2"), "gold")])


def test_missing_seeds_tasks_checkpoints_and_development_results_are_named(
    splits: ModelSplits, make_record: Make, make_ref: MakeRef
) -> None:
    cells = [make_record([0] * 6, GOLD, task="a", model="m-2", setting="abstract", demo_seed=s) for s in (13, 99)]
    other = ModelSplits(collect_predictions(cells)["m-2"])
    first, second = MemberResults(splits, make_ref(0), "random"), MemberResults(other, make_ref(0, "m-2"), "abstract")
    with pytest.raises(StudyError, match=r"Demo seeds differ: .* has \[13, 21\], m-2 .* has \[13, 99\]"):
        collect_members([first, second], tasks=["a"])
    with pytest.raises(
        StudyError,
        match=r"m-2 step0 \(abstract\) has no results on a \(split test\) for demo seeds \[21\]; "
        r"evaluate them or leave the seeds out\.$",
    ):
        collect_members([first, second], tasks=["a"], demo_seeds=(13, 21))
    with pytest.raises(StudyError, match="no abstract results on b"):
        collect_members([first, second])
    both = collect_members([first, second], tasks=["a"], demo_seeds=(13,))
    with pytest.raises(StudyError, match="m-2 has no development results"):
        development_weights(both)
    with pytest.raises(StudyError, match="not among the results"):
        collect_members([MemberResults(splits, make_ref(77), "random")])
    with pytest.raises(StudyError, match=r"^Fusion needs at least one member; choose a checkpoint\.$"):
        collect_members([])


def test_no_task_in_common_is_said(splits: ModelSplits) -> None:
    lonely = dataclasses.replace(
        splits.test, settings={at: s for at, s in splits.test.settings.items() if at[1] == "gold"}
    )
    with pytest.raises(
        StudyError,
        match=r"^m-1 with random labels and m-1 with abstract labels have no task in common; evaluate one\.$",
    ):
        shared_tasks([(ModelSplits(lonely), "random"), (splits, "abstract")])


def test_other_gold_labels_of_the_same_rows_are_refused(make_record: Make, make_ref: MakeRef) -> None:
    members = [
        MemberResults(
            ModelSplits(collect_predictions([make_record([0, 1], gold, model=name)])[name]), make_ref(0, name), "gold"
        )
        for name, gold in (("m-1", [0, 1]), ("m-2", [1, 1]))
    ]
    message = r"^m-1 step0 \(gold\) and m-2 step0 \(gold\) on t: gold labels of the same rows differ; the datasets"
    with pytest.raises(StudyError, match=message):
        collect_members(members)


@pytest.mark.parametrize("normalisation", ["sum", "calibrated"])
def test_every_member_is_lined_up_by_its_own_scores(
    splits: ModelSplits,
    make_ref: MakeRef,
    scores_for: Callable[[str, str], npt.NDArray[np.float64]],
    normalisation: Normalisation,
) -> None:
    members = [MemberResults(splits, make_ref(20), "abstract"), MemberResults(splits, make_ref(0), "gold")]
    data = collect_members(members, tasks=["b"], demo_seeds=(21, 13), normalisation=normalisation)
    assert (data.members, data.demo_seeds, data.normalisation) == (tuple(members), (21, 13), normalisation)
    task = data.tasks["b"]
    assert list(data.tasks) == ["b"] and task.gold.tolist() == [0, 1, 2, 2, 1, 0]
    assert (task.row_ids, task.label_words) == (tuple(f"test:{i}" for i in range(6)), ("w0", "w1", "w2"))
    for probs, name in zip(task.label_probs, ("20abstract", "0gold"), strict=True):
        for of_seed, seed in zip(probs, (21, 13), strict=True):
            scores = scores_for(f"m-1{name}{seed}btest", "b")
            if normalisation == "calibrated":
                scores = scores - scores_for(f"m-1{name}{seed}btestcontent-free", "b")[0]
            np.testing.assert_allclose(of_seed, np.exp(scores) / np.exp(scores).sum(-1, keepdims=True), rtol=1e-6)


def test_scores_are_read_when_they_are_asked_for(splits: ModelSplits, make_ref: MakeRef) -> None:
    asked: list[tuple[int | None, str]] = []

    def read(checkpoint: CheckpointRef, setting: str) -> Predictions:
        asked.append((checkpoint.step, setting))
        return splits.test

    late = dataclasses.replace(splits, read_scores=read)
    data = collect_members([MemberResults(late, make_ref(10), "random")], tasks=["a"])
    plain = collect_members([MemberResults(splits, make_ref(10), "random")], tasks=["a"])
    assert asked == [(10, "random")]
    np.testing.assert_array_equal(data.tasks["a"].label_probs[0], plain.tasks["a"].label_probs[0])


def test_tasks_in_common_come_in_the_order_of_the_first_and_none_is_refused(
    splits: ModelSplits, make_ref: MakeRef
) -> None:
    backwards = dataclasses.replace(splits.test, tasks=("b", "a"))
    assert shared_tasks([(ModelSplits(backwards), "random"), (splits, "abstract")]) == ("b", "a")
    without = dataclasses.replace(
        splits.test, settings={at: s for at, s in splits.test.settings.items() if at != ("b", "abstract")}
    )
    assert shared_tasks([(ModelSplits(without), "random"), (ModelSplits(without), "abstract")]) == ("a",)
    with pytest.raises(StudyError, match=r"^m-1 step0 \(random\) has no task in common to fuse on; evaluate one\.$"):
        collect_members([MemberResults(splits, make_ref(0), "random")], tasks=[])


def test_every_further_member_is_compared_with_the_first(
    splits: ModelSplits, make_splits: Callable[..., ModelSplits], make_ref: MakeRef
) -> None:
    fine, other = MemberResults(splits, make_ref(0), "random"), make_splits("m-2", n_shots=4)
    third = MemberResults(other, make_ref(0, "m-2"), "gold")
    with pytest.raises(
        StudyError,
        match=r"^m-1 step0 \(random\) has n_shots 16 and m-2 step0 \(gold\) has 4; fuse members with equal demonst",
    ):
        collect_members([fine, MemberResults(splits, make_ref(10), "random"), third])
