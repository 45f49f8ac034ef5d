"""Exact attention that also returns the log-sum-exp of its scores, so that parts can be merged.

On the CPU it calls torch's own fused kernel by its internal name. Elsewhere, or if that name is missing, it uses plain
matrix products. It knows no layouts and no models.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

__all__ = ["Attended", "attend", "attend_by_matmul", "window_mask"]

CHUNK_ELEMENTS = 2**24
"""Largest number of scores held at once by the plain form."""


class Attended(NamedTuple):
    """Weighted values (..., n, n_heads, width) and the log-sum-exp (..., n, n_heads) of the scores, nats."""

    values: torch.Tensor
    lse: torch.Tensor


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float | None,
    is_causal: bool = False,
    mask: torch.Tensor | None = None,
) -> Attended:
    """softmax(query key^T scale + mask) value, with its log-sum-exp.

    Args:
        query: (n_rows, n_heads, n, width).
        key: (n_rows, n_key_heads, m, width); n_heads is a multiple of n_key_heads.
        value: the same shape.
        scale: factor of the scores; None for 1 / sqrt(width).
        is_causal: whether token i sees keys 0 to i only (n equals m).
        mask: (n, m), added to the scores; finite.
    """
    fused = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if fused is None or query.device.type != "cpu":
        return attend_by_matmul(query, key, value, scale=scale, is_causal=is_causal, mask=mask)
    values, lse = fused(query, key, value, 0.0, is_causal, attn_mask=mask, scale=scale)
    return Attended(values.transpose(1, 2), lse.transpose(1, 2))


def attend_by_matmul(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float | None,
    is_causal: bool = False,
    mask: torch.Tensor | None = None,
) -> Attended:
    """The same by matrix products, with the query heads of a key head side by side; softmax in at least float32."""
    (n_rows, n_heads, n, width), (n_key_heads, m) = query.shape, key.shape[1:3]
    n_grouped = n_heads // n_key_heads
    if is_causal:
        mask = query.new_zeros(n, m).masked_fill_(query.new_ones(n, m).triu(1).bool(), torch.finfo(query.dtype).min / 2)
    step = max(1, CHUNK_ELEMENTS // (n_rows * n_heads * m))
    parts = []
    for start in range(0, n, step):
        part = query[:, :, start : start + step].reshape(n_rows, n_key_heads, -1, width)
        scores = part @ key.transpose(2, 3)
        scores = scores if scores.dtype == torch.float64 else scores.float()
        scores *= width**-0.5 if scale is None else scale
        if mask is not None:
            rows = scores.view(n_rows, n_heads, -1, m)
            rows += mask[start : start + step]
        lse = scores.logsumexp(-1, keepdim=True)
        values = (scores - lse).exp_().to(value.dtype) @ value
        shape = (n_rows, n_key_heads * n_grouped, -1)
        parts.append((values.reshape(*shape, value.shape[3]).transpose(1, 2), lse.reshape(shape).transpose(1, 2)))
    return Attended(*(torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True)))


def window_mask(n: int, window: int | None, like: torch.Tensor) -> torch.Tensor | None:
    """(n, n) causal mask with a sliding window, to be added to scores; None if the window hides nothing."""
    if window is None or n <= window:
        return None
    position = torch.arange(n, device=like.device)
    distance = position[:, None] - position
    return like.new_zeros(n, n).masked_fill_((distance < 0) | (distance >= window), torch.finfo(like.dtype).min / 2)
