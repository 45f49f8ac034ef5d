"""Folders as people have them, laid out in milliseconds: configuration and tiny weights that nothing loads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.records import CheckpointRef
from tests.support.made_up import made_up_record

CONFIG = {
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
TR = (0.50, 0.60, 0.55, 0.70, 0.60, 0.65)
TL = (0.50, 0.55, 0.60, 0.58, 0.70, 0.75)
ICL = (0.50, 0.55, 0.60, 0.65, 0.70, 0.80)


def lay(folder: Path, content: int = 0, *, step: int | None = None, best: str | None = None) -> Path:
    """A checkpoint whose weights are those of ``content``; with the state of a trainer where a step is given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file({"a": np.full(64, content, dtype=np.float32)}, folder / "model.safetensors")
    if step is not None:
        state = {"global_step": step, "best_model_checkpoint": best}
        (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def lay_run(folder: Path, names: Sequence[str]) -> Path:
    """One checkpoint for each name, all with different weights."""
    for content, name in enumerate(names, start=1):
        lay(folder / name, content)
    return folder


def store_results(path: Path, refs: Sequence[CheckpointRef], place: Mapping[str, int]) -> None:
    """Made-up results in which a checkpoint has the accuracies of its true place in training, whatever its step."""
    study = Study(tuple(refs), ("sst2",), ("gold", "random", "abstract"), (13,), n_test=200)
    curves = {"gold": ICL, "random": TR, "abstract": TL}
    store = Store.open(path)
    store.put_many(
        made_up_record(spec, wanted=curves[spec.label_setting][place[spec.checkpoint.revision]])
        for spec in study_cells(study)
    )
    store.close()
