"""The lab in a real browser: runs and steps picked, sliders moved, a small training finished and another cancelled."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from icl_core.evaluation.job_table import Job
from icl_core.evaluation.jobs import list_jobs, wait_for
from icl_core.pretraining.lab.config import DataKnobs, LabConfig
from tests.e2e.conftest import WAIT_MS, App, Tab, running_app
from tests.support.made_up_lab import write_made_up_run

pytestmark = pytest.mark.e2e

SMALL = "lab_n_classes=64&lab_n_dimensions=8&lab_width=16&lab_n_heads=2&lab_batch_size=16"


@pytest.fixture(scope="module")
def lab_app(tmp_path_factory: pytest.TempPathFactory, shipped_store: Path) -> Iterator[App]:
    """A server with three made-up repeats and one run with copies."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(shipped_store, folder / "store")
    for seed in (1, 2, 3):
        config = dataclasses.replace(LabConfig(n_steps=4900), init_seed=seed, data_seed=seed)
        write_made_up_run(folder / "store" / "lab", config)
    write_made_up_run(folder / "store" / "lab", LabConfig(n_steps=4900, data=DataKnobs(copy_probability=1.0)))
    with running_app(folder / "store", folder / "server.log") as running:
        yield running


def asked(app: App, tab: Tab) -> int:
    """Presses the button and gives the number of the training that it made."""
    before = len(list_jobs(store_path=app.store))
    tab.page.locator(".st-key-lab-train button").click()
    deadline = time.monotonic() + WAIT_MS / 1000
    while len(found := list_jobs(store_path=app.store)) == before:
        assert time.monotonic() < deadline, "no job appeared"
        time.sleep(0.2)
    return found[0].id


def ended(app: App, job_id: int) -> Job:
    """The training once it has ended."""
    job = wait_for(job_id, timeout=WAIT_MS / 1000, store_path=app.store)
    assert not job.is_live, job
    return job


def test_runs_are_picked_and_the_step_is_scrubbed(lab_app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{lab_app.url}/lab?labrun=K+512,+steps+4900&labpart=Attention", "K 512, steps 4900")
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    expect(tab.page.locator(".st-key-chart-lab-curves-0 svg.marks text", has_text="CIWL").first).to_be_visible()
    tab.says("3 seeds")
    picker = tab.page.locator(".st-key-labrun input")
    picker.fill("copy 1, steps 4900")
    tab.page.get_by_role("option", name="K 512, copy 1, steps 4900").click()
    expect(tab.page.locator(".st-key-chart-lab-curves-1 svg.marks").first).to_be_visible()
    tab.page.keyboard.press("Escape")
    tab.says("Step 5,000, best heads")
    scrubber = tab.page.locator(".st-key-labstep input[type=range], .st-key-labstep [role=slider]").first
    scrubber.focus()
    tab.page.keyboard.press("ArrowLeft")
    tab.says("Step 2,000, best heads")
    tab.address_holds("labstep=")
    tab.page.reload()
    tab.says("Step 2,000, best heads")
    assert tab.foreign == []
    assert not lab_app.loads_torch()


def test_a_slider_of_the_minimal_model_redraws_it(lab_app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{lab_app.url}/lab?lab=Minimal+model", "fades in all of them")
    expect(tab.page.locator(".st-key-chart-min-outcomes svg.marks").first).to_be_visible()
    slider = tab.page.locator(".st-key-min_mu1 input[type=range], .st-key-min_mu1 [role=slider]").first
    slider.focus()
    tab.page.keyboard.press("Home")
    tab.says("stays in all of them")
    tab.address_holds("min_mu1=0")
    tab.page.get_by_role("button", name="d frozen").click()
    tab.says("CIWL is learned in 0 of 16")
    assert tab.foreign == []
    assert not lab_app.loads_torch()


def test_a_small_run_is_trained_to_its_end(lab_app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{lab_app.url}/lab?lab=Train+a+run&{SMALL}&lab_n_steps=60", "60 steps of 16 sequences")
    job = ended(lab_app, asked(lab_app, tab))
    assert job.state == "done", job.message
    tab.says(f"Training {job.id} · done")
    tab.page.locator(".st-key-lab-show button").click()
    tab.says("at step 60")
    expect(tab.page.locator(".st-key-labrun")).to_contain_text("K 64")
    tab.page.get_by_role("tab", name="TR and TL").click()
    tab.page.get_by_role("button", name="Open in Competition").click()
    tab.says("Do task recognition and task learning really compete")
    tab.says("at epsilon 0.01")
    tab.address_holds("model=lab-K-64")
    assert not lab_app.loads_torch()


def test_a_training_survives_its_tab_and_is_cancelled_from_another(lab_app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{lab_app.url}/lab?lab=Train+a+run&{SMALL}&lab_n_steps=50000", "50,000 steps of 16 sequences")
    number = asked(lab_app, tab)
    expect(tab.page.get_by_role("button", name="Cancel")).to_be_visible()
    tab.page.close()
    other = new_tab()
    other.open(f"{lab_app.url}/lab?lab=Train+a+run", "of 50,000 steps")
    other.page.get_by_role("button", name="Cancel").click()
    job = ended(lab_app, number)
    assert job.state == "cancelled", job.message
    other.says(f"Training {job.id} · cancelled")
    other.page.get_by_text(f"Training {job.id} · cancelled").click()
    expect(other.page.get_by_role("button", name="Resume")).to_be_visible()
