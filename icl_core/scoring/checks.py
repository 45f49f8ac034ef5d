"""The checks of every scoring method: ids before the forward passes, numbers after them.

It runs no model and knows nothing of tasks, labels or prompts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest, LabelScores

__all__ = ["check_requests", "context_length", "inference", "label_scores", "log_softmax"]


def check_requests(model: torch.nn.Module, requests: Sequence[EncodedRequest]) -> None:
    """Refuses empty parts, ids outside the vocabulary and sequences longer than the model's context.

    Raises:
        ScoringError: naming the position of the first bad request in the sequence.
    """
    n_vocab = _vocabulary_size(model)
    n_most = context_length(model)
    if not requests or _all_fit(requests, n_vocab, n_most):
        return
    for index, request in enumerate(requests):
        problem = _problem(request, n_vocab, n_most)
        if problem:
            raise ScoringError(f"Request {index} of {len(requests)} cannot be scored: {problem}.")


def context_length(model: torch.nn.Module) -> int | None:
    """Largest number of tokens that a model takes; None if its configuration does not say (XLNet says -1)."""
    length = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None


def _vocabulary_size(model: torch.nn.Module) -> int | None:
    embeddings = getattr(model, "get_input_embeddings", lambda: None)()
    return getattr(embeddings, "num_embeddings", None)


def _all_fit(requests: Sequence[EncodedRequest], n_vocab: int | None, context_length: int | None) -> bool:
    """A quick check of all requests at once: True if none has a problem, False if each must be checked."""
    contexts = [request.context_ids for request in requests]
    choices = {ids for continuations in {request.continuation_ids for request in requests} for ids in continuations}
    if not all(contexts) or not all(request.continuation_ids for request in requests) or not all(choices):
        return False
    lowest = min(min(map(min, contexts)), min(map(min, choices)))
    highest = max(max(map(max, contexts)), max(map(max, choices)))
    longest = max(map(len, contexts)) + max(map(len, choices))
    return (
        lowest >= 0 and (n_vocab is None or highest < n_vocab) and (context_length is None or longest <= context_length)
    )


def _problem(request: EncodedRequest, n_vocab: int | None, context_length: int | None) -> str | None:
    if not request.context_ids:
        return "its context has no token"
    if not request.continuation_ids or not all(request.continuation_ids):
        return "it needs at least one choice, and at least one token in each"
    lowest = min(min(request.context_ids), min(map(min, request.continuation_ids)))
    highest = max(max(request.context_ids), max(map(max, request.continuation_ids)))
    if lowest < 0 or (n_vocab is not None and highest >= n_vocab):
        return f"a token id is outside the model's vocabulary of {n_vocab}; was it encoded with another tokenizer?"
    n_tokens = len(request.context_ids) + max(map(len, request.continuation_ids))
    if context_length is not None and n_tokens > context_length:
        return f"its {n_tokens} tokens exceed the model's context of {context_length}; use fewer or shorter examples"
    return None


def label_scores(
    loglikelihoods: npt.ArrayLike, requests: Sequence[EncodedRequest], first: int = 0
) -> list[LabelScores]:
    """The scores of requests, refused unless all are finite.

    Args:
        loglikelihoods: (n_slots,) nats, the choices of all requests one after another.
        requests: what was scored.
        first: position of the first request in the call, for the message.

    Raises:
        ScoringError: if a log-likelihood is NaN or infinite.
    """
    values = np.array(loglikelihoods, dtype=np.float64)
    bad = int(np.isfinite(values).argmin()) if len(values) else 0
    n_tokens_by_choices: dict[tuple[tuple[int, ...], ...], npt.NDArray[np.int64]] = {}
    scores, start = [], 0
    for index, request in enumerate(requests, first):
        choices = request.continuation_ids
        stop = start + len(choices)
        if start <= bad < stop and not np.isfinite(values[bad]):
            raise ScoringError(
                f"Request {index} got the log-likelihood {values[bad]} for its choice {bad - start}: the checkpoint's "
                "weights or this dtype give no valid numbers; try float32, or leave this checkpoint out."
            )
        if choices not in n_tokens_by_choices:
            n_tokens_by_choices[choices] = np.array([len(ids) for ids in choices], dtype=np.int64)
        scores.append(LabelScores(values[start:stop], n_tokens_by_choices[choices]))
        start = stop
    return scores


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Log-probabilities over the last dimension (nats), in float32, or in float64 if the logits are."""
    return torch.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=-1)


@contextlib.contextmanager
def inference(model: torch.nn.Module) -> Iterator[None]:
    """Runs its block without gradients and without dropout, and leaves the model's mode as it was."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()
