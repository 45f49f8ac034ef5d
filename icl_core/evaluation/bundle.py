"""Results as a folder that can be passed on: a Parquet table with one row per cell, and a manifest with its sha256.

It adds nothing to what the store holds and computes no measure. Numbers keep their exact bits; importing twice changes
nothing. A bundle may come from a stranger: sizes are checked before anything is read, and each row is checked by
itself, so that a bad row does not affect the others. Parquet: https://parquet.apache.org/docs/file-format/.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from icl_core.errors import StoreError
from icl_core.evaluation.catalogue import company_of, order_in_file
from icl_core.evaluation.cells import current_versions
from icl_core.evaluation.index import remedy
from icl_core.evaluation.segments import (
    GROUP_ROWS,
    SCHEMA,
    check_table,
    checked_groups,
    is_sound,
    open_writer,
    plain_file,
    read_table,
    rows_as_asked,
    sync_folder,
    table_of,
)
from icl_core.evaluation.store import PutReport, Store
from icl_core.owners import clear_leftovers
from icl_core.plain import from_json
from icl_core.records import SCORING_VERSION, CellKey, CellRecord, CellSpec, CheckpointRef, canonical_json, shown
from icl_core.settings import BASE_MEMBER, embedded_results_path
from icl_core.units import byte_count

__all__ = [
    "BundleManifest",
    "embedded_bundles",
    "ensure_embedded",
    "export_bundle",
    "import_bundle",
    "read_manifest",
]

_FORMAT = "icl-observatory results 1"
_TABLE, _MANIFEST = "cells.parquet", "manifest.json"
_SHIPPED = "shipped bundles"
"""Namespace of the notes on shipped bundles that are in a store, named by the sha256 of their manifests."""
_MOST_MANIFEST_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class BundleManifest:
    """What a bundle holds.

    Attributes:
        format: name and version of the layout.
        sha256: of the Parquet file.
        n_cells: number of rows.
        models, tasks: names that occur, sorted.
        scoring_version: of the code that wrote it.
    """

    format: str
    sha256: str
    n_cells: int
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    scoring_version: int


def export_bundle(
    store: Store, path: Path, *, specs: Iterable[CellSpec] | None = None, tell: Callable[[str], None] | None = None
) -> BundleManifest:
    """Writes current results into a folder as ``cells.parquet`` and ``manifest.json``.

    Args:
        store: holds the results.
        path: the folder; it is made if needed, and an older bundle in it is replaced.
        specs: which results; specs without a result are left out. None takes all.
        tell: is called with one sentence for each result that is left out because it is damaged.

    Raises:
        StoreError: no spec has a usable result, or the folder cannot be written; an older bundle in it stays.
    """
    wanted = list(specs) if specs is not None else [s.spec for s in store.summaries()]
    present = [spec for spec, status in store.status(wanted).items() if status == "complete"]
    if not present:
        raise StoreError(f"There are no results to export to {path}; evaluate something first or choose other cells.")
    table, text = (path / f".{name}.{os.getpid()}.tmp" for name in (_TABLE, _MANIFEST))
    try:
        path.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path.glob(".*.tmp"))
        written = _write_table(store, table, specs=present, tell=tell or (lambda _: None))
        manifest = BundleManifest(
            format=_FORMAT,
            sha256=_file_sha256(table),
            n_cells=len(written),
            models=tuple(sorted({spec.checkpoint.model for spec in written})),
            tasks=tuple(sorted({spec.task for spec in written})),
            scoring_version=SCORING_VERSION,
        )
        text.write_text(json.dumps(dataclasses.asdict(manifest), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(table, path / _TABLE)
        os.replace(text, path / _MANIFEST)
        sync_folder(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        cause = getattr(error, "strerror", None) or shown(error, most=200)
        raise StoreError(f"The bundle cannot be written to {shown(path)}: {cause}; {remedy(error)}.") from error
    finally:
        for temporary in (table, text):
            with suppress(OSError, ValueError):
                temporary.unlink(missing_ok=True)
    return manifest


def _write_table(store: Store, path: Path, *, specs: list[CellSpec], tell: Callable[[str], None]) -> list[CellSpec]:
    """Writes the results that can be read, one checkpoint after another, and gives their specs."""
    by_checkpoint: dict[CheckpointRef, list[CellSpec]] = {}
    for spec in sorted(specs, key=order_in_file):
        by_checkpoint.setdefault(spec.checkpoint, []).append(spec)
    read = functools.lru_cache(maxsize=2)(read_table)
    written: list[CellSpec] = []
    waiting = SCHEMA.empty_table()
    with path.open("wb") as file, open_writer(file) as writer:
        for mine in by_checkpoint.values():
            there, table = _rows(store, mine, read=read, tell=tell)
            written += there
            waiting = pa.concat_tables([waiting, table])
            while waiting.num_rows >= GROUP_ROWS:
                writer.write_table(waiting.slice(0, GROUP_ROWS).combine_chunks())
                waiting = waiting.slice(GROUP_ROWS)
        if waiting.num_rows:
            writer.write_table(waiting.combine_chunks())
        writer.close()
        file.flush()
        os.fsync(file.fileno())
    if not written:
        raise StoreError(f"All {len(specs)} results to export are damaged; see `results --verify`.")
    return written


def _rows(
    store: Store, specs: list[CellSpec], *, read: Callable[[Path], pa.Table], tell: Callable[[str], None]
) -> tuple[list[CellSpec], pa.Table]:
    """The specs that have a whole result, in their order, and the rows of these results, copied as they are.

    If a file has changed, or a result is asked for under another name, its record is made and sealed anew.
    """
    there: list[CellSpec] = []
    tables = [SCHEMA.empty_table()]
    for path, wanted in store.rows_of(specs).items():
        with suppress(OSError, pa.ArrowException):  # find_many tells what is wrong with the file
            if is_sound(path):
                table = read(path)
                rows = rows_as_asked(table, wanted)
                there += rows
                tables.append(table.take(pa.array(list(rows.values()), pa.int64())))
    known = set(store.damage)
    copied = set(there)
    records = store.find_many(spec for spec in specs if spec not in copied)
    for sentence in (store.damage[name] for name in store.damage.keys() - known):
        tell(sentence)
    there += records
    tables.append(table_of(list(records.values())))
    place = {spec: at for at, spec in enumerate(specs)}
    order = sorted(range(len(there)), key=lambda at: place[there[at]])
    return [there[at] for at in order], pa.concat_tables(tables).take(pa.array(order, pa.int64()))


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(path: Path) -> BundleManifest:
    """The manifest of the bundle in a folder.

    Raises:
        StoreError: the folder holds no bundle, or one of another layout.
    """
    try:
        with plain_file(path / _MANIFEST) as file:
            data = file.read(_MOST_MANIFEST_BYTES + 1)
        if len(data) > _MOST_MANIFEST_BYTES:
            raise ValueError(f"it is larger than {byte_count(_MOST_MANIFEST_BYTES)}")
        manifest = from_json(BundleManifest, data.decode("utf-8"))
    except (OSError, ValueError) as error:
        words = f"its {_MANIFEST} cannot be read ({shown(error, most=200)})"
        raise StoreError(f"{shown(path, most=300)} holds no bundle of results: {words}.") from error
    if manifest.format != _FORMAT:
        raise StoreError(
            f"The bundle in {path} has the layout {shown(manifest.format)!r}, but this version reads {_FORMAT!r}."
        )
    return manifest


def import_bundle(store: Store, path: Path) -> PutReport:
    """Merges the bundle in a folder into a store; results that are already there stay.

    If it is ended half-way, the store has whole cells, and importing again adds the rest. A row that is not a result,
    or that does not fit the stored results of its model, is refused with a sentence; the others are imported.

    Args:
        store: receives the results.
        path: the folder.

    Raises:
        StoreError: the folder holds no bundle, its table is not the one in the manifest, or it would fill the memory.
            In these cases nothing is stored.
    """
    manifest = read_manifest(path)
    table = path / _TABLE
    refused: list[str] = []
    try:
        with plain_file(table) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != manifest.sha256:
                raise StoreError(
                    f"{table} is damaged: its sha256 is not the one in {_MANIFEST}; copy the bundle again."
                )
            file.seek(0)
            metadata = pq.read_metadata(file)
            check_table(metadata, str(table))
            if metadata.num_rows != manifest.n_cells:
                raise StoreError(f"{table} has {metadata.num_rows} rows, but its {_MANIFEST} says {manifest.n_cells}.")
            report = store.put_rows(
                _accepted(checked_groups(file, str(table)), manifest, neighbours=_Neighbours(store), refused=refused)
            )
    except OSError as error:
        raise StoreError(f"The bundle in {path} lacks its table: {error}.") from error
    except (pa.ArrowException, MemoryError) as error:
        raise StoreError(f"{table} cannot be read as Parquet: {shown(error, most=200)}.") from error
    return dataclasses.replace(report, refused=tuple(refused))


_Group = tuple[pa.Table, list[CellRecord | str]]


def _accepted(
    groups: Iterator[_Group], manifest: BundleManifest, *, neighbours: _Neighbours, refused: list[str]
) -> Iterator[tuple[list[CellRecord], pa.Table]]:
    """The rows that are results and fit the stored ones; for each other row, a sentence is added to ``refused``."""
    models, tasks = set(manifest.models), set(manifest.tasks)
    start = 0
    for table, found in groups:
        fitting: dict[int, CellRecord] = {}
        for at, record in enumerate(found):
            why = record if isinstance(record, str) else neighbours.fault(record)
            if not isinstance(record, str):
                if record.spec.checkpoint.model not in models or record.spec.task not in tasks:
                    why = f"the {_MANIFEST} does not name its model or its task"
                if why is None:
                    fitting[at] = record
                    continue
            refused.append(f"Row {start + at} is refused: {why}.")
        start += len(found)
        if fitting:
            yield list(fitting.values()), table.take(pa.array(list(fitting)))


class _Neighbours:
    """The rows and label words of the current results; one result on other rows would hide all curves of its model."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._versions_of = functools.cache(current_versions)
        self._here = {company_of(each.spec): each.spec for each in store.summaries() if each.is_current}
        self._facts: dict[tuple[object, ...], tuple[object, ...]] = {}

    def fault(self, record: CellRecord) -> str | None:
        """What is wrong with a result whose rows or label words differ from those of its curve; None if nothing is."""
        if self._versions_of(record.key.task) != (record.key.scoring_version, record.key.task_version):
            return None
        company = company_of(record.spec)
        if company not in self._facts:
            beside = self._store.find_many([self._here[company]]) if company in self._here else {}
            self._facts[company] = _facts(next(iter(beside.values()), record).key)
        if _facts(record.key) == self._facts[company]:
            return None
        return (
            f"its rows or label words of {shown(record.spec.task)} differ from those of the results of "
            f"{shown(record.spec.checkpoint.model)} that are already here"
        )


