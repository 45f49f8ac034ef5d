"""Lab checkpoints as a model family: records under gold, random and abstract labels like those of any evaluation.

It trains nothing and knows no store; the caller stores the records. The settings of arXiv 2305.09731 here: gold shows
the true labels in context; random (TR) draws every context label from all labels and asks for the true one; abstract
(TL) relabels all classes by one permutation per sequence and asks for the new label. All L labels compete. There are no
copies, swaps or other interventions, even if the run was trained with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

from icl_core.errors import StudyError
from icl_core.pretraining.lab.config import config_to_json
from icl_core.pretraining.lab.evaluators import label_logprobs
from icl_core.pretraining.lab.model import LabTransformer
from icl_core.pretraining.lab.runs import LabRun
from icl_core.pretraining.lab.train import checkpoint_entries, load_weights
from icl_core.pretraining.lab.world import Batch, Mode, World, make_world, plain_knobs, sample
from icl_core.records import (
    LABEL_SETTINGS,
    CellKey,
    CellRecord,
    CellSpec,
    CheckpointRef,
    LabelSetting,
    Split,
    digest_of,
    fields_in_key,
)
from icl_core.registry.tasks import get_task, lab_task_name

__all__ = ["BRIDGE_SEEDS", "MAX_BRIDGE_LABELS", "N_BRIDGE_ROWS", "bridge_records", "bridge_refs"]

BRIDGE_SEEDS = (1, 2, 3)
"""The seeds; each draws a different context for every query."""
MAX_BRIDGE_LABELS = 100
N_BRIDGE_ROWS: Mapping[Split, int] = MappingProxyType({"test": 300, "dev": 100})
"""Queries of each split."""
_N_EXAMPLES: Mapping[Split, int] = MappingProxyType({"test": 300, "dev": 300})
"""Number of rows that a study asks for; a split may have fewer, as with any task."""
_MODES: Mapping[LabelSetting, Mode] = MappingProxyType({"gold": "train", "random": "tr", "abstract": "tl"})
_STREAM: Mapping[Split, int] = MappingProxyType({"test": 4, "dev": 5})


def bridge_refs(run: LabRun) -> tuple[CheckpointRef, ...]:
    """The kept steps of a run as checkpoints of the family ``lab``; the model is the run's name."""
    return tuple(
        CheckpointRef("lab", run.name, entry["folder"], "embedded", run.path.name, entry["step"], entry["tokens_seen"])
        for entry in checkpoint_entries(run.config, run.kept_steps)
    )


def bridge_records(run: LabRun) -> Iterator[CellRecord]:
    """The records of all kept checkpoints, splits, seeds and label settings of a run, one checkpoint after the other.

    Raises:
        StudyError: the run keeps no weights, or has more labels than a task may have.
    """
    if not run.kept_steps:
        raise StudyError(f"{run.title} has no weights here; train it to see its checkpoints on the other pages.")
    if run.config.data.n_labels > MAX_BRIDGE_LABELS:
        raise StudyError(
            f"{run.title} has {run.config.data.n_labels} labels; the other pages take runs with at most "
            f"{MAX_BRIDGE_LABELS}."
        )
    world = make_world(run.config)
    contexts = {
        (split, seed, setting): _contexts(world, split, seed=seed, setting=setting)
        for split in N_BRIDGE_ROWS
        for seed in BRIDGE_SEEDS
        for setting in LABEL_SETTINGS
    }
    fingerprint = _fingerprint(world)
    for ref in bridge_refs(run):
        folder = run.path / ref.revision
        model, weights = load_weights(run.config, folder), _weight_files(run, folder)
        for (split, seed, setting), batch in contexts.items():
            spec = _spec(ref, world, split=split, seed=seed, setting=setting)
            yield _record(_key(spec, weights, fingerprint), spec, batch=batch, model=model)


def _contexts(world: World, split: Split, *, seed: int, setting: LabelSetting) -> Batch:
    """The sequences of a cell: queries of the split, contexts of the seed, labels of the setting."""
    config, n = world.config, N_BRIDGE_ROWS[split]
    rng = np.random.Generator(np.random.PCG64([config.evaluation_seed, _STREAM[split]]))
    knobs = plain_knobs(config.data)
    classes = sample(world, knobs, mode="train", n=n, rng=rng).classes[:, -1]
    queries = classes, rng.integers(max(1, knobs.n_exemplars), size=n)
    context_rng = np.random.Generator(np.random.PCG64([config.evaluation_seed, _STREAM[split], seed]))
    return sample(world, knobs, mode=_MODES[setting], n=n, rng=context_rng, queries=queries)


def _weight_files(run: LabRun, folder: Path) -> tuple[tuple[str, str], ...]:
    """sha256 of the weights and of the configuration that gives them their meaning."""
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    config = hashlib.sha256(config_to_json(run.config).encode("ascii")).hexdigest()
    return ("config.json", config), ("model.safetensors", weights)


def _scores(model: LabTransformer, batch: Batch) -> npt.NDArray[np.float32]:
    """(n, L) log-likelihoods; column i is the label that stands for true label i."""
    logprobs = label_logprobs(model, batch).numpy()
    return np.take_along_axis(logprobs, batch.relabelling, axis=1).astype(np.float32)


def _fingerprint(world: World) -> str:
    """sha256 over all exemplars (or centres) and the seed that draws queries and contexts from them."""
    digest = hashlib.sha256(f"{world.config.evaluation_seed}".encode())
    for array in (world.centres, world.exemplars, world.class_labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _spec(ref: CheckpointRef, world: World, *, split: Split, seed: int, setting: LabelSetting) -> CellSpec:
    data = world.config.data
    return CellSpec(ref, lab_task_name(data.n_labels), split, setting, seed, data.n_pairs, _N_EXAMPLES[split])


def _row_ids(split: Split) -> tuple[str, ...]:
    return tuple(f"{split}:{index}" for index in range(N_BRIDGE_ROWS[split]))


def _key(spec: CellSpec, weight_files: tuple[tuple[str, str], ...], fingerprint: str) -> CellKey:
    task = get_task(spec.task)
    return CellKey(
        commit="",
        weight_files=weight_files,
        tokenizer_sha256="none",
        context_length=2 * spec.n_shots + 1,
        remap=None,
        task_version=task.version,
        dataset_fingerprint=fingerprint,
        row_ids_sha256=digest_of(list(_row_ids(spec.split))),
        label_words=task.words(),
        template_text=task.template_text(spec.template),
        **fields_in_key(spec),
    )


def _record(key: CellKey, spec: CellSpec, *, batch: Batch, model: LabTransformer) -> CellRecord:
    """The record of a cell; the content-free query is the zero vector, and its scores are means over the contexts."""
    n, n_labels = batch.relabelling.shape
    without_query = replace(batch, items=batch.items.copy())
    without_query.items[:, -1] = 0.0
    return CellRecord(
        spec=spec,
        key=key,
        row_ids=_row_ids(spec.split),
        gold=batch.true_labels,
        loglikelihoods=_scores(model, batch),
        n_tokens=np.ones((n, n_labels), dtype=np.int64),
        content_free=_scores(model, without_query).mean(axis=0),
        content_free_n_tokens=np.ones(n_labels, dtype=np.int64),
        choices=key.label_words,
        demonstration_ids=(),
        demonstration_labels=(),
        provenance={
            "device": "cpu",
            "torch": torch.__version__,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "context": "each row has a context of its own",
        },
    )
