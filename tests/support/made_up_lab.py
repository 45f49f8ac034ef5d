"""Made-up lab runs with known curves, written into folders as the trainer writes them: runs without any training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from icl_core.pretraining.lab.config import LabConfig, config_to_json, n_context_classes
from icl_core.pretraining.lab.runs import folder_name

KEPT = (0, 10, 100, 400, 1000, 2000, 5000)
STEPS = (0, 10, 20, 50, 100, 150, 200, 300, 400, 600, 800, 1000, 1500, 2000, 3000, 4000, 5000)


def _rise(steps: np.ndarray, *, at: float, low: float, high: float) -> np.ndarray:
    return low + (high - low) / (1 + np.exp(-(steps - at) / (at / 6)))


def made_up_curves(config: LabConfig, steps: tuple[int, ...] = STEPS) -> dict[str, np.ndarray]:
    """ICL rises at step 300 and Flip falls after step 1,500, as CIWL grows."""
    at = np.array(steps, dtype=float)
    icl = _rise(at, at=300, low=0.5, high=0.9) - _rise(at, at=2500, low=0, high=0.2)
    flip = _rise(at, at=300, low=0.48, high=0.75) - _rise(at, at=1800, low=0, high=0.65)
    ciwl = _rise(at, at=1800, low=0.5, high=0.95)
    every = 1 / config.data.n_labels
    curves = {
        "step": at,
        "train": np.maximum(icl, ciwl),
        "icl": icl,
        "icl_novel": icl - 0.02,
        "ciwl": ciwl,
        "flip": flip,
        "icl_copy": icl + 0.02,
        "flip_copy": flip + 0.02,
        "iwl": np.full_like(at, every),
        "gold": np.maximum(icl, ciwl) - 0.05,
        "tr": _rise(at, at=1800, low=every, high=0.2),
        "tl": _rise(at, at=300, low=every, high=0.6),
        "context_mass": _rise(at, at=100, low=n_context_classes(config.data) * every, high=0.99),
        "loss": np.r_[np.nan, 3.4 * np.exp(-at[1:] / 1500)],
    }
    curves |= {f"loss_{name}": 3.4 * (1 - 0.5 * curves[name]) for name in ("train", "icl", "ciwl", "flip", "iwl")}
    scores = {
        "previous_token": _rise(at, at=250, low=0.3, high=0.9),
        "self_attention": _rise(at, at=1000, low=0.4, high=0.6),
        "induction": _rise(at, at=300, low=0.0, high=0.7),
    }
    shares = np.linspace(0.2, 1, config.n_layers * config.n_heads).reshape(config.n_layers, config.n_heads)
    curves |= scores | {f"{name}_by_head": best[:, None, None] * shares for name, best in scores.items()}
    return curves


def write_curves(path: Path, curves: dict[str, np.ndarray]) -> None:
    columns = {name: (list(v.reshape(len(v), -1)) if v.ndim > 1 else v) for name, v in curves.items()}
    pq.write_table(pa.table(columns), path)


def write_made_up_run(
    root: Path, config: LabConfig | None = None, *, complete: bool = True, steps: tuple[int, ...] = STEPS
) -> Path:
    """A run folder under ``root`` with curves, attention, grafts and a manifest, but without weights."""
    config = config or LabConfig()
    path = root / folder_name(config)
    path.mkdir(parents=True)
    (path / "config.json").write_text(config_to_json(config))
    write_curves(path / "curves.parquet", made_up_curves(config, steps))
    kept = [step for step in KEPT if step <= steps[-1]]
    n_tokens = 2 * config.data.n_pairs + 1
    maps = np.tril(np.ones((n_tokens, n_tokens)))
    maps /= maps.sum(axis=1, keepdims=True)
    shape = (len(kept), config.n_layers, config.n_heads, n_tokens, n_tokens)
    np.savez(path / "attention.npz", steps=np.array(kept), maps=np.broadcast_to(maps, shape).astype(np.float32))
    if complete:
        graft = {"icl": [0.7] * len(kept), "flip": [0.6] * len(kept), "ciwl": [0.5] * len(kept)}
        manifest = {
            "cpu_seconds": 40.0,
            "n_parameters": 107_000,
            "versions": {"torch": "2", "numpy": "2"},
            "git_revision": "0" * 40,
            "grafts": {"step": kept, "early_first": graft, "early_second": graft},
        }
        (path / "manifest.json").write_text(json.dumps(manifest))
    return path
