"""Scores requests with the same demonstrations one after another, and keeps the demonstrations' keys and values.

The engine computes a shared prefix once within a call; this module keeps it between calls, for someone who asks one
question after another. It changes no number: if the engine would not use its cached method, the engine scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest, LabelScores
from icl_core.scoring import cached
from icl_core.scoring.checks import inference, label_scores
from icl_core.scoring.engine import EngineOptions, choose_method, score_requests
from icl_core.sequences import n_common_of_all

__all__ = ["KeptPrefixes"]

MARGIN_TOKENS = 4
"""Last tokens of a shared prefix that are not kept: another query may merge with them."""
SHORTEST_TOKENS = 16
MEMORY_BYTES = 256 * 2**20
TOKEN_BUDGET = 2048


class KeptPrefixes:
    """The keys and values of the prefixes that one model used last."""

    def __init__(self, model: torch.nn.Module, *, most: int = 4) -> None:
        """Starts empty; keeps at most ``most`` prefixes."""
        self._model = model
        self._most = most
        self._kept: dict[tuple[int, ...], DynamicCache] = {}

    @property
    def lengths(self) -> tuple[int, ...]:
        """Number of tokens of each kept prefix, the last used one at the end."""
        return tuple(map(len, self._kept))

    def score(self, requests: Sequence[EncodedRequest]) -> list[LabelScores]:
        """As ``engine.score_requests``, for requests of one demonstration set.

        Raises:
            ScoringError: as there.
        """
        if not self._may_keep(requests):
            return score_requests(self._model, requests)
        with inference(self._model):
            ids = self._prefix(requests)
            if not ids:
                return score_requests(self._model, requests)
            values = cached.score_group(
                self._model,
                dict(enumerate(requests)),
                n_prefix_tokens=len(ids),
                token_budget=TOKEN_BUDGET,
                memory_bytes=MEMORY_BYTES,
                cache=self._kept[ids],
            )
        return label_scores([value for index in range(len(requests)) for value in values[index]], requests)

    def _may_keep(self, requests: Sequence[EncodedRequest]) -> bool:
        """Whether the cached method gives this model's numbers; the engine decides by comparing."""
        if choose_method(self._model, requests) == "plain":
            return False
        try:
            return choose_method(self._model, requests, options=EngineOptions(method="cached")) == "cached"
        except ScoringError:
            return False

    def _prefix(self, requests: Sequence[EncodedRequest]) -> tuple[int, ...]:
        """A kept prefix that all requests share, or a new one, which is then kept; empty if they share too little."""
        contexts = [request.context_ids for request in requests]
        shared = min(n_common_of_all(contexts), min(map(len, contexts)) - 1)
        known = [ids for ids in self._kept if shared // 2 <= len(ids) <= shared and contexts[0][: len(ids)] == ids]
        if not known:
            ids = contexts[0][: shared - MARGIN_TOKENS] if shared >= SHORTEST_TOKENS else ()
            if ids:
                self._kept[ids] = cached.prefill(self._model, ids)
        else:
            ids = max(known, key=len)
            self._kept[ids] = self._kept.pop(ids)
        while len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
        return ids
