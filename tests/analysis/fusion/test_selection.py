"""Checkpoints chosen on the development set, or given by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from icl_core.analysis.fusion.members import ModelSplits
from icl_core.analysis.fusion.selection import choose_members, equal_gold_ensemble, select_checkpoint
from icl_core.analysis.predictions import collect_predictions
from icl_core.errors import StudyError
from icl_core.records import CellRecord, CheckpointRef

Make = Callable[..., CellRecord]


def chosen(make: Make, dev_hits: dict[tuple[int, str], int]) -> ModelSplits:
    """A model whose development accuracy at (step, setting) is the number of hits of 4."""
    gold = [0, 1, 0, 1]
    cells = []
    for (step, setting), hits in dev_hits.items():
        predicted = [g if i < hits else 1 - g for i, g in enumerate(gold)]
        for split, labels in (("dev", predicted), ("test", [1 - p for p in predicted])):
            cells.append(make(labels, gold, step=step, setting=setting, split=split))
    return ModelSplits(collect_predictions(cells)["m-1"], collect_predictions(cells, split="dev")["m-1"])


HITS = {
    (0, "random"): 3, (10, "random"): 3, (20, "random"): 1,
    (0, "abstract"): 2, (10, "abstract"): 4, (20, "abstract"): 4,
    (0, "gold"): 1, (10, "gold"): 2, (20, "gold"): 4,
}  # fmt: skip


def test_selection_reads_development_accuracy_and_ties_go_to_the_earlier_step(make_record: Make) -> None:
    splits = chosen(make_record, HITS)
    picked = {rule: select_checkpoint(splits, rule) for rule in ("TR-best", "TL-best", "ICL-best", "none")}  # type: ignore[arg-type]
    assert {rule: ref and ref.step for rule, ref in picked.items()} == {
        "TR-best": 0,
        "TL-best": 10,
        "ICL-best": 20,
        "none": None,
    }
    steps = {select_checkpoint(splits, "random", rng=np.random.default_rng(i)).step for i in range(30)}  # type: ignore[union-attr]
    assert steps == {0, 10, 20}
    with pytest.raises(StudyError, match=r"^A random choice of checkpoint needs a generator with a named seed\.$"):
        select_checkpoint(splits, "random")
    with pytest.raises(StudyError, match="no development results"):
        select_checkpoint(ModelSplits(splits.test), "TR-best")


def test_equal_ensemble_takes_the_two_best_under_gold_over_all_models(make_record: Make) -> None:
    splits = chosen(make_record, HITS)
    best, second = equal_gold_ensemble([splits, splits])
    assert (best.checkpoint.step, second.checkpoint.step) == (20, 10)
    assert {best.label_setting, second.label_setting} == {"gold"}


# Hits of 4 at (step, task, seed). In all, step 10 leads by 6 to 5; on task a or under seed 13 step 0 leads by 4 to 3.
UNEVEN = {
    (0, "a", 13): 4, (0, "a", 21): 0, (0, "b", 13): 0, (0, "b", 21): 1,
    (10, "a", 13): 2, (10, "a", 21): 1, (10, "b", 13): 1, (10, "b", 21): 2,
}  # fmt: skip
CHOICES: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [10, 0]),
    ({"tasks": ["a"]}, [0, 10]),
    ({"demo_seeds": (13,)}, [0, 10]),
    ({"normalisation": "calibrated"}, [0, 10]),  # step 0 then names label 1 throughout: 8 hits of 16
]


def uneven(make: Make, *, model: str = "m-1") -> ModelSplits:
    gold = [0, 1, 0, 1]
    cells = [
        make(
            [g if i < hits else 1 - g for i, g in enumerate(gold)],
            gold,
            step=step,
            task=task,
            demo_seed=seed,
            setting=setting,
            model=model,
            content_free=[3, 0] if step == 0 else [0, 0],
            split=split,
        )
        for (step, task, seed), hits in UNEVEN.items()
        for setting in ("random", "abstract", "gold")
        for split in ("dev", "test")
    ]
    return ModelSplits(collect_predictions(cells)[model], collect_predictions(cells, split="dev")[model])


@pytest.mark.parametrize(("asked", "steps"), CHOICES)
def test_a_choice_reads_the_tasks_seeds_and_scores_asked_for(
    make_record: Make, asked: dict[str, Any], steps: list[int]
) -> None:
    splits = uneven(make_record)
    picked = select_checkpoint(splits, "ICL-best", **asked)
    assert picked is not None and picked.step == steps[0]
    assert [each.checkpoint.step for each in equal_gold_ensemble([splits], **asked)] == steps
    by_scores = {name: value for name, value in asked.items() if name == "normalisation"}
    members = choose_members(splits, splits, **by_scores)
    assert [each.checkpoint.step for each in members] == [0 if by_scores else 10] * 2


def test_a_member_given_by_hand_is_taken_though_another_is_better(
    make_record: Make, make_ref: Callable[..., CheckpointRef]
) -> None:
    splits = uneven(make_record)
    for given, steps in (({"tr": make_ref(0)}, [0, 10]), ({"tl": make_ref(0)}, [10, 0])):
        assert [each.checkpoint.step for each in choose_members(splits, splits, **given)] == steps


def test_the_equal_ensemble_looks_at_every_model_once(make_record: Make) -> None:
    one, other = uneven(make_record), uneven(make_record, model="m-2")
    pair = equal_gold_ensemble([one, other])
    assert [(each.checkpoint.model, each.checkpoint.step) for each in pair] == [("m-1", 10), ("m-2", 10)]
    assert all(each.model.test.model == each.checkpoint.model for each in pair)


def test_what_cannot_be_chosen_from_is_said(make_record: Make) -> None:
    lonely = chosen(make_record, {(0, "gold"): 1})
    with pytest.raises(
        StudyError, match=r"^The equal ensemble needs two checkpoints with gold results on the development set\.$"
    ):
        equal_gold_ensemble([lonely])
    with pytest.raises(
        StudyError, match=r"^m-1 has no checkpoint with complete random results on the development set\.$"
    ):
        select_checkpoint(lonely, "TR-best")


def test_members_are_chosen_on_the_development_set_or_by_hand(
    splits: ModelSplits, make_ref: Callable[..., CheckpointRef]
) -> None:
    tr, tl = choose_members(splits, splits)
    assert tr.checkpoint == select_checkpoint(splits, "TR-best") and tr.label_setting == "random"
    assert tl.checkpoint == select_checkpoint(splits, "TL-best") and tl.label_setting == "abstract"
    by_hand = choose_members(splits, splits, tr=make_ref(10), tl=make_ref(20))
    assert [each.checkpoint.step for each in by_hand] == [10, 20]
    with pytest.raises(StudyError, match="no development results"):
        choose_members(dataclasses.replace(splits, dev=None), splits)
