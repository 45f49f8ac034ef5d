"""Prefix groups: found where they pay, and no request lost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

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


def test_nested_families_are_split_where_it_pays() -> None:
    # All share 30 tokens; half of them 40 more, which is worth computing the 30 again.
    contexts = [[*range(30), 50 + i, 1, 2] for i in range(8)]
    contexts += [[*range(30), *range(60, 100), 110 + i, 3] for i in range(8)]
    groups = group_by_prefix(requests_of(contexts))
    assert [(group.n_prefix_tokens, sorted(group.indices)) for group in groups] == [
        (30, list(range(8))),
        (70, list(range(8, 16))),
    ]


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_every_request_is_in_one_group_that_costs_no_more_than_all_apart_or_together(contexts: list[list[int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouping, "GROUP_COST", 1)
        groups = group_by_prefix(requests_of(contexts))
        assert sorted(itertools.chain(*(group.indices for group in groups))) == list(range(len(contexts)))
        for group in groups:
            members = [contexts[i] for i in group.indices]
            assert all(member[: group.n_prefix_tokens] == members[0][: group.n_prefix_tokens] for member in members)
            assert min(map(len, members)) > group.n_prefix_tokens
        found = n_computed(contexts, [(group.n_prefix_tokens, group.indices) for group in groups])
        everything = range(len(contexts))
        together = n_computed(contexts, [(shared_tokens(contexts), everything)])
        assert found <= min(together, n_computed(contexts, [(0, everything)]))
