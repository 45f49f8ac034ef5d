"""How long cells and checkpoints took on this machine, and how long others will take.

It is a note beside the results, not a part of them: a text file in the store's folder that may be deleted at any
time. It knows neither models nor tasks. Nothing here is exported: another machine has other rates.
"""

from __future__ import annotations

import json
import platform
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from icl_core.plain import from_plain

__all__ = [
    "MeasuredCell",
    "MeasuredLoad",
    "Pace",
    "Pacing",
    "encode_seconds_per_query",
    "fit_pacing",
    "note",
    "read_cells",
    "read_loads",
]

Measured = TypeVar("Measured", "MeasuredCell", "MeasuredLoad")

_FILE = "rates.jsonl"
_MOST_BYTES = 400_000
_MOST_CELLS = 200
_ENOUGH = 10
"""If so many cells needed no encoding, they alone count."""
_INTERRUPTED = 3.0
"""A cell that took this many times what was expected was held up by another program; it does not count."""
_N_ROUNDS = 5
_LEAST_SHARE = 0.1
"""Of a cell's time that is taken for scoring, however long its encoding took beside it."""


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """One computed cell.

    Attributes:
        model, task: names.
        device, dtype: ``cpu`` or ``cuda``; as computed.
        n_non_embedding: parameters that the work follows from.
        n_queries: queries, the content-free one included.
        characters: of the texts (prefix once, queries, labels); with ``tokens`` it tells characters a token.
        tokens: tokens that passed through the model.
        flops: operations by the count of ``shapes.work_flops``.
        seconds: wall time from the end of the cell before to the end of this one.
        encode_seconds: wall time of making its token ids beside that; 0 where an earlier checkpoint's served.
    """

    model: str
    task: str
    device: str
    dtype: str
    n_non_embedding: int
    n_queries: int
    characters: int
    tokens: int
    flops: float
    seconds: float
    encode_seconds: float


@dataclass(frozen=True, slots=True)
class MeasuredLoad:
    """One loaded checkpoint: its bytes of weights and the wall time to load it.

    ``is_first`` marks the first one of a process, which also pays for importing libraries.
    """

    model: str
    device: str
    n_bytes: int
    seconds: float
    is_first: bool


@dataclass(frozen=True, slots=True)
class Pacing:
    """Seconds of a cell = per_cell + per_query x queries + per_flop x operations, all at least 0."""

    per_cell: float
    per_query: float
    per_flop: float

    def seconds(self, *, n_queries: int, flops: float) -> float:
        """Expected wall time of one cell."""
        return self.per_cell + self.per_query * n_queries + self.per_flop * flops


def note(folder: Path, measured: MeasuredCell | MeasuredLoad) -> None:
    """Appends one measurement; a disk that refuses is ignored, the results do not depend on it."""
    kind = "cell" if isinstance(measured, MeasuredCell) else "load"
    line = json.dumps({"kind": kind, "machine": platform.node()} | asdict(measured))
    try:
        with (folder / _FILE).open("a", encoding="ascii") as file:
            file.write(line + "\n")
    except OSError:
        return


def read_cells(folder: Path) -> list[MeasuredCell]:
    """The most recent measured cells of this machine, oldest first."""
    return _read(folder, "cell", MeasuredCell)


def read_loads(folder: Path) -> list[MeasuredLoad]:
    """The most recent measured loads of this machine, oldest first."""
    return _read(folder, "load", MeasuredLoad)


def _read(folder: Path, kind: str, record: type[Measured]) -> list[Measured]:
    try:
        with (folder / _FILE).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _MOST_BYTES))
            lines = file.read().decode("ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
            if (row.pop("kind"), row.pop("machine")) == (kind, platform.node()):
                rows.append(from_plain(record, row))
        except (ValueError, KeyError, AttributeError, TypeError):  # a first line cut in two, a line torn by a full disk
            continue
    return rows


def fit_pacing(cells: Sequence[MeasuredCell]) -> Pacing:
    """Non-negative least squares of relative errors over measured cells (at least one), encoding apart.

    Cells whose ids were there already tell the time of scoring alone; where there are too few of them, all are taken,
    less the share of their time that encoding took. Cells that took more than three times the typical time are left
    out: other programs interfere. Errors are taken relative to the time expected, in a few rounds: relative to the time
    measured, the fastest cells would weigh most and every total would come out too low.

    >>> cells = [MeasuredCell("m", "t", "cpu", "float32", 1, n, 0, 0, f, 0.5 + 2e-9 * f, 0) for n, f in
    ...          ((10, 1e9), (20, 2e9), (10, 4e9), (40, 8e9))]
    >>> round(fit_pacing(cells).seconds(n_queries=20, flops=3e9), 6)
    6.5
    """
    scored_alone = [cell for cell in cells if not cell.encode_seconds]
    recent = (scored_alone if len(scored_alone) >= _ENOUGH else list(cells))[-_MOST_CELLS:]
    encoding = sum(cell.encode_seconds for cell in recent) / max(sum(cell.seconds for cell in recent), 1e-9)
    largest = max(cell.flops for cell in recent)
    features = np.array([[1.0, cell.n_queries / 100, cell.flops / largest] for cell in recent])
    seconds = np.array([max(cell.seconds * max(1 - encoding, _LEAST_SHARE), 1e-6) for cell in recent])
    expected = _expected(features, seconds, seconds)[1]
    expected *= np.median(seconds / expected)
    kept = seconds < _INTERRUPTED * expected
    features, seconds, expected = features[kept], seconds[kept], expected[kept]
    for _ in range(_N_ROUNDS):
        weights, expected = _expected(features, seconds, expected)
    return Pacing(float(weights[0]), float(weights[1]) / 100, float(weights[2]) / largest)


def _expected(
    features: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64], scale: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weights (not negative) of the features, and what they expect of each cell, with errors relative to ``scale``."""
    weights, _ = nnls(features / scale[:, None], seconds / scale)
    return weights, np.maximum(features @ weights, 1e-9)


def encode_seconds_per_query(cells: Sequence[MeasuredCell]) -> float:
    """Median over the cells that were encoded; 0 without any."""
    return median([cell.encode_seconds / cell.n_queries for cell in cells if cell.encode_seconds] or [0.0])


class Pace:
    """Robust rate of work from the last units that were really computed.

    The seconds of a unit are divided by its work (any measure of its size, such as tokens), and the median of the last
    ``window`` quotients is the pace, so that one slow unit or a burst of stored ones does not upset it.
    """

    def __init__(self, window: int = 15) -> None:
        self._seconds: deque[float] = deque(maxlen=window)
        self._quotients: deque[float] = deque(maxlen=window)

    def add(self, *, seconds: float, work: float) -> None:
        """Notes one computed unit: its wall time in seconds and its size, both above 0."""
        self._seconds.append(max(seconds, 1e-9))
        self._quotients.append(max(seconds, 1e-9) / max(work, 1e-9))

    @property
    def units_per_second(self) -> float | None:
        """Recent units a second, None before the first."""
        return 1 / median(self._seconds) if self._seconds else None

    def eta_seconds(self, work_left: float) -> float | None:
        """Expected seconds for the work that is left, None before the first unit."""
        return median(self._quotients) * work_left if self._quotients else None
