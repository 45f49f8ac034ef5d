"""The packed method: one row of tokens per batch, each token once, attention to a prefix without copying it.

A function registered with transformers' ``AttentionInterface``
(https://huggingface.co/docs/transformers/attention_interface) takes the place of the model's attention while
a batch runs. A query's token attends to the shared prefix in one call for all tokens of a group, and to its own path
through a small padded gather; both softmaxes are merged by their log-sum-exp (as in Hydragen, arXiv 2402.05099). It
works for models whose layers mix tokens only through that interface; the caller has to test whether one does.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from transformers import AttentionInterface, PreTrainedModel

from icl_core.scoring.attention import Attended, attend, window_mask
from icl_core.scoring.checks import inference
from icl_core.scoring.layout import Layout, Prefix, Query, Segment, batches, lay_out
from icl_core.scoring.memory import run_halving
from icl_core.scoring.passes import run

__all__ = ["Part", "is_possible", "score_queries"]

ATTENTION_NAME = "icl_packed"
ROWS_IN_CACHE = 8
"""Positions whose distributions are summed at once: few enough to stay in a processor's cache between passes."""
UNSUPPORTED = ("softcap", "s_aux", "position_bias")
"""Arguments of the attention interface that change the softmax."""

KeysValues = tuple[torch.Tensor, torch.Tensor]


def is_possible(model: torch.nn.Module) -> bool:
    """Whether a model takes explicit positions and computes logits at chosen positions only."""
    if not isinstance(model, PreTrainedModel):
        return False
    return {"position_ids", "logits_to_keep"} <= set(inspect.signature(model.forward).parameters)


class Part(NamedTuple):
    """The result of one row: log-probabilities (n_targets,) in nats, on the device, and their slots (n_targets,)."""

    slots: npt.NDArray[np.int64]
    logprobs: torch.Tensor
    n_queries: int


def score_queries(
    model: PreTrainedModel, queries: Iterator[Query], *, token_budget: int, read_budget: int
) -> Iterator[Part]:
    """Scores queries in packed rows.

    Args:
        model: a model for which ``is_possible`` is true.
        queries: queries with one prefix are consecutive.
        token_budget: largest number of tokens in a row (a longer prefix or query gets a row of its own).
        read_budget: largest number of positions in a row whose distribution over the vocabulary is computed.

    Yields:
        Parts of the log-likelihoods, in the order of the queries; not checked to be finite.
    """
    device = next(model.parameters()).device
    kept: dict[Prefix, list[KeysValues]] = {}
    parts: list[Part] = []

    def run_batch(batch: Sequence[Query]) -> None:
        layout = lay_out(batch, kept)
        row = _PackedRow(layout, device, kept)
        parts.append(Part(layout.targets[:, 2], _run(model, row), len(batch)))
        kept.update(row.new_kept)
        for query in batch:
            query.prefix.n_left -= 1
            if not query.prefix.n_left:
                kept.pop(query.prefix, None)

    for batch in batches(queries, token_budget=token_budget, read_budget=read_budget):
        with inference(model), _packed_attention(model):
            run_halving(batch, run_batch)
        yield from parts
        parts.clear()


def _run(model: PreTrainedModel, row: _PackedRow) -> torch.Tensor:
    """Log-probability (nats, float64) of each target of a row."""
    token = _current_row.set(row)
    try:
        output = run(
            model,
            input_ids=row.input_ids[None],
            position_ids=row.position_ids[None],
            use_cache=False,
            logits_to_keep=row.reads,
        )
    finally:
        _current_row.reset(token)
    logits: torch.Tensor = output.logits[0]
    logits = logits if logits.dtype == torch.float64 else logits.float()
    read, target = row.targets[:, 0], row.targets[:, 1]
    n_at_once = ROWS_IN_CACHE if logits.device.type == "cpu" else max(len(logits), 1)
    totals = torch.cat([rows.logsumexp(-1) for rows in torch.split(logits, n_at_once)])
    return (logits[read, target] - totals[read]).double()


