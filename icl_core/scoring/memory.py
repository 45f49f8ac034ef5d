"""Fits a batch into memory: if an allocation fails, it halves the batch and goes on.

It estimates nothing; the methods choose their batch sizes themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from icl_core.errors import ScoringError

__all__ = ["run_halving"]

Item = TypeVar("Item")


def run_halving(batch: Sequence[Item], run: Callable[[Sequence[Item]], None]) -> None:
    """Calls ``run`` on the batch, or on smaller and smaller parts of it if memory does not suffice.

    Args:
        batch: independent items; parts are run in order.
        run: may raise an out-of-memory error; it is then called again on halves, so it must keep
            nothing of a call that failed.

    Raises:
        ScoringError: if a single item does not fit.
    """
    pending = [batch]
    while pending:
        part = pending.pop()
        try:
            run(part)
            continue
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if len(part) == 1:
                raise ScoringError(
                    "One query does not fit in memory: choose a smaller model, fewer shots, or another device."
                ) from None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        middle = len(part) // 2
        pending += [part[middle:], part[:middle]]


def _is_out_of_memory(error: BaseException) -> bool:
    """CUDA has its own error; the CPU allocator raises a RuntimeError, which only its text identifies."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)
