"""Scores the candidate labels of many queries exactly, computing each shared token once.

It is given token ids and knows no tasks, labels or label settings. Three methods give the same numbers: ``packed``
(each token once, the prefix not copied), ``cached`` (transformers' cache, the prefix copied for each row) and ``plain``
(``icl_core.scoring.reference``). Before anything is scored, the model is examined on a few tokens
(``icl_core.scoring.examination``). A model that is not a causal decoder is refused. A method that does not work for
this architecture is not used.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from transformers import PreTrainedModel

from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest, LabelScores
from icl_core.scoring import reference
from icl_core.scoring.behaviour import NotFiniteError
from icl_core.scoring.checks import check_requests, label_scores
from icl_core.scoring.examination import Examination
from icl_core.scoring.lengths import Kind, has_kinds, kinds, split_by_kind
from icl_core.scoring.precision import dtype_of
from icl_core.scoring.stream import (
    DEFAULT_OPTIONS,
    EngineOptions,
    HowScored,
    Method,
    PackedStream,
    score_apart,
    with_limits,
)

__all__ = ["EngineOptions", "HowScored", "Method", "choose_method", "score_bursts", "score_requests"]

Item = TypeVar("Item")
Told = Callable[[HowScored], None]

_examinations: WeakKeyDictionary[torch.nn.Module, dict[tuple[Kind, torch.dtype], Examination]] = WeakKeyDictionary()
"""The examination of each model, by kind of forward pass and dtype."""


def score_requests(
    model: torch.nn.Module,
    requests: Sequence[EncodedRequest],
    *,
    options: EngineOptions = DEFAULT_OPTIONS,
    told: Told = lambda how: None,
) -> list[LabelScores]:
    """Scores each choice of each request; requests that begin with the same tokens share their computation.

    Args:
        model: a causal language model. Modules that are not transformers models are recomputed in full.
        requests: token ids from the joint tokenisation, of one or more prompts, in any order.
        options: limits and method.
        told: is called once, with the method that scored the requests.

    Returns:
        One LabelScores per request, in order.

    Raises:
        ScoringError: for a model that is not a causal decoder, ids that it cannot take, numbers that are not finite, a
            query that does not fit in memory, or a method chosen by name that does not agree with the reference.
    """
    ((scores,),) = _score_all(model, iter([requests]), options=options, told=told)
    return scores


def score_bursts(
    model: torch.nn.Module,
    cells: Iterable[Sequence[EncodedRequest]],
    *,
    options: EngineOptions = DEFAULT_OPTIONS,
    told: Told = lambda how: None,
) -> Generator[list[list[LabelScores]]]:
    """Scores the requests of one cell after another; the next cell is encoded while the model computes.

    Args:
        model: as for ``score_requests``.
        cells: requests of each cell, made lazily: another thread advances the iterable. Small cells are computed
            together, so it may be some cells ahead of what is yielded.
        options: limits and method.
        told: is called before each yield, in the caller's thread, with the method that scored the yielded cells.

    Yields:
        The scores of the cells that a forward pass has finished, in order; never an empty list.

    Raises:
        ScoringError: as for ``score_requests``; and whatever the iterable raises.
    """
    return _score_all(model, _one_ahead(cells), options=options, told=told)


def _one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items; the next one is made in a thread while the current one is used."""
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode") as pool:
        future = pool.submit(lambda: list(itertools.islice(iterator, 1)))
        while made := future.result():
            future = pool.submit(lambda: list(itertools.islice(iterator, 1)))
            yield made[0]


def _score_all(
    model: torch.nn.Module, cells: Iterator[Sequence[EncodedRequest]], *, options: EngineOptions, told: Told
) -> Generator[list[list[LabelScores]]]:
    """Scores each cell by the method chosen for it; consecutive cells for the packed method are scored together."""
    requests = next(cells, None)
    while requests is not None and has_kinds(model):
        scores, how = _by_kind(model, requests, options)
        told(how)
        yield [scores]
        requests = next(cells, None)
    while requests is not None:
        method = choose_method(model, requests, options=options)
        if method != "packed":
            scores, how = _one_cell(model, requests, method=method, options=options)
            told(how)
            yield [scores]
            requests = next(cells, None)
            continue
        packed = _PackedCells(model, requests, rest=cells, options=options)
        limits = with_limits(cast(PreTrainedModel, model), options)
        for burst in PackedStream(cast(PreTrainedModel, model), packed, limits).bursts():
            told(HowScored(method, limits.token_budget))
            yield burst
        requests = packed.next


