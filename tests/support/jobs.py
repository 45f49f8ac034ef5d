"""A job as it stands in the table, for tests of what is said of it."""

from __future__ import annotations

from typing import Any

from icl_core.evaluation.job_table import Job


def job(**values: Any) -> Job:
    """A waiting evaluation of twelve cells, with some fields otherwise."""
    base: dict[str, Any] = {
        **{"id": 3, "kind": "evaluate", "title": "a study", "payload": "{}", "device": "cpu", "state": "queued"},
        **{"created": 1_700_000_000.0, "done": 0, "total": 12, "current": "", "message": ""},
        **dict.fromkeys(("started", "ended", "beat", "host", "pid", "pid_started", "cancel_asked")),
        **dict.fromkeys(("units_per_second", "eta_seconds", "resumed_from")),
    }
    return Job(**{**base, **values})
