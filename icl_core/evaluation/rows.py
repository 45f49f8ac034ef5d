"""The index of a store as rows of text by name, with one lock for writing, and failures as sentences.

It does not know what rows mean. index.py opens the database and decides what is refused.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import diskcache

from icl_core.errors import StoreError
from icl_core.evaluation.index import LOCK_TIMEOUT_S, ReadOnlyIndex, is_unwritable, open_cache, remedy
from icl_core.records import shown

__all__ = ["WRITE_ATTEMPTS", "Rows"]

T = TypeVar("T")
WRITE_ATTEMPTS = 3
_GENERATION = "generation"


class Rows:
    """Rows of text; safe for several threads, several processes and kill -9 at any moment.

    Attributes:
        path: the folder of the store.
        cache: the database in it.
    """

    def __init__(self, path: Path, cache: diskcache.Cache | ReadOnlyIndex) -> None:
        self.path = path
        self.cache = cache

    @classmethod
    def open(cls, path: Path) -> Rows:
        """Opens the index in a folder; only for reading if it cannot be written.

        Raises:
            StoreError: as ``open_cache``, if even reading is impossible.
        """
        try:
            return cls(path, open_cache(path / "index"))
        except StoreError as error:
            if not (isinstance(error.__cause__, Exception) and is_unwritable(error.__cause__)):
                raise
            return cls(path, ReadOnlyIndex(path / "index", error))

    @property
    def trouble(self) -> str | None:
        """A sentence on why the index could not be opened for writing; None if it could."""
        return self.cache.reason if isinstance(self.cache, ReadOnlyIndex) else None

    def close(self) -> None:
        """Closes this thread's connection; it is opened again when needed."""
        self.cache.close()

    def get(self, name: str) -> str | None:
        """The text of a row; None if there is no such row, "" if what it holds is no longer text."""
        try:
            text = self.cache.get(name)
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            return ""
        return text if text is None or isinstance(text, str) else ""

    def names(self, prefix: str) -> list[str]:
        """The names that start with a prefix, such as ``claim/``, sorted."""
        return [name for name in self.cache.iterkeys() if name.startswith(prefix)]

    def all(self, prefix: str) -> dict[str, str]:
        """The rows whose names start with a prefix."""
        return {name: text for name in self.names(prefix) if (text := self.get(name)) is not None}

    def set(self, name: str, text: str) -> None:
        """Writes a row; inside ``write``."""
        self.cache.set(name, text)

    def delete(self, name: str) -> bool:
        """Removes a row, and tells whether it existed; inside ``write``."""
        return bool(self.cache.delete(name))

    def generation(self) -> int:
        """A number that grows with each change that readers of results can see; caches may depend on it."""
        text = self.get(_GENERATION) or "0"
        return int(text) if text.isdecimal() and len(text) < 19 else time.time_ns() // 2**20

    def bump(self) -> None:
        """Increases the generation; inside ``write``."""
        self.set(_GENERATION, str(self.generation() + 1))

    def write(self, action: Callable[[], T]) -> T:
        """Runs an action under the store's write lock; all its rows appear together or not at all.

        Raises:
            StoreError: the index cannot be written, or another process holds it for minutes.
        """
        if isinstance(self.cache, ReadOnlyIndex):
            self.cache = open_cache(self.path / "index")  # there may be room again
        for _ in range(WRITE_ATTEMPTS):
            with suppress(diskcache.Timeout), self.worded_errors(), self.cache.transact():
                return action()
        raise StoreError(
            f"Another process has held the result store in {self.path} for {WRITE_ATTEMPTS * LOCK_TIMEOUT_S:.0f} s; "
            "end it or try again later. Nothing was changed."
        )

    @contextmanager
    def worded_errors(self) -> Iterator[None]:
        """Turns failures of disk and database into sentences; drops the connection and its open transaction."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            self.cache.close()
            raise StoreError(
                f"The result store in {self.path} cannot be read or written ({shown(error, most=200)}); "
                f"{remedy(error)}."
            ) from error
