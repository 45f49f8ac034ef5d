"""Prefix groups: exact on small cases against all partitions, and no request lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icl_core.records import EncodedRequest
from icl_core.scoring import grouping
from icl_core.scoring.grouping import group_by_prefix


def requests_of(contexts: Sequence[Sequence[int]]) -> list[EncodedRequest]:
    return [EncodedRequest(tuple(context), ((0,),)) for context in contexts]


def n_computed(contexts: Sequence[Sequence[int]], parts: Sequence[tuple[int, Sequence[int]]]) -> int:
    """Context tokens computed for (n_prefix_tokens, indices) parts, each prefix paid with its opening."""
    return sum(
        (n_prefix + grouping.GROUP_COST if n_prefix else 0) + sum(len(contexts[i]) - n_prefix for i in indices)
        for n_prefix, indices in parts
    )


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [[items[0]], *rest]
        for i in range(len(rest)):
            yield [*rest[:i], [items[0], *rest[i]], *rest[i + 1 :]]


def shared_tokens(contexts: Sequence[Sequence[int]]) -> int:
    limit = min(map(len, contexts)) - 1
    return next((i for i in range(limit) if len({c[i] for c in contexts}) > 1), limit)


def test_each_prompt_family_gets_its_own_prefix() -> None:
    rng = np.random.default_rng(0)
    prefixes = [rng.integers(10, 99, 50).tolist() for _ in range(3)]
    contexts = [[*prefixes[i % 3], i, 7] for i in range(12)]
    groups = group_by_prefix(requests_of(contexts))
    assert [group.n_prefix_tokens for group in groups] == [50, 50, 50]
    assert [sorted(group.indices) for group in groups] == [list(range(i, 12, 3)) for i in range(3)]


def test_one_context_token_is_left_to_each_request() -> None:
    contexts = [[1] * 60, [1] * 60, [1] * 61]
    (group,) = group_by_prefix(requests_of(contexts))
    assert group.n_prefix_tokens == 59
    assert sorted(group.indices) == [0, 1, 2]


def test_a_short_common_start_opens_no_group() -> None:
    contexts = [[1, 2, i, 4, 5] for i in range(4)]
    assert all(group.n_prefix_tokens == 0 for group in group_by_prefix(requests_of(contexts)))


def test_no_requests_no_groups() -> None:
    assert group_by_prefix([]) == []


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=8), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_fewest_tokens_of_all_partitions(contexts: list[list[int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouping, "GROUP_COST", 1)
        groups = group_by_prefix(requests_of(contexts))
        assert sorted(itertools.chain(*(group.indices for group in groups))) == list(range(len(contexts)))
        for group in groups:
            members = [contexts[i] for i in group.indices]
            assert all(member[: group.n_prefix_tokens] == members[0][: group.n_prefix_tokens] for member in members)
            assert min(map(len, members)) > group.n_prefix_tokens
        found = n_computed(contexts, [(group.n_prefix_tokens, group.indices) for group in groups])
        best = min(
            n_computed(contexts, [(min_cost_prefix(contexts, part), part) for part in partition])
            for partition in partitions(list(range(len(contexts))))
        )
    assert found == best


def min_cost_prefix(contexts: Sequence[Sequence[int]], part: Sequence[int]) -> int:
    """The better of sharing all that a part has in common, and sharing nothing."""
    shared = shared_tokens([contexts[i] for i in part])
    return min((0, shared), key=lambda n: n_computed(contexts, [(n, part)]))
