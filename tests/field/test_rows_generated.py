"""Files made by chance out of everything that is odd in the field: rows in are rows used or rows told, always.

What becomes of each row is worked out here a second time, in plain Python, from the rows that were written.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icl_core.data.datasets import DROP_WORDS
from icl_core.errors import AmbiguousLabelsError, DataError
from icl_core.evaluation.told import row_sentences
from tests.support.rows import read, write
from tests.support.sentences import assert_one_sentence

SPLITS = {
    "demonstrations": ("train", "Demonstrations", " TRAIN"),
    "dev": ("dev", "Validation"),
    "test": ("test", "TEST "),
}
ODD_TEXTS = (
    *(
        "",
        "   ",
        "a, b",
        'he said "no"',
        '"quoted"',
        "two\nlines",
        "three\r\nlines\r",
        "; semi | bar",
        "\ttab",
        " padded ",
    ),
    *("caf\u00e9", "cafe\u0301", "\u200bhidden", "\u2028", "\U0001f600 face", '5" disk', "''", "NaN", "text", "=1+1"),
    *("x" * 20_000, "x" * 20_001, "y" * 140_000, "zero\0byte"),
)
CLEAR_LABELS = ("yes", "no", "no impact", "\u00fc", "0")
LOOKALIKES = ("yes", "Yes", "yes\u200b", "no", "nan", "None")


@dataclass(frozen=True)
class Row:
    text: str
    label: str
    split: str | None


@dataclass(frozen=True)
class File:
    """The rows and how they are written."""

    rows: tuple[Row, ...]
    suffix: str
    content: bytes
    reading: str


@st.composite
def files(draw: st.DrawFn) -> File:
    labels = draw(st.sampled_from([*[CLEAR_LABELS, CLEAR_LABELS[:2], LOOKALIKES] * 4, ("one",)]))
    has_splits = draw(st.booleans())
    suffix = draw(st.sampled_from([".csv", ".CSV", ".tsv", ".jsonl", ".ndjson", ".json"]))
    is_json = "js" in suffix
    odd = st.sampled_from([*ODD_TEXTS, *(["half \ud800"] if is_json else [])])
    plain = st.integers(0, 60).map(lambda i: f"film {i} .")
    row = st.builds(
        Row,
        st.one_of(plain, plain, plain, plain, odd),
        st.one_of(*[st.sampled_from(labels)] * 5, st.sampled_from(["", " ", "\u200b"])),
        st.sampled_from(["demonstrations", "dev", "test"]) if has_splits else st.none(),
    )
    n_rows = draw(st.sampled_from([3, *range(14, 44)]))
    rows = tuple(draw(st.lists(row, min_size=n_rows, max_size=n_rows)))
    text = draw(_json_text(rows, suffix)) if is_json else draw(_csv_text(rows, suffix))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"]))
    reading = draw(st.sampled_from(["", "?merge-labels", "?keep-labels"])) if labels is LOOKALIKES else ""
    return File(rows, suffix, text.encode(encoding), reading)


@st.composite
def _columns(draw: st.DrawFn, has_splits: bool) -> list[tuple[str, str]]:
    """(column, its spelling) in some order, one that nobody needs among them."""
    spelt = {"text": ("text", "Text ", "TEXT"), "label": ("label", " LABEL"), "split": ("split", "Split"), "": ("id",)}
    names = ["text", "label", *(["split"] if has_splits else []), *([""] if draw(st.booleans()) else [])]
    return [(name, draw(st.sampled_from(spelt[name]))) for name in draw(st.permutations(names))]


def _cell(row: Row, column: str, at: int) -> str:
    if column == "split":
        spellings = SPLITS[str(row.split)]
        return spellings[at % len(spellings)]
    return {"text": row.text, "label": row.label, "": str(at)}[column]


@st.composite
def _csv_text(draw: st.DrawFn, rows: tuple[Row, ...], suffix: str) -> str:
    separator = "\t" if suffix == ".tsv" else draw(st.sampled_from([",", ",", ";", "\t", "|"]))
    line_end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    space = draw(st.sampled_from(["", " "]))
    always = draw(st.booleans())
    columns = draw(_columns(rows[0].split is not None))

    def quoted(cell: str) -> str:
        needed = always or any(c in cell for c in f'{separator}"\r\n') or cell.strip() != cell
        return f'{space}"{cell.replace(chr(34), chr(34) * 2)}"' if needed else f"{space}{cell}"

    lines = [separator.join(f"{space}{name}" for _, name in columns)]
    for at, row in enumerate(rows):
        lines += [""] * draw(st.sampled_from([0, 0, 0, 1]))
        lines.append(separator.join(quoted(_cell(row, column, at)) for column, _ in columns))
    return line_end.join(lines) + draw(st.sampled_from(["", line_end, line_end * 2]))


@st.composite
def _json_text(draw: st.DrawFn, rows: tuple[Row, ...], suffix: str) -> str:
    columns = draw(_columns(rows[0].split is not None))
    null = draw(st.booleans())
    objects = []
    for at, row in enumerate(rows):
        cells = {name: _cell(row, column, at) for column, name in columns}
        objects.append({name: None if null and not cell else cell for name, cell in cells.items()})
    if suffix == ".json":
        indent = draw(st.sampled_from([None, 1]))
        return json.dumps(draw(st.sampled_from([objects, {"version": "1", "rows": objects}])), indent=indent)
    line_end = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
    return line_end.join(json.dumps(each) for each in objects)


# What should become of the rows


def _clean(text: str) -> str:
    return re.sub(r"\r\n|\r|\n", " ", text).strip()


def _seen(label: str) -> str:
    return label.replace("\u200b", "").lower()


class Refused(Exception):
    """No rows can be used."""


class Asked(Exception):
    """Labels may be one."""


def _labels(rows: list[Row], reading: str) -> dict[str, str]:
    """By written label what it is read as."""
    counts = Counter(row.label.strip() for row in rows if _seen(row.label.strip()))
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault(_seen(label), []).append(label)
    if reading == "?keep-labels":
        return {label: label for label in counts}
    if reading == "" and any(len(group) > 1 or key in ("nan", "none") for key, group in groups.items()):
        raise Asked
    commonest = {key: max(group, key=lambda label: counts[label]) for key, group in groups.items()}
    return {label: "" if _seen(label) in ("nan", "none") else commonest[_seen(label)] for label in counts}


def _expected(file: File) -> tuple[dict[str, tuple[str, str]], Counter[str]]:
    """(text, label) of each row that is used, by row id, and the number of rows that are left out, by words."""
    left_out: Counter[str] = Counter()
    usable: list[tuple[int, Row]] = []
    for at, row in enumerate(file.rows):
        if max(len(row.text), len(row.label)) > 20_000:
            left_out["are too long"] += 1
        elif re.search("[\0\ud800-\udfff]", row.text):
            left_out["cannot be read"] += 1
        else:
            usable.append((at, row))
    read_as = _labels([row for _, row in usable], file.reading)
    if len({label for label in read_as.values() if label}) < 2:
        raise Refused
    parts = _parts(file, usable)
    pool = _filled(parts[0], read_as, left_out)
    shown = {text for text, _ in pool.values()}
    others = [_filled(part, read_as, left_out) for part in parts[1:]]
    for part in others:
        for row_id in [row_id for row_id, (text, _) in part.items() if text in shown]:
            left_out["repeat the text of a demonstration"] += 1
            del part[row_id]
    n_dev = len(others[0]) if len(others) > 1 else 23 * len(others[0]) // 100
    if not (pool and n_dev and sum(map(len, others)) - n_dev):
        raise Refused
    return pool | {row_id: row for part in others for row_id, row in part.items()}, left_out


def _parts(file: File, usable: list[tuple[int, Row]]) -> list[list[tuple[int, Row]]]:
    present = [name for name in SPLITS if any(row.split == name for row in file.rows)]
    if not present or present == ["demonstrations"]:
        order = np.random.Generator(np.random.PCG64(42)).permutation(len(usable))
        cut = (len(usable) + 1) // 2
        return [[usable[i] for i in order[:cut]], [usable[i] for i in order[cut:]]]
    if present[0] != "demonstrations":
        raise Refused
    return [[(at, row) for at, row in usable if row.split == name] for name in present]


def _filled(part: list[tuple[int, Row]], read_as: dict[str, str], left_out: Counter[str]) -> dict[str, tuple[str, str]]:
    found = {}
    for at, row in part:
        label, text = read_as.get(row.label.strip(), ""), _clean(row.text)
        if not label:
            left_out["have no label"] += 1
        elif not text:
            left_out["have no text"] += 1
        else:
            found[f"row:{at}"] = (text, label)
    return found


_NUMBERS = itertools.count()


@pytest.mark.stands_for("RFC 4180 and RFC 8259", "what files of either kind hold in the field, put together by chance")
@settings(derandomize=True, max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False)
@given(files())
def test_rows_in_are_rows_used_or_rows_told(tmp_path_factory: pytest.TempPathFactory, file: File) -> None:
    path = write(Path(tmp_path_factory.getbasetemp(), "generated", f"{next(_NUMBERS)}{file.suffix}"), file.content)
    try:
        rows, left_out = _expected(file)
    except (Refused, Asked) as expected:
        kind = AmbiguousLabelsError if isinstance(expected, Asked) else DataError
        with pytest.raises(kind) as caught:
            read(f"{path}{file.reading}")
        assert isinstance(expected, Asked) or not isinstance(caught.value, AmbiguousLabelsError)
        assert_one_sentence(str(caught.value))
        return
    data = read(f"{path}{file.reading}")
    words = data.task.label_names
    used = [row for part in (data.demonstration_pool, data.dev, data.test) for row in part]
    assert {row.row_id: (row.text, words[row.gold]) for row in used} == rows and len(used) == len(rows)
    told: Counter[str] = Counter()
    for reason, n in data.dropped.items():
        told[DROP_WORDS[reason]] += n
    assert +told == left_out and data.n_spare == 0
    assert sum(data.n_rows.values()) == len(file.rows) == len(rows) + sum(left_out.values())
    said = row_sentences(data)
    for sentence in said:
        assert_one_sentence(sentence)
    assert all(any(f"{n:,} {reason}" in sentence for sentence in said) for reason, n in left_out.items())
