"""Merging attention over parts equals attention over the whole, by either kernel."""

from __future__ import annotations

import pytest
import torch

from icl_core.scoring import attention
from icl_core.scoring.attention import attend, attend_by_matmul, window_mask


def tensors(n: int, m: int, *, n_heads: int = 6, n_key_heads: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, n_heads, n, 8), (2, n_key_heads, m, 8), (2, n_key_heads, m, 8)]
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("function", [attend, attend_by_matmul])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_log_sum_exp_merges_two_parts(function, scale: float | None) -> None:
    query, key, value = tensors(5, 9)
    whole = function(query, key, value, scale=scale)
    first, second = (
        function(query, key[:, :, part], value[:, :, part], scale=scale) for part in (slice(4), slice(4, 9))
    )
    weight = torch.sigmoid(first.lse - second.lse)[..., None]
    torch.testing.assert_close(torch.lerp(second.values, first.values, weight), whole.values, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.logaddexp(first.lse, second.lse), whole.lse, atol=1e-12, rtol=0)


@pytest.mark.parametrize("masked", ["nothing", "causal", "window"])
@pytest.mark.parametrize("chunk", [2**24, 64])
def test_both_kernels_agree(monkeypatch, masked: str, chunk: int) -> None:
    monkeypatch.setattr(attention, "CHUNK_ELEMENTS", chunk)
    query, key, value = tensors(7, 7)
    mask = window_mask(7, 3, query) if masked == "window" else None
    arguments = {"scale": None, "is_causal": masked == "causal", "mask": mask}
    fused, plain = attend(query, key, value, **arguments), attend_by_matmul(query, key, value, **arguments)
    torch.testing.assert_close(fused.values, plain.values, atol=1e-12, rtol=0)
    torch.testing.assert_close(fused.lse, plain.lse, atol=1e-12, rtol=0)


def test_the_plain_kernel_is_softmax() -> None:
    query, key, value = tensors(4, 6, n_heads=2)
    weights = torch.softmax(query @ key.transpose(2, 3) / 8**0.5, dim=-1)
    plain = attend_by_matmul(query, key, value, scale=None)
    torch.testing.assert_close(plain.values, (weights @ value).transpose(1, 2), atol=1e-12, rtol=0)


def test_a_window_sees_itself_and_what_is_just_before() -> None:
    mask = window_mask(4, 2, torch.zeros(1))
    assert mask is not None
    visible = (mask == 0).int().tolist()
    assert visible == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert window_mask(4, 4, mask) is None
    assert window_mask(4, None, mask) is None
