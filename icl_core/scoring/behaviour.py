"""Tests whether a loaded model's logits depend only on earlier tokens, as scoring assumes, or on more.

It runs the model on a few tokens, whatever the name of its class. It refuses a model whose logits change with a later
token, or that gives two answers to one question: padding, the rest of the batch and chance would decide its accuracy
(https://github.com/huggingface/transformers/issues/12704). Nothing is scored here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from icl_core.errors import ScoringError
from icl_core.scoring.lengths import kind_of
from icl_core.scoring.passes import keep, run

__all__ = ["Behaviour", "NotFiniteError", "observe"]

SHARE_OF_SPREAD = 1e-4
"""Largest difference that rounding explains in float32, as a share of the spread of the logits."""

SHARE_IN_LOW_PRECISION = 0.05
"""The same for a model that runs only in its own low precision."""

BEFORE_A_CUT = 4
"""Positions compared before each place where the tokens change or end: a leak is largest next to it."""


class Behaviour(NamedTuple):
    """What else the logits of a causal, repeatable model depend on.

    Attributes:
        length: whether the number of later tokens, whatever they are, changes the logits at a position.
        company: whether the other rows of the batch change them.
    """

    length: bool
    company: bool


class NotFiniteError(ArithmeticError):
    """The logits hold NaN, so the model cannot be judged."""


def observe(model: torch.nn.Module, ids: Sequence[int], others: Sequence[int], *, is_exact: bool) -> Behaviour:
    """Runs the model on some tokens, on changes of them, and on their beginning.

    Args:
        model: maps ``input_ids`` to ``logits``; in evaluation mode, without gradients.
        ids: (n_tokens,) a sequence of at least four tokens.
        others: (n_tokens,) ids that differ from ``ids`` at every place.
        is_exact: whether it computes in float32 or better.

    Raises:
        ScoringError: it does not attend causally, or gives different numbers for the same input.
        NotFiniteError: its logits hold NaN.
        Exception: whatever the model raises if it cannot run on token ids alone.
    """
    cuts = sorted({max(1, len(ids) // 4), len(ids) // 2, len(ids) - 2, len(ids) - 1})
    n_short = len(ids) - max(1, len(ids) // 3)
    places = sorted({place for cut in (*cuts, n_short) for place in range(max(0, cut - BEFORE_A_CUT), cut)})
    changed = [[*ids[:cut], *others[cut:]] for cut in cuts]
    in_short = [place for place in places if place < n_short]

    short = _logits(model, [ids[:n_short]], in_short)[0]
    alone = _logits(model, [ids], places)[0]
    together = _together(model, [list(ids), *changed], places)
    again = _logits(model, [ids[:n_short]], in_short)[0]
    allowed = (SHARE_OF_SPREAD if is_exact else SHARE_IN_LOW_PRECISION) * _spread(alone)

    def differs(first: torch.Tensor, second: torch.Tensor) -> bool:
        return _largest_difference(first, second) > allowed

    company = together is None or differs(together[0], alone)
    if differs(short, again) or (company and differs(_logits(model, [ids], places)[0], alone)):
        raise ScoringError(
            f"{type(model).__name__} gives different numbers for the same input, so its results cannot be trusted: "
            "something random is left on in it, or it remembers earlier inputs."
        )
    rows: Iterable[torch.Tensor] = (_logits(model, [row], places)[0] for row in changed)
    if together is not None and not company:
        rows = together[1:]
    for cut, row in zip(cuts, rows, strict=True):
        n_before = sum(place < cut for place in places)
        if differs(row[:n_before], alone[:n_before]):
            raise ScoringError(
                f"{type(model).__name__} does not attend causally: a later token changes what it predicts at an "
                "earlier one, so it gives no probability of a label after a prompt. Choose a decoder."
            )
    length = kind_of(model, n_short) == kind_of(model, len(ids)) and differs(short, alone[: len(in_short)])
    return Behaviour(length, company)


def _together(model: torch.nn.Module, rows: Sequence[Sequence[int]], places: Sequence[int]) -> torch.Tensor | None:
    """The logits of rows in one batch, None for a model that takes one row at a time."""
    try:
        return _logits(model, rows, places)
    except (NotFiniteError, torch.OutOfMemoryError):
        raise
    except Exception:
        return None


def _logits(model: torch.nn.Module, rows: Sequence[Sequence[int]], places: Sequence[int]) -> torch.Tensor:
    """(n_rows, n_places, n_vocab) logits of rows of one length; float32 or float64."""
    device = next(model.parameters()).device
    at = torch.tensor(places, device=device)
    logits: torch.Tensor = run(model, input_ids=torch.tensor(rows, device=device), **keep(model, at)).logits
    logits = logits if logits.shape[1] == len(places) else logits[:, at]
    if logits.isnan().any():
        raise NotFiniteError(f"{type(model).__name__} gives NaN")
    return logits if logits.dtype == torch.float64 else logits.float()


def _spread(logits: torch.Tensor) -> float:
    """The spread of the logits at the last place, without the outer tenths of the vocabulary (masked tokens)."""
    ordered = logits[-1].sort().values
    return float(ordered[(9 * len(ordered)) // 10] - ordered[len(ordered) // 10])


def _largest_difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest of all differences; tokens that both sides mask (minus infinity) are equal."""
    return float(torch.where(first == second, 0.0, (first - second).abs()).max())