def _facts(key: CellKey) -> tuple[object, ...]:
    return key.dataset_fingerprint, key.row_ids_sha256, key.label_words


def embedded_bundles() -> tuple[str, ...]:
    """Names of the shipped bundles, the base model's first."""
    names = (manifest.parent.name for manifest in embedded_results_path().glob(f"*/{_MANIFEST}"))
    return tuple(sorted(names, key=lambda name: (name != BASE_MEMBER, name)))


def ensure_embedded(
    store: Store,
    bundles: Iterable[str] | None = None,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Imports shipped results once; returns the number of new cells. It is quick when nothing is left to do.

    A bundle that cannot be imported does not keep the others from being imported.

    Args:
        store: receives the results.
        bundles: names of the bundles; all if None.
        on_progress: called with the number of imported bundles, and the number of bundles to import.

    Raises:
        StoreError: names each bundle that is damaged or cannot be written, while the others are imported; or a bundle
            of this name does not exist.
    """
    names = embedded_bundles() if bundles is None else tuple(bundles)
    if unknown := [name for name in names if name not in embedded_bundles()]:
        raise StoreError(f"There is no shipped bundle {unknown[0]!r}; there are {', '.join(embedded_bundles())}.")
    waiting = [name for name in names if store.notes.get(_SHIPPED, _bundle_id(name)) is None]
    troubles: list[str] = []
    n_new = 0
    for done, name in enumerate(waiting):
        on_progress(done, len(waiting))
        try:
            n_mine = _bring_in(store, embedded_results_path() / name)
            store.notes.put(_SHIPPED, _bundle_id(name), canonical_json({"folder": name, "n_new": n_mine}))
            n_new += n_mine
        except StoreError as error:
            troubles.append(str(error))
    if troubles:
        raise StoreError(" ".join(dict.fromkeys(troubles)))
    return n_new


def _bring_in(store: Store, path: Path) -> int:
    """Imports a shipped bundle as it is, or row by row if the store has other results; gives the number of new cells.

    Its rows are this project's own and are not checked one by one; its table is compared with the manifest.
    """
    if _file_sha256(path / _TABLE) == read_manifest(path).sha256:
        n_cells = store.adopt(path / _TABLE)
        if n_cells is not None:
            return n_cells
    return import_bundle(store, path).n_new


def _bundle_id(name: str) -> str:
    return _file_sha256(embedded_results_path() / name / _MANIFEST)
