"""The engine against the oracle: every architecture, every method, and what it must refuse or survive."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest
from icl_core.scoring import cached, packed, reference
from icl_core.scoring.engine import EngineOptions, HowScored, choose_method, score_bursts, score_requests

METHOD_BY_ARCHITECTURE = {
    "gpt_neox": "packed",
    "llama": "packed",
    "olmo": "packed",
    "gemma3": "packed",
    "granite": "packed",
    "qwen2": "packed",
    "gpt2": "packed",
    "crystalcoder": "packed",
    "bloom": "cached",  # its position bias does not pass through the attention interface
    "gemma2": "cached",  # its soft cap changes the softmax
}
CLOSE_IN_FLOAT64 = {"bloom": 1e-5}  # transformers computes BLOOM's position bias in float32
METHODS = ["packed", "cached"]
CASES = [
    (architecture, method)
    for architecture, best in METHOD_BY_ARCHITECTURE.items()
    for method in dict.fromkeys((best, "cached"))  # in one order: every worker must collect the same tests
]


@pytest.mark.parametrize(("architecture", "method"), METHOD_BY_ARCHITECTURE.items())
def test_the_method_that_an_architecture_gets(make_model, make_requests, architecture: str, method: str) -> None:
    assert choose_method(make_model(architecture), make_requests()) == method


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_equals_the_reference_in_float64(
    make_model, make_requests, largest_difference, architecture: str, method: str
) -> None:
    model, requests = make_model(architecture), make_requests()
    scores = score_requests(model, requests, options=EngineOptions(method=method))
    difference = largest_difference(scores, reference.score_requests(model, requests))
    assert difference < CLOSE_IN_FLOAT64.get(architecture, 1e-8)


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_equals_the_reference_in_float32(
    make_model, make_requests, largest_difference, architecture: str, method: str
) -> None:
    model, requests = make_model(architecture, torch.float32), make_requests()
    scores = score_requests(model, requests, options=EngineOptions(method=method))
    assert largest_difference(scores, reference.score_requests(model, requests)) < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_several_prompt_families_in_one_call(make_model, make_requests, largest_difference, method: str) -> None:
    model = make_model("gemma3")
    families = [make_requests(seed=1, n_prefix=40), make_requests(seed=2, n_prefix=25), make_requests(seed=3)]
    requests = [request for rows in zip(*families, strict=True) for request in rows]
    scores = score_requests(model, requests, options=EngineOptions(method=method))
    assert largest_difference(scores, reference.score_requests(model, requests)) < 1e-8


@pytest.mark.parametrize("method", METHODS)
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
def test_edges(make_model, largest_difference, contexts, choices, method: str) -> None:
    model = make_model("llama")
    requests = [EncodedRequest(context, choices) for context in contexts]
    scores = score_requests(model, requests, options=EngineOptions(method=method))
    assert largest_difference(scores, reference.score_requests(model, requests)) < 1e-8


def test_no_requests(make_model) -> None:
    assert score_requests(make_model("llama"), []) == []


@pytest.mark.parametrize("method", METHODS)
def test_scoring_twice_gives_equal_numbers(make_model, make_requests, method: str) -> None:
    model, requests = make_model("gemma3", torch.float32), make_requests(n_queries=20)
    options = EngineOptions(method=method)
    first, second = score_requests(model, requests, options=options), score_requests(model, requests, options=options)
    assert all(np.array_equal(a.loglikelihoods, b.loglikelihoods) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_batch_size_does_not_matter(make_model, make_requests, largest_difference, method: str) -> None:
    model, requests = make_model("llama", torch.float32), make_requests(n_queries=20)
    small, large = (
        score_requests(model, requests, options=EngineOptions(token_budget=budget, method=method))
        for budget in (8, 4096)
    )
    assert largest_difference(small, large) < 1e-5


def test_prefix_cache_is_unchanged_after_scoring(make_model, make_requests, monkeypatch) -> None:
    model, requests = make_model("gemma3"), dict(enumerate(make_requests()))
    caches = []

    def prefill(*args: object) -> object:
        cache = original(*args)
        caches.append((cache, [(layer.keys.clone(), layer.values.clone()) for layer in cache.layers]))
        return cache

    original = cached.prefill
    monkeypatch.setattr(cached, "prefill", prefill)
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
    with pytest.raises(ScoringError, match="packed method does not agree with a full recompute on Wrapped"):
        score_requests(Wrapped(model), requests, options=EngineOptions(method="packed"))


def test_nan_is_an_error_that_names_the_request(make_model, make_requests) -> None:
    for bad, named in ((77, "Request 2 got the"), (6, "Request 0 got the")):  # in one context; in a choice
        model = make_model("llama")
        requests = [EncodedRequest((*range(10, 40), last), ((5,), (6, 7))) for last in (50, 51, 77)]
        score_requests(model, requests)
        model.get_input_embeddings().weight.data[bad] = float("nan")
        with pytest.raises(ScoringError, match=named):
            score_requests(model, requests)


def test_a_model_that_gives_nan_from_the_start(make_model, make_requests) -> None:
    model = make_model("llama")
    model.model.norm.weight.data[3] = float("nan")
    with pytest.raises(ScoringError, match="Request 0 got the log-likelihood nan for its choice 0"):
        score_requests(model, make_requests())


def test_each_token_passes_the_model_once(make_model, make_requests, monkeypatch) -> None:
    model, requests = make_model("llama"), make_requests(n_queries=12)
    seen: list[int] = []
    choose_method(model, requests)  # runs the probe
    handle = model.get_input_embeddings().register_forward_hook(lambda module, args, _: seen.append(args[0].numel()))
    score_requests(model, requests, options=EngineOptions(token_budget=4096))
    handle.remove()
    inner = [(6,), (9,), (9, 10)]
    nodes = {r.context_ids[:n] for r in requests for n in range(1, len(r.context_ids) + 1)}
    assert seen == [len(nodes) + len(requests) * len(inner)]


def test_logits_are_computed_at_read_positions_only(make_model, make_requests) -> None:
    model, requests = make_model("llama"), make_requests(n_queries=4)
    choose_method(model, requests)
    shapes: list[torch.Size] = []
    handle = model.lm_head.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    score_requests(model, requests)
    handle.remove()
    assert shapes == [(1, 4 * 4, 96)]


def test_many_vocabulary_rows_are_split(make_model, make_requests, largest_difference) -> None:
    model, requests = make_model("llama"), make_requests(n_queries=9)
    shapes: list[torch.Size] = []
    choose_method(model, requests)
    handle = model.lm_head.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    scores = score_requests(model, requests, options=EngineOptions(memory_bytes=2 * 12 * 96 * 8))
    handle.remove()
    assert {shape[1] for shape in shapes} == {8, 4}
    assert largest_difference(scores, reference.score_requests(model, requests)) < 1e-8


def test_out_of_memory_halves_the_row_and_loses_nothing(
    make_model, make_requests, largest_difference, monkeypatch
) -> None:
    model, requests = make_model("llama"), make_requests(n_queries=9, n_prefix=40)
    expected = reference.score_requests(model, requests)
    choose_method(model, requests)
    run, n_failed = packed._run, 0

    def fails_on_long_rows(model: object, row: packed._PackedRow) -> torch.Tensor:
        nonlocal n_failed
        logprobs = run(model, row)  # fails after the layers ran, when prefix keys were taken already
        if row.input_ids.numel() > 60:
            n_failed += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logprobs

    monkeypatch.setattr(packed, "_run", fails_on_long_rows)
    scores = score_requests(model, requests)
    assert n_failed
    assert largest_difference(scores, expected) < 1e-8


def test_the_model_is_left_as_it_was(make_model, make_requests) -> None:
    model = make_model("llama").train()
    attention = model.config._attn_implementation
    score_requests(model, make_requests(n_queries=2))
    assert model.training
    assert model.config._attn_implementation == attention
    assert not torch.is_inference_mode_enabled()


def test_a_wrong_fast_method_is_noticed(make_model, make_requests, largest_difference, monkeypatch) -> None:
    model, requests = make_model("llama"), make_requests()
    run = packed._run
    monkeypatch.setattr(packed, "_run", lambda model, row: run(model, row) + 0.01)
    assert choose_method(model, requests) == "cached"
    assert largest_difference(score_requests(model, requests), reference.score_requests(model, requests)) < 1e-8
    with pytest.raises(ScoringError, match="packed method does not agree with a full recompute on LlamaForCausalLM"):
        score_requests(model, requests, options=EngineOptions(method="packed"))


def test_the_probe_reaches_past_a_window_when_requests_do(make_model, make_requests, monkeypatch) -> None:
    model = make_model("gemma3", sliding_window=20)
    monkeypatch.setattr(packed._PackedRow, "_visible", lambda *_: (0, None))  # the window over the prefix forgotten
    short = [EncodedRequest((1, 2, 3, 4), ((5,), (6, 7)))]
    assert choose_method(model, short) == "packed"
    assert choose_method(model, make_requests()) == "cached"


def test_stream_yields_cell_after_cell(make_model, make_requests, largest_difference) -> None:
    model = make_model("llama")
    cells = [make_requests(seed=seed, n_queries=n) for seed, n in enumerate((5, 1, 0, 8, 3))]
    for budget in (40, 4096):
        bursts = list(score_bursts(model, iter(cells), options=EngineOptions(token_budget=budget)))
        assert all(bursts)
        results = list(itertools.chain.from_iterable(bursts))
        assert [len(scores) for scores in results] == [5, 1, 0, 8, 3]
        for cell, scores in zip(cells, results, strict=True):
            if cell:
                assert largest_difference(scores, reference.score_requests(model, cell)) < 1e-8


def test_stream_changes_the_method_where_a_cell_needs_it(
    make_model, make_requests, largest_difference, monkeypatch
) -> None:
    model = make_model("gemma3", sliding_window=20)
    monkeypatch.setattr(packed._PackedRow, "_visible", lambda *_: (0, None))
    cells = [[EncodedRequest((1, 2, 3, 4), ((5,), (6, 7)))], make_requests(), make_requests(seed=4)]
    for cell, scores in zip(cells, itertools.chain.from_iterable(score_bursts(model, cells)), strict=True):
        assert largest_difference(scores, reference.score_requests(model, cell)) < 1e-8


def test_the_way_of_scoring_is_told_for_each_burst(make_model, make_requests, monkeypatch) -> None:
    model, ways = make_model("gemma3", sliding_window=20), []
    monkeypatch.setattr(packed._PackedRow, "_visible", lambda *_: (0, None))
    cells = [[EncodedRequest((1, 2, 3, 4), ((5,), (6, 7)))], make_requests(), make_requests(seed=4)]
    options = EngineOptions(token_budget=123)
    told = [ways[-1] for burst in score_bursts(model, cells, options=options, told=ways.append) for _ in burst]
    assert told == [HowScored("packed", 123), HowScored("cached", 123), HowScored("cached", 123)]
    score_requests(model, cells[0], options=EngineOptions(method="plain"), told=ways.append)
    assert ways[-1] == HowScored("plain", None)
    score_requests(make_model("llama"), cells[0], told=ways.append)
    assert ways[-1].method == "packed" and ways[-1].token_budget > 123


def test_stream_encodes_in_another_thread_and_passes_its_errors_on(make_model, make_requests) -> None:
    threads = []

    def cells() -> Iterator[list[EncodedRequest]]:
        threads.append(threading.current_thread())
        yield make_requests(n_queries=2)
        raise KeyError("no such file")

    model = make_model("llama")
    with pytest.raises(KeyError, match="no such file"):
        list(score_bursts(model, cells(), options=EngineOptions(method="plain")))
    assert threads[0] is not threading.current_thread()


def test_stream_of_nothing(make_model) -> None:
    assert list(score_bursts(make_model("llama"), [])) == []


def test_a_stream_may_be_left_early(make_model, make_requests) -> None:
    before = threading.active_count()
    stream = score_bursts(make_model("llama"), (make_requests(seed=seed) for seed in range(100)))
    next(stream)
    stream.close()
    assert threading.active_count() == before
