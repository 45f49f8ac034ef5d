"""Evaluating in a real browser: a folder of one's own, the shipped suite, closed tabs, cancelling."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from icl_core.evaluation.job_table import Job
from icl_core.evaluation.jobs import list_jobs
from icl_core.models.listing import embedded_members
from tests.e2e.conftest import App, Tab, running_app
from tests.support.tiny_models import save_trajectory

pytestmark = pytest.mark.e2e

TASK = "task=tiny_size"


@pytest.fixture(scope="module")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoint folders of a random model."""
    return save_trajectory(tmp_path_factory.mktemp("checkpoints") / "random-run")


def ended(app: App, *, within: float = 300) -> Job:
    """The newest job once it has ended."""
    deadline = time.monotonic() + within
    while (job := list_jobs(store_path=app.store)[0]).is_live:
        assert time.monotonic() < deadline, job
        time.sleep(0.2)
    return job


def test_own_folder_from_the_form_to_the_curves(own_app: App, own_run: Path, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{own_app.url}/evaluate?model=&local={own_run}&{TASK}&seeds=13&shots=4&examples=20", "= 9 cells")
    tab.says("9 to compute")
    tab.page.locator(".st-key-start button").click()
    expect(tab.page.get_by_role("button", name="Cancel")).to_be_visible()
    job = ended(own_app)
    assert job.state == "done", job.message
    tab.says("Every cell is stored already")
    tab.to_page("Dynamics")
    tab.says("At step 2,000")
    expect(tab.page.locator(".st-key-chart-curves-0 svg.marks").first).to_be_visible()
    assert tab.foreign == []
    assert not own_app.loads_torch()


def test_a_job_is_told_of_where_it_was_started_and_outlives_server_and_tab(
    own_run: Path, shipped_store: Path, tmp_path: Path, new_tab: Callable[[], Tab]
) -> None:
    store = shutil.copytree(shipped_store, tmp_path / "store")
    seeds = ",".join(map(str, range(1, 41)))
    query = f"evaluate?model=&local={own_run}&{TASK}&shots=16&examples=900&seeds={seeds}"
    tab = new_tab()
    with running_app(store, tmp_path / "first.log") as app:
        tab.open(f"{app.url}/{query}", "= 360 cells")
        start = tab.page.locator(".st-key-start button")
        start.scroll_into_view_if_needed()
        tab.settled()
        before = start.bounding_box()
        start.click()
        expect(tab.page.get_by_test_id("stToast")).to_contain_text("is running")
        expect(start).to_have_text("Running")
        expect(start).to_be_disabled()
        assert before and start.bounding_box() and start.bounding_box()["y"] == before["y"], "nothing above it moved"
        line = tab.page.get_by_test_id("stSidebar").locator("[class*=st-key-job-line]")
        expect(line).to_contain_text(re.compile(r"[1-9]\d* of 360 cells"))
        expect(tab.page.locator(".st-key-chart-timeline svg.marks")).to_contain_text("running")
        tab.to_page("Lab")
        tab.says("What makes in-context learning emerge")
        expect(line).to_contain_text("of 360 cells")
    port = int(app.url.rpartition(":")[2])
    with running_app(store, tmp_path / "second.log", port=port) as app:
        tab.open(f"{app.url}/{query}", "= 360 cells")
        job = list_jobs(store_path=store)[0]
        assert job.is_live, job.message
        expect(line).to_contain_text("of 360 cells")
        expect(start).to_have_text("Running")
        tab.page.close()
        other = new_tab()
        other.open(f"{app.url}/evaluate", "of 360 cells")
        other.page.get_by_role("button", name="Cancel").click()
        assert ended(app).state == "cancelled"
        expect(other.page.get_by_test_id("stToast")).to_contain_text("Cancelled.")
        expect(other.page.locator("[class*=st-key-job-line]")).to_have_count(0)
        other.page.get_by_text(f"Job {job.id} · cancelled").click()
        expect(other.page.get_by_role("button", name="Resume")).to_be_visible()


def test_uploaded_file_becomes_a_task(own_app: App, new_tab: Callable[[], Tab], tmp_path: Path) -> None:
    rows = "\n".join(f"sentence number {n},{'good' if n % 2 else '<b>bad</b>'}" for n in range(60))
    path = tmp_path / "my task.csv"
    path.write_text(f"text,label\n{rows}\n")
    tab = new_tab()
    tab.open(f"{own_app.url}/evaluate?model=someone-model", "Tasks")
    tab.page.get_by_text("A file of your own").first.click()
    tab.page.locator(".st-key-upload input[type=file]").set_input_files(path)
    tab.says("my task-")
    tab.says("3 tasks")
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n1,2\n")
    tab.page.locator(".st-key-upload input[type=file]").set_input_files(bad)
    tab.says("lacks the column text and label")


@pytest.mark.skipif(not embedded_members(), reason="needs the shipped suite; un-skip when its weights are there")
def test_shipped_suite_from_home_to_competition(clean_app: App, new_tab: Callable[[], Tab]) -> None:
    member = embedded_members()[0]
    tab = new_tab()
    tab.open(clean_app.url, "ICL Observatory")
    tab.page.locator(".st-key-door-evaluate button").click()
    tab.says("What will it cost")
    tab.page.get_by_role("radio", name="Evenly spaced").click()
    tab.says("9 checkpoints chosen")
    count = tab.control("page_checkpoints")
    count.fill("3")
    count.press("Enter")
    tab.says("3 checkpoints chosen")
    for key, value in (("seeds", "7"), ("examples", "40")):
        field = tab.control(f"page_{key}")
        field.fill(value)
        field.press("Enter")
        tab.address_holds(f"{key}={value}")
    tab.says("1 seed")
    tab.page.locator(".st-key-start button").click()
    expect(tab.page.get_by_role("button", name="Cancel")).to_be_visible()
    job = ended(clean_app)
    assert job.state == "done", job.message
    tab.says("Every cell is stored already")
    tab.to_page("Dynamics")
    tab.says(member)
    expect(tab.page.locator(".st-key-chart-curves-0 svg.marks").first).to_be_visible()
    for ability in ("ICL", "TR", "TL"):
        expect(tab.page.locator(".st-key-chart-curves-0 svg.marks text", has_text=ability).first).to_be_visible()
    tab.to_page("Competition")
    tab.says("at epsilon 0.01")
    tab.page.get_by_role("button", name="reference code 0.0001").click()
    tab.says("at epsilon 0.0001")
    tab.address_holds("eps=0.0001", "examples=40", "seeds=7")
    sentence = tab.page.locator(".st-key-finding").inner_text()
    tab.page.reload()
    tab.says("at epsilon 0.0001")
    assert tab.page.locator(".st-key-finding").inner_text() == sentence
    assert tab.foreign == []
    assert not clean_app.loads_torch()
