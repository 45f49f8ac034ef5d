"""Jobs in words: what each kind is called and counts, how far it is, and how it ended.

Pure functions of a job as it stands in the table.
"""

from __future__ import annotations

from icl_core.evaluation.job_table import Job
from pages.ui.words.written import count, duration, plain, when

__all__ = ["KINDS", "cannot_be_used", "done_of_all", "ended", "outcome", "progress", "started", "title"]

_UNITS = {"evaluate": "cell", "train": "step", "estimate": "checkpoint"}
"""What each kind of job counts."""
KINDS = tuple(_UNITS)
"""The kinds of jobs that pages show."""
_NAMES = {"evaluate": "Job", "train": "Training", "estimate": "Cost question"}
_WAITED_FOR = {"evaluate": " for its device", "train": " for the processor"}
_STOPPING = {"evaluate": "stopping after the running cell", "train": "stopping; what is trained is kept"}


def title(job: Job) -> str:
    """What a job is called: ``Training 3``."""
    return f"{_NAMES[job.kind]} {job.id}"


def done_of_all(job: Job) -> str:
    """``3 of 12 cells``, in the units of its kind."""
    return f"{job.done:,} of {count(job.total, _UNITS[job.kind])}"


def progress(job: Job) -> str:
    """How far a live job is: units, speed, time left, and whether it is being cancelled."""
    if job.state == "queued":
        return f"Waiting{_WAITED_FOR.get(job.kind, '')}"
    parts = [done_of_all(job)] if job.total else [plain(job.message) or "Starting"]
    if job.units_per_second:
        parts.append(_rate(job.units_per_second, _UNITS[job.kind]))
    if job.eta_seconds is not None and job.done < job.total:
        parts.append(f"{duration(job.eta_seconds)} to go")
    if job.cancel_asked is not None:
        parts.append(_STOPPING.get(job.kind, "stopping"))
    return " · ".join(parts)


def _rate(per_second: float, unit: str) -> str:
    if per_second < 1:
        return f"{duration(1 / per_second)} per {unit}"
    return f"{per_second:,.{1 if per_second < 10 else 0}f} {unit}s per second"


def started(job: Job) -> str:
    """The notice that a job was started just now."""
    words = "is running" if job.state == "running" else f"waits{_WAITED_FOR.get(job.kind, '')}"
    return f"**{title(job)}** {words}. The sidebar of every page shows how far it is."


def ended(job: Job) -> str:
    """The notice that a job has ended."""
    words = "" if job.message.startswith("Cancelled") else f" is {job.state}"
    return f"**{title(job)}**{words}. {plain(job.message)}"


def outcome(job: Job) -> str:
    """What became of a job that has ended: its message, when it was asked for, how long it took, and how far it got."""
    took = "" if job.seconds_taken is None else f", took {duration(job.seconds_taken)}"
    return f"{plain(job.message)}  \nAsked for on {when(job.created)}{took}; {done_of_all(job)}."


def cannot_be_used(reason: str) -> str:
    """The job table cannot be read or written; what that means for the page."""
    return f"Jobs cannot be shown or started: {plain(reason.rstrip('.'))}. Results are not affected."
