"""Feeds the cells of one checkpoint to the engine: reserves a few ahead, looks them up once more, and encodes them.

It scores and stores nothing, and does not know the run, which gives it all it needs.

Threads: the run makes a feed, and the engine iterates over it in its encoding thread. So ``__iter__`` and everything
that it calls run there. Reservations and the store are safe from any thread (the encoding thread has its own
connection, which is closed at the end). No other thread may use the encodings meanwhile. The rate may be one cell old.
``ready``, ``stored`` and ``failed`` are deques: the encoding thread only appends and the run's thread only takes, which
needs no lock. A cell is in ``ready`` before its requests are given out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from icl_core.data.datasets import TaskData
from icl_core.errors import CheckpointError, ends_process
from icl_core.evaluation.encodings import Encodings, PreparedCell
from icl_core.evaluation.reservations import OwnReservations
from icl_core.evaluation.store import Store
from icl_core.records import CellKey, CellSpec, CheckpointIdentity, EncodedRequest

__all__ = ["Encoder", "Feed", "Ready"]

RESERVE_AHEAD_SECONDS = 2.0
MOST_RESERVED = 32
"""Cells are reserved for about this many seconds ahead, up to this number: each reservation waits for the disk."""


class Ready(NamedTuple):
    """A reserved cell with its token ids."""

    spec: CellSpec
    key: CellKey
    prepared: PreparedCell


@dataclass(frozen=True, slots=True)
class Encoder:
    """Turns the cells of one checkpoint into token ids.

    Attributes:
        encodings: of the run; they keep what other checkpoints can use.
        tokenizer: of the checkpoint.
        identity: of the checkpoint.
        data: rows by task, for every task of the cells.
    """

    encodings: Encodings
    tokenizer: Any
    identity: CheckpointIdentity
    data: Mapping[str, TaskData]

    def prepare(self, spec: CellSpec) -> PreparedCell:
        """The token ids of a cell; raises as ``Encodings.prepare``."""
        return self.encodings.prepare(self.tokenizer, spec, self.data[spec.task], identity=self.identity)


class Feed:
    """The requests of the cells that a run has reserved.

    Attributes:
        ready: cells given to the engine, in order; the run removes them as their scores arrive.
        stored: cells that another process finished between look-up and reservation.
        failed: cells that cannot be encoded, with the reason.
    """

    def __init__(
        self,
        missing: Sequence[tuple[CellSpec, CellKey]],
        *,
        encoder: Encoder,
        reservations: OwnReservations,
        store: Store,
        cells_per_second: Callable[[], float | None],
    ) -> None:
        """A feed of the missing cells of one checkpoint.

        Args:
            missing: cells to compute, in order.
            encoder: makes their token ids.
            reservations: of the run, which gives them back.
            store: may hold a cell by now.
            cells_per_second: the run's recent rate, None before the first cell; it decides how many cells are reserved
                at once.
        """
        self._missing, self._encoder, self._reservations, self._store = list(missing), encoder, reservations, store
        self._cells_per_second = cells_per_second
        self.ready: deque[Ready] = deque()
        self.stored: deque[tuple[CellSpec, CellKey]] = deque()
        self.failed: deque[tuple[CellSpec, CellKey, BaseException]] = deque()

    def __iter__(self) -> Iterator[list[EncodedRequest]]:
        """The requests of one cell after another, in the thread that iterates."""
        try:
            for spec, key in self._reserved():
                if self._store.has(key):
                    self.stored.append((spec, key))
                elif (prepared := self._prepared(spec, key)) is not None:
                    self.ready.append(Ready(spec, key, prepared))
                    yield prepared.requests
        finally:
            self._store.close()  # this thread's connection

    def _prepared(self, spec: CellSpec, key: CellKey) -> PreparedCell | None:
        try:
            return self._encoder.prepare(spec)
        except CheckpointError:  # its tokenizer cannot be used for the other cells either
            raise
        except BaseException as error:
            if ends_process(error):
                raise
            self.failed.append((spec, key, error))
            return None

    def _reserved(self) -> Iterator[tuple[CellSpec, CellKey]]:
        """Reserves a few cells at a time and gives out those that this run got."""
        left = self._missing
        while left:
            n_ahead = round(RESERVE_AHEAD_SECONDS * (self._cells_per_second() or 0.0))
            some, left = left[: (n := max(1, min(n_ahead, MOST_RESERVED)))], left[n:]
            mine = set(self._reservations.take(key for _, key in some))
            yield from ((spec, key) for spec, key in some if key in mine)
