"""Records the speed of a run on this machine, in the store's folder, for later estimates.

It decides nothing and changes no result; ``rates`` makes estimates of the records.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icl_core.errors import CheckpointError
from icl_core.evaluation.rates import MeasuredCell, MeasuredLoad, note
from icl_core.evaluation.run_feed import Ready
from icl_core.evaluation.shapes import ModelShape, shape_of_config, work_flops
from icl_core.records import CheckpointRef

__all__ = ["SpeedNotes"]


class SpeedNotes:
    """The records of one run.

    Args:
        folder: of the store.
        device: on which it runs, such as ``cuda:0``.
    """

    def __init__(self, folder: Path, *, device: str) -> None:
        self._folder, self._device = folder, device.split(":")[0]
        self._shape: ModelShape | None = None

    def takes(self, model: Any) -> None:
        """Sets the model that computes from now on."""
        self._shape = _shape(model)

    def note_load(self, ref: CheckpointRef, model: Any, *, seconds: float, is_first: bool) -> None:
        """Records the wall time of loading; the first load of a process also imports libraries."""
        n_bytes = sum(parameter.nbytes for parameter in model.parameters())
        note(self._folder, MeasuredLoad(ref.model, self._device, n_bytes, seconds, is_first=is_first))

    def note_cell(self, cell: Ready, *, seconds: float) -> None:
        """Records the wall time of a cell, unless the model's configuration does not tell its cost."""
        if self._shape is None:
            return
        spec, work = cell.spec, cell.prepared.work
        measured = MeasuredCell(
            model=spec.checkpoint.model,
            task=spec.task,
            device=self._device,
            dtype=spec.dtype,
            n_non_embedding=self._shape.n_non_embedding,
            n_queries=work.n_queries,
            characters=cell.prepared.n_characters,
            tokens=round(work.unique_tokens),
            flops=work_flops(self._shape, work),
            seconds=seconds,
            encode_seconds=cell.prepared.seconds,
        )
        note(self._folder, measured)


def _shape(model: Any) -> ModelShape | None:
    """The shape of the loaded model, which decides its cost; None if the configuration does not tell."""
    try:
        return shape_of_config(model.config.to_dict())
    except CheckpointError:
        return None
