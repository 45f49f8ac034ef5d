"""Reads the rows of a task, checks them, and divides them into demonstration pool, dev and test.

It draws no demonstrations and writes no prompts. Public datasets come from the Hugging Face Hub at a resolved commit,
or from a local directory in Hub layout, ``<hub id>/<config>/<split>-*.parquet``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from huggingface_hub import HfApi, snapshot_download

from icl_core.data.prompts import clean_text, make_example
from icl_core.errors import DataError
from icl_core.records import Example
from icl_core.registry.task_files import read_task_file
from icl_core.registry.tasks import FileSource, HubSource, Task, VectorSource, shown_task

__all__ = ["DROP_WORDS", "MAX_DEV", "MAX_TEST", "SPLIT_SEED", "ExampleRows", "TaskData", "load_task_data"]

SPLIT_SEED = 42
MAX_DEV = 300
MAX_TEST = 1000
_DEV_PERCENT = 23
_NO_GOLD = -1
_CONVERT_REVISION = "refs/convert/parquet"
DROP_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "no_gold": "have no label",
        "demonstration_no_gold": "have no label",
        "empty": "have no text",
        "demonstration_empty": "have no text",
        "duplicate": "repeat the text of a demonstration",
        "too_long": "are too long",
        "unreadable": "cannot be read",
    }
)
"""Why rows are left out, by reason."""


class ExampleRows(Sequence[Example]):
    """Rows kept as columns; an example is made on request (the full SNLI has 550,000 rows).

    Attributes:
        gold: (n_rows,) int64 label ids.
    """

    def __init__(self, row_ids: pa.Array, texts: Sequence[pa.Array], gold: npt.NDArray[np.int64]) -> None:
        self._row_ids = row_ids
        self._texts = tuple(texts)
        self.gold = gold

    def __len__(self) -> int:
        return len(self.gold)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Example, ...]: ...
    def __getitem__(self, index: int | slice) -> Example | tuple[Example, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        texts = [column[index].as_py() for column in self._texts]
        return make_example(self._row_ids[index].as_py(), texts, int(self.gold[index]))

    def take(self, indices: npt.NDArray[np.int64]) -> ExampleRows:
        """The rows at these positions, in their order."""
        positions = pa.array(indices)
        return ExampleRows(
            self._row_ids.take(positions), [column.take(positions) for column in self._texts], self.gold[indices]
        )

    def followed_by(self, other: ExampleRows) -> ExampleRows:
        """These rows and then the others."""
        return ExampleRows(
            pa.concat_arrays([self._row_ids, other._row_ids]),
            [pa.concat_arrays(pair) for pair in zip(self._texts, other._texts, strict=True)],
            np.concatenate([self.gold, other.gold]),
        )

    def keys(self) -> pa.Array:
        """(n_rows,) strings, equal if the texts (both sentences of a pair) are equal; texts hold no line break."""
        return pc.binary_join_element_wise(*self._texts, "\n") if len(self._texts) > 1 else self._texts[0]

    def has_text(self) -> npt.NDArray[np.bool_]:
        """(n_rows,) whether the text (both texts of a pair) is not empty."""
        lengths = [pc.binary_length(column).to_numpy(zero_copy_only=False) for column in self._texts]
        shortest: npt.NDArray[np.int32] = functools.reduce(np.minimum, lengths)
        return shortest > 0

    def lines(self) -> Iterator[str]:
        """One unambiguous line per row: row id, label and texts."""
        columns = [column.to_pylist() for column in (self._row_ids, *self._texts)]
        for gold, row_id, *texts in zip(self.gold.tolist(), *columns, strict=True):
            yield "\t".join((row_id, str(gold), "\r".join(texts))) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class TaskData:
    """The rows of a task, divided.

    Attributes:
        task: the task of the rows.
        demonstration_pool: rows from which demonstrations are drawn, in the source's order.
        dev, test: rows to evaluate, in a fixed shuffled order; a smaller evaluation takes the head.
        fingerprint: sha256 over row ids, labels and texts of all three, in order.
        dropped: number of rows left out, by reason. Rows to evaluate: no_gold, empty, duplicate (of a text in the
            pool); the others: demonstration_no_gold, demonstration_empty; local files also: too_long, unreadable.
        n_rows: rows read from each split, before anything was dropped.
        differences: one sentence for each split of a local copy whose number of rows is not the Hub's.
        repeated: number of rows that are used although an earlier row of the same part has the same text, by part
            (demonstrations, dev, test); and of test rows whose text is in dev (test_in_dev).
        n_spare: usable rows to evaluate beyond the ``MAX_DEV`` and ``MAX_TEST`` that are taken.
        notes: sentences on how a file was read, if there was a choice.
    """

    task: Task
    demonstration_pool: ExampleRows
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    fingerprint: str
    dropped: Mapping[str, int]
    n_rows: Mapping[str, int] = field(default_factory=dict)
    differences: tuple[str, ...] = ()
    repeated: Mapping[str, int] = field(default_factory=dict)
    n_spare: int = 0
    notes: tuple[str, ...] = ()

    @property
    def pool_labels(self) -> npt.NDArray[np.int64]:
        """(n_pool,) label ids of the demonstration pool."""
        return self.demonstration_pool.gold


def load_task_data(task: Task, *, data_dir: Path | None = None, offline: bool = False) -> TaskData:
    """Loads and divides the rows of a task.

    Args:
        task: what to load.
        data_dir: local directory in Hub layout; None loads public datasets from the Hub. It has no effect on local
            files and embedded tasks.
        offline: use only what the Hub's client has cached.

    Raises:
        DataError: rows cannot be read, do not fit the registry's description, or are too few.
    """
    if isinstance(task.source, VectorSource):
        raise DataError(f"The task {task.name} has vectors, not texts, so only runs of the lab can read it.")
    if isinstance(task.source, FileSource):
        read = _read_file(task, task.source)
        parts = list(read.splits.values())
    else:
        splits = _read_local(task, task.source, data_dir) if data_dir else _read_hub(task, task.source, offline)
        read = _Read(splits, differences=_count_differences(task.source, splits, fatal=data_dir is None))
        parts = _merge_evaluation(splits)
    (pool, *parts), dropped = _drop_unusable(_halve(parts[0]) if len(parts) == 1 else parts)
    dropped |= Counter(reason for reasons in read.faults.values() for reason in reasons)
    dev, test = _order(parts)
    if not (len(pool) and len(dev) and len(test)):
        counts = f"{len(pool)} for demonstrations, {len(dev)} dev, {len(test)} test"
        lost = ", ".join(f"{n:,} {DROP_WORDS[reason]}" for reason, n in dropped.items() if n)
        raise DataError(
            f"Task {shown_task(task.name)} has too few usable rows ({counts}); each of the three needs at least one."
            + f" Of the other rows {lost}." * bool(lost)
        )
    return TaskData(
        task=task,
        demonstration_pool=pool,
        dev=dev[:],
        test=test[:],
        fingerprint=_fingerprint(pool, dev, test),
        dropped=dropped,
        n_rows={name: len(rows) + len(read.faults.get(name, ())) for name, rows in read.splits.items()},
        differences=read.differences,
        repeated={"demonstrations": _n_repeated(pool), "dev": _n_repeated(dev), "test": _n_repeated(test)}
        | {"test_in_dev": int(_is_in(test, dev).sum())},
        n_spare=sum(map(len, parts)) - len(dev) - len(test),
        notes=read.notes,
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """Rows by split as read, and for each split the reasons why rows cannot be used."""

    splits: dict[str, ExampleRows]
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _n_repeated(rows: ExampleRows) -> int:
    """Rows whose text an earlier row has."""
    return len(rows) - int(pc.count_distinct(rows.keys()).as_py())


def _is_in(rows: ExampleRows, others: ExampleRows) -> npt.NDArray[np.bool_]:
    """(n_rows,) whether a row's text is also in ``others``."""
    found: npt.NDArray[np.bool_] = pc.is_in(rows.keys(), value_set=others.keys()).to_numpy(zero_copy_only=False)
    return found


