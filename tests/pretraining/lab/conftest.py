"""Runs small enough to train within a second."""

from __future__ import annotations

import functools

import pytest

from icl_core.pretraining.lab import evaluators, train
from icl_core.pretraining.lab.config import DataKnobs, LabConfig


@pytest.fixture
def small_config() -> LabConfig:
    data = DataKnobs(n_classes=32, n_labels=8, n_dimensions=16, noise=0.2)
    return LabConfig(data=data, width=16, n_heads=2, batch_size=16, n_steps=60)


@pytest.fixture
def small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluation sets of 40 sequences at a few points: evaluation would take longer than training."""
    monkeypatch.setattr(train, "evaluation_sets", functools.partial(evaluators.evaluation_sets, n=40))
    monkeypatch.setattr(train, "_N_GEOMETRIC", 6)
    monkeypatch.setattr(train, "_N_LINEAR", 6)
