"""Where results live: one file a cell, and a diskcache index over them that finds and claims.

It knows keys and text, not models, and computes no measure beyond the plain accuracy shown in tables. The file under
``cells/`` is the copy that counts; the index holds the same text for speed and can be rebuilt (upkeep.py).
diskcache: https://grantjenks.com/docs/diskcache/ (its pickled rows are refused: CVE-2025-69872).
"""

from __future__ import annotations

import functools
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import diskcache
import numpy as np

from icl_core.errors import StoreError
from icl_core.evaluation.cells import current_versions
from icl_core.evaluation.codec import check_record, decode_record, encode_record, from_plain
from icl_core.records import CellKey, CellRecord, CellSpec, LabelSetting, Split, canonical_json, plain_fields
from icl_core.settings import store_path

__all__ = ["TOLERANCE_NATS", "CellStatus", "CellSummary", "PutReport", "Store", "TextDisk", "open_cache"]

T = TypeVar("T")
CellStatus = Literal["complete", "missing"]

TOLERANCE_NATS = {"float64": 1e-4, "float32": 1e-3, "bfloat16": 0.5, "float16": 0.5}
"""By how much two computations of one key may differ (device, batch size) and still be the same result.

float32 results are promised to 1e-3 nats; half precision keeps 8 to 11 bits of logits around 20.
"""

LOCK_TIMEOUT_S = 60.0
WRITE_ATTEMPTS = 3
STALE_CLAIM_S = 60.0
_INDEX_BATCH = 100
_MANY_ROWS = 2_000
_SETTINGS: dict[str, str | int] = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**60,
    "tag_index": 1,
    "sqlite_journal_mode": "delete",  # WAL has a corruption bug up to SQLite 3.51.2 (sqlite.org/wal.html)
    "sqlite_synchronous": 2,
    "disk_min_file_size": 2**30,  # every value in the database: a kill leaves no value file without a row
}


class TextDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """diskcache's reader and writer without pickle: text keys, text or bytes as values, nothing else either way."""

    def put(self, key: Any) -> Any:
        """The database form of a key; TypeError unless it is a str."""
        if type(key) is not str:
            raise TypeError("cache keys are str")
        return super().put(key)

    def get(self, key: Any, raw: Any) -> Any:
        """The key from its database form; ValueError if it was pickled."""
        if not raw:
            raise ValueError("pickled key refused")
        return super().get(key, raw)

    def store(self, value: Any, read: Any, key: Any = diskcache.UNKNOWN) -> Any:
        """The database form of a value; TypeError unless it is str or bytes."""
        if type(value) not in (str, bytes):
            raise TypeError("cache values are str or bytes")
        return super().store(value, read, key=key)

    def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> Any:
        """The value from its database form; ValueError if it was pickled."""
        if mode == diskcache.core.MODE_PICKLE:
            raise ValueError("pickled value refused")
        return super().fetch(mode, filename, value, read)


