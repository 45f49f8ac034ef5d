"""What pages say of jobs while they wait, run and end: in the sidebar, beside the button, on the timeline, on home."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from icl_core.evaluation import cost, job_processes, job_table, job_worker, jobs
from icl_core.evaluation.job_table import NO_DEVICE
from icl_core.evaluation.jobs import read_job, submit, submit_payload
from icl_core.evaluation.rates import MeasuredCell, note
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.owners import this_place
from tests.support.made_up import made_up_record

OPTIONS = {"model": "someone-model", "task": ["sst2", "mrpc"], "seeds": "13, 21, 42", "examples": "200"}
"""A study of 180 cells, of which the filled store holds the 120 of two seeds."""
PAGES = ("home", "evaluate", "dynamics", "competition", "fusion", "playground", "lab", "paper")


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs enter the table, but nobody works them."""
    monkeypatch.setattr(job_processes, "_launch", lambda folder, job_id: None)


def set_job(folder: Path, job_id: int, **values: object) -> None:
    """Makes a job what it would be if this process worked it."""
    me = psutil.Process()
    alive = {"host": this_place(), "pid": os.getpid(), "pid_started": me.create_time(), "beat": time.time()}
    with job_table.job_table(folder) as table:
        job_table.update(table, job_id, **({"state": "running"} | alive | values))


@pytest.fixture
def asked(fill_store: Callable[..., Study]) -> Study:
    """The study of ``OPTIONS``; two thirds of it are stored."""
    return dataclasses.replace(fill_store(), demo_seeds=(13, 21, 42))


def words(app: AppTest) -> str:
    said = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error]
    return "\n".join(str(item.value) for item in said)


def line(app: AppTest) -> list[str]:
    """The lines of jobs in the sidebar."""
    return [bar.proto.text for bar in app.sidebar.get("progress") if "**" in bar.proto.text]


def results(app: AppTest) -> str:
    """What the sidebar says of results."""
    return next(box.label for box in app.sidebar.expander if "Results" in box.label)


def start_button(app: AppTest) -> tuple[str, bool]:
    button = app.button(key="start")
    return button.label, button.disabled


def rows_of(app: AppTest, at: int = 0) -> list[dict[str, object]]:
    sent = app.get("vega_lite_chart")[at].proto.datasets
    return [row for part in sent for row in pyarrow.ipc.open_stream(part.data.data).read_all().to_pylist()]


# Counts


def test_the_product_is_the_number_of_cells_with_the_development_set(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study]
) -> None:
    fill_store()
    app = open_page("evaluate", **OPTIONS)
    assert "**10 checkpoints × 2 tasks × 3 settings × 3 seeds** = 180 cells" in words(app)
    app.toggle(key="dev").set_value(True).run()
    assert "**10 checkpoints × 2 tasks × 3 settings × 3 seeds × 2 splits (dev and test)** = 360 cells" in words(app)
    assert "**240** to compute, 120 stored already" in words(app)


def test_a_cancelled_job_is_not_complete_on_home(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study], store_folder: Path, no_process: None
) -> None:
    study = fill_store(only=1)
    assert {row["state"] for row in rows_of(open_page("home"), -1)} == {"complete"}
    number = submit(dataclasses.replace(study, splits=("dev", "test")), store_path=store_folder)
    set_job(store_folder, number, state="cancelled", ended=time.time(), done=12, total=240)
    fields = rows_of(open_page("home"), -1)
    assert {(row["task"], row["state"], row["text"]) for row in fields} == {
        ("sst2", "partial", "0/10"),
        ("mrpc", "partial", "0/10"),
    }


def test_a_measured_rate_is_not_called_unmeasured_and_is_not_carried_too_far(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study], store_folder: Path
) -> None:
    fill_store(only=1)
    options = {**OPTIONS, "model": "pythia-410m", "checkpoints": "0, 512"}
    for size, there, absent in (
        (200_000_000, "from cells of models of another size measured", "not be told"),
        (100_000, "The time cannot be estimated for pythia\\-410m", "days"),
    ):
        (store_folder / "rates.jsonl").unlink(missing_ok=True)
        for _ in range(3):
            note(store_folder, MeasuredCell("m", "t", "cpu", "float32", size, 100, 4000, 1000, 1e9, 2.0, 0.0))
        st.cache_data.clear()
        preflight = next(
            text for item in open_page("evaluate", **options).markdown if "to compute" in (text := item.value)
        )
        assert there in preflight and absent not in preflight and "nothing measured" not in preflight


# Running


