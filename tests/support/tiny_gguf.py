"""Tiny GGUF files made from tiny models, with whatever keys and tensors a case asks for, or leaves out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from tests.support.tiny_models import tiny_tokenizer

LLAMA_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""llama.cpp's names; Qwen2's are the same."""


def write_gguf(
    path: Path,
    model: Any,
    *,
    architecture: str = "llama",
    pre: str | None = "gpt-2",
    keys: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
    without: Sequence[str] = (),
    tokenizer: Callable[[gguf.GGUFWriter], None] | None = None,
) -> Path:
    """Writes a model of the Llama kind.

    Args:
        path: of the file.
        model: of transformers, tiny.
        architecture: ``llama`` (rotary dimensions are then neighbours, as llama.cpp has them) or ``qwen2``.
        pre: how its byte-level tokenizer splits text; None leaves the key out.
        keys: further keys, or other values; those without a dot before belong to the architecture.
        tensors: further tensors.
        without: tensors to leave out.
        tokenizer: writes another tokenizer than that of ``tiny_models``.
    """
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    stated: dict[str, Any] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.freq_base": float(config.rope_parameters["rope_theta"]),
        "vocab_size": config.vocab_size,
    }
    if architecture == "llama":
        stated["rope.dimension_count"] = config.hidden_size // config.num_attention_heads
    own = {key if key.split(".")[0] in _OTHERS else f"{architecture}.{key}": v for key, v in (keys or {}).items()}
    for key, value in ({f"{architecture}.{key}": v for key, v in stated.items()} | own).items():
        _add(writer, key, value)
    (tokenizer or (lambda writer: _write_tokenizer(writer, pre)))(writer)
    for name, tensor in model.state_dict().items():
        short, array = _named(name, tensor, config if architecture == "llama" else None)
        if short not in without and not (name == "lm_head.weight" and config.tie_word_embeddings):
            writer.add_tensor(short, array)
    for name, array in (tensors or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


_OTHERS = ("general", "tokenizer", "split", "adapter", "quantize")


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    adders: dict[type, Callable[[str, Any], None]] = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    adders[type(value)](key, value)


def _write_tokenizer(writer: gguf.GGUFWriter, pre: str | None) -> None:
    trained = json.loads(tiny_tokenizer().backend_tokenizer.to_str())["model"]
    vocabulary = sorted(trained["vocab"], key=trained["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token == "<|endoftext|>" else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(merge) for merge in trained["merges"]])
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def write_sentencepiece(writer: gguf.GGUFWriter, model_path: Path) -> None:
    """Writes the vocabulary of a SentencePiece model, as convert_hf_to_gguf.py does."""
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(str(model_path))
    indices = range(processor.vocab_size())
    kinds = {"is_unknown": 2, "is_control": 3, "is_byte": 6}
    writer.add_tokenizer_model("llama")
    writer.add_token_list([processor.id_to_piece(index) for index in indices])
    writer.add_token_scores([processor.get_score(index) for index in indices])
    writer.add_token_types(
        [next((kind for name, kind in kinds.items() if getattr(processor, name)(index)), 1) for index in indices]
    )
    writer.add_bos_token_id(processor.bos_id())
    writer.add_eos_token_id(processor.eos_id())
    writer.add_unk_token_id(processor.unk_id())


def _named(name: str, tensor: torch.Tensor, config: Any | None) -> tuple[str, np.ndarray]:
    array = tensor.detach().float().numpy().copy()
    if config is not None and ("q_proj" in name or "k_proj" in name):
        n_heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        array = array.reshape(n_heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
    stem, _, kind = name.rpartition(".")
    if stem.startswith("model.layers."):
        _, _, layer, rest = stem.split(".", 3)
        return f"blk.{layer}.{LLAMA_NAMES[rest]}.{kind}", array
    return f"{LLAMA_NAMES[stem]}.{kind}", array
