"""Results as one file to hand on: a Parquet table with one row a cell, and a manifest with its sha256.

It adds nothing to what the store holds and computes no measure. Numbers keep their exact bits; importing twice
changes nothing. A bundle may be a stranger's: sizes are checked before anything is read, and each row is checked by
itself, so that a bad one costs itself alone. Parquet: https://parquet.apache.org/docs/file-format/.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from icl_core.errors import StoreError
from icl_core.evaluation.catalogue import company_of
from icl_core.evaluation.cells import is_current
from icl_core.evaluation.index import remedy
from icl_core.evaluation.job_worker import JobContext, Outcome
from icl_core.evaluation.segments import GROUP_ROWS, SCHEMA, WRITING, check_table, checked_rows_of, plain_file, table_of
from icl_core.evaluation.store import PutReport, Store
from icl_core.owners import clear_leftovers
from icl_core.plain import from_json
from icl_core.records import SCORING_VERSION, CellKey, CellRecord, CellSpec, canonical_json, shown
from icl_core.settings import BASE_MEMBER, embedded_results_path
from icl_core.units import byte_count

__all__ = [
    "BundleManifest",
    "embedded_bundles",
    "ensure_embedded",
    "export_bundle",
    "import_bundle",
    "import_job",
    "read_manifest",
    "waiting_bundles",
]

_FORMAT = "icl-observatory results 1"
_TABLE, _MANIFEST = "cells.parquet", "manifest.json"
_SHIPPED = "shipped bundles"
"""Notes on the shipped bundles that are in a store, by the sha256 of their manifests."""
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
        store: where the results are.
        path: the folder; made where it is not there, an older bundle in it is replaced.
        specs: which results; those without one are left out. None takes all.
        tell: is given one sentence for each result that is damaged, and so left out.

    Raises:
        StoreError: none of the specs has a usable result, or the folder cannot be written; an older bundle in it stays.
    """
    wanted = list(specs) if specs is not None else [s.spec for s in store.summaries()]
    present = [spec for spec, status in store.status(wanted).items() if status == "complete"]
    if not present:
        raise StoreError(f"There are no results to export to {path}; evaluate something first or choose other cells.")
    present.sort(key=lambda spec: spec.digest)
    table, text = (path / f".{name}.{os.getpid()}.tmp" for name in (_TABLE, _MANIFEST))
    try:
        path.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path.glob(".*.tmp"))
        written = _write_table(store, table, present, tell or (lambda _: None))
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
    except (OSError, ValueError, pa.ArrowException) as error:
        cause = getattr(error, "strerror", None) or shown(error, most=200)
        raise StoreError(f"The bundle cannot be written to {shown(path)}: {cause}; {remedy(error)}.") from error
    finally:
        for temporary in (table, text):
            with suppress(OSError, ValueError):
                temporary.unlink(missing_ok=True)
    return manifest


def _write_table(store: Store, path: Path, specs: list[CellSpec], tell: Callable[[str], None]) -> list[CellSpec]:
    """Writes the results that can be read, and gives their specs."""
    written: list[CellSpec] = []
    with path.open("wb") as file, pq.ParquetWriter(file, SCHEMA, **WRITING) as writer:
        for start in range(0, len(specs), GROUP_ROWS):
            batch = specs[start : start + GROUP_ROWS]
            known = set(store.damage)
            records = store.find_many(batch)
            for sentence in (store.damage[name] for name in store.damage.keys() - known):
                tell(sentence)
            if records:
                writer.write_table(table_of(list(records.values())))
            written += records
    if not written:
        raise StoreError(f"Each of the {len(specs)} results to export is damaged; see `results --verify`.")
    return written


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


OnRows = Callable[[int, int], None]


