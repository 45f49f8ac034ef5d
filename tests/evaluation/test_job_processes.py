"""Processes of jobs: started, pressed, found dead, and the next one started."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import time
from pathlib import Path

import psutil
import pytest

from icl_core.evaluation import job_processes, job_table, jobs
from icl_core.owners import this_place
from tests.support.working_jobs import lay_worker, submit, until


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return lay_worker(tmp_path, monkeypatch)


def test_job_runs_in_its_own_session_and_reports(store: Path) -> None:
    job_id = submit(store, n=40)
    until(lambda: jobs.read_job(job_id, store_path=store).done > 0)
    running = jobs.read_job(job_id, store_path=store)
    assert running.state == "running" and running.is_live and running.total == 40
    assert running.pid is not None and os.getsid(running.pid) == running.pid != os.getsid(0)
    assert running.current.startswith("unit ") and running.units_per_second == 2.0
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


@pytest.mark.parametrize("kill_proof", [False, True])
def test_cancel_ends_the_whole_process_group(store: Path, kill_proof: bool) -> None:
    child_path = store / "child"
    job_id = submit(store, "deaf", child=str(child_path), kill_proof=kill_proof)
    until(lambda: child_path.exists() and child_path.read_text())
    child = psutil.Process(int(child_path.read_text()))
    jobs.cancel(job_id, store_path=store)
    job = jobs.wait_for(job_id, timeout=15, store_path=store)
    assert (job.state, job.message) == ("cancelled", "Cancelled. Finished work is stored.")
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


def test_process_that_cannot_be_started(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_processes, "_worker_command", lambda folder, job_id: [str(store / "absent")])
    job = jobs.read_job(submit(store), store_path=store)
    assert job.state == "failed" and "cannot be started" in job.message
