"""The store of results: Parquet files under ``results/``, one folder per model, and an index to find them.

It writes and reads records and keeps files and index consistent; rows.py handles rows of the index, segments.py files.
The files are what counts: the index can be made from them alone (upkeep.py). A damaged file or row does not affect the
others: readers leave it out and note it in ``Store.damage``.
"""

from __future__ import annotations

import functools
import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar, cast

import numpy as np
import pyarrow as pa

from icl_core.analysis.predictions import CellLabels, Normalisation
from icl_core.errors import StoreError
from icl_core.evaluation.catalogue import (
    CELL_COLUMNS,
    UNREADABLE,
    Catalogue,
    Cell,
    Resolution,
    Versions,
    cell_of,
    cells_of_table,
    company_of,
    is_digest,
    order_in_file,
    read_cells,
    read_resolution,
    resolution_text,
    text_of_cells,
)
from icl_core.evaluation.cells import current_versions
from icl_core.evaluation.codec import NewerFormatError, check_record, differing_fields
from icl_core.evaluation.notes import Notes
from icl_core.evaluation.predicted import clear_predicted, read_labels
from icl_core.evaluation.reservations import Reservations
from icl_core.evaluation.rows import Rows
from icl_core.evaluation.segments import (
    checked_rows,
    folder_of,
    is_sound,
    place_file,
    read_records,
    read_table,
    table_of,
    write_segment,
)
from icl_core.owners import clear_leftovers
from icl_core.records import CellKey, CellRecord, CellSpec, CheckpointRef, LabelSetting, Split, shown
from icl_core.registry.names import training_order
from icl_core.settings import store_path

__all__ = ["PREDICTED", "TOLERANCE_NATS", "CellStatus", "CellSummary", "PutReport", "Store", "files_of"]

T = TypeVar("T")
S = TypeVar("S", CellSpec, CellSpec | None)
R = TypeVar("R", CellRecord, CellLabels)
CellStatus = Literal["complete", "missing"]

TOLERANCE_NATS = {"float64": 1e-4, "float32": 1e-3, "bfloat16": 0.5, "float16": 0.5}
"""Largest difference between two computations of one key (on other devices, with other batch sizes), in nats.

float32 results are promised to 1e-3 nats; half precision keeps 8 to 11 bits of logits around 20.
"""

_BATCH = 400
_MOST_JOINED_BYTES = 2**25
_MOST_READINGS = 20
_ROW = "segment/"
PREDICTED = "predicted"
"""The folder of labels derived from files of results; it may be deleted at any time."""


@dataclass(frozen=True, slots=True)
class CellSummary:
    """One line about a stored result, for tables.

    Attributes:
        spec: what was asked; several specs may share one result.
        cell: the result.
        is_current: False if the version of scoring or of the task has changed since; readers then count the cell as
            missing.
    """

    spec: CellSpec
    cell: Cell
    is_current: bool

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.spec.checkpoint.model

    @property
    def revision(self) -> str:
        """Revision of the checkpoint."""
        return self.spec.checkpoint.revision

    @property
    def step(self) -> int | None:
        """Step of the checkpoint."""
        return self.spec.checkpoint.step

    @property
    def task(self) -> str:
        """Task of the cell."""
        return self.spec.task

    @property
    def split(self) -> Split:
        """Split of the cell."""
        return self.spec.split

    @property
    def label_setting(self) -> LabelSetting:
        """Label setting of the cell."""
        return self.spec.label_setting

    @property
    def demo_seed(self) -> int:
        """Seed of the cell's demonstrations."""
        return self.spec.demo_seed

    @property
    def n_shots(self) -> int:
        """Number of demonstrations."""
        return self.spec.n_shots

    @property
    def accuracy(self) -> float:
        """Fraction of rows whose highest log-likelihood (sum over tokens, lowest index on ties) is gold."""
        return self.cell.accuracy

    @property
    def n_examples(self) -> int:
        """Rows of the result."""
        return self.cell.n_examples

    @property
    def n_choices(self) -> int:
        """Choices of the result."""
        return self.cell.n_choices

    @property
    def date(self) -> str:
        """When it was computed, from the record's provenance; "" if unknown."""
        return self.cell.date

    @property
    def key_digest(self) -> str:
        """Name of the result."""
        return self.cell.digest