def open_cache(folder: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> diskcache.Cache:
    """Opens, or makes, the only kind of cache the project uses: nothing evicted, nothing pickled, owner only.

    Raises:
        StoreError: the database holds pickled rows or other settings (another program opened it), is no
            database, or cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        _refuse_foreign(folder / diskcache.core.DBNAME)
        cache = _when_unlocked(
            lambda: diskcache.Cache(str(folder), timeout=timeout_s, disk=TextDisk, **_SETTINGS), timeout_s
        )
        read_back = {name: cache.reset(name) for name in _SETTINGS}
    except (OSError, sqlite3.Error, diskcache.Timeout) as error:
        raise StoreError(
            f"The result index in {folder} cannot be opened ({error}); check disk space and permissions, or run "
            "`python -m icl_core results --rebuild`."
        ) from error
    if read_back != _SETTINGS:
        raise StoreError(_foreign_words(folder, "other settings"))
    return cache


def _when_unlocked(open_it: Callable[[], diskcache.Cache], timeout_s: float) -> diskcache.Cache:
    """Tries again while the database is locked: diskcache makes its tables and an index each time it opens one.

    Where processes do so at the same moment SQLite refuses one of them at once, whatever the timeout of its connection
    (https://www.sqlite.org/rescode.html#busy): a wait inside a read that becomes a write could never end.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return open_it()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _refuse_foreign(database: Path) -> None:
    """Reads a database before diskcache does, since diskcache would overwrite settings and unpickle rows."""
    if not database.exists():
        return
    with closing(sqlite3.connect(database, timeout=LOCK_TIMEOUT_S)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "Cache" in tables:
            ((n_pickled,),) = connection.execute("SELECT COUNT(*) FROM Cache WHERE raw = 0 OR mode = 4")
            if n_pickled:
                raise StoreError(_foreign_words(database.parent, f"{n_pickled} pickled rows"))
        if "Settings" in tables:
            found = dict(connection.execute("SELECT key, value FROM Settings"))
            if changed := sorted(name for name, value in _SETTINGS.items() if found.get(name, value) != value):
                raise StoreError(_foreign_words(database.parent, f"other settings ({', '.join(changed)})"))


def _foreign_words(folder: Path, what: str) -> str:
    return (
        f"The result index in {folder} has {what}, so another program wrote to it and it is not read; "
        "`python -m icl_core results --rebuild` makes a clean one from the cell files."
    )


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
    """

    n_new: int
    n_kept: int
    differing: Mapping[str, str]


class Store:
    """Results by key, found by spec; safe for several processes and for kill -9 at any moment.

    Attributes:
        path: folder that holds ``cells/`` and ``index/``.
        index: the database over the cell files; for upkeep.py, everyone else goes through the methods.
        n_timeouts: how often a write had to wait longer than the lock timeout and was tried again.
    """

    def __init__(self, path: Path, cache: diskcache.Cache) -> None:
        self.path = path
        self.n_timeouts = 0
        self.index = cache

    @classmethod
    def open(cls, path: Path | None = None) -> Store:
        """Opens the store in a folder (default: the settings' one), making it where it is not there."""
        path = (path or store_path()).resolve()
        return cls(path, open_cache(path / "index"))

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
        if text is None:
            try:
                text = encode_record(record)
            except ValueError as error:
                raise StoreError(f"The provenance of cell {digest[:12]} cannot be written as JSON: {error}.") from error
            _write_file(self.cell_path(digest), text)
            self._add_rows(record, digest, text)
            return "new"
        stored = decode_record(text, digest=digest)
        if f"cell/{digest}" not in self.index:
            self._add_rows(stored, digest, text)
        self._point(record.spec, record.key, only_if_stale=True)
        return _difference(stored, record) or "kept"

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
        """Whether a result is stored under a key, without reading it."""
        with self._translated_errors():
            return self._is_stored(key.digest)

    def cell_path(self, digest: str) -> Path:
        """Where the file of a cell is or would be."""
        return self.path / "cells" / digest[:2] / f"{digest}.json"

    def _text(self, digest: str) -> str | None:
        """The text of a cell from the index, else from its file (a kill may fall between the two writes)."""
        text = self.index.get(f"cell/{digest}")
        if text is not None:
            return str(text)
        try:
            return self.cell_path(digest).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None

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
                if f"cell/{key.digest}" not in self.index and (text := self._text(key.digest)) is not None:
                    self._add_rows(decode_record(text, digest=key.digest), key.digest, text)
                self._point(spec, key, only_if_stale=False)

        if keys:
            self.write(write)

    def _point(self, spec: CellSpec, key: CellKey, *, only_if_stale: bool) -> None:
        name = f"resolution/{spec.digest}"
        old = self.index.get(name)
        if old is not None and only_if_stale and self._leads_somewhere(json.loads(old)):
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

    def _leads_somewhere(self, resolution: dict[str, Any]) -> bool:
        versions = current_versions(resolution["spec"]["task"])
        return versions == tuple(resolution["versions"]) and self._is_stored(resolution["digest"])

    def find(self, spec: CellSpec) -> CellRecord | None:
        """The current result of a spec, carrying that spec; None if missing, unresolved or outdated.

        Raises:
            StoreError: what is stored is damaged.
        """
        return self.find_many([spec]).get(spec)

    def find_many(self, specs: Iterable[CellSpec]) -> dict[CellSpec, CellRecord]:
        """The current results of those specs that have one.

        Raises:
            StoreError: one of them is damaged.
        """
        with self._translated_errors():
            found = [(spec, digest, self._text(digest)) for spec, digest in self._current_digests(specs)]
        return {spec: decode_record(text, digest=digest, spec=spec) for spec, digest, text in found if text is not None}

    def status(self, specs: Iterable[CellSpec]) -> dict[CellSpec, CellStatus]:
        """Which specs have a current result, without reading the results."""
        specs = tuple(specs)
        with self._translated_errors():
            summary = self._lookup("summary/", len(specs))  # a result has both rows or none
            complete = {
                spec
                for spec, digest in self._current_digests(specs)
                if summary(f"summary/{digest}") is not None or self.cell_path(digest).exists()
            }
        return {spec: "complete" if spec in complete else "missing" for spec in specs}

    def _current_digests(self, specs: Iterable[CellSpec]) -> Iterator[tuple[CellSpec, str]]:
        """The specs that lead to a result of the present versions, which may not be stored yet."""
        versions_of = functools.cache(current_versions)
        specs = tuple(specs)
        find = self._lookup("resolution/", len(specs))
        for spec in specs:
            text = find(f"resolution/{spec.digest}")
            resolution = json.loads(text) if text else None
            if resolution and versions_of(spec.task) == tuple(resolution["versions"]):
                yield spec, resolution["digest"]

    def summaries(self) -> list[CellSummary]:
        """One line for each resolved spec that has a result, sorted by model, step, task, setting, seed, split."""
        versions_of = functools.cache(current_versions)
        with self._translated_errors():
            resolutions, texts = self._rows("resolution/"), self._rows("summary/")
        rows = [
            (name, _summary(resolution, text, versions_of))
            for name, resolution in ((name, json.loads(text)) for name, text in resolutions.items())
            if (text := texts.get(f"summary/{resolution['digest']}"))
        ]
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
        one_by_one: Callable[[str], str | None] = self.index.get
        return self._rows(prefix).get if n > _MANY_ROWS else one_by_one

    def _rows(self, prefix: str) -> dict[str, str]:
        """All texts whose names start with a prefix, in one query: one for each row takes ten times as long."""
        after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        database = self.path / "index" / diskcache.core.DBNAME
        with closing(sqlite3.connect(database, timeout=LOCK_TIMEOUT_S)) as connection:
            query = "SELECT key, value FROM Cache WHERE key >= ? AND key < ?"
            return dict(connection.execute(query, (prefix, after)))

    def generation(self) -> int:
        """A number that grows whenever a result or a resolution is added; readers may cache by it."""
        with self._translated_errors():
            return int(self.index.get("generation") or 0)

    def _bump(self) -> None:
        self.index.set("generation", str(int(self.index.get("generation") or 0) + 1))

    # Claims: one owner a cell

    def claim(self, key: CellKey, owner: str, *, stale_after_s: float = STALE_CLAIM_S) -> bool:
        """Takes a cell for computing; atomic over processes.

        Returns:
            False if another owner holds it and has sent a heartbeat within ``stale_after_s`` seconds.
        """

        def write() -> bool:
            text = self.index.get(f"claim/{key.digest}")
            held = json.loads(text) if text else None
            if held and held["owner"] != owner and time.time() - held["time"] < stale_after_s:
                return False
            self._set_claim(key, owner)
            return True

        return self.write(write)

    def heartbeat(self, key: CellKey, owner: str) -> bool:
        """Says that the owner still works on a cell; False if the claim is another's by now."""

        def write() -> bool:
            is_owner = self._owner(key) == owner
            if is_owner:
                self._set_claim(key, owner)
            return is_owner

        return self.write(write)

    def release(self, key: CellKey, owner: str) -> None:
        """Gives a claim back; nothing happens if it is another's."""

        def write() -> None:
            if self._owner(key) == owner:
                self.index.delete(f"claim/{key.digest}")

        self.write(write)

    def _owner(self, key: CellKey) -> str | None:
        text = self.index.get(f"claim/{key.digest}")
        return str(json.loads(text)["owner"]) if text else None

    def _set_claim(self, key: CellKey, owner: str) -> None:
        self.index.set(f"claim/{key.digest}", canonical_json({"owner": owner, "time": time.time()}))

    # Notes: small texts of other modules (listings of the Hub, measured rates)

    def put_note(self, namespace: str, key: str, text: str) -> None:
        """Keeps a text under a name; a later text replaces it. No result depends on notes."""
        self.write(lambda: self.index.set(f"note/{namespace}/{key}", text))

    def get_note(self, namespace: str, key: str) -> str | None:
        """The text kept under a name, None if there is none."""
        with self._translated_errors():
            text: str | None = self.index.get(f"note/{namespace}/{key}")
            return text

    # Access to the index

    def names(self, prefix: str) -> list[str]:
        """The index's row names that start with a prefix, such as ``cell/`` or ``resolution/``, sorted."""
        with self._translated_errors():
            return [name for name in self.index.iterkeys() if name.startswith(prefix)]

    def write(self, action: Callable[[], T]) -> T:
        """Runs an action under the store's write lock; all its rows appear together or not at all."""
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
                f"The result store in {self.path} cannot be read or written ({error}); free disk space if it is full, "
                "else see `python -m icl_core results --verify`. Results stored before are intact."
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


def _summary(
    resolution: Mapping[str, Any], text: str, versions_of: Callable[[str], tuple[int, int] | None]
) -> CellSummary:
    """The line of one resolution and the summary of its result."""
    spec = from_plain(CellSpec, resolution["spec"])
    return CellSummary(
        model=spec.checkpoint.model,
        revision=spec.checkpoint.revision,
        step=spec.checkpoint.step,
        task=spec.task,
        split=spec.split,
        label_setting=spec.label_setting,
        demo_seed=spec.demo_seed,
        n_shots=spec.n_shots,
        is_current=versions_of(spec.task) == tuple(resolution["versions"]),
        key_digest=resolution["digest"],
        spec=spec,
        **json.loads(text),
    )


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
