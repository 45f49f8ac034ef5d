"""The members of the tiny suite as data: all knobs of all training runs.

It trains nothing; ``train.py`` does. A member differs from the base member in one factor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from icl_core.errors import UnknownNameError

__all__ = ["MEMBERS", "Mixture", "SuiteMember", "TrainingPhase", "get_member", "member_and_seed"]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Share of documents of each kind (``language.DocumentKind``); sums to 1."""

    knowledge: float
    knowledge_lists: float
    natural_lists: float
    symbol_lists: float
    repetition: float
    permuted_lists: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingPhase:
    """A phase of the curriculum.

    Attributes:
        name: shown beside the shaded stretch.
        end_step: last optimizer step of the phase.
        mixture: share of documents of each kind.
        label_noise: share of natural labels redrawn in knowledge and natural lists, in [0, 1].
    """

    name: str
    end_step: int
    mixture: Mixture
    label_noise: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteMember:
    """The configuration of a training run, without seeds.

    Attributes:
        name: of the member's folder and of the model in the app.
        title: one line for the user.
        factor: the factor in which it differs from the base member, "" for the base.
        phases: the curriculum, ascending ``end_step``; the last one ends the training.
        checkpoint_steps: steps whose weights are kept; 0 is the untrained model.
        width, n_layers, n_heads: LlamaForCausalLM's hidden size (the MLP is twice as wide), layers, heads.
        rope_theta: base of the rotary frequencies.
        init_std: standard deviation of all weight matrices at the start.
        attention_bias_std: standard deviation of the query and key biases at the start.
        previous_token_prior: strength of the hand-made positional prior: layer 0's query and key biases are set so
            that head j looks about j tokens back; 0 for none.
        n_documents: number of unique documents in each phase, read again and again; None for always fresh documents.
        p_label_words: share of symbol lists whose arbitrary names are natural label words.
        context_length, batch_size: tokens of a document; documents of a step.
        learning_rate, weight_decay, betas, max_gradient_norm: AdamW.
        n_warmup_steps, n_decay_steps: the learning rate rises linearly, stays, and finally falls linearly to a tenth.
    """

    name: str
    title: str
    factor: str
    phases: tuple[TrainingPhase, ...]
    checkpoint_steps: tuple[int, ...]
    width: int = 64
    n_layers: int = 2
    n_heads: int = 4
    rope_theta: float = 10_000.0
    init_std: float = 0.1
    attention_bias_std: float = 0.0
    previous_token_prior: float = 6.0
    n_documents: int | None = None
    p_label_words: float = 0.15
    context_length: int = 104
    batch_size: int = 16
    learning_rate: float = 5e-3
    n_warmup_steps: int = 100
    n_decay_steps: int = 1100
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    max_gradient_norm: float = 1.0

    @property
    def n_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.phases[-1].end_step

    @property
    def tokens_per_step(self) -> int:
        """Training tokens of one step."""
        return self.context_length * self.batch_size


_KNOWLEDGE_FIRST = Mixture(0.20, 0.15, 0.10, 0.30, 0.25)
_LISTS = Mixture(0.02, 0.02, 0.26, 0.50, 0.20)
_GRID = (0, 220, 440, 660, 880, 990, 1100, 1210, 1320, 1430, 1540, 1760, 1980, 2200, 2530, 2860, 3300)
"""17 checkpoints, densest where task learning appears in the base member."""

_MIXED = Mixture(0.08, 0.0633, 0.2067, 0.4333, 0.2167)
"""The base member's mixture averaged over its two phases."""


def _two_phases(first: Mixture, second: Mixture, *, label_noise: float = 0.0) -> tuple[TrainingPhase, TrainingPhase]:
    return (
        TrainingPhase("knowledge first", 1100, first, label_noise=label_noise),
        TrainingPhase("lists", 3300, second),
    )


_BASE = SuiteMember(
    name="tiny-base",
    title="Base: knowledge first, then lists",
    factor="",
    phases=_two_phases(_KNOWLEDGE_FIRST, _LISTS),
    checkpoint_steps=_GRID,
)


def _variant(name: str, title: str, factor: str, **knobs: Any) -> SuiteMember:
    return replace(_BASE, name=name, title=title, factor=factor, **knobs)


MEMBERS: Mapping[str, SuiteMember] = MappingProxyType(
    {
        member.name: member
        for member in (
            _BASE,
            _variant("tiny-narrow", "Size: width 32", "size", width=32),
            _variant("tiny-wide", "Size: width 96", "size", width=96),
            _variant("tiny-1k-documents", "Data: 1,000 documents a phase", "documents", n_documents=1_000),
            _variant("tiny-8k-documents", "Data: 8,000 documents a phase", "documents", n_documents=8_000),
            _variant(
                "tiny-noisy-first",
                "Quality: noisy labels first, then clean",
                "quality",
                phases=_two_phases(_KNOWLEDGE_FIRST, _LISTS, label_noise=0.6),
            ),
            _variant(
                "tiny-one-phase",
                "Order: one mixture throughout",
                "order",
                phases=(TrainingPhase("mixed", 3300, _MIXED),),
            ),
            _variant(
                "tiny-permuted-lists",
                "Lists: a fifth of the lists permute natural labels",
                "permuted",
                phases=_two_phases(
                    replace(_KNOWLEDGE_FIRST, symbol_lists=0.24, permuted_lists=0.06),
                    replace(_LISTS, symbol_lists=0.40, permuted_lists=0.10),
                ),
            ),
            _variant(
                "tiny-no-symbols",
                "Null: no list with arbitrary names",
                "null",
                phases=_two_phases(
                    replace(_KNOWLEDGE_FIRST, natural_lists=0.40, symbol_lists=0.0),
                    replace(_LISTS, natural_lists=0.76, symbol_lists=0.0),
                ),
            ),
        )
    }
)
"""The suite: a base member, and members that differ from it in one factor each."""


SHIPPED_SEED = 1
"""Training seed of the runs whose weights are shipped; these models have the members' names."""


def get_member(name: str) -> SuiteMember:
    """The member of this name.

    Raises:
        UnknownNameError: no such member; the message lists the known ones.
    """
    if name not in MEMBERS:
        raise UnknownNameError(f"There is no suite member {name!r}; the members are {', '.join(MEMBERS)}.")
    return MEMBERS[name]


def member_and_seed(model: str) -> tuple[str, int] | None:
    """Member and training seed from a model's name; None for a model that is not a run of the suite.

    >>> member_and_seed("tiny-wide"), member_and_seed("tiny-wide-seed-3"), member_and_seed("pythia-1b")
    (('tiny-wide', 1), ('tiny-wide', 3), None)
    """
    match = re.fullmatch(r"(?P<member>.+?)(?:-seed-(?P<seed>\d+))?", model)
    if match is None or match["member"] not in MEMBERS:
        return None
    return match["member"], int(match["seed"] or SHIPPED_SEED)
