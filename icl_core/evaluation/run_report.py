"""The report of a run as a value: counts, failures, and sentences on files and texts.

It runs and counts nothing; run.py fills it in at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from icl_core.records import CellSpec, CheckpointRef
from icl_core.registry.names import full_name
from icl_core.registry.tasks import shown_task

__all__ = ["Failure", "RunReport", "cell_name"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure: the checkpoint, task or cell in words, the reason, and the number of cells without a result."""

    what: str
    message: str
    n_cells: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """The report of a run.

    Attributes:
        n_cells: cells of the study.
        n_stored: cells found in the store, or computed meanwhile by another process.
        n_computed: cells computed here.
        failures: what failed, in order.
        duplicates: checkpoints that hold the weights of another revision, with the reason.
        complete: False if the run was told to stop.
        seconds: wall time.
        shared: sentences on weight files that checkpoints share although their other weights differ.
        cuts: sentences on texts that were cut to fit the context, in the cells computed here.
    """

    n_cells: int
    n_stored: int
    n_computed: int
    failures: tuple[Failure, ...]
    duplicates: Mapping[CheckpointRef, str]
    complete: bool
    seconds: float
    shared: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()

    @property
    def n_failed(self) -> int:
        """Cells without a result because something failed."""
        return sum(failure.n_cells for failure in self.failures)

    @property
    def message(self) -> str:
        """One or two sentences for the person who asked."""
        parts = [f"{self.n_computed} of {self.n_cells} cells computed, {self.n_stored} were already stored"]
        if self.n_failed:
            parts.append(f"{self.n_failed} failed ({self.failures[0].what}: {self.failures[0].message.rstrip('.')})")
        if not self.complete:
            parts.append("the rest was not done because it was told to stop")
        return "; ".join(parts) + "."


def cell_name(spec: CellSpec) -> str:
    """A cell in words, for runs."""
    split = "" if spec.split == "test" else f", {spec.split}"
    return f"{full_name(spec.checkpoint)}, {shown_task(spec.task)}, {spec.label_setting}, seed {spec.demo_seed}{split}"
