"""The comparison of a fusion with its baselines: who is in it, what each line holds, pairs, Table 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from icl_core.analysis.fusion import Member, ModelSplits, answer_scores, collect_members, development_weights
from icl_core.analysis.fusion import fused_answers as fused
from icl_core.analysis.fusion_report import (
    choose_member,
    choose_members,
    fusion_entries,
    gains_over,
    pair_grid,
    scored_entries,
    shared_tasks,
    table_1,
)
from icl_core.analysis.selection import select_checkpoint
from icl_core.errors import StudyError
from icl_core.records import CheckpointRef

Pair = tuple[Member, Member]


@pytest.fixture
def pair(splits: ModelSplits, make_ref: Callable[..., CheckpointRef]) -> Pair:
    return choose_members(splits, splits, tr=make_ref(10), tl=make_ref(20))


def test_members_are_chosen_on_the_development_set_or_by_hand(splits: ModelSplits, pair: Pair) -> None:
    tr, tl = choose_members(splits, splits)
    assert tr.checkpoint == select_checkpoint(splits, "TR-best") and tr.label_setting == "random"
    assert tl.checkpoint == select_checkpoint(splits, "TL-best") and tl.label_setting == "abstract"
    assert (pair[0].checkpoint.step, pair[1].checkpoint.step) == (10, 20)
    with pytest.raises(StudyError, match="no development results"):
        choose_members(dataclasses.replace(splits, dev=None), splits)


def test_every_line_is_there_and_adds_its_members(pair: Pair, make_splits: Callable[..., ModelSplits]) -> None:
    other = make_splits("m-2")
    entries = fusion_entries(pair, others=(other,), mixed=(make_splits("mixed"),))
    kinds = [entry.kind for entry in entries]
    assert kinds[:6] == ["fusion", "fusion", "fusion", "upper bound", "member", "member"]
    assert {kind: kinds.count(kind) for kind in set(kinds[6:])} == {
        **{"gold": 2, "best gold": 1, "control": 1, "parameter fusion": 3, "other model": 1}
    }
    by_name = {entry.name: entry for entry in entries}
    assert len(by_name) == len(entries)
    assert {ref.step for ref in by_name["fusion, adaptive"].checkpoints} == {10, 20}
    control = next(entry for entry in entries if entry.kind == "control")
    best = next(entry for entry in entries if entry.kind == "best gold")
    assert len(control.checkpoints) == 2 and control.checkpoints[0] == best.checkpoints[0]
    assert next(entry for entry in entries if entry.kind == "other model").checkpoints[0].step == 20


def test_three_members_are_weighed_over_all(pair: Pair, splits: ModelSplits) -> None:
    third = choose_member(splits, "gold")
    assert third.checkpoint == select_checkpoint(splits, "ICL-best") and third.label_setting == "gold"
    entries = fusion_entries((*pair, third))
    assert [entry.kind for entry in entries][:6] == ["fusion"] * 3 + ["member"] * 3  # no oracle over several weights
    assert [entry.name.split(":")[0] for entry in entries[3:6]] == ["TR alone", "TL alone", "ICL alone"]
    data = collect_members((*pair, third))
    expected = development_weights(data)
    assert entries[0].weights is not None and len(entries[0].checkpoints) == 3
    for task, weights in entries[0].weights.by_task.items():
        assert (
            weights == pytest.approx(expected.by_task[task]) and len(weights) == 3 and sum(weights) == pytest.approx(1)
        )
    assert answer_scores(entries[0].answers).mean == pytest.approx(answer_scores(fused(data, expected)).mean)
    with pytest.raises(StudyError, match="takes part twice"):
        fusion_entries((*pair, pair[0]))


def test_without_development_results_nothing_is_chosen(splits: ModelSplits, pair: Pair) -> None:
    blind = dataclasses.replace(splits, dev=None)
    entries = fusion_entries([dataclasses.replace(member, model=blind) for member in pair])
    assert [entry.kind for entry in entries] == ["fusion", "upper bound", "member", "member", "gold", "gold"]
    assert entries[0].name == "fusion, fixed"


def test_a_baseline_of_other_rows_is_left_out(pair: Pair, make_splits: Callable[..., ModelSplits]) -> None:
    foreign = make_splits("m-3", row_ids=tuple(f"other:{i}" for i in range(6)))
    assert not [each for each in fusion_entries(pair, others=(foreign,)) if each.kind == "other model"]


def test_scores_and_table_1_are_those_of_the_answers(pair: Pair) -> None:
    entries = fusion_entries(pair)
    for entry, score in zip(entries, scored_entries(entries, n_replicates=50), strict=True):
        assert score.value == pytest.approx(answer_scores(entry.answers).mean)
        assert score.low <= score.value <= score.high
        by_task = answer_scores(entry.answers).by_task
        assert {task: triple[0] for task, triple in score.by_task.items()} == pytest.approx(by_task)
    rows = {row.name: row for row in table_1(entries, {"m-1": 2e12})}
    assert rows["fusion, adaptive"].tflops == pytest.approx(4.0)
    assert rows["fusion, fixed"].accuracy == pytest.approx(answer_scores(entries[2].answers).mean)
    assert rows["TR alone: m-1 step10"].tflops == pytest.approx(2.0)
    assert all(row.tflops is None for row in table_1(entries, {"m-1": 0.0}))


def test_gains_come_under_both_measures(pair: Pair) -> None:
    entries = fusion_entries(pair)
    gains = gains_over(entries[0], entries[4:6], n_replicates=20)
    assert [(gain.baseline, gain.measure) for gain in gains] == [
        (entry.name, measure) for entry in entries[4:6] for measure in ("accuracy", "balanced_accuracy")
    ]
    first = gains[0]
    difference = answer_scores(entries[0].answers).mean - answer_scores(entries[4].answers).mean
    assert first.mean.gain == pytest.approx(difference)
    assert np.mean([row.gain for row in first.tasks]) == pytest.approx(difference)


def test_every_pair_is_the_adaptive_fusion_of_its_members(splits: ModelSplits) -> None:
    grid = pair_grid(splits, splits)
    assert grid.value.shape == (3, 3)
    for i, tr in enumerate(grid.tr):
        for j, tl in enumerate(grid.tl):
            data = collect_members([Member(splits, tr, "random"), Member(splits, tl, "abstract")])
            expected = answer_scores(fused(data, development_weights(data))).mean
            assert grid.value[i, j] == pytest.approx(expected)
    gold = collect_members([Member(splits, grid.tr[1], "gold")])
    from icl_core.analysis.fusion import member_answers

    assert grid.tr_gold[1] == pytest.approx(answer_scores(member_answers(gold)).mean)
    with pytest.raises(StudyError, match="no development results"):
        pair_grid(dataclasses.replace(splits, dev=None), splits)


def test_no_task_in_common_is_said(splits: ModelSplits) -> None:
    lonely = dataclasses.replace(
        splits.test, settings={at: s for at, s in splits.test.settings.items() if at[1] == "gold"}
    )
    with pytest.raises(StudyError, match="no task in common"):
        shared_tasks([(ModelSplits(lonely), "random"), (splits, "abstract")])