@dataclass(frozen=True, slots=True)
class PutReport:
    """The outcome for records that were offered to the store.

    Attributes:
        n_new: records stored now.
        n_kept: records that were already there with the same numbers; the first stays.
        differing: by key digest, a sentence on a record that was there with other numbers; the first stays.
        refused: a sentence on each record that is not a result, or does not fit this store.
    """

    n_new: int
    n_kept: int
    differing: Mapping[str, str]
    refused: tuple[str, ...] = ()


_NOT_LISTED: tuple[int, Mapping[str, tuple[int, int] | None], Sequence[CellSummary]] = (-1, {}, ())
"""The state of the index, the versions of tasks, and the list of summaries for both."""


class Store:
    """Results by key, found by spec; safe for several processes and for kill -9 at any moment.

    Attributes:
        path: folder that holds ``results/`` and ``index/``.
        rows: the index, for upkeep.py only; all others use the methods.
        reservations: which process computes which cell.
        notes: small texts beside the results.
        damage: a sentence on everything that could not be read, by digest of the result or name of the file or index
            row. Readers leave it out; whoever shows results says how much is left out.
    """

    def __init__(self, rows: Rows) -> None:
        self.path = rows.path
        self.rows = rows
        self.reservations = Reservations(rows)
        self.notes = Notes(rows)
        self.damage: dict[str, str] = {}
        self._lock = threading.Lock()
        self._listing = threading.Lock()
        self._catalogue, self._seen = Catalogue(), -1
        self._listed = _NOT_LISTED
        self._written: dict[str, tuple[Cell | None, ...]] = {}

    @classmethod
    def open(cls, path: Path | None = None) -> Store:
        """Opens the store in a folder (default: that of the settings), making it if needed.

        On a full or read-only disk it can only be read (``trouble`` says why). Files that the index does not know, such
        as those of a store that was copied without its index, are added to the index.

        Raises:
            StoreError: as ``open_cache``, if even reading is impossible.
        """
        store = cls(Rows.open((path or store_path()).resolve()))
        if store.trouble is None:
            store.reconcile()
        if (store.path / "cells").is_dir():
            store.damage["cells"] = (
                f"{store.path / 'cells'} holds results in the layout of an older version, which is not read; export "
                "them with that version, import that folder here, and remove this one."
            )
        return store

    @property
    def trouble(self) -> str | None:
        """A sentence on why the store could not be opened for writing; None if it could."""
        return self.rows.trouble

    @property
    def damage_words(self) -> str | None:
        """A sentence on how much could not be read, with the first case; None if all could be read."""
        if not self.damage:
            return None
        n = len(self.damage)
        some = f"{n} stored results cannot" if n > 1 else "1 stored result cannot"
        return f"{some} be read and {'are' if n > 1 else 'is'} left out: {next(iter(self.damage.values()))}"

    @property
    def results(self) -> Path:
        """The folder of the files of results."""
        return self.path / "results"

    def close(self) -> None:
        """Closes this thread's connection; the store stays usable and opens it again when needed."""
        self.rows.close()

    def generation(self) -> int:
        """A number that grows whenever a result or a resolution is added; caches may depend on it."""
        with self.rows.worded_errors():
            return self.rows.generation()

    def clear_leftovers(self) -> int:
        """Removes reservations and temporary files of killed processes; returns their number."""
        kept = self.path.glob(f"{PREDICTED}/.*.tmp")
        temporary = (*self.results.glob("*/.*.tmp"), *kept, *self.path.glob("hashes.json.*"))
        return clear_leftovers(temporary) + self.reservations.clear()

    # Which results there are

    def _known(self) -> Catalogue:
        """All files and the place of each result, from the index as it is now."""
        generation = self.rows.generation()
        with self._lock:
            for _ in range(_MOST_READINGS):  # rows are read one by one; another process may join files meanwhile
                if generation == self._seen:
                    break
                with _uncollected():
                    self._catalogue = self._read_catalogue()
                self._seen, generation = generation, self.rows.generation()
            return self._catalogue

    def _is_behind(self) -> bool:
        """Whether another process has changed the index since it was read, for example by joining files."""
        return self._seen != self.rows.generation()

    def _read_catalogue(self) -> Catalogue:
        files = [name.removeprefix(_ROW) for name in self.rows.names(_ROW)]
        catalogue = self._catalogue
        if not catalogue.files.keys() <= set(files):
            catalogue = catalogue.kept(files)
        for file in files:
            if file not in catalogue.files:
                catalogue.add(file, self._cells_of(file))
        resolved, garbled = {}, set()
        for name, text in self.rows.all("resolution/").items():
            try:
                resolution = read_resolution(name, text)
                resolved[resolution.spec] = resolution
                self.damage.pop(name, None)
            except UNREADABLE as error:
                garbled.add(name)
                self.damage[name] = f"A row of the index cannot be read ({shown(error)})."
        catalogue.resolved, catalogue.garbled = resolved, frozenset(garbled)
        return catalogue

    def _cells_of(self, file: str) -> tuple[Cell | None, ...]:
        """The results in a file, from its row in the index, or from the file if the row cannot be read."""
        if file in self._written:
            return self._written.pop(file)
        try:
            return read_cells(self.rows.get(f"{_ROW}{file}") or "")
        except UNREADABLE:
            return self._cells_in(file)

    def _cells_in(self, file: str) -> tuple[Cell | None, ...]:
        """The results in a file, each checked in full; none if the file is not this project's.

        Damaged ones are noted in ``damage``.
        """
        path = self._path_of(file)
        try:
            records = [record for _, record in checked_rows(path)]
            lost = [record for record in records if isinstance(record, str)]
            if not lost and is_sound(path):
                self.damage.pop(file, None)
            else:
                self._note_file(file, lost[0] if lost else "it is not what it is named after")
            cells = tuple(None if isinstance(record, str) else cell_of(record) for record in records)
            return cells if is_digest(path.stem) and any(cells) else ()
        except NewerFormatError as error:
            self.damage[file] = str(error)
        except (StoreError, OSError) as error:
            if os.path.lexists(path):  # else another process has just joined it with others
                self._note_file(file, shown(error, most=200).rstrip("."))
        return ()

    def _note_file(self, file: str, why: str) -> None:
        self.damage[file] = (
            f"The file {shown(file)} of results is damaged or not this project's ({why}); `python -m icl_core results "
            "--verify` lists what is damaged and `--rebuild` keeps its whole results."
        )

    def _path_of(self, file: str) -> Path:
        folder, _, name = file.rpartition("/")
        if folder in ("", ".", "..") or "/" in folder or not name.endswith(".parquet"):
            raise StoreError(f"{shown(file)} cannot be the name of a file of results.")
        return self.results / folder / name

    # Records in

    def put(self, record: CellRecord) -> bool:
        """Stores a result durably: first the file, then the index, in one locked step.

        Returns:
            True if it was new; False if the same numbers (within TOLERANCE_NATS) were there, which then stay.

        Raises:
            StoreError: the record contradicts itself, other numbers are stored under its key, the disk is full,
                or another process holds the store for minutes.
        """
        report = self.put_many([record])
        if report.differing:
            raise StoreError(*report.differing.values())
        return report.n_new == 1

    def put_many(self, records: Iterable[CellRecord]) -> PutReport:
        """Stores results as ``put`` does, but reports one that differs and goes on.

        Each file holds at most a few hundred records and is written completely or not at all. If a damaged file holds a
        result of the same key, it is set aside, and its whole results stay.
        """

        def checked() -> Iterator[tuple[Sequence[CellRecord], None]]:
            for batch in _batches(records, _BATCH):
                for record in batch:
                    check_record(record)
                yield batch, None

        return self._put_batches(checked(), [])

    def put_rows(self, groups: Iterable[tuple[Sequence[CellRecord], pa.Table]]) -> PutReport:
        """Stores checked results that come with their rows, as ``put_many`` does; the rows are copied as they are.

        At the end, small files that this made, or that a killed process had made in the same way, are joined.

        Args:
            groups: some records, and their rows in the same order in the columns of ``segments.SCHEMA``.
        """
        files: list[str] = []
        report = self._put_batches(groups, files)
        for folder in dict.fromkeys(file.partition("/")[0] for file in files):
            self._join_small(folder, files)
        return report

    def _put_batches(
        self, batches: Iterable[tuple[Sequence[CellRecord], pa.Table | None]], files: list[str]
    ) -> PutReport:
        """Stores each batch in one locked step, and adds the names of new files to ``files``."""
        n_new, n_kept, differing = 0, 0, {}
        for batch, rows in batches:
            outcomes, made = self._write(functools.partial(self._put_batch, batch, rows))
            files += made
            n_new += outcomes.count("new")
            n_kept += outcomes.count("kept")
            for record, outcome in zip(batch, outcomes, strict=True):
                if outcome not in ("new", "kept"):
                    differing[record.key.digest] = outcome
        return PutReport(n_new, n_kept, differing)

    def _write(self, action: Callable[[], T]) -> T:
        try:
            return self.rows.write(action)
        except BaseException:
            self._seen, self._listed = -1, _NOT_LISTED  # what was read inside the write is dropped
            self._written.clear()
            raise

    def _put_batch(self, batch: Sequence[CellRecord], rows: pa.Table | None) -> tuple[list[str], list[str]]:
        """The outcome of each record, and the new files; inside a write.

        An outcome is "new", "kept" or a sentence on how the stored record differs.
        """
        there = self._stored_records(batch)
        versions_of = functools.cache(current_versions)
        outcomes, new, answers = [], dict[str, int](), dict[CellSpec, Resolution]()
        for at, record in enumerate(batch):
            digest = record.key.digest
            stored = there.get(digest) or (batch[new[digest]] if digest in new else None)
            if stored is None:
                new[digest] = at
            self._keep_answer(record, answers, versions_of, is_new=stored is None)
            outcomes.append("new" if stored is None else _difference(stored, record) or "kept")
        by_model: dict[str, list[int]] = {}
        for at in new.values():
            by_model.setdefault(batch[at].spec.checkpoint.model, []).append(at)
        return outcomes, [self._write_batch(model, batch, mine=mine, rows=rows) for model, mine in by_model.items()]

    def _write_batch(self, model: str, batch: Sequence[CellRecord], *, mine: list[int], rows: pa.Table | None) -> str:
        """Writes some records of a batch into a file of their model, indexes it and gives its name; inside a write."""
        records = [batch[at] for at in mine]
        table = table_of(records) if rows is None else rows.take(pa.array(mine)).combine_chunks()
        path = write_segment(self.results / folder_of(model), table)
        file = f"{path.parent.name}/{path.name}"
        self._index(file, [cell_of(record) for record in records])
        return file

    def _stored_records(self, batch: Sequence[CellRecord]) -> dict[str, CellRecord]:
        """The records that are stored under the keys of a batch; damaged ones are set aside; inside a write."""
        places = self._known().places
        digests = [digest for digest in dict.fromkeys(record.key.digest for record in batch) if digest in places]
        found = self._read({digest: None for digest in digests}, read_records)
        for file in {places[digest][0] for digest in digests if digest not in found}:
            self.set_aside(file)
        return found

    def _keep_answer(
        self, record: CellRecord, answers: dict[CellSpec, Resolution], versions_of: Versions, *, is_new: bool
    ) -> None:
        """Keeps the resolution of a spec if it is a current result; else resolves it to this record. Inside a write.

        A spec needs no resolution if only one result of these versions was computed for it.
        """
        catalogue, spec, key = self._known(), record.spec, record.key
        versions = key.scoring_version, key.task_version
        before = answers.get(spec) or catalogue.answer(spec, versions_of)
        is_there = before is not None and (spec in answers or before.digest in catalogue.places)
        if before is not None and is_there and before.versions == versions_of(spec.task):
            answer = before
        else:
            answer = Resolution(spec, key.digest, versions)
        own = {cell.digest for cell in catalogue.by_spec.get(spec, ()) if cell.versions == answer.versions}
        own |= {key.digest} if is_new and versions == answer.versions else set()
        said = spec in catalogue.resolved or catalogue.is_garbled(spec) or own != {answer.digest}
        if said and catalogue.resolved.get(spec) != answer:
            self._resolve(answer)
        answers[spec] = answer

    def _index(self, file: str, cells: Sequence[Cell | None]) -> None:
        self.rows.set(f"{_ROW}{file}", text_of_cells(cells))
        self.rows.bump()
        self._written[file] = tuple(cells)

    def set_aside(self, file: str) -> None:
        """Moves a damaged file to ``damaged/`` and its whole results to a new file, which may have the same name.

        Inside a write.
        """
        path = self._path_of(file)
        for cell in self._known().files.get(file, ()):
            self.damage.pop(cell.digest if cell else "", None)
        self.rows.delete(f"{_ROW}{file}")
        self.rows.bump()
        self.damage.pop(file, None)
        if not path.is_file():
            return
        aside = self.path / "damaged"
        aside.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(path, aside / f"{path.parent.name} {path.name}")
        new, whole = None, _whole_records(path)
        if whole:
            new = write_segment(path.parent, table_of(whole))
            self._index(f"{new.parent.name}/{new.name}", [cell_of(record) for record in whole])
        if new != path:
            path.unlink()

    def adopt(self, source: Path) -> int | None:
        """Adds a file of results as it is: copies its bytes and indexes it, without checking each row.

        Only for files that are known to be this project's own; use ``put_many`` for others.

        Returns:
            The number of its results; None if it cannot be added as it is, because the store has results that would
            share a curve with them.
        """
        table = read_table(source, columns=CELL_COLUMNS)
        cells = cells_of_table(table)
        folders = {folder_of(cell.spec.checkpoint.model) for cell in cells}

        def write() -> int | None:
            known = self._known()
            there = set(map(company_of, (*known.by_spec, *known.resolved)))
            if len(folders) != 1 or any(company_of(cell.spec) in there for cell in cells):
                return None
            path = place_file(source, self.results / folders.pop())
            self._index(f"{path.parent.name}/{path.name}", cells)
            return len(cells)

        return self._write(write)

    # Keeping files and index consistent

    def reconcile(self) -> None:
        """Indexes files that the index does not know, and drops its rows for files that do not exist any more.

        A killed process leaves such files: one that it had just written, or files that it had just joined.
        """

        def strangers() -> tuple[set[str], set[str]]:
            files = set(files_of(self.path))
            known = {name.removeprefix(_ROW) for name in self.rows.names(_ROW)}
            return files - known, known - files

        def write() -> None:
            new, gone = strangers()
            for file in gone:
                self.rows.delete(f"{_ROW}{file}")
                self.rows.bump()
            for file in sorted(new, key=lambda file: (-self._changed_at(file), file)):
                with suppress(FileNotFoundError):  # another process has just joined it with others
                    self._take_in(file)

        with self.rows.worded_errors():
            new, gone = strangers()
        if new or gone:
            self._write(write)
        clear_predicted(self.path / PREDICTED, files_of(self.path))

    def _changed_at(self, file: str) -> float:
        try:
            return self._path_of(file).lstat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _take_in(self, file: str) -> None:
        """Indexes the whole results of a file; if other files have them all, the file is removed."""
        cells = self._cells_in(file)
        if cells and file not in self.damage and self._is_repeated(file, [cell for cell in cells if cell]):
            self._path_of(file).unlink(missing_ok=True)
        elif cells:
            self._index(file, cells)

    def _is_repeated(self, file: str, cells: Sequence[Cell]) -> bool:
        """Whether every row of a file is a row of another file, with the same seal."""
        places = self._known().places
        if any(cell.digest not in places for cell in cells):
            return False
        others = {name: self._seals(name) for name in {places[cell.digest][0] for cell in cells}}
        theirs = [others[name][row] for name, row in (places[cell.digest] for cell in cells)]
        return theirs == self._seals(file)

    def _seals(self, file: str) -> list[str]:
        return cast("list[str]", read_table(self._path_of(file), columns=["sha256"])["sha256"].to_pylist())

    def join(self, checkpoint: CheckpointRef) -> int:
        """Joins the files that hold results of only one checkpoint into one, with each row once and unchanged.

        The old files are removed after the index has the new one. Returns the number of joined files.
        """

        def mine() -> list[str]:
            files = self._known().files
            return [file for file, cells in files.items() if {c.spec.checkpoint for c in cells if c} == {checkpoint}]

        return self._join(mine)

    def _join_small(self, folder: str, new: Sequence[str]) -> None:
        """Joins new files of a folder, and small files of several checkpoints, into a few large ones."""

        def is_small(file: str, cells: Sequence[Cell | None]) -> bool:
            is_mixed = len(cells) < _BATCH and len({cell.spec.checkpoint for cell in cells if cell}) > 1
            return file.startswith(f"{folder}/") and (file in new or is_mixed)

        with self.rows.worded_errors():
            small = [file for file, cells in self._known().files.items() if is_small(file, cells)]
            sizes = {file: self._path_of(file).stat().st_size for file in small if self._path_of(file).is_file()}
        parts: list[list[str]] = [[]]
        for file, size in sizes.items():
            if parts[-1] and sum(sizes[each] for each in parts[-1]) + size > _MOST_JOINED_BYTES:
                parts.append([])
            parts[-1].append(file)
        for part in parts:
            self._join(lambda part=part: [file for file in part if file in self._known().files])  # type: ignore[misc]

    def _join(self, choose: Callable[[], list[str]]) -> int:
        """Joins the files of a folder that ``choose`` names and whose rows are all whole; returns their number."""

        def mine() -> list[str]:
            files = self._known().files
            return [file for file in choose() if None not in files[file] and is_sound(self._path_of(file))]

        def write() -> list[Path]:
            files, known = mine(), self._known().files
            if len(files) < 2:
                return []
            cells = [cell for file in files for cell in known[file] if cell]
            first = {(cell.spec, cell.digest): at for at, cell in reversed(list(enumerate(cells)))}
            order = sorted(first.values(), key=lambda at: (*order_in_file(cells[at].spec), cells[at].digest))
            tables = [read_table(self._path_of(file)) for file in files]
            joined = pa.concat_tables(tables).take(pa.array(order)).combine_chunks()
            path = write_segment(self._path_of(files[0]).parent, joined)
            if not read_table(path).equals(joined):
                raise StoreError(f"{path.name} does not read back as it was written; the old files stay.")
            for file in files:
                self.rows.delete(f"{_ROW}{file}")
            self._index(f"{path.parent.name}/{path.name}", [cells[at] for at in order])
            return [old for file in files if (old := self._path_of(file)) != path]

        with self.rows.worded_errors():
            is_joined = len(mine()) < 2
        old = [] if is_joined else self._write(write)
        for path in old:
            path.unlink(missing_ok=True)
        if old:
            clear_predicted(self.path / PREDICTED, files_of(self.path))
        return len(old)

    # Records out

    def get(self, key: CellKey) -> CellRecord | None:
        """The result of a key, None if there is none.

        Raises:
            StoreError: the stored result is damaged or belongs to another key.
        """
        with self.rows.worded_errors():
            found = self._read({key.digest: None}, read_records)
        if key.digest in self.damage:
            raise StoreError(self.damage[key.digest])
        return found.get(key.digest)

    def has(self, key: CellKey) -> bool:
        """Whether a whole result is stored under a key; a damaged one does not count."""
        with self.rows.worded_errors():
            place = self._known().places.get(key.digest)
            if place is None:
                return False
            try:
                if is_sound(self._path_of(place[0])):
                    return True
            except OSError:
                pass
            return key.digest in self._read({key.digest: None}, read_records)

    def find(self, spec: CellSpec) -> CellRecord | None:
        """The current result of a spec, with that spec; None if missing, unresolved or outdated.

        Raises:
            StoreError: the stored result is damaged.
        """
        found = self.find_many([spec]).get(spec)
        if found is None and (digest := self._current_digests([spec])[spec]) in self.damage:
            raise StoreError(self.damage[str(digest)])
        return found

    def find_many(self, specs: Iterable[CellSpec]) -> dict[CellSpec, CellRecord]:
        """The current results of the specs that have one; damaged ones are left out and noted in ``damage``.

        Each file is read once, row group by row group, for any number of cells.
        """
        return self._find(specs, read_records)

    def find_labels(
        self, specs: Iterable[CellSpec], *, normalisation: Normalisation = "sum"
    ) -> dict[CellSpec, CellLabels]:
        """The labels that the current results of the specs predict, without scores; otherwise as ``find_many``.

        Labels derived from a file are kept in ``predicted/`` and read from there.
        """
        return self._find(
            specs, functools.partial(read_labels, normalisation=normalisation, kept_in=self.path / PREDICTED)
        )

    def _find(
        self,
        specs: Iterable[CellSpec],
        read: Callable[[Path, Mapping[int, tuple[str, CellSpec]]], Iterator[tuple[int, R | str]]],
    ) -> dict[CellSpec, R]:
        with self.rows.worded_errors(), _uncollected():
            answers = {spec: digest for spec, digest in self._current_digests(specs).items() if digest}
            first = {digest: spec for spec, digest in reversed(answers.items())}
            found = self._read(first, read)
        results = {}
        for spec, digest in answers.items():
            result = found.get(digest)
            if result is not None and (result.spec == spec or not differing_fields(spec, result.key)):
                results[spec] = result if result.spec == spec else replace(result, spec=spec)
        return results

    def _read(
        self,
        wanted: Mapping[str, S],
        read: Callable[[Path, Mapping[int, tuple[str, S]]], Iterator[tuple[int, R | str]]],
    ) -> dict[str, R]:
        """The stored results of some digests, with the requested specs; damaged ones are noted in ``damage``."""
        for digest in wanted:
            self.damage.pop(digest, None)
        found, lost = self._read_places(wanted, self._known(), read)
        while any(isinstance(error, FileNotFoundError) for error in lost.values()) and self._is_behind():
            again, lost = self._read_places({digest: wanted[digest] for digest in lost}, self._known(), read)
            found |= again
        for digest, why in lost.items():
            self.damage[digest] = (
                f"Stored cell {digest[:12]} is damaged ({shown(why, most=200)}); `python -m icl_core results --verify` "
                "lists what is damaged and `--rebuild` sets it aside so that it can be computed again."
            )
        return found

    def _read_places(
        self,
        wanted: Mapping[str, S],
        catalogue: Catalogue,
        read: Callable[[Path, Mapping[int, tuple[str, S]]], Iterator[tuple[int, R | str]]],
    ) -> tuple[dict[str, R], dict[str, str | Exception]]:
        by_file: dict[str, dict[int, tuple[str, S]]] = {}
        for digest, spec in wanted.items():
            if digest in catalogue.places:
                file, row = catalogue.places[digest]
                by_file.setdefault(file, {})[row] = digest, spec
        found: dict[str, R] = {}
        lost: dict[str, str | Exception] = {}
        for file, rows in by_file.items():
            try:
                for row, result in read(self._path_of(file), rows):
                    digest = rows[row][0]
                    if isinstance(result, str):
                        lost[digest] = result
                    else:
                        found[digest] = result
            except (StoreError, OSError, pa.ArrowException) as error:
                lost |= {digest: error for digest, _ in rows.values() if digest not in found}
        return found, lost

    def count(self) -> int:
        """The number of results."""
        with self.rows.worded_errors():
            return len(self._known().places)

    # From specs to results

    def resolve(self, spec: CellSpec, key: CellKey) -> None:
        """Records the result of a spec, once its names are resolved; the last resolution counts."""
        self.resolve_many({spec: key})

    def resolve_many(self, keys: Mapping[CellSpec, CellKey]) -> None:
        """``resolve`` for several specs in one locked step."""
        said = [Resolution(spec, key.digest, (key.scoring_version, key.task_version)) for spec, key in keys.items()]

        def news() -> list[Resolution]:
            catalogue, versions_of = self._known(), functools.cache(current_versions)
            return [each for each in said if catalogue.answer(each.spec, versions_of) != each]

        def write() -> None:
            for resolution in news():
                self._resolve(resolution)

        with self.rows.worded_errors():
            is_news = bool(news())
        if is_news:
            self._write(write)

    def _resolve(self, resolution: Resolution) -> None:
        self.rows.set(f"resolution/{resolution.spec.digest}", resolution_text(resolution))
        self.rows.bump()

    def rows_of(self, specs: Iterable[CellSpec]) -> dict[Path, dict[CellSpec, tuple[int, str]]]:
        """The places of the current results of specs: by file and spec, the row and the name of the result."""
        with self.rows.worded_errors():
            digests, places = self._current_digests(specs), self._known().places
        found: dict[Path, dict[CellSpec, tuple[int, str]]] = {}
        for spec, digest in digests.items():
            if digest in places:
                file, row = places[digest]
                found.setdefault(self._path_of(file), {})[spec] = row, digest
        return found

    def status(self, specs: Iterable[CellSpec]) -> dict[CellSpec, CellStatus]:
        """Which specs have a current result, without reading them; a result already found damaged counts as missing."""
        with self.rows.worded_errors():
            found, places = self._current_digests(specs), self._known().places
        return {
            spec: "complete" if digest in places and digest not in self.damage else "missing"
            for spec, digest in found.items()
        }

    def _current_digests(self, specs: Iterable[CellSpec]) -> dict[CellSpec, str | None]:
        """The result of the current versions for each spec; it may not be stored yet."""
        catalogue, versions_of = self._known(), functools.cache(current_versions)
        found: dict[CellSpec, str | None] = {}
        for spec in specs:
            answer = catalogue.answer(spec, versions_of)
            found[spec] = answer.digest if answer and answer.versions == versions_of(spec.task) else None
        return found

    def summaries(self) -> list[CellSummary]:
        """One line for each resolved spec that has a result, sorted by model, step, task, setting, seed, split.

        Rows of the index that cannot be read are left out and noted in ``damage``.
        """
        with self._listing, self.rows.worded_errors():
            generation = self.rows.generation()  # asked first: the list may be newer than this number, but never older
            catalogue, versions_of = self._known(), functools.cache(current_versions)
            listed_at, versions, listed = self._listed
            if listed_at != generation or any(versions_of(task) != known for task, known in versions.items()):
                listed = self._list(catalogue, versions_of)
                self._listed = generation, {row.task: versions_of(row.task) for row in listed}, listed
        return list(listed)

    def _list(self, catalogue: Catalogue, versions_of: Versions) -> tuple[CellSummary, ...]:
        rows = []
        with _uncollected():
            for spec in dict.fromkeys((*catalogue.by_spec, *catalogue.resolved)):
                answer = catalogue.answer(spec, versions_of)
                if answer and (cell := catalogue.cell(answer.digest)):
                    rows.append(CellSummary(spec, cell, versions_of(spec.task) == answer.versions))
            rows.sort(key=_place_in_list)
        return tuple(rows)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Runs its block without garbage collection, which gets slow among many small objects and would find nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _place_in_list(row: CellSummary) -> tuple[object, ...]:
    spec = row.spec
    order = training_order(spec.checkpoint)
    return (*order, spec.task, spec.label_setting, spec.demo_seed, spec.split, row.cell.digest, str(spec.data_dir))


