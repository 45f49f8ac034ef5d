"""Being a job: a process that beats, works, and notes how it ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from icl_core.errors import JobError
from icl_core.evaluation import job_processes, job_worker, jobs
from tests.support.working_jobs import lay_worker, submit, until


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return lay_worker(tmp_path, monkeypatch)


def test_cancel_lets_the_unit_finish(store: Path) -> None:
    job_id = submit(store, n=100, seconds=0.1)
    until(lambda: (store / "marks" / "0").exists())
    jobs.cancel(job_id, store_path=store)
    job = jobs.wait_for(job_id, timeout=10, store_path=store)
    assert job.state == "cancelled" and job.message.startswith("Cancelled. Stopped after ")
    with pytest.raises(JobError, match="is cancelled and cannot be cancelled"):
        jobs.cancel(job_id, store_path=store)


def test_sigterm_ends_cleanly(store: Path) -> None:
    job_id = submit(store, n=2, seconds=30)
    until(lambda: jobs.read_job(job_id, store_path=store).beat is not None)
    time.sleep(0.3)
    pid = jobs.read_job(job_id, store_path=store).pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    job = jobs.wait_for(job_id, timeout=10, store_path=store)
    assert (job.state, job.message) == ("cancelled", "Stopped by a signal; finished work is stored.")


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


def test_work_refuses_a_job_that_has_ended(store: Path) -> None:
    job_id = submit(store, n=0)
    jobs.wait_for(job_id, timeout=20, store_path=store)
    with pytest.raises(JobError, match="is done, so this process cannot do it"):
        job_worker.work(job_id, {}, store_path=store)
    with pytest.raises(JobError, match=f"no job 99; the known ones are {job_id}"):
        jobs.read_job(99, store_path=store)
