"""Scores the candidate labels of many queries exactly, computing each shared token once.

It is given token ids and knows no tasks, labels or label settings. There are three ways to the same numbers:
``packed`` (each token once, the prefix not copied), ``cached`` (transformers' cache, the prefix copied for each row)
and ``plain`` (``icl_core.scoring.reference``). Which one a model gets is decided by comparing it with the
reference on a few tokens of that model, so an architecture that a way does not serve is never scored by it.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest, LabelScores
from icl_core.scoring import packed, reference
from icl_core.scoring.checks import check_requests
from icl_core.scoring.stream import DEFAULT_OPTIONS, EngineOptions, PackedStream, Path, score_apart

__all__ = ["EngineOptions", "Path", "choose_path", "score_bursts", "score_requests"]

Item = TypeVar("Item")
logger = logging.getLogger(__name__)

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
LOW_PRECISION_TOLERANCE = 0.5
"""Largest difference from the reference that the probe accepts, nats; half precision rounds differently in every
kernel, so there the probe finds gross errors only."""

PROBE_TOKENS = 12
"""Shortest prefix of a probe: long enough that its queries are grouped."""

_verdicts: WeakKeyDictionary[torch.nn.Module, dict[tuple[str, torch.dtype], tuple[int, Path]]] = WeakKeyDictionary()
"""For a model, by path asked for and dtype: length of the probe that was passed, and the path found."""


def score_requests(
    model: torch.nn.Module, requests: Sequence[EncodedRequest], *, options: EngineOptions = DEFAULT_OPTIONS
) -> list[LabelScores]:
    """Scores each choice of each request; requests that begin with the same tokens share their computation.

    Args:
        model: a causal language model. Modules that are no transformers model are recomputed in full.
        requests: token ids from the joint tokenisation, of one or more prompts, in any order.
        options: limits and path.

    Returns:
        One LabelScores a request, in order.

    Raises:
        ScoringError: for ids that the model cannot take, numbers that are not finite, one query that does
            not fit in memory, or a path asked for by name that does not agree with the reference.
    """
    ((scores,),) = _score_all(model, iter([requests]), options)
    return scores


def score_bursts(
    model: torch.nn.Module, cells: Iterable[Sequence[EncodedRequest]], *, options: EngineOptions = DEFAULT_OPTIONS
) -> Generator[list[list[LabelScores]]]:
    """Scores the requests of one cell after another; the next cell is encoded while the model computes.

    Args:
        model: as for ``score_requests``.
        cells: requests of each cell, made lazily: the iterable is advanced in a thread of its own. Small cells
            are computed together, so it may run some cells ahead of what is yielded.
        options: limits and path.

    Yields:
        The scores of the cells that one forward pass has finished, in order; never an empty list.

    Raises:
        ScoringError: as for ``score_requests``; and whatever the iterable raises.
    """
    return _score_all(model, _one_ahead(cells), options)


def _one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items; the next one is made in a thread while the current one is used."""
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode") as pool:
        future = pool.submit(lambda: list(itertools.islice(iterator, 1)))
        while made := future.result():
            future = pool.submit(lambda: list(itertools.islice(iterator, 1)))
            yield made[0]


def _score_all(
    model: torch.nn.Module, cells: Iterator[Sequence[EncodedRequest]], options: EngineOptions
) -> Generator[list[list[LabelScores]]]:
    """Cells by the path chosen for them; the packed path takes all that it may, one after another."""
    requests = next(cells, None)
    while requests is not None:
        path = choose_path(model, requests, options=options)
        if path != "packed":
            yield [score_apart(model, requests, path, options)]
            requests = next(cells, None)
            continue
        run = _Run(model, requests, cells, options)
        yield from PackedStream(model, run, options).bursts()
        requests = run.next


