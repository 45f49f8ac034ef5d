"""Coverage by model and task: which of the requested cells a store holds.

It computes and reads no result. The cells that jobs were to compute are known; those requested on the command line
without a job are not. So a kind of cell that is stored for one checkpoint counts as requested for all checkpoints of
the model.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

from icl_core.evaluation.study import Study, study_cells
from icl_core.models.parameter_fusion import FUSED_FAMILY
from icl_core.records import CellSpec, CheckpointRef

__all__ = ["CellCounts", "Coverage", "cell_counts", "coverage"]

_Kind = tuple[object, ...]
_Place = tuple[str, str | None]
_place_of = operator.attrgetter("revision", "weight_file")
"""A checkpoint of a model, independent of its step."""
_kind_of = operator.attrgetter(*(item.name for item in fields(CellSpec) if item.name not in ("checkpoint", "task")))
"""Everything in which the cells of one checkpoint and task differ."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """One model on one task.

    Attributes:
        model, task: names.
        n_cells: stored cells.
        n_complete: checkpoints that have every kind of cell that is stored or was requested for any checkpoint.
        n_checkpoints: checkpoints of the model that have results, or for which a job was to compute some.
    """

    model: str
    task: str
    n_cells: int
    n_complete: int
    n_checkpoints: int

    @property
    def state(self) -> Literal["complete", "partial", "missing"]:
        """The state of this model on this task; missing if nothing is stored."""
        if not self.n_cells:
            return "missing"
        return "complete" if self.n_complete == self.n_checkpoints else "partial"


@dataclass(frozen=True, slots=True)
class CellCounts:
    """How much of a study is stored.

    Attributes:
        n_stored, n_cells: cells with a result, and all of them.
        n_complete, n_checkpoints: checkpoints with all of their cells, and all of them.
    """

    n_stored: int
    n_cells: int
    n_complete: int
    n_checkpoints: int

    @property
    def n_missing(self) -> int:
        """Cells without a result."""
        return self.n_cells - self.n_stored

    @property
    def share_stored(self) -> float:
        """Stored cells as a fraction of all; 1 if there are none."""
        return self.n_stored / self.n_cells if self.n_cells else 1.0


def cell_counts(by_checkpoint: Mapping[CheckpointRef, tuple[int, int]]) -> CellCounts:
    """Adds up the checkpoints of a study.

    Args:
        by_checkpoint: stored cells and all cells of each.
    """
    counts = by_checkpoint.values()
    return CellCounts(
        n_stored=sum(stored for stored, _ in counts),
        n_cells=sum(total for _, total in counts),
        n_complete=sum(stored == total for stored, total in counts),
        n_checkpoints=len(counts),
    )


def coverage(stored: Iterable[CellSpec], asked: Iterable[Study]) -> tuple[Coverage, ...]:
    """Every model against every task.

    Args:
        stored: cells with a result.
        asked: studies that jobs were to compute; checkpoints of mixed parameters in them do not count.

    Returns:
        All tasks of the first model, then of the next, in the order in which they occur.
    """
    there: dict[tuple[str, str], dict[_Place, set[_Kind]]] = {}
    wanted: dict[tuple[str, str], set[_Kind]] = {}
    checkpoints: dict[str, set[_Place]] = {}
    for spec in stored:
        place, kind = (spec.checkpoint.model, spec.task), _kind_of(spec)
        there.setdefault(place, {}).setdefault(_place_of(spec.checkpoint), set()).add(kind)
        wanted.setdefault(place, set()).add(kind)
        checkpoints.setdefault(spec.checkpoint.model, set()).add(_place_of(spec.checkpoint))
    for study in dict.fromkeys(asked):
        refs = [ref for ref in study.checkpoints if ref.family != FUSED_FAMILY]
        kinds = set(map(_kind_of, study_cells(replace(study, checkpoints=tuple(refs[:1]), tasks=study.tasks[:1]))))
        for ref in refs:
            checkpoints.setdefault(ref.model, set()).add(_place_of(ref))
        for model in dict.fromkeys(ref.model for ref in refs):
            for task in study.tasks:
                wanted.setdefault((model, task), set()).update(kinds)
    tasks = dict.fromkeys(task for _, task in wanted)
    return tuple(
        Coverage(
            model,
            task,
            n_cells=sum(map(len, there.get((model, task), {}).values())),
            n_complete=sum(kinds == wanted[model, task] for kinds in there.get((model, task), {}).values()),
            n_checkpoints=len(refs),
        )
        for model, refs in checkpoints.items()
        for task in tasks
    )
