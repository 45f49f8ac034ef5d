"""The common beginning of sequences of token ids or characters. It does not know what they stand for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

__all__ = ["n_common", "n_common_of_all"]


def n_common(first: Sequence[Any], second: Sequence[Any], start: int = 0) -> int:
    """Length of the common beginning of two sequences of one type that are known to share ``start`` items.

    >>> n_common((1, 2, 3), (1, 2, 4, 5))
    2
    """
    end = min(len(first), len(second))
    while start < end:  # halves are compared whole, which is faster than items
        middle = (start + end + 1) // 2
        if first[start:middle] == second[start:middle]:
            start = middle
        else:
            end = middle - 1
    return start


def n_common_of_all(sequences: Collection[Any]) -> int:
    """Length of the common beginning of all sequences, at least one, whose items can be sorted.

    What the first and the last share after sorting, all between them share too.

    >>> n_common_of_all(["abc", "abd", "ab"]), n_common_of_all(["abc"])
    (2, 3)
    """
    return n_common(min(sequences), max(sequences))
