"""A tiny random model of each decoder architecture of transformers, made by shrinking its default configuration.

Sizes are set by the name of the field, whatever the architecture; what does not build from that alone has its own
values in ``OWN``. ``sweep`` compares the engine with the reference on one of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest, LabelScores
from icl_core.scoring import reference
from icl_core.scoring.engine import choose_method, score_requests
from tests.support.tiny_models import tiny_tokenizer

N_VOCAB = 96
CONTEXT_LENGTH = 128

SIZES: dict[int, str] = {
    N_VOCAB: "vocab_size vocab_size_per_layer_input unpadded_vocab_size decoder_vocab_size pronunciation_vocab_size "
    "shape_vocab_size ngram_vocab_size_base encoder_hash_byte_group_vocab",
    CONTEXT_LENGTH: "max_position_embeddings n_positions n_ctx max_seq_len context_length max_target_positions "
    "model_max_length",
    48: "intermediate_size ffn_dim n_inner ffn_hidden_size decoder_ffn_dim encoder_ffn_dim dim_ff dff "
    "dense_intermediate_size intermediate_size_mlp feed_forward_size attention_hidden_size",
    32: "hidden_size d_model n_embd embed_dim emb_dim embedding_size embedding_dim dim word_embed_proj_dim "
    "input_embedding_size output_embedding_size lru_width attention_head_dim_total pronunciation_embed_dim "
    "shape_embed_dim",
    16: "moe_intermediate_size shared_expert_intermediate_size moe_shared_expert_intermediate_size "
    "shared_intermediate_size shared_experts_intermediate_size expert_ffn_hidden_size q_lora_rank kv_lora_rank "
    "o_lora_rank hc_lowrank laurel_rank adapter_rank router_hidden_size attention_chunk_size mamba_headdim "
    "mamba_head_dim hidden_size_per_layer_input num_hash_buckets chunk_size mamba_chunk_size prompt_mid_dim "
    "ple_embed_dim",
    12: "sliding_window window_size sliding_window_size attention_window_size keep_window_size local_attention "
    "local_attention_window_len",
    8: "head_dim kv_channels d_head dim_head attention_head_size swa_head_dim v_head_dim qk_head_dim index_head_dim "
    "linear_key_head_dim linear_value_head_dim linear_head_dim mamba_d_state state_size ssm_state_size index_topk "
    "mamba_dt_rank time_step_rank attention_head_dim prompt_length",
    4: "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_attention_heads n_head n_heads "
    "num_heads decoder_attention_heads encoder_attention_heads swa_num_attention_heads num_experts num_local_experts "
    "n_routed_experts moe_num_experts qk_rope_head_dim qk_nope_head_dim rotary_dim mamba_n_heads mamba_num_heads "
    "linear_num_value_heads linear_num_heads n_mamba_heads",
    2: "num_key_value_heads num_kv_heads swa_num_key_value_heads num_experts_per_tok num_experts_per_token moe_topk "
    "moe_k moe_top_k linear_num_key_heads index_n_heads eos_token_id",
    1: "n_group topk_group n_groups num_expert_group first_k_dense_replace pad_token_id mamba_n_groups",
    0: "bos_token_id",
}
SMALL = {name: size for size, line in SIZES.items() for name in line.split()}
SUB_CONFIGS = (
    *("text_config", "vision_config", "audio_config", "attn_config", "ffn_config", "decoder"),
    *("encoder_config", "decoder_config", "global_config", "patcher_config"),
)
SLIDING_THEN_FULL = ["sliding_attention", "full_attention"] * 2
LINEAR_THEN_FULL = ["linear_attention", "full_attention"] * 2
MLA = {"num_key_value_heads": 4, "head_dim": 4}
VISION = {"depth": 1, "num_hidden_layers": 1, "image_size": 16, "patch_size": 8, "out_hidden_size": 32}
OWN: dict[str, dict[str, Any]] = {
    "axk2": MLA,
    "bailing_hybrid": {"layer_group_size": 2, "num_key_value_heads": 4},
    "bamba": {"attn_layer_indices": [1, 3]},
    "blt": {
        "num_hidden_layers": 4,
        "max_position_embeddings": CONTEXT_LENGTH,
        "encoder_hash_byte_group_vocab": 50,
        "encoder_config": {"hidden_size_global": 32},
        "decoder_config": {"hidden_size_global": 32},
    },
    "dbrx": {"attn_config": {"rope_theta": 1e4, "clip_qkv": 8.0, "kv_n_heads": 2}},
    "deepseek_v32": MLA,
    "dots3_note_text": MLA,
    "glm_moe_dsa": MLA,
    "gemma3_text": {"layer_types": SLIDING_THEN_FULL},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {"layer_types": LINEAR_THEN_FULL},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {"layer_types": LINEAR_THEN_FULL, "num_key_value_heads": 4},
    "kolibri1": {"layer_types": SLIDING_THEN_FULL},
    "laguna": {"layer_types": SLIDING_THEN_FULL},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": {"num_key_value_heads": 4, "head_dim": 4, "zero_expert_num": 2},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
    "mellum": {"layer_types": SLIDING_THEN_FULL},
    "ministral": {"layer_types": SLIDING_THEN_FULL},
    "qwen2": {"use_sliding_window": True, "max_window_layers": 2},
    "gemma3n_text": {"num_kv_shared_layers": 2, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "reformer": {
        "is_decoder": True,
        "axial_pos_embds": False,
        "num_buckets": 4,
        "attn_layers": ["local", "lsh"],
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
    },
    "rwkv": {"attention_hidden_size": 32},
    "zaya": {"num_experts_per_tok": 1},
    "zamba": {"num_hidden_layers": 6, "attn_layer_period": 3, "attn_layer_offset": 2, "num_key_value_heads": 4}
    | {"attention_hidden_size": None, "attention_head_dim": None},
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "mamba_ngroups": 1,
        "num_key_value_heads": 4,
        "adapter_rank": 4,
    },
    "cohere_compass_text": {
        "layer_types": ["full_attention"] * 4,
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}},
    },
    "dots1": {"n_shared_experts": 1},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128, "num_heads": 2},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "qwen4_exp_text": {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 8}
    | {"indexer_compress_ratio": 4},
}


WITH_TOWERS = (
    *("fuyu", "gemma3", "gemma3n", "gemma4", "gemma4_unified", "got_ocr2", "moss_transcribe_diarize"),
    *("dots3_note", "qwen4_exp"),
)
SKIPPED = {
    **dict.fromkeys(WITH_TOWERS, "a model of images or sound with further towers; another name here is its text part"),
    **dict.fromkeys(
        ("gemma4_assistant", "gemma4_unified_assistant"), "a draft model: it needs embeddings and keys of another model"
    ),
    **dict.fromkeys(("musicgen", "musicgen_melody"), "it predicts codes of sound, not tokens of text"),
}
"""Model types of which no tiny model is built here, with the reason."""


def names() -> list[str]:
    """Every model type that transformers maps to a causal language model, in its order."""
    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_config(name: str, **changes: Any) -> PreTrainedConfig:
    """The configuration of a tiny model of this type, with further values of one's own."""
    return _shrunk(CONFIG_MAPPING[name], OWN.get(name, {}) | changes)


