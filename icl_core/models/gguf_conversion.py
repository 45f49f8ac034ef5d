"""Converts a GGUF file into a folder of float32 weights, configuration and tokenizer, without loss.

transformers reads the weights and the commonest settings of a file and silently ignores the rest. Here every key of the
file's architecture has to be in the configuration, every tensor has to be in the model, and the tokenizer has to split
text as the file asks. A file with anything else is refused by name. Sources: llama.cpp, src/llama-vocab.cpp (how texts
are split), src/llama-arch.cpp (keys) and convert_hf_to_gguf.py (the rotary factors of Llama 3.1). Public cases:
vllm#7268 (rotary scaling), transformers#31630 (splitting of digits).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from icl_core.errors import CheckpointError
from icl_core.models.building import build_accounted, model_class_of, refuse_unaccounted
from icl_core.models.gguf_file import ROPE_FREQUENCIES, GgufHeader, read_gguf_header
from icl_core.models.weights import first_line

__all__ = ["convert_gguf"]

_FILE = "model.gguf"
_FLOAT32 = 0


def convert_gguf(path: Path, folder: Path) -> None:
    """Writes the folder.

    Args:
        path: the GGUF file; nothing beside it is read.
        folder: is created; the caller removes it if this fails.

    Raises:
        CheckpointError: the file is damaged, of an unknown architecture, or holds something that would be lost.
    """
    header = read_gguf_header(path)
    with tempfile.TemporaryDirectory() as alone:
        # In a folder of its own, so that no config.json, tokenizer or adapter beside the file is read.
        Path(alone, _FILE).symlink_to(path.resolve())
        try:
            tokenizer = _tokenizer(Path(alone, _FILE), header, path)
            model = _model(Path(alone), header, str(path))
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        except (CheckpointError, OSError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # each library fails in its own way
            raise CheckpointError(f"{path} cannot be converted: {first_line(error)}.") from error


# --- weights ---------------------------------------------------------------------------------------------------------


def _model(folder: Path, header: GgufHeader, where: str) -> Any:
    from transformers import AutoConfig, GgufConfig

    config = AutoConfig.from_pretrained(folder, gguf_file=_FILE, local_files_only=True, trust_remote_code=False)
    _carry_over(config, header, path=folder / _FILE, where=where)
    _refuse_unknown_keys(config, header, where)
    model_class = model_class_of(config)
    model, info = build_accounted(
        model_class,
        folder,
        config=config,
        gguf_file=_FILE,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
        local_files_only=True,
        sizes=[math.prod(shape) for shape in header.shapes.values()],
        where=where,
    )
    refuse_unaccounted(model, info, {}, where=where)
    _refuse_unread_tensors(model, header, where)
    _forget_quantization(model)
    return model


def _forget_quantization(model: Any) -> None:
    """Marks the weights as plain float32, which they are by now; else saving refuses them as quantised."""
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _refuse_unread_tensors(model: Any, header: GgufHeader, where: str) -> None:
    """Refuses a file with tensors that transformers ignores because it does not know their names."""
    from transformers.integrations.gguf import is_gguf_arch_supported
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

    if is_gguf_arch_supported(header.architecture):
        return  # its newer reader reports such tensors like those of any other file
    processor = TENSOR_PROCESSORS.get(header.architecture, TensorProcessor)(config=model.config.to_dict())
    placed = get_gguf_hf_weights_map(model, processor).keys() | {ROPE_FREQUENCIES}
    if header.architecture == "gpt2":
        placed = placed | {"output.weight"}
    unread = sorted(name for name in header.shapes if not {name, name.removesuffix(".weight")} & placed)
    if unread:
        raise CheckpointError(
            f"{where}: {len(unread)} tensors of the file have no place in a {header.architecture} model of "
            f"transformers: {', '.join(unread[:3])}{' and more' if len(unread) > 3 else ''}; give the model as "
            "safetensors."
        )


# --- settings --------------------------------------------------------------------------------------------------------


def _carry_over(config: Any, header: GgufHeader, *, path: Path, where: str) -> None:
    """Sets what transformers leaves out and a configuration can say: scaled rotary positions, the context length."""
    if header.context_length:
        config.max_position_embeddings = header.context_length
    scaling = _rope_scaling(header, where)
    if ROPE_FREQUENCIES in header.shapes:
        if scaling:
            raise CheckpointError(f"{where}: rotary factors together with rotary scaling cannot be converted.")
        scaling = _rope_factors(path, header)
    if scaling:
        _scale_rope(config, scaling, where)


def _rope_scaling(header: GgufHeader, where: str) -> dict[str, Any]:
    """The scaling of rotary positions as a configuration writes it, empty if there is none."""
    prefix = f"{header.architecture}.rope.scaling."
    own = {key.removeprefix(prefix): value for key, value in header.metadata.items() if key.startswith(prefix)}
    factor, original = float(own.pop("factor", 0) or 1), own.pop("original_context_length", None)
    kind = own.pop("type", "linear")
    if own.pop("attn_factor", 1) != 1:
        own["attn_factor"] = "other than 1"
    own.pop("finetuned", None)
    lost = sorted(name for name, value in own.items() if value)
    if lost or kind not in ("none", "linear", "yarn") or (kind == "yarn" and not original):
        raise CheckpointError(
            f"{where}: its scaling of rotary positions ({', '.join([str(kind)[:40], *lost])}) cannot be converted; "
            "give the model as safetensors."
        )
    if kind == "none" or factor == 1:
        return {}
    return {"rope_type": kind, "factor": factor} | ({"original_max_position_embeddings": original} if original else {})


def _rope_factors(path: Path, header: GgufHeader) -> dict[str, Any]:
    """The configuration for the factors by which a file divides each rotary frequency (Llama 3.1).

    It is called ``longrope`` there: factors for short and for long texts, which are the same here.
    """
    (kind, start), shape = header.places[ROPE_FREQUENCIES], header.shapes[ROPE_FREQUENCIES]
    if kind != _FLOAT32:
        raise CheckpointError(f"{path}: {ROPE_FREQUENCIES} is not in float32, as llama.cpp writes it.")
    factors = [float(factor) for factor in np.fromfile(path, dtype="<f4", count=math.prod(shape), offset=start)]
    if all(factor == 1.0 for factor in factors):
        return {}
    return {
        "rope_type": "longrope",
        "short_factor": factors,
        "long_factor": factors,
        "factor": 1.0,
        "attention_factor": 1.0,
        "original_max_position_embeddings": header.context_length,
    }


def _scale_rope(config: Any, scaling: Mapping[str, Any], where: str) -> None:
    plain = getattr(config, "rope_parameters", None) or {}
    own = plain.get("full_attention", plain)  # Gemma 3 scales the positions only in its layers with full attention
    if "rope_theta" not in own or own.get("rope_type", "default") != "default":
        raise CheckpointError(f"{where}: scaled rotary positions of a {config.model_type} model cannot be converted.")
    n_factors = len(scaling.get("short_factor", ()))
    if n_factors and 2 * n_factors != _rotary_size(config):
        raise CheckpointError(
            f"{where}: {ROPE_FREQUENCIES} has {n_factors} factors for {_rotary_size(config)} dimensions."
        )
    config.rope_parameters = (
        plain | {"full_attention": own | dict(scaling)} if own is not plain else own | dict(scaling)
    )


def _refuse_unknown_keys(config: Any, header: GgufHeader, where: str) -> None:
    """Refuses a key that neither follows from the tensors' shapes nor stands in the configuration with its value."""
    prefix = f"{header.architecture}."
    for key, value in header.metadata.items():
        name = key.removeprefix(prefix)
        if not key.startswith(prefix) or name in _PROVED_BY_SHAPES or name.startswith("rope.scaling."):
            continue
        found = _SAYS[name](config) if name in _SAYS else None
        if name == "attention.sliding_window" and value >= header.context_length > 0:
            continue
        if not _is_same(value, found):
            says = "has no such setting" if found is None else f"says {found}"
            raise CheckpointError(
                f"{where}: {key} is {str(value)[:40]}, but the model that transformers builds from it {says}; give the "
                "model as safetensors."
            )