def files_of(path: Path) -> list[str]:
    """The files of results in the folder of a store, as folder and name; temporary files are left out."""
    return sorted(f"{file.parent.name}/{file.name}" for file in (path / "results").glob("*/[!._]*.parquet"))


def _whole_records(path: Path) -> list[CellRecord]:
    try:
        return [record for _, record in checked_rows(path) if isinstance(record, CellRecord)]
    except StoreError:
        return []


def _difference(stored: CellRecord, offered: CellRecord) -> str | None:
    """A sentence on how the numbers of two records of one key differ; None if they are the same result."""
    name = offered.key.digest[:12]
    for part in ("row_ids", "choices", "demonstration_ids", "demonstration_labels", "context_cut"):
        if getattr(stored, part) != getattr(offered, part):
            return f"Cell {name} is already stored with other {part}; the stored result stays."
    for part in ("gold", "n_tokens", "content_free_n_tokens"):
        if not np.array_equal(getattr(stored, part), getattr(offered, part)):
            return f"Cell {name} is already stored with other {part}; the stored result stays."
    gap = max(
        float(np.abs(stored.loglikelihoods - offered.loglikelihoods).max()),
        float(np.abs(stored.content_free - offered.content_free).max()),
    )
    tolerance = TOLERANCE_NATS.get(offered.key.dtype, min(TOLERANCE_NATS.values()))
    if gap > tolerance:
        return (
            f"Cell {name} is already stored with log-likelihoods that differ by {gap:.2g} nats, more than the "
            f"{tolerance:g} allowed in {offered.key.dtype}; the stored result stays."
        )
    return None


def _batches(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
