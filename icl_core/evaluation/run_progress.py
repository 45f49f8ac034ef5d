"""The progress of a run: finished cells by outcome, and the expected time for the rest.

It computes, reserves and stores no cell. Threads: it belongs to the run's own thread, in which it also calls
``on_progress``. Only ``cells_per_second`` may be called from another thread, as the feed does.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from icl_core.errors import ObservatoryError, in_words
from icl_core.evaluation.rates import Pace
from icl_core.evaluation.run_report import Failure, cell_name
from icl_core.records import CellSpec, CheckpointRef

__all__ = ["OnProgress", "Progress", "ProgressInfo"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProgressInfo:
    """The state of a run, besides the number of finished cells.

    Attributes:
        current: the current cell or checkpoint, in words.
        n_stored, n_computed, n_failed: finished cells by outcome.
        cells_per_second: recent rate of computed cells, None before the first.
        eta_seconds: expected seconds to the end; None before the first computed cell, and while all remaining cells
            wait for another process.
    """

    current: str
    n_stored: int = 0
    n_computed: int = 0
    n_failed: int = 0
    cells_per_second: float | None = None
    eta_seconds: float | None = None


OnProgress = Callable[[int, int, ProgressInfo], None]


class Progress:
    """Counts the cells of one run.

    Attributes:
        total: cells of the run.
        n_stored, n_computed: finished cells that were found in the store; that were computed.
        failures: what failed, in order.
        waits: whether all remaining cells wait for another process.
        loaded: the checkpoint in memory.
    """

    def __init__(self, total: int, *, size_of: Callable[[CellSpec], float], on_progress: OnProgress) -> None:
        """Nothing is finished yet.

        Args:
            total: cells of the run.
            size_of: gives the work of a cell, in the same unit for all.
            on_progress: called on every change with finished cells, all cells and further facts.
        """
        self.total = total
        self.n_stored = self.n_computed = 0
        self.failures: list[Failure] = []
        self.waits = False
        self.loaded: CheckpointRef | None = None
        self._size_of, self._on_progress = size_of, on_progress
        self._pace = Pace()
        self._finished: set[CellSpec] = set()
        self._expected: dict[CellSpec, float] = {}
        self._work_left = 0.0
        self._to_do: Counter[CheckpointRef] = Counter()
        self._first_start: float | None = None
        self._starts: list[float] = []

    @property
    def cells_per_second(self) -> float | None:
        """Recent rate of computed cells, None before the first."""
        return self._pace.units_per_second

    @property
    def has_started(self) -> bool:
        """Whether the cells of a checkpoint have begun; before the first, libraries are imported."""
        return self._first_start is not None

    def unfinished(self, specs: Sequence[CellSpec]) -> list[CellSpec]:
        """The cells among these that have no outcome yet."""
        return [spec for spec in specs if spec not in self._finished]

    def expect(self, specs: Iterable[CellSpec]) -> None:
        """Adds the work of cells to compute to the expected time; each cell counts once."""
        new = {spec: self._size_of(spec) for spec in specs if spec not in self._expected}
        self._expected |= new
        self._to_do.update(spec.checkpoint for spec in new)
        self._work_left += sum(new.values())

    def started(self, seconds: float) -> None:
        """Takes the time of a checkpoint until its first cell began."""
        if self._first_start is None:
            self._first_start = seconds
        else:
            self._starts.append(seconds)

    def finish(self, specs: Sequence[CellSpec], how: Literal["stored", "computed", "failed"]) -> None:
        """Counts cells, at least one, as stored or computed; ``fail`` counts failures."""
        if how == "stored":
            self.n_stored += len(specs)
        elif how == "computed":
            self.n_computed += len(specs)
        self._finished.update(specs)
        for spec in specs:
            if spec in self._expected:
                self._work_left -= self._expected.pop(spec)
                self._to_do[spec.checkpoint] -= 1
        self.report(cell_name(specs[-1]))

    def fail(self, what: str, error: BaseException, specs: Sequence[CellSpec]) -> None:
        """Counts cells as failed, with the reason; an unexpected error is also logged."""
        is_own = isinstance(error, ObservatoryError)
        if not is_own:
            _LOG.error("%s failed", what, exc_info=error)
        self.failures.append(Failure(what, str(error) if is_own else in_words(error), len(specs)))
        if specs:
            self.finish(specs, "failed")

    def took(self, spec: CellSpec, seconds: float) -> None:
        """Takes the wall time of a computed cell."""
        self._pace.add(seconds=seconds, work=self._size_of(spec))

    def report(self, current: str) -> None:
        """Reports the state of the run, with the current cell or checkpoint."""
        info = ProgressInfo(
            current=current,
            n_stored=self.n_stored,
            n_computed=self.n_computed,
            n_failed=sum(failure.n_cells for failure in self.failures),
            cells_per_second=self.cells_per_second,
            eta_seconds=self._seconds_left(),
        )
        self._on_progress(self.n_stored + self.n_computed + info.n_failed, self.total, info)

    def _seconds_left(self) -> float | None:
        """Expected seconds for the remaining cells and for loading; None if they wait for another process."""
        if len(self._finished) == self.total:
            return 0.0
        scoring = self._pace.eta_seconds(self._work_left)
        if scoring is None or self.waits or not self._expected:
            return None
        n_to_load = sum(n > 0 for ref, n in self._to_do.items() if ref != self.loaded)
        return scoring + n_to_load * (median(self._starts) if self._starts else self._first_start or 0.0)
