"""The engine against the oracle: every architecture, every path, and what it must refuse or survive."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest
from icl_core.scoring import cached, reference
from icl_core.scoring.engine import EngineOptions, score_requests

ARCHITECTURES = ["gpt_neox", "llama", "olmo", "gemma3", "granite", "qwen2", "gpt2", "bloom"]
CLOSE_IN_FLOAT64 = {"bloom": 1e-5}  # transformers computes BLOOM's position bias in float32
PATHS = ["auto", "cached"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_the_reference_in_float64(
    make_model, make_requests, largest_difference, architecture: str, path: str
) -> None:
    model, requests = make_model(architecture), make_requests()
    scores = score_requests(model, requests, options=EngineOptions(path=path))
    difference = largest_difference(scores, reference.score_requests(model, requests))
    assert difference < CLOSE_IN_FLOAT64.get(architecture, 1e-8)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_the_reference_in_float32(
    make_model, make_requests, largest_difference, architecture: str, path: str
) -> None:
    model, requests = make_model(architecture, torch.float32), make_requests()
    scores = score_requests(model, requests, options=EngineOptions(path=path))
    assert largest_difference(scores, reference.score_requests(model, requests)) < 1e-3


@pytest.mark.parametrize("path", PATHS)
def test_several_prompt_families_in_one_call(make_model, make_requests, largest_difference, path: str) -> None:
    model = make_model("gemma3")
    families = [make_requests(seed=1, n_prefix=40), make_requests(seed=2, n_prefix=25), make_requests(seed=3)]
    requests = [request for rows in zip(*families, strict=True) for request in rows]
    scores = score_requests(model, requests, options=EngineOptions(path=path))
    assert largest_difference(scores, reference.score_requests(model, requests)) < 1e-8


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("contexts", "choices"),
    [
        ([(1, 2, 3)], ((4,),)),  # a single request with one choice
        ([(7,)], ((4, 5, 6), (4, 5), (4,))),  # one context token; choices that begin each other
        ([(1, 2, 3), (4, 5), (6,)], ((4,), (5, 6))),  # nothing shared
        ([tuple(range(40))] * 3, ((4,), (5, 6))),  # the same context thrice
        ([tuple(range(40)), tuple(range(39)), tuple(range(38))], ((4,), (5, 6))),  # contexts that begin each other
    ],
)
def test_edges(make_model, largest_difference, contexts, choices, path: str) -> None:
    model = make_model("llama")
    requests = [EncodedRequest(context, choices) for context in contexts]
    scores = score_requests(model, requests, options=EngineOptions(path=path))
    assert largest_difference(scores, reference.score_requests(model, requests)) < 1e-8


def test_no_requests(make_model) -> None:
    assert score_requests(make_model("llama"), []) == []


@pytest.mark.parametrize("path", PATHS)
def test_scoring_twice_gives_equal_numbers(make_model, make_requests, path: str) -> None:
    model, requests = make_model("gemma3", torch.float32), make_requests(n_queries=20)
    options = EngineOptions(path=path)
    first, second = score_requests(model, requests, options=options), score_requests(model, requests, options=options)
    assert all(np.array_equal(a.loglikelihoods, b.loglikelihoods) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("path", PATHS)
def test_batch_size_does_not_matter(make_model, make_requests, largest_difference, path: str) -> None:
    model, requests = make_model("llama", torch.float32), make_requests(n_queries=20)
    small, large = (
        score_requests(model, requests, options=EngineOptions(token_budget=budget, path=path)) for budget in (8, 4096)
    )
    assert largest_difference(small, large) < 1e-5


def test_prefix_cache_is_unchanged_after_scoring(make_model, make_requests, monkeypatch) -> None:
    model, requests = make_model("gemma3"), dict(enumerate(make_requests()))
    caches = []

    def prefill(*args: object) -> object:
        cache = original(*args)
        caches.append((cache, [(layer.keys.clone(), layer.values.clone()) for layer in cache.layers]))
        return cache

    original = cached._prefill
    monkeypatch.setattr(cached, "_prefill", prefill)
    with torch.inference_mode():
        cached.score_group(model, requests, n_prefix_tokens=30, token_budget=16, memory_bytes=2**20)
    ((cache, before),) = caches
    for layer, (keys, values) in zip(cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


class Wrapped(torch.nn.Module):
    """A causal model that is no transformers model: neither its attention nor its cache is known."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.inner = model

    def forward(self, input_ids: torch.Tensor) -> object:
        return self.inner(input_ids=input_ids)


def test_a_custom_module_is_recomputed_in_full(make_model, make_requests, largest_difference) -> None:
    model, requests = make_model("llama"), make_requests(n_queries=3)
    scores = score_requests(Wrapped(model), requests)
    assert largest_difference(scores, reference.score_requests(model, requests)) < 1e-12


def test_nan_is_an_error_that_names_the_request(make_model, make_requests) -> None:
    model, requests = make_model("llama"), make_requests(n_queries=3)
    bad = requests[2].context_ids[-1]
    requests = [request for request in requests[:2] if bad not in request.context_ids] + [requests[2]]
    model.get_input_embeddings().weight.data[bad] = float("nan")
    with pytest.raises(ScoringError, match=f"Request {len(requests) - 1} got the log-likelihood nan"):
        score_requests(model, requests)
