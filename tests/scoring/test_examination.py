"""The examination before the first request: on how many tokens, at what cost, and what it lets in."""

from __future__ import annotations

import pytest
import torch

from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest
from icl_core.scoring.engine import EngineOptions, choose_method, score_requests
from icl_core.scoring.examination import BEYOND_A_LIMIT, PROBE_TOKENS, SUFFIX_TOKENS, Examination
from tests.support.sentences import assert_one_sentence


def of_length(n_tokens: int) -> list[EncodedRequest]:
    return [EncodedRequest(tuple(range(n_tokens)), ((1,), (2, 3)))]


def passes(model: torch.nn.Module) -> list[int]:
    """Tokens of each forward pass from now on."""
    seen: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda module, args, _: seen.append(args[0].numel()))
    return seen


def test_a_model_is_examined_once_in_six_short_passes(make_model, make_requests) -> None:
    model = make_model("llama", torch.float32)
    seen = passes(model)
    choose_method(model, make_requests())
    assert len(seen) == 6 and sum(seen) < 400
    choose_method(model, make_requests(seed=1, n_prefix=60))
    assert len(seen) == 6


def test_low_precision_costs_five_more(make_model, make_requests) -> None:
    model = make_model("llama", torch.bfloat16)
    seen = passes(model)
    assert choose_method(model, make_requests()) == "packed"
    assert len(seen) <= 11 and sum(seen) < 2000


def test_a_limit_that_requests_exceed_is_exceeded(make_model) -> None:
    model = make_model("gemma3", sliding_window=40)
    within = Examination(model, of_length(30), ())
    assert within.reaches(of_length(39)) and not within.reaches(of_length(50))
    beyond = Examination(model, of_length(50), ())
    assert beyond.reaches(of_length(90))
    seen = passes(model)
    Examination(model, of_length(50), ())
    assert max(seen) >= 40 + BEYOND_A_LIMIT


def test_a_short_context_is_not_exceeded(make_model) -> None:
    model = make_model("gpt2", n_positions=10)
    requests = [EncodedRequest((1, 2, 3), ((4,), (5, 6)))]
    assert len(score_requests(model, requests)) == 1
    assert PROBE_TOKENS + SUFFIX_TOKENS > 10


def test_one_token_over_and_over(make_model) -> None:
    for token in (0, 7):
        assert choose_method(make_model("llama"), [EncodedRequest((token,) * 9, ((token,),))]) == "packed"


def test_a_model_that_needs_more_than_token_ids_is_named(make_model, make_requests) -> None:
    model = make_model("llama")
    forward = model.forward

    def needs_pixels(*args: object, pixels: object = None, **kwargs: object) -> object:
        if pixels is None:
            raise ValueError("You have to specify pixel values\nor something")
        return forward(*args, **kwargs)

    model.forward = needs_pixels
    with pytest.raises(
        ScoringError, match=r"does not run on token ids alone \(You have to specify pixel values"
    ) as error:
        score_requests(model, make_requests(), options=EngineOptions(method="plain"))
    assert_one_sentence(str(error.value))


def test_what_cannot_be_widened_takes_the_plain_method(make_model, make_requests) -> None:
    model = make_model("llama", torch.bfloat16)
    forward = model.model.norm.forward

    def only_bfloat16(x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.bfloat16:
            raise RuntimeError("expected bfloat16")
        return forward(x)

    model.model.norm.forward = only_bfloat16
    assert choose_method(model, make_requests()) == "plain"
    assert choose_method(model, make_requests()) == "plain"


def test_a_model_that_looks_ahead_is_refused_in_its_own_dtype_too(make_model, make_requests) -> None:
    model = make_model("llama", torch.bfloat16)

    def ahead(x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.bfloat16:
            raise RuntimeError("expected bfloat16")
        return x + x.mean(1, keepdim=True)

    model.model.norm.forward = ahead
    with pytest.raises(ScoringError, match="LlamaForCausalLM does not attend causally"):
        score_requests(model, make_requests())