_PROVED_BY_SHAPES = frozenset(
    {
        "block_count",
        "embedding_length",
        "expert_feed_forward_length",
        "expert_shared_feed_forward_length",
        "feed_forward_length",
        "vocab_size",
        "context_length",
        "tensor_data_layout",
    }
)
"""Keys that change no number, or whose values the tensors' shapes prove."""


def _first(*names: str) -> Callable[[Any], Any]:
    """The first of these attributes that a configuration has."""
    return lambda config: next((value for name in names if (value := getattr(config, name, None)) is not None), None)


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _scaled_size(config: Any) -> int:
    """The head size by whose root the scores are divided; the larger Gemma models use another number."""
    return int(getattr(config, "query_pre_attn_scalar", None) or _head_size(config))


def _rotary_size(config: Any) -> int:
    rope = getattr(config, "rope_parameters", None) or {}
    share = rope.get("partial_rotary_factor") or getattr(config, "partial_rotary_factor", None) or 1.0
    return int(_head_size(config) * share)


def _rope_base(config: Any) -> Any:
    rope = getattr(config, "rope_parameters", None) or {}
    return rope.get("full_attention", rope).get("rope_theta")


def _n_key_value_heads(config: Any) -> Any:
    if getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", False):
        return 1
    return _first("num_key_value_heads", "num_kv_heads", "num_attention_heads")(config)