def _permutation(n_rows: int) -> npt.NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64(SPLIT_SEED)).permutation(n_rows)


def _halve(rows: ExampleRows) -> list[ExampleRows]:
    """Demonstration pool (the larger half) and the rest, each in the source's order."""
    order = _permutation(len(rows))
    n_pool = (len(rows) + 1) // 2
    return [rows.take(np.sort(order[:n_pool])), rows.take(np.sort(order[n_pool:]))]


def _merge_evaluation(splits: Mapping[str, ExampleRows]) -> list[ExampleRows]:
    pool, *evaluation = splits.values()
    return [pool, functools.reduce(ExampleRows.followed_by, evaluation)] if evaluation else [pool]


def _drop_unusable(parts: Sequence[ExampleRows]) -> tuple[list[ExampleRows], dict[str, int]]:
    """The parts without rows that lack a label or a text, and without rows to evaluate whose text is in the pool."""
    kept: list[ExampleRows] = []
    dropped = dict.fromkeys(("no_gold", "empty", "duplicate", "demonstration_no_gold", "demonstration_empty"), 0)
    for part in parts:
        where = "" if kept else "demonstration_"
        labelled = part.take(np.flatnonzero(part.gold != _NO_GOLD))
        filled = labelled.take(np.flatnonzero(labelled.has_text()))
        dropped[f"{where}no_gold"] += len(part) - len(labelled)
        dropped[f"{where}empty"] += len(labelled) - len(filled)
        if kept:
            repeated = _is_in(filled, kept[0])
            dropped["duplicate"] += int(repeated.sum())
            filled = filled.take(np.flatnonzero(~repeated))
        kept.append(filled)
    return kept, dropped


