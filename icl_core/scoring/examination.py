"""Examines a loaded model before scoring: is it a causal decoder, and which methods give its numbers?

A method may be used if it agrees with ``icl_core.scoring.reference`` on a few requests, in at least float32. A model in
lower precision is widened for that (``icl_core.scoring.precision``): its rounding would hide a wrong method. The
caller's own requests are not scored here.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest
from icl_core.scoring import packed, reference
from icl_core.scoring.behaviour import Behaviour, observe
from icl_core.scoring.checks import context_length, inference
from icl_core.scoring.lengths import Kind, kinds, longest_run, most_tokens
from icl_core.scoring.memory import run_halving
from icl_core.scoring.passes import run
from icl_core.scoring.precision import dtype_of, in_float32, is_low
from icl_core.scoring.stream import DEFAULT_OPTIONS, Method, PackedStream, score_apart

__all__ = ["Examination"]

TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3}
"""Largest difference from the reference, nats; some models take their softmax in float32 whatever their dtype."""

TIMES_AS_FAR = 3.0
ROUNDING = 0.05
"""In low precision, a method's distance from the float32 numbers may be plain's times the first, plus the second."""

PROBE_TOKENS = 12
"""Shortest shared prefix of the probe: long enough that its requests are grouped."""

BEYOND_A_LIMIT = 32
"""Tokens by which the prefix exceeds a limit that requests exceed; with fewer, a change there is easily missed."""

SUFFIX_TOKENS = 5
"""Largest number of tokens of the probe after its prefix, choices included."""

LOGITS_AT_ONCE = 2**25
"""Largest number of logits of the reference's batch on the probe (128 MiB in float32); beyond, one row at a time."""

LIMIT = re.compile(r"window|chunk|topk|local_attention|block_size|original_max_position")
"""Settings with a number of tokens beyond which a model may attend differently."""

logger = logging.getLogger(__name__)


class Examination:
    """What was found about one model, for requests of one kind; each method is tried when it is first needed."""

    def __init__(self, model: torch.nn.Module, requests: Sequence[EncodedRequest], kind: Kind) -> None:
        """Observes the model.

        Raises:
            ScoringError: it is not a causal decoder, gives different numbers for the same input, or cannot run on token
                ids alone.
            NotFiniteError: it gives NaN.
        """
        self._limits = sorted(set(_limits(model)))
        room = (context_length(model), most_tokens(model, kind))
        self._n_most = min((each for each in room if each is not None), default=None)
        self._n_prefix = self._n_needed(requests)
        self._kind = kind
        self._agrees: dict[Method, bool] = {}
        self._is_exact = True
        self._expected: npt.NDArray[np.float64] | None = None
        ids, others = _sequences(model, requests, self._n_prefix + SUFFIX_TOKENS - 1)
        self._probe = _probe(ids, others, self._n_prefix, with_short=not any(kind))
        self._behaviour = self._observe(model, ids, others)

    def reaches(self, requests: Sequence[EncodedRequest]) -> bool:
        """Whether the examination used enough tokens to show what the model does on these requests."""
        return self._n_needed(requests) <= self._n_prefix

    def agrees(self, model: torch.nn.Module, method: Method) -> bool:
        """Whether a method gives the same numbers as the reference with each request alone."""
        if method not in self._agrees:
            self._agrees[method] = self._may(model, method) and self._compare(model, method)
        return self._agrees[method]

    def _n_needed(self, requests: Sequence[EncodedRequest]) -> int:
        """Length of a prefix that exceeds, if there is room, all limits that the longest request exceeds."""
        longest = longest_run(requests)
        needed = max([PROBE_TOKENS, *(limit + BEYOND_A_LIMIT for limit in self._limits if limit < longest)])
        return needed if self._n_most is None else max(2, min(needed, self._n_most - SUFFIX_TOKENS))

    def _observe(self, model: torch.nn.Module, ids: Sequence[int], others: Sequence[int]) -> Behaviour:
        """What the logits depend on, in float32; a model that cannot be widened is observed in its own dtype."""
        found: list[Behaviour] = []

        def look(_: object) -> None:
            if found:
                run(model, input_ids=torch.tensor([ids], device=next(model.parameters()).device))
            else:
                found.append(observe(model, ids, others, is_exact=self._is_exact))

        with inference(model):
            if is_low(dtype_of(model)):
                try:
                    with in_float32(model):
                        look(None)
                except (ScoringError, ArithmeticError):
                    raise
                except Exception as error:
                    self._is_exact = False
                    logger.info("%s cannot be examined in float32: %s", type(model).__name__, error)
            try:
                run_halving([ids], look)
            except (ScoringError, ArithmeticError):
                raise
            except Exception as error:
                what = f"{type(model).__name__} in {str(dtype_of(model)).removeprefix('torch.')}"
                reason = str(error).strip().split("\n")[0].rstrip(".")
                raise ScoringError(
                    f"{what} cannot be scored: it does not run on token ids alone ({reason})."
                ) from error
        return found[0]

    def _may(self, model: torch.nn.Module, method: Method) -> bool:
        """Whether a method can be compared, so that the comparison holds for all requests of the kind."""
        if not isinstance(model, PreTrainedModel) or any(self._behaviour) or not self._is_exact:
            return False
        if kinds(model, self._probe) != {self._kind}:
            return False
        return packed.is_possible(model) if method == "packed" else not any(self._kind)

    def _compare(self, model: PreTrainedModel, method: Method) -> bool:
        name = type(model).__name__
        try:
            with _exactly(model):
                if self._expected is None:
                    self._expected = _by_reference(model, self._probe)
                difference = _largest(_by_method(model, self._probe, method) - self._expected)
                allowed = TOLERANCE[dtype_of(model)]
            if difference <= allowed and is_low(dtype_of(model)):
                difference, allowed = self._far_in_low_precision(model, method)
        except Exception as error:
            logger.info("%s cannot be scored by the %s method: %s", name, method, error)
            return False
        if difference <= allowed:
            return True
        logger.info("%s by the %s method is off by %g nats", name, method, difference)
        return False

    def _far_in_low_precision(self, model: PreTrainedModel, method: Method) -> tuple[float, float]:
        """A method's distance from float32 in the model's own dtype, and the largest allowed distance (nats)."""
        parts = [self._probe] if any(self._kind) else [self._probe, _more(self._probe)]
        with _exactly(model):
            exact = np.concatenate([self._expected, *(_by_reference(model, part) for part in parts[1:])])
        plain = np.concatenate([_by_reference(model, part) for part in parts])
        found = _by_method(model, [request for part in parts for request in part], method)
        return _largest(found - exact), TIMES_AS_FAR * _largest(plain - exact) + ROUNDING


