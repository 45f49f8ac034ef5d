"""Sentences for readers about the rows, texts and files behind results, and whether files have changed since.

One function writes each kind of sentence, for both the command line and the pages. It computes no result and needs no
torch. A result belongs to its key: local files are compared with the hashes in the key, and not by time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from icl_core.analysis.predictions import CellLabels
from icl_core.data.datasets import DROP_WORDS, MAX_DEV, MAX_TEST, TaskData, load_task_data
from icl_core.errors import DataError, ObservatoryError
from icl_core.evaluation.cell_work import cell_queries
from icl_core.evaluation.store import CellStatus, Store
from icl_core.models.identity import identify_checkpoint
from icl_core.records import CellKey, CellRecord, CellSpec, CheckpointIdentity, CheckpointRef, digest_of
from icl_core.registry.tasks import FILE_PREFIX, get_task, own_file, shown_task

__all__ = [
    "CellFacts",
    "FilesNow",
    "current_status",
    "cut_sentences",
    "facts_of",
    "files_state",
    "result_sentences",
    "row_sentences",
]


_OWN_SOURCES = ("folder", "gguf", "fused")


class CellFacts(NamedTuple):
    """A result without its numbers; ``n_rows`` counts the evaluated rows."""

    spec: CellSpec
    key: CellKey
    n_rows: int
    context_cut: int | None
    n_shortened: int


def facts_of(result: CellRecord | CellLabels) -> CellFacts:
    """The facts of a result, besides its numbers."""
    return CellFacts(result.spec, result.key, len(result.row_ids), result.context_cut, result.n_shortened)


# Rows


def row_sentences(data: TaskData, *, n_asked: int | None = None) -> tuple[str, ...]:
    """How a task's rows are used: rows left out by reason, rows that repeat a text, and how the file was read.

    Args:
        data: the task's rows.
        n_asked: test rows that the study asks for.

    Returns:
        Sentences; none if every row is used, no text repeats and there are enough rows.
    """
    name = shown_task(data.task.name)
    reasons: dict[str, int] = {}
    for reason, n in data.dropped.items():
        reasons[DROP_WORDS[reason]] = reasons.get(DROP_WORDS[reason], 0) + n
    reasons[f"are more than the {MAX_DEV:,} dev and {MAX_TEST:,} test rows that are taken"] = data.n_spare
    lost = ", ".join(f"{n:,} {words}" for words, n in reasons.items() if n)
    is_short = n_asked is not None and len(data.test) < n_asked
    said = []
    if lost or is_short:
        said.append(
            f"{name}: of {sum(data.n_rows.values()):,} rows {len(data.demonstration_pool):,} are for demonstrations, "
            f"{len(data.dev):,} are dev rows and {len(data.test):,} test rows"
            f"{f' ({n_asked:,} asked)' if is_short else ''}{f'; left out: {lost}' if lost else ''}."
        )
    parts = {"demonstrations": "of the demonstrations", "dev": "of the dev rows", "test": "of the test rows"}
    kept = [f"{n:,} {words}" for part, words in parts.items() if (n := data.repeated.get(part, 0))]
    if kept:
        said.append(f"{name}: {', '.join(kept)} repeat the text of an earlier one and are kept.")
    if n := data.repeated.get("test_in_dev", 0):
        said.append(f"{name}: {n:,} of the test rows repeat the text of a dev row and are kept.")
    differences = (f"{name}: {sentence}." for sentence in data.differences)
    return (*said, *data.notes, *differences)


# Texts that did not fit the context


def cut_sentences(cells: Iterable[CellFacts]) -> tuple[str, ...]:
    """One sentence for each model and task with cut texts: how many, and to how many tokens."""
    groups: dict[tuple[str, str], list[CellFacts]] = {}
    for cell in cells:
        groups.setdefault((cell.spec.checkpoint.model, cell.spec.task), []).append(cell)
    said = []
    for (model, task), group in groups.items():
        cut = [cell for cell in group if cell.context_cut is not None]
        if cut:
            n_texts = _range([cell.n_shortened for cell in cut])
            n_tokens = _range([cell.context_cut or 0 for cell in cut])
            said.append(
                f"{model}, {shown_task(task)}: in {len(cut):,} of {len(group):,} cells {n_texts} texts were cut to "
                f"{n_tokens} tokens, so that prompts fit the context of {cut[0].key.context_length:,}."
            )
    return tuple(said)


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


# Local files


class FilesNow:
    """The present content of local files, each read once."""

    def __init__(self, hash_cache: Path) -> None:
        self._hash_cache = hash_cache
        self._tasks: dict[str, TaskData | None] = {}
        self._identities: dict[CheckpointRef, CheckpointIdentity | None] = {}

    def task(self, name: str) -> TaskData | None:
        """The rows of a local file; None for other tasks, or if the file cannot be used now."""
        if name not in self._tasks:
            try:
                self._tasks[name] = load_task_data(get_task(name)) if name.startswith(FILE_PREFIX) else None
            except ObservatoryError:
                self._tasks[name] = None
        return self._tasks[name]

    def identity(self, ref: CheckpointRef) -> CheckpointIdentity | None:
        """The identity of a local checkpoint; None for other sources, or if it cannot be used now."""
        if ref not in self._identities:
            try:
                is_own = ref.source in _OWN_SOURCES
                found = identify_checkpoint(ref, offline=True, hash_cache=self._hash_cache) if is_own else None
            except (ObservatoryError, OSError):
                found = None
            self._identities[ref] = found
        return self._identities[ref]

    def key(self, cell: CellFacts) -> CellKey:
        """The key that the cell would have now; only local files can have changed."""
        return self._with_rows(cell.spec, self._with_weights(cell.spec.checkpoint, cell.key))

    def _with_rows(self, spec: CellSpec, key: CellKey) -> CellKey:
        data = self.task(spec.task)
        if data is None:
            return key
        return replace(
            key,
            dataset_fingerprint=data.fingerprint,
            row_ids_sha256=digest_of([query.row_id for query in cell_queries(spec, data)]),
            label_words=data.task.words(spec.label_word_set, template=spec.template),
        )

    def _with_weights(self, ref: CheckpointRef, key: CellKey) -> CellKey:
        identity = self.identity(ref)
        if identity is None:
            return key
        return replace(
            key,
            weight_files=tuple(sorted(identity.weight_files)),
            tokenizer_sha256=identity.tokenizer_sha256,
            context_length=identity.context_length,
        )

    def rows_changed(self, cell: CellFacts) -> bool:
        """Whether the rows of a cell have changed."""
        return self._with_rows(cell.spec, cell.key) != cell.key

    def weights_changed(self, cell: CellFacts) -> bool:
        """Whether the checkpoint of a cell has changed."""
        if self.identity(cell.spec.checkpoint) is None:
            return False
        return self._with_weights(cell.spec.checkpoint, cell.key) != cell.key


def current_status(store: Store, specs: Iterable[CellSpec]) -> dict[CellSpec, CellStatus]:
    """Which cells have a result for their files as they are now; a result for a file that is gone still counts."""
    status, files = store.status(specs), FilesNow(store.path / "hashes.json")
    own = [
        spec
        for spec, state in status.items()
        if state == "complete" and (spec.task.startswith(FILE_PREFIX) or spec.checkpoint.source in _OWN_SOURCES)
    ]
    for spec, labels in store.find_labels(own).items() if own else ():  # whoever reads a damaged one reports it
        key = files.key(facts_of(labels))
        if key is not None and key != labels.key and not store.has(key):
            status[spec] = "missing"
    return status


def files_state(checkpoints: Iterable[CheckpointRef], tasks: Iterable[str]) -> str:
    """A text that changes with sizes and times of local files, for caches of pages."""
    paths: list[Path] = []
    for name in tasks:
        if name.startswith(FILE_PREFIX):
            with suppress(DataError):  # a name that cannot be a path, from somewhere else
                paths.append(own_file(name).path)
    for ref in checkpoints:
        if ref.source == "gguf":
            paths.append(Path(ref.location))
        elif ref.source == "folder":
            paths += [*_files_in(Path(ref.location)), *_files_in(Path(ref.location) / ref.revision)]
    return "\n".join(_stamp(path) for path in dict.fromkeys(paths))


def _files_in(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_file()]
    except OSError:
        return []


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return f"{path}: none"
    return f"{path}: {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


# Results


def result_sentences(cells: Iterable[CellFacts], *, hash_cache: Path) -> tuple[str, ...]:
    """Sentences that a reader of results should see about rows, texts and files.

    Args:
        cells: the results that are shown.
        hash_cache: as in ``identify_checkpoint``.
    """
    cells, files = list(cells), FilesNow(hash_cache)
    by_task: dict[str, list[CellFacts]] = {}
    for cell in cells:
        by_task.setdefault(cell.spec.task, []).append(cell)
    said: list[str] = []
    for task, group in by_task.items():
        if task.startswith(FILE_PREFIX):
            said += _file_sentences(task, group, files)
    said += _short_sentences({task: group for task, group in by_task.items() if files.task(task) is None})
    changed = dict.fromkeys(cell.spec.checkpoint for cell in cells if files.weights_changed(cell))
    by_model: dict[str, list[str]] = {}
    for ref in changed:
        by_model.setdefault(ref.model, []).append(ref.weight_file or ref.revision)
    said += [
        f"The files of {model} ({', '.join(names[:3])}{' and others' if len(names) > 3 else ''}) have changed since: "
        "these results are for the old files; evaluate again for results on the present ones."
        for model, names in by_model.items()
    ]
    return (*said, *cut_sentences(cells))


def _file_sentences(task: str, group: Sequence[CellFacts], files: FilesNow) -> Sequence[str]:
    data, name = files.task(task), shown_task(task)
    if data is None:
        return (f"{name} does not exist any more or cannot be read; these results are for its earlier content.",)
    if any(files.rows_changed(cell) for cell in group):
        return (
            f"{name} has changed since; these results are for its earlier content. Evaluate again for the present one.",
        )
    return row_sentences(data, n_asked=_n_asked(group))


def _n_asked(group: Sequence[CellFacts]) -> int | None:
    return max((cell.spec.n_examples for cell in group if cell.spec.split == "test"), default=None)


def _short_sentences(by_task: Mapping[str, Sequence[CellFacts]]) -> list[str]:
    """Sentences on tasks with fewer test rows than the study asked, from results alone."""
    short: dict[int, list[str]] = {}
    for task, group in by_task.items():
        asked, n_rows = _n_asked(group), max((c.n_rows for c in group if c.spec.split == "test"), default=0)
        if asked is not None and n_rows < asked:
            short.setdefault(asked, []).append(f"{shown_task(task)} {n_rows:,}")
    return [f"Fewer test rows than the {asked:,} asked for: {', '.join(names)}." for asked, names in short.items()]
