"""Sorts a run's cells: already stored, impossible, missing, or being computed by another process.

It loads and scores nothing. All of it belongs to the run's own thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from icl_core.data.datasets import TaskData
from icl_core.evaluation.cell_work import cell_key
from icl_core.evaluation.reservations import OwnReservations
from icl_core.evaluation.run_progress import Progress
from icl_core.evaluation.run_rows import RunRows
from icl_core.evaluation.store import Store
from icl_core.records import CellKey, CellSpec, CheckpointIdentity
from icl_core.registry.names import full_name
from icl_core.registry.tasks import shown_task

__all__ = ["RunLooking"]

WAIT_SECONDS = 0.5
"""Time between two looks at cells that another process computes."""


class RunLooking:
    """Looks up the cells of a run in the store."""

    def __init__(self, store: Store, *, reservations: OwnReservations, rows: RunRows, progress: Progress) -> None:
        """Nothing is looked up yet.

        Args:
            store: gives stored results.
            reservations: of the run.
            rows: of the run's tasks.
            progress: counts what is found and what fails.
        """
        self._store, self._reservations, self._rows, self._progress = store, reservations, rows, progress

    def missing(self, specs: Sequence[CellSpec], *, identity: CheckpointIdentity) -> list[tuple[CellSpec, CellKey]]:
        """Resolves the specs of one checkpoint to keys, counts stored and impossible cells, and returns the others."""
        ref = specs[0].checkpoint
        keys: dict[CellSpec, CellKey] = {}
        failed: dict[str, tuple[Exception, list[CellSpec]]] = {}
        for spec in specs:
            found = self._rows.of(spec.task)
            if isinstance(found, TaskData):
                keys[spec] = cell_key(spec, found, identity=identity)
            else:
                failed.setdefault(spec.task, (found, []))[1].append(spec)
        for task, (error, lost) in failed.items():
            self._progress.fail(f"{full_name(ref)}, {shown_task(task)}", error, lost)
        missing = self._not_stored(keys)
        self._turn_from_other_content(missing)
        self._progress.expect(spec for spec, _ in missing)
        return missing

    def _turn_from_other_content(self, missing: Sequence[tuple[CellSpec, CellKey]]) -> None:
        """Resolves specs anew, so that none leads to results of older content.

        This holds even if the new content cannot be scored.
        """
        status = self._store.status(spec for spec, _ in missing)
        self._store.resolve_many({spec: key for spec, key in missing if status[spec] == "complete"})

    def _not_stored(self, keys: Mapping[CellSpec, CellKey]) -> list[tuple[CellSpec, CellKey]]:
        """The cells without a result; the others are counted, and their specs point to their results."""
        stored = {spec: key for spec, key in keys.items() if self._store.has(key)}
        self.count_stored(stored)
        return [(spec, key) for spec, key in keys.items() if spec not in stored]

    def count_stored(self, stored: Mapping[CellSpec, CellKey]) -> None:
        """Counts cells that have a result, and makes their specs point to it."""
        if stored:
            self._store.resolve_many(stored)
            self._progress.finish(list(stored), "stored")

    def wait_for_others(
        self, missing: Sequence[tuple[CellSpec, CellKey]], *, stops: Callable[[], bool]
    ) -> list[tuple[CellSpec, CellKey]]:
        """Waits until other processes have stored the cells that they reserved; returns those that became free."""
        waiting = list(missing)
        while waiting and not stops():
            self._progress.waits = True
            self._progress.report(f"{full_name(waiting[0][0].checkpoint)}: waiting for another process")
            waiting = self._not_stored(dict(waiting))
            free = set(self._reservations.take(key for _, key in waiting))
            self._progress.waits = False
            if free:
                return [(spec, key) for spec, key in waiting if key in free]
            time.sleep(WAIT_SECONDS if waiting else 0)
        return []
