"""Members lined up query by query, or refused with what keeps them apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from icl_core.analysis.fusion.members import FusionData, MemberResults, ModelSplits, collect_members, shared_tasks
from icl_core.analysis.fusion.weights import development_weights
from icl_core.analysis.predictions import collect_predictions
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
        ({"row_ids": tuple(f"test:{i}" for i in range(1, 7))}, r"test rows differ \(2 rows are in only one"),
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
        collect_members(
            [MemberResults(splits, make_ref(0), "random"), MemberResults(other, make_ref(0, "m-2"), "abstract")]
        )


def test_another_label_order_is_refused(make_record: Make, make_ref: MakeRef) -> None:
    one, other = (
        ModelSplits(collect_predictions([make_record([0, 1], [0, 1], model=name, label_words=words)])[name])
        for name, words in (("m-1", ("bad", "good")), ("m-2", ("good", "bad")))
    )
    with pytest.raises(StudyError, match=r"labels or their order differ \(\['bad', 'good'\]"):
        collect_members([MemberResults(one, make_ref(0), "gold"), MemberResults(other, make_ref(0, "m-2"), "gold")])


def test_missing_seeds_tasks_checkpoints_and_development_results_are_named(
    splits: ModelSplits, make_record: Make, make_ref: MakeRef
) -> None:
    cells = [make_record([0] * 6, GOLD, task="a", model="m-2", setting="abstract", demo_seed=s) for s in (13, 99)]
    other = ModelSplits(collect_predictions(cells)["m-2"])
    first, second = MemberResults(splits, make_ref(0), "random"), MemberResults(other, make_ref(0, "m-2"), "abstract")
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
        collect_members([MemberResults(splits, make_ref(77), "random")])
    with pytest.raises(StudyError, match="at least one member"):
        collect_members([])


def test_no_task_in_common_is_said(splits: ModelSplits) -> None:
    lonely = dataclasses.replace(
        splits.test, settings={at: s for at, s in splits.test.settings.items() if at[1] == "gold"}
    )
    with pytest.raises(StudyError, match="no task in common"):
        shared_tasks([(ModelSplits(lonely), "random"), (splits, "abstract")])
