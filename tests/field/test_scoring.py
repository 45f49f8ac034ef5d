"""Models that are no causal decoders, whose numbers follow the company they are asked in, or that rounding hides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from icl_core.__main__ import main
from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest
from icl_core.scoring import packed, reference
from icl_core.scoring.engine import EngineOptions, HowScored, choose_method, score_bursts, score_requests
from icl_core.scoring.prefix import KeptPrefixes
from tests.support.architectures import N_VOCAB, save_tiny, tiny_model_of
from tests.support.sentences import assert_one_sentence

LABELS = ((5,), (6, 7), (6, 8), (9, 10, 11))
ORIGINAL_LENGTH = 32
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 4,
    "long_factor": [6.0] * 4,
    "original_max_position_embeddings": ORIGINAL_LENGTH,
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}


def requests_of(lengths: Sequence[int], *, n_shared: int = 12) -> list[EncodedRequest]:
    """Requests of so many context tokens that begin with the same ones."""
    rng = np.random.default_rng(len(lengths))
    shared = rng.integers(12, N_VOCAB, n_shared).tolist()
    contexts = ([*shared, *rng.integers(12, N_VOCAB, max(length, n_shared)).tolist()][:length] for length in lengths)
    return [EncodedRequest(tuple(context), LABELS) for context in contexts]


def values(scores: Sequence[object]) -> np.ndarray:
    return np.concatenate([score.loglikelihoods for score in scores])


def alone(model: torch.nn.Module, requests: Sequence[EncodedRequest]) -> np.ndarray:
    """The definition: each choice by a forward pass of its own."""
    return values(reference.score_requests(model, requests))


@pytest.mark.stands_for("transformers#12704", "BERT, RoBERTa and ELECTRA got accuracies that depend on padding")
@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "xlnet", "cpmant", "prophetnet"])
@pytest.mark.parametrize("method", ["auto", "plain"])
def test_a_model_that_looks_ahead_is_refused(name: str, method: str) -> None:
    model = tiny_model_of(name)
    with pytest.raises(ScoringError, match=f"{type(model).__name__} does not attend causally") as error:
        score_requests(model, requests_of([9, 14]), options=EngineOptions(method=method))
    assert_one_sentence(str(error.value))
    with pytest.raises(ScoringError, match="does not attend causally"):
        list(score_bursts(model, [requests_of([9])]))
    with pytest.raises(ScoringError, match="does not attend causally"):
        KeptPrefixes(model).score(requests_of([30, 32]))


@pytest.mark.stands_for("transformers#12704", "a masked language model was scored as if it were a decoder")
def test_the_score_command_refuses_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_tiny(tmp_path / "bert", "bert")
    asked, out = tmp_path / "asked.jsonl", tmp_path / "out.jsonl"
    asked.write_text(json.dumps({"context": "the film is", "choices": ["good", "bad"]}) + "\n")
    assert main(["score", "--model", str(folder), "--requests", str(asked), "--out", str(out)]) != 0
    assert "BertLMHeadModel does not attend causally" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.stands_for("transformers#12704", "what decides is how the loaded model attends, not what it is called")
def test_a_bert_that_is_a_decoder_is_scored() -> None:
    model, requests = tiny_model_of("bert", is_decoder=True), requests_of([9, 14, 20])
    assert np.allclose(values(score_requests(model, requests)), alone(model, requests), atol=1e-3)


@pytest.mark.stands_for(
    "Coderx7/SimpleNet#2", "a functional dropout stays on in evaluation mode: another number at each call"
)
def test_a_model_that_rolls_dice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model_of("llama")
    norm = model.model.norm
    monkeypatch.setattr(norm, "forward", lambda x: torch.nn.functional.dropout(x, 0.1, training=True))
    for method in ("auto", "plain"):
        with pytest.raises(ScoringError, match="LlamaForCausalLM gives different numbers for the same input") as error:
            score_requests(model, requests_of([9]), options=EngineOptions(method=method))
        assert_one_sentence(str(error.value))


@pytest.mark.stands_for("jy-yuan/KIVI#18", "results fell from 66.0 to 57.0 when two prompts went into a batch")
def test_what_follows_the_company_is_scored_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, requests = tiny_model_of("llama"), requests_of([9, 14, 20])
    monkeypatch.setattr(model.model.norm, "forward", lambda x: x + 0.1 * x.mean(0, keepdim=True))  # over the rows
    assert choose_method(model, requests) == "plain"
    assert np.array_equal(values(score_requests(model, requests)), alone(model, requests))


@pytest.mark.stands_for("llama.cpp#24823", "the same request scored -6.59 beside longer ones and -8.24 alone")
@pytest.mark.parametrize("name", ["phi3", "phimoe"])
def test_longrope_scores_alone_and_together_alike(name: str) -> None:
    model = longrope_model(name)
    requests = requests_of([9, 40, 20, 31, 30, 32, 60, 33, 100])  # on both sides, and choices that step over
    expected = alone(model, requests)
    for order in (range(9), (8, 3, 0, 6, 1, 7, 2, 5, 4)):
        found = score_requests(model, [requests[index] for index in order])
        assert np.allclose(values([found[order.index(index)] for index in range(9)]), expected, atol=1e-3)
    for index, request in enumerate(requests):
        found = values(score_requests(model, [request]))
        assert np.allclose(found, expected[4 * index : 4 * index + 4], atol=1e-3)
    sides = [choose_method(model, requests[index : index + 1]) for index in (0, 1)]
    assert sides == (["packed", "packed"] if name == "phi3" else ["cached", "plain"])
    ways: list[HowScored] = []
    score_requests(model, requests, told=ways.append)
    assert [how.method for how in ways] == ["packed" if name == "phi3" else "cached and plain"]


@pytest.mark.stands_for("llama.cpp#24823", "a bad request beyond the bound is named by its place in the call")
def test_longrope_names_the_request_that_has_no_number() -> None:
    model, requests = longrope_model("phi3"), requests_of([40, 9, 41, 10])
    score_requests(model, requests)
    model.get_input_embeddings().weight.data[3] = float("nan")
    requests[2] = EncodedRequest((*requests[2].context_ids[:-1], 3), LABELS)
    with pytest.raises(ScoringError, match="Request 2 got the log-likelihood nan for its choice 0"):
        score_requests(model, requests)


@pytest.mark.stands_for("llama.cpp#24823", "keys kept from a short prompt were used under the factors of a long one")
def test_a_kept_prefix_ends_where_its_factors_end() -> None:
    model = longrope_model("phi3")
    kept = KeptPrefixes(model)
    for lengths in ([26, 28], [40, 60], [26, 60], [27, 31]):
        requests = requests_of(lengths, n_shared=24)
        assert np.allclose(values(kept.score(requests)), alone(model, requests), atol=1e-3)
    assert kept.lengths  # of the short ones


@pytest.mark.stands_for("transformers#25306", "after one long prompt, dynamic NTK scaling answers short ones otherwise")
def test_dynamic_factors_are_those_of_the_request() -> None:
    rope = {"rope_parameters": DYNAMIC, "max_position_embeddings": ORIGINAL_LENGTH}
    model, requests = tiny_model_of("llama", **rope), requests_of([9, 28, 20])
    expected = alone(tiny_model_of("llama", **rope), requests)
    with torch.inference_mode():
        model(input_ids=torch.tensor([range(90)]))  # someone's long prompt
        for index in range(3):
            assert np.allclose(values(score_requests(model, [requests[index]])), expected[4 * index : 4 * index + 4])
            model(input_ids=torch.tensor([range(ORIGINAL_LENGTH + index)]))
    assert np.allclose(values(score_requests(model, requests)), expected, atol=1e-3)


@pytest.mark.stands_for("transformers#25104", "each length beyond the context has factors of its own")
def test_dynamic_factors_beyond_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    rope = {"rope_parameters": DYNAMIC, "max_position_embeddings": ORIGINAL_LENGTH}
    model, requests = tiny_model_of("llama", **rope), requests_of([9, 31, 50, 40, 50])
    with pytest.raises(ScoringError, match="exceed the model's context of 32"):
        score_requests(model, requests)
    monkeypatch.setattr("icl_core.scoring.checks.context_length", lambda model: None)
    found = values(score_requests(model, requests))
    single = [values(reference.score_requests(tiny_model_of("llama", **rope), [request])) for request in requests]
    assert np.allclose(found, np.concatenate(single), atol=1e-3)


def longrope_model(name: str) -> PreTrainedModel:
    rope = LONGROPE | ({"short_mscale": 1.0, "long_mscale": 1.3} if name == "phimoe" else {})
    return tiny_model_of(name, rope_parameters=rope, original_max_position_embeddings=ORIGINAL_LENGTH)


@pytest.mark.stands_for("transformers#29067", "Falcon's ALiBi is dropped by another attention: .94 nats off, plain .03")
@pytest.mark.parametrize("name", ["falcon", "codegen", "bloom", "phimoe", "doge"])
def test_low_precision_does_not_let_a_wrong_method_in(name: str) -> None:
    exact, model, requests = tiny_model_of(name), tiny_model_of(name, torch.bfloat16), requests_of([9, 14, 30, 60])
    expected = alone(exact, requests)
    plain = np.abs(alone(model, requests) - expected).max()
    assert np.abs(values(score_requests(model, requests)) - expected).max() <= 2 * plain + 0.02
    with pytest.raises(ScoringError, match="packed method does not agree"):
        score_requests(model, requests, options=EngineOptions(method="packed"))


@pytest.mark.stands_for("transformers#26869", "in half precision the logits of one input differ where float32 agrees")
def test_a_method_that_is_wrong_in_low_precision_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model, requests = tiny_model_of("llama", torch.bfloat16), requests_of([9, 14])
    attend = packed.attend

    def spoiled(query: torch.Tensor, *args: object, **kwargs: object) -> object:
        attended = attend(query, *args, **kwargs)
        return attended._replace(values=attended.values * (1.0 if query.dtype == torch.float32 else 3.0))

    monkeypatch.setattr(packed, "attend", spoiled)
    assert choose_method(model, requests) == "cached"


@pytest.mark.stands_for(
    "unslothai/unsloth#9708", "batches differ in bfloat16 and agree in float32, so that is where to compare"
)
def test_examining_in_float32_widens_one_layer_at_a_time() -> None:
    model = tiny_model_of("llama", torch.bfloat16)
    before = {name: parameter for name, parameter in model.named_parameters()}
    n_wide: set[int] = set()

    def count(*_: object) -> None:
        n_wide.add(sum(any(p.dtype == torch.float32 for p in layer.parameters()) for layer in model.model.layers))

    hooks = [layer.mlp.register_forward_pre_hook(count) for layer in model.model.layers]
    choose_method(model, requests_of([9, 14]))
    for hook in hooks:
        hook.remove()
    assert n_wide == {0, 1}  # none in the model's own dtype
    assert all(before[name] is parameter for name, parameter in model.named_parameters())


REPRESENTATIVE = {
    "falcon": "cached",
    "phimoe": "cached",
    "gpt_neox": "packed",
    "gemma3_text": "packed",
    "mamba": "plain",
    "rwkv": "plain",
    "bloom": "cached",
    "mpt": "cached",
    "gpt_oss": "cached",
    "deepseek_v32": "plain",
}


@pytest.mark.stands_for("transformers#29029", "the company and the padding of a prompt moved its logits")
@pytest.mark.parametrize(("name", "method"), REPRESENTATIVE.items())
def test_an_architecture_of_each_kind(name: str, method: str) -> None:
    model, requests = tiny_model_of(name), requests_of([9, 31, 14, 60])
    expected = alone(model, requests)
    assert choose_method(model, requests) == method
    assert np.allclose(values(score_requests(model, requests)), expected, atol=1e-3)
    one_by_one = [score_requests(model, [request])[0] for request in reversed(requests)]
    assert np.allclose(values(one_by_one[::-1]), expected, atol=1e-3)
