"""Results as one file to hand on: a Parquet table with one row a cell, and a manifest with its sha256.

It adds nothing to what the store holds and computes no measure. Numbers keep their exact bits; importing twice
changes nothing. Parquet: https://parquet.apache.org/docs/file-format/.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from icl_core.errors import StoreError
from icl_core.evaluation.codec import from_plain, payload_sha256
from icl_core.evaluation.store import PutReport, Store
from icl_core.records import SCORING_VERSION, CellKey, CellRecord, CellSpec, canonical_json, plain_fields
from icl_core.settings import BASE_MEMBER, embedded_results_path

__all__ = [
    "BundleManifest",
    "embedded_bundles",
    "ensure_embedded",
    "export_bundle",
    "import_bundle",
    "read_manifest",
    "waiting_bundles",
]

_FORMAT = "icl-observatory results 1"
_TABLE, _MANIFEST = "cells.parquet", "manifest.json"
_BATCH = 200
_STRINGS, _COUNTS, _NATS = pa.list_(pa.string()), pa.list_(pa.uint32()), pa.list_(pa.float32())
_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("revision", pa.string()),
        ("step", pa.int64()),
        ("task", pa.string()),
        ("split", pa.string()),
        ("label_setting", pa.string()),
        ("demo_seed", pa.int64()),
        ("n_shots", pa.int32()),
        ("row_ids", _STRINGS),
        ("gold", _COUNTS),
        ("loglikelihoods", _NATS),  # (n_examples x n_choices), row by row
        ("n_tokens", _COUNTS),
        ("content_free", _NATS),
        ("content_free_n_tokens", _COUNTS),
        ("choices", _STRINGS),
        ("demonstration_ids", _STRINGS),
        ("demonstration_labels", _STRINGS),
        ("context_cut", pa.int64()),
        ("n_shortened", pa.int64()),
        ("provenance", pa.string()),
        ("spec", pa.string()),
        ("key", pa.string()),
        ("sha256", pa.string()),
    ]
)
_FROM_SPEC = ("task", "split", "label_setting", "demo_seed", "n_shots")
_LISTS = ("row_ids", "choices", "demonstration_ids", "demonstration_labels")
_ARRAYS = ("gold", "loglikelihoods", "n_tokens", "content_free", "content_free_n_tokens")


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


def export_bundle(store: Store, path: Path, *, specs: Iterable[CellSpec] | None = None) -> BundleManifest:
    """Writes current results into a folder as ``cells.parquet`` and ``manifest.json``.

    Args:
        store: where the results are.
        path: the folder; made where it is not there, an older bundle in it is replaced.
        specs: which results; those without one are left out. None takes all.

    Raises:
        StoreError: none of the specs has a result, one is damaged, or the folder cannot be written.
    """
    wanted = list(specs) if specs is not None else [s.spec for s in store.summaries()]
    present = [spec for spec, status in store.status(wanted).items() if status == "complete"]
    if not present:
        raise StoreError(f"There are no results to export to {path}; evaluate something first or choose other cells.")
    present.sort(key=lambda spec: spec.digest)
    temporary = path / f".{_TABLE}.{os.getpid()}.tmp"
    try:
        path.mkdir(parents=True, exist_ok=True)
        _write_table(store, temporary, present)
        manifest = BundleManifest(
            format=_FORMAT,
            sha256=_file_sha256(temporary),
            n_cells=len(present),
            models=tuple(sorted({spec.checkpoint.model for spec in present})),
            tasks=tuple(sorted({spec.task for spec in present})),
            scoring_version=SCORING_VERSION,
        )
        os.replace(temporary, path / _TABLE)
        _write_manifest(path, manifest)
    except OSError as error:
        raise StoreError(f"The bundle cannot be written to {path}: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return manifest


def _write_table(store: Store, path: Path, specs: list[CellSpec]) -> None:
    options: dict[str, Any] = {
        "compression": "zstd",
        "use_dictionary": [name for name in _SCHEMA.names if name not in ("loglikelihoods", "content_free", "sha256")],
        "use_byte_stream_split": ["loglikelihoods.list.element"],
    }
    with pq.ParquetWriter(path, _SCHEMA, **options) as writer:
        for start in range(0, len(specs), _BATCH):
            batch = specs[start : start + _BATCH]
            records = store.find_many(batch)
            writer.write_table(pa.Table.from_pylist([_to_row(records[spec]) for spec in batch], schema=_SCHEMA))


def _to_row(record: CellRecord) -> dict[str, Any]:
    spec = record.spec
    return {
        "model": spec.checkpoint.model,
        "revision": spec.checkpoint.revision,
        "step": spec.checkpoint.step,
        **{name: getattr(spec, name) for name in _FROM_SPEC},
        **{name: list(getattr(record, name)) for name in _LISTS},
        **{name: getattr(record, name).ravel() for name in _ARRAYS},
        "context_cut": record.context_cut,
        "n_shortened": record.n_shortened,
        "provenance": canonical_json(dict(record.provenance)),
        "spec": canonical_json(plain_fields(spec)),
        "key": canonical_json(plain_fields(record.key)),
        "sha256": payload_sha256(record),
    }


def _write_manifest(path: Path, manifest: BundleManifest) -> None:
    temporary = path / f".{_MANIFEST}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(dataclasses.asdict(manifest), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, path / _MANIFEST)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(path: Path) -> BundleManifest:
    """The manifest of the bundle in a folder.

    Raises:
        StoreError: the folder holds no bundle, or one of another layout.
    """
    try:
        plain = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        manifest = from_plain(BundleManifest, plain)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} holds no bundle of results: its {_MANIFEST} cannot be read ({error}).") from error
    if manifest.format != _FORMAT:
        raise StoreError(
            f"The bundle in {path} has the layout {manifest.format!r}, but this version reads {_FORMAT!r}."
        )
    return manifest


def import_bundle(store: Store, path: Path) -> PutReport:
    """Merges the bundle in a folder into a store; results that are there already stay.

    Ended half-way it leaves whole cells, and importing again adds the rest.

    Raises:
        StoreError: the folder holds no bundle, its table is not the one of the manifest, or a row is not what its
            own sha256 says; nothing is stored from a table that fails the first two.
    """
    manifest = read_manifest(path)
    table = path / _TABLE
    try:
        found = _file_sha256(table)
    except OSError as error:
        raise StoreError(f"The bundle in {path} lacks its table: {error}.") from error
    if found != manifest.sha256:
        raise StoreError(f"{table} is damaged: its sha256 is not the one in {_MANIFEST}; copy the bundle again.")
    try:
        with pq.ParquetFile(table) as parquet:
            if not parquet.schema_arrow.equals(_SCHEMA):
                raise StoreError(f"{table} does not have the columns of a bundle of results.")
            return store.put_many(_records(parquet, table))
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{table} cannot be read as Parquet: {error}.") from error


def _records(parquet: pq.ParquetFile, table: Path) -> Iterator[CellRecord]:
    rows = itertools.chain.from_iterable(batch.to_pylist() for batch in parquet.iter_batches(batch_size=_BATCH))
    for index, row in enumerate(rows):
        try:
            record = _from_row(row)
            is_whole = payload_sha256(record) == row["sha256"]
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreError(f"Row {index} of {table} is not a result: {error}.") from error
        if not is_whole:
            raise StoreError(
                f"Row {index} of {table} is not what its sha256 says; it and the rows after it are refused."
            )
        yield record


def _from_row(row: dict[str, Any]) -> CellRecord:
    shape = (len(row["row_ids"]), len(row["choices"]))
    return CellRecord(
        spec=from_plain(CellSpec, json.loads(row["spec"])),
        key=from_plain(CellKey, json.loads(row["key"])),
        gold=np.array(row["gold"], dtype=np.int64),
        loglikelihoods=np.array(row["loglikelihoods"], dtype=np.float32).reshape(shape),
        n_tokens=np.array(row["n_tokens"], dtype=np.int64).reshape(shape),
        content_free=np.array(row["content_free"], dtype=np.float32),
        content_free_n_tokens=np.array(row["content_free_n_tokens"], dtype=np.int64),
        context_cut=row["context_cut"],
        n_shortened=row["n_shortened"],
        provenance=json.loads(row["provenance"]),
        **{name: tuple(row[name]) for name in _LISTS},
    )


def embedded_bundles() -> tuple[str, ...]:
    """Names of the shipped bundles, the base model's first: it is what a new store opens with."""
    names = (manifest.parent.name for manifest in embedded_results_path().glob(f"*/{_MANIFEST}"))
    return tuple(sorted(names, key=lambda name: (name != BASE_MEMBER, name)))


def waiting_bundles(store: Store) -> tuple[str, ...]:
    """The shipped bundles that are not in a store yet, in the order of ``embedded_bundles``."""
    return tuple(name for name in embedded_bundles() if store.get_note("bundles", _bundle_id(name)) is None)


def ensure_embedded(store: Store, bundles: Iterable[str] | None = None) -> int:
    """Imports shipped bundles once; returns how many cells were new. Quick when nothing is left to do.

    Args:
        store: where they go.
        bundles: their names; None for the base model's alone, since all of them take a minute.

    Raises:
        StoreError: a shipped bundle is damaged, or there is none of that name.
    """
    n_new = 0
    for name in embedded_bundles()[:1] if bundles is None else bundles:
        if name not in embedded_bundles():
            raise StoreError(f"There is no shipped bundle {name!r}; there are {', '.join(embedded_bundles())}.")
        if store.get_note("bundles", _bundle_id(name)) is None:
            report = import_bundle(store, embedded_results_path() / name)
            store.put_note("bundles", _bundle_id(name), canonical_json({"folder": name, "n_new": report.n_new}))
            n_new += report.n_new
    return n_new


def _bundle_id(name: str) -> str:
    return _file_sha256(embedded_results_path() / name / _MANIFEST)
