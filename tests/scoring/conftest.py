"""Tiny random models of the architectures that the project scores, and requests to score with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    OlmoConfig,
    PreTrainedModel,
    Qwen2Config,
)

from icl_core.models.crystalcoder import CrystalCoderConfig, CrystalCoderForCausalLM
from icl_core.records import EncodedRequest, LabelScores

N_VOCAB = 96
SIZES = {
    "vocab_size": N_VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": None,
}
CONFIGS = {
    "gpt_neox": lambda: GPTNeoXConfig(**SIZES),
    "llama": lambda: LlamaConfig(**SIZES, num_key_value_heads=4),
    "olmo": lambda: OlmoConfig(**SIZES, num_key_value_heads=4, clip_qkv=1.0),
    "gemma3": lambda: Gemma3TextConfig(
        **SIZES,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=12,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "gemma2": lambda: Gemma2Config(
        **SIZES, num_key_value_heads=2, head_dim=8, sliding_window=12, attn_logit_softcapping=5.0
    ),
    "granite": lambda: GraniteConfig(**SIZES, num_key_value_heads=2, logits_scaling=2.0, residual_multiplier=0.5),
    "qwen2": lambda: Qwen2Config(**SIZES, num_key_value_heads=2),
    "bloom": lambda: BloomConfig(
        vocab_size=N_VOCAB,
        hidden_size=32,
        n_layer=2,
        n_head=4,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=None,
    ),
    "crystalcoder": lambda: CrystalCoderConfig(
        vocab_size=N_VOCAB,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_inner=48,
        n_positions=256,
        rotary_dim=4,
        initializer_range=0.3,
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=N_VOCAB,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=256,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=None,
    ),
}


@pytest.fixture(scope="session")
def make_model() -> Callable[..., PreTrainedModel]:
    def make(architecture: str, dtype: torch.dtype = torch.float64, **changes: object) -> PreTrainedModel:
        torch.manual_seed(0)
        config = CONFIGS[architecture]()
        attention = "eager" if architecture == "gemma2" else None  # the fused kernels know no soft cap
        for name, value in changes.items():
            setattr(config, name, value)
        if architecture == "crystalcoder":
            model = CrystalCoderForCausalLM(config).to(dtype).eval()
        else:
            model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).to(dtype).eval()
        for parameter in model.parameters():  # biases too, so that nothing is left at zero
            parameter.data += 0.05 * torch.randn_like(parameter)
        return model

    return make


@pytest.fixture(scope="session")
def make_requests() -> Callable[..., list[EncodedRequest]]:
    """Unequal queries after a shared prefix; choices of one to three tokens that share beginnings."""

    def make(
        *, n_queries: int = 7, n_prefix: int = 30, seed: int = 0, choices: Sequence[Sequence[int]] | None = None
    ) -> list[EncodedRequest]:
        rng = np.random.default_rng(seed)
        prefix = rng.integers(0, N_VOCAB, n_prefix).tolist()
        shared_start = rng.integers(0, N_VOCAB, 2).tolist()
        continuations = choices if choices is not None else [(5,), (6, 7), (6, 8), (9, 10, 11), (6,)]
        requests = []
        for query in range(n_queries):
            tokens = rng.integers(0, N_VOCAB, int(rng.integers(1, 12))).tolist()
            start = shared_start if query % 3 == 0 else []
            requests.append(EncodedRequest((*prefix, *start, *tokens), tuple(map(tuple, continuations))))
        return requests

    return make


@pytest.fixture(scope="session")
def largest_difference() -> Callable[[Sequence[LabelScores], Sequence[LabelScores]], float]:
    """Largest absolute difference of two sets of scores, nats."""

    def compare(first: Sequence[LabelScores], second: Sequence[LabelScores]) -> float:
        assert len(first) == len(second)
        return max(float(np.abs(a.loglikelihoods - b.loglikelihoods).max()) for a, b in zip(first, second, strict=True))

    return compare
