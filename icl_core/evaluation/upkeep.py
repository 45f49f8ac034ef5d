"""Upkeep of a store: finds damage, rebuilds the index from the files of results, makes a backup.

It deletes no result: damaged files are moved aside, and so is a damaged index. An index is set aside only if it is
damaged or not this project's, but never because the disk is full or another process holds it. Nothing runs by itself.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from icl_core.errors import StoreError
from icl_core.evaluation.catalogue import is_resolution
from icl_core.evaluation.codec import NewerFormatError
from icl_core.evaluation.index import DATABASE, database_fault, integrity_faults, is_damage, read_rows, remedy
from icl_core.evaluation.reservations import ROW_PREFIX
from icl_core.evaluation.rows import Rows
from icl_core.evaluation.segments import checked_rows, is_sound, place_file
from icl_core.evaluation.store import Store, files_of
from icl_core.records import shown
from icl_core.settings import store_path

__all__ = ["StoreReport", "backup_store", "rebuild_store", "verify_store"]


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The state of a store, file by file.

    Attributes:
        n_cells: cells with a whole result.
        damaged: (file or row of a file, reason) for each damaged one.
        unindexed: files with whole results that the index does not know.
        fileless: files in the index that do not exist.
        faults: sentences on an index that is damaged, or holds rows of another program.
        newer: files that a later version of the project wrote; they are left alone.
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
    """Reads every row of every file, checks all seals, and changes nothing; the dry run of ``rebuild_store``.

    Raises:
        StoreError: the index cannot be read now (locked, forbidden), which says nothing about its health.
    """
    path = (path or store_path()).resolve()
    faults = _index_faults(path / "index")
    known = set() if faults else _known_files(path)
    files = files_of(path)
    digests: set[str] = set()
    damaged: list[tuple[str, str]] = []
    unindexed, newer = [], []
    for file in files:
        try:
            whole, lost = _rows_in(path / "results" / file)
        except NewerFormatError:
            newer.append(file)
            continue
        digests |= whole
        damaged += [(f"{file}{where}", why) for where, why in lost]
        if not lost and file not in known:
            unindexed.append(file)
    fileless = sorted(known - set(files))
    return StoreReport(len(digests), tuple(damaged), tuple(unindexed), tuple(fileless), faults, tuple(newer))


def _known_files(path: Path) -> set[str]:
    try:
        return {name.removeprefix("segment/") for name in read_rows(path / "index", "segment/")}
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"The result index in {path} cannot be read ({error}); {remedy(error)}.") from error


def _rows_in(path: Path) -> tuple[set[str], list[tuple[str, str]]]:
    """The digests of the whole results in a file, and (row, reason) for each damaged one."""
    whole, lost = set(), []
    try:
        for row, record in checked_rows(path):
            if isinstance(record, str):
                lost.append((f", row {row}", record))
            else:
                whole.add(record.key.digest)
        if not lost and not is_sound(path):
            lost.append(("", "it is not what it is named after, though its rows are whole"))
    except NewerFormatError:
        raise
    except (StoreError, OSError) as error:
        lost.append(("", shown(error, most=200).rstrip(".")))
    return whole, lost


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
    """Makes files and index agree; runs may continue meanwhile.

    A damaged file is moved to ``damaged/``, and its whole results are written into a new file. Files that the index
    does not know are indexed, and its rows for missing files are dropped. An index that is damaged, or holds rows of
    another program, is renamed and made anew from the files alone.

    Returns:
        What was found before the repair.

    Raises:
        StoreError: the index cannot be read or written now (full disk, locked), or other processes have a damaged index
            open. Nothing is set aside then.
    """
    path = (path or store_path()).resolve()
    found = verify_store(path)
    if found.faults:
        _set_index_aside(path / "index")
    store = Store.open(path)
    for file in dict.fromkeys(name.partition(", row ")[0] for name, _ in found.damaged):
        store.rows.write(lambda file=file: store.set_aside(file))  # type: ignore[misc]
    store.rows.write(lambda: _drop_unreadable_rows(store))
    store.reconcile()
    store.clear_leftovers()
    return found


def backup_store(target: Path, path: Path | None = None) -> int:
    """Copies all files of results and the index into a folder, which is then a store.

    Repeating it adds new results. Returns the number of cells in the copy.

    Raises:
        StoreError: the target is inside the store or cannot be written.
    """
    store = Store.open(path)
    target = target.resolve()
    if target == store.path or store.path in target.parents:
        raise StoreError(f"The backup folder {target} lies inside the store; choose one outside {store.path}.")
    try:
        while missing := [file for file in files_of(store.path) if not (target / "results" / file).exists()]:
            for file in missing:
                _copy_file(store.path / "results" / file, (target / "results" / file).parent)
        with store.rows.worded_errors():
            rows = store.rows.all("")
        copy = Rows.open(target)
        copy.write(lambda: _make_alike(copy, {name: rows[name] for name in rows if not name.startswith(ROW_PREFIX)}))
        copy.close()
    except (OSError, StoreError) as error:
        raise StoreError(
            f"The backup to {target} failed: {str(error).rstrip('.')}; the store itself is unchanged."
        ) from error
    return Store.open(target).count()


def _copy_file(source: Path, folder: Path) -> None:
    try:
        place_file(source, folder)
    except FileNotFoundError:
        if source.exists():  # else another process has just joined it with others
            raise


def _make_alike(rows: Rows, wanted: Mapping[str, str]) -> None:
    """Gives an index exactly these rows; inside a write."""
    for name in rows.names(""):
        if name not in wanted:
            rows.delete(name)
    for name, text in wanted.items():
        rows.set(name, text)


def _set_index_aside(folder: Path) -> None:
    """Renames an index; refused while other processes have it open, since their journals would damage the new one.

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
    """Other processes on this machine that have a file open, as far as this user may see them."""
    own, found = psutil.Process().pid, []
    for process in psutil.process_iter():
        try:
            if process.pid != own and any(Path(file.path) == database for file in process.open_files()):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def _drop_unreadable_rows(store: Store) -> None:
    """Removes resolutions that nobody wrote; inside a write."""
    for name, text in store.rows.all("resolution/").items():
        if not is_resolution(name, text):
            store.rows.delete(name)
            store.rows.bump()
