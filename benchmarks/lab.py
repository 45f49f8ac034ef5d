"""How fast the lab trains, beside a plain training loop over a ``transformers`` GPT-2 of the same shape and data.

Default knobs, batch 64, one thread, seconds of processor time, so that other work on the machine counts little. The
plain loop draws each batch by itself, predicts at every token and reads the last. Rounds alternate, the best of each
counts. Run ``python -m benchmarks.lab [--json] [--whole-run]``; it fails
below 60 steps a second, and with ``--whole-run`` when a run at default knobs takes more than 90 s of processor time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from icl_core.pretraining.lab.config import LabConfig
from icl_core.pretraining.lab.evaluators import evaluate, evaluation_sets
from icl_core.pretraining.lab.model import build_model
from icl_core.pretraining.lab.runs import folder_name
from icl_core.pretraining.lab.train import train_run, training_step
from icl_core.pretraining.lab.world import Batch, World, make_world, sample, training_batches

LEAST_STEPS_PER_SECOND, MOST_SECONDS = 60.0, 90.0
N_STEPS, N_ROUNDS = 150, 4


class _PlainModel(torch.nn.Module):
    """Exemplars and labels embedded one by one, then an unchanged GPT-2."""

    def __init__(self, config: LabConfig) -> None:
        super().__init__()
        data = config.data
        shape = GPT2Config(
            vocab_size=data.n_labels,
            n_positions=2 * data.n_pairs + 1,
            n_embd=config.width,
            n_layer=config.n_layers,
            n_head=config.n_heads,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=None,
            use_cache=False,
        )
        self.body = GPT2LMHeadModel(shape)
        self.item_embedding = torch.nn.Linear(data.n_dimensions, config.width, bias=False)

    def forward(self, items: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(n, L) logits at the query."""
        tokens = []
        for place in range(labels.shape[1]):
            tokens += [self.item_embedding(items[:, place]), self.body.transformer.wte(labels[:, place])]
        embedded = torch.stack([*tokens, self.item_embedding(items[:, -1])], dim=1)
        logits: torch.Tensor = self.body(inputs_embeds=embedded).logits[:, -1]
        return logits


def _plain_batches(world: World) -> Iterator[Batch]:
    rng = np.random.default_rng(0)
    while True:
        yield sample(world, world.config.data, mode="train", n=world.config.batch_size, rng=rng)


def _loop(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[Batch]) -> Callable[[], float]:
    """A function that trains ``N_STEPS`` steps and gives steps a second of processor time."""

    def run() -> float:
        start = time.process_time()
        for _ in range(N_STEPS):
            training_step(model, optimizer, next(batches))  # type: ignore[arg-type]
        return N_STEPS / (time.process_time() - start)

    return run


def measure() -> dict[str, float]:
    """Steps a second of both loops, their ratio, and seconds of one evaluation."""
    torch.set_num_threads(1)
    config = LabConfig()
    world, model, plain = make_world(config), build_model(config), _PlainModel(config)
    ours = _loop(model, torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True), training_batches(world))
    theirs = _loop(plain, torch.optim.AdamW(plain.parameters(), lr=1e-3), _plain_batches(world))
    rounds = [(ours(), theirs()) for _ in range(N_ROUNDS)]
    sets = evaluation_sets(world, step=0)
    start = time.process_time()
    evaluate(model, sets)
    return {
        "lab_steps_per_second": max(first for first, _ in rounds),
        "plain_steps_per_second": max(second for _, second in rounds),
        "ratio": max(first for first, _ in rounds) / max(second for _, second in rounds),
        "evaluation_s": time.process_time() - start,
        "lab_parameters": float(sum(p.numel() for p in model.parameters())),
        "plain_parameters": float(sum(p.numel() for p in plain.parameters())),
    }


def whole_run() -> dict[str, float]:
    """Seconds of a run at default knobs, evaluations and grafts included."""
    config = LabConfig()
    with tempfile.TemporaryDirectory() as folder:
        start, cpu = time.perf_counter(), time.process_time()
        train_run(config, Path(folder) / folder_name(config))
        return {"run_s": time.perf_counter() - start, "run_cpu_s": time.process_time() - cpu}


def main() -> int:
    """Prints the table (or JSON); exit status 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--whole-run", action="store_true", help="also train a run at default knobs")
    options = parser.parse_args()
    result = measure() | (whole_run() if options.whole_run else {})
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:28s} {value:12.3f}")
    too_slow = result["lab_steps_per_second"] < LEAST_STEPS_PER_SECOND
    return int(too_slow or result.get("run_cpu_s", 0.0) > MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