def _limits(model: torch.nn.Module) -> Iterator[int]:
    """The numbers of tokens that a configuration names as limits of attention."""
    if not isinstance(model, PreTrainedModel):
        return
    pending: list[Any] = [model.config.get_text_config().to_dict()]
    while pending:
        settings = pending.pop()
        for name, value in settings.items():
            if isinstance(value, dict):
                pending.append(value)
            elif type(value) is int and value > 0 and LIMIT.search(str(name)):
                yield value


def _exactly(model: torch.nn.Module) -> contextlib.AbstractContextManager[None]:
    return in_float32(model) if is_low(dtype_of(model)) else contextlib.nullcontext()


def _sequences(
    model: torch.nn.Module, requests: Sequence[EncodedRequest], n_tokens: int
) -> tuple[list[int], list[int]]:
    """Two sequences of tokens from the requests that differ at every place."""
    longest = max(requests, key=lambda request: len(request.context_ids))
    tokens = list(dict.fromkeys(itertools.chain(longest.context_ids, *longest.continuation_ids)))
    if len(tokens) == 1:
        tokens.append(tokens[0] - 1 if tokens[0] else 1)
    ids = list(itertools.islice(itertools.cycle(longest.context_ids), n_tokens))
    place = {token: index for index, token in enumerate(tokens)}
    others = [tokens[(place[token] + 1 + i % (len(tokens) - 1)) % len(tokens)] for i, token in enumerate(ids)]
    return ids, others


def _probe(ids: Sequence[int], others: Sequence[int], n_prefix: int, *, with_short: bool) -> list[EncodedRequest]:
    """Requests of unequal length with and without a shared prefix; choices of one to three tokens."""
    prefix, (a, b, c, d) = tuple(ids[:n_prefix]), others[:4]
    probe = [
        EncodedRequest((*prefix, a), ((a,), (b, a))),
        EncodedRequest((*prefix, b, c), ((a,), (b, c, a))),
        EncodedRequest((*prefix, b, d, c), ((b, a),)),
        EncodedRequest((*others[:n_prefix], d, a), ((a, b),)),
    ]
    return probe + ([EncodedRequest((c, *prefix[:3]), ((a,), (b, c)))] if with_short else [])


def _more(probe: Sequence[EncodedRequest]) -> list[EncodedRequest]:
    """Further short requests of the probe's tokens: rounding that changes the choice of an expert is rare."""
    tokens = [*probe[0].context_ids[-PROBE_TOKENS:], *probe[3].context_ids[-PROBE_TOKENS:]]
    turned = [tuple(tokens[i:] + tokens[:i])[:PROBE_TOKENS] for i in range(0, len(tokens), 3)]
    return [EncodedRequest(ids, ((ids[0],),)) for ids in turned]


def _by_reference(model: PreTrainedModel, probe: Sequence[EncodedRequest]) -> npt.NDArray[np.float64]:
    """The reference's log-likelihoods; in one batch if it is small and batches are exact for this model."""
    n_rows = sum(len(request.continuation_ids) for request in probe)
    n_logits = n_rows * longest_run(probe) * int(model.config.get_text_config().vocab_size)
    scores = reference.score_requests(model, probe, batch_size=n_rows if n_logits <= LOGITS_AT_ONCE else 1)
    return np.concatenate([each.loglikelihoods for each in scores])


def _by_method(model: PreTrainedModel, probe: list[EncodedRequest], method: Method) -> npt.NDArray[np.float64]:
    if method == "packed":
        ((scores,),) = PackedStream(model, [probe], DEFAULT_OPTIONS).bursts()
    else:
        scores = score_apart(model, probe, method=method, options=DEFAULT_OPTIONS)
    return np.concatenate([each.loglikelihoods for each in scores])


def _largest(differences: npt.NDArray[np.float64]) -> float:
    return float(np.abs(differences).max())
