"""Adaptive fusion of other members: the rows of Table 3, and all pairs of checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from icl_core.analysis.fusion.answers import answer_scores, fused_answers, member_answers
from icl_core.analysis.fusion.grids import ablation_grid, pair_grid
from icl_core.analysis.fusion.members import MemberResults, ModelSplits, collect_members
from icl_core.analysis.fusion.selection import select_checkpoint
from icl_core.analysis.fusion.weights import development_weights
from icl_core.analysis.predictions import Predictions, collect_predictions
from icl_core.errors import StudyError
from icl_core.records import CellRecord
from tests.support.fusion_by_hand import GOLD, STEPS, ByHand, ScoresFor

ASKED: list[dict[str, Any]] = [{}, {"measure": "macro_f1"}, {"normalisation": "calibrated"}]


@pytest.mark.parametrize("asked", ASKED)
def test_table_3_by_hand(
    splits: ModelSplits, make_splits: Callable[..., ModelSplits], scores_for: ScoresFor, asked: dict[str, Any]
) -> None:
    by_hand = ByHand(scores_for, **asked)
    rules: list[tuple[Any, Any]] = [
        ("TR-best", "TL-best"),
        ("random", "random"),
        ("TR-best", "ICL-best"),
        ("none", "TL-best"),
    ]
    best, drawn, gold, alone = ablation_grid(splits, make_splits("m-2"), rules=rules, n_draws=3, seed=5, **asked)
    tr, tl = by_hand.ranked("m-1", "random")[0], by_hand.ranked("m-2", "abstract")[0]
    assert best.scores.by_task == pytest.approx(by_hand.adaptive(("m-1", tr, "random"), ("m-2", tl, "abstract")))
    assert [(each.checkpoint.model, each.checkpoint.step, each.role) for each in best.members] == [
        ("m-1", tr, "TR"),
        ("m-2", tl, "TL"),
    ]
    assert gold.scores.by_task == pytest.approx(
        by_hand.adaptive(("m-1", tr, "random"), ("m-2", by_hand.ranked("m-2", "gold")[0], "abstract"))
    )
    assert alone.scores.by_task == pytest.approx(by_hand.alone(("m-2", tl, "abstract")))
    # Draws are keyed by the seed and the row's number: the TR member's position, then the TL member's.
    positions = np.random.default_rng([5, 1]).integers(3, size=(3, 2))
    draws = [by_hand.adaptive(("m-1", STEPS[i], "random"), ("m-2", STEPS[j], "abstract")) for i, j in positions]
    assert drawn.scores.by_task == pytest.approx({task: np.mean([draw[task] for draw in draws]) for task in GOLD})
    assert [each.checkpoint.step for each in drawn.members] == [STEPS[i] for i in positions[0]]
    assert [row.n_draws for row in (best, drawn, gold, alone)] == [1, 3, 1, 1]
    assert [(row.tr_rule, row.tl_rule) for row in (best, drawn, gold, alone)] == rules
    assert drawn.scores.by_task_seed.shape == (2, 2)


def test_ten_draws_of_seed_0_are_the_rule(splits: ModelSplits) -> None:
    rules: list[tuple[Any, Any]] = [("random", "TL-best")]
    (plain,), (given,), (other,) = (
        ablation_grid(splits, splits, rules=rules, **options)
        for options in ({}, {"n_draws": 10, "seed": 0}, {"seed": 1})
    )
    assert plain.n_draws == 10 and plain.scores.by_task == given.scores.by_task != other.scores.by_task


@pytest.mark.parametrize("asked", ASKED)
def test_pairs_by_hand(
    splits: ModelSplits, make_splits: Callable[..., ModelSplits], scores_for: ScoresFor, asked: dict[str, Any]
) -> None:
    by_hand = ByHand(scores_for, **asked)
    grid = pair_grid(splits, make_splits("m-2"), **asked)
    assert [[(ref.model, ref.step) for ref in refs] for refs in (grid.tr, grid.tl)] == [
        [(model, step) for step in STEPS] for model in ("m-1", "m-2")
    ]
    for i, tr in enumerate(STEPS):
        for j, tl in enumerate(STEPS):
            expected = by_hand.adaptive(("m-1", tr, "random"), ("m-2", tl, "abstract"))
            assert grid.value[i, j] == pytest.approx(np.mean(list(expected.values())))
    for values, model in ((grid.tr_gold, "m-1"), (grid.tl_gold, "m-2")):
        assert values.tolist() == pytest.approx(
            [np.mean(list(by_hand.alone((model, step, "gold")).values())) for step in STEPS]
        )


def without(predictions: Predictions, at: int, *settings: str) -> Predictions:
    """The same without one checkpoint's cells in some settings."""
    changed = {}
    for (task, setting), scores in predictions.settings.items():
        present = scores.present.copy()
        present[at] &= setting not in settings
        changed[task, setting] = dataclasses.replace(scores, present=present)
    return dataclasses.replace(predictions, settings=changed)


