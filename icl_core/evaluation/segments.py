"""Files of results: immutable Parquet tables with one row per cell, each named by the sha256 of its own bytes.

It knows one file at a time: how rows become records and back, and whether a file is as it was written. It does not know
which files there are, or which result belongs to a spec. Numbers keep their exact bits. Floats are split by byte, which
zstd compresses best; repeated values, such as the row ids of a test set, cost a few bytes per cell. Parquet:
https://parquet.apache.org/docs/file-format/data-pages/encodings/.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import json
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from icl_core.errors import StoreError
from icl_core.evaluation.codec import (
    TEXT_LISTS,
    NewerFormatError,
    check_record,
    differing_fields,
    payload_sha256,
    read_key,
)
from icl_core.plain import from_plain
from icl_core.records import CellKey, CellRecord, CellSpec, canonical_json, plain_fields, shown

__all__ = [
    "GROUP_ROWS",
    "ROW_ERRORS",
    "SCHEMA",
    "WRITING",
    "Columns",
    "check_groups",
    "check_table",
    "checked_groups",
    "checked_rows",
    "folder_of",
    "is_sound",
    "open_writer",
    "place",
    "place_file",
    "plain_file",
    "read_records",
    "read_table",
    "record_of_row",
    "row_groups",
    "rows_as_asked",
    "spec_fault",
    "sync_folder",
    "table_of",
    "write_segment",
]

GROUP_ROWS = 200
"""Rows of a row group: files are read in steps of this many rows."""
_STRINGS, _COUNTS, _NATS = pa.list_(pa.string()), pa.list_(pa.uint32()), pa.list_(pa.float32())
SCHEMA = pa.schema(
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
"""The columns; units and shapes are those of ``records.CellRecord``, with arrays flattened row by row."""
_FROM_SPEC = ("task", "split", "label_setting", "demo_seed", "n_shots")
_ARRAYS: dict[str, Any] = {
    "gold": np.int64,
    "loglikelihoods": np.float32,
    "n_tokens": np.int64,
    "content_free": np.float32,
    "content_free_n_tokens": np.int64,
}
"""Columns of numbers, with their types in records."""
_PLAIN = ("spec", "key", "provenance", "context_cut", "n_shortened")
_RECORD_COLUMNS = [*_ARRAYS, *TEXT_LISTS, *_PLAIN]
"""Columns that make up a record; the others repeat parts of the spec for other readers."""
_LEAVES = {
    name: f"{name}.list.element" if pa.types.is_list(kind) else name
    for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)
}
_TEXT_COLUMNS = [_LEAVES[n] for n, t in zip(SCHEMA.names, SCHEMA.types, strict=True) if t in (pa.string(), _STRINGS)]
_SPLIT_BY_BYTE = [_LEAVES[name] for name in ("loglikelihoods", "content_free", "gold")]
_CHOSEN_BY = ["model", "revision", "step", *_FROM_SPEC]
"""Columns whose lowest and highest value is kept for each row group, so that readers can skip groups. For others none
is kept: those of long texts would be half of a small file."""
WRITING: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": [_LEAVES[n] for n in SCHEMA.names if _LEAVES[n] not in _SPLIT_BY_BYTE and n != "sha256"],
    "use_byte_stream_split": _SPLIT_BY_BYTE,
    "write_statistics": _CHOSEN_BY,
    "write_page_checksum": True,
}
"""Options of the Parquet writer for every file of results."""
_MOST_GROUP_VALUES, _MOST_GROUP_BYTES = 50_000_000, 2**29
"""Limits of values and of uncompressed bytes in a row group: twenty times those of 200 cells, 1,000 rows and 6
labels."""
_FORMAT, _FORMAT_KEY = 1, b"icl-observatory results"
"""Version of the layout, in the files' metadata; it is raised when readers must know of a change."""
_WRITTEN_SCHEMA = SCHEMA.with_metadata({_FORMAT_KEY: str(_FORMAT)})
ROW_ERRORS = (StoreError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError)
"""The errors that a row without a result may raise."""
_MOST_FOLDER_BYTES = 120


