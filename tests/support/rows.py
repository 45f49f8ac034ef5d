"""Task files made by code: the rows of a plain file, and what a reader makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icl_core.data.datasets import TaskData, load_task_data
from icl_core.registry.tasks import get_task, task_name

LABELS = ("negative", "positive")


def plain_rows(n: int = 40, *, labels: Sequence[str] = LABELS) -> list[tuple[str, str]]:
    """(text, label) of n rows, no text twice."""
    return [(f"film {i} is a {'quiet joy' if i % len(labels) else 'noisy mess'} .", labels[i % len(labels)])
            for i in range(n)]  # fmt: skip


def csv_text(rows: Sequence[tuple[str, ...]], *, header: str = "text,label") -> str:
    """A CSV of rows that need no quotes."""
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"


def write(path: Path, content: str | bytes) -> Path:
    """Writes a file as it stands and gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    return path


def read(path: Path | str) -> TaskData:
    """The rows of a file as every part of the app reads them."""
    return load_task_data(get_task(task_name(str(path))))


def used_rows(data: TaskData) -> list[tuple[str, str]]:
    """(text, label) of every row that is used, sorted."""
    names = data.task.label_names
    return sorted(
        (row.text, names[row.gold]) for part in (data.demonstration_pool, data.dev, data.test) for row in part
    )
