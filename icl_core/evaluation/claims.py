"""The cells that this process has taken for computing, kept alive by heartbeats, so that no two compute one cell.

It computes and stores nothing. A claim is free again once the process of its owner has ended, or has not beaten for
STALE_SECONDS; what killed processes have left is cleared when a run begins.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType

from icl_core.errors import StoreError
from icl_core.evaluation.store import Store
from icl_core.records import CellKey

__all__ = ["Claims"]

BEAT_SECONDS = 4.0
STALE_SECONDS = 20.0


class Claims:
    """Claims of one run; a context manager that beats while it is open and gives everything back at its end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._owner = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._held: set[CellKey] = set()
        self._spent: set[CellKey] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_end, name="claims", daemon=True)

    def take(self, keys: Iterable[CellKey]) -> list[CellKey]:
        """Claims cells in one step; returns those that are this run's now, which may have been before."""

        def write() -> list[CellKey]:
            return [key for key in keys if self._store.claim(key, self._owner, stale_after_s=STALE_SECONDS)]

        taken = self._store.write(write)
        with self._lock:
            self._held.update(taken)
        return taken

    def spend(self, key: CellKey) -> None:
        """Says that a cell is done; its row goes with the next ``give_back``."""
        with self._lock:
            self._held.discard(key)
            self._spent.add(key)

    def give_back(self) -> None:
        """Frees all cells of this run in one step; a store that refuses frees them by their age."""
        with self._lock:
            keys = self._held | self._spent
            self._held, self._spent = set(), set()

        def write() -> None:
            for key in keys:
                self._store.release(key, self._owner)

        if keys:
            with suppress(StoreError):
                self._store.write(write)

    def _beat_until_end(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(StoreError):
                self._store.write(self._beat)

    def _beat(self) -> None:
        with self._lock:
            keys = list(self._held)
        for key in keys:
            self._store.heartbeat(key, self._owner)

    def __enter__(self) -> Claims:
        self._store.clear_leftovers(stale_after_s=STALE_SECONDS)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.give_back()