def folder_of(model: str) -> str:
    """The name of the folder of a model's files: the model's name, with escapes if needed.

    No name contains ``=``, which readers take for a column, or begins with a dot or underscore, which they ignore.

    >>> folder_of("tiny-base"), folder_of("../a=b"), folder_of("_x")
    ('tiny-base', '%2E.%2Fa%3Db', '%5Fx')
    """
    name = quote(model, safe=" +@,", errors="surrogatepass")
    if name[0] in "._":
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) > _MOST_FOLDER_BYTES:
        name = f"{name[:_MOST_FOLDER_BYTES]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return name


# From records to a file


def table_of(records: Sequence[CellRecord]) -> pa.Table:
    """The rows of records, with seals, in the columns of ``SCHEMA``."""
    specs = [record.spec for record in records]
    columns: dict[str, object] = {
        "model": [spec.checkpoint.model for spec in specs],
        "revision": [spec.checkpoint.revision for spec in specs],
        "step": [spec.checkpoint.step for spec in specs],
        **{name: [getattr(spec, name) for spec in specs] for name in _FROM_SPEC},
        **{name: [list(getattr(record, name)) for record in records] for name in TEXT_LISTS},
        **{name: _lists_of([getattr(record, name) for record in records], SCHEMA.field(name).type) for name in _ARRAYS},
        "context_cut": [record.context_cut for record in records],
        "n_shortened": [record.n_shortened for record in records],
        "provenance": [canonical_json(dict(record.provenance)) for record in records],
        "spec": [canonical_json(plain_fields(spec)) for spec in specs],
        "key": [canonical_json(plain_fields(record.key)) for record in records],
        "sha256": [payload_sha256(record) for record in records],
    }
    return pa.table([pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names], schema=SCHEMA)


def _lists_of(arrays: Sequence[npt.NDArray[Any]], kind: pa.DataType) -> pa.ListArray:
    offsets = [0, *accumulate(array.size for array in arrays)]
    values = np.concatenate([array.ravel() for array in arrays]) if arrays else np.zeros(0)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values).cast(kind.value_type), type=kind)


def write_segment(folder: Path, table: pa.Table) -> Path:
    """Writes rows as one file, completely or not at all, and gives its path.

    Steps: temporary name, flush, fsync, rename, fsync of the folder. Equal rows in equal order give the same name.

    Raises:
        OSError: it cannot be written; no half of it is left behind.
    """
    buffer = io.BytesIO()
    with open_writer(buffer) as writer:
        writer.write_table(table, row_group_size=GROUP_ROWS)
    data = buffer.getbuffer()
    path = folder / f"{hashlib.sha256(data).hexdigest()}.parquet"
    place(path, lambda file: file.write(data))
    return path


def open_writer(target: BinaryIO) -> pq.ParquetWriter:
    """A writer of tables with the columns of ``SCHEMA`` as a file of results."""
    return pq.ParquetWriter(target, _WRITTEN_SCHEMA, **WRITING)


def place_file(source: Path, folder: Path) -> Path:
    """Copies a file of results bit by bit into a folder, named by its content; completely or not at all.

    Raises:
        OSError: it cannot be read or written.
    """
    with source.open("rb") as file:
        path = folder / f"{hashlib.file_digest(file, 'sha256').hexdigest()}.parquet"
        file.seek(0)
        place(path, lambda target: shutil.copyfileobj(file, target))
    return path


def place(path: Path, write: Callable[[Any], object]) -> None:
    """Makes a file of what ``write`` writes, whole or not at all.

    Temporary name, flush, fsync, rename, fsync of the folder.

    Raises:
        OSError: it cannot be written; no half of it is left behind.
    """
    changed = path.parents[: 1 if path.parent.is_dir() else 3]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    for folder in changed:
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk; before that, a power cut may undo a rename.

    See https://man7.org/linux/man-pages/man2/fsync.2.html; a file system that cannot do it says EINVAL.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


# From a file to records


