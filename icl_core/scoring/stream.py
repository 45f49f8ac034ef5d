"""Runs cells of requests through a model by one of three methods, within the available memory.

It does not choose or check the method; ``icl_core.scoring.engine`` does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from transformers import PreTrainedModel

from icl_core.records import EncodedRequest, LabelScores
from icl_core.scoring import cached, packed, reference
from icl_core.scoring.checks import inference, label_scores
from icl_core.scoring.grouping import group_by_prefix
from icl_core.scoring.layout import Query, make_queries

__all__ = ["DEFAULT_OPTIONS", "EngineOptions", "HowScored", "Method", "PackedStream", "score_apart", "with_limits"]

Method = Literal["packed", "cached", "plain"]

ROW_BYTES = 32 * 2**20
"""Bytes of activations of one packed row on a CPU: longer rows leave the caches and are no faster."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How much the engine may hold at once, and the method that it uses.

    Attributes:
        token_budget: largest number of tokens in one forward pass besides a prefix; None for as many as
            ``memory_bytes`` allows.
        memory_bytes: target for memory besides weights and prefixes; None for 256 MiB on a CPU and a quarter of the
            free memory on other devices. Batches are halved if they still do not fit.
        method: ``auto`` takes the first of ``packed``, ``cached``, ``plain`` that agrees with the reference.
    """

    token_budget: int | None = None
    memory_bytes: int | None = None
    method: Literal["auto"] | Method = "auto"


DEFAULT_OPTIONS = EngineOptions()


@dataclass(frozen=True, slots=True)
class HowScored:
    """The method that scored some cells: in half precision it decides the last bits.

    Attributes:
        method: ``packed``, ``cached`` or ``plain``; joined by `` and `` if a cell needed several.
        token_budget: as in ``EngineOptions``; None for the plain method, which runs each prompt alone.
    """

    method: str
    token_budget: int | None


def with_limits(model: PreTrainedModel, options: EngineOptions) -> EngineOptions:
    """The options with missing limits chosen for this model and the free memory; given limits stay."""
    memory_bytes = options.memory_bytes or _default_memory(model)
    token_budget = options.token_budget or _token_budget(model, memory_bytes)
    return replace(options, memory_bytes=memory_bytes, token_budget=token_budget)


def score_apart(
    model: torch.nn.Module, requests: Sequence[EncodedRequest], *, method: Method, options: EngineOptions
) -> list[LabelScores]:
    """One cell by the plain or the cached method."""
    if method == "plain":
        return reference.score_requests(model, requests)
    assert isinstance(model, PreTrainedModel)
    limits = with_limits(model, options)
    assert limits.token_budget is not None and limits.memory_bytes is not None
    values: dict[int, list[float]] = {}
    with inference(model):
        for group in group_by_prefix(requests):
            values |= cached.score_group(
                model,
                {index: requests[index] for index in group.indices},
                n_prefix_tokens=group.n_prefix_tokens,
                token_budget=limits.token_budget,
                memory_bytes=limits.memory_bytes // 2,
            )
    return label_scores([value for index in range(len(requests)) for value in values[index]], requests)


class PackedStream:
    """Cells that go through packed rows; a row may hold the end of one cell and the beginning of the next."""

    def __init__(
        self, model: PreTrainedModel, cells: Iterable[Sequence[EncodedRequest]], options: EngineOptions
    ) -> None:
        self._model, self._cells = model, cells
        limits = with_limits(model, options)
        assert limits.token_budget is not None and limits.memory_bytes is not None
        self._token_budget, self._memory_bytes = limits.token_budget, limits.memory_bytes
        self._open: deque[tuple[Sequence[EncodedRequest], int]] = deque()
        self._values = np.zeros(0)
        self._n_slots_closed = 0

    def bursts(self) -> Iterator[list[list[LabelScores]]]:
        """The scores of finished cells, after each row that finishes any."""
        parts: list[packed.Part] = []
        n_done = 0
        for part in packed.score_queries(
            self._model,
            self._queries(),
            token_budget=self._token_budget,
            read_budget=self._memory_bytes // 2 // (12 * _n_vocab(self._model)),
        ):
            parts.append(part)
            n_done += part.n_queries
            if n_done < len(self._open[0][0]):
                continue
            self._collect(parts)
            parts = []
            finished = []
            while self._open and n_done >= len(self._open[0][0]):
                n_done -= len(self._open[0][0])
                finished.append(self._closed())
            yield finished
        if self._open:  # cells without requests
            yield [self._closed() for _ in range(len(self._open))]

    def _queries(self) -> Iterator[Query]:
        n_slots = 0
        for requests in self._cells:
            sizes = [len(request.continuation_ids) for request in requests]
            first_slots = (n_slots + np.cumsum([0, *sizes])).tolist()
            n_slots = first_slots[-1]
            self._open.append((requests, sum(sizes)))
            yield from make_queries(requests, group_by_prefix(requests), first_slots)

    def _collect(self, parts: Sequence[packed.Part]) -> None:
        """Copies the results to the host and adds them to the open cells."""
        n_open = sum(n_slots for _, n_slots in self._open)
        self._values = np.concatenate([self._values, np.zeros(n_open - len(self._values))])
        slots = np.concatenate([part.slots for part in parts]) - self._n_slots_closed
        np.add.at(self._values, slots, torch.cat([part.logprobs for part in parts]).cpu().numpy())

    def _closed(self) -> list[LabelScores]:
        """The scores of the first open cell, which is then forgotten."""
        requests, n_slots = self._open.popleft()
        values, self._values = self._values[:n_slots], self._values[n_slots:]
        self._n_slots_closed += n_slots
        return label_scores(values, requests)


def _n_vocab(model: PreTrainedModel) -> int:
    return int(model.config.get_text_config().vocab_size)


def _default_memory(model: PreTrainedModel) -> int:
    if model.device.type == "cuda":
        return int(torch.cuda.mem_get_info(model.device)[0]) // 4
    return 256 * 2**20


def _token_budget(model: PreTrainedModel, memory_bytes: int) -> int:
    """Tokens of a row whose activations stay inside half the memory (on a CPU, inside ROW_BYTES)."""
    config = model.config.get_text_config()
    n_intermediate = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    bytes_per_token = (8 * config.hidden_size + 3 * n_intermediate) * model.dtype.itemsize
    limit = min(memory_bytes // 2, ROW_BYTES) if model.device.type == "cpu" else memory_bytes // 2
    return int(min(max(limit // bytes_per_token, 64), 8192 if model.device.type == "cpu" else 65536))
