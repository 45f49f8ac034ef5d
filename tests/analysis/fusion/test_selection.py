"""Checkpoints chosen on the development set, or given by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

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
    with pytest.raises(StudyError, match="generator"):
        select_checkpoint(splits, "random")
    with pytest.raises(StudyError, match="no development results"):
        select_checkpoint(ModelSplits(splits.test), "TR-best")


def test_equal_ensemble_takes_the_two_best_under_gold_over_all_models(make_record: Make) -> None:
    splits = chosen(make_record, HITS)
    best, second = equal_gold_ensemble([splits, splits])
    assert (best.checkpoint.step, second.checkpoint.step) == (20, 10)
    assert {best.label_setting, second.label_setting} == {"gold"}


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
