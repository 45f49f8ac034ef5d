"""Reads the rows of a table in CSV, TSV, JSON lines or JSON: bytes in, the wanted columns of each row out.

It knows no tasks and opens no files. It is strict: a line that can be read in two ways is refused in one sentence that
names it. Sources: RFC 4180 (CSV), RFC 8259 (JSON), https://github.com/python/cpython/issues/117286 (spaces before
quotes).
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from icl_core.errors import DataError

__all__ = ["SUFFIXES", "UNREADABLE", "Record", "Table", "decode_text", "folded", "read_table", "spread_lines"]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
UNREADABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that no text holds: zero bytes, and halves of surrogate pairs, which JSON can write but UTF-8 cannot."""
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_LONGEST_FIELD = 2**31 - 1
"""Set high: the csv module's own limit (131,072 characters per field) names no line. The caller sets limits."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row: its place (``line 3``, or ``item 3`` of a JSON list) and its values by wanted column."""

    place: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file in its order, and sentences on how it was read if there was a choice."""

    records: tuple[Record, ...]
    notes: tuple[str, ...]


def folded(text: str) -> str:
    r"""The text without what a reader does not see: case, composition, invisible characters, runs of white space.

    >>> folded(" Text\u200b"), folded("e\u0301") == folded("\u00c9")
    ('text', True)
    """
    seen = _INVISIBLE.sub("", unicodedata.normalize("NFC", text)).casefold()
    return " ".join(unicodedata.normalize("NFC", seen).split())


def spread_lines(text: str) -> list[str]:
    """The lines of a text with any of the three line ends; a line separator of Unicode does not end a line."""
    return _LINE_BREAK.split(text)


def decode_text(content: bytes, name: str) -> tuple[str, str]:
    """The text of a file and the name of its encoding: UTF-8, or what its byte order mark tells.

    Raises:
        DataError: it is in no such encoding.
    """
    mark, encoding = next((pair for pair in _BYTE_ORDER_MARKS if content.startswith(pair[0])), (b"", "utf-8"))
    body = content[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(spread_lines(body[: error.start].decode(encoding, errors="replace")))
        raise DataError(
            f"{name} is not {encoding[:6].upper()} text (byte {len(mark) + error.start}) in line {line}; save it again "
            "with the encoding UTF-8."
        ) from error
    if "\0" in text[:4]:
        raise DataError(f"{name} has zero bytes at its beginning, so it is no UTF-8 text; save it again as UTF-8.")
    return text, encoding


def read_table(content: bytes, name: str, *, suffix: str, needed: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Reads the wanted columns of every row; blank lines are not rows.

    Args:
        content: the whole file.
        name: how the user calls it, for messages.
        suffix: which of ``SUFFIXES`` it is, in any case.
        needed: columns that every row has; case and surrounding spaces do not matter.
        optional: columns that either every row has or no row.

    Raises:
        DataError: the file is in another encoding or format, a row is cut or has other columns, or a wanted column
            is there twice.
    """
    suffix = suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{name} is not one of {', '.join(SUFFIXES)}; save it as one of them.")
    text, encoding = decode_text(content, name)
    notes = [] if encoding == "utf-8" else [f"{name} was read as {encoding.rpartition('-')[0].upper()}."]
    wanted = (*needed, *optional)
    if suffix in (".csv", ".tsv"):
        separator = _separator(text, needed, first="\t" if suffix == ".tsv" else ",")
        if separator != {".csv": ",", ".tsv": "\t"}[suffix]:
            notes.append(f"The fields of {name} are separated by {_SEPARATORS[separator]}.")
        records = tuple(_csv_records(text, name, separator=separator, needed=needed, wanted=wanted))
    else:
        items = _json_items(text, name) if suffix == ".json" else _json_lines(text, name)
        records = tuple(_record(place, item, name=name, needed=needed, wanted=wanted) for place, item in items)
    _check_optional(records, name, optional)
    return Table(records, tuple(notes))


def _check_optional(records: Sequence[Record], name: str, optional: Sequence[str]) -> None:
    for column in optional:
        having = [record for record in records if column in record.values]
        if 0 < len(having) < len(records):
            lacking = next(record for record in records if column not in record.values)
            raise DataError(f"{name}, {lacking.place}: the row has no {column}, but others have; give every row one.")


