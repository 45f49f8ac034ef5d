"""Reads a task from one CSV, TSV, JSONL or JSON file with the columns text, label and, optionally, split.

Texts without labels are read by the same rules. It does not build prompts, divide rows into splits or know the public
datasets. Rows keep their text and label as written. A row that cannot be used stays in the list with the reason, so
that every row is either used or reported.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from icl_core.errors import AmbiguousLabelsError, DataError
from icl_core.registry.table_files import (
    SUFFIXES,
    UNREADABLE,
    Record,
    Table,
    decode_text,
    folded,
    read_table,
    spread_lines,
)
from icl_core.settings import uploads_path

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_LABELS",
    "MAX_ROWS",
    "MAX_TEXT_CHARACTERS",
    "FileRow",
    "LabelReading",
    "TaskFile",
    "TextFile",
    "parse_task_file",
    "parse_text_file",
    "read_task_file",
    "shown_file",
    "upload_name",
]

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
MISSING_WORDS = ("nan", "none", "null", "na", "n/a", "<na>")
"""What programs write for a missing label, folded; a task may also use them as labels."""
RECENT_NS = 2_000_000_000
"""A file that changed less than this long ago is read again: it may change again without new times."""
_MOST_NAMED = 3
_MOST_NAME_BYTES = 180
"""Longest encoded name of an upload; file systems allow 255 with hash and suffix."""

LabelReading = Literal["ask", "merge-labels", "keep-labels"]
"""How labels are treated that may mean one label, or none: refused with a question, joined, or kept as written."""
RowFault = Literal["", "too_long", "unreadable"]
_FAULT_WORDS: Mapping[RowFault, str] = {
    "too_long": f"with more than {MAX_TEXT_CHARACTERS:,} characters in a field",
    "unreadable": "with a zero byte or half a surrogate pair, which no tokenizer reads",
}


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of a file, as written there.

    Attributes:
        row_id: ``row:`` and the 0-based position in the file.
        text: the input; may be empty.
        label: the label word, stripped; empty if the row has none.
        split: ``demonstrations``, ``dev`` or ``test``; None if the file has no such column.
        fault: why the row cannot be used, "" if it can; text and label are empty then.
    """

    row_id: str
    text: str
    label: str
    split: str | None = None
    fault: RowFault = ""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """All rows of a file, its different labels, and sentences on how it was read if there was a choice."""

    rows: tuple[FileRow, ...]
    labels: frozenset[str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextFile:
    """The texts of a file in its order, without blank ones; and sentences on rows left out and on how it was read."""

    texts: tuple[str, ...]
    notes: tuple[str, ...]


def upload_name(file_name: str, digest: str) -> str:
    """The name under which an uploaded file is kept: ASCII that ``shown_file`` turns back into the user's own name.

    >>> upload_name("my films, 2.CSV", "0123456789ab"), shown_file(uploads_path() / "my%20films-0123456789ab.csv")
    ('my%20films%2C%202-0123456789ab.csv', 'my films.csv')
    """
    stem, _, suffix = "".join(c for c in file_name if c.isprintable()).rpartition(".")
    stem = stem or "file"
    while len(encoded := quote(stem, safe="", errors="replace")) > _MOST_NAME_BYTES:
        stem = stem[:-1]
    return f"{encoded}-{digest}.{suffix.lower()}"


def shown_file(path: Path) -> str:
    """What a file is called in messages: its path, or for an upload the name that the user gave it."""
    if path.parent != uploads_path():
        return str(path)
    return unquote(re.sub(r"-[0-9a-f]{12}(?=\.\w+$)", "", path.name))


def read_task_file(path: Path, *, labels: LabelReading = "ask") -> TaskFile:
    """Reads and checks a file; reading it again is free until the file changes.

    Raises:
        DataError: the file cannot be opened or is too large; or as ``parse_task_file``.
    """
    name = shown_file(path)
    try:
        status = path.stat()
        if status.st_size > MAX_FILE_BYTES:
            raise DataError(
                f"{name} has {status.st_size:,} bytes, more than the {MAX_FILE_BYTES:,} allowed; use fewer rows."
            )
        if not (path.is_file() or path.is_dir()):
            raise DataError(f"{name} is a device or a pipe; give the path of a CSV, TSV, JSONL or JSON file.")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"Cannot open {name}: {reason}; give the path of a CSV, TSV, JSONL or JSON file.") from error
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    now = time.time_ns()
    state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _read_unchanged(path, labels, (*state, now if 0 <= now - changed < RECENT_NS else 0))