def test_start_says_so_and_the_button_becomes_running_until_the_end(
    open_page: Callable[..., AppTest], asked: Study, store_folder: Path, no_process: None
) -> None:
    app = open_page("evaluate", **OPTIONS)
    assert start_button(app) == ("Evaluate 60 cells", False) and line(app) == []
    app.button(key="start").click().run()
    (job,) = jobs.list_jobs(store_path=store_folder)
    assert ["is running" in toast.value for toast in app.toast] == [True]
    assert start_button(app) == ("Running", True)
    store = Store.open(store_folder)
    stored = [s for s in study_cells(asked) if s.checkpoint in asked.checkpoints[:4] and s.demo_seed == 42]
    store.put_many([made_up_record(spec, wanted=0.5) for spec in stored])
    store.close()
    set_job(
        store_folder, job.id, done=50, total=180, eta_seconds=40.0, current="someone-model step440, sst2, gold, seed 13"
    )
    app.run()
    assert line(app) == [f"**Job {job.id}** · 50 of 180 cells · 40 s to go"]
    assert f"Job {job.id}: 50 of 180 cells · 40 s to go" in words(app)
    assert {row["checkpoint"]: row["state"] for row in rows_of(app)} == {
        **{f"step {step}": "stored" for step in (0, 110, 220, 330)},
        "step 440": "running",
        **{f"step {step}": "queued" for step in (550, 660, 770, 880, 990)},
    }
    app.text_input(key="page_seeds").set_value("13, 42").run()
    assert start_button(app) == ("Evaluate 36 cells", False), "another study may start"
    app.text_input(key="page_seeds").set_value("13, 21, 42").run()
    store = Store.open(store_folder)
    store.put_many([made_up_record(spec, wanted=0.5) for spec in study_cells(asked)])
    store.close()
    set_job(store_folder, job.id, state="done", ended=time.time(), done=180, message="180 of 180 cells computed.")
    app.run()
    assert [toast.value for toast in app.toast] == [f"**Job {job.id}** is done. 180 of 180 cells computed\\."]
    assert line(app) == [] and start_button(app) == ("Nothing to evaluate", True)
    app.run()
    assert not app.toast, "it is said once"


def test_every_page_has_the_line_while_a_job_runs(
    open_page: Callable[..., AppTest], asked: Study, store_folder: Path, no_process: None
) -> None:
    running = submit(asked, device="cpu", store_path=store_folder)
    waiting = submit(dataclasses.replace(asked, demo_seeds=(42,)), device="cpu", store_path=store_folder)
    set_job(store_folder, running, done=7, total=180)
    for page in PAGES:
        set_job(store_folder, running)
        app = open_page(page, model="someone-model")
        assert not app.exception, page
        assert line(app) == [f"**Job {running}** · 7 of 180 cells", f"**Job {waiting}** · Waiting for its device"], page
        assert [link.proto.label for link in app.sidebar.get("page_link") if "See" in link.proto.label] != [], page


def test_the_results_line_follows_a_running_job(
    open_page: Callable[..., AppTest], asked: Study, store_folder: Path, no_process: None
) -> None:
    submit(asked, store_path=store_folder)
    assert "120 of 180 cells" in results(open_page("dynamics", **OPTIONS))
    store = Store.open(store_folder)
    store.put_many([made_up_record(next(spec for spec in study_cells(asked) if spec.demo_seed == 42), wanted=0.5)])
    store.close()
    assert "121 of 180 cells" in results(open_page("dynamics", **OPTIONS))


def test_no_time_left_is_said_where_none_is_known_or_all_is_done(
    open_page: Callable[..., AppTest], asked: Study, store_folder: Path, no_process: None
) -> None:
    number = submit(asked, store_path=store_folder)
    for values, expected in (
        ({"done": 50, "eta_seconds": None}, "50 of 180 cells"),
        ({"done": 179, "eta_seconds": 0.4}, "179 of 180 cells · under 1 s to go"),
        ({"done": 180, "eta_seconds": 0.0}, "180 of 180 cells"),
    ):
        set_job(store_folder, number, total=180, **values)
        assert line(open_page("home")) == [f"**Job {number}** · {expected}"]
    jobs.cancel(number, store_path=store_folder)
    set_job(store_folder, number, done=50)
    assert line(open_page("home")) == [f"**Job {number}** · 50 of 180 cells · stopping after the running cell"]


def test_resume_says_so_and_becomes_running(
    open_page: Callable[..., AppTest], asked: Study, store_folder: Path, no_process: None
) -> None:
    number = submit(asked, store_path=store_folder)
    set_job(
        store_folder, number, state="cancelled", ended=time.time(), done=50, total=180, message="Cancelled. 50 done."
    )
    app = open_page("evaluate", **OPTIONS)
    assert "Cancelled\\. 50 done\\." in words(app)
    app.button(key=f"resume-{number}").click().run()
    again = jobs.list_jobs(store_path=store_folder)[0]
    assert again.resumed_from == number and again.is_live
    assert [f"**Job {again.id}** is running" in toast.value for toast in app.toast] == [True]
    button = app.button(key=f"resume-{number}")
    assert (button.label, button.disabled) == ("Running", True) and f"Job {again.id} does the rest." in words(app)
    assert start_button(app) == ("Running", True)


