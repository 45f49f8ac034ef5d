"""The oracle: scores every candidate label by a full recompute of context and continuation.

It defines the number: one forward pass for each choice, in a batch of one row, over the context and all tokens of the
choice except the last, which is only predicted. A model's logits may depend on more than the earlier tokens: rotary
factors on the length of the pass, an expert's places on the other rows. Then this pass counts, with the length of this
context and choice and with no other rows.

It reuses nothing between rows and knows no prefix, so it is slow and simple. It works for any causal language model
that maps ``input_ids`` to ``logits``; the caller has to find out whether a model is causal. The quantity is the
``loglikelihood`` of lm-evaluation-harness on token ids (https://github.com/EleutherAI/lm-evaluation-harness).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from icl_core.records import EncodedRequest, LabelScores
from icl_core.scoring.checks import check_requests, inference, label_scores, log_softmax
from icl_core.scoring.passes import run

__all__ = ["score_requests"]


def score_requests(
    model: torch.nn.Module, requests: Sequence[EncodedRequest], *, batch_size: int = 1
) -> list[LabelScores]:
    """Scores each choice of each request with a forward pass over all its tokens.

    Args:
        model: a causal language model; ``model(input_ids=...)`` gives ``logits`` (n_rows, n_tokens, n_vocab).
        requests: token ids from the joint tokenisation.
        batch_size: rows in one forward pass, padded on the right; more than 1 is exact only if the model's logits
            depend neither on the length nor on the other rows.

    Returns:
        One LabelScores per request, in order; log-softmax in float32 (float64 for a float64 model).

    Raises:
        ScoringError: for ids that the model cannot take, or numbers that are not finite.
    """
    check_requests(model, requests)
    rows = [(request.context_ids, ids) for request in requests for ids in request.continuation_ids]
    values: list[float] = []
    scores: list[LabelScores] = []
    with inference(model):
        for start in range(0, len(rows), batch_size):
            values += _score_rows(model, rows[start : start + batch_size])
            while len(scores) < len(requests) and len(values) >= len(requests[len(scores)].continuation_ids):
                request = requests[len(scores)]
                n_choices = len(request.continuation_ids)
                scores += label_scores(values[:n_choices], [request], len(scores))
                del values[:n_choices]
    return scores


def _score_rows(model: torch.nn.Module, rows: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> list[float]:
    """Log-likelihood (nats) of each row's continuation after its context."""
    device = next(model.parameters()).device
    width = max(len(context) + len(continuation) for context, continuation in rows) - 1
    input_ids = torch.zeros(len(rows), width, dtype=torch.long)
    for row, (context, continuation) in enumerate(rows):
        tokens = context + continuation[:-1]
        input_ids[row, : len(tokens)] = torch.tensor(tokens)
    logits = run(model, input_ids=input_ids.to(device)).logits
    values = []
    for row, (context, continuation) in enumerate(rows):
        read = logits[row, len(context) - 1 : len(context) - 1 + len(continuation)]
        targets = torch.tensor(continuation, device=device)
        values.append(float(log_softmax(read).gather(1, targets[:, None]).sum()))
    return values
