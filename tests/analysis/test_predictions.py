"""Stacking of stored cells: what is refused, what a cell predicts under each normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from icl_core.analysis.predictions import (
    CellLabels,
    Normalisation,
    collect_predictions,
    correct,
    labels_of,
    normalised_scores,
    predicted_labels,
    select_scores,
)
from icl_core.analysis.trajectories import ability_curves
from icl_core.errors import StudyError, UnknownNameError
from icl_core.records import CellRecord, CheckpointRef

Make = Callable[..., CellRecord]
MakeRef = Callable[..., CheckpointRef]


def test_models_and_splits_are_kept_apart(make_record: Make) -> None:
    cells = [
        make_record([0, 0], [0, 1], model="m-1"),
        make_record([0, 1], [0, 1], model="m-2"),
        make_record([1, 0], [0, 1], model="m-2", split="dev"),
    ]
    test, dev = collect_predictions(cells), collect_predictions(cells, split="dev")
    assert set(test) == {"m-1", "m-2"} and set(dev) == {"m-2"}
    assert ability_curves(test["m-2"], n_replicates=5).curves["gold"].value.tolist() == [1.0]
    assert ability_curves(dev["m-2"], n_replicates=5).curves["gold"].value.tolist() == [0.0]
    assert collect_predictions([]) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "bfloat16"}, r"differ in dtype \(bfloat16, float32\)"),
        (
            {"template": "natural"},
            r"^The results of m-1 differ in template \(minimal, natural\); choose one before comparing\.$",
        ),
        ({"attention": "eager"}, r"differ in attention \(eager, sdpa\)"),
        ({"sampling": "balanced"}, r"differ in sampling \(balanced, uniform\)"),
        ({"n_shots": 4}, r"differ in n_shots \(16, 4\)"),
        ({"label_word_set": "reference_code"}, r"differ in label_word_set \(natural, reference_code\)"),
        (
            {"fingerprint": "other"},
            r"^The results of m-1 on t differ in the version of the dataset; evaluate .* on the same rows\.$",
        ),
        ({"row_ids": ("test:5", "test:6")}, "on t differ in the rows evaluated;"),
        ({"label_words": ("x", "y")}, "on t differ in the label words;"),
        ({"alphabet": "letters", "setting": "abstract"}, r"differ in alphabet \(letters, symbols\)"),
    ],
)
def test_refuses_to_mix(make_record: Make, change: dict[str, object], message: str) -> None:
    cells = [make_record([0, 0], [0, 1]), make_record([0, 0], [0, 1], setting="abstract")]
    with pytest.raises(StudyError, match=message):
        collect_predictions([*cells, make_record([0, 0], [0, 1], step=10, **change)])


def test_two_folders_of_one_name_are_refused(make_record: Make) -> None:
    def at(source: str, location: str, step: int) -> CellRecord:
        record = make_record([0, 0], [0, 1], step=step)
        ref = replace(record.spec.checkpoint, source=source, location=location)
        return replace(record, spec=replace(record.spec, checkpoint=ref))

    one, two = at("folder", "/a/runs", 0), at("folder", "/b/runs", 10)
    for other, place in ((two, "/b/runs"), (at("hub", "someone/runs", 10), "a published model")):
        with pytest.raises(
            StudyError, match=rf"models with results are called m-1 \(/a/runs, {place}\); evaluate one of them again"
        ):
            collect_predictions([one, other])
    assert len(collect_predictions([one, at("folder", "/a/runs", 10)])["m-1"].checkpoints) == 2
    assert len(collect_predictions([at("hub", "a/x", 0), at("hub", "b/x", 10)])["m-1"].checkpoints) == 2  # an alias


def test_the_alphabet_of_gold_cells_does_not_matter(make_record: Make) -> None:
    cells = [make_record([0, 0], [0, 1], alphabet="letters"), make_record([0, 0], [0, 1], setting="abstract")]
    assert collect_predictions(cells)["m-1"].options["alphabet"] == "symbols"


def test_three_normalisations_hand_worked(make_record: Make) -> None:
    # sum prefers label 0 (-3 > -4), per token label 1 (-3/1 < -4/2), calibrated label 1 (-3+1 < -4+3).
    record = make_record(
        [0, 0],
        [1, 1],
        loglikelihoods=[[-3.0, -4.0], [-2.0, -2.0]],
        n_tokens=[[1, 2], [1, 1]],
        content_free=[-1.0, -3.0],
    )
    scores = collect_predictions([record])["m-1"].settings["t", "gold"]
    assert predicted_labels(scores)[0, 0].tolist() == [0, 0]  # the second is a tie: lowest index
    assert predicted_labels(scores, normalisation="per_token")[0, 0].tolist() == [1, 0]
    assert predicted_labels(scores, normalisation="calibrated")[0, 0].tolist() == [1, 1]
    np.testing.assert_allclose(normalised_scores(scores)[0, 0], [[-3, -4], [-2, -2]])
    np.testing.assert_allclose(normalised_scores(scores, normalisation="calibrated")[0, 0], [[-2, -1], [-1, 1]])
    assert correct(scores, normalisation="calibrated").tolist() == [[[True, True]]]
    assert correct(scores).tolist() == [[[False, False]]]


def test_an_unknown_normalisation_is_refused(make_record: Make) -> None:
    """Whatever was not called per_token or calibrated was the sum without a word."""
    scores = collect_predictions([make_record([0, 0], [1, 1])])["m-1"].settings["t", "gold"]
    for unknown in (normalised_scores, predicted_labels, correct):
        with pytest.raises(UnknownNameError, match="no normalisation tokens; there are: sum, per_token, calibrated"):
            unknown(scores, normalisation="tokens")  # type: ignore[arg-type]


def test_missing_cells_predict_nothing(make_record: Make) -> None:
    cells = [
        make_record([1, 0], [0, 1], step=step, demo_seed=seed) for step, seed in ((0, 13), (0, 21), (10, 21), (20, 13))
    ]
    labels = predicted_labels(collect_predictions(cells)["m-1"].settings["t", "gold"])
    assert labels[:, 0].tolist() == [[1, 0], [-1, -1], [1, 0]]
    assert labels[:, 1].tolist() == [[1, 0], [1, 0], [-1, -1]]


def test_stacked_arrays_by_hand(make_record: Make) -> None:
    """One array per task and setting, by step and seed; a cell that is not there holds zeros."""
    values = {(0, 21): 1.0, (10, 13): 2.0, (10, 21): 3.0}
    cells = [
        replace(
            make_record(
                [0, 0, 0],
                [1, 0, 1],
                step=step,
                demo_seed=seed,
                setting="abstract",
                loglikelihoods=[[-value, -value - 0.5]] * 3,
                n_tokens=[[value, value + 4]] * 3,
                content_free=[-value, -value - 2],
            ),
            content_free_n_tokens=np.array([int(value), 7]),
            choices=(f"x{seed}", f"y{seed}"),
        )
        for (step, seed), value in reversed(values.items())
    ]
    other = make_record([0, 1], [0, 1], task="other", n_shots=16, step=10, demo_seed=13)
    predictions = collect_predictions([*cells, other])["m-1"]
    assert [ref.step for ref in predictions.checkpoints] == [0, 10] and predictions.demo_seeds == (13, 21)
    assert (predictions.model, predictions.split, predictions.tasks) == ("m-1", "test", ("t", "other"))
    assert predictions.label_words == {"t": ("w0", "w1"), "other": ("w0", "w1")} and predictions.n_shots == 16
    assert predictions.options == {
        "n_shots": 16,
        "template": "minimal",
        "label_word_set": "natural",
        "sampling": "uniform",
        "dtype": "float32",
        "attention": "sdpa",
        "alphabet": "symbols",
    }
    scores = predictions.setting_scores("t", "abstract")
    number = np.array([[0.0, 1.0], [2.0, 3.0]])
    there = number > 0
    np.testing.assert_array_equal(scores.present, there)
    np.testing.assert_array_equal(
        scores.loglikelihoods,
        np.broadcast_to((there[..., None] * (-number[..., None] - [0, 0.5]))[:, :, None], (2, 2, 3, 2)),
    )
    np.testing.assert_array_equal(
        scores.n_tokens, np.broadcast_to((there[..., None] * (number[..., None] + [0, 4]))[:, :, None], (2, 2, 3, 2))
    )
    np.testing.assert_array_equal(scores.content_free, there[..., None] * (-number[..., None] - [0, 2]))
    np.testing.assert_array_equal(scores.content_free_n_tokens, [[[0, 0], [1, 7]], [[2, 7], [3, 7]]])
    assert [array.dtype for array in (scores.loglikelihoods, scores.n_tokens, scores.content_free)] == [
        "f4",
        "i4",
        "f4",
    ]
    assert [array.dtype for array in (scores.content_free_n_tokens, scores.gold, scores.present)] == ["i4", "i2", "?"]
    assert scores.gold.tolist() == [1, 0, 1] and scores.row_ids == ("test:0", "test:1", "test:2")
    assert scores.choices == (("x13", "y13"), ("x21", "y21"))
    lone = predictions.setting_scores("other", "gold")
    assert lone.choices == (("w0", "w1"), ()) and lone.present.tolist() == [[False, False], [True, False]]


def test_some_checkpoints_and_seeds_of_the_scores(make_record: Make) -> None:
    cells = [
        replace(
            make_record(
                [0],
                [0],
                step=step,
                demo_seed=seed,
                loglikelihoods=[[-step - seed, 0]],
                n_tokens=[[step + seed, 1]],
                content_free=[step - seed, 0],
            ),
            content_free_n_tokens=np.array([step * seed, 1]),
            choices=(f"x{seed}", "y"),
        )
        for step in (0, 10, 20)
        for seed in (1, 2, 3)
        if (step, seed) != (20, 3)
    ]
    scores = collect_predictions(cells)["m-1"].setting_scores("t", "gold")
    part = select_scores(scores, checkpoints=[2, 1], seeds=[2, 0])
    assert part.loglikelihoods[..., 0, 0].tolist() == [[0, -21], [-13, -11]]
    assert part.n_tokens[..., 0, 0].tolist() == [[0, 21], [13, 11]]
    assert part.content_free[..., 0].tolist() == [[0, 19], [7, 9]]
    assert part.content_free_n_tokens[..., 0].tolist() == [[0, 20], [30, 10]]
    assert part.present.tolist() == [[False, True], [True, True]]
    assert part.choices == (("x3", "y"), ("x1", "y")) and part.gold is scores.gold


def labels_only(record: CellRecord, predicted: list[int], normalisation: Normalisation = "calibrated") -> CellLabels:
    gold = record.gold.astype(np.int16)
    labels = np.array(predicted, dtype=np.uint8)
    return CellLabels(record.spec, record.key, record.row_ids, gold, normalisation, labels, record.choices, None, 0)


def test_labels_without_scores_are_placed_by_step_and_seed(make_record: Make, make_ref: MakeRef) -> None:
    answers = {(10, 21): [1, 1], (0, 13): [0, 1], (10, 13): [1, 0]}
    cells = [
        labels_only(make_record([0, 0], [0, 1], step=step, demo_seed=seed), predicted)
        for (step, seed), predicted in answers.items()
    ]
    predictions = collect_predictions(cells)["m-1"]
    found = predictions.setting("t", "gold")
    labels = predicted_labels(found, normalisation="calibrated")
    assert labels.dtype == np.int16 and labels.tolist() == [[[0, 1], [-1, -1]], [[1, 0], [1, 1]]]
    assert correct(found, normalisation="calibrated").tolist() == [
        [[True, True], [False, False]],
        [[False, False], [False, True]],
    ]
    with pytest.raises(ValueError, match=r"^the labels were read under calibrated, not under sum$"):
        predicted_labels(found)
    with pytest.raises(TypeError, match=r"^m-1 was read without its scores$"):
        predictions.setting_scores("t", "gold")
    with pytest.raises(StudyError, match=r"^m-1 has no random results on t in split test\.$"):
        predictions.setting("t", "random")
    with pytest.raises(StudyError, match=r"^m-1 at step77 is not among the results: it has no results\.$"):
        predictions.checkpoint_index(make_ref(77))
    assert predictions.checkpoint_index(make_ref(10)) == 1


def test_one_cell_without_scores(make_record: Make) -> None:
    found = collect_predictions([labels_only(make_record([0, 0], [0, 1]), [1, 1], "per_token")])["m-1"]
    assert predicted_labels(found.setting("t", "gold"), normalisation="per_token").tolist() == [[[1, 1]]]


def test_only_the_models_own_exclusions_are_listed(make_record: Make, make_ref: MakeRef) -> None:
    cells = [make_record([0, 0], [0, 1], model=model, step=step) for model in ("m-1", "m-2") for step in (0, 10)]
    excluded = {make_ref(0, "m-2"): "flagged", make_ref(10, "m-3"): "flagged"}
    found = collect_predictions(cells, excluded=excluded)
    assert [dict(found[model].excluded) for model in ("m-1", "m-2")] == [{}, {make_ref(0, "m-2"): "flagged"}]
    assert [[ref.step for ref in found[model].checkpoints] for model in ("m-1", "m-2")] == [[0, 10], [10]]


def test_another_version_of_a_task_and_an_uncertain_order_are_refused(make_record: Make) -> None:
    one, other = make_record([0, 0], [0, 1]), make_record([0, 0], [0, 1], step=10)
    with pytest.raises(StudyError, match="on t differ in the version of the task;"):
        collect_predictions([one, replace(other, key=replace(other.key, task_version=2))])
    own = [
        replace(cell, spec=replace(cell.spec, checkpoint=replace(cell.spec.checkpoint, family="local", step=None)))
        for cell in (one, other)
    ]
    with pytest.raises(StudyError, match=r"^The order of the checkpoints of m-1 is not certain: "):
        collect_predictions(own)


def test_what_a_normalisation_needs_is_asked_for() -> None:
    values = np.array([[-3.0, -4.0]], dtype=np.float32)
    with pytest.raises(ValueError, match=r"^the mean over tokens needs their number$"):
        labels_of(values, normalisation="per_token")
    with pytest.raises(ValueError, match=r"^calibrated scores need those of the content-free query$"):
        labels_of(values, normalisation="calibrated")
    assert labels_of(values, normalisation="per_token", n_tokens=np.array([[1, 2]])).tolist() == [1]
    assert labels_of(values, normalisation="per_token", n_tokens=np.array([[0, 1]])).tolist() == [0]  # no division by 0
    assert labels_of(values, normalisation="calibrated", content_free=np.float32([0, -2])).tolist() == [1]


def test_scores_are_divided_in_double_precision(make_record: Make) -> None:
    record = make_record([0, 0], [0, 0], loglikelihoods=[[-1.0, -3.0], [-3.0, -1.0]], n_tokens=[[3, 9], [9, 3]])
    scores = collect_predictions([record])["m-1"].setting_scores("t", "gold")
    found = normalised_scores(scores, normalisation="per_token")
    assert found.dtype == np.float64 and found.tolist() == [[[[-1 / 3] * 2] * 2]]
    assert predicted_labels(scores, normalisation="per_token").tolist() == [[[0, 0]]]
