"""The common beginning of sequences, against the slow way."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from icl_core.sequences import n_common, n_common_of_all


@given(st.lists(st.text("ab", max_size=12) | st.text(max_size=5), min_size=1, max_size=6))
def test_texts(texts: list[str]) -> None:
    columns = zip(*texts, strict=False)
    assert n_common_of_all(texts) == len(list(itertools.takewhile(lambda column: len(set(column)) == 1, columns)))


@given(st.lists(st.integers(0, 2), max_size=12), st.lists(st.integers(0, 2), max_size=12), st.data())
def test_ids(first: list[int], second: list[int], data: st.DataObject) -> None:
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    n = len(list(pairs))
    assert n_common(first, second) == n_common(tuple(first), tuple(second)) == n
    assert n_common(first, second, data.draw(st.integers(0, n))) == n
