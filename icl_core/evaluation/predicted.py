"""Predicted labels of a file of results, derived once and kept in a file beside it, from which many cells are read.

What is kept lies in the folder ``predicted/`` of a store, one file for each file of results, named by the sha256 of
that file's bytes and the version of deriving. It may be deleted at any time and is never the only place of anything;
a row is taken only where its key is the one that was asked for. It averages nothing.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from icl_core.analysis.predictions import (
    NORMALISATIONS,
    CellLabels,
    LabelArray,
    Normalisation,
    labels_by_normalisation,
)
from icl_core.errors import StoreError
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
"""Raised when labels are derived in another way or laid out in other columns."""
_LABELS = pa.list_(pa.int16())
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("rows", pa.int32()),  # the first row of the file with the same row ids and gold labels; they stand there alone
        ("row_ids", pa.list_(pa.string())),
        ("gold", _LABELS),
        ("choices", pa.list_(pa.string())),
        ("context_cut", pa.int64()),
        ("n_shortened", pa.int64()),
        *((name, _LABELS) for name in NORMALISATIONS),
    ]
)
_SOURCE = ("key", "row_ids", "gold", "choices", "context_cut", "n_shortened")
_SCORES = ("loglikelihoods", "n_tokens", "content_free")


def read_labels(
    path: Path, wanted: Mapping[int, tuple[str, CellSpec]], *, kept_in: Path
) -> Iterator[tuple[int, CellLabels | str]]:
    """What some rows of a file of results predict, or the reason why a row holds no result.

    What is kept of a file is read where it is whole, and derived again where it is not. Where nothing can be written
    it is derived each time. Of a file that has changed since it was written nothing is kept.

    Args:
        path: the file of results.
        wanted: by row, the digest of the key that was asked for, and what was asked.
        kept_in: the folder of what is kept.

    Raises:
        StoreError: the file is no table of results.
        OSError: it cannot be read.
    """
    if is_sound(path):
        table = _kept(path, kept_in)
        if table is None:
            table = _derived(path)
            _keep(table, path, kept_in)
        labels = _Labels(table)
        yield from ((row, labels.cell(row, *asked)) for row, asked in wanted.items())
        return
    for row, record in checked_rows(path):
        if row in wanted:
            yield row, record if isinstance(record, str) else _labels_of(record, *wanted[row])


def clear_predicted(folder: Path, results: Sequence[str]) -> int:
    """Removes what is kept of files of results that are not there any more. Returns how many that were.

    Args:
        folder: of what is kept.
        results: names of the files of results.
    """
    owned = {_name(Path(name)) for name in results}
    strangers = [path for path in folder.glob("*.parquet") if path.name not in owned]
    for path in strangers:
        path.unlink(missing_ok=True)
    return len(strangers)


def _name(path: Path) -> str:
    return f"{path.stem}-{VERSION}.parquet"


def _kept(path: Path, folder: Path) -> pa.Table | None:
    """What is kept of a file; None where nothing is, or nothing that can be used."""
    kept = folder / _name(path)
    try:
        with plain_file(kept) as source:
            file = pq.ParquetFile(source, page_checksum_verification=True)
            check_groups(file.metadata, kept.name)
            if not file.schema_arrow.equals(_SCHEMA):
                return None
            return file.read(use_threads=False)
    except (OSError, pa.ArrowException, MemoryError, StoreError, ValueError):
        return None


def _keep(table: pa.Table, path: Path, folder: Path) -> None:
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        row_group_size=GROUP_ROWS,
        compression="zstd",
        use_dictionary=[f"{name}.list.element" for name in (*NORMALISATIONS, "gold", "choices")],
        write_page_checksum=True,
    )
    try:
        place(folder / _name(path), lambda file: file.write(buffer.getbuffer()))
    except OSError:  # a full or read-only disk: it is derived again next time
        return


# Deriving


def _derived(path: Path) -> pa.Table:
    """The table of what a sound file of results predicts."""
    first: dict[bytes, int] = {}
    parts = []
    for start, _, read in row_groups(path, columns=[*_SOURCE, *_SCORES]):
        parts.append(_derived_group(Columns(read()), start, first))
    return pa.concat_tables(parts) if parts else _SCHEMA.empty_table()


def _derived_group(columns: Columns, start: int, first: dict[bytes, int]) -> pa.Table:
    labels = _predicted(columns)
    offsets = columns.offsets["gold"]
    rows = [
        first.setdefault(columns.mark("row_ids", at) + columns.array("gold", at).tobytes(), start + at)
        for at in range(columns.n_rows)
    ]
    is_first = [row == start + at for at, row in enumerate(rows)]
    filled: dict[str, Any] = {
        **{name: columns.plain[name] for name in ("key", "context_cut", "n_shortened")},
        "rows": rows,
        "row_ids": [columns.strings("row_ids", at) if there else () for at, there in enumerate(is_first)],
        "gold": [columns.array("gold", at).astype(np.int16) if there else () for at, there in enumerate(is_first)],
        "choices": [columns.strings("choices", at) for at in range(columns.n_rows)],
        **{name: pa.ListArray.from_arrays(offsets, pa.array(labels[name]), type=_LABELS) for name in NORMALISATIONS},
    }
    return pa.table([pa.array(filled[name], _SCHEMA.field(name).type) for name in _SCHEMA.names], schema=_SCHEMA)


def _predicted(columns: Columns) -> dict[Normalisation, LabelArray]:
    """For each normalisation the predicted labels of all queries of a group, one cell after the other.

    Cells with equally many choices are taken at once.
    """
    n_choices, n_examples = (np.diff(columns.offsets[name]) for name in ("content_free", "gold"))
    choices_of = np.repeat(n_choices, n_examples)  # of each query
    predicted = {name: np.zeros(choices_of.shape, dtype=np.int16) for name in NORMALISATIONS}
    for n in np.unique(n_choices):
        cells, queries = n_choices == n, choices_of == n
        scores, n_tokens = (
            columns.values[name][np.repeat(queries, choices_of)].reshape(-1, n)
            for name in ("loglikelihoods", "n_tokens")
        )
        content_free = columns.values["content_free"][np.repeat(cells, n_choices)].reshape(-1, n)
        baseline = np.repeat(content_free, n_examples[cells], axis=0)
        for name, labels in labels_by_normalisation(scores, n_tokens, baseline).items():
            predicted[name][queries] = labels
    return predicted


def _labels_of(record: CellRecord, digest: str, spec: CellSpec) -> CellLabels | str:
    """What a record predicts, if it is the one that was asked for."""
    if record.key.digest != digest:
        return f"it holds the key {record.key.digest[:12]}"
    if fault := spec_fault(spec, record.key):
        return fault
    return CellLabels(
        spec,
        record.key,
        record.row_ids,
        record.gold.astype(np.int16),
        labels_by_normalisation(record.loglikelihoods, record.n_tokens, record.content_free),
        record.choices,
        record.context_cut,
        record.n_shortened,
    )


# Reading what is kept


class _Labels:
    """The columns of what is kept of a file, from which cells are cut without copying."""

    def __init__(self, table: pa.Table) -> None:
        plain = ("key", "rows", "choices", "context_cut", "n_shortened")
        self._plain = {name: table.column(name).to_pylist() for name in plain}
        lists = {name: table.column(name).combine_chunks() for name in ("row_ids", "gold", *NORMALISATIONS)}
        self._lists = {name: _one_array(each) for name, each in lists.items()}
        self._offsets = {name: each.offsets.to_pylist() for name, each in self._lists.items()}
        self._values = {name: self._lists[name].values.to_numpy() for name in ("gold", *NORMALISATIONS)}
        self._row_ids = self._lists["row_ids"].values.to_pylist()
        self._sets: dict[int, tuple[tuple[str, ...], LabelArray]] = {}

    def cell(self, row: int, digest: str, spec: CellSpec) -> CellLabels | str:
        """What a row predicts, or the reason why it is not the one that was asked for."""
        if not 0 <= row < len(self._plain["key"]):
            return "the file has no such row"
        key_text = self._plain["key"][row]
        if (found := hashlib.sha256(key_text.encode()).hexdigest()) != digest:
            return f"it holds the key {found[:12]}"
        try:
            key = read_key(key_text)
        except ROW_ERRORS as error:
            return shown(error, most=300).rstrip(".")
        if fault := spec_fault(spec, key):
            return fault
        row_ids, gold = self._rows(self._plain["rows"][row])
        return CellLabels(
            spec,
            key,
            row_ids,
            gold,
            {name: self._array(name, row) for name in NORMALISATIONS},
            tuple(self._plain["choices"][row]),
            self._plain["context_cut"][row],
            self._plain["n_shortened"][row],
        )

    def _rows(self, row: int) -> tuple[tuple[str, ...], LabelArray]:
        if row not in self._sets:
            offsets = self._offsets["row_ids"]
            self._sets[row] = tuple(self._row_ids[offsets[row] : offsets[row + 1]]), self._array("gold", row)
        return self._sets[row]

    def _array(self, name: str, row: int) -> LabelArray:
        offsets = self._offsets[name]
        return cast("npt.NDArray[np.int16]", self._values[name][offsets[row] : offsets[row + 1]])


def _one_array(column: pa.ChunkedArray | pa.Array) -> pa.ListArray:
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)
