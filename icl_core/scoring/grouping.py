"""Finds groups of requests with a shared prefix that is worth computing once.

It sees only token ids. Requests are sorted by their contexts. The longest common prefixes of neighbours form a tree
(the longest-common-prefix intervals of Abouelhoda et al. 2004, https://doi.org/10.1016/S1570-8667(03)00065-0). From
this tree it takes a partition into groups, each with one prefix, that computes few tokens: an interval joins the group
around it as a whole or not at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from icl_core.records import EncodedRequest
from icl_core.sequences import n_common

__all__ = ["PrefixGroup", "group_by_prefix"]

GROUP_COST = 16
"""Cost of a group in tokens, besides its prefix: a shorter prefix is not worth a group."""


@dataclass(frozen=True, slots=True)
class PrefixGroup:
    """Requests that begin with the same tokens.

    Attributes:
        n_prefix_tokens: tokens that all contexts share; every context has at least one more. 0 for a single request.
        indices: positions of the requests, in the lexicographic order of their contexts.
    """

    n_prefix_tokens: int
    indices: tuple[int, ...]


@dataclass(slots=True)
class _Node:
    """An interval of the sorted contexts whose neighbours share ``depth`` tokens; a leaf holds one context."""

    depth: int
    n_leaves: int
    n_tokens: int
    cost: int
    """Tokens to compute for all leaves, with prefixes and GROUP_COST."""
    children: list[_Node] = field(default_factory=list)
    is_group: bool = False
    leaf: int = -1


def group_by_prefix(requests: Sequence[EncodedRequest]) -> list[PrefixGroup]:
    """Splits requests into groups with a shared prefix, so that few context tokens are computed.

    Args:
        requests: any mixture of prompts, in any order.

    Returns:
        Groups in the order of their first request; each request is in exactly one.

    >>> ids = [(1, 2, 3, 4) * 9 + (5, last) for last in (6, 7)] + [(8, 9)]
    >>> [(g.n_prefix_tokens, g.indices) for g in group_by_prefix([EncodedRequest(i, ((0,),)) for i in ids])]
    [(37, (0, 1)), (0, (2,))]
    """
    if not requests:
        return []
    contexts = [request.context_ids for request in requests]
    order = sorted(range(len(contexts)), key=contexts.__getitem__)
    contexts = [contexts[index] for index in order]
    by_all = n_common(contexts[0], contexts[-1])
    # Each of two neighbours keeps at least one context token of its own.
    shared = [
        min(n_common(first, second, by_all), len(first) - 1, len(second) - 1)
        for first, second in itertools.pairwise(contexts)
    ]
    least = min(shared, default=0)
    if least * (len(order) - 1) > GROUP_COST and sum(shared) - least * len(shared) < least + GROUP_COST:
        return [PrefixGroup(least, tuple(order))]  # a further group would cost more than it could save
    groups: list[PrefixGroup] = []
    _collect(_interval_tree(contexts, shared, order), groups)
    return sorted(groups, key=lambda group: min(group.indices))


def _interval_tree(contexts: Sequence[tuple[int, ...]], shared: Sequence[int], order: Sequence[int]) -> _Node:
    """The tree of intervals of sorted contexts, each node with the cheapest way to compute its leaves."""
    last = _Node(len(contexts[0]), 1, len(contexts[0]), len(contexts[0]), leaf=order[0])
    open_nodes: list[_Node] = []
    for context, depth, index in zip(contexts[1:], shared, order[1:], strict=True):
        while open_nodes and open_nodes[-1].depth > depth:
            last = _closed(open_nodes.pop(), last)
        if not open_nodes or open_nodes[-1].depth < depth:
            open_nodes.append(_Node(depth, 0, 0, 0))
        open_nodes[-1].children.append(last)
        last = _Node(len(context), 1, len(context), len(context), leaf=index)
    while open_nodes:
        last = _closed(open_nodes.pop(), last)
    return last


def _closed(node: _Node, last_child: _Node) -> _Node:
    """The node with its last child added and its cost known."""
    node.children.append(last_child)
    node.n_leaves = sum(child.n_leaves for child in node.children)
    node.n_tokens = sum(child.n_tokens for child in node.children)
    apart = sum(child.cost for child in node.children)
    together = node.depth + GROUP_COST + sum(min(child.cost, _joined(child, node.depth)) for child in node.children)
    node.is_group = node.depth > 0 and together < apart
    node.cost = together if node.is_group else apart
    return node


def _joined(node: _Node, depth: int) -> int:
    """Tokens left to compute for a node's leaves after a prefix of ``depth`` tokens."""
    return node.n_tokens - node.n_leaves * depth


def _collect(root: _Node, groups: list[PrefixGroup]) -> None:
    """Appends the groups of the cheapest partition, whose cost the root holds."""
    pending = [root]
    while pending:
        node = pending.pop()
        if node.leaf >= 0:
            groups.append(PrefixGroup(0, (node.leaf,)))
        elif not node.is_group:
            pending += node.children
        else:
            stays = [child for child in node.children if _joined(child, node.depth) <= child.cost]
            pending += [child for child in node.children if _joined(child, node.depth) > child.cost]
            groups.append(PrefixGroup(node.depth, tuple(leaf for child in stays for leaf in _leaves(child))))


def _leaves(root: _Node) -> list[int]:
    """Requests under a node, in sorted order."""
    leaves, pending = [], [root]
    while pending:
        node = pending.pop()
        if node.leaf >= 0:
            leaves.append(node.leaf)
        pending += reversed(node.children)
    return leaves
