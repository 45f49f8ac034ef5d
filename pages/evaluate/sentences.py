"""The sentences of the evaluate page: pure functions of a study, its cost, its jobs and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icl_core.evaluation.cost import Estimate
from icl_core.evaluation.coverage import CellCounts
from icl_core.evaluation.job_table import Job
from icl_core.evaluation.study import N_DEV_EXAMPLES, Study
from icl_core.units import byte_count
from pages.ui.words.written import count, duration, joined, plain, short_number

__all__ = [
    "NOT_CHOSEN",
    "by_state",
    "chosen",
    "cost",
    "development_rows",
    "either_way",
    "not_listed",
    "of_checkpoint",
    "start_label",
    "study_as_product",
    "study_opened",
    "task_added",
]

NOT_CHOSEN = ("not chosen", "Click to add it.")
"""State and sentence of a checkpoint that is not in the study."""


# What is asked for


def not_listed(model: str) -> str:
    """The documents of a model do not list its checkpoints."""
    return f"The checkpoints of {plain(model)} are not fully documented; ask the Hub for them."


def task_added(file_name: str, labels: Sequence[str]) -> str:
    """An uploaded file has become a task."""
    return f"{file_name} is a task now, with the labels {joined(labels, most=8)}."


def either_way(question: str) -> str:
    """An uploaded file whose labels can be read in two ways was kept as two tasks."""
    return f"{question} You can pick either reading under Own files."


def study_opened(file_name: str) -> str:
    """A study file has set the pickers."""
    return f"{file_name} is open: every page shows its study."


def development_rows() -> str:
    """What the development set adds."""
    return f"{N_DEV_EXAMPLES} further rows per task, from which checkpoints and fusion weights are chosen."


# Checkpoints


def of_checkpoint(n_stored: int, n_cells: int, *, job: Job | None, flagged: str) -> str:
    """What is stored of a checkpoint, after what its job or its files say.

    Args:
        n_stored: cells of it with a result.
        n_cells: all of its cells in the study.
        job: a live one that is to evaluate it, or one that ended without it; None if there is neither.
        flagged: the sentence that says why it is left out of the curves, "" if it is not.
    """
    stored = f"{n_stored:,} of {count(n_cells, 'cell')} stored."
    if job is None:
        return f"{flagged} {stored}".strip()
    if job.is_live:
        return f"Job {job.id} is {job.state}. {stored}"
    return f"Job {job.id} ended without it: {job.message} {stored}"


def by_state(n_by_state: Mapping[str, int]) -> str:
    """How many checkpoints are in each state: ``9 stored, 2 missing``."""
    return ", ".join(f"{n:,} {state}" for state, n in n_by_state.items() if n)


def chosen(n_chosen: int, n_by_state: Mapping[str, int], instead: str) -> str:
    """The words below the chart of checkpoints.

    Args:
        n_chosen: checkpoints of the study.
        n_by_state: all that are drawn.
        instead: why the axis does not count what was asked for, "" if it does.
    """
    return f"{count(n_chosen, 'checkpoint')} chosen. {by_state(n_by_state)}. {plain(instead)}".rstrip()


# The cost


def study_as_product(study: Study, n_cells: int) -> str:
    """The study as the product that gives its number of cells."""
    splits = f" × {count(len(study.splits), 'split')} ({' and '.join(study.splits)})" if len(study.splits) > 1 else ""
    return (
        f"**{count(len(study.checkpoints), 'checkpoint')} × {count(len(study.tasks), 'task')} × "
        f"{count(len(study.label_settings), 'setting')} × {count(len(study.demo_seeds), 'seed')}{splits}** = "
        f"{count(n_cells, 'cell')}"
    )


def cost(counts: CellCounts, estimate: Estimate | None) -> str:
    """What the missing cells cost, as a short list.

    Args:
        counts: stored and missing cells.
        estimate: None as long as it is not known.
    """
    if not counts.n_missing:
        return "Every cell is stored already: nothing to compute."
    counted = f"- **{counts.n_missing:,}** to compute, {counts.n_stored:,} stored already"
    if estimate is None:
        return counted
    download = "not asked" if estimate.download_bytes is None else byte_count(estimate.download_bytes)
    words = plain(estimate.time_words)
    operations = f"{short_number(estimate.tflops)} TFLOPs ({estimate.tflops_per_prompt:.3g} per prompt)"
    memory = f"memory {byte_count(estimate.memory_bytes)}"
    if not estimate.flops:
        operations, memory = "operations not known", "memory not known"
    return (
        f"{counted}\n"
        f"- {words if estimate.seconds is None else f'**{duration(estimate.seconds)}**, {words}'}\n"
        f"- {count(estimate.n_prompts, 'prompt')}, {short_number(round(estimate.tokens))} tokens, {operations}\n"
        f"- {memory}, disk {byte_count(estimate.disk_bytes)}, download {download}"
    )


def start_label(n_missing: int) -> str:
    """The words on the button that starts the study."""
    return f"Evaluate {count(n_missing, 'cell')}" if n_missing else "Nothing to evaluate"
