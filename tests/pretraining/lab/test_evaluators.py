"""The measures: chance before training, known values for models written by hand, and scores of known attention."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from icl_core.pretraining.lab.config import DataKnobs, LabConfig
from icl_core.pretraining.lab.evaluators import evaluate, evaluation_sets, head_scores, set_accuracy
from icl_core.pretraining.lab.model import build_model
from icl_core.pretraining.lab.runs import ACCURACIES, LabRun, chance, chance_band
from icl_core.pretraining.lab.world import Batch, make_world


def run_of(config: LabConfig) -> LabRun:
    return LabRun(config, "", Path(), False, "partial", {}, np.empty(0, dtype=np.int64), np.empty(0))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_untrained_models_are_within_three_sigma_of_chance_everywhere(seed: int) -> None:
    """With more classes than sequences: answers to queries of one class are alike, also in an untrained model."""
    config = LabConfig(DataKnobs(n_classes=4096), init_seed=seed, data_seed=seed)
    found, run = evaluate(build_model(config), evaluation_sets(make_world(config), step=0)), run_of(config)
    for name in ACCURACIES:
        assert abs(float(found[name]) - chance(run, name)) <= chance_band(run, name), name
    assert float(found["context_mass"]) == pytest.approx(2 / 32, abs=0.03)
    assert {f"{head}_by_head" for head in ("previous_token", "self_attention", "induction")} < set(found)


class Oracle:
    """A model that answers from the batch itself."""

    def __init__(self, answers: np.ndarray, n_labels: int) -> None:
        self.logits = 20.0 * torch.nn.functional.one_hot(torch.from_numpy(answers.copy()), n_labels).double()

    def accuracy(self, name: str, batch: Batch) -> float:
        return set_accuracy(name, self.logits.log_softmax(dim=-1), batch)


def test_pure_strategies_score_as_they_have_to() -> None:
    config = LabConfig(DataKnobs(n_classes=256))
    sets = evaluation_sets(make_world(config), step=0)
    for name, batch in sets.items():
        own = batch.classes[:, :-1] == batch.classes[:, -1:]
        in_context = np.where(own.any(axis=1), batch.labels[np.arange(len(own)), own.argmax(axis=1)], 0)
        in_weights = np.maximum(batch.true_labels, 0)
        icl, ciwl = (Oracle(answers, 32).accuracy(name, batch) for answers in (in_context, in_weights))
        if name in ("train", "icl", "icl_novel", "flip", "icl_copy", "flip_copy"):
            assert icl == 1.0, name
        if name in ("train", "ciwl", "iwl", "tr"):
            assert ciwl == 1.0, name
        if name.startswith("flip"):
            assert ciwl == 0.0, name
        if name in ("icl", "icl_novel", "icl_copy"):
            assert ciwl == pytest.approx(0.5, abs=0.06), name
    assert [*sets] == ["train", "icl", "icl_novel", "ciwl", "flip", "icl_copy", "flip_copy", "iwl", "tr", "tl"]


def test_sets_are_fixed_and_follow_the_phase() -> None:
    data = DataKnobs(n_classes=64, n_exemplars=0, copy_probability=1.0)
    config = LabConfig(data, replace(data, copy_probability=0.0), 50, n_steps=100)
    world = make_world(config)
    one, again, later = (evaluation_sets(world, step=step, n=50) for step in (50, 50, 51))
    assert (one["flip"].items == again["flip"].items).all() and (one["flip"].items == later["flip"].items).all()
    copied = [
        (s["train"].items[:, :-1] == s["train"].items[:, -1:]).all(axis=2).any(axis=1).all() for s in (one, later)
    ]
    assert copied == [True, False]
    assert not (one["icl"].items[:, :-1] == one["icl"].items[:, -1:]).all(axis=2).any()
    assert (one["icl_copy"].items[:, :-1] == one["icl_copy"].items[:, -1:]).all(axis=2).any(axis=1).all()


def test_scores_of_hand_made_attention() -> None:
    config = LabConfig(DataKnobs(n_classes=64))
    batch = evaluation_sets(make_world(config), step=0, n=40)["train"]
    own = batch.classes[:, :-1] == batch.classes[:, -1:]
    attention = torch.zeros(40, 1, 2, 5, 5)
    attention[:, 0, 0, 1, 0] = attention[:, 0, 0, 3, 2] = 1.0  # head 0: previous token, query to itself
    attention[:, 0, 0, 4, 4] = 1.0
    rows, places = np.nonzero(own)
    attention[rows, 0, 1, 4, 2 * places + 1] = 0.75  # head 1: induction
    rows, places = np.nonzero(~own)
    attention[rows, 0, 1, 4, 2 * places + 1] = 0.25
    model: Any = SimpleNamespace(forward_with_attention=lambda _items, _labels: (None, attention))
    scores = head_scores(model, batch)
    assert scores.previous_token.tolist() == [[1.0, 0.0]]
    assert scores.self_attention.tolist() == [[1.0, 0.0]]
    assert scores.induction.tolist() == [[0.0, 0.5]]
    assert scores.maps[0, 1, 4].tolist() == [0.0, 0.75, 0.0, 0.25, 0.0]


def test_training_without_the_querys_class_has_scores_of_zero_and_no_nan() -> None:
    config = LabConfig(DataKnobs(n_classes=64, mapping="ciwl"))
    found = evaluate(build_model(config), evaluation_sets(make_world(config), step=0, n=50))
    assert found["induction"] == 0.0
    assert all(np.isfinite(value).all() for value in found.values())
