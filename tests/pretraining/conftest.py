"""A member small enough to train within a second."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from icl_core.pretraining.members import MEMBERS, Mixture, SuiteMember, TrainingPhase


@pytest.fixture
def small_member() -> SuiteMember:
    phases = (
        TrainingPhase("first", 12, Mixture(0.4, 0.2, 0.2, 0.1, 0.1)),
        TrainingPhase("second", 24, Mixture(0.0, 0.0, 0.5, 0.5, 0.0), label_noise=0.5),
    )
    base = next(iter(MEMBERS.values()))
    return dataclasses.replace(
        base,
        name="small",
        width=16,
        n_heads=2,
        phases=phases,
        checkpoint_steps=(0, 12, 24),
        n_warmup_steps=2,
        n_decay_steps=0,
    )


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order: what the promise of equal bits is made for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