@lru_cache(maxsize=32)
def _read_unchanged(path: Path, labels: LabelReading, _state: tuple[int, ...]) -> TaskFile:
    name = shown_file(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {name}: {error.strerror}; make it readable.") from error
    return parse_task_file(content, name, suffix=path.suffix, labels=labels)


def parse_task_file(content: bytes, name: str, *, suffix: str, labels: LabelReading = "ask") -> TaskFile:
    """The rows of a file's content.

    Args:
        content: the whole file.
        name: how the user calls it, for messages.
        suffix: its kind, such as ``.csv``.
        labels: how labels are treated that may mean one label, or none.  Raises:
        DataError: the file is in no readable encoding or format, lacks a column, is empty, has too many rows, a label
            of several lines or an unknown split, or does not have 2 to ``MAX_LABELS`` labels.
        AmbiguousLabelsError: labels differ only in what a reader does not see, or may mean that there is none, and
            ``labels`` does not say how to treat them.
    """
    table = read_table(content, name, suffix=suffix, needed=("text", "label"), optional=("split",))
    if len(table.records) > MAX_ROWS:
        raise DataError(f"{name} has more than the {MAX_ROWS:,} rows allowed; use fewer rows.")
    rows = [_row(index, record, name) for index, record in enumerate(table.records)]
    if not rows:
        raise DataError(f"{name} has no rows; it needs the columns text and label and rows below them.")
    joined = {} if labels == "keep-labels" else _joined_labels(rows, name, asks=labels == "ask")
    if joined:
        rows = [FileRow(row.row_id, row.text, joined.get(row.label, row.label), row.split, row.fault) for row in rows]
    found = frozenset(row.label for row in rows if row.label)
    _check_labels(found, name)
    notes = (*table.notes, *_joined_words(joined, name), *_told_of(rows, table, name=name, suffix=suffix))
    return TaskFile(tuple(rows), found, notes)


def parse_text_file(content: bytes, name: str, *, suffix: str) -> TextFile:
    """The column text of a table, read as a task's; for a ``.txt`` file its lines, each a text.

    Args:
        content: the whole file.
        name: how the user calls it, for messages.
        suffix: its kind, such as ``.csv``.

    Raises:
        DataError: the file is in no readable encoding or format, lacks the column, has too many rows or no text.
    """
    suffix = suffix.lower()
    if suffix in SUFFIXES:
        table = read_table(content, name, suffix=suffix, needed=("text",))
    elif suffix == ".txt":
        lines = enumerate(spread_lines(decode_text(content, name)[0]), start=1)
        table = Table(tuple(Record(f"line {n}", {"text": line}) for n, line in lines if line.strip()), ())
    else:
        raise DataError(f"{name} is not one of {', '.join(SUFFIXES)} and .txt; save it as one of them.")
    if len(table.records) > MAX_ROWS:
        raise DataError(f"{name} has more than the {MAX_ROWS:,} rows allowed; use fewer rows.")
    records = [Record(each.place, {**each.values, "label": ""}) for each in table.records]
    rows = [_row(index, record, name) for index, record in enumerate(records)]
    blank = [record.place for row, record in zip(rows, records, strict=True) if not (row.fault or row.text.strip())]
    texts = tuple(row.text.strip() for row in rows if row.text.strip())
    if not texts:
        raise DataError(
            f"{name} has no text; give a column text with rows below it, or a .txt file with one text per line."
        )
    told = [f"{name} has {_counted(len(blank), 'row')} without a text, left out: {_listed(blank)}."] * bool(blank)
    return TextFile(texts, (*table.notes, *told, *_told_of(rows, table, name=name, suffix=suffix)))


def _told_of(rows: Sequence[FileRow], table: Table, *, name: str, suffix: str) -> list[str]:
    """Sentences on rows that cannot be used, and on texts of several lines, in which a quote may be missing."""
    is_quoted = suffix.lower() in (".csv", ".tsv")
    return _fault_words(rows, table.records, name) + (_spread_words(rows, table.records, name) if is_quoted else [])


def _row(index: int, record: Record, name: str) -> FileRow:
    place = f"{name}, {record.place}"
    text, label = (_string(record.values[column], column, place) for column in ("text", "label"))
    split = _split(record.values["split"], place) if "split" in record.values else None
    fault: RowFault = ""
    if max(len(text), len(label)) > MAX_TEXT_CHARACTERS:
        fault = "too_long"
    elif UNREADABLE.search(text) or UNREADABLE.search(label):
        fault = "unreadable"
    if fault:
        return FileRow(f"row:{index}", "", "", split, fault)
    label = label.strip() if folded(label) else ""
    if len(label.splitlines()) > 1:
        raise DataError(f"{place}: the label spans several lines; write labels on one line.")
    return FileRow(f"row:{index}", text, label, split)


def _string(value: object, column: str, place: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if column == "label" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{place}: the {column} is {_short(value)}; write it as a string.")


def _split(value: object, place: str) -> str:
    name = folded(value) if isinstance(value, str) else ""
    if name not in SPLIT_NAMES:
        raise DataError(
            f"{place}: unknown split {_short(value)}; use demonstrations, dev or test (or train, validation, test)."
        )
    return SPLIT_NAMES[name]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _check_labels(labels: frozenset[str], name: str) -> None:
    if len(labels) < 2:
        found = f"only the label {_short(next(iter(labels)))}" if labels else "no label"
        raise DataError(f"{name} has {found}; a task needs at least two different labels.")
    if len(labels) > MAX_LABELS:
        raise DataError(
            f"{name} has {len(labels):,} different labels, at most {MAX_LABELS} are allowed; is label the right column?"
        )


def _fault_words(rows: Sequence[FileRow], records: Sequence[Record], name: str) -> list[str]:
    """One sentence for each reason why rows cannot be used, with the first few places."""
    places: dict[RowFault, list[str]] = {}
    for row, record in zip(rows, records, strict=True):
        if row.fault:
            places.setdefault(row.fault, []).append(record.place)
    return [
        f"{name} has {_counted(len(found), 'row')} {_FAULT_WORDS[fault]}, left out: {_listed(found)}."
        for fault, found in places.items()
    ]


def _spread_words(rows: Sequence[FileRow], records: Sequence[Record], name: str) -> list[str]:
    """A sentence on texts of several lines in a CSV: a missing quote may have swallowed rows."""
    places = [record.place for row, record in zip(rows, records, strict=True) if len(spread_lines(row.text)) > 1]
    return [
        f"{name} has {_counted(len(places), 'text')} of several lines ({_listed(places)}), read as one line; if they "
        "are rows, a quote is missing there."
    ] * bool(places)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


# Labels that may mean the same


def _label_key(label: str) -> str:
    """Equal for labels that a reader takes for one, such as a whole number with and without zeros after the point."""
    seen = folded(label)
    number = re.fullmatch(r"([+-]?\d+)\.0+", seen)
    return number[1] if number else seen


def _joined_labels(rows: Iterable[FileRow], name: str, *, asks: bool) -> dict[str, str]:
    """By label as written, the label that it is joined to, "" if it means none; {} if each label is clear.

    The commonest spelling stands for all; among equally common ones, the first in the file.
    """
    counts = Counter(row.label for row in rows if row.label)
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault(_label_key(label), []).append(label)
    missing = [label for key, labels in groups.items() if key in MISSING_WORDS for label in labels]
    alike = [labels for key, labels in groups.items() if len(labels) > 1 and key not in MISSING_WORDS]
    if asks and (missing or alike):
        raise AmbiguousLabelsError(_question(counts, missing, alike=alike, name=name))
    joined = dict.fromkeys(missing, "")
    for labels in alike:
        commonest = max(labels, key=lambda label: counts[label])
        joined |= {label: commonest for label in labels if label != commonest}
    return joined


def _question(counts: Mapping[str, int], missing: Sequence[str], *, alike: Sequence[Sequence[str]], name: str) -> str:
    """The sentence that asks, with the counts, and the two answers."""

    def spelt(label: str, among: Sequence[str] = ()) -> str:
        look_alike = any(other != label and other.casefold() != label.casefold() for other in among)
        shown = ascii(label) if look_alike else repr(label)
        return f"{shown if len(shown) <= 60 else shown[:60] + '...'} ({_counted(counts[label], 'row')})"

    parts = [" and ".join(spelt(label, labels) for label in labels[:6]) for labels in alike[:_MOST_NAMED]]
    more = " and others" if len(alike) > _MOST_NAMED else ""
    words = [f"labels that may be the same: {'; '.join(parts)}{more}"] * bool(alike)
    if missing:
        words.append(f"labels that may mean that there is none: {', '.join(map(spelt, missing[:6]))}")
    return (
        f"{name} has {', and '.join(words)}. Choose --merge-labels to join labels that may be the same and to "
        "read labels that may mean none as missing, or --keep-labels to keep each label as it is written."
    )


def _joined_words(joined: Mapping[str, str], name: str) -> list[str]:
    if not joined:
        return []
    pairs = [f"{label!r} as {into!r}" if into else f"{label!r} as no label" for label, into in joined.items()]
    return [f"{name} was read with labels joined: {_listed(pairs)}."]
