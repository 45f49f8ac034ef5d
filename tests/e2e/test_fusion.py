"""The fusion page in a real browser: a live w, members by hand, mixed parameters from button to result."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from icl_core.evaluation.fusion_data import fusion_study
from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from icl_core.models.listing import local_checkpoints
from tests.e2e.conftest import App, Tab, running_app
from tests.support.made_up import fill, made_up_study
from tests.support.tiny_models import save_task_file, save_trajectory

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory, shipped_store: Path) -> Iterator[App]:
    """A server whose store has a made-up study and the real results of two tiny checkpoints, both splits each."""
    folder = tmp_path_factory.mktemp("fusion")
    store = Store.open(shutil.copytree(shipped_store, folder / "store"))
    fill(store, fusion_study(made_up_study(n_test=100)))
    refs = local_checkpoints(save_trajectory(folder / "run", (0, 1000)))
    task = f"file:{save_task_file(folder / 'films.jsonl')}"
    settings = ("gold", "random", "abstract")
    study = Study(refs, (task,), settings, (13, 21), n_shots=4, n_test=20)
    run_study(dataclasses.replace(study, splits=("dev", "test")), store, device="cpu", offline=True)
    with running_app(folder / "store", folder / "server.log") as running:
        yield running


def test_w_is_live_in_sentence_chart_and_address(laboratory: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{laboratory.url}/fusion?model=someone-model", "fused with adaptive weights")
    tab.says("At w = 0.50")
    chart = tab.page.locator(".st-key-chart-weights svg.marks")
    expect(chart).to_be_visible()
    box = chart.bounding_box()
    assert box is not None and box["y"] + box["height"] / 2 < 900, "the main chart is not on the first screen"
    before = chart.inner_html()
    tab.page.locator('.st-key-w input[type="range"]').press("ArrowRight")
    tab.says("At w = 0.51")
    tab.address_holds("w=0.51")
    tab.page.wait_for_function(
        "before => document.querySelector('.st-key-chart-weights svg.marks')?.innerHTML !== before", arg=before
    )
    again = new_tab()
    again.open(tab.page.url, "At w = 0.51")
    expect(again.page.get_by_test_id("stException")).to_have_count(0)
    assert tab.foreign == [] and not laboratory.loads_torch()


def test_members_by_hand_and_each_tab(laboratory: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{laboratory.url}/fusion?model=someone-model", "fused with adaptive weights")
    pair = re.findall(r"step [\d,]+ \(T[RL]\)", tab.page.locator(".st-key-finding").inner_text())
    tab.page.get_by_role("radio", name="By hand").click()
    tab.address_holds("members=By+hand")
    expect(tab.page.locator(".st-key-tl_at")).to_be_visible()
    for member in pair:
        tab.says(member)
    for name, said in (
        ("Cost", "TFLOPs: operations of one whole prompt"),
        ("Selection", "as in Table 3 of the paper"),
        ("Queries", "The two members agree on"),
        ("Mixed parameters", "have not been mixed and evaluated yet"),
        ("Tasks", "Gains in percentage points"),
    ):
        tab.page.get_by_role("tab", name=name).click()
        tab.says(said)
        expect(tab.page.get_by_test_id("stException")).to_have_count(0)


def test_parameters_are_mixed_by_a_job_and_join_the_chart(laboratory: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{laboratory.url}/fusion?model=run&fusion_part=Mixed+parameters", "have not been mixed")
    field = tab.page.locator(".st-key-mix_weights input")
    field.fill("0, 0.5, 1")
    field.press("Enter")
    tab.page.get_by_role("button", name=re.compile("Evaluate 3 mixtures")).click()
    tab.says("is done")
    tab.page.wait_for_selector('.st-key-chart-weights svg.marks [aria-label*="w=0.5"]', state="attached")
    store = Store.open(Path(laboratory.store))
    mixed = {summary.revision: summary for summary in store.summaries() if summary.spec.checkpoint.source == "fused"}
    assert set(mixed) == {"w=0", "w=0.5", "w=1"}