def import_bundle(
    store: Store,
    path: Path,
    *,
    on_progress: OnRows = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> PutReport:
    """Merges the bundle in a folder into a store; results that are there already stay.

    Ended half-way it leaves whole cells, and importing again adds the rest. A row that is no result, or that does not
    fit the results of its model that are here, is refused with a sentence; the others go in.

    Args:
        store: where they go.
        path: the folder.
        on_progress: called with read rows and all rows.
        should_stop: looked at before each row; True ends the import, and the report tells of what went in.

    Raises:
        StoreError: the folder holds no bundle, its table is not the one of the manifest, or it would fill the memory;
            nothing is stored then.
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
            records = _records(checked_rows_of(file, str(table)), manifest, _Neighbours(store), refused)
            report = store.put_many(_watched(records, manifest.n_cells, on_progress, should_stop))
    except OSError as error:
        raise StoreError(f"The bundle in {path} lacks its table: {error}.") from error
    except (pa.ArrowException, MemoryError) as error:
        raise StoreError(f"{table} cannot be read as Parquet: {shown(error, most=200)}.") from error
    return dataclasses.replace(report, refused=tuple(refused))


def _watched(
    records: Iterator[CellRecord], total: int, on_progress: OnRows, should_stop: Callable[[], bool]
) -> Iterator[CellRecord]:
    """The records until it is time to stop, each told of before it is handed on."""
    for done, record in enumerate(records):
        if should_stop():
            return
        on_progress(done, total)
        yield record


def _records(
    rows: Iterator[tuple[int, CellRecord | str]], manifest: BundleManifest, neighbours: _Neighbours, refused: list[str]
) -> Iterator[CellRecord]:
    """The rows that are results and fit those that are here; of each other one a sentence goes to ``refused``."""
    models, tasks = set(manifest.models), set(manifest.tasks)
    for index, record in rows:
        why = record if isinstance(record, str) else neighbours.fault(record)
        if not isinstance(record, str):
            if record.spec.checkpoint.model not in models or record.spec.task not in tasks:
                why = f"the {_MANIFEST} does not name its model or its task"
            if why is None:
                yield record
                continue
        refused.append(f"Row {index} is refused: {why}.")


class _Neighbours:
    """What the current results of each model and task were computed on; one other row would hide all their curves."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._here = {company_of(each.spec): each.spec for each in store.summaries() if each.is_current}
        self._facts: dict[tuple[object, ...], tuple[object, ...]] = {}

    def fault(self, record: CellRecord) -> str | None:
        """What is wrong with a result on other rows or label words than those that it would share a curve with."""
        if not is_current(record.key):
            return None
        company = company_of(record.spec)
        if company not in self._facts:
            beside = self._store.find_many([self._here[company]]) if company in self._here else {}
            self._facts[company] = _facts(next(iter(beside.values()), record).key)
        if _facts(record.key) == self._facts[company]:
            return None
        return (
            f"it was computed on other rows or label words of {shown(record.spec.task)} than the results of "
            f"{shown(record.spec.checkpoint.model)} that are here already"
        )


def _facts(key: CellKey) -> tuple[object, ...]:
    return key.dataset_fingerprint, key.row_ids_sha256, key.label_words


def embedded_bundles() -> tuple[str, ...]:
    """Names of the shipped bundles, the base model's first: it is what a new store opens with."""
    names = (manifest.parent.name for manifest in embedded_results_path().glob(f"*/{_MANIFEST}"))
    return tuple(sorted(names, key=lambda name: (name != BASE_MEMBER, name)))


def waiting_bundles(store: Store) -> tuple[str, ...]:
    """The shipped bundles that are not in a store yet, in the order of ``embedded_bundles``."""
    return tuple(name for name in embedded_bundles() if store.notes.get(_SHIPPED, _bundle_id(name)) is None)


def ensure_embedded(
    store: Store,
    bundles: Iterable[str] | None = None,
    *,
    on_progress: Callable[[int, int, str], None] = lambda done, total, name: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Imports shipped bundles once; returns how many cells were new. Quick when nothing is left to do.

    Args:
        store: where they go.
        bundles: their names; None for the base model's alone.
        on_progress: called with read cells and all cells of the bundles that are not there yet, and a bundle's name.
        should_stop: True ends it; the bundle in work counts as not there, and importing again adds its rest.

    Raises:
        StoreError: a shipped bundle is damaged, or there is none of that name.
    """
    names = embedded_bundles()[:1] if bundles is None else tuple(bundles)
    if unknown := [name for name in names if name not in embedded_bundles()]:
        raise StoreError(f"There is no shipped bundle {unknown[0]!r}; there are {', '.join(embedded_bundles())}.")
    waiting = [name for name in names if store.notes.get(_SHIPPED, _bundle_id(name)) is None]
    sizes = {name: read_manifest(embedded_results_path() / name).n_cells for name in waiting}
    total, before, n_new = sum(sizes.values()), 0, 0
    for name in waiting:

        def tell(done: int, _: int, before: int = before, name: str = name) -> None:
            on_progress(before + done, total, name)

        tell(0, sizes[name])
        n_mine = _bring_in(store, embedded_results_path() / name, on_progress=tell, should_stop=should_stop)
        n_new += n_mine
        if should_stop():
            return n_new
        store.notes.put(_SHIPPED, _bundle_id(name), canonical_json({"folder": name, "n_new": n_mine}))
        before += sizes[name]
    on_progress(before, total, "")
    return n_new


def _bring_in(store: Store, path: Path, *, on_progress: OnRows, should_stop: Callable[[], bool]) -> int:
    """Takes a shipped bundle in as it is, or row by row where there are results beside its own; how many were new.

    Its rows are this project's own and need no check of each; that its table is the one of its manifest is checked.
    """
    if should_stop():
        return 0
    if _file_sha256(path / _TABLE) == read_manifest(path).sha256:
        n_cells = store.adopt(path / _TABLE)
        if n_cells is not None:
            return n_cells
    return import_bundle(store, path, on_progress=on_progress, should_stop=should_stop).n_new


def import_job(payload: Mapping[str, object], context: JobContext) -> Outcome:
    """Does a job of the kind ``import``: ``{"bundles": [names of shipped bundles]}``.

    Raises:
        StoreError: as ``ensure_embedded``; bundles before the one that is refused are in the store.
    """
    asked = payload["bundles"]
    names = [str(name) for name in asked] if isinstance(asked, list) else []
    store = Store.open(context.store_path)
    try:
        n_new = ensure_embedded(
            store,
            names,
            on_progress=lambda done, total, name: context.report_alike(done, total, current=name),
            should_stop=context.should_stop,
        )
    finally:
        store.close()
    if context.should_stop():
        return Outcome(f"{n_new:,} new cells are in the store; resume brings in the rest.", complete=False)
    return Outcome(f"{n_new:,} new cells of {len(names)} shipped bundle{'s' * (len(names) != 1)} are in the store.")


def _bundle_id(name: str) -> str:
    return _file_sha256(embedded_results_path() / name / _MANIFEST)