def _order(parts: Sequence[ExampleRows]) -> tuple[ExampleRows, ExampleRows]:
    """Dev and test in their fixed shuffled order, from one evaluation pool or from one pool for each."""
    shuffled = [part.take(_permutation(len(part))) for part in parts]
    n_dev = min(MAX_DEV, len(shuffled[0]) if len(parts) > 1 else _DEV_PERCENT * len(shuffled[0]) // 100)
    first = 0 if len(parts) > 1 else n_dev
    rows = np.arange(len(shuffled[-1]))
    return shuffled[0].take(np.arange(n_dev)), shuffled[-1].take(rows[first : first + MAX_TEST])


def _fingerprint(*parts: ExampleRows) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)} rows\n".encode())
        for line in part.lines():
            digest.update(line.encode())
    return digest.hexdigest()


def _make_rows(prefix: str, texts: Sequence[Iterable[str | None]], gold: npt.NDArray[np.int64]) -> ExampleRows:
    columns = [pa.array([clean_text(text or "") for text in column], type=pa.string()) for column in texts]
    return ExampleRows(pa.array([f"{prefix}:{index}" for index in range(len(gold))], type=pa.string()), columns, gold)


def _read_file(task: Task, source: FileSource) -> _Read:
    """Rows by split in the order demonstrations, dev, test; all under "rows" if the file has no splits."""
    name = shown_task(task.name)
    label_ids = {label: index for index, label in enumerate(task.label_names)} | {"": _NO_GOLD}
    file = read_task_file(source.path, labels=source.labels)
    if unknown := file.labels - set(label_ids):
        raise DataError(f"{name} has changed: the label {min(unknown)!r} is new; choose the task again.")
    rows = [row for row in file.rows if not row.fault]
    everything = ExampleRows(
        pa.array([row.row_id for row in rows], type=pa.string()),
        [pa.array([clean_text(row.text) for row in rows], type=pa.string())],
        np.array([label_ids[row.label] for row in rows], dtype=np.int64),
    )
    names = np.array([row.split or "rows" for row in rows])
    present = {row.split or "rows" for row in file.rows}
    if not {"rows", "demonstrations"} & present:
        raise DataError(f"{name} has no rows of the split demonstrations; add some, or leave the column split out.")
    splits = [each for each in ("rows", "demonstrations", "dev", "test") if each in present]
    return _Read(
        {each: everything.take(np.flatnonzero(names == each)) for each in splits},
        faults={
            each: [row.fault for row in file.rows if row.fault and (row.split or "rows") == each] for each in splits
        },
        notes=(*file.notes, *_split_words(splits, name)),
    )


def _split_words(splits: Sequence[str], name: str) -> tuple[str, ...]:
    """A sentence on how a file's rows are divided if it lacks a split."""
    if splits == ["demonstrations"]:
        return (f"{name} only has rows of the split demonstrations, so half of them are evaluated.",)
    if "test" not in splits and "dev" in splits:
        return (f"{name} has no rows of the split test, so most of its dev rows are the test rows.",)
    return ()


def _rows_of_table(task: Task, split: str, *, table: pa.Table, label_names: Sequence[str] | None) -> ExampleRows:
    """Checks columns, label names and label ids of one split, then takes its texts and labels."""
    wanted = (*task.text_columns, task.label_column)
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise DataError(
            f"The split {split} of task {task.name} lacks the column {', '.join(missing)} "
            f"(present: {', '.join(table.column_names)}); the dataset is not the one the registry describes."
        )
    if label_names is not None and tuple(label_names) != task.label_names:
        raise DataError(
            f"The labels of task {task.name} in the split {split} are {', '.join(label_names)}, "
            f"but {', '.join(task.label_names)} are expected; the dataset has changed."
        )
    gold = table.column(task.label_column).cast(pa.int64()).fill_null(_NO_GOLD).to_numpy()
    if len(gold) and not _NO_GOLD <= gold.min() <= gold.max() < task.n_labels:
        raise DataError(f"Task {task.name} has label ids outside 0 to {task.n_labels - 1} in the split {split}.")
    return _make_rows(split, [table.column(name).to_pylist() for name in task.text_columns], gold)