@contextmanager
def plain_file(path: Path) -> Iterator[io.BufferedReader]:
    """A file opened for reading; a pipe is not waited for.

    Raises:
        OSError: it cannot be read, or it is not a plain file.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path.name} is not a plain file")
        yield file


def is_sound(path: Path) -> bool:
    """Whether a file still has the bytes after which it was named; checked once for each state of the file.

    Raises:
        OSError: it cannot be read.
    """
    state = path.stat()
    return _is_sound(path, (state.st_size, state.st_mtime_ns, state.st_ino))


@functools.lru_cache(maxsize=65_536)
def _is_sound(path: Path, _: tuple[int, ...]) -> bool:
    with plain_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == path.stem


def record_of_row(row: Mapping[str, Any]) -> CellRecord:
    """The record in a row, after checking its seal, redundant columns and parts.

    Raises:
        StoreError, or another of ``ROW_ERRORS``: the row is not a result.
    """
    record = _unchecked_record(row)
    check_record(record)
    if payload_sha256(record) != row["sha256"]:
        raise ValueError("it is not what its sha256 says")
    spec = record.spec
    expected = {"model": spec.checkpoint.model, "revision": spec.checkpoint.revision, "step": spec.checkpoint.step}
    expected |= {name: getattr(spec, name) for name in _FROM_SPEC}
    if differing := [name for name, value in expected.items() if row[name] != value]:
        raise ValueError(f"its column {differing[0]} is not what its spec says")
    return record


def _unchecked_record(row: Mapping[str, Any]) -> CellRecord:
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
        **{name: tuple(row[name]) for name in TEXT_LISTS},
    )


def read_table(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """The columns of one file; names of folders are not taken for columns.

    Raises:
        OSError, pa.ArrowException: it cannot be read.
    """
    with plain_file(path) as source:
        return pq.ParquetFile(source).read(columns=columns, use_threads=False)


def checked_rows(path: Path) -> Iterator[tuple[int, CellRecord | str]]:
    """Every row of a file with its record, checked in full, or the reason why it has none; for files of any origin.

    Raises:
        StoreError: as ``checked_rows_of``.
        OSError: it cannot be read.
    """
    with plain_file(path) as source:
        yield from enumerate(record for _, records in checked_groups(source, path.name) for record in records)


def checked_groups(source: BinaryIO, name: str) -> Iterator[tuple[pa.Table, list[CellRecord | str]]]:
    """The same for an open file, group by group, together with the rows.

    Args:
        source: the file.
        name: of the file, for messages.

    Yields:
        The rows of a group, in the columns of ``SCHEMA``, and for each its record or the reason why it has none. For a
        group that cannot be read there are only the reasons.

    Raises:
        StoreError: the file is not a table of results, or it would fill the memory.
    """
    try:
        metadata = pq.read_metadata(source)
        check_table(metadata, name)
        file = pq.ParquetFile(source, metadata=metadata, read_dictionary=_TEXT_COLUMNS)
        start = 0
        for group in range(file.num_row_groups):
            yield _checked_group(file, group, start)
            start += metadata.row_group(group).num_rows
    except (pa.ArrowException, OSError, MemoryError) as error:  # pyarrow also raises OSError for unreadable bytes
        raise StoreError(f"{name} cannot be read as Parquet: {shown(error, most=200).strip()}.") from error


def check_table(metadata: pq.FileMetaData, name: str) -> None:
    """Refuses a table by its metadata, before any value is read.

    Raises:
        StoreError: it has other columns, a newer layout, or larger groups of rows than this project writes.
    """
    schema = metadata.schema.to_arrow_schema()
    _check_format(metadata.metadata or {}, name)
    if not schema.equals(SCHEMA):
        raise StoreError(f"{name} does not have the columns of results.")
    check_groups(metadata, name)


def check_groups(metadata: pq.FileMetaData, name: str) -> None:
    """Refuses a table with larger groups of rows than this project writes.

    Raises:
        StoreError: it would fill the memory.
    """
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        columns = [group.column(number) for number in range(group.num_columns)]
        n_values = sum(column.num_values for column in columns)
        n_bytes = sum(column.total_uncompressed_size for column in columns)
        if n_values > _MOST_GROUP_VALUES or n_bytes > _MOST_GROUP_BYTES or group.num_rows > GROUP_ROWS:
            raise StoreError(
                f"{name} unfolds to {n_values:,} values and {n_bytes:,} bytes in one group of {group.num_rows:,} "
                "rows, which this project does not write; it is not read."
            )


def _check_format(metadata: Mapping[bytes, bytes], name: str) -> None:
    written = metadata.get(_FORMAT_KEY, b"")
    if written.isdigit() and len(written) < 9 and int(written) > _FORMAT:
        raise NewerFormatError(
            f"{name} was written by a newer version of this project (layout {int(written)}) and is left alone; "
            "a newer version reads it."
        )


def _checked_group(file: pq.ParquetFile, group: int, start: int) -> tuple[pa.Table, list[CellRecord | str]]:
    try:
        table = file.read_row_group(group, use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        why = f"its page cannot be read ({shown(error, most=120)})"
        return SCHEMA.empty_table(), [why] * file.metadata.row_group(group).num_rows
    if (n_bytes := sum(map(_unfolded_bytes, table.columns))) > _MOST_GROUP_BYTES:
        raise StoreError(
            f"The rows from {start} unfold to {n_bytes:,} bytes of text, which this project does not write."
        )
    return table.cast(SCHEMA), [_record_or_reason(row) for row in table.to_pylist()]


def _record_or_reason(row: Mapping[str, Any]) -> CellRecord | str:
    try:
        return record_of_row(row)
    except ROW_ERRORS as error:
        return shown(error, most=300).rstrip(".")


def _unfolded_bytes(column: pa.ChunkedArray) -> int:
    """Bytes of the text in a column that is stored as a dictionary of texts, if every text is written out."""
    total = 0
    for chunk in column.chunks:
        values = chunk.flatten() if pa.types.is_list(chunk.type) else chunk
        if pa.types.is_dictionary(values.type):
            lengths = pc.binary_length(values.dictionary).cast(pa.int64())
            total += pc.sum(lengths.take(values.indices)).as_py() or 0
    return total


def rows_as_asked(table: pa.Table, wanted: Mapping[CellSpec, tuple[int, str]]) -> dict[CellSpec, int]:
    """The rows of a sound file that hold exactly the requested specs and keys, so that they may be copied.

    Args:
        table: with the columns ``key`` and ``spec``.
        wanted: by spec, the row and the digest of the key.
    """
    rows = [row if row < table.num_rows else None for row, _ in wanted.values()]
    keys, specs = (table.column(name).take(pa.array(rows, pa.int64())).to_pylist() for name in ("key", "spec"))
    return {
        spec: row
        for (spec, (row, digest)), key, text in zip(wanted.items(), keys, specs, strict=True)
        if hashlib.sha256((key or "").encode()).hexdigest() == digest and text == canonical_json(plain_fields(spec))
    }


def read_records(
    path: Path, wanted: Mapping[int, tuple[str, CellSpec | None]]
) -> Iterator[tuple[int, CellRecord | str]]:
    """The records in some rows of a file, or the reason why a row holds none; it reads many cells at once.

    Rows of a sound file were checked in full when they were indexed, so only their keys are compared. In a file that
    has changed since, every seal is checked.

    Args:
        path: the file.
        wanted: by row, the digest of the requested key, and the requested spec (None: the record's own).

    Raises:
        StoreError: the file is not a table of results.
        OSError: it cannot be read.
    """
    if is_sound(path):
        yield from _sound_records(path, wanted)
        return
    for row, record in checked_rows(path):
        if row in wanted:
            digest, spec = wanted[row]
            yield row, record if isinstance(record, str) else _as_asked(record, digest, spec)


def _as_asked(record: CellRecord, digest: str, spec: CellSpec | None) -> CellRecord | str:
    if record.key.digest != digest:
        return f"it holds the key {record.key.digest[:12]}"
    if spec is None:
        return record
    return spec_fault(spec, record.key) or replace(record, spec=spec)


def spec_fault(spec: CellSpec, key: CellKey) -> str | None:
    """Why the result of a key does not fit a spec; None if it does."""
    differing = differing_fields(spec, key)
    return f"{differing[0]} differs between what was asked and what is stored" if differing else None


def _sound_records(
    path: Path, wanted: Mapping[int, tuple[str, CellSpec | None]]
) -> Iterator[tuple[int, CellRecord | str]]:
    texts: dict[bytes, tuple[str, ...]] = {}
    rows, n_rows = sorted(wanted), 0
    for start, n_rows, read in row_groups(path, columns=_RECORD_COLUMNS):
        if mine := [row for row in rows if start <= row < n_rows]:
            columns = Columns(read(), texts)
            yield from ((row, columns.record(row - start, *wanted[row])) for row in mine)
    yield from ((row, "the file has no such row") for row in rows if not 0 <= row < n_rows)


def row_groups(path: Path, *, columns: Sequence[str]) -> Iterator[tuple[int, int, Callable[[], pa.Table]]]:
    """For each group of rows of a sound file: its first row, the row after its last, and a reader of its columns.

    Raises:
        OSError, pa.ArrowException: the file cannot be read.
    """
    with plain_file(path) as source:
        file = pq.ParquetFile(source, read_dictionary=_TEXT_COLUMNS, page_checksum_verification=True)
        start = 0
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            yield start, end, functools.partial(file.read_row_group, group, columns=list(columns), use_threads=False)
            start = end


class Columns:
    """Columns of a row group of a sound file, from which cells are cut without copying.

    Attributes:
        n_rows: rows of the group.
        plain: the values of columns without lists, by name.
        offsets: of each column of lists, (n_rows + 1,) positions at which the values of each row begin.
        values: of each column of numbers, the values of all rows.
    """

    def __init__(self, table: pa.Table, texts: dict[bytes, tuple[str, ...]] | None = None) -> None:
        """``texts`` caches repeated lists of strings, such as the row ids of a test set."""
        self._texts = {} if texts is None else texts
        self.n_rows = table.num_rows
        here = set(table.column_names)
        self.plain = {name: table.column(name).to_pylist() for name in _PLAIN if name in here}
        lists = {name: _one_chunk(table.column(name)) for name in (*_ARRAYS, *TEXT_LISTS) if name in here}
        self.offsets = {name: array.offsets.to_pylist() for name, array in lists.items()}
        self.values = {
            name: lists[name].values.to_numpy().astype(kind, copy=False)
            for name, kind in _ARRAYS.items()
            if name in here
        }
        texts_of = [name for name in TEXT_LISTS if name in here]
        self._indices = {name: lists[name].values.indices.to_numpy() for name in texts_of}
        self._words = {name: lists[name].values.dictionary.to_pylist() for name in texts_of}
        self._marks = {name: hashlib.sha256("\0".join(self._words[name]).encode()).digest() for name in texts_of}

    def record(self, at: int, digest: str, spec: CellSpec | None) -> CellRecord | str:
        """The record of a row of the group, or the reason why it is not the requested one."""
        key_text = self.plain["key"][at]
        if (found := hashlib.sha256(key_text.encode()).hexdigest()) != digest:
            return f"it holds the key {found[:12]}"
        try:
            key = read_key(key_text)
            spec = spec or from_plain(CellSpec, json.loads(self.plain["spec"][at]))
            if fault := spec_fault(spec, key):
                return fault
            lists = {name: self.strings(name, at) for name in TEXT_LISTS}
            shape = (len(lists["row_ids"]), len(lists["choices"]))
            return CellRecord(
                spec=spec,
                key=key,
                gold=self.array("gold", at),
                loglikelihoods=self.array("loglikelihoods", at).reshape(shape),
                n_tokens=self.array("n_tokens", at).reshape(shape),
                content_free=self.array("content_free", at),
                content_free_n_tokens=self.array("content_free_n_tokens", at),
                context_cut=self.plain["context_cut"][at],
                n_shortened=self.plain["n_shortened"][at],
                provenance=json.loads(self.plain["provenance"][at]),
                **cast("dict[str, Any]", lists),
            )
        except ROW_ERRORS as error:
            return shown(error, most=300).rstrip(".")

    def array(self, name: str, at: int) -> npt.NDArray[Any]:
        """The numbers of a row of the group, flattened row by row."""
        offsets = self.offsets[name]
        return cast("npt.NDArray[Any]", self.values[name][offsets[at] : offsets[at + 1]])

    def mark(self, name: str, at: int) -> bytes:
        """A mark for the strings of a row of the group: equal marks mean equal strings."""
        offsets = self.offsets[name]
        return self._marks[name] + bytes(self._indices[name][offsets[at] : offsets[at + 1]])

    def strings(self, name: str, at: int) -> tuple[str, ...]:
        """The strings of a row of the group."""
        mark = self.mark(name, at)
        if mark not in self._texts:
            words, offsets = self._words[name], self.offsets[name]
            self._texts[mark] = tuple([words[i] for i in self._indices[name][offsets[at] : offsets[at + 1]].tolist()])
        return self._texts[mark]


def _one_chunk(column: pa.ChunkedArray) -> pa.ListArray:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.unify_dictionaries().chunks)