class _PackedCells:
    """The leading cells that are for the packed method, and then the next cell, if there is one."""

    def __init__(
        self,
        model: torch.nn.Module,
        first: Sequence[EncodedRequest],
        *,
        rest: Iterator[Sequence[EncodedRequest]],
        options: EngineOptions,
    ) -> None:
        self._model, self._rest, self._options = model, rest, options
        self.next: Sequence[EncodedRequest] | None = first

    def __iter__(self) -> Iterator[Sequence[EncodedRequest]]:
        while self.next is not None and choose_method(self._model, self.next, options=self._options) == "packed":
            yield self.next
            self.next = next(self._rest, None)


def choose_method(
    model: torch.nn.Module, requests: Sequence[EncodedRequest], *, options: EngineOptions = DEFAULT_OPTIONS
) -> Method:
    """The method for requests like these; the model is examined when it is first asked for.

    If requests need several kinds of forward passes (``icl_core.scoring.lengths``), only the plain method serves all.

    Raises:
        ScoringError: for requests that the model cannot take, a model that is not a causal decoder, or a method that
            was chosen by name and does not agree with the reference.
    """
    check_requests(model, requests)
    if not requests:
        return "plain"
    found = kinds(model, requests)
    method: Method = "plain"
    if len(found) == 1:
        try:
            examination = _examination(model, requests, min(found))
        except NotFiniteError:  # the plain method then names the first request without a number
            return "plain"
        tried: tuple[Method, ...] = ("packed", "cached")
        asked = [each for each in tried if options.method in ("auto", each)]
        method = next((each for each in asked if examination.agrees(model, each)), "plain")
    if options.method not in ("auto", method):
        raise ScoringError(
            f"The {options.method} method does not agree with a full recompute on {type(model).__name__}: "
            "leave the method to the engine."
        )
    return method


def _examination(model: torch.nn.Module, requests: Sequence[EncodedRequest], kind: Kind) -> Examination:
    """The examination of this model, with enough tokens for these requests."""
    known = _examinations.setdefault(model, {})
    key = (tuple(min(each, 2) for each in kind), dtype_of(model))  # 2: each length has its own factors
    if key not in known or not known[key].reaches(requests):
        known[key] = Examination(model, requests, kind)
    return known[key]


def _by_kind(
    model: torch.nn.Module, requests: Sequence[EncodedRequest], options: EngineOptions
) -> tuple[list[LabelScores], HowScored]:
    """Scores one cell of a model with several kinds of forward passes, one kind after another."""
    check_requests(model, requests)
    hows: set[HowScored] = set()
    values = [np.zeros(len(request.continuation_ids)) for request in requests]
    for parts in split_by_kind(model, requests).values():
        alike = [part for _, _, part in parts]
        method = choose_method(model, alike, options=options)
        try:
            scores, how = _one_cell(model, alike, method=method, options=options)
        except ScoringError:  # it counts only requests of this kind; the reference counts as the caller does
            return reference.score_requests(model, requests), HowScored("plain", None)
        hows.add(how)
        for (index, choices, _), score in zip(parts, scores, strict=True):
            values[index][choices] = score.loglikelihoods
    budgets = [how.token_budget for how in hows if how.token_budget is not None]
    joined = HowScored(" and ".join(sorted({how.method for how in hows})) or "plain", max(budgets, default=None))
    return label_scores(np.concatenate([*values, np.zeros(0)]), requests), joined


def _one_cell(
    model: torch.nn.Module, requests: Sequence[EncodedRequest], *, method: Method, options: EngineOptions
) -> tuple[list[LabelScores], HowScored]:
    limits = options if method == "plain" else with_limits(cast(PreTrainedModel, model), options)
    how = HowScored(method, None if method == "plain" else limits.token_budget)
    if method != "packed":
        return score_apart(model, requests, method=method, options=limits), how
    ((scores,),) = PackedStream(cast(PreTrainedModel, model), [requests], limits).bursts()
    return scores, how
