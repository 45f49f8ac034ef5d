"""What every page says of a job: how far it is, how long it takes, and how it ended."""

from __future__ import annotations

from typing import Any

import pytest

from pages.ui.words import job_words
from pages.ui.words.written import when
from tests.support.jobs import job
from tests.support.said import after, assert_well_formed, numbers

RUNNING: dict[str, Any] = {"state": "running", "done": 5}


@pytest.mark.parametrize(
    ("kind", "name", "unit"),
    [("evaluate", "Job", "cells"), ("train", "Training", "steps"), ("estimate", "Cost question", "checkpoints")],
)
def test_each_kind_has_its_name_and_its_unit(kind: str, name: str, unit: str) -> None:
    assert job_words.title(job(kind=kind)) == f"{name} 3"
    assert job_words.done_of_all(job(kind=kind, done=1234, total=5678)) == f"1,234 of 5,678 {unit}"
    assert job_words.done_of_all(job(kind=kind, total=1)) == f"0 of 1 {unit[:-1]}"
    assert job_words.progress(job(kind=kind)).startswith("Waiting")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "5 of 12 cells"),
        ({"total": 0, "message": "Loading *it*."}, r"Loading \*it\*\."),
        ({"total": 0}, "Starting"),
        ({"units_per_second": 0.25}, "5 of 12 cells · 4 s per cell"),
        ({"units_per_second": 2.25}, "5 of 12 cells · 2.2 cells per second"),
        ({"units_per_second": 31.4}, "5 of 12 cells · 31 cells per second"),
        ({"units_per_second": 31.4, "kind": "train"}, "5 of 12 steps · 31 steps per second"),
        ({"eta_seconds": 125}, "5 of 12 cells · 2 min 5 s to go"),
        ({"eta_seconds": 125, "kind": "train"}, "5 of 12 steps · 2 min 5 s to go"),
        ({"eta_seconds": 125, "kind": "estimate"}, "5 of 12 checkpoints · 2 min 5 s to go"),
        ({"eta_seconds": 0.0, "done": 12}, "12 of 12 cells"),
        ({"cancel_asked": 1.0}, "5 of 12 cells · stopping after the running cell"),
        ({"cancel_asked": 1.0, "kind": "train"}, "5 of 12 steps · stopping; what is trained is kept"),
        ({"cancel_asked": 1.0, "kind": "estimate"}, "5 of 12 checkpoints · stopping"),
    ],
)
def test_a_running_job_says_units_speed_time_left_and_whether_it_stops(values: dict[str, Any], said: str) -> None:
    assert job_words.progress(job(**RUNNING | values)) == said


def test_notices_name_the_job_and_what_became_of_it() -> None:
    assert "is running" in job_words.started(job(state="running"))
    assert "waits for its device" in job_words.started(job())
    failed = job_words.ended(job(state="failed", message="Out of memory."))
    assert failed.startswith("**Job 3** is failed. Out of memory")
    assert job_words.ended(job(state="cancelled", message="Cancelled. 5 done.")).startswith("**Job 3**. Cancelled")


@pytest.mark.parametrize(("started", "took"), [(None, None), (1_700_000_000.0, [1, 35])])
def test_an_ended_job_says_when_how_long_and_how_far(started: float | None, took: list[float] | None) -> None:
    said = job_words.outcome(job(state="done", started=started, ended=1_700_000_095.0, done=7, message="All done."))
    assert when(1_700_000_000.0) in said and after(said, ";", 2) == [7, 12]
    assert ("took" in said) == (took is not None)
    if took is not None:
        assert after(said, "took", 2) == took
    assert_well_formed(said.replace("  \n", " "))


def test_a_table_that_cannot_be_read_is_one_sentence_with_its_reason() -> None:
    said = job_words.cannot_be_used("the job table is damaged.")
    assert_well_formed(said)
    assert "damaged. Results" in said.replace("\\", "") and not numbers(said)


# In whole sentences


@pytest.mark.parametrize(
    ("kind", "said"),
    [("evaluate", "Waiting for its device"), ("train", "Waiting for the processor"), ("estimate", "Waiting")],
)
def test_each_kind_waits_in_its_own_words(kind: str, said: str) -> None:
    assert job_words.progress(job(kind=kind)) == said


@pytest.mark.parametrize(
    ("per_second", "said"),
    [
        (0.999, "1 s per cell"),
        (1.0, "1.0 cells per second"),
        (9.94, "9.9 cells per second"),
        (10.0, "10 cells per second"),
        (1234.5, "1,234 cells per second"),
    ],
)
def test_the_speed_is_per_second_or_per_unit(per_second: float, said: str) -> None:
    both = job(**RUNNING, units_per_second=per_second, eta_seconds=0.0)
    assert job_words.progress(both) == f"5 of 12 cells · {said} · under 1 s to go"


def test_notices_and_outcomes_read_whole() -> None:
    sidebar = "The sidebar of every page shows how far it is."
    assert job_words.started(job(state="running")) == f"**Job 3** is running. {sidebar}"
    assert job_words.started(job(kind="train")) == f"**Training 3** waits for the processor. {sidebar}"
    assert job_words.ended(job(state="failed", message="*It* broke.")) == r"**Job 3** is failed. \*It\* broke\."
    assert job_words.ended(job(state="cancelled", message="Cancelled.")) == r"**Job 3**. Cancelled\."
    asked = when(1_700_000_000.0)
    timed = job(state="done", started=1_700_000_000.0, ended=1_700_000_095.0, done=7, message="*All*.")
    assert job_words.outcome(timed) == f"\\*All\\*\\.  \nAsked for on {asked}, took 1 min 35 s; 7 of 12 cells."
    untimed = job(kind="train", state="cancelled", done=1, total=1, message="No.")
    assert job_words.outcome(untimed) == f"No\\.  \nAsked for on {asked}; 1 of 1 step."
    assert job_words.cannot_be_used("*It* is damaged..") == (
        r"Jobs cannot be shown or started: \*It\* is damaged. Results are not affected."
    )
