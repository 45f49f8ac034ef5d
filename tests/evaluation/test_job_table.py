"""The table of jobs: its rows in and out."""

from __future__ import annotations

from pathlib import Path

import pytest

from icl_core.errors import JobError
from icl_core.evaluation import job_table, jobs

INSERT = "INSERT INTO jobs (kind, title, payload, device, created) VALUES"


def test_damaged_table_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(JobError, match="cannot be used"):
        jobs.list_jobs(store_path=tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("state", "asleep"), ("total", "many"), ("started", "noon"), ("ended", 1e300), ("title", b"bytes"), ("pid", 1.5)],
)
def test_a_row_that_no_job_can_have_harms_only_itself(field: str, value: object, tmp_path: Path) -> None:
    with job_table.job_table(tmp_path) as table:
        for title in ("first", "second", "third"):
            table.execute(f"{INSERT} ('dance', ?, '{{}}', 'cpu', 1)", (title,))
        job_table.update(table, 2, **{field: value})
        found = job_table.rows_of(table)
        assert [(job.id, job.kind, job.created) for job in found] == [(1, "dance", 1.0), (3, "dance", 1.0)]
        with pytest.raises(JobError, match="there is no job 2; the known ones are 1, 3"):
            job_table.job_of(table, 2)


def test_a_failed_write_is_undone(tmp_path: Path) -> None:
    with job_table.job_table(tmp_path) as table:
        table.execute(f"{INSERT} ('train', 't', '{{}}', 'cpu', 1)")
    with pytest.raises(KeyError), job_table.job_table(tmp_path) as table:
        job_table.update(table, 1, title="other")
        raise KeyError
    with job_table.job_table(tmp_path, to_write=False) as table:
        assert job_table.job_of(table, 1).title == "t"


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [("cpu", "cpu", True), ("cpu", "cuda:0", False), ("auto", "cuda:1", True), ("none", "none", False)],
)
def test_which_devices_stand_in_each_others_way(first: str, second: str, conflict: bool) -> None:
    assert job_table.conflict(first, second) is job_table.conflict(second, first) is conflict


@pytest.mark.parametrize(
    ("values", "share", "seconds"),
    [
        ({}, 0, None),
        ({"done": 3, "total": 12, "started": 100.0}, 0.25, None),
        ({"done": 13, "total": 12, "started": 100.0, "ended": 160.5}, 1, 60.5),
        ({"ended": 160.5}, 0, None),
    ],
    ids=["waits", "runs", "did more than was counted", "cancelled before its start"],
)
def test_how_far_a_job_is_and_how_long_it_took(
    values: dict[str, float], share: float, seconds: float | None, tmp_path: Path
) -> None:
    with job_table.job_table(tmp_path) as table:
        table.execute(f"{INSERT} ('train', 't', '{{}}', 'cpu', 1)")
        job_table.update(table, 1, state="running", **values)
        job = job_table.job_of(table, 1)
    assert (job.share_done, job.seconds_taken) == (share, seconds)
