"""Stores that were damaged on purpose."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from icl_core.evaluation.store import Store


def place_of(store: Store, digest: str) -> tuple[Path, int]:
    """The file and the row of a stored result."""
    file, row = store._known().places[digest]
    return store.results / file, row


def file_of(store: Store, digest: str) -> Path:
    """The file of a stored result."""
    return place_of(store, digest)[0]


def alter_cell(store: Store, digest: str) -> Path:
    """Changes one number of a stored result, in its file and under the file's name; returns the file."""
    path, row = place_of(store, digest)
    table = pq.read_table(path, partitioning=None)
    rows = table.to_pylist()
    rows[row]["loglikelihoods"][0] -= 1.0
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return path
