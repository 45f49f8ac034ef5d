"""Records that look like real ones, made without any model."""

from __future__ import annotations

import dataclasses

import numpy as np

from icl_core.evaluation.cells import make_cell_key
from icl_core.records import CellKey, CellRecord, CellSpec, CheckpointIdentity, CheckpointRef
from icl_core.registry.tasks import get_task


def spec_of(**changes: object) -> CellSpec:
    """A spec of sst2 on pythia-70m; keyword arguments change fields, ``step`` the checkpoint."""
    step = int(changes.pop("step", 1000))
    checkpoint = CheckpointRef("pythia", "pythia-70m", f"step{step}", "hub", "EleutherAI/pythia-70m", step)
    spec = CellSpec(checkpoint, "sst2", "test", "gold", demo_seed=13, n_shots=16, n_examples=25)
    return dataclasses.replace(spec, **changes)


def key_of(spec: CellSpec, row_ids: tuple[str, ...]) -> CellKey:
    """The key that a spec has on these rows, with made-up hashes."""
    task = get_task(spec.task)
    return make_cell_key(
        spec,
        identity=CheckpointIdentity(
            "c0ffee", (("model.safetensors", f"{spec.checkpoint.step:064x}"),), "70" * 32, context_length=2048
        ),
        task=task,
        fingerprint="f1" * 32,
        row_ids=row_ids,
        label_words=task.words(spec.label_word_set, template=spec.template),
        template_text=task.template_text(spec.template),
    )


def record_of(spec: CellSpec | None = None, *, noise_seed: int = 0, **changes: object) -> CellRecord:
    """A coherent record of a spec (or of ``spec_of``'s keyword arguments) with numbers that depend on noise_seed."""
    spec = spec or spec_of(**changes)
    random = np.random.default_rng([noise_seed, spec.demo_seed, spec.checkpoint.step or 0])
    row_ids = tuple(f"{spec.split}:{i}" for i in range(spec.n_examples))
    choices = get_task(spec.task).words(spec.label_word_set, template=spec.template)
    shape = (len(row_ids), len(choices))
    return CellRecord(
        spec=spec,
        key=key_of(spec, row_ids),
        row_ids=row_ids,
        gold=random.integers(len(choices), size=len(row_ids)),
        loglikelihoods=(-random.exponential(5.0, size=shape)).astype(np.float32),
        n_tokens=random.integers(1, 4, size=shape),
        content_free=(-random.exponential(5.0, size=len(choices))).astype(np.float32),
        content_free_n_tokens=random.integers(1, 4, size=len(choices)),
        choices=choices,
        demonstration_ids=tuple(f"train:{i}" for i in range(spec.n_shots)),
        demonstration_labels=tuple(choices[i % len(choices)] for i in range(spec.n_shots)),
        provenance={"device": "cpu", "date": "2025-01-31T12:00:00+00:00", "wall_time_s": 1.5},
    )