def _shrunk(config_class: Any, own: dict[str, Any]) -> PreTrainedConfig:
    fields = {field.name for field in dataclasses.fields(config_class)}
    values: dict[str, Any] = {name: value for name, value in SMALL.items() if name in fields}
    for name, sub_class in (getattr(config_class, "sub_configs", None) or {}).items():
        if isinstance(sub_class, type) and dataclasses.is_dataclass(sub_class):
            values[name] = _shrunk(sub_class, own.get(name, {}))
    return config_class(**values | {name: value for name, value in own.items() if name not in SUB_CONFIGS})


def tiny_model_of(name: str, dtype: torch.dtype = torch.float32, *, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random model of the type, off its start, so that no bias is zero; its weights are the same in each dtype."""
    torch.manual_seed(seed)
    config = tiny_config(name, **changes)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for tensor in model.state_dict(keep_vars=True).values():
        if tensor.is_floating_point():
            noise = 0.1 * torch.randn_like(tensor) if isinstance(tensor, torch.nn.Parameter) else 0.0
            tensor.data = (tensor.data + noise).to(torch.bfloat16).float()
    if dtype == torch.float32:
        return model
    other = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    other.load_state_dict(model.state_dict())
    return other


def save_tiny(folder: Path, name: str, **changes: Any) -> Path:
    """Writes such a model with the tokenizer of ``tests.support.tiny_models``; gives its folder back."""
    tokenizer = tiny_tokenizer()
    tiny_model_of(name, vocab_size=len(tokenizer), **changes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@dataclasses.dataclass(frozen=True, slots=True)
class Swept:
    """What became of one architecture; differences are in nats, the largest and the middle one of all choices.

    Attributes:
        class_name: of the model.
        refusal: why the engine scores none of its requests, empty where it does.
        method, low_method: the engine's method in float32 and bfloat16; ``refused`` if it does not run in bfloat16.
        difference: of the engine from the reference in float32, together, alone and in another order.
        low_plain, low_engine: how far the reference and the engine in bfloat16 are from the reference in float32.
        routes: whether tokens are sent to experts, so that rounding may turn a choice.
    """

    class_name: str
    refusal: str = ""
    method: str = ""
    low_method: str = ""
    difference: float = 0.0
    low_plain: tuple[float, float] = (0.0, 0.0)
    low_engine: tuple[float, float] = (0.0, 0.0)
    routes: bool = False


def sweep(name: str) -> Swept:
    """Scores requests of mixed lengths with a tiny model of the type, in float32 and in bfloat16."""
    model, requests = tiny_model_of(name), _requests()
    class_name = type(model).__name__
    try:
        method = choose_method(model, requests)
    except ScoringError as error:
        return Swept(class_name, refusal=str(error))
    expected = _values(reference.score_requests(model, requests))
    order = [4, 0, 5, 2, 1, 3]
    shuffled = score_requests(model, [requests[index] for index in order])
    found = [
        _values(score_requests(model, requests)),
        _values([shuffled[order.index(index)] for index in range(len(requests))]),
        _values([score_requests(model, [request])[0] for request in requests]),
    ]
    difference = max(_far(each, expected)[0] for each in found)
    low = tiny_model_of(name, torch.bfloat16)
    try:
        low_method = choose_method(low, requests)
    except ScoringError:
        return Swept(class_name, method=method, low_method="refused", difference=difference)
    return Swept(
        class_name,
        method=method,
        low_method=low_method,
        difference=difference,
        low_plain=_far(_values(reference.score_requests(low, requests)), expected),
        low_engine=_far(_values(score_requests(low, requests)), expected),
        routes="expert" in str(model.config.get_text_config().to_dict()),
    )


def _requests() -> list[EncodedRequest]:
    """Four requests that share thirty tokens and two that share nothing; choices of one to three tokens."""
    rng = np.random.default_rng(0)
    shared = rng.integers(12, N_VOCAB, 30).tolist()
    lengths: tuple[tuple[list[int], int], ...] = (
        (shared, 1),
        (shared, 9),
        (shared, 30),
        (shared, 4),
        ([], 5),
        ([], 45),
    )
    contexts = [(*start, *rng.integers(12, N_VOCAB, n).tolist()) for start, n in lengths]
    return [EncodedRequest(context, ((5,), (6, 7), (6, 8, 9))) for context in contexts]


def _values(scores: Sequence[LabelScores]) -> npt.NDArray[np.float64]:
    return np.concatenate([each.loglikelihoods for each in scores])


def _far(found: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> tuple[float, float]:
    differences = np.abs(found - expected)
    return float(differences.max()), float(np.median(differences))
