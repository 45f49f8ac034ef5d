"""The rows of a run's tasks, each task read once, and the amount of text in their cells.

It encodes and scores nothing. A task whose rows cannot be read does not affect the other tasks.
"""

from __future__ import annotations

from pathlib import Path

from icl_core.data.datasets import TaskData, load_task_data
from icl_core.errors import DataError, ObservatoryError, ends_process, in_words
from icl_core.evaluation.cell_work import cell_queries
from icl_core.records import CellSpec
from icl_core.registry.tasks import get_task

__all__ = ["RunRows"]


class RunRows:
    """Rows by task.

    Args:
        data_dir: folder with datasets in the layout of the Hub; None for the Hub.
        offline: True uses only what is on this machine.
    """

    def __init__(self, *, data_dir: str | None, offline: bool) -> None:
        self._data_dir = None if data_dir is None else Path(data_dir)
        self._offline = offline
        self._found: dict[str, TaskData | Exception] = {}
        self._sizes: dict[tuple[str, str, int], float] = {}

    def of(self, task: str) -> TaskData | Exception:
        """The rows of a task, or the reason why they cannot be read."""
        if task not in self._found:
            try:
                self._found[task] = load_task_data(get_task(task), data_dir=self._data_dir, offline=self._offline)
            except BaseException as error:
                if ends_process(error):
                    raise
                self._found[task] = error if isinstance(error, ObservatoryError) else DataError(in_words(error))
        return self._found[task]

    def read(self) -> dict[str, TaskData]:
        """The rows that have been read so far, by task."""
        return {task: found for task, found in self._found.items() if isinstance(found, TaskData)}

    def size_of(self, spec: CellSpec) -> float:
        """The size of a cell: characters of text that go through the model, at least 1; 1 if it has no rows."""
        size = (spec.task, spec.split, spec.n_examples)
        found = self.of(spec.task)
        if size not in self._sizes and isinstance(found, TaskData):
            queries = cell_queries(spec, found)
            n_query = sum(len(query.text) for query in queries)
            self._sizes[size] = 1 + n_query * (1 + spec.n_shots / max(len(queries), 1))
        return self._sizes.get(size, 1.0)
