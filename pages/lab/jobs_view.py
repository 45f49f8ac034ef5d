"""Trainings on the lab page: those that run, with their curves so far, and those that have ended."""

from __future__ import annotations

import json

from icl_core.errors import ObservatoryError
from icl_core.evaluation.job_table import Job
from icl_core.pretraining.lab.config import LabConfig, config_from_json
from icl_core.pretraining.lab.summary import group_runs
from pages.lab import found, trained, vega
from pages.ui.panels import blocks, frame, jobs

__all__ = ["configs_in_work", "live", "past"]


def _trainings(*, quiet: bool = True) -> list[Job]:
    return [job for job in jobs.listed(quiet=quiet) if job.kind == "train" and _config(job) is not None]


def _config(job: Job) -> LabConfig | None:
    """What a job trains, None where it is no lab run."""
    try:
        return config_from_json(json.dumps(json.loads(job.payload)["config"]))
    except (ObservatoryError, KeyError, TypeError, ValueError):
        return None


def configs_in_work() -> dict[LabConfig, Job]:
    """The configurations of waiting and running trainings, with their jobs."""
    return {config: job for job in _trainings() if job.is_live and (config := _config(job)) is not None}


def live() -> None:
    """Every waiting or running training, with its progress and its curves so far."""
    jobs.live(_trainings(quiet=False), "Training", _curves_so_far)


def _curves_so_far(now: Job) -> None:
    config = _config(now)
    run = found.run_of(config) if config is not None and now.state == "running" else None
    if run is None or len(run.curves["step"]) < 2:
        return
    group = group_runs([run])[0]
    figure = vega.series_chart(
        trained.curve_rows(group, ["ICL", "CIWL", "Flip"]),
        trained.axis_of([group]),
        frame.palette(),
        look=vega.Look(height=150),
    )
    blocks.chart(figure, key=f"lab-live-{now.id}", alt=f"ICL, CIWL and Flip up to step {run.last_step:,}")


def past() -> None:
    """Trainings that have ended; a failed, lost or cancelled one goes on from its last saved state."""
    jobs.past(_trainings(), "Training")
