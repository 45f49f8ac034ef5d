"""What a model's logits follow, on modules whose answer is known by their making."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from icl_core.errors import ScoringError
from icl_core.scoring.behaviour import Behaviour, NotFiniteError, observe
from tests.support.sentences import assert_one_sentence

N_VOCAB = 50
IDS = list(range(16))
OTHERS = [token + 20 for token in IDS]


class Mixes(torch.nn.Module):
    """A table of tokens whose rows are mixed by a function of (n_rows, n_tokens, n_vocab)."""

    def __init__(self, mix: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(N_VOCAB, N_VOCAB, generator=torch.Generator().manual_seed(0)))
        self.mix = mix

    def forward(self, input_ids: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.mix(self.table[input_ids]))


def causal(x: torch.Tensor) -> torch.Tensor:
    return x.cumsum(1)


def seen(mix: Callable[[torch.Tensor], torch.Tensor]) -> Behaviour:
    with torch.no_grad():
        return observe(Mixes(mix), IDS, OTHERS, is_exact=True)


def test_a_causal_model_follows_nothing_else() -> None:
    assert seen(causal) == Behaviour(length=False, company=False)


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + 1e-3 * x.mean(1, keepdim=True),  # all tokens, a little
        lambda x: x + torch.nn.functional.pad(x[:, 1:], (0, 0, 0, 1)),  # the next token
        lambda x: x + torch.nn.functional.pad(x[:, 3:], (0, 0, 0, 3)),  # the third to come
        lambda x: x + x.unflatten(1, (-1, 2)).flip(2).flatten(1, 2) if x.shape[1] % 2 == 0 else x,  # blocks of two
        lambda x: torch.cat([x[:, :8] + x[:, :8].mean(1, keepdim=True), x[:, 8:]], 1),  # within a prefix only
        lambda x: causal(x) + 1e-2 * x.amax((0, 1)),  # the company too
    ],
)
def test_looking_ahead_is_refused(mix: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with pytest.raises(ScoringError, match="Mixes does not attend causally") as error:
        seen(mix)
    assert_one_sentence(str(error.value))


def test_other_numbers_each_time_are_refused() -> None:
    calls: list[int] = []

    def drifts(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return causal(x) * (1 + 0.01 * len(calls))

    for mix in (lambda x: x + 0.01 * torch.randn_like(x), drifts):
        with pytest.raises(ScoringError, match="Mixes gives different numbers for the same input") as error:
            seen(mix)
        assert_one_sentence(str(error.value))


def test_randomness_of_long_sequences_alone_is_found() -> None:
    with pytest.raises(ScoringError, match="different numbers for the same input"):
        seen(lambda x: causal(x) + (torch.randn(()) if x.shape[1] == len(IDS) else 0.0) * x)


def test_company_and_length_are_told_apart() -> None:
    assert seen(lambda x: causal(x) + x.mean(0, keepdim=True)) == Behaviour(length=False, company=True)
    assert seen(lambda x: causal(x) * x.shape[1]) == Behaviour(length=True, company=False)


def test_a_model_that_takes_one_row_at_a_time() -> None:
    def single(x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1:
            raise ValueError("one row only")
        return causal(x)

    assert seen(single) == Behaviour(length=False, company=True)


def test_masked_tokens_do_not_widen_what_is_allowed() -> None:
    def masked(x: torch.Tensor) -> torch.Tensor:
        leaks = x + 1e-3 * x.mean(1, keepdim=True)
        leaks[..., 0] = float("-inf")
        return leaks

    with pytest.raises(ScoringError, match="does not attend causally"):
        seen(masked)


def test_equal_logits_follow_nothing() -> None:
    assert seen(torch.zeros_like) == Behaviour(length=False, company=False)


def test_nan_says_nothing() -> None:
    with pytest.raises(NotFiniteError):
        seen(lambda x: x * float("nan"))
