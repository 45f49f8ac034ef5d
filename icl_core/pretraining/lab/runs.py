"""Reads lab runs from their folders, and computes the few numbers that summarise a run's curves.

It trains nothing, writes nothing and imports no torch. A run is complete if its folder has a manifest. Phase markers
and the transience index follow arXiv 2503.05631, section 3, and arXiv 2501.06256.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from icl_core.errors import StoreError, UnknownNameError
from icl_core.pretraining.lab.config import (
    N_EVALUATION,
    LabConfig,
    config_digest,
    config_from_json,
    describe,
    n_context_classes,
    run_name,
)
from icl_core.settings import lab_runs_path, store_path

__all__ = [
    "ACCURACIES",
    "ATTENTION_NAME",
    "CONFIG_NAME",
    "CURVES_NAME",
    "MANIFEST_NAME",
    "LabRun",
    "PhaseMarkers",
    "chance",
    "chance_band",
    "default_roots",
    "emergence_level",
    "find_run",
    "folder_name",
    "list_runs",
    "phase_markers",
    "read_run",
    "transience_index",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
CONFIG_NAME, MANIFEST_NAME = "config.json", "manifest.json"
CURVES_NAME, ATTENTION_NAME = "curves.parquet", "attention.npz"
ACCURACIES = ("train", "icl", "icl_novel", "ciwl", "flip", "icl_copy", "flip_copy", "iwl", "gold", "tr", "tl")
"""Curves that are accuracies; those up to ``flip_copy`` choose among the labels in the context."""
_AMONG_ALL = ("iwl", "gold", "tr", "tl")
_EMERGED = 0.2
"""ICL has emerged once it has gone this share of the way from chance to 1 (.6 with two context labels)."""


@dataclass(frozen=True, slots=True)
class LabRun:
    """A lab run as stored in its folder.

    Attributes:
        config: all knobs.
        digest: sha256 of the configuration; its first digits name the folder.
        path: the folder.
        is_shipped: whether it comes with the project.
        state: ``complete``; or ``partial`` while it is trained or after it was stopped.
        curves: (n_points,) arrays by name, first of them ``step``; accuracies (``ACCURACIES``) in [0, 1],
            ``context_mass`` (probability mass on the labels in the context, Train set), ``loss_*`` in nats, ``loss``
            (mean training loss since the previous point, NaN at step 0), and the best head's ``previous_token``,
            ``self_attention`` and ``induction``; those that end in ``_by_head`` are (n_points, n_layers, n_heads).
        attention_steps: (n_kept,) steps whose attention was kept; empty if none was.
        attention: (n_kept, n_layers, n_heads, n_tokens, n_tokens) mean maps over the Train sequences whose first pair
            is of the query's class; rows attend to columns and sum to 1.
        kept_steps: steps whose weights are in the folder.
        grafts: ``step`` (n_kept,) and two mappings from icl, flip and ciwl to (n_kept,) accuracies: ``early_first``
            (the first half of the model at that step, the second half of the final model) and ``early_second`` (the
            reverse). None if the run was not grafted.
            manifest: other facts (cpu_seconds, n_parameters, versions, git_revision, machine); empty if partial.
    """

    config: LabConfig
    digest: str
    path: Path
    is_shipped: bool
    state: Literal["complete", "partial"]
    curves: Mapping[str, FloatArray]
    attention_steps: IntArray
    attention: FloatArray
    kept_steps: tuple[int, ...] = ()
    grafts: Mapping[str, Any] | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """A short name for people, from what differs from the defaults."""
        return describe(self.config)

    @property
    def name(self) -> str:
        """The name of the model that its checkpoints form on the other pages."""
        return run_name(self.config)

    @property
    def last_step(self) -> int:
        """The last evaluated step; 0 if there is none."""
        steps = self.curves["step"]
        return int(steps[-1]) if len(steps) else 0


@dataclass(frozen=True, slots=True)
class PhaseMarkers:
    """Steps at which a run changes phase; None for a change that does not happen.

    Attributes:
        icl_emerges: first step whose ICL accuracy is above .6 (two context labels; else a fifth of the way from
            chance to 1).
        flip_peak: step of the highest Flip accuracy, if this is above chance.
        flip_half: first step after the peak whose Flip accuracy is below chance (.5 with two context labels).
        ciwl_over_icl: first step after which CIWL stays above ICL to the end.
    """

    icl_emerges: int | None
    flip_peak: int | None
    flip_half: int | None
    ciwl_over_icl: int | None


# Folders


def default_roots() -> tuple[Path, ...]:
    """The folders of runs: the shipped ones, then the user's own beside the results."""
    return lab_runs_path(), store_path() / "lab"


def folder_name(config: LabConfig) -> str:
    """The name of a run's folder: the first digits of its digest."""
    return config_digest(config)[:16]


def list_runs(roots: Iterable[Path] | None = None) -> tuple[LabRun, ...]:
    """All runs in folders of runs, by title; of two folders of one run, a complete one or else the first is taken.

    Args:
        roots: folders of run folders, ``default_roots()`` for None. Folders that do not exist are ignored, and so are
            folders without a readable run (one that is being written, or that another version wrote).
    """
    found: dict[str, LabRun] = {}
    for root in default_roots() if roots is None else roots:
        for path in sorted(root.glob(f"*/{CONFIG_NAME}")):
            try:
                run = read_run(path.parent)
            except StoreError:
                continue
            if run.digest not in found or (run.state == "complete" != found[run.digest].state):
                found[run.digest] = run
    return tuple(sorted(found.values(), key=lambda run: (run.title, run.digest)))


