"""CrystalCoder as a causal language model of transformers, for checkpoints whose own code no longer runs.

It computes the published architecture and nothing else: no training, no dropout. The architecture is GPT-2's layout
with biases, SwiGLU, rotary positions on the first ``rotary_dim`` dimensions of a head (pairs of neighbours, as in
GPT-J), and the maximal update parametrisation, which scales embeddings, logits and attention scores. Parameter names
are the checkpoint's own. Sources: https://huggingface.co/LLM360/CrystalCoder (card),
https://github.com/LLM360/crystalcoder-train.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.gpt2.modeling_gpt2 import eager_attention_forward
from transformers.pytorch_utils import Conv1D

__all__ = ["CrystalCoderConfig", "CrystalCoderForCausalLM", "CrystalCoderModel"]


class CrystalCoderConfig(PreTrainedConfig):  # type: ignore[misc]
    """The checkpoint's config.json; the defaults are those of the published 7B model."""

    model_type = "crystalcoder"
    attribute_map = {  # noqa: RUF012 - declared so by transformers
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
        "max_position_embeddings": "n_positions",
        "intermediate_size": "n_inner",
    }
    vocab_size: int = 32032
    n_embd: int = 4096
    n_head: int = 32
    n_layer: int = 32
    n_inner: int = 10922
    n_positions: int = 2048
    rotary_dim: int = 32
    layer_norm_epsilon: float = 1e-5
    mup_embeddings_scale: float = 14.6
    mup_output_alpha: float = 2.22
    mup_width_scale: float = 0.0625
    mup_scale_qk_dot_by_d: bool = True
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    scale_attn_weights: bool = True
    reorder_and_upcast_attn: bool = False


class _Attention(nn.Module):
    """Causal self-attention with one fused projection and rotary positions on part of each head."""

    def __init__(self, config: CrystalCoderConfig, layer_idx: int) -> None:
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.head_dim = config.n_embd // config.n_head
        self.num_key_value_groups = 1
        self.scaling = self.head_dim ** (-1.0 if config.mup_scale_qk_dot_by_d else -0.5)
        self.is_causal = True
        self.c_attn = Conv1D(3 * config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def forward(
        self,
        hidden_states: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None,
        past_key_values: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        """(batch, n_tokens, n_embd) to the same shape; updates the cache in place if there is one."""
        shape = hidden_states.shape[:-1]
        query, key, value = (
            part.view(*shape, -1, self.head_dim).transpose(1, 2)
            for part in self.c_attn(hidden_states).split(self.config.n_embd, dim=2)
        )
        query, key = _rotate(query, *rotary), _rotate(key, *rotary)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        output, _ = attend(self, query, key, value, attention_mask, scaling=self.scaling, dropout=0.0, **kwargs)
        projected: torch.Tensor = self.c_proj(output.reshape(*shape, -1).contiguous())
        return projected


def _rotate(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates the first dimensions of (batch, n_heads, n_tokens, head_dim), pair by neighbouring pair."""
    turned, kept = heads[..., : cos.shape[-1] * 2], heads[..., cos.shape[-1] * 2 :]
    even, odd = turned[..., 0::2], turned[..., 1::2]
    pairs = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
    return torch.cat((pairs.flatten(-2), kept), dim=-1)


class _SwiGLU(nn.Module):
    """c_proj(c_fc(x) * silu(c_fc2(x)))."""

    def __init__(self, config: CrystalCoderConfig) -> None:
        super().__init__()
        self.c_fc = Conv1D(config.n_inner, config.n_embd)
        self.c_fc2 = Conv1D(config.n_inner, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_inner)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        gated = self.c_fc(hidden_states) * nn.functional.silu(self.c_fc2(hidden_states))
        projected: torch.Tensor = self.c_proj(gated)
        return projected


class _CrystalLayer(nn.Module):
    """Pre-norm attention and feed-forward, each added to the stream."""

    def __init__(self, config: CrystalCoderConfig, layer_idx: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = _Attention(config, layer_idx)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = _SwiGLU(config)

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hidden_states = hidden_states + self.attn(self.ln_1(hidden_states), *args, **kwargs)
        output: torch.Tensor = hidden_states + self.mlp(self.ln_2(hidden_states))
        return output


class _PreTrained(PreTrainedModel):  # type: ignore[misc]
    config_class = CrystalCoderConfig
    base_model_prefix = "transformer"
    _no_split_modules = ["_CrystalLayer"]  # noqa: RUF012 - declared so by transformers
    _supports_sdpa = True
    _supports_attention_backend = True

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Conv1D):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            nn.init.zeros_(module.bias)


class CrystalCoderModel(_PreTrained):
    """The stack without the output layer."""

    def __init__(self, config: CrystalCoderConfig) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.h = nn.ModuleList([_CrystalLayer(config, layer) for layer in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The token embeddings."""
        return self.wte

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the token embeddings."""
        self.wte = value  # type: ignore[assignment]

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """(batch, n_tokens) ids to (batch, n_tokens, n_embd) states after the last norm."""
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        hidden_states = self.wte(input_ids) * self.config.mup_embeddings_scale
        if position_ids is None:
            n_past = past_key_values.get_seq_length() if past_key_values is not None else 0
            position_ids = (torch.arange(input_ids.shape[1], device=input_ids.device) + n_past).unsqueeze(0)
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=hidden_states,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        rotary = self._rotary(position_ids, hidden_states.dtype)
        for block in self.h:
            hidden_states = block(hidden_states, rotary, mask, past_key_values, position_ids=position_ids, **kwargs)
        return BaseModelOutputWithPast(last_hidden_state=self.ln_f(hidden_states), past_key_values=past_key_values)

    def _rotary(self, position_ids: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine, (batch, 1, n_tokens, rotary_dim / 2), of the angle of each pair at each position."""
        even = torch.arange(0, self.config.rotary_dim, 2, dtype=torch.float32, device=position_ids.device)
        angles = position_ids[:, None, :, None].float() * 10000.0 ** (-even / self.config.rotary_dim)
        return angles.cos().to(dtype), angles.sin().to(dtype)


class CrystalCoderForCausalLM(_PreTrained, GenerationMixin):  # type: ignore[misc]
    """The stack with its tied output layer; logits are scaled by mup_output_alpha * mup_width_scale."""

    _tied_weights_keys = {"lm_head.weight": "transformer.wte.weight"}  # noqa: RUF012 - declared so by transformers

    def __init__(self, config: CrystalCoderConfig) -> None:
        super().__init__(config)
        self.transformer = CrystalCoderModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """(batch, n_tokens) ids to (batch, n_kept, vocab_size) logits."""
        outputs = self.transformer(
            input_ids, attention_mask, position_ids, past_key_values, use_cache=use_cache, **kwargs
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        scale = self.config.mup_output_alpha * self.config.mup_width_scale
        logits = self.lm_head(outputs.last_hidden_state[:, kept, :]) * scale
        return CausalLMOutputWithPast(logits=logits, past_key_values=outputs.past_key_values)
