"""Jobs are real processes here: they are killed, silenced, cancelled and resumed."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from icl_core.errors import JobError
from icl_core.evaluation import job_processes, job_table, job_worker, jobs
from icl_core.owners import this_place
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


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(project_path()))
    monkeypatch.setattr(
        job_processes, "_worker_command", lambda folder, i: [sys.executable, str(script), str(folder), str(i)]
    )
    monkeypatch.setattr(job_processes, "SILENT_SECONDS", 1.5)
    monkeypatch.setattr(job_processes, "TERM_SECONDS", 0.6)
    monkeypatch.setattr(job_processes, "KILL_SECONDS", 1.6)
    (tmp_path / "marks").mkdir()
    return tmp_path


def submit(store: Path, kind: str = "evaluate", *, device: str = "cpu", **payload: object) -> int:
    payload = {"marks": str(store / "marks"), "n": 3, "seconds": 0.05} | payload
    return jobs.submit_payload(kind, payload, title="count", device=device, store_path=store)  # type: ignore[arg-type]


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_job_runs_in_its_own_session_and_reports(store: Path) -> None:
    job_id = submit(store, n=40)
    until(lambda: jobs.read_job(job_id, store_path=store).done > 0)
    running = jobs.read_job(job_id, store_path=store)
    assert running.state == "running" and running.is_live and running.total == 40
    assert running.pid is not None and os.getsid(running.pid) == running.pid != os.getsid(0)
    assert running.current.startswith("unit ") and running.cells_per_second == 2.0
    job = jobs.wait_for(job_id, timeout=20, store_path=store)
    assert (job.state, job.message, job.done, job.total) == ("done", "All 40 done.", 40, 40)
    assert not job.is_live and job.ended is not None and job.started is not None and job.ended > job.started


def test_killed_job_is_lost_within_seconds_and_resume_computes_the_rest(store: Path) -> None:
    job_id = submit(store, n=6, seconds=0.3)
    until(lambda: (store / "marks" / "1").exists())
    killed = jobs.read_job(job_id, store_path=store)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)  # its zombie may still answer signal 0
    start = time.monotonic()
    until(lambda: jobs.read_job(job_id, store_path=store).state == "lost")
    assert time.monotonic() - start < 4
    assert "resume" in jobs.read_job(job_id, store_path=store).message
    (resumed_id,) = {jobs.resume(job_id, store_path=store)}
    resumed = jobs.wait_for(resumed_id, timeout=20, store_path=store)
    assert resumed.state == "done" and resumed.resumed_from == job_id
    owners = [(store / "marks" / str(index)).read_text() for index in range(6)]
    assert owners[0] == owners[1] == str(job_id) and owners[-1] == str(resumed_id)


def test_cancel_lets_the_unit_finish(store: Path) -> None:
    job_id = submit(store, n=100, seconds=0.1)
    until(lambda: (store / "marks" / "0").exists())
    jobs.cancel(job_id, store_path=store)
    job = jobs.wait_for(job_id, timeout=10, store_path=store)
    assert job.state == "cancelled" and job.message.startswith("Cancelled. Stopped after ")
    with pytest.raises(JobError, match="is cancelled and cannot be cancelled"):
        jobs.cancel(job_id, store_path=store)


@pytest.mark.parametrize("kill_proof", [False, True])
def test_cancel_ends_the_whole_process_group(store: Path, kill_proof: bool) -> None:
    child_path = store / "child"
    job_id = submit(store, "deaf", child=str(child_path), kill_proof=kill_proof)
    until(lambda: child_path.exists() and child_path.read_text())
    child = psutil.Process(int(child_path.read_text()))
    jobs.cancel(job_id, store_path=store)
    job = jobs.wait_for(job_id, timeout=15, store_path=store)
    assert (job.state, job.message) == ("cancelled", "Cancelled. What was finished is stored.")
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_jobs_without_a_device_wait_for_nobody(store: Path) -> None:
    first = submit(store, device="auto", n=2, seconds=60)
    second = submit(store, device=job_table.NO_DEVICE, n=0)
    assert jobs.wait_for(second, timeout=60, store_path=store).state == "done"
    assert jobs.read_job(first, store_path=store).is_live
    jobs.cancel(first, store_path=store)
    cancelled = jobs.read_job(first, store_path=store)
    assert cancelled.eta_seconds is None
    jobs.wait_for(first, timeout=60, store_path=store)


def test_sigterm_ends_cleanly(store: Path) -> None:
    job_id = submit(store, n=2, seconds=30)
    until(lambda: jobs.read_job(job_id, store_path=store).beat is not None)
    time.sleep(0.3)
    pid = jobs.read_job(job_id, store_path=store).pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    job = jobs.wait_for(job_id, timeout=10, store_path=store)
    assert (job.state, job.message) == ("cancelled", "Stopped by a signal; what was finished is stored.")


def test_one_live_job_a_device_and_the_next_starts_by_itself(store: Path) -> None:
    first = submit(store, n=4, seconds=0.3)
    second = submit(store, n=4)
    elsewhere = submit(store, device="cuda", n=0)
    anywhere = submit(store, device="auto", n=4)
    states = {job.id: job.state for job in jobs.list_jobs(store_path=store)}
    assert (states[first], states[second], states[anywhere]) == ("running", "queued", "queued")
    assert states[elsewhere] in ("running", "done")
    assert jobs.read_job(elsewhere, store_path=store).device == "cuda:0"

    def quietly(job_id: int) -> str:  # reads without reconciling: the finishing job must start the next by itself
        with sqlite3.connect(store / "jobs.sqlite") as table:
            state = table.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]
        table.close()
        return str(state)

    until(lambda: quietly(anywhere) == "done")
    ended = [jobs.read_job(job_id, store_path=store) for job_id in (first, second, anywhere)]
    for before, after in itertools.pairwise(ended):
        assert before.ended is not None and after.started is not None and before.ended <= after.started


def test_waiting_job_is_cancelled_at_once(store: Path) -> None:
    first = submit(store, n=10, seconds=0.2)
    second = submit(store)
    assert jobs.cancel(second, store_path=store).state == "cancelled"
    with pytest.raises(JobError, match="only a job that has ended"):
        jobs.resume(first, store_path=store)
    jobs.cancel(first, store_path=store)
    jobs.wait_for(first, timeout=10, store_path=store)


def test_launcher_killed_before_the_process_started(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(job_processes, "_launch", lambda folder, job_id: None)
        job_id = submit(store)
    assert jobs.read_job(job_id, store_path=store).state == "running"
    until(lambda: jobs.read_job(job_id, store_path=store).state == "lost")
    assert "never started" in jobs.read_job(job_id, store_path=store).message


def test_row_left_queued_starts_at_reconcile(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "reconcile", lambda store_path=None: None)
        job_id = submit(store)
    jobs.reconcile(store)
    assert jobs.wait_for(job_id, timeout=20, store_path=store).state == "done"


def test_foreign_process_with_the_same_pid_is_not_signalled(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(job_processes, "_launch", lambda folder, job_id: None)
        job_id = submit(store)
    with job_table.job_table(store) as table:
        job_table.update(table, job_id, host=this_place(), pid=os.getpid(), pid_started=1.0)
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda *call: sent.append(call))
    jobs.cancel(job_id, store_path=store)
    until(lambda: jobs.read_job(job_id, store_path=store).state == "cancelled")
    assert sent == []


def test_frozen_job_is_not_responding_and_goes_on_when_it_is_woken(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_processes, "STALLED_SECONDS", 1.0)
    job_id = submit(store, n=60, seconds=0.1)
    until(lambda: (store / "marks" / "0").exists())
    pid = jobs.read_job(job_id, store_path=store).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    until(lambda: "Not responding" in jobs.read_job(job_id, store_path=store).message)
    assert jobs.read_job(job_id, store_path=store).state == "running"
    assert "Not responding" in jobs.list_jobs(store_path=store)[0].message
    os.kill(pid, signal.SIGCONT)
    monkeypatch.setattr(job_processes, "STALLED_SECONDS", 30.0)
    assert jobs.wait_for(job_id, timeout=60, store_path=store).state == "done"


def test_job_that_slept_on_another_machine_comes_back_with_its_beat(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(store, n=100, seconds=0.1)
    until(lambda: (store / "marks" / "0").exists())
    with monkeypatch.context() as patch:
        patch.setattr(job_processes, "lives", lambda owner: None)  # as seen from another machine
        patch.setattr(job_processes, "STALLED_SECONDS", -1.0)
        assert jobs.read_job(job_id, store_path=store).state == "lost"
    until(lambda: jobs.read_job(job_id, store_path=store).state == "running")
    assert jobs.wait_for(job_id, timeout=60, store_path=store).state == "done"


@pytest.mark.parametrize(("typed", "message"), [(True, "There are no tasks"), (False, "unexpected ZeroDivisionError")])
def test_failures_say_what_happened(store: Path, typed: bool, message: str) -> None:
    job = jobs.wait_for(submit(store, "fail", typed=typed), timeout=20, store_path=store)
    assert job.state == "failed" and message in job.message
    assert ("Traceback" in jobs.read_log(job.id, store_path=store)) is not typed


def test_kind_without_a_handler(store: Path) -> None:
    job = jobs.wait_for(submit(store, "dance"), timeout=20, store_path=store)
    assert job.state == "failed" and "kind dance" in job.message


def test_process_that_cannot_be_started(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_processes, "_worker_command", lambda folder, job_id: [str(store / "absent")])
    job = jobs.read_job(submit(store), store_path=store)
    assert job.state == "failed" and "cannot be started" in job.message


def test_work_refuses_a_job_that_has_ended(store: Path) -> None:
    job_id = submit(store, n=0)
    jobs.wait_for(job_id, timeout=20, store_path=store)
    with pytest.raises(JobError, match="is done and not for this process"):
        job_worker.work(job_id, {}, store_path=store)
    with pytest.raises(JobError, match=f"no job 99; the known ones are {job_id}"):
        jobs.read_job(99, store_path=store)


def test_log_tail_is_bounded(store: Path) -> None:
    assert jobs.read_log(3, store_path=store) == ""
    path = store / "jobs" / "3.log"
    path.parent.mkdir()
    path.write_text("".join(f"line {index}\n" for index in range(100_000)))
    tail = jobs.read_log(3, store_path=store, max_bytes=100)
    assert len(tail) <= 100 and tail.startswith("line 9999") and tail.endswith("line 99999\n")


def test_no_jobs_leaves_no_file(tmp_path: Path) -> None:
    assert jobs.list_jobs(store_path=tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_damaged_table_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(JobError, match="cannot be used"):
        jobs.list_jobs(store_path=tmp_path)


def test_payload_is_plain_json(store: Path) -> None:
    job_id = submit(store, n=0)
    assert json.loads(jobs.read_job(job_id, store_path=store).payload)["n"] == 0
    with pytest.raises(ValueError, match="not JSON compliant"):
        submit(store, n=float("nan"))
