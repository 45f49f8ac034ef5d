"""The suite's evaluation tasks as files: one JSONL of labelled rows per task, and a list of the tasks.

It draws rows in one fixed sense of the language (every word belongs to the class that lists it) and writes them. The
registry and the data layer read them as tasks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from icl_core.pretraining.language import TINY_TASKS, TinyTask, class_words, draw_input, token_ids, vocabulary

__all__ = ["N_ROWS_BY_SPLIT", "TASK_ROWS_SEED", "draw_task_rows", "write_task_files"]

N_ROWS_BY_SPLIT = {"demonstrations": 400, "dev": 300, "test": 1000}
TASK_ROWS_SEED = 2024
N_INPUT_WORDS = 3


def _first_class(task: TinyTask) -> int:
    return sum(len(other.label_words) for other in TINY_TASKS[: TINY_TASKS.index(task)])


def draw_task_rows(task: TinyTask) -> list[dict[str, str]]:
    """All rows of a task, each with three words, a label word and a split; no text occurs twice.

    Labels are uniform. Texts without any word of the task's classes (all fillers) stay in: they are the language's
    noise, which no model can label.
    """
    rng = np.random.Generator(np.random.PCG64([TASK_ROWS_SEED, TINY_TASKS.index(task)]))
    ids, words, first = token_ids(), vocabulary(), _first_class(task)
    n_labels = len(task.label_words)
    lexicon = np.array([[ids[w] for w in class_words(first + c)] for c in range(n_labels)])
    label_by_text: dict[str, str] = {}
    while len(label_by_text) < sum(N_ROWS_BY_SPLIT.values()):
        label = rng.integers(n_labels, size=1)
        text = " ".join(words[i] for i in draw_input(rng, lexicon, label, n_words=N_INPUT_WORDS)[0])
        if "<unk>" not in text:
            label_by_text.setdefault(text, task.label_words[int(label[0])])
    splits = np.repeat(list(N_ROWS_BY_SPLIT), list(N_ROWS_BY_SPLIT.values()))
    order = rng.permutation(len(splits))
    rows = list(label_by_text.items())
    return [
        {"text": rows[i][0], "label": rows[i][1], "split": str(split)} for i, split in zip(order, splits, strict=True)
    ]


def _entry(task: TinyTask) -> dict[str, Any]:
    description = "Three pseudo-words of the suite's synthetic language; the label is the class most of them mean."
    if task.held_out:
        description += " Held out: no list in the training text shows this task by itself."
    return {
        "name": task.name,
        "title": task.title,
        "label_words": list(task.label_words),
        "n_labels": len(task.label_words),
        "held_out": task.held_out,
        "description": description,
    }


def write_task_files(folder: Path) -> None:
    """Write ``<task>.jsonl`` for each task, and ``tasks.json``, a list of the tasks in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in TINY_TASKS:
        lines = (json.dumps(row) + "\n" for row in draw_task_rows(task))
        (folder / f"{task.name}.jsonl").write_text("".join(lines), encoding="utf-8")
    contents = json.dumps([_entry(task) for task in TINY_TASKS], indent=1) + "\n"
    (folder / "tasks.json").write_text(contents, encoding="utf-8")