def _window(config: Any) -> Any:
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"]
    return getattr(config, "sliding_window", None) if "sliding_attention" in kinds else None


_SAYS: Mapping[str, Callable[[Any], Any]] = {
    "attention.causal": lambda config: True,
    "attention.head_count": _first("num_attention_heads"),
    "attention.head_count_kv": _n_key_value_heads,
    "attention.key_length": _scaled_size,
    "attention.value_length": _head_size,
    "attention.layer_norm_epsilon": _first("layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"),
    "attention.layer_norm_rms_epsilon": _first("rms_norm_eps", "norm_eps", "layer_norm_epsilon"),
    "attention.sliding_window": _window,
    "attn_logit_softcapping": _first("attn_logit_softcapping"),
    "final_logit_softcapping": _first("final_logit_softcapping"),
    "expert_count": lambda config: _first("num_experts", "num_local_experts")(config) or 0,
    "expert_used_count": lambda config: _first("num_experts_per_tok")(config) or 0,
    "logit_scale": _first("logit_scale"),
    "rope.dimension_count": _rotary_size,
    "rope.freq_base": _rope_base,
    "rope.scale_linear": lambda config: 1.0,
    "use_parallel_residual": _first("use_parallel_residual"),
    "ssm.conv_kernel": _first("conv_kernel"),
    "ssm.inner_size": _first("intermediate_size"),
    "ssm.state_size": _first("state_size"),
    "ssm.time_step_rank": _first("time_step_rank"),
    "ssm.dt_b_c_rms": lambda config: False,
}
"""How a configuration states each key that can be converted."""


def _is_same(value: Any, found: Any) -> bool:
    if found is None and not isinstance(value, str | tuple):
        return bool(value == 0)  # a count, factor or flag of 0 means the same as no entry
    if isinstance(value, tuple):  # one number per layer
        return bool(value) and all(_is_same(each, found) for each in value)
    if isinstance(value, float) and isinstance(found, int | float):
        return math.isclose(value, found, rel_tol=1e-5)
    return bool(value == found)


# --- tokenizer -------------------------------------------------------------------------------------------------------


def _tokenizer(alone: Path, header: GgufHeader, path: Path) -> Any:
    """The tokenizer that the file describes, split as it says, with its special tokens."""
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

    stated = [key for key, value in header.metadata.items() if value and key.startswith(_OF_TOKENIZER)]
    unknown = [key for key in stated if not _is_known(key)]
    if unknown:
        raise CheckpointError(f"{path}: {unknown[0]} cannot be converted; give the model as safetensors.")
    architecture, parts, settings = get_gguf_tokenizer(str(alone))
    backend, _ = convert_gguf_tokenizer(architecture, parts)
    kind = parts.get("tokenizer_type")
    if kind == "gpt2":
        begins = _split_like(backend, header, path)
    elif kind == "llama" and not architecture.startswith("gemma"):
        begins = True
        _treat_spaces(backend, header, path)
    else:
        begins = bool(settings.get("add_bos_token"))
    settings.setdefault("add_bos_token", begins and settings.get("bos_token") is not None)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **settings)


