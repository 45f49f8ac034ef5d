"""Translates configuration and weights of checkpoints to native classes, so that no code of a repository is needed.

It changes names, splits fused matrices and sets scales; it neither reads files nor builds models. A translation claims
that two architectures are the same. So tests compare each with an independent forward pass, and loading is strict.

Sources: MiniCPM https://huggingface.co/openbmb/MiniCPM-2B-history (its scales are Granite's multipliers); Baichuan2
https://github.com/hiyouga/LLaMA-Factory (llamafy_baichuan2.py); OLMo https://github.com/allenai/OLMo
(scripts/convert_olmo_to_hf_new.py); CrystalCoder ``models.crystalcoder``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from transformers import GraniteConfig, LlamaConfig, OlmoConfig, PreTrainedConfig

from icl_core.errors import CheckpointError, UnknownNameError
from icl_core.models.crystalcoder import CrystalCoderConfig

__all__ = ["REMAPS", "Remap", "get_remap"]

StateDict = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Remap:
    """One translation.

    Attributes:
        config: from the checkpoint's config.json to the native configuration.
        weights: from the checkpoint's state dict to the native one; empties its argument, so that the two are never in
            memory together.
    """

    config: Callable[[Mapping[str, Any]], PreTrainedConfig]
    weights: Callable[[StateDict, PreTrainedConfig], StateDict]


def get_remap(name: str) -> Remap:
    """The translation of this name.

    Raises:
        UnknownNameError: the message lists the known ones.
    """
    if name not in REMAPS:
        raise UnknownNameError(f"Unknown remap {name!r}; known are {', '.join(REMAPS)}.")
    return REMAPS[name]


def _without_buffers(state: StateDict) -> StateDict:
    """Drops tables that are computed and not learned."""
    return {name: tensor for name, tensor in state.items() if not re.search(r"(inv_freq|cos_cached|sin_cached)$", name)}


def _without_tied_head(state: StateDict, embeddings: str = "model.embed_tokens.weight") -> StateDict:
    """Drops an output layer that repeats the embeddings, and refuses one that does not."""
    head = state.pop("lm_head.weight", None)
    if head is not None and not torch.equal(head, state[embeddings]):
        raise CheckpointError("lm_head.weight differs from the embeddings although the configuration ties them.")
    return state


def _refuse_other(source: Mapping[str, Any], **translated: Any) -> None:
    """Refuses settings that the native class computes differently; an absent setting has its usual value."""
    for name, value in translated.items():
        values = value if isinstance(value, tuple) else (value,)
        if name in source and source[name] not in values:
            raise CheckpointError(
                f"{name} is {source[name]!r} in config.json, but this remap only knows {values[0]!r}."
            )


# --- MiniCPM -------------------------------------------------------------------------------------------------------


def _minicpm_config(source: Mapping[str, Any]) -> GraniteConfig:
    """Granite with MiniCPM's three scales and the usual 1 / sqrt(head size)."""
    _refuse_other(source, hidden_act="silu", attention_bias=False, num_experts=(0, None))
    hidden, n_layers, n_heads = source["hidden_size"], source["num_hidden_layers"], source["num_attention_heads"]
    return GraniteConfig(
        vocab_size=source["vocab_size"],
        hidden_size=hidden,
        intermediate_size=source["intermediate_size"],
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        num_key_value_heads=source.get("num_key_value_heads") or n_heads,
        max_position_embeddings=source.get("max_position_embeddings", 4096),
        rms_norm_eps=source.get("rms_norm_eps", 1e-5),
        rope_parameters=_plain_rope(source),
        tie_word_embeddings=source.get("tie_word_embeddings", True),
        embedding_multiplier=float(source.get("scale_emb", 12)),
        residual_multiplier=source.get("scale_depth", 1.4) / math.sqrt(n_layers),
        logits_scaling=hidden / source.get("dim_model_base", 256),
        attention_multiplier=(hidden // n_heads) ** -0.5,
        bos_token_id=source.get("bos_token_id", 1),
        eos_token_id=source.get("eos_token_id", 2),
    )


def _plain_rope(source: Mapping[str, Any]) -> dict[str, Any]:
    if source.get("rope_scaling"):
        raise CheckpointError("Scaled rotary positions (rope_scaling) are not part of this remap.")
    return {"rope_type": "default", "rope_theta": float(source.get("rope_theta", 10000.0))}


def _llama_names(state: StateDict, config: PreTrainedConfig) -> StateDict:
    state = _without_buffers(state)
    return _without_tied_head(state) if config.tie_word_embeddings else state


# --- Baichuan2 -----------------------------------------------------------------------------------------------------


_FIRST_BAICHUAN_VOCABULARY = 64000
_WIDTH_OF_13B = 5120


def _baichuan2_config(source: Mapping[str, Any]) -> LlamaConfig:
    """Llama, for the 7B model alone: the 13B model has the same tensors, but ALiBi (baichuan-inc/Baichuan2#114)."""
    if source["hidden_size"] == _WIDTH_OF_13B or "max_position_embeddings" not in source:
        raise CheckpointError(
            "config.json is of the Baichuan model with ALiBi (13B: 5120 wide, or without max_position_embeddings), "
            "which this remap does not know."
        )
    if source["vocab_size"] == _FIRST_BAICHUAN_VOCABULARY:
        raise CheckpointError("config.json is of the first Baichuan, whose output layer this remap does not know.")
    _refuse_other(source, hidden_act="silu")
    return LlamaConfig(
        vocab_size=source["vocab_size"],
        hidden_size=source["hidden_size"],
        intermediate_size=source["intermediate_size"],
        num_hidden_layers=source["num_hidden_layers"],
        num_attention_heads=source["num_attention_heads"],
        max_position_embeddings=source.get("max_position_embeddings", 4096),
        rms_norm_eps=source.get("rms_norm_eps", 1e-6),
        rope_parameters=_plain_rope(source),
        tie_word_embeddings=False,
        pad_token_id=source.get("pad_token_id", 0),
        bos_token_id=source.get("bos_token_id", 1),
        eos_token_id=source.get("eos_token_id", 2),
    )


def _baichuan2_weights(state: StateDict, config: PreTrainedConfig) -> StateDict:
    """Splits W_pack into query, key and value, and normalises each row of the output layer (NormHead)."""
    state = _without_buffers(state)
    for name in [name for name in state if name.endswith("self_attn.W_pack.weight")]:
        parts = state.pop(name).chunk(3, dim=0)
        for kind, part in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
            state[name.replace("W_pack", kind)] = part
    state["lm_head.weight"] = torch.nn.functional.normalize(state["lm_head.weight"].float())
    return state


# --- OLMo ----------------------------------------------------------------------------------------------------------


def _olmo_config(source: Mapping[str, Any]) -> OlmoConfig:
    _refuse_other(
        source,
        rope=True,
        alibi=False,
        activation_type="swiglu",
        layer_norm_type=("default", "low_precision"),
        layer_norm_with_affine=False,
        attention_layer_norm=False,
        block_type="sequential",
        scale_logits=False,
    )
    hidden = source["d_model"]
    inner = source.get("mlp_hidden_size") or source["mlp_ratio"] * hidden
    eos = source.get("eos_token_id")
    return OlmoConfig(
        vocab_size=source.get("embedding_size") or source["vocab_size"],
        hidden_size=hidden,
        intermediate_size=inner // 2,
        num_hidden_layers=source["n_layers"],
        num_attention_heads=source["n_heads"],
        num_key_value_heads=source.get("n_kv_heads") or source["n_heads"],
        max_position_embeddings=source["max_sequence_length"],
        rope_parameters=_plain_rope(source),
        clip_qkv=source.get("clip_qkv"),
        tie_word_embeddings=source.get("weight_tying", False),
        pad_token_id=source.get("pad_token_id", 1),
        bos_token_id=None,
        eos_token_id=eos if eos else 50279,  # early configurations say 0, which is not the end of text
    )


_OLMO_NAMES = {
    "attn_out.weight": "self_attn.o_proj.weight",
    "ff_out.weight": "mlp.down_proj.weight",
}


def _olmo_weights(state: StateDict, config: PreTrainedConfig) -> StateDict:
    """Splits fused query/key/value and up/gate matrices and renames the rest; the norms have no weights."""
    state = {name.removeprefix("model."): tensor for name, tensor in _without_buffers(state).items()}
    head = config.hidden_size // config.num_attention_heads
    sizes = [config.hidden_size, config.num_key_value_heads * head, config.num_key_value_heads * head]
    native: StateDict = {"model.embed_tokens.weight": state.pop("transformer.wte.weight")}
    if not config.tie_word_embeddings:
        native["lm_head.weight"] = state.pop("transformer.ff_out.weight")
    for layer in range(config.num_hidden_layers):
        old, new = f"transformer.blocks.{layer}.", f"model.layers.{layer}."
        parts = torch.split(state.pop(f"{old}att_proj.weight"), sizes)
        for kind, part in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
            native[f"{new}self_attn.{kind}.weight"] = part
        for kind, part in zip(("up_proj", "gate_proj"), state.pop(f"{old}ff_proj.weight").chunk(2), strict=True):
            native[f"{new}mlp.{kind}.weight"] = part
        for old_name, new_name in _OLMO_NAMES.items():
            native[new + new_name] = state.pop(old + old_name)
    return native | state  # a leftover makes the strict load fail and is named there


# --- CrystalCoder --------------------------------------------------------------------------------------------------


def _crystalcoder_config(source: Mapping[str, Any]) -> CrystalCoderConfig:
    _refuse_other(
        source,
        activation_function="swiglu",
        position_embedding_type="rotary",
        scale_attn_by_inverse_layer_idx=False,
        add_cross_attention=False,
    )
    known = {name: value for name, value in source.items() if name in CrystalCoderConfig.__annotations__}
    return CrystalCoderConfig(**known)


def _crystalcoder_weights(state: StateDict, config: PreTrainedConfig) -> StateDict:
    """Drops causal-mask buffers and the tied output layer; the names are already native."""
    state = {
        name: tensor
        for name, tensor in _without_buffers(state).items()
        if not re.search(r"\.attn\.(masked_)?bias$", name)
    }
    return _without_tied_head(state, "transformer.wte.weight")


REMAPS: Mapping[str, Remap] = MappingProxyType(
    {
        "minicpm_to_granite": Remap(_minicpm_config, _llama_names),
        "baichuan2_to_llama": Remap(_baichuan2_config, _baichuan2_weights),
        "olmo_to_native": Remap(_olmo_config, _olmo_weights),
        "crystalcoder": Remap(_crystalcoder_config, _crystalcoder_weights),
    }
)
