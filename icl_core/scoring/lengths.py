"""Rotary factors that depend on the length of a forward pass: which lengths share factors?

``longrope`` models have two sets of factors: one for passes of up to ``original_max_position_embeddings`` tokens, one
for longer passes (arXiv 2402.13753). ``dynamic`` models have different factors for each length beyond their context.
Passes that share all factors are of one kind. It reads configurations and runs no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch

from icl_core.records import EncodedRequest

__all__ = ["Kind", "has_kinds", "kind_of", "kinds", "longest_run", "most_tokens", "split_by_kind"]

Kind = tuple[int, ...]
"""One number per set of factors: 0 for the original factors. A prefix of a sequence of kind 0 is also of kind 0."""

LONGROPE = ("longrope", "su")

_known: WeakKeyDictionary[torch.nn.Module, list[tuple[int, bool]]] = WeakKeyDictionary()


def has_kinds(model: torch.nn.Module) -> bool:
    """Whether the model's factors depend on the length of a pass."""
    return bool(_bounds(model))


def kind_of(model: torch.nn.Module, n_tokens: int) -> Kind:
    """The kind of a forward pass over this number of tokens."""
    return tuple(0 if n_tokens <= bound else (n_tokens if each_length else 1) for bound, each_length in _bounds(model))


def most_tokens(model: torch.nn.Module, kind: Kind) -> int | None:
    """The longest pass that has the original factors wherever this kind has them; None without such a bound."""
    bounds = [bound for (bound, _), each in zip(_bounds(model), kind, strict=False) if not each]
    return min(bounds, default=None)


def kinds(model: torch.nn.Module, requests: Sequence[EncodedRequest]) -> set[Kind]:
    """The kinds of the passes that score each choice of these requests alone."""
    if not has_kinds(model):
        return {()}
    return {kind_of(model, _n_run(request, ids)) for request in requests for ids in request.continuation_ids}


def split_by_kind(
    model: torch.nn.Module, requests: Sequence[EncodedRequest]
) -> dict[Kind, list[tuple[int, list[int], EncodedRequest]]]:
    """The requests, each cut into parts whose choices are of one kind: (request, its choices, the part)."""
    found: dict[Kind, list[tuple[int, list[int], EncodedRequest]]] = {}
    for index, request in enumerate(requests):
        choices: dict[Kind, list[int]] = {}
        for choice, ids in enumerate(request.continuation_ids):
            choices.setdefault(kind_of(model, _n_run(request, ids)), []).append(choice)
        for kind, some in choices.items():
            part = EncodedRequest(request.context_ids, tuple(request.continuation_ids[choice] for choice in some))
            found.setdefault(kind, []).append((index, some, part))
    return found


def longest_run(requests: Sequence[EncodedRequest]) -> int:
    """Tokens of the longest pass that scores one choice of these requests."""
    return max(_n_run(request, max(request.continuation_ids, key=len)) for request in requests)


def _n_run(request: EncodedRequest, ids: Sequence[int]) -> int:
    """Tokens that go into the model to score one choice: the last token is only predicted."""
    return len(request.context_ids) + len(ids) - 1


def _bounds(model: torch.nn.Module) -> list[tuple[int, bool]]:
    """For each set of factors: the longest pass with the original ones, and whether each longer length has its own."""
    if model not in _known:
        config = getattr(model, "config", None)
        _known[model] = [] if config is None else sorted(set(_bounds_of(config.get_text_config())))
    return _known[model]


def _bounds_of(config: Any) -> Iterator[tuple[int, bool]]:
    longest = getattr(config, "max_position_embeddings", None)
    settings = getattr(config, "rope_parameters", None) or {}
    for each in (settings, *settings.values()):  # one set, or one for each type of layer
        if not isinstance(each, dict):
            continue
        rope_type = str(each.get("rope_type", each.get("type")))
        original = each.get("original_max_position_embeddings") or longest
        if rope_type in LONGROPE and original is not None:
            yield int(original), False
        elif "dynamic" in rope_type and longest is not None:
            yield int(longest), True
