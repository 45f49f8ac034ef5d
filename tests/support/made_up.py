"""Made-up records with known curves, in which TR rises, TL jumps and TR falls: results without any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from icl_core.evaluation.cells import make_cell_key
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.records import CellRecord, CellSpec, CheckpointIdentity, CheckpointRef, digest_of
from icl_core.registry.tasks import get_task

STEPS = (0, 110, 220, 330, 440, 550, 660, 770, 880, 990)
CURVES = {
    "gold": (0.50, 0.55, 0.66, 0.75, 0.78, 0.80, 0.83, 0.85, 0.87, 0.88),
    "random": (0.50, 0.56, 0.68, 0.76, 0.80, 0.79, 0.70, 0.66, 0.62, 0.61),
    "abstract": (0.50, 0.50, 0.51, 0.50, 0.51, 0.51, 0.76, 0.80, 0.81, 0.83),
}


def refs_of(model: str = "pythia-410m", steps: Sequence[int] = STEPS) -> tuple[CheckpointRef, ...]:
    """Checkpoints of a made-up run, stored under a family that needs no files."""
    return tuple(
        CheckpointRef("hub", model, f"step{step}", "hub", f"someone/{model}", step, step * 2_097_152) for step in steps
    )


def made_up_record(spec: CellSpec, *, wanted: float) -> CellRecord:
    """A record whose accuracy is near ``wanted``: the right label wins that share of the rows."""
    task = get_task(spec.task)
    n, k = spec.n_examples, task.n_labels
    gold = np.random.default_rng(n).integers(k, size=n)
    right = np.random.default_rng([n, spec.demo_seed]).random(n) < wanted
    predicted = np.where(right, gold, (gold + 1) % k)
    scores = np.full((n, k), -2.0, dtype=np.float32)
    scores[np.arange(n), predicted] = -0.5
    row_ids = tuple(f"row:{index}" for index in range(n))
    ref = spec.checkpoint
    weights = (ref.revision, digest_of([ref.model, ref.revision, ref.weight_file]))
    identity = CheckpointIdentity("0" * 40, (weights,), "t", 2048)
    key = make_cell_key(
        spec,
        identity=identity,
        task=task,
        fingerprint="made up",
        row_ids=row_ids,
        label_words=task.words(),
        template_text=task.template_text("minimal"),
    )
    return CellRecord(
        spec=spec,
        key=key,
        row_ids=row_ids,
        gold=gold.astype(np.int64),
        loglikelihoods=scores,
        n_tokens=np.ones((n, k), dtype=np.int64),
        content_free=np.full(k, -1.0, dtype=np.float32),
        content_free_n_tokens=np.ones(k, dtype=np.int64),
        choices=task.words(),
        demonstration_ids=tuple(f"shot:{index}" for index in range(spec.n_shots)),
        demonstration_labels=tuple(task.words()[index % k] for index in range(spec.n_shots)),
        provenance={"date": "2026-01-01T00:00:00+00:00"},
    )


def fill(store: Store, study: Study, *, curves: Mapping[str, Sequence[float]] = CURVES) -> None:
    """Stores a record for every cell of the study, following the curves over its checkpoints."""
    at = {ref: index for index, ref in enumerate(study.checkpoints)}
    specs = study_cells(study)
    store.put_many(
        made_up_record(spec, wanted=curves[spec.label_setting][at[spec.checkpoint] % len(STEPS)]) for spec in specs
    )
    assert set(store.find_many(specs)) == set(specs)


def made_up_study(*, tasks: tuple[str, ...] = ("sst2", "mrpc"), n_test: int = 200) -> Study:
    """Ten checkpoints, two tasks, two seeds, three settings."""
    return Study(refs_of("someone-model"), tasks, ("gold", "random", "abstract"), (13, 21), n_test=n_test)
