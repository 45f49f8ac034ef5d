"""Scores the candidate labels of many queries exactly, computing each shared prefix once.

It is given token ids and knows no tasks, labels or label settings. Every path gives the numbers of
``icl_core.scoring.reference`` up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from transformers import PreTrainedModel

from icl_core.records import EncodedRequest, LabelScores
from icl_core.scoring import cached, reference
from icl_core.scoring.checks import check_requests, inference, label_scores
from icl_core.scoring.grouping import group_by_prefix

__all__ = ["EngineOptions", "score_requests"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How much the engine may hold at once, and which way it computes.

    Attributes:
        token_budget: most tokens in one forward pass beside a prefix.
        memory_bytes: most memory for copied keys and values and for logits.
        path: ``auto`` chooses; ``cached`` copies transformers' cache; ``plain`` recomputes everything.
    """

    token_budget: int = 1024
    memory_bytes: int = 256 * 2**20
    path: Literal["auto", "cached", "plain"] = "auto"


def score_requests(
    model: torch.nn.Module, requests: Sequence[EncodedRequest], *, options: EngineOptions = EngineOptions()
) -> list[LabelScores]:
    """Scores each choice of each request; requests that begin with the same tokens share their computation.

    Args:
        model: a causal language model. Modules that are no transformers model are recomputed in full.
        requests: token ids from the joint tokenisation, of one or more prompts, in any order.
        options: limits and path.

    Returns:
        One LabelScores a request, in order.

    Raises:
        ScoringError: for ids that the model cannot take, or numbers that are not finite.
    """
    if options.path == "plain" or not isinstance(model, PreTrainedModel):
        return reference.score_requests(model, requests)
    check_requests(model, requests)
    values: dict[int, list[float]] = {}
    with inference(model):
        for group in group_by_prefix(requests):
            values |= cached.score_group(
                model,
                {index: requests[index] for index in group.indices},
                n_prefix_tokens=group.n_prefix_tokens,
                token_budget=options.token_budget,
                memory_bytes=options.memory_bytes,
            )
    return [label_scores(values[index], request, index) for index, request in enumerate(requests)]
