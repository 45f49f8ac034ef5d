"""What decides the numbers of a file that leaves the app: its study, and the settings on the page that made it.

Every row of a CSV carries all of it, so that a file tells what it holds wherever it is kept. The file's name carries a
short form. No control is read here: each page says under which settings its rows were made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from icl_core.evaluation.study import Study, study_digest
from icl_core.records import SHARED_OPTIONS, CheckpointRef
from pages.ui.data.view import View
from pages.ui.words.written import checkpoint_name, in_points, legible, task_title

__all__ = ["Facts", "of_view", "points_of", "who"]

Value = str | int | float
MOST_CHARACTERS = 140
"""Longest name of a file without its ending; file systems allow 255 bytes for the whole name."""
_MOST_OF_ONE = 32
_OUTSIDE = re.compile(r"[^A-Za-z0-9.+-]+")


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides the numbers.

    Attributes:
        study: the one that the rows belong to; None if they belong to none.
        settings: all else, by name, in the order of the columns; the name of a number holds its unit.
    """

    study: Study | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, Value]:
        """Study and settings, by column."""
        return {**self.settings, **({} if self.study is None else _study_columns(self.study))}

    def beside(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The rows, each with these columns too; a column that a row already has is not replaced."""
        return [{**row, **{name: value for name, value in self.columns.items() if name not in row}} for row in rows]

    def file_stem(self, name: str) -> str:
        """A file's name without its ending: letters, digits, and signs that every system takes."""
        said = [_short(key, value) for key, value in self.settings.items()]
        study = [] if self.study is None else [f"study-{short_digest(self.study)}"]
        kept = MOST_CHARACTERS - sum(len(part) + 1 for part in study)
        first = "_".join(part for part in (name, *said) if part)[:kept].strip("._-")
        return "_".join(part for part in (first, *study) if part)


def short_digest(study: Study) -> str:
    """The name of a study in files: eight digits of its sha256."""
    return study_digest(study)[:8]


def _study_columns(study: Study) -> dict[str, Value]:
    options = {"alphabet": study.alphabet, **{name: getattr(study, name) for name in SHARED_OPTIONS}}
    seeds = ", ".join(map(str, study.demo_seeds))
    return {"study": short_digest(study), "test_rows": study.n_test, "demo_seeds": seeds, **options}


def _short(key: str, value: Value) -> str:
    text = value if isinstance(value, str) else f"{key}-{value:g}"
    return _OUTSIDE.sub("-", text)[:_MOST_OF_ONE].strip(".-")


def of_view(view: View) -> dict[str, Value]:
    """The measure, the label score, and the task that is shown, or the mean."""
    return {
        "measure": view.measure,
        "label_score": view.normalisation,
        "shown": "mean over tasks" if view.task is None else task_title(view.task),
    }


def points_of(epsilon: float) -> dict[str, Value]:
    """Epsilon in percentage points."""
    return {"epsilon_points": round(in_points(epsilon), 6)}


def who(members: Mapping[str, CheckpointRef] | Sequence[tuple[str, CheckpointRef]]) -> dict[str, Value]:
    """Checkpoints by the role that they play; a second one in the same role is numbered."""
    found: dict[str, Value] = {}
    for role, ref in members.items() if isinstance(members, Mapping) else members:
        name = next(name for name in (role, *(f"{role} {n}" for n in range(2, 9))) if name not in found)
        found[name] = f"{legible(ref.model)} {checkpoint_name(ref)}"
    return found
