"""Lays the tokens of many queries out in one packed row, each token once.

A query's tokens after the shared prefix, and the inner tokens of its choices, form paths of a trie: queries that begin
alike share nodes, and choices of several tokens branch off their query. The row holds each node once. For attention
along the paths, each path is also listed as a padded row of node numbers; these rows are ordinary causal sequences.
This module handles only integers; it knows neither the values of tensors nor models.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from icl_core.records import EncodedRequest
from icl_core.scoring.grouping import PrefixGroup
from icl_core.sequences import n_common

__all__ = ["Choices", "Layout", "Prefix", "Query", "Segment", "batches", "lay_out", "make_queries"]

Ints = npt.NDArray[np.int64]

SHORT_PATH = 15
"""Paths of up to this many tokens plus one share a table: a further table would cost more than padding."""


@dataclass(slots=True, eq=False)
class Prefix:
    """The tokens that the queries of a group share.

    Attributes:
        ids: (n_prefix_tokens,) token ids; empty for a query that shares nothing.
        n_left: queries that have not been scored yet.
    """

    ids: tuple[int, ...]
    n_left: int


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """The continuations of a query as a trie whose root is the query's last context token.

    Attributes:
        inner: (number of the parent node, token id) of the nodes 1, 2, ...: tokens that another token follows.
        targets: (number of the node read, token id, choice) of each token of each choice.
        leaves: numbers of the nodes that no inner node follows.
    """

    inner: tuple[tuple[int, int], ...]
    targets: tuple[tuple[int, int, int], ...]
    leaves: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One request as the layout sees it.

    Attributes:
        prefix: what it shares with its group.
        suffix: ids of the rest of its context, at least one.
        n_shared: number of first ids of the suffix that equal those of the previous query in its group.
        choices: the trie of its continuations.
        first_slot: number of its first choice among all choices of the call.
    """

    prefix: Prefix
    suffix: tuple[int, ...]
    n_shared: int
    choices: Choices
    first_slot: int


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The part of a row that belongs to one prefix.

    Attributes:
        prefix: the shared tokens.
        computed: (start, stop) of the prefix's own tokens in the row; None if their keys and values are known already.
        is_kept: whether their keys and values are needed after this row.
        suffixes: (start, stop) of its queries' nodes in the row.
    """

    prefix: Prefix
    computed: tuple[int, int] | None
    is_kept: bool
    suffixes: tuple[int, int]


@dataclass(slots=True)
class Layout:
    """One packed row of n_row tokens: first the prefixes that are new, then the nodes of all queries.

    Attributes:
        input_ids, position_ids: (n_row,).
        segments: one for each prefix.
        paths: tables (n_paths, n_longest) of positions in the row; each line is a query's path from the first token
            after its prefix to a leaf, padded with the path's first node. Lines of similar length share a table.
        owners: (n_nodes,) for each node after the prefixes, one place where the tables, laid end to end, list it.
        reads: (n_reads,) positions in the row whose next-token distribution is read.
        targets: (n_targets, 3) row of ``reads``, token id, slot: a log-probability to add to the slot.
    """

    input_ids: Ints
    position_ids: Ints
    segments: tuple[Segment, ...]
    paths: tuple[Ints, ...]
    owners: Ints
    reads: Ints
    targets: Ints


def make_queries(
    requests: Sequence[EncodedRequest], groups: Sequence[PrefixGroup], first_slots: Sequence[int]
) -> Iterator[Query]:
    """The queries of all groups, in lexicographic order within each group."""
    tries: dict[tuple[tuple[int, ...], ...], Choices] = {}
    for group in groups:
        n_prefix = group.n_prefix_tokens
        prefix = Prefix(requests[group.indices[0]].context_ids[:n_prefix], len(group.indices))
        before: tuple[int, ...] = ()
        for index in group.indices:
            suffix = requests[index].context_ids[n_prefix:]
            continuations = requests[index].continuation_ids
            choices = tries.get(continuations) or tries.setdefault(continuations, _trie(continuations))
            yield Query(prefix, suffix, n_common(before, suffix), choices, first_slots[index])
            before = suffix


def _trie(continuations: tuple[tuple[int, ...], ...]) -> Choices:
    """The trie of some continuations."""
    numbers: dict[tuple[int, ...], int] = {(): 0}
    inner: list[tuple[int, int]] = []
    targets: list[tuple[int, int, int]] = []
    for choice, ids in enumerate(continuations):
        for depth, token in enumerate(ids):
            if ids[:depth] not in numbers:
                inner.append((numbers[ids[: depth - 1]], ids[depth - 1]))
                numbers[ids[:depth]] = len(inner)
            targets.append((numbers[ids[:depth]], token, choice))
    parents = {parent for parent, _ in inner}
    return Choices(tuple(inner), tuple(targets), tuple(n for n in range(len(inner) + 1) if n not in parents))


def batches(queries: Iterator[Query], *, token_budget: int, read_budget: int) -> Iterator[list[Query]]:
    """Cuts the queries into runs, so that a row has at most these numbers of tokens and reads, or one query."""
    batch: list[Query] = []
    n_tokens = n_reads = 0
    prefix = None
    for query in queries:
        n_inner = len(query.choices.inner)
        added = len(query.suffix) - query.n_shared + n_inner
        added += len(query.prefix.ids) if query.prefix is not prefix else 0
        if batch and (n_tokens + added > token_budget or n_reads + 1 + n_inner > read_budget):
            yield batch
            batch, n_tokens, n_reads = [], 0, 0
            added += query.n_shared
        batch.append(query)
        n_tokens += added
        n_reads += 1 + n_inner
        prefix = query.prefix
    if batch:
        yield batch


def lay_out(queries: Sequence[Query], kept: Container[Prefix]) -> Layout:
    """Packs queries into one row.

    Args:
        queries: queries with one prefix are consecutive.
        kept: prefixes whose keys and values are known; the tokens of the others are put into the row.

    Returns:
        The row; every query's choices are covered by its targets.
    """
    row = _GrowingRow()
    counts: dict[Prefix, int] = {}
    for query in queries:
        counts[query.prefix] = counts.get(query.prefix, 0) + 1
    computed = {prefix: row.add_prefix(prefix) for prefix in counts if prefix.ids and prefix not in kept}
    first_node = len(row.tokens)
    segments, position = [], 0
    for prefix, count in counts.items():
        start, path = len(row.tokens), list[int]()
        for query in queries[position : position + count]:
            path = row.add_query(query, path)
        is_kept = bool(prefix.ids) and prefix.n_left > count
        segments.append(Segment(prefix, computed.get(prefix), is_kept, (start, len(row.tokens))))
        position += count
    paths, owners = _tables(row.paths, first_node, len(row.tokens))
    return Layout(
        np.array(row.tokens),
        np.array(row.positions),
        tuple(segments),
        paths,
        owners,
        np.array(row.reads),
        np.array(row.targets),
    )


@dataclass(slots=True)
class _GrowingRow:
    """The packed row while it is built."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    targets: list[tuple[int, int, int]] = field(default_factory=list)

    def add_prefix(self, prefix: Prefix) -> tuple[int, int]:
        """Adds a prefix's own tokens; returns their (start, stop) in the row."""
        start = len(self.tokens)
        self._extend([], prefix.ids, 0)
        return start, len(self.tokens)

    def add_query(self, query: Query, before: list[int]) -> list[int]:
        """Adds the tokens that a query does not share with the path of the previous query; returns its path."""
        n_prefix, n_shared = len(query.prefix.ids), min(query.n_shared, len(before))
        choices, first_read = query.choices, len(self.reads)
        paths = [self._extend(before[:n_shared], query.suffix[n_shared:], n_prefix + n_shared)]
        for parent, token in choices.inner:
            paths.append(self._extend(paths[parent], (token,), n_prefix + len(paths[parent])))
        self.reads += [path[-1] for path in paths]
        self.targets += [
            (first_read + node, token, query.first_slot + choice) for node, token, choice in choices.targets
        ]
        self.paths += [paths[leaf] for leaf in choices.leaves]
        return paths[0]

    def _extend(self, path: list[int], ids: Sequence[int], position: int) -> list[int]:
        first = len(self.tokens)
        self.tokens += ids
        self.positions += range(position, position + len(ids))
        return [*path, *range(first, first + len(ids))]


def _tables(paths: list[list[int]], first_node: int, n_row: int) -> tuple[tuple[Ints, ...], Ints]:
    """The paths as padded tables (lengths within a factor of two), and a place in them for each node."""
    tables, offset = [], 0
    owners = np.zeros(n_row - first_node, dtype=np.int64)
    by_size: dict[int, list[list[int]]] = {}
    for path in paths:
        by_size.setdefault(max(len(path) - 1, SHORT_PATH).bit_length(), []).append(path)
    for lines in by_size.values():
        lengths = np.array([len(path) for path in lines])
        is_node = np.arange(lengths.max()) < lengths[:, None]
        table = np.repeat([[line[0]] for line in lines], is_node.shape[1], axis=1)
        table[is_node] = np.concatenate(lines)
        owners[table[is_node] - first_node] = offset + np.flatnonzero(is_node)
        tables.append(table)
        offset += table.size
    return tuple(tables), owners