class _PackedRow:
    """A layout on the model's device, and the attention inside it; used for one forward pass."""

    def __init__(self, layout: Layout, device: torch.device, kept: dict[Prefix, list[KeysValues]]) -> None:
        self.input_ids = _on_device(layout.input_ids, device)
        self.position_ids = _on_device(layout.position_ids, device)
        self.reads = _on_device(layout.reads, device)
        self.targets = _on_device(layout.targets, device)
        self._owners = _on_device(layout.owners, device)
        self._paths = [_on_device(table, device) for table in layout.paths]
        self._segments = layout.segments
        self._last_positions = [int(layout.position_ids[slice(*s.suffixes)].max()) for s in layout.segments]
        self._kept = kept
        self._layer = 0
        self._masks: dict[tuple[int, int], torch.Tensor | None] = {}
        self.new_kept: dict[Prefix, list[KeysValues]] = {
            segment.prefix: [] for segment in layout.segments if segment.computed and segment.is_kept
        }

    def layer(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float | None, window: int | None
    ) -> torch.Tensor:
        """Attention of the next layer.

        Args:
            query: (1, n_heads, n_row, head_width), positions applied.
            key: (1, n_key_heads, n_row, head_width), positions applied.
            value: (1, n_key_heads, n_row, head_width).
            scale: factor of the scores; None for 1 / sqrt(head_width).
            window: tokens that a token sees, itself included; None for all before it.

        Returns:
            (1, n_row, n_heads, head_width).
        """
        result = query.new_empty(query.shape[2], query.shape[1], value.shape[3])
        first_node = self._segments[0].suffixes[0]
        own = self._along_paths(query, key, value, scale=scale, window=window)
        for number, segment in enumerate(self._segments):
            rows = slice(*segment.suffixes)
            nodes = slice(rows.start - first_node, rows.stop - first_node)
            if not segment.prefix.ids:
                result[rows] = own.values[nodes]
                continue
            keys, values = self._prefix(segment, key, value)
            if segment.computed:
                inside = slice(*segment.computed)
                mask = window_mask(len(segment.prefix.ids), window, query)
                alone = attend(query[:, :, inside], keys, values, scale=scale, is_causal=mask is None, mask=mask)
                result[inside] = alone.values[0]
            first, mask = self._visible(number, window, query)
            before = attend(query[:, :, rows], keys[:, :, first:], values[:, :, first:], scale=scale, mask=mask)
            weight = torch.sigmoid(before.lse[0] - own.lse[nodes])[..., None].to(query.dtype)
            torch.lerp(own.values[nodes], before.values[0], weight, out=result[rows])
        self._layer += 1
        return result[None]

    def _along_paths(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float | None, window: int | None
    ) -> Attended:
        """Each node's attention to its own path: (n_nodes, n_heads, head_width) and (n_nodes, n_heads)."""
        parts = []
        for table in self._paths:
            q, k, v = (tensor[0].transpose(0, 1)[table].transpose(1, 2) for tensor in (query, key, value))
            mask = window_mask(table.shape[1], window, query)
            parts.append(attend(q, k, v, scale=scale, is_causal=mask is None, mask=mask))
        values, lse = (
            torch.cat([tensor.flatten(0, 1) for tensor in tensors])[self._owners]
            for tensors in zip(*parts, strict=True)
        )
        return Attended(values, lse)

    def _prefix(self, segment: Segment, key: torch.Tensor, value: torch.Tensor) -> KeysValues:
        """Keys and values of a prefix: kept from an earlier row, or part of this one."""
        if not segment.computed:
            return self._kept[segment.prefix][self._layer]
        rows = slice(*segment.computed)
        keys_values = key[:, :, rows], value[:, :, rows]
        if segment.is_kept:
            keys_values = keys_values[0].clone(), keys_values[1].clone()
            self.new_kept[segment.prefix].append(keys_values)
        return keys_values

    def _visible(self, number: int, window: int | None, query: torch.Tensor) -> tuple[int, torch.Tensor | None]:
        """The first prefix position that a segment's nodes see, and the mask if they do not all see the same."""
        segment = self._segments[number]
        n_prefix = len(segment.prefix.ids)
        if window is None or self._last_positions[number] < window:
            return 0, None
        first = min(max(0, n_prefix - window + 1), n_prefix - 1)
        if (number, window) not in self._masks:
            positions = self.position_ids[slice(*segment.suffixes), None]
            hidden = torch.arange(first, n_prefix, device=query.device) <= positions - window
            mask = query.new_zeros(hidden.shape).masked_fill_(hidden, torch.finfo(query.dtype).min / 2)
            self._masks[number, window] = mask
        return first, self._masks[number, window]


def _on_device(array: npt.NDArray[np.int64], device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


_current_row: ContextVar[_PackedRow] = ContextVar("packed_row")


def _packed_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers calls; arguments as in its ``AttentionInterface``."""
    changed = [name for name in UNSUPPORTED if kwargs.get(name) is not None]
    if changed:
        raise NotImplementedError(f"the packed method has no {changed[0]}")
    window = kwargs.get("sliding_window")
    return _current_row.get().layer(query, key, value, scale=scaling, window=window), None


@contextlib.contextmanager
def _packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Lets the model's layers call the packed attention, and puts back what they had."""
    AttentionInterface.register(ATTENTION_NAME, _packed_forward)
    before = model.config._attn_implementation
    model.set_attn_implementation(ATTENTION_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
