"""Fixtures of the model tests: tiny models on disk, and a Hub on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_server import SMALL, HubServer, make_tiny_hub, train_tokenizer
from tests.support.tiny_gguf import write_gguf

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def hub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """The tiny Hub, running for the whole session."""
    with make_tiny_hub(tmp_path_factory.mktemp("hub")) as server:
        yield server


@pytest.fixture(scope="session")
def ask_hub() -> Callable[..., list[Any]]:
    """Runs calls of tests/support/hub_client.py in a fresh process with this environment, returns their answers."""

    def ask(environment: dict[str, str], *calls: list[Any]) -> list[Any]:
        arguments = [json.dumps(call) for call in calls]
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.hub_client", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return ask


@pytest.fixture
def tiny_run(tmp_path: Path) -> Path:
    """A folder of three checkpoint folders of a random Llama in half precision, tokenizers beside the weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**SMALL, max_position_embeddings=128)
    for seed, name in enumerate(("checkpoint-3000", "step-1000", "step2000")):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).half().save_pretrained(tmp_path / "run" / name)
        train_tokenizer(tmp_path / "run" / name)
    return tmp_path / "run"


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> tuple[Path, Any]:
    """A GGUF file (float32, Llama) with a byte-level BPE tokenizer, and the model whose weights it holds."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        rms_norm_eps=1e-5,
    )
    model = LlamaForCausalLM(config)
    path = write_gguf(
        tmp_path / "tiny.gguf", model, tokenizer=lambda writer: _write_gguf_tokenizer(writer, tmp_path / "tokenizer")
    )
    return path, model.eval()


def _write_gguf_tokenizer(writer: Any, folder: Path) -> None:
    train_tokenizer(folder)
    trained = json.loads((folder / "tokenizer.json").read_text())["model"]
    vocabulary = sorted(trained["vocab"], key=trained["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token == "<|endoftext|>" else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(merge) for merge in trained["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
