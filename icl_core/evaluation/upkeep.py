"""Upkeep of a store: find what is damaged, rebuild the index from the cell files, make a backup.

It deletes no result: what is damaged is renamed and stays. Nothing here runs by itself.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import diskcache

from icl_core.errors import StoreError
from icl_core.evaluation.codec import decode_record, from_plain
from icl_core.evaluation.store import Store
from icl_core.records import CellSpec
from icl_core.settings import store_path

__all__ = ["StoreReport", "backup_store", "rebuild_store", "verify_store"]


@dataclass(frozen=True, slots=True)
class StoreReport:
    """State of a store, cell by cell.

    Attributes:
        n_cells: cells with a healthy copy.
        damaged: (digest, reason) of cells without a healthy copy.
        unindexed: digests whose file is healthy and whose index row is missing or damaged.
        fileless: digests whose index row is healthy and whose file is missing or damaged.
        faults: what the database's own check, or opening it, says.
    """

    n_cells: int
    damaged: tuple[tuple[str, str], ...]
    unindexed: tuple[str, ...]
    fileless: tuple[str, ...]
    faults: tuple[str, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether there is nothing to repair."""
        return not (self.damaged or self.unindexed or self.fileless or self.faults)


def verify_store(path: Path | None = None) -> StoreReport:
    """Reads every cell, in its file and in the index, and changes nothing; the dry run of ``rebuild_store``."""
    path = (path or store_path()).resolve()
    try:
        store = Store.open(path)
    except StoreError as error:
        return _report(path, _row_texts(None), faults=(str(error),))
    try:
        faults = tuple(str(w.message) for w in store.index.check())
    except (sqlite3.Error, diskcache.Timeout) as error:
        faults = (f"The index cannot be checked: {error}.",)
    return _report(path, _row_texts(store), faults=faults)


def rebuild_store(path: Path | None = None) -> StoreReport:
    """Makes files and index agree; run it while no evaluation runs.

    Healthy files fill the index, healthy index rows replace missing or damaged files, damaged files without a
    healthy copy are renamed to ``*.damaged``. Rows that another program pickled are dropped unread, and a
    database that cannot be read at all is renamed and made anew.

    Returns:
        What was found before the repair.
    """
    path = (path or store_path()).resolve()
    found = verify_store(path)
    _make_openable(path / "index")
    store = Store.open(path)
    rows, damaged = _row_texts(store), {digest for digest, _ in found.damaged}
    for digest in damaged:
        _set_aside(store, digest)
    healthy = [digest for digest in _newest_first(path, rows) if digest not in damaged]
    store.restore({digest: _healthy_text(store, digest, rows) for digest in healthy})
    store.write(lambda: _drop_unreadable_resolutions(store))
    return found


def backup_store(target: Path, path: Path | None = None) -> int:
    """Copies all cell files and the index into a folder that is then a store itself.

    Repeating it adds what is new. Returns the number of cell files in the copy.

    Raises:
        StoreError: the target lies in the store or cannot be written.
    """
    store = Store.open(path)
    target = target.resolve()
    if target == store.path or store.path in target.parents:
        raise StoreError(f"The backup folder {target} lies inside the store; choose one outside {store.path}.")
    try:
        for file in _cell_files(store.path).values():
            copy = target / file.relative_to(store.path)
            if not copy.exists() or copy.stat().st_size != file.stat().st_size:
                copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                partial = copy.with_name(f".{copy.name}.tmp")
                shutil.copy2(file, partial)
                partial.replace(copy)
        (target / "index").mkdir(mode=0o700, parents=True, exist_ok=True)
        name = diskcache.core.DBNAME
        with (
            closing(sqlite3.connect(store.path / "index" / name)) as source,
            closing(sqlite3.connect(target / "index" / name)) as copied,
        ):
            source.backup(copied)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"The backup to {target} failed: {error}; the store itself is unchanged.") from error
    return len(_cell_files(target))


def _cell_files(path: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted((path / "cells").glob("??/*.json")) if not file.name.startswith(".")}


def _row_texts(store: Store | None) -> dict[str, str]:
    """The texts of all cells in the index, by digest."""
    names = store.names("cell/") if store else []
    return {name.removeprefix("cell/"): str(store.index.get(name)) for name in names if store}


def _fault(text: str | None, digest: str) -> str | None:
    """Why a copy of a cell is of no use, None if it is healthy."""
    if text is None:
        return "it is missing"
    try:
        decode_record(text, digest=digest)
    except StoreError as error:
        return str(error.__cause__)
    return None


def _file_text(file: Path | None) -> str | None:
    return file.read_text(encoding="utf-8", errors="replace") if file and file.is_file() else None


def _report(path: Path, rows: dict[str, str], *, faults: tuple[str, ...]) -> StoreReport:
    files = _cell_files(path)
    damaged, unindexed, fileless = [], [], []
    digests = sorted(set(files) | set(rows))
    for digest in digests:
        in_file = _fault(_file_text(files.get(digest)), digest)
        in_row = _fault(rows.get(digest), digest)
        if in_file and in_row:
            damaged.append((digest, in_file if digest in files else in_row))
        elif in_row:
            unindexed.append(digest)
        elif in_file:
            fileless.append(digest)
    return StoreReport(len(digests) - len(damaged), tuple(damaged), tuple(unindexed), tuple(fileless), faults)


def _newest_first(path: Path, rows: dict[str, str]) -> list[str]:
    """All digests; the newest first, because the first cell of a spec becomes the one that the spec leads to."""
    files = _cell_files(path)
    return sorted(set(files) | set(rows), key=lambda d: (-files[d].stat().st_mtime if d in files else 0.0, d))


def _make_openable(folder: Path) -> None:
    """Removes what ``open_cache`` refuses; a database that SQLite cannot read is renamed."""
    database = folder / diskcache.core.DBNAME
    if not database.exists():
        return
    try:
        with closing(sqlite3.connect(database)) as connection, connection:
            ((state,),) = connection.execute("PRAGMA integrity_check(1)")
            if state != "ok":
                raise sqlite3.DatabaseError(state)
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "Cache" in tables:
                connection.execute("DELETE FROM Cache WHERE raw = 0 OR mode = 4 OR filename IS NOT NULL")
            if "Settings" in tables:
                connection.execute("DELETE FROM Settings WHERE key NOT IN ('count', 'size', 'hits', 'misses')")
    except sqlite3.DatabaseError:
        folder.rename(folder.with_name(f"{folder.name}.damaged-{time.time_ns()}"))


def _healthy_text(store: Store, digest: str, rows: dict[str, str]) -> str:
    """The healthy copy of a cell that has one; a damaged file is renamed."""
    file = store.cell_path(digest)
    text = _file_text(file)
    if text is not None and _fault(text, digest) is None:
        return text
    if text is not None:
        file.rename(file.with_name(f"{file.name}.damaged"))
    return rows[digest]


def _set_aside(store: Store, digest: str) -> None:
    file = store.cell_path(digest)
    if file.exists():
        file.rename(file.with_name(f"{file.name}.damaged"))
    store.write(lambda: [store.index.delete(f"{kind}/{digest}") for kind in ("cell", "summary")])


def _drop_unreadable_resolutions(store: Store) -> None:
    for name in store.names("resolution/"):
        try:
            resolution = json.loads(store.index.get(name))
            spec = from_plain(CellSpec, resolution["spec"])
            is_sound = name == f"resolution/{spec.digest}" and len(resolution["versions"]) == 2
        except (ValueError, KeyError, TypeError):
            is_sound = False
        if not is_sound:
            store.index.delete(name)