def _places(columns: Sequence[str], place: str, *, needed: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """Where each wanted column stands among the columns of a header or an object."""
    found: dict[str, list[int]] = {}
    for at, column in enumerate(columns):
        found.setdefault(folded(column), []).append(at)
    if missing := [name for name in needed if name not in found]:
        present = ", ".join(repr(column) for column in columns[:20]) or "none"
        raise DataError(
            f"{place} lacks the column {' and '.join(missing)} (present: {present}); name the columns "
            f"{' and '.join(needed)}."
        )
    for name in wanted:
        if len(found.get(name, ())) > 1:
            spelt = ", ".join(repr(columns[at]) for at in found[name])
            raise DataError(f"{place} names a column twice ({spelt}); keep one column {name} and rename the other.")
    return {name: found[name][0] for name in wanted if name in found}


# CSV


def _csv_reader(text: str, separator: str) -> Any:
    csv.field_size_limit(_LONGEST_FIELD)
    stream = io.StringIO(text, newline="")
    return csv.reader(stream, delimiter=separator, strict=True, skipinitialspace=True)


def _separator(text: str, needed: Sequence[str], *, first: str) -> str:
    """The first separator that gives the header the needed columns; if none does, the one that gives most columns."""
    n_columns: dict[str, int] = {}
    for separator in (first, *(other for other in _SEPARATORS if other != first)):
        try:
            header: list[str] = next((row for row in _csv_reader(text, separator) if not _is_blank(row)), [])
        except csv.Error:
            continue
        if {folded(column) for column in header} >= set(needed):
            return separator
        n_columns[separator] = len(header)
    return max(n_columns, key=lambda separator: n_columns[separator], default=first)


def _is_blank(fields: Sequence[str]) -> bool:
    return len(fields) <= 1 and not "".join(fields).strip()


def _csv_records(
    text: str, name: str, *, separator: str, needed: Sequence[str], wanted: Sequence[str]
) -> Iterator[Record]:
    rows = _csv_rows(text, name, separator)
    header: list[str] = next(rows, (1, []))[1]
    if len(header) == 1 and len(needed) > 1 and folded(header[0]) not in needed:
        raise DataError(
            f"{name} lacks the column {' and '.join(needed)}: all of its first line is one column, "
            f"{header[0][:60]!r}; separate columns by {', '.join(_SEPARATORS.values())}."
        )
    places = _places(header, name, needed=needed, wanted=wanted)
    for line, fields in rows:
        if len(fields) != len(header):
            raise DataError(
                f"{name}, line {line}: {len(fields)} fields, but the header has {len(header)}; quote texts that hold "
                f"{_SEPARATORS[separator]}."
            )
        yield Record(f"line {line}", {column: fields[at] for column, at in places.items()})


def _csv_rows(text: str, name: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The line where each row begins, and its fields."""
    reader, line = _csv_reader(text, separator), 1
    try:
        for fields in reader:
            if not _is_blank(fields):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        opened = _opening_line(text, line, separator)
        what = (
            "is never closed"
            if "unexpected end" in str(error)
            else f"is closed in line {reader.line_num}, but more text follows before the field ends"
        )
        raise DataError(
            f"{name}, line {opened}: not valid CSV, since the quote that opens there {what}; close it, and double the "
            "quotes inside quoted texts."
        ) from error


def _opening_line(text: str, line: int, separator: str) -> int:
    """The line of the quote that breaks the row beginning in this line: the quote of its first field without an end."""
    stream = io.StringIO(text, newline="")
    for _ in range(line - 1):
        stream.readline()
    row = text[stream.tell() :]
    field = re.compile(rf' *(?:"(?:[^"]++|"")*+"|[^"{separator}\r\n][^{separator}\r\n]*+)?{re.escape(separator)}')
    at = 0
    while found := field.match(row, at):
        at = found.end()
    return line + len(_LINE_BREAK.findall(row[:at]))


# JSON


def _loads(text: str, place: str, remedy: str) -> Any:
    """A JSON value, with each object as a tuple of its pairs, so that a repeated key is not lost."""
    try:
        return json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not valid JSON ({error}); {remedy}.") from error


def _json_lines(text: str, name: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(spread_lines(text), start=1):
        if line.strip():
            yield f"line {number}", _loads(line, f"{name}, line {number}", "write one object on each line")


def _json_items(text: str, name: str) -> Iterable[tuple[str, Any]]:
    """The objects of a list, of the one list in an object, or of JSON lines under the name .json."""
    try:
        value = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        if getattr(error, "msg", "") == "Extra data":
            return _json_lines(text, name)
        line = getattr(error, "lineno", 1)
        raise DataError(f"{name}, line {line}: not valid JSON ({error}); write a list of objects.") from error
    if isinstance(value, tuple):
        lists = [held for _, held in value if isinstance(held, list)]
        if len(lists) > 1:
            raise DataError(f"{name} is an object of {len(lists)} lists; write one list with an object for each row.")
        value = lists[0] if lists else [value]
    if not isinstance(value, list):
        raise DataError(f"{name} holds no list; write a list with an object for each row.")
    return ((f"item {number}", item) for number, item in enumerate(value, start=1))


def _record(place: str, item: Any, *, name: str, needed: Sequence[str], wanted: Sequence[str]) -> Record:
    if not isinstance(item, tuple):
        example = ", ".join(f'"{column}": ...' for column in needed)
        raise DataError(f"{name}, {place}: not an object; write {{{example}}}.")
    places = _places([key for key, _ in item], f"{name}, {place}", needed=needed, wanted=wanted)
    return Record(place, {column: item[at][1] for column, at in places.items()})
