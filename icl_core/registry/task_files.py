"""Reads a task from one CSV or JSONL file with the columns text, label and, optionally, split.

It does not build prompts, divide rows into splits or know the public datasets.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from icl_core.errors import DataError

__all__ = ["MAX_FILE_BYTES", "MAX_LABELS", "MAX_ROWS", "MAX_TEXT_CHARACTERS", "FileRow", "read_task_file"]

MAX_FILE_BYTES = 100_000_000
MAX_ROWS = 200_000
MAX_TEXT_CHARACTERS = 20_000
MAX_LABELS = 100
SPLIT_NAMES = {
    "train": "demonstrations",
    "demonstrations": "demonstrations",
    "validation": "dev",
    "dev": "dev",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of a file, as written there.

    Attributes:
        row_id: ``row:`` and the 0-based position in the file.
        text: the input; may be empty.
        label: the label word, stripped; empty where the row has none.
        split: ``demonstrations``, ``dev`` or ``test``; None where the file has no such column.
    """

    row_id: str
    text: str
    label: str
    split: str | None = None


def read_task_file(path: Path) -> tuple[FileRow, ...]:
    """Reads and checks a file; reading it again is free until the file changes.

    Raises:
        DataError: the file is missing, too large, not UTF-8, of another kind, without the columns, empty, has
            an over-long text or an unknown split, or does not have 2 to ``MAX_LABELS`` labels.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"Cannot open {path}: {error.strerror}; give the path of a CSV or JSONL file.") from error
    if status.st_size > MAX_FILE_BYTES:
        raise DataError(
            f"{path} has {status.st_size:,} bytes, more than the {MAX_FILE_BYTES:,} allowed; use fewer rows."
        )
    return _read_unchanged(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=32)
def _read_unchanged(path: Path, _modified_ns: int, _size: int) -> tuple[FileRow, ...]:
    readers = {".csv": _csv_records, ".jsonl": _jsonl_records}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path} is neither .csv nor .jsonl; save it as one of the two.")
    rows = tuple(_rows(readers[path.suffix.lower()](_text_of(path), path), path))
    if not rows:
        raise DataError(f"{path} has no rows; it needs the columns text and label and rows below them.")
    _check_labels({row.label for row in rows if row.label}, path)
    return rows


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start}); save it again with the encoding UTF-8."
        ) from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}; give the path of a CSV or JSONL file.") from error


def _csv_records(text: str, path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_columns(header, path)
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                place = f"{path}, line {reader.line_num}"
                raise DataError(
                    f"{place}: {len(fields)} fields where the header has {len(header)}; quote texts that hold commas."
                )
            yield reader.line_num, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: not valid CSV ({error}); quote texts and double quotes in them."
        ) from error


def _jsonl_records(text: str, path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not valid JSON ({error}); write one object a line.") from error
        if not isinstance(record, dict):
            raise DataError(f'{path}, line {number}: not an object; write {{"text": ..., "label": ...}}.')
        _check_columns(record, path)
        yield number, record


def _check_columns(present: Iterable[str], path: Path) -> None:
    names = list(present)
    missing = [name for name in ("text", "label") if name not in names]
    if missing:
        found = ", ".join(repr(name) for name in names) or "none"
        raise DataError(
            f"{path} lacks the column {' and '.join(missing)} (present: {found}); name the columns text and label."
        )
    if len(set(names)) < len(names):
        raise DataError(f"{path} names a column twice ({', '.join(names)}); give each column its own name.")


def _rows(records: Iterator[tuple[int, dict[str, object]]], path: Path) -> Iterator[FileRow]:
    for index, (line, record) in enumerate(records):
        if index >= MAX_ROWS:
            raise DataError(f"{path} has more than the {MAX_ROWS:,} rows allowed; use fewer rows.")
        place = f"{path}, line {line}"
        text, label = (_string(record[name], name, place) for name in ("text", "label"))
        if len(text) > MAX_TEXT_CHARACTERS:
            raise DataError(
                f"{place}: the text has {len(text):,} characters, at most {MAX_TEXT_CHARACTERS:,} are allowed."
            )
        label = label.strip()
        if len(label.splitlines()) > 1:
            raise DataError(f"{place}: the label spans several lines; write labels on one line.")
        yield FileRow(f"row:{index}", text, label, _split(record, place) if "split" in record else None)


def _string(value: object, name: str, place: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if name == "label" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{place}: the {name} is {value!r}; write it as a string.")


def _split(record: dict[str, object], place: str) -> str:
    value = str(record["split"]).strip().lower()
    if value not in SPLIT_NAMES:
        raise DataError(
            f"{place}: unknown split {record['split']!r}; use demonstrations, dev or test (or train, validation, test)."
        )
    return SPLIT_NAMES[value]


def _check_labels(labels: set[str], path: Path) -> None:
    if len(labels) < 2:
        found = f"only the label {next(iter(labels))!r}" if labels else "no label"
        raise DataError(f"{path} has {found}; a task needs at least two different labels.")
    if len(labels) > MAX_LABELS:
        raise DataError(
            f"{path} has {len(labels):,} different labels, at most {MAX_LABELS} are allowed; is label the right column?"
        )
