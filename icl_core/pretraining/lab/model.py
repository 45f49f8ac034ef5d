"""The lab's transformer: alternating tokens of exemplars and labels, pre-LayerNorm, one prediction at the query.

It draws no data and trains nothing. The architecture is that of arXiv 2503.05631, section 2 (in the authors' code: 2
layers, 8 heads, learned absolute positions, untied unembedding), with options for MLPs, other positions and tied
labels. Dimensions: n sequences, P pairs, T = 2 P + 1 tokens, H heads.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from icl_core.pretraining.lab.config import DecayPart, LabConfig

__all__ = ["Block", "LabTransformer", "build_model", "graft", "part_of_parameter"]

_INIT_STREAM = 2
_MLP_RATIO = 4
_NORMAL_STD = {"label_embedding.weight": 1.0, "positions": 0.1}


class Block(nn.Module):
    """Causal attention and, if asked for, an MLP, each reading a LayerNorm of the stream and adding to it."""

    def __init__(self, width: int, n_heads: int, *, has_mlp: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.has_mlp = has_mlp
        if has_mlp:
            self.mlp_norm = nn.LayerNorm(width)
            self.mlp_in = nn.Linear(width, _MLP_RATIO * width)
            self.mlp_out = nn.Linear(_MLP_RATIO * width, width)

    def forward(self, stream: Tensor, *, last_only: bool = False) -> Tensor:
        """The stream after the block, (n, T, width), or (n, 1, width) of the last token alone."""
        queries, keys, values = self._heads(self.attention_norm(stream))
        if last_only:
            queries, stream = queries[:, :, -1:], stream[:, -1:]
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=not last_only)
        return self._add(stream, mixed)

    def forward_with_attention(self, stream: Tensor) -> tuple[Tensor, Tensor]:
        """The stream after the block, (n, T, width), and the attention, (n, H, T, T), whose rows sum to 1."""
        queries, keys, values = self._heads(self.attention_norm(stream))
        scores = queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5
        mask = torch.full(scores.shape[-2:], -torch.inf).triu(1)
        attention = (scores + mask).softmax(dim=-1)
        return self._add(stream, attention @ values), attention

    def _add(self, stream: Tensor, mixed: Tensor) -> Tensor:
        """The stream after adding the heads' output, (n, H, T, width / H), and the MLP's output."""
        stream = stream + self.attention_out(mixed.transpose(1, 2).flatten(2))
        if self.has_mlp:
            stream = stream + self.mlp_out(functional.gelu(self.mlp_in(self.mlp_norm(stream))))
        return stream

    def _heads(self, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (n, H, T, width / H)."""
        n, n_tokens, width = normed.shape
        split = self.attention_in(normed).view(n, n_tokens, 3, self.n_heads, width // self.n_heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        return queries, keys, values


class LabTransformer(nn.Module):
    """The model of a lab run; see the module's text."""

    fixed_positions: Tensor

    def __init__(self, config: LabConfig) -> None:
        super().__init__()
        data, width = config.data, config.width
        n_tokens = 2 * data.n_pairs + 1
        self.item_embedding = nn.Linear(data.n_dimensions, width, bias=False)
        self.label_embedding = nn.Embedding(data.n_labels, width)
        self.positions = nn.Parameter(torch.zeros(n_tokens, width)) if config.positions == "learned" else None
        fixed = _sinusoids(n_tokens, width) if config.positions == "sinusoidal" else torch.zeros(n_tokens, width)
        self.register_buffer("fixed_positions", fixed, persistent=False)
        self.blocks = nn.ModuleList(
            Block(width, config.n_heads, has_mlp=config.has_mlp) for _ in range(config.n_layers)
        )
        self.final_norm = nn.LayerNorm(width)
        self.unembedding = None if config.tied_labels else nn.Linear(width, data.n_labels, bias=False)

    def forward(self, items: Tensor, labels: Tensor) -> Tensor:
        """(n, L) logits of the query's label from (n, P + 1, D) items and (n, P) labels."""
        stream = self._embed(items, labels)
        for index, block in enumerate(self.blocks):
            stream = block(stream, last_only=index == len(self.blocks) - 1)
        return self._read(stream[:, -1])

    def forward_with_attention(self, items: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(n, L) logits, and (n, n_layers, H, T, T) attention of all tokens."""
        stream, attentions = self._embed(items, labels), []
        for block in self.blocks:
            stream, attention = cast(Block, block).forward_with_attention(stream)
            attentions.append(attention)
        return self._read(stream[:, -1]), torch.stack(attentions, dim=1)

    def _embed(self, items: Tensor, labels: Tensor) -> Tensor:
        embedded = self.item_embedding(items)
        pairs = torch.stack([embedded[:, :-1], self.label_embedding(labels)], dim=2).flatten(1, 2)
        positions = self.fixed_positions if self.positions is None else self.positions
        return torch.cat([pairs, embedded[:, -1:]], dim=1) + positions

    def _read(self, stream: Tensor) -> Tensor:
        weight = self.label_embedding.weight if self.unembedding is None else self.unembedding.weight
        return functional.linear(self.final_norm(stream), weight)


def _sinusoids(n_tokens: int, width: int) -> Tensor:
    """(T, width) sines and cosines of arXiv 1706.03762, section 3.5."""
    angles = torch.arange(n_tokens)[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


def build_model(config: LabConfig) -> LabTransformer:
    """The untrained model: every parameter is set from the seed of the weights.

    Ones and zeros for norms and biases; matrices uniform up to the inverse root of their inputs (PyTorch's default);
    label embeddings normal with 1, positions with .1.
    """
    with torch.random.fork_rng(devices=[]):
        model = LabTransformer(config)
    seed = int(np.random.PCG64([config.init_seed, _INIT_STREAM]).random_raw() >> 1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
            elif name in _NORMAL_STD:
                parameter.normal_(0.0, _NORMAL_STD[name], generator=generator)
            else:
                bound = parameter.shape[1] ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
    return model


def part_of_parameter(name: str) -> DecayPart | None:
    """The part of the model to which a parameter belongs, for weight decay; None for norms and biases."""
    if "norm" in name or name.endswith("bias"):
        return None
    if name.startswith("blocks."):
        return "attention" if ".attention_" in name else "mlp"
    return "unembedding" if name.startswith("unembedding") else "embeddings"


def graft(first: LabTransformer, second: LabTransformer, *, config: LabConfig) -> LabTransformer:
    """A model with the embeddings and first half of the layers of one model, and the rest of another.

    With two layers: the first model's layer 1, then the second model's layer 2. A tied output is the first model's.
    """
    model = LabTransformer(config)
    kept = config.n_layers // 2
    below = ("item_embedding.", "label_embedding.", "positions", *(f"blocks.{index}." for index in range(kept)))
    lower, upper = first.state_dict(), second.state_dict()
    merged = {name: (lower if name.startswith(below) else upper)[name] for name in upper}
    model.load_state_dict(merged)
    return model.eval()
