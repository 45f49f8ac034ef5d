"""Curves from hand-made records: means, completeness, measures, label shares, drill-down."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from icl_core.analysis.fusion.members import ModelSplits
from icl_core.analysis.predictions import collect_predictions
from icl_core.analysis.statistics import hierarchical_band, replicate_task
from icl_core.analysis.trajectories import ability_curves, baselines, paired_predictions, setting_values
from icl_core.errors import StudyError
from icl_core.records import CellRecord, CheckpointRef

Make = Callable[..., CellRecord]
MakeRef = Callable[..., CheckpointRef]
GOLD_A = [0, 0, 1, 1]
GOLD_B = [0, 1, 2, 2, 2]


def grid(make: Make, *, skip: set[tuple[int, str, str, int]] = frozenset()) -> list[CellRecord]:  # type: ignore[assignment]
    """Three steps, two tasks (2 and 3 labels), three settings, two seeds; prediction = label (step + seed) mod n."""
    cells = []
    for step, setting, seed in product((0, 10, 20), ("gold", "random", "abstract"), (13, 21)):
        for task, gold, n in (("a", GOLD_A, 2), ("b", GOLD_B, 3)):
            if (step, task, setting, seed) not in skip:
                predicted = [(step // 10 + (seed == 21)) % n] * len(gold)
                cells.append(make(predicted, gold, step=step, task=task, setting=setting, demo_seed=seed, n_labels=n))
    return cells


def test_mean_over_tasks_of_mean_over_seeds_of_mean_over_examples(make_record: Make) -> None:
    predictions = collect_predictions(grid(make_record))["m-1"]
    curves = ability_curves(predictions, n_replicates=50)
    # Task a: every constant answer is right half the time. Task b: seeds name labels (0, 1), (1, 2), (2, 0),
    # whose shares are 1/5, 1/5, 3/5.
    task_b = [(0.2 + 0.2) / 2, (0.2 + 0.6) / 2, (0.6 + 0.2) / 2]
    curve = curves.curves["abstract"]
    np.testing.assert_allclose(curve.by_task["a"].value, [0.5] * 3)
    np.testing.assert_allclose(curve.by_task["b"].value, task_b)
    np.testing.assert_allclose(curve.by_task["b"].by_seed, [[0.2, 0.2], [0.2, 0.6], [0.6, 0.2]])
    np.testing.assert_allclose(curve.value, [(0.5 + b) / 2 for b in task_b])
    assert [ref.step for ref in curve.checkpoints] == [0, 10, 20]
    assert curves.chance == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert curves.majority == pytest.approx((1 / 2 + 3 / 5) / 2)
    assert curves.n_examples == {"a": 4, "b": 5} and curves.partial == ()
    assert bool(np.all((curve.low <= curve.value) & (curve.value <= curve.high)))


def test_tasks_stand_in_the_order_of_what_is_above_chance_at_the_end(make_record: Make) -> None:
    """Task a ends at its chance of 1/2, b at 2/5, which is above its chance of 1/3."""
    curves = ability_curves(collect_predictions(grid(make_record))["m-1"], n_replicates=20)
    assert curves.farthest_above_chance("gold") == ("b", "a")


def test_one_task_and_one_seed(make_record: Make) -> None:
    predictions = collect_predictions(grid(make_record))["m-1"]
    curves = ability_curves(predictions, task="b", demo_seeds=(21,), n_replicates=50)
    np.testing.assert_allclose(curves.curves["gold"].value, [0.2, 0.6, 0.2])
    assert curves.tasks == ("b",) and curves.demo_seeds == (21,)


def test_balanced_accuracy_and_macro_f1_of_a_constant_answer(make_record: Make) -> None:
    predictions = collect_predictions(grid(make_record))["m-1"]
    balanced = ability_curves(predictions, measure="balanced_accuracy", task="b", n_replicates=20)
    np.testing.assert_allclose(balanced.curves["gold"].value, [1 / 3] * 3)
    assert balanced.chance == pytest.approx(1 / 3) and balanced.majority == pytest.approx(1 / 3)
    f1 = ability_curves(predictions, measure="macro_f1", task="b", n_replicates=20)
    f1_of = {share: 2 * share / (1 + share) / 3 for share in (0.2, 0.6)}
    np.testing.assert_allclose(f1.curves["gold"].by_task["b"].by_seed[1], [f1_of[0.2], f1_of[0.6]])
    assert f1.majority == pytest.approx(f1_of[0.6])


def test_a_checkpoint_enters_only_when_complete_and_only_where_complete(make_record: Make) -> None:
    skip = {(10, "b", "random", 21), (10, "a", "random", 13), (20, "b", "gold", 13)}
    predictions = collect_predictions(grid(make_record, skip=skip))["m-1"]
    curves = ability_curves(predictions, n_replicates=20)
    assert {s: [r.step for r in c.checkpoints] for s, c in curves.curves.items()} == {
        "gold": [0, 10],
        "random": [0, 20],
        "abstract": [0, 10, 20],
    }
    listed = {(p.checkpoint.step, p.label_setting): p.missing for p in curves.partial}
    assert listed == {(20, "gold"): (("b", 13),), (10, "random"): (("a", 13), ("b", 21))}
    paired = paired_predictions(predictions)
    assert [r.step for r in paired.checkpoints] == [0, 20]
    assert [p.checkpoint.step for p in paired.partial] == [10]
    one_task = ability_curves(predictions, task="a", demo_seeds=(21,), n_replicates=20)
    assert one_task.partial == ()


def test_excluded_checkpoints_are_listed_and_enter_nothing(make_record: Make, make_ref: MakeRef) -> None:
    flagged = {make_ref(10): "shares its weights with step20"}
    predictions = collect_predictions(grid(make_record), excluded=flagged)["m-1"]
    curves = ability_curves(predictions, n_replicates=20)
    assert [r.step for r in curves.curves["gold"].checkpoints] == [0, 20]
    assert dict(curves.excluded) == flagged
    with pytest.raises(StudyError, match="shares its weights"):
        predictions.checkpoint_index(make_ref(10))


def test_nothing_complete_gives_no_curves_and_everything_excluded_says_so(make_record: Make, make_ref: MakeRef) -> None:
    cells = [make_record([0, 1], [0, 1], demo_seed=13), make_record([0, 1], [0, 1], step=10, demo_seed=21)]
    curves = ability_curves(collect_predictions(cells)["m-1"], n_replicates=5)
    assert curves.curves == {} and len(curves.partial) == 2
    gone = collect_predictions(cells, excluded={make_ref(0): "flagged", make_ref(10): "flagged"})["m-1"]
    assert gone.checkpoints == () and len(gone.excluded) == 2
    with pytest.raises(StudyError, match="there are: none"):
        ability_curves(gone)


def test_order_of_records_does_not_matter(make_record: Make) -> None:
    cells = grid(make_record)
    one = ability_curves(collect_predictions(cells)["m-1"], task=("a", "b"), n_replicates=30)
    other = ability_curves(collect_predictions(cells[::-1])["m-1"], task=("a", "b"), n_replicates=30)
    for setting in one.curves:
        np.testing.assert_array_equal(one.curves[setting].low, other.curves[setting].low)


def test_unknown_task_or_seed_is_named(make_record: Make) -> None:
    predictions = collect_predictions(grid(make_record))["m-1"]
    with pytest.raises(StudyError, match=r"^m-1 has no results for task zzz, y; there are: a, b\.$"):
        ability_curves(predictions, task=("zzz", "a", "y"))
    with pytest.raises(StudyError, match=r"task zzz; there"):
        ability_curves(predictions, task="zzz")
    with pytest.raises(StudyError, match=r"^m-1 has no results for demo seed 7; there are: 13, 21\.$"):
        ability_curves(predictions, demo_seeds=(7,))
    with pytest.raises(StudyError, match="no results for demo seed nothing"):
        ability_curves(predictions, demo_seeds=())


def test_competition_needs_both_abilities(make_record: Make) -> None:
    predictions = collect_predictions([make_record([0, 0], [0, 1]), make_record([0, 0], [0, 1], setting="random")])
    with pytest.raises(StudyError, match=r"^m-1 has no TL results \(abstract labels\); evaluate them first\.$"):
        paired_predictions(predictions["m-1"])
    predictions = collect_predictions([make_record([0, 0], [0, 1]), make_record([0, 0], [0, 1], setting="abstract")])
    with pytest.raises(StudyError, match=r"^m-1 has no TR results \(random labels\); evaluate them first\.$"):
        paired_predictions(predictions["m-1"])


def test_baselines_under_macro_f1() -> None:
    chance, majority = baselines([0, 0, 0, 1], n_labels=2, measure="macro_f1")
    assert majority == pytest.approx((2 * 0.75 / 1.75) / 2)
    assert chance == pytest.approx((2 * 0.75 * 0.5 / 1.25 + 2 * 0.25 * 0.5 / 0.75) / 2)
    # A label that never occurs has no F1: 2 x 1/2 x 1/3 / (1/2 + 1/3) for both of the others.
    assert baselines([0, 0, 1, 1], n_labels=3, measure="macro_f1") == pytest.approx((0.4, 1 / 3))
    assert baselines([1, 1, 1, 0], n_labels=2) == (0.5, 0.75)


def named(step: int, seed: int, n_labels: int) -> int:
    """The label that every cell of ``grid`` answers throughout."""
    return (step // 10 + (seed == 21)) % n_labels


def test_bands_are_those_of_one_draw_for_all_settings_and_checkpoints(make_record: Make) -> None:
    skip = {(10, "b", "random", 21), (0, "b", "gold", 13)}
    predictions = collect_predictions(grid(make_record, skip=skip))["m-1"]
    curves = ability_curves(predictions, measure="macro_f1", n_replicates=60, bootstrap_seed=4)
    steps = {"gold": [10, 20], "random": [0, 20], "abstract": [0, 10, 20]}
    for setting, curve in curves.curves.items():
        tasks = []
        for at, (task, gold, n) in enumerate((("a", GOLD_A, 2), ("b", GOLD_B, 3))):
            answers = [[[named(step, seed, n)] * len(gold) for seed in (13, 21)] for step in steps[setting]]
            rng = np.random.default_rng([4, at])
            tasks.append(
                replicate_task(np.array(answers), np.array(gold), measure="macro_f1", n_replicates=60, rng=rng)
            )
            band, found = hierarchical_band([tasks[-1]]), curve.by_task[task]
            np.testing.assert_allclose(found.value, band.value)
            np.testing.assert_allclose((found.low, found.high), (band.low, band.high))
            np.testing.assert_allclose(found.by_seed, tasks[-1].value)
        band = hierarchical_band(tasks)
        np.testing.assert_allclose((curve.value, curve.low, curve.high), (band.value, band.low, band.high))
        assert (curve.label_setting, [ref.step for ref in curve.checkpoints]) == (setting, steps[setting])


def test_curves_say_what_they_are_of(make_record: Make, make_ref: MakeRef) -> None:
    flagged = {make_ref(10): "flagged"}
    predictions = collect_predictions(grid(make_record), excluded=flagged)["m-1"]
    curves = ability_curves(predictions)
    assert (curves.model, curves.measure, curves.normalisation) == ("m-1", "accuracy", "sum")
    assert (curves.tasks, curves.demo_seeds, curves.n_replicates) == (("a", "b"), (13, 21), 1000)
    assert curves.chance_by_task == {"a": 1 / 2, "b": 1 / 3} and curves.majority_by_task == {"a": 1 / 2, "b": 3 / 5}
    few = ability_curves(predictions, normalisation="calibrated", measure="macro_f1", n_replicates=3)
    assert (few.n_replicates, few.normalisation, few.measure) == (3, "calibrated", "macro_f1")


def test_bands_are_those_of_seed_0_unless_another_is_given(splits: ModelSplits) -> None:
    plain, same, other = ability_curves(splits.test), *(ability_curves(splits.test, bootstrap_seed=s) for s in (0, 1))
    for setting, curve in plain.curves.items():
        np.testing.assert_array_equal(curve.low, same.curves[setting].low)
        assert not np.array_equal(curve.low, other.curves[setting].low)


def test_every_reading_takes_the_scores_asked_for(make_record: Make) -> None:
    """Both labels score alike but for the query without content: the sum names label 0, calibration label 1."""
    cells = [
        make_record([0] * 4, [0, 1, 1, 1], step=step, setting=setting, content_free=[3, 0])
        for step, setting in product((0, 10), ("gold", "random", "abstract"))
    ]
    predictions = collect_predictions(cells)["m-1"]
    for normalisation, label in (("sum", 0), ("calibrated", 1)):
        options: dict[str, Any] = {"normalisation": normalisation}
        share = (1 - label) * 0.25 + label * 0.75
        assert ability_curves(predictions, n_replicates=2, **options).curves["gold"].value.tolist() == [share] * 2
        assert setting_values(predictions, "abstract", **options).value.tolist() == [share] * 2
        paired = paired_predictions(predictions, **options)
        for predicted in (paired.tr_predicted, paired.tl_predicted):
            assert [each.tolist() for each in predicted] == [[[[label] * 4]] * 2]


def test_paired_answers_hand_worked(make_record: Make) -> None:
    cells = [
        make_record([(step // 10 + (seed == 21) + (setting == "abstract")) % 3] * 3, [0, 1, 2], step=step,
                    setting=setting, demo_seed=seed, task=task, n_labels=3)
        for step, setting, seed, task in product((0, 10), ("random", "abstract"), (13, 21), "ab")
    ]  # fmt: skip
    predictions = collect_predictions(cells)["m-1"]
    paired = paired_predictions(predictions)
    assert (paired.tasks, paired.demo_seeds, paired.partial) == (("a", "b"), (13, 21), ())
    assert [each.tolist() for each in paired.gold] == [[0, 1, 2]] * 2
    assert [each[..., 0].tolist() for each in paired.tr_predicted] == [[[0, 1], [1, 2]]] * 2
    assert [each[..., 0].tolist() for each in paired.tl_predicted] == [[[1, 2], [2, 0]]] * 2
    part = paired_predictions(predictions, task="b", demo_seeds=(21,))
    assert (part.tasks, part.demo_seeds, len(part.gold)) == (("b",), (21,), 1)
    assert [each[..., 0].tolist() for each in part.tl_predicted] == [[[2], [0]]]


def test_abilities_without_a_checkpoint_in_common_give_no_pairs(make_record: Make) -> None:
    cells = [make_record([0, 0], [0, 1], setting="random"), make_record([0, 0], [0, 1], step=10, setting="abstract")]
    paired = paired_predictions(collect_predictions(cells)["m-1"])
    assert (paired.checkpoints, paired.tr_predicted, paired.tl_predicted, paired.gold) == ((), (), (), ())
    assert {(item.checkpoint.step, item.label_setting) for item in paired.partial} == {(10, "random"), (0, "abstract")}


def test_values_without_bands_hand_worked(make_record: Make) -> None:
    predictions = collect_predictions(grid(make_record, skip={(10, "b", "gold", 21)}))["m-1"]
    values = setting_values(predictions, "gold")
    assert [ref.step for ref in values.checkpoints] == [0, 20] and values.tasks == ("a", "b")
    np.testing.assert_allclose(values.by_task, [[[0.5, 0.5]] * 2, [[0.2, 0.2], [0.6, 0.2]]])
    of_seed = setting_values(predictions, "gold", measure="balanced_accuracy", task="b", demo_seeds=(13,))
    assert [ref.step for ref in of_seed.checkpoints] == [0, 10, 20]
    np.testing.assert_allclose(of_seed.by_task, [[[1 / 3]] * 3])
    lone = collect_predictions([make_record([0, 0], [0, 1])])["m-1"]
    empty = setting_values(lone, "random")
    assert (empty.checkpoints, empty.tasks, empty.by_task.shape) == ((), ("t",), (1, 0, 1))
