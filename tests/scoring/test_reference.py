"""The oracle against a hand-made model and against transformers called directly."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest
from icl_core.scoring import reference


class NextIsSum(torch.nn.Module):
    """Logits that are a table of the running sum of ids modulo 4: probabilities known by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.4]])))

    def forward(self, input_ids: torch.Tensor) -> SimpleNamespace:
        total = input_ids.cumsum(1) % 4
        rolled = torch.stack([self.table[0].roll(int(k)) for k in total.flatten()])
        return SimpleNamespace(logits=rolled.reshape(*input_ids.shape, 4))


def test_hand_worked_log_likelihoods() -> None:
    # After 1, 2 the sum is 3: probabilities of 0, 1, 2, 3 are .2 .3 .4 .1; after a further 2 the sum is 1: .4 .1 .2 .3.
    request = EncodedRequest((1, 2), ((2,), (2, 0), (3,)))
    (scores,) = reference.score_requests(NextIsSum(), [request])
    np.testing.assert_allclose(scores.loglikelihoods, np.log([0.4, 0.4 * 0.4, 0.1]), atol=1e-6)
    assert scores.n_tokens.tolist() == [1, 2, 1]


def test_padding_changes_nothing(make_model, make_requests, largest_difference) -> None:
    model, requests = make_model("llama"), make_requests()
    single = reference.score_requests(model, requests)
    assert largest_difference(single, reference.score_requests(model, requests, batch_size=5)) < 1e-12


def test_equals_transformers_called_directly(make_model, make_requests) -> None:
    model = make_model("gpt_neox")
    request = make_requests(n_queries=1)[0]
    (scores,) = reference.score_requests(model, [request])
    ids = torch.tensor([request.context_ids + request.continuation_ids[3]])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(ids).logits[0], -1)
    expected = sum(float(logprobs[position - 1, ids[0, position]]) for position in range(-3, 0))
    assert scores.loglikelihoods[3] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (EncodedRequest((), ((1,),)), "Request 0 of 1 cannot be scored: its context has no token"),
        (EncodedRequest((1,), ()), "at least one choice"),
        (EncodedRequest((1,), ((1,), ())), "at least one token"),
        (EncodedRequest((1, 96), ((1,),)), "outside the model's vocabulary of 96"),
        (EncodedRequest((1, 2), ((-1,),)), "outside the model's vocabulary"),
        (EncodedRequest((1,) * 255, ((1, 2),)), "257 tokens exceed the model's context of 256"),
    ],
)
def test_bad_requests_are_named(make_model, request_: EncodedRequest, message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        reference.score_requests(make_model("llama"), [request_])


def test_nan_logits_are_named(make_model, make_requests) -> None:
    model = make_model("llama")
    model.lm_head.weight.data[7] = float("nan")
    with pytest.raises(ScoringError, match="Request 0 got the log-likelihood nan for its choice 0"):
        reference.score_requests(model, make_requests(n_queries=2))


def test_training_mode_is_put_back(make_model, make_requests) -> None:
    model = make_model("llama").train()
    reference.score_requests(model, make_requests(n_queries=1))
    assert model.training
