"""Asking for long work, looking at it, and cancelling it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icl_core.errors import JobError
from icl_core.evaluation import jobs
from tests.support.working_jobs import lay_worker, submit


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return lay_worker(tmp_path, monkeypatch)


def test_waiting_job_is_cancelled_at_once(store: Path) -> None:
    first = submit(store, n=10, seconds=0.2)
    second = submit(store)
    assert jobs.cancel(second, store_path=store).state == "cancelled"
    with pytest.raises(JobError, match="only a job that has ended"):
        jobs.resume(first, store_path=store)
    jobs.cancel(first, store_path=store)
    jobs.wait_for(first, timeout=10, store_path=store)


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


def test_payload_is_plain_json(store: Path) -> None:
    job_id = submit(store, n=0)
    assert json.loads(jobs.read_job(job_id, store_path=store).payload)["n"] == 0
    with pytest.raises(ValueError, match="not JSON compliant"):
        submit(store, n=float("nan"))