_OF_TOKENIZER = "tokenizer.ggml."
_KNOWN_OF_TOKENIZER = frozenset(
    {
        "model",
        "pre",
        "tokens",
        "token_type",
        "token_type_count",
        "scores",
        "merges",
        "add_bos_token",
        "add_eos_token",
        "add_space_prefix",
        "remove_extra_whitespaces",
        "suppress_tokens",
    }
)
"""Keys of a tokenizer that are converted, or on which encoding does not depend."""


def _is_known(key: str) -> bool:
    name = key.removeprefix(_OF_TOKENIZER)
    return name in _KNOWN_OF_TOKENIZER or name.endswith("_token_id")


def _treat_spaces(backend: Any, header: GgufHeader, path: Path) -> None:
    """Spaces as in SentencePiece: one is added before the text unless the file says otherwise, and none is removed."""
    from tokenizers import normalizers

    if header.metadata.get("tokenizer.ggml.remove_extra_whitespaces"):
        raise CheckpointError(f"{path}: tokenizer.ggml.remove_extra_whitespaces cannot be converted.")
    first = [normalizers.Prepend("▁")] if header.metadata.get("tokenizer.ggml.add_space_prefix", True) else []
    backend.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = None


def _split_like(backend: Any, header: GgufHeader, path: Path) -> bool:
    """Sets how a byte-level vocabulary splits text; gives whether a token is added at the start by default."""
    from tokenizers import Regex, normalizers, pre_tokenizers

    name = str(header.metadata.get("tokenizer.ggml.pre"))
    if name not in _SPLITTINGS:
        raise CheckpointError(
            f"{path}: its tokenizer splits text in a way that is not known here (tokenizer.ggml.pre: "
            f"{name[:40]!r}; known are {', '.join(_SPLITTINGS)}); give the model as safetensors."
        )
    splitting = _SPLITTINGS[name]
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if splitting.by_digit else []
    steps += [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in splitting.patterns]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not splitting.patterns))
    backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    backend.normalizer = normalizers.NFC() if splitting.composes else None
    backend.model.ignore_merges = splitting.takes_whole_words
    return splitting.begins_text


class _Splitting(NamedTuple):
    """How a byte-level vocabulary splits text before merging.

    Attributes:
        patterns: regular expressions; each splits the pieces that the one before left. Empty means GPT-2's.
        by_digit: each digit is a word of its own.
        composes: characters are composed first (NFC), as the model's own tokenizer does.
        takes_whole_words: a word that is itself a token stays whole; merges are not applied to it.
        begins_text: the token that begins a text is added unless the file says otherwise.
    """

    patterns: tuple[str, ...] = ()
    by_digit: bool = False
    composes: bool = False
    takes_whole_words: bool = False
    begins_text: bool = False


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
_THREE = "[0-9][0-9][0-9]"

_OF_GPT2 = _Splitting()
_OF_NEOX = _Splitting(composes=True)
_OF_STARCODER = _Splitting(by_digit=True)
_OF_LLAMA3 = _Splitting((_LLAMA3,), takes_whole_words=True, begins_text=True)

_SPLITTINGS: Mapping[str, _Splitting] = {
    "gpt-2": _OF_GPT2,
    "phi-2": _OF_GPT2,
    "olmo": _OF_NEOX,
    "mpt": _OF_NEOX,
    "smollm": _OF_STARCODER,
    "starcoder": _OF_STARCODER,
    "refact": _OF_STARCODER,
    "llama3": _OF_LLAMA3,
    "llama-v3": _OF_LLAMA3,
    "llama-bpe": _OF_LLAMA3,
    "falcon3": _OF_LLAMA3,
    "tekken": _Splitting((_TEKKEN,), takes_whole_words=True, begins_text=True),
    "qwen2": _Splitting((_QWEN2,), composes=True),
    "deepseek-r1-qwen": _Splitting((_QWEN2,)),
    "bloom": _Splitting((_BLOOM,)),
    "falcon": _Splitting((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, _THREE)),
    "default": _Splitting((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", _THREE)),
}
"""By ``tokenizer.ggml.pre``. Only these were compared with their source; files with another one are refused."""
