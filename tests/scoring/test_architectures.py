"""Every decoder architecture that transformers can build tiny: the engine gives the reference's numbers, or a sentence.

Slow (minutes): ``pytest -m slow tests/scoring/test_architectures.py``; docs/ARCHITECTURES.md is its list.
"""

from __future__ import annotations

import warnings

import pytest

from tests.support.architectures import SKIPPED, names, sweep
from tests.support.sentences import assert_one_sentence


def test_what_is_skipped_is_still_there() -> None:
    assert set(SKIPPED) <= set(names())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in names() if name not in SKIPPED])
def test_the_engine_gives_the_reference_s_numbers_or_a_sentence(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' own, of many architectures
        found = sweep(name)
    if found.refusal:
        assert_one_sentence(found.refusal)
        return
    assert found.difference < 1e-3
    (plain, plain_middle), (engine, engine_middle) = found.low_plain, found.low_engine
    assert engine_middle <= 2 * plain_middle + 0.01
    if not found.routes:  # a choice between experts that rounding turns moves single numbers by any amount
        assert engine <= 3 * plain + 0.05
