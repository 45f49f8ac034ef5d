"""Measures of a lab model: accuracies on fixed sets of sequences, and scores of its attention heads.

It trains nothing. Evaluators and attention scores follow arXiv 2503.05631, section 3 and appendix. Every set is drawn
once from the seed of the evaluation, so all points of a curve answer the same queries. Dimensions: n sequences, P
pairs, T = 2 P + 1 tokens, L labels, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from icl_core.pretraining.lab.config import N_EVALUATION, DataKnobs
from icl_core.pretraining.lab.model import LabTransformer
from icl_core.pretraining.lab.world import Batch, Mode, World, knobs_at, plain_knobs, sample

__all__ = [
    "GRAFT_SETS",
    "HeadScores",
    "evaluate",
    "evaluation_sets",
    "head_scores",
    "label_logprobs",
    "set_accuracy",
]

FloatArray = npt.NDArray[np.float64]
_EVALUATION_STREAM = 3
_N_MAP = 256
"""Number of sequences of the Train set whose attention is averaged."""
GRAFT_SETS = ("icl", "flip", "ciwl")
_AMONG_ALL = ("iwl", "tr", "tl")
_WITH_LOSS = ("train", "icl", "ciwl", "flip", "iwl")


def evaluation_sets(world: World, *, step: int, n: int = N_EVALUATION) -> Mapping[str, Batch]:
    """The fixed sets by name: ``train`` as training draws at this step, the others without interventions.

    ``icl_copy`` and ``flip_copy`` hold exact copies of the query; ``icl`` and ``flip`` hold copies only by chance. All
    sets draw the same queries.
    """
    config = world.config
    plain = plain_knobs(config.data)
    copied = plain_knobs(config.data, copy_probability=1.0)
    how: dict[str, tuple[DataKnobs, Mode]] = {
        "train": (knobs_at(config, max(step, 1)), "train"),
        "icl": (plain, "icl"),
        "icl_novel": (plain, "icl_novel"),
        "ciwl": (plain, "ciwl"),
        "flip": (plain, "flip"),
        "icl_copy": (copied, "icl"),
        "flip_copy": (copied, "flip"),
        "iwl": (plain, "iwl"),
        "tr": (plain, "tr"),
        "tl": (plain, "tl"),
    }
    return MappingProxyType({name: _draw(world, knobs, mode=mode, n=n) for name, (knobs, mode) in how.items()})


def _draw(world: World, knobs: DataKnobs, *, mode: Mode, n: int) -> Batch:
    rng = np.random.Generator(np.random.PCG64([world.config.evaluation_seed, _EVALUATION_STREAM]))
    return sample(world, knobs, mode=mode, n=n, rng=rng)


def label_logprobs(model: LabTransformer, batch: Batch) -> Tensor:
    """(n, L) log-probabilities of all labels at the query, nats."""
    with torch.no_grad():
        logits = model(torch.from_numpy(batch.items), torch.from_numpy(np.ascontiguousarray(batch.labels)))
        return functional.log_softmax(logits, dim=-1)


def set_accuracy(name: str, logprobs: Tensor, batch: Batch) -> float:
    """Share of right answers, chosen among the labels in the context, or among all labels for iwl, tr and tl.

    All labels also compete if the target is not in the context (Train sequences without the query's class).
    """
    target = torch.from_numpy(batch.targets.copy())
    if name not in _AMONG_ALL:
        in_context = _context_mask(batch, logprobs.shape[1])
        in_context[~in_context.gather(1, target[:, None])[:, 0]] = True
        logprobs = logprobs.masked_fill(~in_context, -torch.inf)
    return float((logprobs.argmax(dim=1) == target).double().mean())


def _context_mask(batch: Batch, n_labels: int) -> Tensor:
    """(n, L) whether a label is in the context."""
    mask = torch.zeros(len(batch.labels), n_labels, dtype=torch.bool)
    return mask.scatter_(1, torch.from_numpy(np.ascontiguousarray(batch.labels)), True)


def evaluate(model: LabTransformer, sets: Mapping[str, Batch]) -> dict[str, float | FloatArray]:
    """All measures of a model: accuracies, losses (nats), context mass and head scores, by the names of ``LabRun``."""
    found: dict[str, float | FloatArray] = {}
    for name, batch in sets.items():
        logprobs = label_logprobs(model, batch)
        found[name] = set_accuracy(name, logprobs, batch)
        if name in _WITH_LOSS:
            found[f"loss_{name}"] = float(functional.nll_loss(logprobs, torch.from_numpy(batch.targets.copy())))
        if name == "train":
            found["gold"] = set_accuracy("tr", logprobs, batch)
            inside = _context_mask(batch, logprobs.shape[1])
            found["context_mass"] = float(logprobs.exp().masked_fill(~inside, 0.0).sum(dim=1).mean())
    scores = head_scores(model, sets["train"])
    for name in ("previous_token", "self_attention", "induction"):
        by_head: FloatArray = getattr(scores, name)
        found[name] = float(by_head.max())
        found[f"{name}_by_head"] = by_head
    return found


# Attention


@dataclass(frozen=True, slots=True, eq=False)
class HeadScores:
    """Where the heads look, averaged over sequences whose context holds the query's class.

    Attributes:
        previous_token: (n_layers, H) attention of a label to the item before it.
        self_attention: (n_layers, H) attention of the query to itself.
        induction: (n_layers, H) attention of the query to the labels of its own class minus that to all other labels.
        maps: (n_layers, H, T, T) mean attention over the sequences whose first pair is of the query's class.
    """

    previous_token: FloatArray
    self_attention: FloatArray
    induction: FloatArray
    maps: FloatArray


def head_scores(model: LabTransformer, batch: Batch) -> HeadScores:
    """Scores and mean maps of all heads over the first sequences of a batch."""
    items = torch.from_numpy(batch.items[:_N_MAP])
    labels = torch.from_numpy(np.ascontiguousarray(batch.labels[:_N_MAP]))
    with torch.no_grad():
        attention = model.forward_with_attention(items, labels)[1].double()
    classes = batch.classes[:_N_MAP]
    own = torch.from_numpy(classes[:, :-1] == classes[:, -1:])
    held = own.any(dim=1)
    places = torch.arange(1, attention.shape[-1], 2)
    before = attention[..., places, places - 1].mean(dim=-1)
    to_labels = attention[..., -1, 1::2]
    signs = torch.where(own, 1.0, -1.0)[:, None, None, :]
    induction = (to_labels * signs).sum(dim=-1)
    return HeadScores(
        previous_token=_mean(before),
        self_attention=_mean(attention[..., -1, -1]),
        induction=_mean(induction[held]),
        maps=_mean(attention[own[:, 0]]),
    )


def _mean(values: Tensor) -> FloatArray:
    """Mean over sequences; zeros if there are none (training without the query's class)."""
    found: FloatArray = values.mean(dim=0).numpy() if len(values) else np.zeros(values.shape[1:])
    return found
