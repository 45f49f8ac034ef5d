"""Upkeep of a store: find what is damaged, rebuild the index from the cell files, make a backup.

It deletes no result: what is damaged is renamed and stays, results and index alike. An index is set aside only if it is
damaged or not this project's, never because the disk is full or another process holds it. Nothing here runs by itself.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

from icl_core.errors import StoreError
from icl_core.evaluation.codec import NewerFormatError, decode_record
from icl_core.evaluation.index import DATABASE, database_fault, integrity_faults, is_damage, read_rows, remedy
from icl_core.evaluation.store import Store, readable_resolution
from icl_core.records import shown
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
        faults: what is wrong with the index as a whole: damaged, or not only this project's.
        newer: digests of cells that a later version of the project wrote; they are left alone.
    """

    n_cells: int
    damaged: tuple[tuple[str, str], ...]
    unindexed: tuple[str, ...]
    fileless: tuple[str, ...]
    faults: tuple[str, ...]
    newer: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether there is nothing to repair."""
        return not (self.damaged or self.unindexed or self.fileless or self.faults)


def verify_store(path: Path | None = None) -> StoreReport:
    """Reads every cell, in its file and in the index, and changes nothing; the dry run of ``rebuild_store``.

    Raises:
        StoreError: the index cannot be looked at now (locked, forbidden); that says nothing about its health.
    """
    path = (path or store_path()).resolve()
    faults = _index_faults(path / "index")
    return _report(path, {} if faults else _row_texts(path), faults=faults)


def _index_faults(folder: Path) -> tuple[str, ...]:
    try:
        fault = database_fault(folder)
        if fault is not None:
            return (f"The index has {fault}, so another program wrote to it.",)
        return tuple(f"The index is damaged: {state}." for state in integrity_faults(folder))
    except (sqlite3.Error, OSError) as error:
        if is_damage(error):
            return (f"The index is damaged: {error}.",)
        raise StoreError(f"The result index in {folder} cannot be read ({error}); {remedy(error)}.") from error


def rebuild_store(path: Path | None = None) -> StoreReport:
    """Makes files and index agree; runs may go on meanwhile.

    Healthy files fill the index, healthy index rows replace missing or damaged files, damaged files without a healthy
    copy are renamed to ``*.damaged``. An index that is damaged or not only this project's is renamed and made anew
    from the files alone.

    Returns:
        What was found before the repair.

    Raises:
        StoreError: the index cannot be read or written now (full disk, locked), or other processes have a damaged index
            open; nothing is set aside then.
    """
    path = (path or store_path()).resolve()
    found = verify_store(path)
    if found.faults:
        _set_index_aside(path / "index")
    store = Store.open(path)
    rows, damaged = _row_texts(path), {digest for digest, _ in found.damaged}
    for digest in damaged:
        _set_aside(store, digest)
    healthy = [digest for digest in _newest_first(path, rows) if digest not in damaged and digest not in found.newer]
    store.restore({digest: _healthy_text(store, digest, rows) for digest in healthy})
    store.write(lambda: _drop_unreadable_rows(store))
    store.clear_leftovers()
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
        name = DATABASE
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


def _row_texts(path: Path) -> dict[str, str]:
    """The texts of all cells in the index, by digest; names that no cell has are passed over."""
    try:
        rows = read_rows(path / "index", "cell/")
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"The result index in {path} cannot be read ({error}); {remedy(error)}.") from error
    found = {name.removeprefix("cell/"): text for name, text in rows.items()}
    return {digest: text for digest, text in found.items() if re.fullmatch("[0-9a-f]{64}", digest)}


def _fault(text: str | None, digest: str) -> str | None:
    """Why a copy of a cell is of no use, None if it is healthy, or if a later version is to read it."""
    if text is None:
        return "it is missing"
    try:
        decode_record(text, digest=digest)
    except NewerFormatError:
        return None
    except StoreError as error:
        return shown(error.__cause__, most=200)
    return None


def _file_text(file: Path | None) -> str | None:
    return file.read_text(encoding="utf-8", errors="replace") if file and file.is_file() else None


def _report(path: Path, rows: dict[str, str], *, faults: tuple[str, ...]) -> StoreReport:
    files = _cell_files(path)
    damaged, unindexed, fileless, newer = [], [], [], []
    digests = sorted(set(files) | set(rows))
    for digest in digests:
        text = _file_text(files.get(digest))
        in_file, in_row = _fault(text, digest), _fault(rows.get(digest), digest)
        if in_file and in_row:
            damaged.append((digest, in_file if digest in files else in_row))
        elif _is_newer(text if in_file is None else rows[digest], digest):
            newer.append(digest)
        elif in_row:
            unindexed.append(digest)
        elif in_file:
            fileless.append(digest)
    n_healthy = len(digests) - len(damaged) - len(newer)
    return StoreReport(n_healthy, tuple(damaged), tuple(unindexed), tuple(fileless), faults, tuple(newer))


def _is_newer(text: str | None, digest: str) -> bool:
    try:
        decode_record(text or "", digest=digest)
    except StoreError as error:
        return isinstance(error, NewerFormatError)
    return False


def _newest_first(path: Path, rows: dict[str, str]) -> list[str]:
    """All digests; the newest first, because the first cell of a spec becomes the one that the spec leads to."""
    files = _cell_files(path)
    return sorted(set(files) | set(rows), key=lambda d: (-files[d].stat().st_mtime if d in files else 0.0, d))


def _set_index_aside(folder: Path) -> None:
    """Renames an index as it is; refused while other processes have it open, whose journals would meet the new one.

    See https://www.sqlite.org/howtocorrupt.html, section 2.4.
    """
    if pids := _holders(folder / DATABASE):
        raise StoreError(
            f"The index in {folder} is damaged, and the processes {', '.join(map(str, pids))} have it open; end them "
            "and rebuild again. Nothing was changed."
        )
    try:
        folder.rename(folder.with_name(f"{folder.name}.damaged-{time.time_ns()}"))
    except OSError as error:
        raise StoreError(f"The index in {folder} cannot be renamed ({error}); {remedy(error)}.") from error


def _holders(database: Path) -> list[int]:
    """The other processes of this machine that have a file open, as far as this user may see."""
    own, found = psutil.Process().pid, []
    for process in psutil.process_iter():
        try:
            if process.pid != own and any(Path(file.path) == database for file in process.open_files()):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


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
    """Renames the file of a damaged cell, which may have any name, and drops its rows."""
    file = _cell_files(store.path).get(digest)
    if file is not None and file != store.cell_path(digest):
        file.rename(file.with_name(f"{file.name}.damaged"))
    if re.fullmatch("[0-9a-f]{64}", digest):
        store.write(lambda: store.set_aside(digest))


def _drop_unreadable_rows(store: Store) -> None:
    """Removes resolutions that lead nowhere, and claims that nobody wrote; inside a write."""
    for name, text in read_rows(store.path / "index", "resolution/").items():
        if readable_resolution(name, text) is None:
            store.index.delete(name)
