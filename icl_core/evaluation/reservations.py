"""Reservations of cells, so that no two processes compute the same one: rows of the index, and those of this run.

It computes and stores nothing. A reservation belongs to a process. It ends when that process ends or is silent for
STALE_SECONDS; reservations of killed processes are removed when a run begins.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from icl_core.errors import StoreError
from icl_core.evaluation.rows import Rows
from icl_core.owners import Owner, lives, owner_of
from icl_core.plain import from_plain
from icl_core.records import CellKey, canonical_json, plain_fields

__all__ = ["ROW_PREFIX", "STALE_SECONDS", "OwnReservations", "Reservations"]

ROW_PREFIX = "claim/"
"""Prefix of the names of the rows; it stays, since existing rows have it."""
BEAT_SECONDS = 4.0
STALE_SECONDS = 20.0
"""Silence after which a reservation ends: five heartbeats."""


class Reservations:
    """The reservations of all processes: one row of the index for each cell that is being computed."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def take(self, key: CellKey, owner: str) -> bool:
        """Reserves a cell for computing; atomic over processes.

        Returns:
            False if another owner holds it, whose process lives and has sent a heartbeat within ``STALE_SECONDS``. On
            this machine a dead process is recognised without the clock; on another machine only the age of the
            heartbeat decides.
        """

        def write() -> bool:
            held = self._held(key)
            if held and held["owner"] != owner and not _is_free(held):
                return False
            self._set(key, owner)
            return True

        return self.rows.write(write)

    def heartbeat(self, key: CellKey, owner: str) -> bool:
        """Sends a heartbeat for a cell; False if another owner has it by now."""

        def write() -> bool:
            held = self._held(key)
            is_owner = held is not None and held["owner"] == owner
            if is_owner:
                self._set(key, owner)
            return is_owner

        return self.rows.write(write)

    def release(self, key: CellKey, owner: str) -> None:
        """Gives a cell back; nothing happens if another owner has it."""

        def write() -> None:
            held = self._held(key)
            if held is not None and held["owner"] == owner:
                self.rows.delete(f"{ROW_PREFIX}{key.digest}")

        self.rows.write(write)

    def clear(self) -> int:
        """Removes the reservations of processes that have ended; returns their number."""

        def write() -> int:
            found = {name: _reservation(text) for name, text in self.rows.all(ROW_PREFIX).items()}
            free = [name for name, held in found.items() if held is None or _is_free(held)]
            return sum(self.rows.delete(name) for name in free)

        with self.rows.worded_errors():
            has_any = bool(self.rows.names(ROW_PREFIX))
        return self.rows.write(write) if has_any else 0

    def _held(self, key: CellKey) -> dict[str, Any] | None:
        return _reservation(self.rows.get(f"{ROW_PREFIX}{key.digest}"))

    def _set(self, key: CellKey, owner: str) -> None:
        process = owner_of()
        facts = plain_fields(process) if process else {}
        self.rows.set(f"{ROW_PREFIX}{key.digest}", canonical_json({"owner": owner, "time": time.time(), **facts}))


def _reservation(text: str | None) -> dict[str, Any] | None:
    """The reservation in a row; None if there is none, or this project does not write such a row."""
    try:
        plain = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    is_one = isinstance(plain, dict) and type(plain.get("owner")) is str and type(plain.get("time")) in (int, float)
    return plain if is_one else None


def _is_free(held: Mapping[str, Any]) -> bool:
    """Whether the owner of a reservation is gone: its process has ended, or has been silent for too long."""
    age = float(time.time() - held["time"])
    try:
        alive = lives(from_plain(Owner, {name: held[name] for name in ("place", "pid", "started")}))
    except (KeyError, ValueError):
        alive = None
    if alive is None:
        return abs(age) >= STALE_SECONDS
    return not alive or age >= STALE_SECONDS


class OwnReservations:
    """The reservations of one run; a context manager that sends heartbeats and, at its end, gives all cells back."""

    def __init__(self, reservations: Reservations) -> None:
        self._all = reservations
        self._owner = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._held: set[CellKey] = set()
        self._spent: set[CellKey] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_end, name="reservations", daemon=True)

    def take(self, keys: Iterable[CellKey]) -> list[CellKey]:
        """Reserves cells in one step; returns those that this run now holds, including those that it already held."""

        def write() -> list[CellKey]:
            return [key for key in keys if self._all.take(key, self._owner)]

        taken = self._all.rows.write(write)
        with self._lock:
            self._held.update(taken)
        return taken

    def spend(self, key: CellKey) -> None:
        """Marks a cell as done; the next ``give_back`` removes its row."""
        with self._lock:
            self._held.discard(key)
            self._spent.add(key)

    def give_back(self) -> None:
        """Frees all cells of this run in one step; if the store refuses, they become free by their age."""
        with self._lock:
            keys = self._held | self._spent
            self._held, self._spent = set(), set()

        def write() -> None:
            for key in keys:
                self._all.release(key, self._owner)

        if keys:
            with suppress(StoreError):
                self._all.rows.write(write)

    def _beat_until_end(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(StoreError):
                self._all.rows.write(self._beat)

    def _beat(self) -> None:
        with self._lock:
            keys = list(self._held)
        for key in keys:
            self._all.heartbeat(key, self._owner)

    def __enter__(self) -> OwnReservations:
        self._all.clear()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.give_back()