def find_run(config: LabConfig, roots: Iterable[Path] | None = None) -> LabRun | None:
    """The run of a configuration, complete if possible; None if there is no folder of it."""
    found = None
    for root in default_roots() if roots is None else roots:
        path = root / folder_name(config)
        if (path / CONFIG_NAME).is_file():
            run = read_run(path)
            if run.state == "complete":
                return run
            found = found or run
    return found


def read_run(path: Path) -> LabRun:
    """The run in a folder.

    Raises:
        StoreError: the folder holds no run, or a file of it is damaged.
    """
    try:
        config = config_from_json((path / CONFIG_NAME).read_text(encoding="utf-8"))
        manifest = _read_manifest(path / MANIFEST_NAME)
        curves = _read_curves(path / CURVES_NAME, config)
        steps, attention = _read_attention(path / ATTENTION_NAME)
    except Exception as error:
        raise StoreError(
            f"{path} holds no readable lab run ({error}); delete the folder and train it again."
        ) from error
    digest = config_digest(config)
    if path.name != digest[:16]:
        raise StoreError(f"{path} is not named after its configuration ({digest[:16]}); train the run again.")
    kept = sorted(int(file.parent.name.removeprefix("step-")) for file in path.glob("step-*/model.safetensors"))
    return LabRun(
        config=config,
        digest=digest,
        path=path,
        is_shipped=path.parent == lab_runs_path(),
        state="complete" if manifest else "partial",
        curves=curves,
        attention_steps=steps,
        attention=attention,
        kept_steps=tuple(kept),
        grafts=_arrays_in(manifest.pop("grafts", None)),
        manifest=manifest,
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _read_curves(path: Path, config: LabConfig) -> dict[str, FloatArray]:
    if not path.is_file():
        return {"step": np.empty(0)}
    table = pq.read_table(path)
    curves = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_list(column.type):
            flat = np.array(column.to_pylist(), dtype=np.float64)
            curves[name] = flat.reshape(len(flat), config.n_layers, config.n_heads)
        else:
            curves[name] = column.to_numpy().astype(np.float64)
    return curves


def _read_attention(path: Path) -> tuple[IntArray, FloatArray]:
    if not path.is_file():
        return np.empty(0, dtype=np.int64), np.empty((0, 0, 0, 0, 0))
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["steps"].astype(np.int64), arrays["maps"].astype(np.float64)


def _arrays_in(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _arrays_in(inner) for name, inner in value.items()}
    return None if value is None else np.array(value, dtype=np.float64)


# Numbers of a run


def chance(run: LabRun, evaluator: str) -> float:
    """Accuracy (or mass) of guessing: 1 / number of context labels, or 1 / L if all labels compete.

    Raises:
        UnknownNameError: no accuracy and no probability mass has this name.
    """
    data = run.config.data
    if evaluator == "context_mass":
        return min(1.0, n_context_classes(data) / data.n_labels)
    if evaluator not in ACCURACIES:
        raise UnknownNameError(f"{evaluator!r} has no chance level; these have one: {', '.join(ACCURACIES)}.")
    if evaluator in _AMONG_ALL:
        return 1.0 / data.n_labels
    return 1.0 / (data.n_pairs if evaluator == "ciwl" else n_context_classes(data))


def chance_band(run: LabRun, evaluator: str) -> float:
    """Three standard deviations of the accuracy of guessing over one evaluation set with independent answers.

    Queries of one class get the same answer, so with fewer classes than sequences the spread is larger.
    """
    level = chance(run, evaluator)
    return 3.0 * float(np.sqrt(level * (1.0 - level) / N_EVALUATION))


def emergence_level(run: LabRun) -> float:
    """The ICL accuracy above which ICL has emerged."""
    level = chance(run, "icl")
    return level + _EMERGED * (1.0 - level)


def phase_markers(run: LabRun) -> PhaseMarkers:
    """The steps at which ICL emerges, Flip peaks and falls below chance, and CIWL overtakes ICL for good."""
    steps, curves = run.curves["step"], run.curves
    if not len(steps):
        return PhaseMarkers(None, None, None, None)
    flip_chance = chance(run, "flip")
    emerged = _first(steps, curves["icl"] > emergence_level(run))
    flip = curves["flip"]
    peak = int(np.argmax(flip))
    has_peak = bool(flip[peak] > flip_chance + chance_band(run, "flip"))
    behind = np.flatnonzero(curves["ciwl"] <= curves["icl"])
    after = int(behind[-1]) + 1 if len(behind) else 0
    return PhaseMarkers(
        icl_emerges=emerged,
        flip_peak=int(steps[peak]) if has_peak else None,
        flip_half=_first(steps[peak:], flip[peak:] < flip_chance) if has_peak else None,
        ciwl_over_icl=int(steps[after]) if after < len(steps) else None,
    )


def _first(steps: FloatArray, holds: npt.NDArray[np.bool_]) -> int | None:
    found = np.flatnonzero(holds)
    return int(steps[found[0]]) if len(found) else None


def transience_index(run: LabRun, evaluator: str = "icl") -> float | None:
    """(peak - final) / (peak - chance): 0 if it keeps its peak, 1 if it falls back to chance, more if below chance.

    None if the peak is not above chance by three standard deviations, or nothing was evaluated.
    """
    curve = run.curves.get(evaluator, np.empty(0))
    if not len(curve) or curve.max() <= chance(run, evaluator) + chance_band(run, evaluator):
        return None
    return float((curve.max() - curve[-1]) / (curve.max() - chance(run, evaluator)))
