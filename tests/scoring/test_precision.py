"""Weights in float32 for a while: the same numbers, one layer at a time, and everything put back."""

from __future__ import annotations

import pytest
import torch

from icl_core.scoring.precision import dtype_of, in_float32, is_low


class Tied(torch.nn.Module):
    """Two layers in a list, with a weight outside that stands at two places, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 8)
        self.layers = torch.nn.ModuleList([torch.nn.Sequential(torch.nn.Linear(8, 8)) for _ in range(2)])
        self.head = torch.nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("scale", torch.tensor([3.0]))
        self.register_buffer("steps", torch.tensor([3]))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids) * self.scale
        for layer in self.layers:
            x = x + layer(x)
        return self.head(x)


@pytest.fixture
def narrow() -> Tied:
    torch.manual_seed(0)
    return Tied().to(torch.bfloat16)


def test_it_computes_as_a_float32_copy(narrow: Tied) -> None:
    copy = Tied()
    copy.load_state_dict(narrow.state_dict())
    ids = torch.arange(20)[None]
    with torch.inference_mode(), in_float32(narrow):
        assert torch.equal(narrow(ids), copy(ids))
    assert narrow(ids).dtype == torch.bfloat16


def test_one_layer_is_wide_at_a_time_and_all_is_put_back(narrow: Tied) -> None:
    before = [*narrow.parameters(), *narrow.buffers()]
    wide: list[list[bool]] = []
    for layer in narrow.layers:
        layer[0].register_forward_hook(
            lambda *_: wide.append([each[0].weight.dtype == torch.float32 for each in narrow.layers])
        )
    with in_float32(narrow):
        assert narrow.head.weight is narrow.embedding.weight  # held once
        assert narrow.head.weight.dtype == narrow.scale.dtype == torch.float32
        assert narrow.steps.dtype == torch.int64
        narrow(torch.arange(20)[None])
    assert wide == [[True, False], [False, True]]
    assert all(a is b for a, b in zip(before, [*narrow.parameters(), *narrow.buffers()], strict=True))


def test_a_failure_inside_leaves_the_model_as_it_was(narrow: Tied) -> None:
    before = list(narrow.parameters())
    with pytest.raises(RuntimeError), in_float32(narrow):
        narrow.layers[1](torch.ones(3, 5))  # a wrong shape
    assert all(a is b for a, b in zip(before, narrow.parameters(), strict=True))
    assert narrow(torch.arange(3)[None]).dtype == torch.bfloat16


def test_names_of_dtypes(narrow: Tied) -> None:
    assert dtype_of(narrow) == torch.bfloat16
    assert dtype_of(torch.nn.Identity()) == torch.float32
    assert [is_low(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)] == [
        True,
        True,
        False,
        False,
    ]