def test_pairs_are_of_checkpoints_that_are_complete_in_both_splits(splits: ModelSplits) -> None:
    whole = pair_grid(splits, splits)
    part = ModelSplits(without(splits.test, 2, "gold"), without(splits.development(), 0, "random"))
    grid = pair_grid(part, part)
    assert ([ref.step for ref in grid.tr], [ref.step for ref in grid.tl]) == ([10, 20], [0, 10, 20])
    np.testing.assert_array_equal(grid.value, whole.value[1:])
    np.testing.assert_array_equal(grid.tr_gold, [whole.tr_gold[1], np.nan])
    np.testing.assert_array_equal(grid.tl_gold, [*whole.tl_gold[:2], np.nan])
    nothing = splits.test
    for at in range(3):
        nothing = without(nothing, at, "abstract")
    with pytest.raises(StudyError, match=r"^m-1 has no checkpoint with complete abstract results in both splits\.$"):
        pair_grid(splits, ModelSplits(nothing, splits.dev))


def test_pairs_are_of_the_tasks_in_common(splits: ModelSplits, scores_for: ScoresFor) -> None:
    by_hand = ByHand(scores_for)

    def on_b(predictions: Predictions) -> Predictions:
        settings = {at: scores for at, scores in predictions.settings.items() if at != ("a", "abstract")}
        return dataclasses.replace(predictions, settings=settings)

    grid = pair_grid(splits, ModelSplits(on_b(splits.test), on_b(splits.development())))
    for i, tr in enumerate(STEPS):
        for j, tl in enumerate(STEPS):
            expected = by_hand.adaptive(("m-1", tr, "random"), ("m-1", tl, "abstract"))["b"]
            assert grid.value[i, j] == pytest.approx(expected)
        assert grid.tr_gold[i] == grid.tl_gold[i] == pytest.approx(by_hand.alone(("m-1", tr, "gold"))["b"])


def test_weights_of_a_pair_are_those_of_the_seeds_that_are_fused(make_record: Callable[..., CellRecord]) -> None:
    """TR is right under both seeds and TL guesses; a third seed, which only the development set has, says otherwise."""
    sure, torn = [[-0.5, -1.0]] * 2, [[-3.0, -0.1]] * 2
    test = [
        make_record([0, 0], [0, 0], setting=setting, demo_seed=seed, loglikelihoods=scores)
        for setting, scores in (("random", sure), ("abstract", torn))
        for seed in (13, 21)
    ]
    right = {("random", 13): 2, ("random", 21): 2, ("random", 42): 0,
             ("abstract", 13): 1, ("abstract", 21): 1, ("abstract", 42): 2}  # fmt: skip
    dev = [
        make_record([0] * hits + [1] * (2 - hits), [0, 0], setting=setting, demo_seed=seed, split="dev")
        for (setting, seed), hits in right.items()
    ]
    splits = ModelSplits(collect_predictions(test)["m-1"], collect_predictions(dev, split="dev")["m-1"])
    assert pair_grid(splits, splits).value.tolist() == [[1.0]]
    members = [MemberResults(splits, splits.test.checkpoints[0], setting) for setting in ("random", "abstract")]
    assert development_weights(collect_members(members)).by_task["t"].tolist() == [1.0, 0.0]
    fewer = [cell for cell in dev if cell.spec.demo_seed != 21]
    patchy = ModelSplits(splits.test, collect_predictions(fewer, split="dev")["m-1"])
    with pytest.raises(StudyError, match=r"^m-1 has no development results for demo seed 21; there are: 13, 42\.$"):
        pair_grid(patchy, patchy)


def test_pairs_of_different_rows_are_refused(splits: ModelSplits, make_splits: Callable[..., ModelSplits]) -> None:
    foreign = make_splits("m-2", row_ids=tuple(f"other:{i}" for i in range(6)))
    with pytest.raises(StudyError, match="on a: test rows differ"):
        pair_grid(splits, foreign)


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
