"""The time of cells and checkpoints on this machine: measured, and estimated for others.

Measurements are in text files in the store's folder. They are not part of the results and may be deleted at any time.
It knows neither models nor tasks. Nothing here is exported: another machine has other rates.
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
"""If at least this many cells needed no encoding, only these are used."""
_INTERRUPTED = 3.0
"""A cell that took this many times what was expected was held up by another program; it does not count."""
_N_ROUNDS = 5
_LEAST_SHARE = 0.1
"""Smallest share of a cell's time that counts as scoring, however long its encoding took."""


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """One computed cell.

    Attributes:
        model, task: names.
        device, dtype: ``cpu`` or ``cuda``; as computed.
        n_non_embedding: parameters that decide the work.
        n_queries: queries, with the content-free one.
        characters: of the texts (prefix once, queries, labels); with ``tokens`` it gives characters per token.
        tokens: tokens that went through the model.
        flops: operations as counted by ``shapes.work_flops``.
        seconds: wall time from the end of the previous cell to the end of this one.
        encode_seconds: wall time of encoding, which runs in parallel; 0 if ids from an earlier checkpoint were used.
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
    """One loaded checkpoint: bytes of its weights, and wall time of loading.

    ``is_first`` marks the first load of a process, which also imports libraries.
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
    """Appends one measurement; a failing disk is ignored, since no result depends on it."""
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
        except (ValueError, KeyError, AttributeError, TypeError):  # a line cut in two, or torn by a full disk
            continue
    return rows


def fit_pacing(cells: Sequence[MeasuredCell]) -> Pacing:
    """Fits a pacing to measured cells (at least one) by non-negative least squares of relative errors.

    Cells that needed no encoding give the time of scoring alone. If there are too few of them, all cells are taken,
    minus the share of their time that encoding took. Cells that took more than three times the typical time are left
    out, since other programs interfered. Errors are relative to the expected time, in a few rounds: relative to the
    measured time, the fastest cells would weigh most, and every total would be too low.

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
    """Non-negative weights of the features, and each cell's predicted time; errors are relative to ``scale``."""
    weights, _ = nnls(features / scale[:, None], seconds / scale)
    return weights, np.maximum(features @ weights, 1e-9)


def encode_seconds_per_query(cells: Sequence[MeasuredCell]) -> float:
    """Median over the cells that were encoded; 0 if there are none."""
    return median([cell.encode_seconds / cell.n_queries for cell in cells if cell.encode_seconds] or [0.0])


class Pace:
    """Robust rate of work from the last computed units.

    The pace is the median, over the last ``window`` units, of seconds divided by work (any measure of size, such as
    tokens). So one slow unit, or a burst of stored ones, does not upset it.
    """

    def __init__(self, window: int = 15) -> None:
        self._seconds: deque[float] = deque(maxlen=window)
        self._quotients: deque[float] = deque(maxlen=window)

    def add(self, *, seconds: float, work: float) -> None:
        """Adds one computed unit: its wall time in seconds and its size, both above 0."""
        self._seconds.append(max(seconds, 1e-9))
        self._quotients.append(max(seconds, 1e-9) / max(work, 1e-9))

    @property
    def units_per_second(self) -> float | None:
        """Recent units per second, None before the first."""
        return 1 / median(self._seconds) if self._seconds else None

    def eta_seconds(self, work_left: float) -> float | None:
        """Expected seconds for the remaining work, None before the first unit."""
        return median(self._quotients) * work_left if self._quotients else None
