"""Each native remap against a forward pass written from the architecture's description, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import layer_norm, silu

from icl_core.errors import CheckpointError, UnknownNameError
from icl_core.models.building import model_from_state_dict
from icl_core.models.crystalcoder import CrystalCoderConfig, CrystalCoderForCausalLM
from icl_core.models.remaps import REMAPS, get_remap

HIDDEN, INNER, LAYERS, HEADS, VOCAB = 24, 40, 3, 3, 50
HEAD = HIDDEN // HEADS
IDS = torch.randint(0, VOCAB, (2, 11), generator=torch.Generator().manual_seed(5))


def _weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) * 0.3 for name, shape in shapes.items()}


def _native_logits(name: str, source: dict[str, object], weights: dict[str, torch.Tensor]) -> torch.Tensor:
    remap = get_remap(name)
    config = remap.config(source)
    model = model_from_state_dict(config, remap.weights(dict(weights), config), dtype="float64")
    with torch.no_grad():
        return model(IDS).logits


def _rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def _angles(dim: int) -> torch.Tensor:
    frequencies = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    return torch.arange(IDS.shape[1], dtype=torch.float64)[:, None] * frequencies


def _rotate_halves(x: torch.Tensor) -> torch.Tensor:
    """(..., n_tokens, head): dimension i is paired with i + head / 2."""
    pairs = torch.view_as_complex(torch.stack(x.chunk(2, -1), -1).contiguous())
    return torch.cat(
        torch.view_as_real(pairs * torch.polar(torch.ones_like(_angles(HEAD)), _angles(HEAD))).unbind(-1), -1
    )


def _rotate_neighbours(x: torch.Tensor, dim: int) -> torch.Tensor:
    """(..., n_tokens, head): dimensions 2i and 2i + 1 are a pair, on the first ``dim`` dimensions."""
    pairs = torch.view_as_complex(x[..., :dim].reshape(*x.shape[:-1], -1, 2).contiguous())
    turned = torch.view_as_real(pairs * torch.polar(torch.ones_like(_angles(dim)), _angles(dim))).flatten(-2)
    return torch.cat((turned, x[..., dim:]), -1)


def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, rotate) -> torch.Tensor:
    """Plain causal attention over (batch, n_tokens, hidden)."""
    q, k, v = (x.view(*x.shape[:2], HEADS, HEAD).transpose(1, 2) for x in (q, k, v))
    scores = rotate(q) @ rotate(k).transpose(-1, -2) * scale
    scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def _llama_layer_shapes(layer: int) -> dict[str, tuple[int, ...]]:
    prefix = f"model.layers.{layer}."
    return {
        f"{prefix}input_layernorm.weight": (HIDDEN,),
        f"{prefix}post_attention_layernorm.weight": (HIDDEN,),
        f"{prefix}mlp.gate_proj.weight": (INNER, HIDDEN),
        f"{prefix}mlp.up_proj.weight": (INNER, HIDDEN),
        f"{prefix}mlp.down_proj.weight": (HIDDEN, INNER),
        f"{prefix}self_attn.o_proj.weight": (HIDDEN, HIDDEN),
    }


def _gated(w: dict[str, torch.Tensor], prefix: str, x: torch.Tensor) -> torch.Tensor:
    gate, up = x @ w[f"{prefix}gate_proj.weight"].T, x @ w[f"{prefix}up_proj.weight"].T
    return (silu(gate) * up) @ w[f"{prefix}down_proj.weight"].T


LLAMA_LIKE = {
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": 64,
}


def test_minicpm_as_granite():
    source = {**LLAMA_LIKE, "rms_norm_eps": 1e-5, "scale_emb": 12, "dim_model_base": 8, "scale_depth": 1.4}
    shapes = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        shapes |= _llama_layer_shapes(layer)
        shapes |= {f"model.layers.{layer}.self_attn.{kind}_proj.weight": (HIDDEN, HIDDEN) for kind in "qkv"}
    w = _weights(shapes)

    x = w["model.embed_tokens.weight"][IDS] * 12
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        normed = _rms_norm(x, w[f"{p}input_layernorm.weight"], 1e-5)
        q, k, v = (normed @ w[f"{p}self_attn.{kind}_proj.weight"].T for kind in "qkv")
        attended = _attention(q, k, v, 1 / math.sqrt(HEAD), _rotate_halves) @ w[f"{p}self_attn.o_proj.weight"].T
        x = x + attended * (1.4 / math.sqrt(LAYERS))
        normed = _rms_norm(x, w[f"{p}post_attention_layernorm.weight"], 1e-5)
        x = x + _gated(w, f"{p}mlp.", normed) * (1.4 / math.sqrt(LAYERS))
    expected = _rms_norm(x, w["model.norm.weight"], 1e-5) / (HIDDEN / 8) @ w["model.embed_tokens.weight"].T

    torch.testing.assert_close(_native_logits("minicpm_to_granite", source, w), expected, atol=1e-5, rtol=0)
    tied = w | {"lm_head.weight": w["model.embed_tokens.weight"].clone()}
    torch.testing.assert_close(_native_logits("minicpm_to_granite", source, tied), expected, atol=1e-5, rtol=0)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight differs"):
        _native_logits("minicpm_to_granite", source, w | {"lm_head.weight": w["model.embed_tokens.weight"] + 1})


def test_baichuan2_as_llama():
    source = {**LLAMA_LIKE, "rms_norm_eps": 1e-6}
    shapes = {name: (VOCAB, HIDDEN) for name in ("model.embed_tokens.weight", "lm_head.weight")}
    shapes["model.norm.weight"] = (HIDDEN,)
    for layer in range(LAYERS):
        shapes |= _llama_layer_shapes(layer) | {f"model.layers.{layer}.self_attn.W_pack.weight": (3 * HIDDEN, HIDDEN)}
    w = _weights(shapes)

    x = w["model.embed_tokens.weight"][IDS]
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        packed = _rms_norm(x, w[f"{p}input_layernorm.weight"], 1e-6) @ w[f"{p}self_attn.W_pack.weight"].T
        q, k, v = packed[..., :HIDDEN], packed[..., HIDDEN : 2 * HIDDEN], packed[..., 2 * HIDDEN :]
        x = x + _attention(q, k, v, HEAD**-0.5, _rotate_halves) @ w[f"{p}self_attn.o_proj.weight"].T
        x = x + _gated(w, f"{p}mlp.", _rms_norm(x, w[f"{p}post_attention_layernorm.weight"], 1e-6))
    head = w["lm_head.weight"] / w["lm_head.weight"].norm(dim=1, keepdim=True)
    expected = _rms_norm(x, w["model.norm.weight"], 1e-6) @ head.T

    buffers = w | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4)}
    torch.testing.assert_close(_native_logits("baichuan2_to_llama", source, buffers), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_olmo_as_native_olmo(prefix):
    source = {
        "model_type": "olmo",
        "d_model": HIDDEN,
        "n_layers": LAYERS,
        "n_heads": HEADS,
        "mlp_ratio": 4,
        "mlp_hidden_size": 2 * INNER,
        "vocab_size": VOCAB - 2,
        "embedding_size": VOCAB,
        "max_sequence_length": 64,
        "eos_token_id": 0,
    }
    shapes = {"transformer.wte.weight": (VOCAB, HIDDEN), "transformer.ff_out.weight": (VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        p = f"transformer.blocks.{layer}."
        shapes |= {f"{p}att_proj.weight": (3 * HIDDEN, HIDDEN), f"{p}attn_out.weight": (HIDDEN, HIDDEN)}
        shapes |= {f"{p}ff_proj.weight": (2 * INNER, HIDDEN), f"{p}ff_out.weight": (HIDDEN, INNER)}
    w = _weights(shapes)

    x = w["transformer.wte.weight"][IDS]
    for layer in range(LAYERS):
        p = f"transformer.blocks.{layer}."
        fused = layer_norm(x, (HIDDEN,), eps=1e-5) @ w[f"{p}att_proj.weight"].T
        q, k, v = fused[..., :HIDDEN], fused[..., HIDDEN : 2 * HIDDEN], fused[..., 2 * HIDDEN :]
        x = x + _attention(q, k, v, HEAD**-0.5, _rotate_halves) @ w[f"{p}attn_out.weight"].T
        fused = layer_norm(x, (HIDDEN,), eps=1e-5) @ w[f"{p}ff_proj.weight"].T
        x = x + (fused[..., :INNER] * silu(fused[..., INNER:])) @ w[f"{p}ff_out.weight"].T
    expected = layer_norm(x, (HIDDEN,), eps=1e-5) @ w["transformer.ff_out.weight"].T

    published = {prefix + name: tensor for name, tensor in w.items()}
    torch.testing.assert_close(_native_logits("olmo_to_native", source, published), expected, atol=1e-5, rtol=0)
    assert get_remap("olmo_to_native").config(source).eos_token_id == 50279


CRYSTAL = {
    "model_type": "crystalcoder",
    "vocab_size": VOCAB,
    "n_embd": HIDDEN,
    "n_head": HEADS,
    "n_layer": LAYERS,
    "n_inner": INNER,
    "n_positions": 64,
    "rotary_dim": 4,
    "architectures": ["CrystalCoderLMHeadModel"],
    "auto_map": {"AutoConfig": "configuration_crystalcoder.CrystalCoderConfig"},
}


def _crystal_weights() -> dict[str, torch.Tensor]:
    shapes = {"transformer.wte.weight": (VOCAB, HIDDEN)}
    for norm in (
        "transformer.ln_f",
        *(f"transformer.h.{layer}.{name}" for layer in range(LAYERS) for name in ("ln_1", "ln_2")),
    ):
        shapes |= {f"{norm}.weight": (HIDDEN,), f"{norm}.bias": (HIDDEN,)}
    for layer in range(LAYERS):
        for name, rows, columns in (
            ("attn.c_attn", HIDDEN, 3 * HIDDEN),
            ("attn.c_proj", HIDDEN, HIDDEN),
            ("mlp.c_fc", HIDDEN, INNER),
            ("mlp.c_fc2", HIDDEN, INNER),
            ("mlp.c_proj", INNER, HIDDEN),
        ):
            shapes[f"transformer.h.{layer}.{name}.weight"] = (rows, columns)
            shapes[f"transformer.h.{layer}.{name}.bias"] = (columns,)
    return _weights(shapes)


def test_crystalcoder_module():
    w = _crystal_weights()

    def affine(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ w[f"transformer.{name}.weight"] + w[f"transformer.{name}.bias"]

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return layer_norm(x, (HIDDEN,), w[f"transformer.{name}.weight"], w[f"transformer.{name}.bias"], 1e-5)

    x = w["transformer.wte.weight"][IDS] * 14.6
    for layer in range(LAYERS):
        fused = affine(f"h.{layer}.attn.c_attn", norm(f"h.{layer}.ln_1", x))
        q, k, v = fused[..., :HIDDEN], fused[..., HIDDEN : 2 * HIDDEN], fused[..., 2 * HIDDEN :]
        attended = _attention(q, k, v, 1 / HEAD, lambda heads: _rotate_neighbours(heads, 4))
        x = x + affine(f"h.{layer}.attn.c_proj", attended)
        normed = norm(f"h.{layer}.ln_2", x)
        gated = affine(f"h.{layer}.mlp.c_fc", normed) * silu(affine(f"h.{layer}.mlp.c_fc2", normed))
        x = x + affine(f"h.{layer}.mlp.c_proj", gated)
    expected = norm("ln_f", x) @ w["transformer.wte.weight"].T * (2.22 * 0.0625)

    published = w | {"lm_head.weight": w["transformer.wte.weight"], "transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8)}
    torch.testing.assert_close(_native_logits("crystalcoder", CRYSTAL, published), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_crystalcoder_with_cache_and_padding_equals_full_recompute(attention):
    config = get_remap("crystalcoder").config(CRYSTAL)
    model = model_from_state_dict(config, _crystal_weights(), dtype="float64", attention=attention)
    with torch.no_grad():
        full = model(IDS).logits
        first = model(IDS[:, :7], use_cache=True)
        rest = model(IDS[:, 7:], past_key_values=first.past_key_values).logits
        padded = model(
            torch.nn.functional.pad(IDS, (0, 3)),
            attention_mask=torch.ones(2, 14).masked_fill(torch.arange(14) >= 11, 0),
        )
        last = model(IDS, logits_to_keep=1).logits
    torch.testing.assert_close(rest, full[:, 7:], atol=1e-10, rtol=0)
    torch.testing.assert_close(padded.logits[:, :11], full, atol=1e-10, rtol=0)
    torch.testing.assert_close(last, full[:, -1:], atol=1e-12, rtol=0)


def test_crystalcoder_has_the_published_number_of_parameters():
    from icl_core.registry.families import get_model

    with torch.device("meta"):
        model = CrystalCoderForCausalLM(CrystalCoderConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == get_model("crystalcoder-7b").n_parameters


def test_loading_is_strict():
    w, config = _crystal_weights(), get_remap("crystalcoder").config(CRYSTAL)
    with pytest.raises(CheckpointError, match=r"1 tensor in the weights is not used .*: transformer\.extra;"):
        model_from_state_dict(config, w | {"transformer.extra": torch.ones(1)}, dtype="float32")
    missing = {name: tensor for name, tensor in w.items() if name != "transformer.ln_f.bias"}
    with pytest.raises(CheckpointError, match=r"missing from the weights: transformer.ln_f.bias;"):
        model_from_state_dict(config, missing, dtype="float32")
    with pytest.raises(CheckpointError, match=r"another shape .*: transformer.ln_f.bias is \(\d+,\), not \(\d+,\);"):
        model_from_state_dict(config, w | {"transformer.ln_f.bias": torch.ones(HIDDEN + 1)}, dtype="float32")


def test_unknown_remap_lists_the_known():
    with pytest.raises(UnknownNameError, match=", ".join(REMAPS)):
        get_remap("other")
