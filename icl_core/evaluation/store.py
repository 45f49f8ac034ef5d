"""Where results live: one file a cell, and a diskcache index over them that finds and claims.

It knows keys and text, not models, and computes no measure beyond the plain accuracy shown in tables. The file under
``cells/`` is the copy that counts; the index (index.py) holds the same text for speed and can be rebuilt (upkeep.py).
One damaged result or row never takes the others with it: readers pass it over and note it in ``Store.damage``.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import diskcache
import numpy as np

from icl_core.errors import StoreError
from icl_core.evaluation.cells import current_versions
from icl_core.evaluation.codec import (
    NewerFormatError,
    check_record,
    decode_record,
    encode_record,
    from_plain,
    is_sealed,
    spec_faults,
)
from icl_core.evaluation.index import LOCK_TIMEOUT_S, ReadOnlyIndex, is_unwritable, open_cache, read_rows, remedy
from icl_core.owners import Owner, clear_leftovers, lives, owner_of
from icl_core.records import CellKey, CellRecord, CellSpec, LabelSetting, Split, canonical_json, plain_fields, shown
from icl_core.settings import store_path

__all__ = ["TOLERANCE_NATS", "CellStatus", "CellSummary", "PutReport", "Store", "readable_resolution"]

T = TypeVar("T")
CellStatus = Literal["complete", "missing"]

TOLERANCE_NATS = {"float64": 1e-4, "float32": 1e-3, "bfloat16": 0.5, "float16": 0.5}
"""By how much two computations of one key may differ (device, batch size) and still be the same result.

