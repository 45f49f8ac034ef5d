"""What the evaluate page shows of a study: whether it can run, the state of each checkpoint, and the jobs beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from icl_core.evaluation.choice import refuse_doubtful_order
from icl_core.evaluation.exclusions import excluded_checkpoints
from icl_core.evaluation.job_table import Job
from icl_core.evaluation.jobs import study_of_job
from icl_core.evaluation.study import Study, validate_study
from icl_core.records import CheckpointRef
from icl_core.registry.names import full_name
from pages.evaluate import sentences
from pages.ui.controls import selection
from pages.ui.data import cached
from pages.ui.panels import jobs

__all__ = ["RunOptions", "is_in_work", "listed_jobs", "states", "study_to_run"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a study is run; only ``dev`` changes what is computed.

    Attributes:
        device: auto, cpu or cuda.
        offline: keep off the network.
        dev: evaluate the development split too.
    """

    device: str
    offline: bool
    dev: bool


def study_to_run(run: RunOptions) -> Study:
    """The checked study.

    Raises:
        ObservatoryError: something cannot be run as asked; the sentence says what.
    """
    study = selection.study_of(selection.current_choice())
    if run.dev:
        splits: Any = ("dev", "test")
        study = dataclasses.replace(study, splits=splits)
    validate_study(study)
    excluded = excluded_checkpoints(cached.store(), study.checkpoints)
    refuse_doubtful_order(ref for ref in study.checkpoints if ref not in excluded)
    return study


def states(study: Study) -> dict[CheckpointRef, tuple[str, str]]:
    """State and sentence of each checkpoint: stored, partial, missing, queued, running, failed or flagged."""
    flagged = excluded_checkpoints(cached.store(), study.checkpoints)
    asked = list(_asked_for())
    live = [(job, refs) for job, refs in asked if job.is_live]
    ended = [(job, refs) for job, refs in asked if job.state in ("done", "failed")]
    found = {}
    for ref, (n_stored, n_cells) in cached.completeness(study).items():
        state, job = "partial" if n_stored else "missing", None
        if ref in flagged:
            state = "flagged"
        elif n_stored == n_cells:
            state = "stored"
        elif job := next((job for job, refs in live if ref in refs), None):
            is_running = job.current.startswith((f"{full_name(ref)},", f"{full_name(ref)}:"))
            state = "running" if is_running else "queued"
        elif job := next((job for job, refs in ended if ref in refs), None):
            state = "failed"
        words = sentences.of_checkpoint(n_stored, n_cells, job=job, flagged=flagged.get(ref, ""))
        found[ref] = (state, words)
    return found


def is_in_work(study: Study) -> bool:
    """Whether a live job is to evaluate any checkpoint of the study."""
    return any(job.is_live and refs & set(study.checkpoints) for job, refs in _asked_for())


def _asked_for() -> Iterator[tuple[Job, frozenset[CheckpointRef]]]:
    """The evaluations, the newest first, each with its checkpoints."""
    for job in jobs.listed(quiet=True):
        if job.kind == "evaluate" and (study := study_of_job(job)) is not None:
            yield job, frozenset(study.checkpoints)


def listed_jobs(study: Study | None) -> list[Job]:
    """All jobs, of every kind, but not the cost question of this study: it stands where the cost is."""
    return [job for job in jobs.listed() if job.kind != "estimate" or study_of_job(job) != study]
