"""Sizes in words."""

from __future__ import annotations

import pytest

from icl_core.units import byte_count


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (2.25e9, "2.25 GB"), (3e12, "3 TB"), (64 * 2**20, "67.1 MB")],
)
def test_bytes_are_told_in_one_kind_of_unit(n_bytes: float, words: str) -> None:
    assert byte_count(n_bytes) == words
