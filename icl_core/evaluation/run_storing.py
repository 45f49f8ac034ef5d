"""Stores the scores of a run's cells, with the facts kept beside them.

It scores nothing. It belongs to the run's own thread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from icl_core.data.datasets import TaskData
from icl_core.errors import ScoringError
from icl_core.evaluation.cell_work import cell_queries, make_record
from icl_core.evaluation.reservations import OwnReservations
from icl_core.evaluation.run_feed import Ready
from icl_core.evaluation.run_progress import Progress
from icl_core.evaluation.run_report import cell_name
from icl_core.evaluation.run_rows import RunRows
from icl_core.evaluation.run_speed import SpeedNotes
from icl_core.evaluation.store import Store
from icl_core.evaluation.told import CellFacts, facts_of
from icl_core.records import CellRecord, LabelScores

if TYPE_CHECKING:
    from icl_core.scoring.engine import HowScored

__all__ = ["RunStoring"]


class RunStoring:
    """Stores the cells of a run as they are finished.

    Attributes:
        facts: of the stored cells, besides their numbers.
    """

    def __init__(
        self,
        store: Store,
        *,
        device: str,
        reservations: OwnReservations,
        rows: RunRows,
        progress: Progress,
        speed: SpeedNotes,
    ) -> None:
        """Nothing is stored yet.

        Args:
            store: receives the results.
            device: on which they were computed, such as ``cuda:0``.
            reservations: of the run; those of stored cells are marked as done.
            rows: of the run's tasks.
            progress: counts what is computed and what fails.
            speed: is told the wall time of each cell.
        """
        self._store, self._device, self._reservations, self._rows = store, device, reservations, rows
        self._progress, self._speed = progress, speed
        self._mark = 0.0
        self.facts: list[CellFacts] = []

    def begin(self) -> None:
        """Starts the clock of the next cell."""
        self._mark = time.monotonic()

    def keep(self, cells: Sequence[Ready], scores: Sequence[Sequence[LabelScores]], *, how: HowScored) -> None:
        """Stores the cells that a forward pass has finished, in one step; its time is divided among them by tokens.

        Raises:
            StoreError: the store cannot be written.
        """
        n_tokens = sum(cell.prepared.work.unique_tokens for cell in cells)
        elapsed, self._mark = time.monotonic() - self._mark, time.monotonic()
        seconds = [elapsed * cell.prepared.work.unique_tokens / n_tokens for cell in cells]
        records = [
            self._record(cell, of_cell, self._provenance(part, how))
            for cell, of_cell, part in zip(cells, scores, seconds, strict=True)
        ]
        differing = self._put(cells, records)
        to_store = (time.monotonic() - self._mark) / len(cells)
        for cell, record, to_score in zip(cells, records, seconds, strict=True):
            if cell.key.digest in differing:
                self._progress.fail(cell_name(cell.spec), ScoringError(differing[cell.key.digest]), [cell.spec])
                continue
            self.facts.append(facts_of(record))
            self._progress.took(cell.spec, to_score + to_store)
            self._speed.note_cell(cell, seconds=to_score + to_store)
            self._progress.finish([cell.spec], "computed")
        self._mark = time.monotonic()

    def _put(self, cells: Sequence[Ready], records: Sequence[CellRecord]) -> Mapping[str, str]:
        """Stores records and makes their specs point to them; returns the refusals, by digest of the key."""
        try:
            differing = self._store.put_many(records).differing
            self._store.resolve_many({cell.spec: cell.key for cell in cells if cell.key.digest not in differing})
        finally:
            for cell in cells:
                self._reservations.spend(cell.key)
        return differing

    def _record(self, cell: Ready, scores: Sequence[LabelScores], facts: Mapping[str, str | int | float]) -> CellRecord:
        queries = cell_queries(cell.spec, cast(TaskData, self._rows.of(cell.spec.task)))
        return make_record(cell.spec, cell.key, cell.prepared.encoded, queries=queries, scores=scores, provenance=facts)

    def _provenance(self, seconds: float, how: HowScored) -> dict[str, str | int | float]:
        """The facts stored besides the numbers; method, budget and threads decide the last bits in half precision."""
        import torch
        import transformers

        is_gpu = self._device.startswith("cuda")
        return {
            "device": torch.cuda.get_device_name(self._device) if is_gpu else "cpu",
            "wall_time_s": round(seconds, 4),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "n_threads": torch.get_num_threads(),
            "path": how.method,
            **({} if how.token_budget is None else {"token_budget": how.token_budget}),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
