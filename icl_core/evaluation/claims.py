"""Which process computes a cell, so that no two compute one: rows of the index, and what this process holds of them.

It computes and stores nothing. A claim belongs to a process: it is free again once that process has ended, or has been
silent for STALE_SECONDS; what killed processes have left is cleared when a run begins.
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

__all__ = ["STALE_SECONDS", "ClaimRows", "Claims"]

BEAT_SECONDS = 4.0
STALE_SECONDS = 20.0
"""Silence after which a claim is free: five beats."""


class ClaimRows:
    """The claims of all processes: one row of the index for each cell that somebody computes."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def take(self, key: CellKey, owner: str) -> bool:
        """Takes a cell for computing; atomic over processes.

        Returns:
            False if another owner holds it whose process lives and has sent a heartbeat within ``STALE_SECONDS``. The
            process of a dead owner is known to be dead whatever the clock says; where the process is on another
            machine, the age of the heartbeat alone decides.
        """

        def write() -> bool:
            held = self._claim_of(key)
            if held and held["owner"] != owner and not _is_free(held):
                return False
            self._set(key, owner)
            return True

        return self.rows.write(write)

    def heartbeat(self, key: CellKey, owner: str) -> bool:
        """Says that the owner still works on a cell; False if the claim is another's by now."""

        def write() -> bool:
            held = self._claim_of(key)
            is_owner = held is not None and held["owner"] == owner
            if is_owner:
                self._set(key, owner)
            return is_owner

        return self.rows.write(write)

    def release(self, key: CellKey, owner: str) -> None:
        """Gives a claim back; nothing happens if it is another's."""

        def write() -> None:
            held = self._claim_of(key)
            if held is not None and held["owner"] == owner:
                self.rows.delete(f"claim/{key.digest}")

        self.rows.write(write)

    def clear(self) -> int:
        """Removes the claims of processes that are gone, and says how many that were."""

        def write() -> int:
            claims = {name: _claim(text) for name, text in self.rows.all("claim/").items()}
            free = [name for name, held in claims.items() if held is None or _is_free(held)]
            return sum(self.rows.delete(name) for name in free)

        with self.rows.worded_errors():
            has_claims = bool(self.rows.names("claim/"))
        return self.rows.write(write) if has_claims else 0

    def _claim_of(self, key: CellKey) -> dict[str, Any] | None:
        return _claim(self.rows.get(f"claim/{key.digest}"))

    def _set(self, key: CellKey, owner: str) -> None:
        process = owner_of()
        facts = plain_fields(process) if process else {}
        self.rows.set(f"claim/{key.digest}", canonical_json({"owner": owner, "time": time.time(), **facts}))


def _claim(text: str | None) -> dict[str, Any] | None:
    """The claim in a row; None where there is none, or none that this project writes."""
    try:
        plain = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    is_claim = isinstance(plain, dict) and type(plain.get("owner")) is str and type(plain.get("time")) in (int, float)
    return plain if is_claim else None


def _is_free(held: Mapping[str, Any]) -> bool:
    """Whether a claim's owner is gone: its process has ended, or it has long been silent."""
    age = float(time.time() - held["time"])
    try:
        alive = lives(from_plain(Owner, {name: held[name] for name in ("place", "pid", "started")}))
    except (KeyError, ValueError):
        alive = None
    if alive is None:
        return abs(age) >= STALE_SECONDS
    return not alive or age >= STALE_SECONDS


class Claims:
    """Claims of one run; a context manager that beats while it is open and gives everything back at its end."""

    def __init__(self, claims: ClaimRows) -> None:
        self._claims = claims
        self._owner = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._held: set[CellKey] = set()
        self._spent: set[CellKey] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_end, name="claims", daemon=True)

    def take(self, keys: Iterable[CellKey]) -> list[CellKey]:
        """Claims cells in one step; returns those that are this run's now, which may have been before."""

        def write() -> list[CellKey]:
            return [key for key in keys if self._claims.take(key, self._owner)]

        taken = self._claims.rows.write(write)
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
                self._claims.release(key, self._owner)

        if keys:
            with suppress(StoreError):
                self._claims.rows.write(write)

    def _beat_until_end(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(StoreError):
                self._claims.rows.write(self._beat)

    def _beat(self) -> None:
        with self._lock:
            keys = list(self._held)
        for key in keys:
            self._claims.heartbeat(key, self._owner)

    def __enter__(self) -> Claims:
        self._claims.clear()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.give_back()
