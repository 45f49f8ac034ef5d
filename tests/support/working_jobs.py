"""Jobs that count, are deaf, or fail, in processes of their own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from icl_core.evaluation import job_processes, jobs
from icl_core.settings import project_path

WORKER = """
import signal, subprocess, sys, time
from pathlib import Path
from icl_core.errors import StudyError
from icl_core.evaluation import job_processes, job_table, job_worker, jobs
from icl_core.owners import this_place

job_worker.BEAT_SECONDS, job_processes.TERM_SECONDS, job_processes.KILL_SECONDS = 0.1, 0.6, 1.6
job_processes._worker_command = lambda folder, job_id: [sys.executable, __file__, str(folder), str(job_id)]


def count(payload, context):
    marks = Path(payload["marks"])
    n = payload["n"]
    for index in range(n):
        if context.should_stop():
            return job_worker.Outcome(f"Stopped after {index} of {n}.", complete=False)
        if not (marks / str(index)).exists():
            time.sleep(payload["seconds"])
            (marks / str(index)).write_text(str(context.job.id))
        context.report(index + 1, n, current=f"unit {index}", units_per_second=2.0, eta_seconds=1.0)
    return job_worker.Outcome(f"All {n} done.")


def deaf(payload, context):
    if payload.get("kill_proof"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(payload["child"]).write_text(str(child.pid))
    time.sleep(60)


def fail(payload, context):
    if payload.get("typed"):
        raise StudyError("There are no tasks to evaluate.")
    raise ZeroDivisionError("a bug")


handlers = {"evaluate": count, "deaf": deaf, "fail": fail}
job_worker.work(int(sys.argv[2]), handlers, store_path=Path(sys.argv[1]))
"""


def lay_worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a folder the store of such jobs, whose times are short."""
    script = folder / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(project_path()))
    monkeypatch.setattr(
        job_processes, "_worker_command", lambda folder, i: [sys.executable, str(script), str(folder), str(i)]
    )
    monkeypatch.setattr(job_processes, "SILENT_SECONDS", 1.5)
    monkeypatch.setattr(job_processes, "TERM_SECONDS", 0.6)
    monkeypatch.setattr(job_processes, "KILL_SECONDS", 1.6)
    (folder / "marks").mkdir()
    return folder


def submit(store: Path, kind: str = "evaluate", *, device: str = "cpu", **payload: object) -> int:
    payload = {"marks": str(store / "marks"), "n": 3, "seconds": 0.05} | payload
    return jobs.submit_payload(kind, payload, title="count", device=device, store_path=store)  # type: ignore[arg-type]


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
