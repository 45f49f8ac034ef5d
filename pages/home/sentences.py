"""The sentences of the home page, from computed values; what it finds in the curves is said by ``words.findings``."""

from __future__ import annotations

from icl_core.evaluation.coverage import Coverage
from pages.ui.words.written import count, plain

__all__ = ["CALLOUTS", "complete_of_all", "no_curves", "stored"]

CALLOUTS = {"tr_rise": "TR rises", "tl_jump": "TL jumps", "tr_fall": "TR falls"}
"""The words beside a clear change, by its kind."""


def no_curves(model: str) -> str:
    """What to do before there are curves.

    Args:
        model: has results, but no complete checkpoint; "" if nothing is stored.
    """
    if not model:
        return "No results are stored yet. Evaluate the shipped tiny suite: it takes about two minutes on a CPU."
    return f"No checkpoint of {plain(model)} is complete yet; its curves appear with the first one."


def stored(*, n_cells: int, n_models: int) -> str:
    """How much the store holds, and what a square of the grid shows."""
    return (
        f"{count(n_cells, 'cell')} of {count(n_models, 'model')}. Each square says how many of the model's checkpoints "
        "have all the cells that a job was asked for or that another checkpoint has."
    )


def complete_of_all(each: Coverage) -> str:
    """The words in a square: complete checkpoints and all of them, nothing if no cell is stored."""
    return f"{each.n_complete}/{each.n_checkpoints}" if each.n_cells else ""
