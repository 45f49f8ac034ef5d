"""Every decoder architecture that transformers can build tiny: the engine gives the reference's numbers, or a sentence.

Slow (minutes): ``pytest -m slow tests/scoring/test_architectures.py``; docs/ARCHITECTURES.md is its list.
"""

from __future__ import annotations

import warnings

import pytest
import torch

from tests.support.architectures import SKIPPED, names, sweep, tiny_model_of
from tests.support.sentences import assert_one_sentence


def test_what_is_skipped_is_still_there() -> None:
    assert set(SKIPPED) <= set(names())


def is_refused_rightly(name: str, refusal: str) -> bool:
    """Whether the model itself, called directly, shows what the refusal says of it."""
    model, ids = tiny_model_of(name), torch.arange(12, 42)[None]
    later = ids.clone()
    later[:, 15:] += 40
    with torch.inference_mode():
        first, second, changed = (model(input_ids=each).logits[0, :15] for each in (ids, ids, later))
    if "does not attend causally" in refusal:
        return torch.equal(first, second) and not torch.allclose(first, changed, atol=1e-5)
    return "gives different numbers for the same input" in refusal and not torch.allclose(first, second, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in names() if name not in SKIPPED])
def test_the_engine_gives_the_reference_s_numbers_or_a_sentence(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' own, of many architectures
        found = sweep(name)
    if found.refusal:
        assert_one_sentence(found.refusal)
        assert is_refused_rightly(name, found.refusal)
        return
    assert found.difference < 1e-3
    (plain, plain_middle), (engine, engine_middle) = found.low_plain, found.low_engine
    assert engine_middle <= 2 * plain_middle + 0.01
    if not found.routes:  # a choice between experts that rounding turns moves single numbers by any amount
        assert engine <= 3 * plain + 0.05