float32 results are promised to 1e-3 nats; half precision keeps 8 to 11 bits of logits around 20.
"""

WRITE_ATTEMPTS = 3
STALE_CLAIM_S = 60.0
_INDEX_BATCH = 100
_MANY_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class CellSummary:
    """One line about a stored result, for tables.

    Attributes:
        model: name of the model.
        revision, step: of the checkpoint.
        task, split, label_setting, demo_seed, n_shots: of the cell.
        accuracy: fraction of rows whose highest log-likelihood (sum over tokens, lowest index on ties) is gold.
        n_examples, n_choices: size of the result.
        date: when it was computed, as the record's provenance says; "" where it does not.
        is_current: False where scoring or task have changed since, so that readers count the cell as missing.
        key_digest: name of the result.
        spec: what was asked; several specs may share one result.
    """

    model: str
    revision: str
    step: int | None
    task: str
    split: Split
    label_setting: LabelSetting
    demo_seed: int
    n_shots: int
    accuracy: float
    n_examples: int
    n_choices: int
    date: str
    is_current: bool
    key_digest: str
    spec: CellSpec


@dataclass(frozen=True, slots=True)
class PutReport:
    """What became of records offered to the store.

    Attributes:
        n_new: stored now.
        n_kept: were there already with the same numbers; the first stays.
        differing: by key digest, a sentence on the record that was there with other numbers; the first stays.
        refused: a sentence on each record that is no result, or not of this place.
    """

    n_new: int
    n_kept: int
    differing: Mapping[str, str]
    refused: tuple[str, ...] = ()


class Store:
    """Results by key, found by spec; safe for several processes and for kill -9 at any moment.

    Attributes:
        path: folder that holds ``cells/`` and ``index/``.
        index: the database over the cell files; for upkeep.py, everyone else goes through the methods.
        n_timeouts: how often a write had to wait longer than the lock timeout and was tried again.
        damage: what reading has met that cannot be used, by digest of the result or name of the index row, each with
            its sentence; readers leave it out, and whoever shows results says how much that is.
    """

    def __init__(self, path: Path, cache: diskcache.Cache | ReadOnlyIndex) -> None:
        self.path = path
        self.n_timeouts = 0
        self.index = cache
        self.damage: dict[str, str] = {}

    @classmethod
    def open(cls, path: Path | None = None) -> Store:
        """Opens the store in a folder (default: the settings' one), making it where it is not there.

        On a full or read-only disk it can be read (``trouble`` says why not written). An index that is missing or empty
        beside cell files is filled from them.

        Raises:
            StoreError: as ``open_cache``, where even reading is impossible.
        """
        path = (path or store_path()).resolve()
        try:
            store = cls(path, open_cache(path / "index"))
        except StoreError as error:
            if not (isinstance(error.__cause__, Exception) and is_unwritable(error.__cause__)):
                raise
            store = cls(path, ReadOnlyIndex(path / "index", error))
        store._fill_empty_index()
        return store

    @property
    def trouble(self) -> str | None:
        """Why the store could not be opened for writing, as a sentence; None where it could."""
        return self.index.reason if isinstance(self.index, ReadOnlyIndex) else None

    @property
    def damage_words(self) -> str | None:
        """How much reading has met that cannot be used, with the first case, as a sentence; None if nothing."""
        if not self.damage:
            return None
        n = len(self.damage)
        some = f"{n} stored results cannot" if n > 1 else "1 stored result cannot"
        return f"{some} be read and {'are' if n > 1 else 'is'} left out: {next(iter(self.damage.values()))}"

    def _fill_empty_index(self) -> None:
        """Indexes cell files that stand beside an index without any: one that was lost, or left out of a copy."""
        files = list((self.path / "cells").glob("??/*.json")) if not self._has_cells() else []
        if not files or self.trouble:
            return

        def write() -> None:
            for file in sorted(files, key=lambda file: (-file.stat().st_mtime, file.name)):
                text = _file_text(file)
                try:
                    self._add_rows(decode_record(str(text), digest=file.stem), file.stem, str(text))
                except StoreError as error:
                    self.damage[file.stem] = str(error)

        self.write(write)

    def _has_cells(self) -> bool:
        with self._translated_errors():
            return self.index.get("generation") is not None

    def close(self) -> None:
        """Closes this thread's connection; the store stays usable and opens it again when needed."""
        self.index.close()

    # Records

    def put(self, record: CellRecord) -> bool:
        """Stores a result for good: file first, then index, in one locked step.

        Returns:
            True if it was new; False if the same numbers were there (within TOLERANCE_NATS), which then stay.

        Raises:
            StoreError: the record contradicts itself, other numbers are stored under its key, the disk is full,
                or another process holds the store for minutes.
        """
        report = self.put_many([record])
        if report.differing:
            raise StoreError(*report.differing.values())
        return report.n_new == 1

    def put_many(self, records: Iterable[CellRecord]) -> PutReport:
        """Stores results as ``put`` does, but goes on after one that differs and reports it.

        A damaged result that is there under the same key is set aside.

        Each cell is complete or absent whenever the process ends.
        """
        n_new, n_kept, differing = 0, 0, {}
        for batch in _batches(records, _INDEX_BATCH):
            for record in batch:
                check_record(record)
            outcomes = self.write(functools.partial(self._put_batch, batch))
            n_new += outcomes.count("new")
            n_kept += outcomes.count("kept")
            for record, outcome in zip(batch, outcomes, strict=True):
                if outcome not in ("new", "kept"):
                    differing[record.key.digest] = outcome
        return PutReport(n_new, n_kept, differing)

    def _put_batch(self, batch: Sequence[CellRecord]) -> list[str]:
        return [self._put_one(record) for record in batch]

    def _put_one(self, record: CellRecord) -> str:
        """Gives "new", "kept" or a sentence on how the stored record differs; inside a write."""
        digest = record.key.digest
        text = self._text(digest)
        stored = None
        try:
            stored = decode_record(text, digest=digest) if text is not None else None
        except NewerFormatError as error:
            return str(error)
        except StoreError:
            self.set_aside(digest)
        if text is None or stored is None:
            try:
                text = encode_record(record)
            except ValueError as error:
                raise StoreError(f"The provenance of cell {digest[:12]} cannot be written as JSON: {error}.") from error
            _write_file(self.cell_path(digest), text)
            self._add_rows(record, digest, text)
            return "new"
        if self._row(f"cell/{digest}") != text:
            self._add_rows(stored, digest, text)
        self._point(record.spec, record.key, only_if_stale=True)
        return _difference(stored, record) or "kept"

    def set_aside(self, digest: str) -> None:
        """Renames the file of a damaged result, so that it can be computed again, and drops its rows; inside a write.

        Raises:
            StoreError: the digest is none, so that no file of the store has its name.
        """
        if not _is_digest(digest):
            raise StoreError(f"{shown(digest)} is no name of a cell.")
        file = self.cell_path(digest)
        if file.is_file():
            file.rename(file.with_name(f"{file.name}.damaged"))
        for kind in ("cell", "summary"):
            self.index.delete(f"{kind}/{digest}")
        self.damage.pop(digest, None)

    def _add_rows(self, record: CellRecord, digest: str, text: str) -> None:
        """Writes the rows of a cell that has its file; inside a write."""
        self.index.set(f"cell/{digest}", text, tag=record.spec.checkpoint.model)
        self.index.set(f"summary/{digest}", _summary_text(record))
        self._point(record.spec, record.key, only_if_stale=True)
        self._bump()

    def restore(self, texts: Mapping[str, str]) -> None:
        """Writes healthy texts, by digest, where file or index row lacks them; for upkeep.py.

        Raises:
            StoreError: a text is damaged.
        """

        def write(batch: Sequence[str]) -> None:
            for digest in batch:
                record = decode_record(texts[digest], digest=digest)
                if not self.cell_path(digest).exists():
                    _write_file(self.cell_path(digest), texts[digest])
                self._add_rows(record, digest, texts[digest])

        for batch in _batches(texts, _INDEX_BATCH):
            self.write(functools.partial(write, batch))

    def get(self, key: CellKey) -> CellRecord | None:
        """The result of a key, None if there is none.

        Raises:
            StoreError: what is stored is damaged or belongs to another key.
        """
        with self._translated_errors():
            text = self._text(key.digest)
        return None if text is None else decode_record(text, digest=key.digest)

    def has(self, key: CellKey) -> bool:
        """Whether a whole result is stored under a key; one that is damaged is not."""
        with self._translated_errors():
            text = self._text(key.digest)
        return text is not None and is_sealed(text)

    def cell_path(self, digest: str) -> Path:
        """Where the file of a cell is or would be."""
        return self.path / "cells" / digest[:2] / f"{digest}.json"

    def _text(self, digest: str) -> str | None:
        """The text of a cell from the index, else from its file (a kill, or damage, may leave only that)."""
        row = self._row(f"cell/{digest}")
        if row is not None and is_sealed(row):
            return row
        text = _file_text(self.cell_path(digest))
        return row if text is None else text

    def _row(self, name: str) -> str | None:
        """The text of an index row; "" for one that is no text any more."""
        try:
            text = self.index.get(name)
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            return ""
        return text if text is None or isinstance(text, str) else ""

    def _is_stored(self, digest: str) -> bool:
        return f"cell/{digest}" in self.index or self.cell_path(digest).exists()

    # From what is asked to what is stored

    def resolve(self, spec: CellSpec, key: CellKey) -> None:
        """Notes which result answers a spec now that its names are resolved; the last resolution wins."""
        self.resolve_many({spec: key})

    def resolve_many(self, keys: Mapping[CellSpec, CellKey]) -> None:
        """Does what ``resolve`` does for several specs in one locked step."""

        def write() -> None:
            for spec, key in keys.items():
                text = self._text(key.digest)
                if text is not None and self._row(f"cell/{key.digest}") != text:
                    self._add_rows(decode_record(text, digest=key.digest), key.digest, text)
                self._point(spec, key, only_if_stale=False)

        if keys:
            self.write(write)

    def _point(self, spec: CellSpec, key: CellKey, *, only_if_stale: bool) -> None:
        name = f"resolution/{spec.digest}"
        old = self._row(name)
        if only_if_stale and self._leads_somewhere(_resolution(old)):
            return
        new = canonical_json(
            {
                "digest": key.digest,
                "spec": plain_fields(spec),
                "versions": [key.scoring_version, key.task_version],
            }
        )
        if new != old:
            self.index.set(name, new)
            self._bump()

    def _leads_somewhere(self, resolution: _Resolution | None) -> bool:
        if resolution is None or current_versions(resolution.task) != resolution.versions:
            return False
        return self._is_stored(resolution.digest)

    def find(self, spec: CellSpec) -> CellRecord | None:
        """The current result of a spec, carrying that spec; None if missing, unresolved or outdated.

        Raises:
            StoreError: what is stored is damaged.
        """
        found = self.find_many([spec]).get(spec)
        if found is None:
            for _, digest in self._current_digests([spec]):
                if digest in self.damage:
                    raise StoreError(self.damage[digest])
        return found

    def find_many(self, specs: Iterable[CellSpec]) -> dict[CellSpec, CellRecord]:
        """The current results of those specs that have one; what is damaged is left out and noted in ``damage``."""
        with self._translated_errors():
            found = [(spec, digest, self._text(digest)) for spec, digest in self._current_digests(specs)]
        records = {}
        for spec, digest, text in found:
            self.damage.pop(digest, None)
            if text is not None:
                try:
                    records[spec] = decode_record(text, digest=digest, spec=spec)
                except StoreError as error:
                    self.damage[digest] = str(error)
        return records

    def status(self, specs: Iterable[CellSpec]) -> dict[CellSpec, CellStatus]:
        """Which specs have a current result, without reading the results; one that reading found damaged is missing."""
        specs = tuple(specs)
        with self._translated_errors():
            summary = self._lookup("summary/", len(specs))  # a result has both rows or none
            complete = {
                spec
                for spec, digest in self._current_digests(specs)
                if digest not in self.damage
                and (summary(f"summary/{digest}") is not None or self.cell_path(digest).exists())
            }
        return {spec: "complete" if spec in complete else "missing" for spec in specs}

    def _current_digests(self, specs: Iterable[CellSpec]) -> Iterator[tuple[CellSpec, str]]:
        """The specs that lead to a result of the present versions, which may not be stored yet."""
        versions_of = functools.cache(current_versions)
        specs = tuple(specs)
        find = self._lookup("resolution/", len(specs))
        for spec in specs:
            resolution = _resolution(find(f"resolution/{spec.digest}"))
            if resolution and versions_of(spec.task) == resolution.versions:
                yield spec, resolution.digest

    def summaries(self) -> list[CellSummary]:
        """One line for each resolved spec that has a result, sorted by model, step, task, setting, seed, split.

        Rows that cannot be read, or that lead to a name which cannot be kept, are left out and noted in ``damage``.
        """
        versions_of = functools.cache(current_versions)
        with self._translated_errors():
            resolutions, texts = self._rows("resolution/"), self._rows("summary/")
        rows = []
        for name, text in resolutions.items():
            try:
                if summary := _summary(name, text, texts, versions_of):
                    rows.append((name, summary))
                self.damage.pop(name, None)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                self.damage[name] = f"A row of the index cannot be read ({shown(error)})."
        none_last = float("inf")
        ordered = sorted(
            rows,
            key=lambda row: (
                *(row[1].model, none_last if row[1].step is None else row[1].step, row[1].revision),
                *(row[1].task, row[1].label_setting, row[1].demo_seed, row[1].split, row[1].key_digest, row[0]),
            ),
        )
        return [summary for _, summary in ordered]

    def _lookup(self, prefix: str, n: int) -> Callable[[str], str | None]:
        """Finds texts by name: one by one, or for many names all rows with their prefix read at once."""
        return self._rows(prefix).get if n > _MANY_ROWS else self._row

    def _rows(self, prefix: str) -> dict[str, str]:
        return read_rows(self.path / "index", prefix)

    def generation(self) -> int:
        """A number that grows whenever a result or a resolution is added; readers may cache by it."""
        with self._translated_errors():
            return self._generation()

    def _generation(self) -> int:
        text = self._row("generation") or "0"
        return int(text) if text.isdecimal() and len(text) < 19 else time.time_ns() // 2**20

    def _bump(self) -> None:
        self.index.set("generation", str(self._generation() + 1))

    # Claims: one owner a cell

    def claim(self, key: CellKey, owner: str, *, stale_after_s: float = STALE_CLAIM_S) -> bool:
        """Takes a cell for computing; atomic over processes.

        Returns:
            False if another owner holds it whose process lives and has sent a heartbeat within ``stale_after_s``
            seconds. The process of a dead owner is known to be dead whatever the clock says; where the process is on
            another machine, the age of the heartbeat alone decides.
        """

        def write() -> bool:
            held = self._claim_of(key.digest)
            if held and held["owner"] != owner and not _is_free(held, stale_after_s):
                return False
            self._set_claim(key, owner)
            return True

        return self.write(write)

    def heartbeat(self, key: CellKey, owner: str) -> bool:
        """Says that the owner still works on a cell; False if the claim is another's by now."""

        def write() -> bool:
            held = self._claim_of(key.digest)
            is_owner = held is not None and held["owner"] == owner
            if is_owner:
                self._set_claim(key, owner)
            return is_owner

        return self.write(write)

    def release(self, key: CellKey, owner: str) -> None:
        """Gives a claim back; nothing happens if it is another's."""

        def write() -> None:
            held = self._claim_of(key.digest)
            if held is not None and held["owner"] == owner:
                self.index.delete(f"claim/{key.digest}")

        self.write(write)

    def clear_leftovers(self, *, stale_after_s: float = STALE_CLAIM_S) -> int:
        """Removes what killed processes have left: claims and temporary files. Returns how many that were."""

        def write() -> int:
            claims = {name: _claim(text) for name, text in self._rows("claim/").items()}
            free = [name for name, held in claims.items() if held is None or _is_free(held, stale_after_s)]
            return sum(self.index.delete(name) for name in free)

        with self._translated_errors():
            has_claims = bool(self._rows("claim/"))
        temporary = (*(self.path / "cells").glob("??/.*.tmp"), *self.path.glob("hashes.json.*"))
        return clear_leftovers(temporary) + (self.write(write) if has_claims else 0)

    def _claim_of(self, digest: str) -> dict[str, Any] | None:
        return _claim(self._row(f"claim/{digest}"))

    def _set_claim(self, key: CellKey, owner: str) -> None:
        process = owner_of()
        facts = plain_fields(process) if process else {}
        self.index.set(f"claim/{key.digest}", canonical_json({"owner": owner, "time": time.time(), **facts}))

    # Notes: small texts of other modules (listings of the Hub, measured rates)

    def put_note(self, namespace: str, key: str, text: str) -> None:
        """Keeps a text under a name; a later text replaces it. No result depends on notes."""
        self.write(lambda: self.index.set(f"note/{namespace}/{key}", text))

    def get_note(self, namespace: str, key: str) -> str | None:
        """The text kept under a name, None if there is none."""
        with self._translated_errors():
            return self._row(f"note/{namespace}/{key}")

    # Access to the index

    def names(self, prefix: str) -> list[str]:
        """The index's row names that start with a prefix, such as ``cell/`` or ``resolution/``, sorted."""
        with self._translated_errors():
            return sorted(self._rows(prefix))

    def write(self, action: Callable[[], T]) -> T:
        """Runs an action under the store's write lock; all its rows appear together or not at all."""
        if isinstance(self.index, ReadOnlyIndex):
            self.index = open_cache(self.path / "index")  # there may be room again
        for _ in range(WRITE_ATTEMPTS):
            try:
                with self._translated_errors(), self.index.transact():
                    return action()
            except diskcache.Timeout:
                self.n_timeouts += 1
        raise StoreError(
            f"Another process has held the result store in {self.path} for {WRITE_ATTEMPTS * LOCK_TIMEOUT_S:.0f} s; "
            "end it or try again later. Nothing was changed."
        )

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Words failures of disk and database; drops the connection, which undoes an open transaction."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            self.index.close()
            raise StoreError(
                f"The result store in {self.path} cannot be read or written ({shown(error, most=200)}); "
                f"{remedy(error)}."
            ) from error


def _write_file(path: Path, text: str) -> None:
    """Writes a whole file or none: temporary name, flush, fsync, rename."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _file_text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{64}", text) is not None


@dataclass(frozen=True, slots=True)
class _Resolution:
    """Which result answers a spec: the row of the index, checked."""

    digest: str
    spec: dict[str, Any]
    versions: tuple[int, int]

    @property
    def task(self) -> str:
        return str(self.spec.get("task"))


def _resolution(text: str | None) -> _Resolution | None:
    """The resolution in a row; None where there is none, or none that this project writes."""
    try:
        plain = json.loads(text or "null")
        resolution = None if plain is None else _Resolution(plain["digest"], plain["spec"], tuple(plain["versions"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if resolution is None or not (_is_digest(resolution.digest) and isinstance(resolution.spec, dict)):
        return None
    return resolution if [type(version) for version in resolution.versions] == [int, int] else None


def _claim(text: str | None) -> dict[str, Any] | None:
    """The claim in a row; None where there is none, or none that this project writes."""
    try:
        plain = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    is_claim = isinstance(plain, dict) and type(plain.get("owner")) is str and type(plain.get("time")) in (int, float)
    return plain if is_claim else None


def _is_free(held: Mapping[str, Any], stale_after_s: float) -> bool:
    """Whether a claim's owner is gone: its process has ended, or it has long been silent."""
    age = float(time.time() - held["time"])
    try:
        alive = lives(from_plain(Owner, {name: held[name] for name in ("place", "pid", "started")}))
    except (KeyError, ValueError):
        alive = None
    if alive is None:
        return abs(age) >= stale_after_s
    return not alive or age >= stale_after_s


def readable_resolution(name: str, text: str) -> CellSpec | None:
    """The spec that an index row resolves; None for a row that no reader can use; for upkeep.py."""
    try:
        return _checked_resolution(name, text)[1]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _checked_resolution(name: str, text: str) -> tuple[_Resolution, CellSpec]:
    """A resolution and its spec; ValueError, KeyError or TypeError where one of them is damaged."""
    resolution = _resolution(text)
    if resolution is None:
        raise ValueError("it names no result")
    spec = from_plain(CellSpec, resolution.spec)
    if faults := spec_faults(spec):
        raise ValueError("; ".join(faults))
    if name != f"resolution/{spec.digest}":
        raise ValueError("it stands under another name")
    return resolution, spec


def _summary(
    name: str, text: str, texts: Mapping[str, str], versions_of: Callable[[str], tuple[int, int] | None]
) -> CellSummary | None:
    """The line of one resolution and the summary of its result; None where that is not stored.

    Raises:
        ValueError, KeyError, TypeError: one of the two rows is not what this project writes.
    """
    resolution, spec = _checked_resolution(name, text)
    facts = texts.get(f"summary/{resolution.digest}")
    if facts is None:
        return None
    return CellSummary(
        model=spec.checkpoint.model,
        revision=spec.checkpoint.revision,
        step=spec.checkpoint.step,
        task=spec.task,
        split=spec.split,
        label_setting=spec.label_setting,
        demo_seed=spec.demo_seed,
        n_shots=spec.n_shots,
        is_current=versions_of(spec.task) == resolution.versions,
        key_digest=resolution.digest,
        spec=spec,
        **plain_fields(from_plain(_Facts, json.loads(facts))),
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """The summary row of a result."""

    accuracy: float
    n_examples: int
    n_choices: int
    date: str


def _summary_text(record: CellRecord) -> str:
    correct = np.argmax(record.loglikelihoods, axis=1) == record.gold
    return canonical_json(
        {
            "accuracy": float(correct.mean()),
            "n_examples": len(record.row_ids),
            "n_choices": len(record.choices),
            "date": str(record.provenance.get("date", "")),
        }
    )


def _difference(stored: CellRecord, offered: CellRecord) -> str | None:
    """A sentence on how the numbers of two records of one key differ, None if they are the same result."""
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
