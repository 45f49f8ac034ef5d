"""Kept prefixes change no number, are used again, and are few."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest
from icl_core.scoring import reference
from icl_core.scoring.prefix import KeptPrefixes
from tests.support.tiny_models import tiny_model

PREFIX = tuple(range(20, 60))
CHOICES = ((7,), (8, 9), (8, 10, 11))


def ask(*query: int, prefix: tuple[int, ...] = PREFIX) -> list[EncodedRequest]:
    return [EncodedRequest((*prefix, *query), CHOICES), EncodedRequest((*prefix, 3, 4), CHOICES)]


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_numbers_are_the_reference_s(architecture: str) -> None:
    model = tiny_model(architecture).double()
    kept = KeptPrefixes(model)
    for query in ((5, 6), (5, 6, 7), (9,), (5, 6)):
        requests = ask(*query)
        for found, expected in zip(kept.score(requests), reference.score_requests(model, requests), strict=True):
            assert np.allclose(found.loglikelihoods, expected.loglikelihoods, atol=1e-8)
    assert len(kept.lengths) == 1 and 30 < kept.lengths[0] < 40


def test_a_known_prefix_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    kept = KeptPrefixes(model)
    kept.score(ask(5, 6))
    widths: list[int] = []
    forward = model.forward

    def counting(*args: object, **kwargs: object) -> object:
        widths.append(kwargs["input_ids"].shape[1])  # type: ignore[attr-defined]
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", counting)
    kept.score(ask(11, 12))
    assert widths and max(widths) < 12


def test_only_the_last_few_prefixes_are_kept() -> None:
    kept = KeptPrefixes(tiny_model(), most=2)
    for start in (0, 1, 2):
        kept.score(ask(5, prefix=tuple(range(100 + start, 140 + start * 2))))
    assert len(kept.lengths) == 2
    kept.score(ask(5, prefix=(1, 2)))
    assert len(kept.lengths) == 2


def test_other_modules_and_bad_requests_go_the_engine_s_way() -> None:
    kept = KeptPrefixes(tiny_model(context_length=64))
    with pytest.raises(ScoringError, match="exceed the model's context"):
        kept.score(ask(*range(40)))

    class Counts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(200, 200)

        def forward(self, input_ids: torch.Tensor) -> object:
            return type("Output", (), {"logits": self.table(input_ids)})

    plain = Counts()
    found = KeptPrefixes(plain).score(ask(5))
    assert np.allclose(found[0].loglikelihoods, reference.score_requests(plain, ask(5))[0].loglikelihoods, atol=1e-6)
