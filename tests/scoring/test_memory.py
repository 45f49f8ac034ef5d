"""Batches are halved when memory fails, and nothing is lost or run twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from icl_core.errors import ScoringError
from icl_core.scoring.memory import run_halving


def test_halves_until_it_fits() -> None:
    done: list[int] = []

    def run(part: Sequence[int]) -> None:
        if len(part) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.extend(part)

    run_halving(range(10), run)
    assert done == list(range(10))


def test_the_cpu_allocator_counts_too() -> None:
    def run(part: Sequence[int]) -> None:
        torch.empty(2**60, dtype=torch.uint8)

    with pytest.raises(ScoringError, match="One query does not fit in memory"):
        run_halving([1, 2], run)


def test_other_errors_pass() -> None:
    def run(part: Sequence[int]) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        run_halving([1, 2], run)
