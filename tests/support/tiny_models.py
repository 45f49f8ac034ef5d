"""Tiny random models and tokenizers on disk, made in milliseconds, as real as those of the Hub in layout."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CORPUS = (
    "the film is a quiet joy . it never hurries and it never bores .",
    "a dull, noisy mess with nothing to say !",
    "who wrote the book ? where is the river ? how many people live there ?",
    "positive negative neutral entity description human location number abbreviation",
    "@ # $ % * ^ { } 0 1 2 3 4 5 6 7 8 9 N/A [SEP] yes no unknown true false",
)


@functools.cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of about 400 tokens that merges across a period and a newline, as SmolLM2's does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*CORPUS * 4, ".\n" * 20, "\n\n\n" * 20], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


def tiny_model(architecture: str = "llama", *, seed: int = 0, context_length: int = 512) -> torch.nn.Module:
    """A random model of 2 layers, 32 wide."""
    torch.manual_seed(seed)
    shape = {
        "vocab_size": len(tiny_tokenizer()),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": context_length,
        "initializer_range": 0.2,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": None,
    }
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **shape))
    return GPTNeoXForCausalLM(GPTNeoXConfig(**shape))


def save_checkpoint(folder: Path, architecture: str = "llama", *, seed: int = 0, context_length: int = 512) -> Path:
    """Writes one checkpoint (weights, configuration, tokenizer) and gives its folder back."""
    model = tiny_model(architecture, seed=seed, context_length=context_length)
    model.save_pretrained(folder)  # type: ignore[operator]
    tiny_tokenizer().save_pretrained(folder)
    return folder


def save_trajectory(folder: Path, steps: Sequence[int] = (0, 1000, 2000), architecture: str = "llama") -> Path:
    """Writes ``step-<n>/`` folders with different random weights and gives their parent folder back."""
    for step in steps:
        save_checkpoint(folder / f"step-{step}", architecture, seed=step + 1)
    return folder


def spoil_weights(folder: Path) -> None:
    """Turns the weights of a checkpoint into NaN."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file({name: value * float("nan") for name, value in load_file(path).items()}, path, metadata={"format": "pt"})


def save_task_file(path: Path, *, n: int = 60, words: Sequence[str] = ("negative", "positive")) -> Path:
    """A JSONL task whose texts tell their label."""
    hints = ("dull noisy mess", "quiet joy", "river", "people")
    rows = [{"text": f"film {i} is a {hints[i % len(words)]} .", "label": words[i % len(words)]} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
