"""Stacking of stored cells: what is refused, what a cell predicts under each normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from icl_core.analysis.predictions import collect_predictions, correct, normalised_scores, predicted_labels
from icl_core.analysis.trajectories import ability_curves
from icl_core.errors import StudyError
from icl_core.records import CellRecord

Make = Callable[..., CellRecord]


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
        ({"template": "natural"}, "differ in template"),
        ({"attention": "eager"}, r"differ in attention \(eager, sdpa\)"),
        ({"sampling": "balanced"}, r"differ in sampling \(balanced, uniform\)"),
        ({"n_shots": 4}, r"differ in n_shots \(16, 4\)"),
        ({"label_word_set": "reference_code"}, r"differ in label_word_set \(natural, reference_code\)"),
        ({"fingerprint": "other"}, "differ in the version of the dataset"),
        ({"row_ids": ("test:5", "test:6")}, "differ in the rows evaluated"),
        ({"label_words": ("x", "y")}, "differ in the label words"),
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
            StudyError, match=rf"models with results are called m-1 \(.*{place}.*\); evaluate one of them again"
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
    np.testing.assert_allclose(normalised_scores(scores, normalisation="calibrated")[0, 0], [[-2, -1], [-1, 1]])
    assert correct(scores, normalisation="calibrated").tolist() == [[[True, True]]]


def test_missing_cells_predict_nothing(make_record: Make) -> None:
    cells = [
        make_record([1, 0], [0, 1], step=step, demo_seed=seed) for step, seed in ((0, 13), (0, 21), (10, 21), (20, 13))
    ]
    labels = predicted_labels(collect_predictions(cells)["m-1"].settings["t", "gold"])
    assert labels[:, 0].tolist() == [[1, 0], [-1, -1], [1, 0]]
    assert labels[:, 1].tolist() == [[1, 0], [1, 0], [-1, -1]]
