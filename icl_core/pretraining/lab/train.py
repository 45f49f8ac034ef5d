"""The lab's training loop: a configuration in, a run folder with curves, attention, weights and grafts out.

It draws sequences with ``world.py`` and measures with ``evaluators.py``. On one thread, one machine and one library
version, a run is a function of its configuration to the last bit, even if it is stopped and resumed.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional

from icl_core.errors import StudyError
from icl_core.pretraining.lab.config import LabConfig, config_digest, config_to_json, run_name, validate_config
from icl_core.pretraining.lab.evaluators import (
    GRAFT_SETS,
    evaluate,
    evaluation_sets,
    head_scores,
    label_logprobs,
    set_accuracy,
)
from icl_core.pretraining.lab.model import LabTransformer, build_model, graft, part_of_parameter
from icl_core.pretraining.lab.runs import ATTENTION_NAME, CONFIG_NAME, CURVES_NAME, MANIFEST_NAME, read_run
from icl_core.pretraining.lab.world import Batch, World, make_world, training_batches
from icl_core.pretraining.provenance import git_revision, one_thread

__all__ = ["checkpoint_entries", "evaluation_steps", "kept_steps", "load_weights", "train_run", "training_step"]

OnProgress = Callable[[int, int, float], None]
STATE_NAME = "state.safetensors"
N_KEPT = 20
_N_GEOMETRIC, _N_LINEAR = 20, 16


def evaluation_steps(config: LabConfig) -> tuple[int, ...]:
    """The steps that are evaluated, about 35, ascending: 0, the end, the switch, and others, densest at the start."""
    end = config.n_steps
    steps = {0, end, *np.geomspace(1, end, _N_GEOMETRIC).round(), *np.linspace(0, end, _N_LINEAR + 1).round()}
    if config.switch_step is not None:
        steps |= {config.switch_step + round(after) for after in (0, 20, 50, 100, 200, 350, 500, 750)}
    return tuple(sorted(int(step) for step in steps if step <= end))


def kept_steps(config: LabConfig) -> tuple[int, ...]:
    """The evaluated steps whose weights and attention are kept, about 20: evenly spread, both ends and the switch."""
    steps = evaluation_steps(config)
    ranks = np.linspace(0, len(steps) - 1, min(N_KEPT, len(steps))).round().astype(int)
    kept = {steps[rank] for rank in ranks}
    if config.switch_step is not None:
        kept.add(config.switch_step)
    return tuple(sorted(kept))


def train_run(
    config: LabConfig,
    out_path: Path,
    *,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Mapping[str, Any] | None:
    """Trains a run, or the rest of one that was stopped or killed; a complete run is left alone.

    Args:
        config: all knobs.
        out_path: the run's folder, named by ``runs.folder_name``; with a manifest in it, the run is complete.
        on_progress: called after each step with (step, n_steps, training loss in nats).
        should_stop: asked before each step; True saves the state and ends without a manifest.

    Returns:
        The manifest, or None when stopped.

    Raises:
        StudyError: a value is out of range, or the loss is no longer finite.
        StoreError: the folder holds a damaged run.
    """
    validate_config(config)
    if (out_path / MANIFEST_NAME).is_file():
        read_run(out_path)
        complete: dict[str, Any] = json.loads((out_path / MANIFEST_NAME).read_text(encoding="utf-8"))
        return complete
    out_path.mkdir(parents=True, exist_ok=True)
    _write_whole(out_path / CONFIG_NAME, config_to_json(config))
    with one_thread():
        run = _Training.start(config, out_path)
        for step, batch in enumerate(training_batches(run.world, start=run.step), start=run.step + 1):
            if should_stop is not None and should_stop():
                run.save_state()
                return None
            loss = run.train(step, batch)
            if on_progress is not None:
                on_progress(step, config.n_steps, loss)
        return run.finish()


def training_step(model: LabTransformer, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    """One update on a batch; gives the mean loss before it, in nats."""
    logits = model(torch.from_numpy(batch.items), torch.from_numpy(batch.labels))
    loss = functional.cross_entropy(logits, torch.from_numpy(batch.targets))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def _make_optimizer(model: LabTransformer, config: LabConfig) -> torch.optim.Optimizer:
    """Adam, with the parts that decay in a separate group."""
    decaying: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (decaying if part_of_parameter(name) in config.decay_parts else others).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decaying, config.weight_decay), (others, 0.0))
        if parameters
    ]
    kind = torch.optim.AdamW if config.decay_kind == "decoupled" else torch.optim.Adam
    return kind(groups, lr=config.learning_rate, fused=True)


@dataclass(slots=True)
class _Training:
    """A run in progress: everything that has to survive a stop."""

    config: LabConfig
    path: Path
    world: World
    model: LabTransformer
    optimizer: torch.optim.Optimizer
    rows: list[dict[str, Any]] = field(default_factory=list)
    attention: dict[int, Any] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    step: int = 0
    seconds_before: float = 0.0
    started: float = field(default_factory=time.process_time)
    sets: tuple[int, Mapping[str, Batch]] = (-1, {})
    points: frozenset[int] = frozenset()

    @classmethod
    def start(cls, config: LabConfig, path: Path) -> _Training:
        """The run at its last saved state, or before its first step."""
        model = build_model(config)
        points = frozenset(evaluation_steps(config))
        run = cls(config, path, make_world(config), model, _make_optimizer(model, config), points=points)
        if (path / STATE_NAME).is_file():
            run.load_state()
        else:
            run.measure()
        return run

    def train(self, step: int, batch: Batch) -> float:
        """One step; then evaluates and saves, if the curves have a point there."""
        loss = training_step(self.model, self.optimizer, batch)
        if not math.isfinite(loss):
            raise StudyError(f"The training diverged at step {step}: the loss is {loss}; lower the learning rate.")
        self.step = step
        self.losses.append(loss)
        if step in self.points:
            self.measure()
        return loss

    def measure(self) -> None:
        """Adds a point to the curves, keeps weights and attention if this is a kept step, and saves all."""
        phase = int(self.config.switch_step is not None and self.step > self.config.switch_step)
        if self.sets[0] != phase:
            self.sets = phase, evaluation_sets(self.world, step=self.step)
        sets = self.sets[1]
        loss = float(np.mean(self.losses)) if self.losses else math.nan
        self.rows.append({"step": float(self.step), "loss": loss, **evaluate(self.model, sets)})
        self.losses = []
        if self.step in kept_steps(self.config):
            self.attention[self.step] = head_scores(self.model, sets["train"]).maps.astype(np.float16)
            self._save_weights()
            self._save_attention()
        self._save_curves()
        self.save_state()

    def _save_curves(self) -> None:
        columns = {
            name: [np.ravel(row[name]) if np.ndim(row[name]) else row[name] for row in self.rows]
            for name in self.rows[0]
        }
        with _replacing(self.path / CURVES_NAME) as temporary:
            pq.write_table(pa.table(columns), temporary, compression="zstd")

    def _save_attention(self) -> None:
        steps = sorted(self.attention)
        with _replacing(self.path / ATTENTION_NAME) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, steps=np.array(steps), maps=np.stack([self.attention[s] for s in steps]))

    def _save_weights(self) -> None:
        folder = self.path / f"step-{self.step}"
        folder.mkdir(exist_ok=True)
        weights = {name: tensor.detach().to(torch.float16) for name, tensor in self.model.named_parameters()}
        with _replacing(folder / "model.safetensors") as temporary:
            save_file(weights, temporary, metadata={"format": "pt"})

    def save_state(self) -> None:
        """Everything that the next step depends on, in one file."""
        tensors = {f"model.{name}": tensor.detach() for name, tensor in self.model.named_parameters()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        seconds = self.seconds_before + time.process_time() - self.started
        metadata = {"step": str(self.step), "digest": config_digest(self.config), "cpu_seconds": f"{seconds:.3f}"}
        with _replacing(self.path / STATE_NAME) as temporary:
            save_file(tensors, temporary, metadata=metadata)

    def load_state(self) -> None:
        """Goes back to the state in the folder and drops later points."""
        path = self.path / STATE_NAME
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        self.step, self.seconds_before = int(metadata["step"]), float(metadata["cpu_seconds"])
        self.losses = tensors["losses"].tolist()
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(tensors[f"model.{name}"])
                prefixes = {key: f"optimizer.{key}.{name}" for key in ("step", "exp_avg", "exp_avg_sq")}
                if prefixes["step"] in tensors:
                    self.optimizer.state[parameter] = {key: tensors[at] for key, at in prefixes.items()}
        stored = read_run(self.path)
        points = [index for index, step in enumerate(stored.curves["step"]) if step <= self.step]
        self.rows = [{name: _scalar(curve[index]) for name, curve in stored.curves.items()} for index in points]
        kept = zip(stored.attention_steps, stored.attention, strict=True)
        self.attention = {int(step): maps.astype(np.float16) for step, maps in kept if step <= self.step}

    def finish(self) -> Mapping[str, Any]:
        """Computes grafts, writes the manifest, which marks the run as complete, and removes the state."""
        sets = self.sets[1] or evaluation_sets(self.world, step=self.step)
        grafts = _grafts(self.config, self.path, sets)
        manifest = {
            "name": run_name(self.config),
            "digest": config_digest(self.config),
            "checkpoints": checkpoint_entries(self.config, kept_steps(self.config)),
            "n_parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "weights_dtype": "float16 (trained in float32)",
            "cpu_seconds": round(self.seconds_before + time.process_time() - self.started, 1),
            "git_revision": git_revision(),
            "versions": {"torch": torch.__version__, "numpy": np.__version__},
            "grafts": grafts,
        }
        _write_whole(self.path / MANIFEST_NAME, json.dumps(manifest, indent=1) + "\n")
        (self.path / STATE_NAME).unlink(missing_ok=True)
        return manifest


def checkpoint_entries(config: LabConfig, steps: Iterable[int]) -> list[dict[str, Any]]:
    """A manifest's entry for each step with weights: its folder and the tokens seen until then."""
    per_step = config.batch_size * (2 * config.data.n_pairs + 1)
    return [{"step": step, "folder": f"step-{step}", "tokens_seen": step * per_step} for step in steps]


def _scalar(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else value


def load_weights(config: LabConfig, path: Path) -> LabTransformer:
    """The model of a run in the folder of a kept step, in float32."""
    model = build_model(config)
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(path / "model.safetensors").items()})
    return model.eval()


def _grafts(config: LabConfig, path: Path, sets: Mapping[str, Batch]) -> dict[str, Any] | None:
    """Accuracies of both grafts at every kept step; None for one layer, which has nothing to graft."""
    if config.n_layers < 2:
        return None
    steps = kept_steps(config)
    final = load_weights(config, path / f"step-{steps[-1]}")
    found: dict[str, Any] = {"step": list(steps)}
    found |= {side: {name: [] for name in GRAFT_SETS} for side in ("early_first", "early_second")}
    for step in steps:
        early = load_weights(config, path / f"step-{step}")
        for side, (lower, upper) in (("early_first", (early, final)), ("early_second", (final, early))):
            model = graft(lower, upper, config=config)
            for name in GRAFT_SETS:
                found[side][name].append(set_accuracy(name, label_logprobs(model, sets[name]), sets[name]))
    return found


# Files and environment


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; once it is written, it replaces ``path``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_whole(path: Path, text: str) -> None:
    with _replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
