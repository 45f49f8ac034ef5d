"""Predicted labels, derived once from each file of results and kept beside it, so that many cells are read quickly.

The kept files are in the folder ``predicted/`` of a store. Each is named by the sha256 of its file of results, the
normalisation and the version of deriving. It may be deleted at any time and holds nothing that is not in the results. A
row of it counts only if it has the requested key. Nothing is averaged here.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from icl_core.analysis.predictions import NORMALISATIONS, CellLabels, Normalisation, labels_of
from icl_core.evaluation.codec import read_key
from icl_core.evaluation.segments import (
    GROUP_ROWS,
    ROW_ERRORS,
    Columns,
    check_groups,
    checked_rows,
    is_sound,
    place,
    plain_file,
    row_groups,
    spec_fault,
)
from icl_core.records import CellRecord, CellSpec, shown

__all__ = ["VERSION", "clear_predicted", "read_labels"]

VERSION = 1
"""Raised when labels are derived differently or stored in other columns."""
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("rows", pa.int32()),  # the first row of the file with these row ids and gold labels; only it holds them
        ("row_ids", pa.list_(pa.string())),
        ("gold", pa.list_(pa.int16())),
        ("choices", pa.list_(pa.string())),
        ("context_cut", pa.int64()),
        ("n_shortened", pa.int64()),
        ("predicted", pa.binary()),  # one byte for each query, two if there are more than 256 labels
    ]
)
_MOST_IN_A_BYTE = 256
_PLAIN = ("key", "choices", "context_cut", "n_shortened")
_SCORES: dict[Normalisation, tuple[str, ...]] = {
    "sum": ("loglikelihoods",),
    "per_token": ("loglikelihoods", "n_tokens"),
    "calibrated": ("loglikelihoods", "content_free"),
}
"""Columns of results from which labels are derived, by normalisation."""
_SEAL_BYTES = 32
"""Each kept file ends with the sha256 of all its other bytes; this is its length."""
_FAULTS = (*ROW_ERRORS, IndexError)

LabelArray = npt.NDArray[np.int16]
Wanted = Mapping[int, tuple[str, CellSpec]]
"""By row of a file, the digest of the requested key, and the requested spec."""


def read_labels(
    path: Path, wanted: Wanted, *, normalisation: Normalisation, kept_in: Path
) -> Iterator[tuple[int, CellLabels | str]]:
    """The predicted labels of some rows of a file of results, or the reason why a row holds no result.

    A kept file is read if it is whole; otherwise labels are derived again, and each time if nothing can be written.
    Kept labels hold for the bytes after which the file of results is named, so this file is hashed again only if it was
    written to since. Nothing is kept for a file that has changed.

    Args:
        path: the file of results.
        wanted: which rows.
        normalisation: of the scores.
        kept_in: the folder of kept files.

    Raises:
        StoreError: the file is not a table of results.
        OSError: it cannot be read.
    """
    kept = kept_in / _name(path.stem, normalisation)
    has_changed = not _is_older(path, kept)
    if has_changed and not is_sound(path):
        yield from _checked_labels(path, wanted, normalisation)
        return
    labels = _kept(kept)
    found = None if labels is None else labels.cells(wanted, normalisation)
    if found is None or any(isinstance(cell, str) for cell in found.values()):
        if not is_sound(path):
            yield from _checked_labels(path, wanted, normalisation)
            return
        table = _derived(path, normalisation)
        _keep(table, kept)
        found = _Labels(table).cells(wanted, normalisation)
    elif has_changed:
        with suppress(OSError):
            os.utime(kept)  # the kept file was copied, or the file of results was touched: it has been hashed just now
    yield from found.items()


def _is_older(path: Path, kept: Path) -> bool:
    """Whether the labels were kept after the file of results was last written, so that it need not be hashed again.

    Raises:
        OSError: the file of results does not exist.
    """
    written = path.stat().st_mtime_ns
    try:
        return written < kept.stat().st_mtime_ns
    except OSError:
        return False


def _checked_labels(path: Path, wanted: Wanted, normalisation: Normalisation) -> Iterator[tuple[int, CellLabels | str]]:
    """The same for a file that has changed; every row is checked in full."""
    for row, record in checked_rows(path):
        if row in wanted:
            digest, spec = wanted[row]
            if isinstance(record, str):
                yield row, record
            else:
                yield row, _labels_in(record, digest, spec=spec, normalisation=normalisation)


def clear_predicted(folder: Path, results: Sequence[str]) -> int:
    """Removes kept files whose file of results does not exist any more; returns their number.

    Args:
        folder: of the kept files.
        results: names of the files of results.
    """
    owned = {_name(Path(name).stem, each) for name in results for each in NORMALISATIONS}
    strangers = [path for path in folder.glob("[!.]*.parquet") if path.name not in owned]
    for path in strangers:
        path.unlink(missing_ok=True)
    return len(strangers)


def _name(digest: str, normalisation: Normalisation) -> str:
    return f"{digest}-{normalisation}-{VERSION}.parquet"


def _kept(path: Path) -> _Labels | None:
    """The table in a kept file; None if the file does not exist or cannot be used."""
    try:
        with plain_file(path) as source:
            data = source.read()
        table, seal = data[:-_SEAL_BYTES], data[-_SEAL_BYTES:]
        if hashlib.sha256(table).digest() != seal:
            return None
        file = pq.ParquetFile(pa.BufferReader(table))
        check_groups(file.metadata, path.name)
        return _Labels(file.read(use_threads=False)) if file.schema_arrow.equals(_SCHEMA) else None
    except (OSError, MemoryError, pa.ArrowException, *_FAULTS):
        return None


def _keep(table: pa.Table, path: Path) -> None:
    buffer = io.BytesIO()
    pq.write_table(
        table, buffer, row_group_size=GROUP_ROWS, compression="zstd", use_dictionary=["choices.list.element"]
    )
    buffer.write(hashlib.sha256(buffer.getbuffer()).digest())
    try:
        place(path, lambda file: file.write(buffer.getbuffer()))
    except OSError:  # a full or read-only disk: labels are derived again next time
        return


# Deriving


def _derived(path: Path, normalisation: Normalisation) -> pa.Table:
    """The table of labels that a sound file of results predicts."""
    first: dict[bytes, int] = {}
    columns = dict.fromkeys([*_PLAIN, "row_ids", "gold", *_SCORES[normalisation]])
    parts = [
        _derived_group(Columns(read()), start, first=first, normalisation=normalisation)
        for start, _, read in row_groups(path, columns=[*columns])
    ]
    return pa.concat_tables(parts) if parts else _SCHEMA.empty_table()


def _derived_group(columns: Columns, start: int, *, first: dict[bytes, int], normalisation: Normalisation) -> pa.Table:
    cells = range(columns.n_rows)
    rows = [
        first.setdefault(columns.mark("row_ids", at) + columns.array("gold", at).tobytes(), start + at) for at in cells
    ]
    is_first = [row == start + at for at, row in enumerate(rows)]
    filled: dict[str, Any] = {
        **{name: columns.plain[name] for name in ("key", "context_cut", "n_shortened")},
        "rows": rows,
        "row_ids": [columns.strings("row_ids", at) if is_first[at] else () for at in cells],
        "gold": [columns.array("gold", at).astype(np.int16) if is_first[at] else () for at in cells],
        "choices": [columns.strings("choices", at) for at in cells],
        "predicted": _bytes_of(_predicted(columns, normalisation), columns.offsets["gold"]),
    }
    return pa.table([pa.array(filled[name], _SCHEMA.field(name).type) for name in _SCHEMA.names], schema=_SCHEMA)


def _predicted(columns: Columns, normalisation: Normalisation) -> LabelArray:
    """The predicted labels of all queries of a group, cell by cell.

    Cells with the same number of choices are computed together.
    """
    n_choices, n_examples = (np.diff(columns.offsets[name]) for name in ("choices", "gold"))
    choices_of = np.repeat(n_choices, n_examples)  # of each query
    predicted = np.zeros(choices_of.shape, dtype=np.int16)
    for n in np.unique(n_choices):
        cells, queries = n_choices == n, choices_of == n
        values = {name: columns.values[name] for name in _SCORES[normalisation]}
        for name, of_each in values.items():
            mine = np.repeat(cells, n_choices) if name == "content_free" else np.repeat(queries, choices_of)
            values[name] = of_each[mine].reshape(-1, n)
        if "content_free" in values:
            values["content_free"] = np.repeat(values["content_free"], n_examples[cells], axis=0)
        predicted[queries] = labels_of(normalisation=normalisation, **values)
    return predicted


def _bytes_of(labels: LabelArray, offsets: Sequence[int]) -> list[bytes]:
    """The labels of each cell as small numbers, little-endian."""
    stored = labels.astype(np.uint8 if labels.max(initial=0) < _MOST_IN_A_BYTE else "<i2")
    return [stored[start:end].tobytes() for start, end in pairwise(offsets)]


def _labels_in(record: CellRecord, digest: str, *, spec: CellSpec, normalisation: Normalisation) -> CellLabels | str:
    """The labels that a record predicts, or the reason why it is not the requested one."""
    if record.key.digest != digest:
        return f"it holds the key {record.key.digest[:12]}"
    if fault := spec_fault(spec, record.key):
        return fault
    return CellLabels(
        spec,
        record.key,
        record.row_ids,
        record.gold.astype(np.int16),
        normalisation,
        labels_of(normalisation=normalisation, **{name: getattr(record, name) for name in _SCORES[normalisation]}),
        record.choices,
        record.context_cut,
        record.n_shortened,
    )


# Reading kept files


class _Labels:
    """The columns of a kept file, from which cells are cut without copying."""

    def __init__(self, table: pa.Table) -> None:
        self._plain = {name: table.column(name).to_pylist() for name in (*_PLAIN, "rows")}
        joined = table.column("predicted").combine_chunks()
        predicted = joined if isinstance(joined, pa.Array) else pa.concat_arrays(joined.chunks)
        _, starts, data = predicted.buffers()
        self._offsets = np.frombuffer(starts, dtype=np.int32)[predicted.offset :][: len(predicted) + 1].tolist()
        self._data = np.frombuffer(data or b"", dtype=np.uint8)
        self._table = table
        self._sets: dict[int, tuple[tuple[str, ...], LabelArray]] = {}

    def cells(self, wanted: Wanted, normalisation: Normalisation) -> dict[int, CellLabels | str]:
        """The labels of the wanted rows, or the reason why a row is not the requested one."""
        return {
            row: self._cell(row, digest, spec=spec, normalisation=normalisation)
            for row, (digest, spec) in wanted.items()
        }

    def _cell(self, row: int, digest: str, *, spec: CellSpec, normalisation: Normalisation) -> CellLabels | str:
        if not 0 <= row < len(self._plain["key"]):
            return "the file has no such row"
        try:
            key_text = self._plain["key"][row]
            if (found := hashlib.sha256(key_text.encode()).hexdigest()) != digest:
                return f"it holds the key {found[:12]}"
            key = read_key(key_text)
            if fault := spec_fault(spec, key):
                return fault
            row_ids, gold = self._rows(self._plain["rows"][row])
            return CellLabels(
                spec,
                key,
                row_ids,
                gold,
                normalisation,
                self._labels(row, gold.size),
                tuple(self._plain["choices"][row]),
                self._plain["context_cut"][row],
                self._plain["n_shortened"][row],
            )
        except _FAULTS as error:
            return shown(error, most=300).rstrip(".")

    def _rows(self, row: int) -> tuple[tuple[str, ...], LabelArray]:
        """The row ids and gold labels in a row."""
        if row not in self._sets:
            ids, gold = (self._table.column(name)[row].as_py() for name in ("row_ids", "gold"))
            self._sets[row] = tuple(ids), np.array(gold, dtype=np.int16)
        return self._sets[row]

    def _labels(self, row: int, n_examples: int) -> npt.NDArray[np.integer]:
        one = self._data[self._offsets[row] : self._offsets[row + 1]]
        if one.size not in (n_examples, 2 * n_examples):
            raise ValueError(f"{one.size} bytes do not hold {n_examples} labels")
        return one if one.size == n_examples else one.view("<i2")
