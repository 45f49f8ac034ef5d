"""Adaptive fusion of other members: the rows of Table 3, and all pairs of checkpoints."""

from __future__ import annotations

import dataclasses

import pytest

from icl_core.analysis.fusion.answers import answer_scores, fused_answers, member_answers
from icl_core.analysis.fusion.grids import ablation_grid, pair_grid
from icl_core.analysis.fusion.members import MemberResults, ModelSplits, collect_members
from icl_core.analysis.fusion.selection import select_checkpoint
from icl_core.analysis.fusion.weights import development_weights
from icl_core.errors import StudyError


def test_ablation_grid_follows_its_rules(splits: ModelSplits) -> None:
    rows = {(row.tr_rule, row.tl_rule): row for row in ablation_grid(splits, splits, n_draws=4)}
    tr, tl = select_checkpoint(splits, "TR-best"), select_checkpoint(splits, "TL-best")
    assert tr is not None and tl is not None
    alone = collect_members([MemberResults(splits, tr, "random")])
    assert rows["TR-best", "none"].scores.mean == pytest.approx(answer_scores(member_answers(alone)).mean)
    both = collect_members([MemberResults(splits, tr, "random"), MemberResults(splits, tl, "abstract")])
    fused = answer_scores(fused_answers(both, development_weights(both))).mean
    assert rows["TR-best", "TL-best"].scores.mean == pytest.approx(fused)
    assert [each.role for each in rows["TR-best", "TL-best"].members] == ["TR", "TL"]
    assert [(each.role, each.checkpoint) for each in rows["none", "TL-best"].members] == [("TL", tl)]
    assert rows["random", "random"].n_draws == 4 and rows["TR-best", "TL-best"].n_draws == 1
    again = {(row.tr_rule, row.tl_rule): row for row in ablation_grid(splits, splits, n_draws=4)}
    assert again["random", "random"].scores.mean == rows["random", "random"].scores.mean
    assert len(rows) == 9


def test_every_pair_is_the_adaptive_fusion_of_its_members(splits: ModelSplits) -> None:
    grid = pair_grid(splits, splits)
    assert grid.value.shape == (3, 3)
    for i, tr in enumerate(grid.tr):
        for j, tl in enumerate(grid.tl):
            data = collect_members([MemberResults(splits, tr, "random"), MemberResults(splits, tl, "abstract")])
            expected = answer_scores(fused_answers(data, development_weights(data))).mean
            assert grid.value[i, j] == pytest.approx(expected)
    gold = collect_members([MemberResults(splits, grid.tr[1], "gold")])
    assert grid.tr_gold[1] == pytest.approx(answer_scores(member_answers(gold)).mean)
    with pytest.raises(StudyError, match="no development results"):
        pair_grid(dataclasses.replace(splits, dev=None), splits)