# Cost questions


def test_a_long_cost_question_is_a_job_with_its_answer_in_place(
    open_page: Callable[..., AppTest],
    asked: Study,
    store_folder: Path,
    no_process: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cost, "_MANY_CELLS", 100)
    app = open_page("evaluate", **OPTIONS)
    assert "**60** to compute, 120 stored already" in words(app) and "prompts" not in words(app)
    assert start_button(app) == ("Evaluate 60 cells", False), "starting needs no answer"
    app.button(key="count-cost-study").click().run()
    (job,) = jobs.list_jobs(store_path=store_folder)
    assert (job.kind, job.device) == ("estimate", NO_DEVICE)
    assert "count-cost-study" not in [button.key for button in app.button]
    assert f"cancel-{job.id}" in [button.key for button in app.button]
    assert not app.exception and line(app) == [f"**Cost question {job.id}** · Starting\\."]
    assert f"cancel-{job.id}" in [button.key for button in open_page("evaluate", model="someone-model").button], (
        "the page with another study lists it among the jobs"
    )
    assert job_worker.work(job.id, {"estimate": cost.estimate_job}, store_path=store_folder) == "done"
    app.run()
    assert "12,060 prompts" in words(app) and "its size is not known" in words(app)
    assert line(app) == [] and not [box for box in app.expander if box.label.startswith(f"Job {job.id}")]
    store = Store.open(store_folder)
    store.put_many([made_up_record(next(s for s in study_cells(asked) if s.demo_seed == 42), wanted=0.5)])
    store.close()
    app.run()
    assert "Results have come since this was counted" in words(app) and "**59** to compute" in words(app)
    jobs.submit_estimate(asked, device="auto", offline=False, store_path=store_folder)
    assert "12,060 prompts" in words(open_page("evaluate", **OPTIONS)), (
        "an older answer stays while a newer one is counted"
    )


def test_a_count_that_takes_too_long_is_given_up_and_offered_as_a_job(
    open_page: Callable[..., AppTest], asked: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.ui.panels.costs.QUICK_SECONDS", -1.0)
    app = open_page("evaluate", **OPTIONS)
    assert "takes longer than a page can wait" in words(app)
    assert "count-cost-study" in [button.key for button in app.button]


# Restart


def test_after_a_restart_of_the_server_the_job_goes_on_or_can_be_resumed(
    open_page: Callable[..., AppTest], asked: Study, store_folder: Path, tmp_path: Path
) -> None:
    """A real process, which a real kill ends; all that a server keeps in its memory is dropped in between."""
    app = open_page("evaluate", **OPTIONS)
    app.number_input(key="page_examples").set_value(199).run()
    app.button(key="start").click().run()
    (job,) = jobs.list_jobs(store_path=store_folder)
    st.cache_data.clear()
    st.cache_resource.clear()
    again = open_page("evaluate", **{**OPTIONS, "examples": "199"})
    now = read_job(job.id, store_path=store_folder)
    if now.is_live:
        assert start_button(again) == ("Running", True) and len(line(again)) == 1
    ended = jobs.wait_for(job.id, timeout=300, store_path=store_folder)
    assert ended.state == "failed" and "Nothing could be computed" in ended.message, "someone's model is not here"


def test_a_job_that_died_with_the_machine_is_said_to_be_lost_with_resume(
    open_page: Callable[..., AppTest], asked: Study, store_folder: Path, no_process: None
) -> None:
    number = submit(asked, store_path=store_folder)
    set_job(store_folder, number, pid=2**22 - 1, pid_started=1.0, beat=time.time() - 60, done=50, total=180)
    app = open_page("evaluate", **OPTIONS)
    assert line(app) == [] and start_button(app) == ("Evaluate 60 cells", False)
    assert "Its process ended unexpectedly; finished work is stored, and resume does the rest" in words(app)
    assert app.button(key=f"resume-{number}").label == "Resume"
    assert "queued" not in {row["state"] for row in rows_of(app)}


def test_jobs_of_other_kinds_are_listed_with_their_own_words(
    open_page: Callable[..., AppTest], store_folder: Path, no_process: None
) -> None:
    payload = {"config": {}}
    number = submit_payload("train", payload, title="Bursty", device=NO_DEVICE, store_path=store_folder)
    set_job(store_folder, number, done=3, total=9)
    app = open_page("evaluate")
    assert line(app) == [f"**Training {number}** · 3 of 9 steps"]
    assert json.loads(read_job(number, store_path=store_folder).payload) == payload