def _read_local(task: Task, source: HubSource, data_dir: Path) -> dict[str, ExampleRows]:
    folder = data_dir / source.hub_id / source.config
    splits = {}
    for split in source.n_rows:
        paths = sorted(folder.glob(f"{split}-*.parquet"))
        if not paths:
            raise DataError(f"{folder} has no {split}-*.parquet; give a directory in Hub layout or leave it out.")
        try:
            tables = [_read_parquet(path, task) for path in paths]
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"Cannot read {folder}/{split}-*.parquet: {error}; copy the files again.") from error
        splits[split] = _rows_of_table(
            task, split, table=pa.concat_tables(tables), label_names=_label_names(tables[0].schema, task)
        )
    return splits


def _read_parquet(path: Path, task: Task) -> pa.Table:
    wanted = {*task.text_columns, task.label_column}
    file = pq.ParquetFile(path)
    return file.read(columns=[name for name in file.schema_arrow.names if name in wanted])


def _label_names(schema: pa.Schema, task: Task) -> list[str] | None:
    """The class names that the ``datasets`` library wrote into a schema, None if there are none."""
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    names: list[str] | None = features.get(task.label_column, {}).get("names")
    return names


def _count_differences(source: HubSource, splits: Mapping[str, ExampleRows], *, fatal: bool) -> tuple[str, ...]:
    found = tuple(
        f"{split} has {len(splits[split]):,} rows but the Hub has {expected:,}"
        for split, expected in source.n_rows.items()
        if len(splits[split]) != expected
    )
    if found and fatal:
        raise DataError(f"{source.hub_id} is not what the registry describes: {'; '.join(found)}.")
    return found


def _read_hub(task: Task, source: HubSource, offline: bool) -> dict[str, ExampleRows]:
    """Rows by split from the Hub; script repositories from the convert branch, else from the main branch.

    The main branch is for repositories that have since replaced their script by Parquet files.
    """
    failures = []
    for branch, load in (("convert branch", _load_converted), ("main", _load_main))[not source.convert :]:
        try:
            with _offline_mode(offline):
                return _rows_of_splits(task, source, load(source))
        except Exception as error:  # the clients' errors (HTTP, Parquet, script, configuration) share no base class
            failures.append(f"{branch}: {error}")
    advice = (
        "load it once while online" if offline else "check the connection, or give a local directory with --data-dir"
    )
    raise DataError(f"Cannot load {source.hub_id} ({'; '.join(failures)}); {advice}.")


def _load_converted(source: HubSource) -> Any:
    """Fetches the files first: given the branch, the client would join all configurations, or fail offline."""
    import datasets

    folder = snapshot_download(
        source.hub_id,
        repo_type="dataset",
        revision=_CONVERT_REVISION,
        allow_patterns=f"{source.config}/*",
        local_files_only=datasets.config.HF_HUB_OFFLINE,
    )
    files = {split: sorted(map(str, Path(folder, source.config, split).glob("*.parquet"))) for split in source.n_rows}
    missing = [split for split, paths in files.items() if not paths]
    if missing:
        raise DataError(f"no Parquet files of {source.config}/{missing[0]}")
    return datasets.load_dataset("parquet", data_files=files)


def _load_main(source: HubSource) -> Any:
    import datasets

    commit = None if datasets.config.HF_HUB_OFFLINE else HfApi().dataset_info(source.hub_id, revision="main").sha
    return datasets.load_dataset(source.hub_id, source.config, revision=commit)


def _rows_of_splits(task: Task, source: HubSource, loaded: Mapping[str, Any]) -> dict[str, ExampleRows]:
    missing = [split for split in source.n_rows if split not in loaded]
    if missing:
        raise DataError(f"no split {', '.join(missing)} (present: {', '.join(loaded)})")
    return {split: _rows_of_dataset(task, split, loaded[split]) for split in source.n_rows}


def _rows_of_dataset(task: Task, split: str, dataset: Any) -> ExampleRows:
    names = getattr(dataset.features.get(task.label_column), "names", None)
    return _rows_of_table(task, split, table=dataset.with_format("arrow")[:], label_names=names)


@contextlib.contextmanager
def _offline_mode(offline: bool) -> Iterator[None]:
    """Makes the ``datasets`` client use only its cache; it has no argument for that."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
