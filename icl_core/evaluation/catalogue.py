"""The index's entry for each file of results: text in one row per file, and tables in memory.

It reads no numbers of results and opens no file. A row can be made again from its file alone, so a row that cannot be
read costs nothing. Its text is canonical JSON that holds each checkpoint and each set of options once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa

from icl_core.evaluation.codec import spec_faults
from icl_core.plain import from_json, from_plain
from icl_core.records import CellRecord, CellSpec, CheckpointRef, canonical_json, plain_fields

__all__ = [
    "CELL_COLUMNS",
    "UNREADABLE",
    "Catalogue",
    "Cell",
    "Resolution",
    "Versions",
    "cell_of",
    "cells_of_table",
    "company_of",
    "is_digest",
    "is_resolution",
    "order_in_file",
    "read_cells",
    "read_resolution",
    "resolution_text",
    "text_of_cells",
]

Versions = Callable[[str], tuple[int, int] | None]
"""Scoring version and task version of current results; None for an unknown task."""
UNREADABLE = (ValueError, KeyError, TypeError, IndexError, RecursionError)
"""The errors that reading a row may raise if this project did not write it."""
CELL_COLUMNS = ("spec", "key", "provenance", "gold", "loglikelihoods")
"""The columns of a file from which the lines of its results are made."""
_DIGEST = re.compile(r"[0-9a-f]{64}").fullmatch
_OPTIONS = tuple(name for name in CellSpec.__dataclass_fields__ if name not in ("checkpoint", "demo_seed"))
_options_of = attrgetter(*_OPTIONS)


def is_digest(text: object) -> bool:
    """Whether a text is the name of a result, and so cannot be a path.

    >>> is_digest("0" * 64), is_digest("../../x")
    (True, False)
    """
    return isinstance(text, str) and _DIGEST(text) is not None


def company_of(spec: CellSpec) -> tuple[object, ...]:
    """What results must share to be in one curve."""
    prompt = spec.template, spec.label_word_set, spec.data_dir
    return spec.checkpoint.model, spec.task, spec.split, spec.n_examples, *prompt


@dataclass(frozen=True, slots=True)
class Cell:
    """One stored result, as one line.

    Attributes:
        spec: what was asked when it was computed.
        digest: name of the result.
        versions: scoring version and task version of its key.
        accuracy: fraction of rows whose highest log-likelihood (sum over tokens, lowest index on ties) is gold.
        n_examples, n_choices: its size.
        date: when it was computed; "" if unknown.
    """

    spec: CellSpec
    digest: str
    versions: tuple[int, int]
    accuracy: float
    n_examples: int
    n_choices: int
    date: str


def order_in_file(spec: CellSpec) -> tuple[str, ...]:
    """Sorts results in a file by checkpoint, and then so that results with the same rows are together."""
    ref, options = spec.checkpoint, (spec.split, spec.task, spec.label_setting, f"{spec.demo_seed:010}")
    return (ref.model, ref.revision, *options, spec.digest)


def cell_of(record: CellRecord) -> Cell:
    """The line of a record."""
    correct = np.argmax(record.loglikelihoods, axis=1) == record.gold
    return Cell(
        record.spec,
        record.key.digest,
        (record.key.scoring_version, record.key.task_version),
        float(correct.mean()),
        len(record.row_ids),
        len(record.choices),
        str(record.provenance.get("date", "")),
    )


def cells_of_table(table: pa.Table) -> list[Cell]:
    """The lines of rows that are known to be results, from a file that the project ships. Nothing is checked.

    Args:
        table: with the columns of ``CELL_COLUMNS``.

    Raises:
        ValueError, KeyError, TypeError: a row names no spec or key.
    """
    specs = _Specs()
    cells = []
    for batch in table.to_batches():
        arrays = {name: _rows_of(batch.column(name)) for name in ("gold", "loglikelihoods")}
        columns = {name: batch.column(name).to_pylist() for name in ("spec", "key", "provenance")}
        for at, (spec, key, provenance) in enumerate(zip(*columns.values(), strict=True)):
            facts, gold = json.loads(key), arrays["gold"][at]
            correct = np.argmax(arrays["loglikelihoods"][at].reshape(len(gold), -1), axis=1) == gold
            cells.append(
                Cell(
                    specs.read(json.loads(spec)),
                    hashlib.sha256(key.encode()).hexdigest(),
                    (facts["scoring_version"], facts["task_version"]),
                    np.count_nonzero(correct) / len(gold),
                    len(gold),
                    len(facts["label_words"]),
                    str(json.loads(provenance).get("date", "")),
                )
            )
    return cells


def _rows_of(column: pa.ListArray) -> list[Any]:
    offsets, values = column.offsets.to_numpy(), column.values.to_numpy()
    return [values[start:end] for start, end in pairwise(offsets)]


class _Specs:
    """Reads many specs; checkpoints and options that they share are checked once."""

    def __init__(self) -> None:
        self._checkpoints: dict[tuple[object, ...], CheckpointRef] = {}
        self._options: dict[tuple[object, ...], tuple[Any, ...]] = {}

    def read(self, plain: Mapping[str, Any]) -> CellSpec:
        checkpoint = tuple(plain["checkpoint"].items())
        options = tuple(plain[name] for name in _OPTIONS)
        if checkpoint not in self._checkpoints or options not in self._options:
            spec = from_plain(CellSpec, dict(plain))
            if faults := spec_faults(spec):
                raise ValueError("; ".join(faults))
            self._checkpoints.setdefault(checkpoint, spec.checkpoint)
            self._options.setdefault(options, _options_of(spec))
        return _spec_of(self._checkpoints[checkpoint], self._options[options], plain["demo_seed"])


def _spec_of(checkpoint: CheckpointRef, options: tuple[Any, ...], demo_seed: object) -> CellSpec:
    if type(demo_seed) is not int or not 0 <= demo_seed < 2**32:
        raise ValueError(f"{demo_seed!r} is not a seed")
    task, split, label_setting, *others = options
    return CellSpec(checkpoint, task, split, label_setting, demo_seed, *others)


# The row of a file


def text_of_cells(cells: Sequence[Cell | None]) -> str:
    """The row of a file whose rows are these results, in their order; None for a row that holds none."""
    checkpoints = list(dict.fromkeys(cell.spec.checkpoint for cell in cells if cell))
    number = {ref: at for at, ref in enumerate(checkpoints)}
    options: dict[tuple[object, ...], int] = {}
    lines: list[list[object] | None] = []
    for cell in cells:
        if cell is None:
            lines.append(None)
            continue
        at = options.setdefault(_options_of(cell.spec), len(options))
        facts = (*cell.versions, cell.accuracy, cell.n_examples, cell.n_choices, cell.date)
        lines.append([number[cell.spec.checkpoint], at, cell.spec.demo_seed, cell.digest, *facts])
    return canonical_json(
        {
            "checkpoints": [plain_fields(ref) for ref in checkpoints],
            "options": [dict(zip(_OPTIONS, each, strict=True)) for each in options],
            "cells": lines,
        }
    )


def read_cells(text: str) -> tuple[Cell | None, ...]:
    """The results that the row of a file names, by row; None for a row that holds none.

    Raises:
        ValueError, KeyError, TypeError, IndexError, RecursionError: it is not such a row.
    """
    plain = json.loads(text)
    specs = _Specs()
    checkpoints, options = plain["checkpoints"], plain["options"]
    pairs: dict[tuple[int, int], tuple[CheckpointRef, tuple[Any, ...]]] = {}
    cells: list[Cell | None] = []
    for line in plain["cells"]:
        if line is None:
            cells.append(None)
            continue
        ref, option, seed, digest, scoring, task, accuracy, n_examples, n_choices, date = line
        if (ref, option) not in pairs:
            spec = specs.read({**options[option], "checkpoint": checkpoints[ref], "demo_seed": 0})
            pairs[ref, option] = spec.checkpoint, _options_of(spec)
        numbers = [type(each) for each in (scoring, task, n_examples, n_choices)]
        if not is_digest(digest) or numbers != [int] * 4 or type(accuracy) is not float or type(date) is not str:
            raise ValueError("a line of it is damaged")
        cells.append(
            Cell(_spec_of(*pairs[ref, option], seed), digest, (scoring, task), accuracy, n_examples, n_choices, date)
        )
    return tuple(cells)


# The row of a spec whose result was computed for another spec, or to which several results could belong


@dataclass(frozen=True, slots=True)
class Resolution:
    """The result to which a spec leads; the last resolution counts."""

    spec: CellSpec
    digest: str
    versions: tuple[int, int]


def resolution_text(resolution: Resolution) -> str:
    """The row of a resolution."""
    return canonical_json(plain_fields(resolution))


def read_resolution(name: str, text: str) -> Resolution:
    """The resolution in a row.

    Raises:
        ValueError, KeyError, TypeError, RecursionError: this project does not write such a row.
    """
    resolution = from_json(Resolution, text)
    if faults := spec_faults(resolution.spec):
        raise ValueError("; ".join(faults))
    if not is_digest(resolution.digest):
        raise ValueError("it names no result")
    if name != f"resolution/{resolution.spec.digest}":
        raise ValueError("it has the name of another spec")
    return resolution


def is_resolution(name: str, text: str) -> bool:
    """Whether a row is a usable resolution."""
    try:
        return bool(read_resolution(name, text))
    except UNREADABLE:
        return False


@dataclass(slots=True)
class Catalogue:
    """All files, and the place of each result.

    Attributes:
        files: the results of each file, row by row; None for a row that holds none.
        places: file and row of a result, by its digest.
        by_spec: the results that were computed for a spec, in the order in which they were added.
        resolved: the resolutions of specs.
        garbled: names of resolutions that cannot be read; their specs have no result until they are resolved again.
    """

    files: dict[str, tuple[Cell | None, ...]] = field(default_factory=dict)
    places: dict[str, tuple[str, int]] = field(default_factory=dict)
    by_spec: dict[CellSpec, tuple[Cell, ...]] = field(default_factory=dict)
    resolved: dict[CellSpec, Resolution] = field(default_factory=dict)
    garbled: frozenset[str] = frozenset()

    def add(self, file: str, cells: tuple[Cell | None, ...]) -> None:
        """Adds a file; a result that is also in another file counts once, though it may have been for another spec."""
        self.files[file] = cells
        for row, cell in enumerate(cells):
            if cell is None:
                continue
            self.places.setdefault(cell.digest, (file, row))
            mine = self.by_spec.get(cell.spec, ())
            if all(cell.digest != each.digest for each in mine):
                self.by_spec[cell.spec] = (*mine, cell)

    def answer(self, spec: CellSpec, versions_of: Versions) -> Resolution | None:
        """The result of a spec: by its resolution, else the first current result that was computed for it."""
        if self.resolved and spec in self.resolved:
            return self.resolved[spec]
        cells = self.by_spec.get(spec, ())
        if not cells or self.is_garbled(spec):
            return None
        cell = cells[0]
        if len(cells) > 1:
            now = versions_of(spec.task)
            cell = next((each for each in cells if each.versions == now), cell)
        return Resolution(spec, cell.digest, cell.versions)

    def is_garbled(self, spec: CellSpec) -> bool:
        """Whether a spec has a resolution that cannot be read."""
        return bool(self.garbled) and f"resolution/{spec.digest}" in self.garbled

    def cell(self, digest: str) -> Cell | None:
        """The line of a result; None if there is no result of this name."""
        if digest not in self.places:
            return None
        file, row = self.places[digest]
        return self.files[file][row]

    def kept(self, files: Iterable[str]) -> Catalogue:
        """The same table with only these files."""
        smaller = Catalogue(resolved=self.resolved, garbled=self.garbled)
        for file in files:
            if file in self.files:
                smaller.add(file, self.files[file])
        return smaller