class _Run:
    """The cells from the first one on that are for the packed path, and then the one that is not, if there is one."""

    def __init__(
        self,
        model: torch.nn.Module,
        first: Sequence[EncodedRequest],
        rest: Iterator[Sequence[EncodedRequest]],
        options: EngineOptions,
    ) -> None:
        self._model, self._rest, self._options = model, rest, options
        self.next: Sequence[EncodedRequest] | None = first

    def __iter__(self) -> Iterator[Sequence[EncodedRequest]]:
        while self.next is not None and choose_path(self._model, self.next, options=self._options) == "packed":
            yield self.next
            self.next = next(self._rest, None)


def choose_path(
    model: torch.nn.Module, requests: Sequence[EncodedRequest], *, options: EngineOptions = DEFAULT_OPTIONS
) -> Path:
    """The way by which requests like these are scored; compared with the reference once for each model.

    Raises:
        ScoringError: for requests that the model cannot take, and if a path is asked for by name and does not
            agree with the reference.
    """
    check_requests(model, requests)
    if options.path == "plain" or not requests:
        return "plain"
    path: Path = "plain"
    if isinstance(model, PreTrainedModel):
        probe = _probe(model, requests)
        n_tokens = len(probe[0].context_ids)
        known = _verdicts.setdefault(model, {})
        key = (options.path, model.dtype)
        if key not in known or known[key][0] < n_tokens:
            try:
                known[key] = (n_tokens, _first_that_agrees(model, probe, options))
            except ScoringError:  # numbers that are not finite; the plain path names the first request that has them
                return "plain"
        path = known[key][1]
    if options.path not in ("auto", path):
        raise ScoringError(
            f"The {options.path} path does not agree with a full recompute on {type(model).__name__}: "
            "leave the path to the engine."
        )
    return path


def _probe(model: PreTrainedModel, requests: Sequence[EncodedRequest]) -> list[EncodedRequest]:
    """Three short queries after a common prefix; it is as long as an attention window that the requests exceed."""
    longest = max(requests, key=lambda request: len(request.context_ids)).context_ids
    config = model.config.get_text_config()
    windows = [getattr(config, name, None) or 0 for name in ("sliding_window", "attention_chunk_size")]
    n_prefix = max(windows) + 4 if any(windows) else 0
    if any(kind in str(getattr(config, "rope_parameters", "")) for kind in ("dynamic", "longrope")):
        n_prefix = len(longest)
    n_prefix = max(PROBE_TOKENS, min(n_prefix, len(longest) - 3))
    ids = list(itertools.islice(itertools.cycle(longest), n_prefix + 4))
    prefix, (first, second, third, fourth) = tuple(ids[:n_prefix]), ids[n_prefix:]
    choices = ((first,), (second, first), (second, third))
    return [EncodedRequest(prefix + suffix, choices) for suffix in ((first,), (second, third), (second, fourth, third))]


def _first_that_agrees(model: PreTrainedModel, probe: list[EncodedRequest], options: EngineOptions) -> Path:
    """The first path, of those that may be used, whose numbers on the probe are the reference's."""
    expected = np.array([scores.loglikelihoods for scores in reference.score_requests(model, probe, batch_size=9)])
    paths: tuple[Path, ...] = ("packed", "cached")
    for path in paths:
        if options.path not in ("auto", path):
            continue
        try:
            difference = float(np.abs(_probed(model, probe, path) - expected).max())
        except Exception as error:
            logger.info("%s cannot be scored by the %s path: %s", type(model).__name__, path, error)
            continue
        if difference <= TOLERANCE.get(model.dtype, LOW_PRECISION_TOLERANCE):
            return path
        logger.info("%s by the %s path is off by %g nats", type(model).__name__, path, difference)
    return "plain"


def _probed(model: PreTrainedModel, probe: list[EncodedRequest], path: Path) -> npt.NDArray[np.float64]:
    """(3, n_choices) log-likelihoods of the probe by one path."""
    if path == "cached":
        scores = score_apart(model, probe, path, DEFAULT_OPTIONS)
    elif packed.is_possible(model):
        ((scores,),) = PackedStream(model, [probe], DEFAULT_OPTIONS).bursts()
    else:
        raise ScoringError("it takes no explicit positions")
    return np.array([score.loglikelihoods for score in scores])
