"""Packed rows: every path spells its query, shared nodes stand once, budgets hold."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from icl_core.records import EncodedRequest
from icl_core.scoring.grouping import group_by_prefix
from icl_core.scoring.layout import Layout, batches, lay_out, make_queries

TOKENS = st.integers(0, 2)
REQUESTS = st.lists(
    st.builds(
        EncodedRequest,
        st.lists(TOKENS, min_size=1, max_size=25).map(tuple),
        st.lists(st.lists(TOKENS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=6,
)


def spelled(layout: Layout) -> dict[int, tuple[int, ...]]:
    """For each node after the prefixes, the tokens from the beginning of its sequence up to it."""
    prefix_of = {node: segment.prefix.ids for segment in layout.segments for node in range(*segment.suffixes)}
    sequences = {}
    for table in layout.paths:
        for line in table.tolist():
            for column, node in enumerate(line):
                if layout.position_ids[node] == len(prefix_of[node]) + column:
                    path = tuple(layout.input_ids[line[: column + 1]].tolist())
                    sequences.setdefault(node, set()).add((*prefix_of[node], *path))
    return {node: min(found) for node, found in sequences.items()}


@given(REQUESTS, st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_targets_read_the_right_distributions(requests: list[EncodedRequest], token_budget: int) -> None:
    sizes = [len(request.continuation_ids) for request in requests]
    first_slots = [sum(sizes[:index]) for index in range(len(sizes))]
    scored: dict[int, list[tuple[tuple[int, ...], int]]] = {}
    queries = make_queries(requests, group_by_prefix(requests), first_slots)
    for batch in batches(queries, token_budget=token_budget, read_budget=5):
        layout = lay_out(batch, kept=set())
        sequences = spelled(layout)
        for read, token, slot in layout.targets.tolist():
            scored.setdefault(slot, []).append((sequences[layout.reads[read]], token))
    for index, request in enumerate(requests):
        for choice, ids in enumerate(request.continuation_ids):
            expected = [(request.context_ids + ids[:depth], token) for depth, token in enumerate(ids)]
            assert scored[first_slots[index] + choice] == expected


@given(REQUESTS)
@settings(max_examples=50, deadline=None)
def test_owners_point_at_their_nodes(requests: list[EncodedRequest]) -> None:
    layout = lay_out(list(make_queries(requests, group_by_prefix(requests), range(0, 99, 9))), kept=set())
    listed = [node for table in layout.paths for node in table.flatten().tolist()]
    first_node = layout.segments[0].suffixes[0]
    assert [listed[place] for place in layout.owners] == list(range(first_node, len(layout.input_ids)))


def test_kept_prefixes_are_not_laid_out_again() -> None:
    requests = [EncodedRequest((*range(30), last, 7), ((1,), (2,))) for last in (40, 41, 42)]
    queries = list(make_queries(requests, group_by_prefix(requests), [0, 2, 4]))
    first = lay_out(queries[:2], kept=set())
    assert first.segments[0].computed == (0, 30)
    assert first.segments[0].is_kept
    assert len(first.input_ids) == 34
    queries[0].prefix.n_left -= 2
    second = lay_out(queries[2:], kept={queries[0].prefix})
    assert second.segments[0].computed is None
    assert not second.segments[0].is_kept
    assert second.position_ids.tolist() == [30, 31]
