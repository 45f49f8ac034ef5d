"""What is stored of a study, in words: pure functions of counts and options."""

from __future__ import annotations

from collections.abc import Sequence

from icl_core.evaluation.coverage import CellCounts
from pages.ui.words.written import count, joined, plain, task_title

__all__ = ["complete_checkpoints", "nothing_computed", "other_options", "stored_cells"]


def stored_cells(counts: CellCounts) -> str:
    """``120 of 180 cells``."""
    return f"{counts.n_stored:,} of {count(counts.n_cells, 'cell')}"


def complete_checkpoints(counts: CellCounts) -> str:
    """How many checkpoints have all their cells, and what a cell is."""
    are = "is" if counts.n_complete == 1 else "are"
    return (
        f"{counts.n_complete:,} of {count(counts.n_checkpoints, 'checkpoint')} {are} complete. A cell is one "
        "checkpoint, task, label setting and demonstration seed."
    )


def nothing_computed(counts: CellCounts) -> str:
    """The state without any result."""
    return f"Nothing of this study is computed yet: it has {count(counts.n_cells, 'cell')}."


def other_options(tasks: Sequence[str], *, n_shots: int, seeds: str, n_examples: int) -> str:
    """The options under which there are results.

    Args:
        tasks: their names.
        n_shots: demonstrations.
        seeds: of the demonstrations, separated by commas.
        n_examples: most test rows of a task.
    """
    names = joined([task_title(name) for name in tasks], most=3)
    rest = f"{count(n_shots, 'demonstration')}, seeds {seeds}, at most {count(n_examples, 'test row')} per task"
    return f"There are results under other options: {plain(names)}; {plain(rest)}."
