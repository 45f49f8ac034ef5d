"""The shape of a model from its configuration, and the resulting operations and bytes.

It loads no weights and needs no torch. Counting as in Kaplan et al. 2020 (arXiv 2001.08361, section 2.1): a forward
pass costs 2 operations for each non-embedding parameter and token. Attention over the context is added, and the output
layer at the positions that are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icl_core.errors import CheckpointError
from icl_core.records import EncodedRequest
from icl_core.sequences import n_common_of_all

__all__ = ["ModelShape", "WorkCount", "count_work", "prompt_flops", "shape_of_config", "work_flops"]

_PLAIN_MLP = (
    "gpt_neox",
    "gpt2",
    "gptj",
    "gpt_neo",
    "gpt_bigcode",
    "bloom",
    "opt",
    "phi",
    "falcon",
    "starcoder2",
    "mpt",
)
"""Architectures whose feed-forward block has two matrices; all others are assumed to be gated, with three."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The numbers that decide the cost of a forward pass.

    Attributes:
        n_non_embedding: parameters of attention and feed-forward matrices, without the output layer.
        n_parameters: all parameters.
        n_layers, hidden_size, n_vocab: of the model; 0 if only the number of parameters is known.
        attention_size: heads x head dimension. key_value_size: the same for keys and values.
    """

    n_non_embedding: int
    n_parameters: int
    n_layers: int = 0
    hidden_size: int = 0
    n_vocab: int = 0
    attention_size: int = 0
    key_value_size: int = 0

    @property
    def key_value_bytes(self) -> int:
        """Count of the numbers in keys and values of one token."""
        return 2 * self.n_layers * self.key_value_size


@dataclass(frozen=True, slots=True)
class WorkCount:
    """Tokens of one cell.

    Attributes:
        n_queries: prompts, with the content-free one.
        prefix_tokens: tokens of the demonstrations, computed once.
        query_tokens: tokens after the prefix over all queries and labels, each computed once.
        read_positions: positions whose next-token probabilities are read.
    """

    n_queries: int
    prefix_tokens: float
    query_tokens: float
    read_positions: float

    @property
    def unique_tokens(self) -> float:
        """Tokens that go through the model."""
        return self.prefix_tokens + self.query_tokens

    @property
    def mean_prompt_tokens(self) -> float:
        """Tokens of one whole prompt by itself."""
        return self.prefix_tokens + self.query_tokens / max(self.n_queries, 1)


def shape_of_config(config: Mapping[str, Any]) -> ModelShape:
    """The shape that a ``config.json`` describes.

    Raises:
        CheckpointError: the configuration lacks width, depth or vocabulary.

    >>> shape_of_config({"model_type": "gpt_neox", "hidden_size": 512, "num_hidden_layers": 6, "vocab_size": 50304,
    ...                  "intermediate_size": 2048, "num_attention_heads": 8}).n_non_embedding
    18874368
    """
    text = config.get("text_config")
    config = text if isinstance(text, dict) and text else config
    width = _first(config, "hidden_size", "n_embd", "d_model", "dim_model")
    n_layers = _first(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    n_vocab = _first(config, "vocab_size")
    if not (width and n_layers and n_vocab):
        raise CheckpointError("The checkpoint's config.json lacks hidden_size, num_hidden_layers or vocab_size.")
    n_heads = _first(config, "num_attention_heads", "n_head", "n_heads") or 1
    head_size = _first(config, "head_dim") or width // n_heads
    attention_size = n_heads * head_size
    key_value_size = (_first(config, "num_key_value_heads") or n_heads) * head_size
    inner = _first(config, "intermediate_size", "n_inner", "ffn_dim") or 4 * width
    n_matrices = 2 if config.get("model_type") in _PLAIN_MLP else 3
    per_layer = width * (2 * attention_size + 2 * key_value_size + n_matrices * inner)
    tied = config.get("tie_word_embeddings", config.get("model_type") in ("gpt2", "bloom", "opt"))
    embeddings = n_vocab * width * (1 if tied else 2)
    n_non_embedding = n_layers * per_layer
    return ModelShape(
        n_non_embedding, n_non_embedding + embeddings, n_layers, width, n_vocab, attention_size, key_value_size
    )


def _first(config: Mapping[str, Any], *names: str) -> int:
    return next((config[name] for name in names if type(config.get(name)) is int and config[name] > 0), 0)


def work_flops(shape: ModelShape, work: WorkCount) -> float:
    """Floating-point operations of a cell, with demonstrations computed once."""
    linear = 2.0 * shape.n_non_embedding * work.unique_tokens
    tail = work.query_tokens / max(work.n_queries, 1)
    attended = work.prefix_tokens**2 / 2 + work.query_tokens * (work.prefix_tokens + tail / 2)
    attention = 4.0 * shape.n_layers * shape.attention_size * attended
    head = 2.0 * shape.hidden_size * shape.n_vocab * work.read_positions
    return linear + attention + head


def prompt_flops(shape: ModelShape, n_tokens: float) -> float:
    """Floating-point operations of one whole prompt computed alone, as arXiv 2406.14022 counts in its Table 1."""
    return work_flops(shape, WorkCount(1, 0.0, n_tokens, 1.0))


def count_work(requests: Sequence[EncodedRequest]) -> WorkCount:
    """Tokens of the requests of one cell, with the common prefix and shared beginnings of labels computed once.

    >>> count_work([EncodedRequest((1, 2, 3), ((4, 5), (4, 6))), EncodedRequest((1, 2, 7, 8), ((4,), (9,)))])
    WorkCount(n_queries=2, prefix_tokens=2, query_tokens=4, read_positions=3)
    """
    contexts = [request.context_ids for request in requests]
    n_prefix = min(n_common_of_all(contexts), *(len(context) - 1 for context in contexts))
    inner = [len({ids[:n] for ids in r.continuation_ids for n in range(1, len(ids))}) for r in requests]
    n_query_tokens = sum(len(context) - n_prefix for context in contexts) + sum(inner)
    return WorkCount(len(requests), n_prefix, n_query_tokens, len(requests) + sum(inner))
