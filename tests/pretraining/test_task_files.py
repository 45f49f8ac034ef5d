"""The shipped task rows are the language's, and can be drawn again."""

from __future__ import annotations

import functools
import json
from collections import Counter
from pathlib import Path

import pytest

from icl_core.pretraining import task_files
from icl_core.pretraining.language import TINY_TASKS, TinyTask, vocabulary
from icl_core.pretraining.task_files import N_ROWS_BY_SPLIT, draw_task_rows
from icl_core.settings import suite_path

rows_of = functools.cache(draw_task_rows)


@pytest.mark.parametrize("task", TINY_TASKS, ids=lambda task: task.name)
def test_rows_are_as_many_as_said_unique_and_in_the_vocabulary(task: TinyTask) -> None:
    rows = rows_of(task)
    assert Counter(row["split"] for row in rows) == N_ROWS_BY_SPLIT
    assert len({row["text"] for row in rows}) == len(rows)
    assert {word for row in rows for word in row["text"].split()} <= set(vocabulary())
    shares = Counter(row["label"] for row in rows if row["split"] == "test")
    assert set(shares) == set(task.label_words)
    assert max(shares.values()) < 1.35 * N_ROWS_BY_SPLIT["test"] / len(task.label_words)


def test_the_shipped_files_are_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_files, "draw_task_rows", rows_of)
    task_files.write_task_files(tmp_path)
    names = ["tasks.json", *(f"{task.name}.jsonl" for task in TINY_TASKS)]
    assert sorted(path.name for path in (suite_path() / "tasks").iterdir()) == sorted(names)
    for name in names:
        assert (tmp_path / name).read_bytes() == (suite_path() / "tasks" / name).read_bytes()
    assert [entry["held_out"] for entry in json.loads((tmp_path / "tasks.json").read_text())].count(True) == 3
