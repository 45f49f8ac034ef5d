"""The plain prefix-cache method: transformers' own key/value cache, copied once for each row of a batch.

It works for every model that can use transformers' ``DynamicCache``, with any attention. Unlike the packed method, it
copies the prefix's keys and values. It chooses no groups and checks no numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from icl_core.records import EncodedRequest
from icl_core.scoring.checks import log_softmax
from icl_core.scoring.memory import run_halving
from icl_core.scoring.passes import keep, run

__all__ = ["prefill", "score_group"]


@dataclass(frozen=True, slots=True)
class _BatchRow:
    """A sequence to run: the rest of one context and the inner tokens of one or more of its choices.

    Attributes:
        tokens: ids after the prefix.
        n_context_tokens: number of these that are context.
        targets: the continuation of each choice that is read from this row.
        choices: (request, choice) of each target.
    """

    tokens: tuple[int, ...]
    n_context_tokens: int
    targets: tuple[tuple[int, ...], ...]
    choices: tuple[tuple[int, int], ...]


def score_group(
    model: torch.nn.Module,
    requests: Mapping[int, EncodedRequest],
    *,
    n_prefix_tokens: int,
    token_budget: int,
    memory_bytes: int,
    cache: DynamicCache | None = None,
) -> dict[int, list[float]]:
    """Scores requests that share their first tokens; the keys and values of these are computed once.

    Args:
        model: a transformers causal language model.
        requests: by their index in the caller's sequence.
        n_prefix_tokens: shared tokens; less than each context's length.
        token_budget: largest number of tokens in one forward pass after the prefix, padding included.
        memory_bytes: largest memory for the copies of the prefix's keys and values.
        cache: keys and values of the prefix if they are known (see ``prefill``); they are not changed.

    Returns:
        Log-likelihoods (nats) of the choices of each request; not checked to be finite.
    """
    rows = sorted(_rows(requests, n_prefix_tokens), key=lambda row: len(row.tokens))
    prefix_ids = next(iter(requests.values())).context_ids[:n_prefix_tokens]
    cache = prefill(model, prefix_ids) if cache is None else cache
    values = {index: [0.0] * len(request.continuation_ids) for index, request in requests.items()}

    def run_part(part: Sequence[_BatchRow]) -> None:
        for (index, choice), value in _score_rows(model, part, cache).items():
            values[index][choice] = value

    bytes_per_row = max(1, _n_bytes(cache))
    while rows:
        n = max(1, min(token_budget // len(rows[-1].tokens), memory_bytes // (2 * bytes_per_row)))
        run_halving(rows[-n:], run_part)
        del rows[-n:]
    return values


def _rows(requests: Mapping[int, EncodedRequest], n_prefix_tokens: int) -> list[_BatchRow]:
    """One row for each set of choices of a request that differ only in their last token."""
    rows = []
    for index, request in requests.items():
        suffix = request.context_ids[n_prefix_tokens:]
        by_inner: dict[tuple[int, ...], list[int]] = {}
        for choice, ids in enumerate(request.continuation_ids):
            by_inner.setdefault(ids[:-1], []).append(choice)
        for inner, choices in by_inner.items():
            targets = tuple(request.continuation_ids[choice] for choice in choices)
            rows.append(_BatchRow(suffix + inner, len(suffix), targets, tuple((index, choice) for choice in choices)))
    return rows


def prefill(model: torch.nn.Module, prefix_ids: tuple[int, ...]) -> DynamicCache:
    """Keys and values of the prefix for one row; empty without prefix."""
    cache = DynamicCache(config=model.config)
    if prefix_ids:
        input_ids = torch.tensor([prefix_ids], device=next(model.parameters()).device)
        run(model, input_ids=input_ids, past_key_values=cache, use_cache=True, **keep(model, torch.tensor([0])))
    return cache


def _score_rows(model: torch.nn.Module, rows: Sequence[_BatchRow], cache: DynamicCache) -> dict[tuple[int, int], float]:
    """Log-likelihood (nats) of each (request, choice) of the rows; the cache is not changed."""
    device = next(model.parameters()).device
    width = max(len(row.tokens) for row in rows)
    input_ids = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        input_ids[i, : len(row.tokens)] = torch.tensor(row.tokens)
    copied = copy.deepcopy(cache)
    if copied.get_seq_length():
        copied.batch_repeat_interleave(len(rows))
    first = min(row.n_context_tokens for row in rows) - 1
    kept = torch.arange(first, width, device=device)
    output = run(model, input_ids=input_ids.to(device), past_key_values=copied, use_cache=True, **keep(model, kept))
    logits = output.logits if output.logits.shape[1] == len(kept) else output.logits[:, first:]
    values = {}
    for i, row in enumerate(rows):
        begin = row.n_context_tokens - 1 - first
        logprobs = log_softmax(logits[i, begin : begin + len(row.targets[0])])
        for key, target in zip(row.choices, row.targets, strict=True):
            values[key] = float(logprobs.gather(1, torch.tensor(target, device=device)[:, None]).sum())
    return values


def _n_bytes(cache: DynamicCache) -> int:
    """Memory of the tensors that a cache holds."""
    return sum(
        value.nbytes for layer in cache.layers for value in vars(layer).values() if isinstance(value, torch.Tensor)
    )
