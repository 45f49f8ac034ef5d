"""The paper page in a real browser: panels, epsilon, and the way from a gap to the evaluate page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import App, Tab

pytestmark = pytest.mark.e2e

MADE_UP = "model=someone-model"


def test_panel_and_epsilon_are_in_the_address(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/paper?{MADE_UP}", "the paper reports r = −0.714")
    expect(tab.page.locator(".st-key-chart-scatter svg").first).to_be_visible()
    expect(tab.page.locator(".st-key-chart-scatter svg text", has_text="someone-model").first).to_be_visible()
    tab.page.get_by_role("button", name="reference code 0.0001").click()
    tab.address_holds("eps=0.0001")
    tab.page.locator(".st-key-panel button", has_text="Table 7").click()
    tab.says("Table 7b: Number of demonstrations")
    tab.address_holds("panel=Table+7")
    again = new_tab()
    again.open(tab.page.url, "Table 7b: Number of demonstrations")
    assert tab.foreign == []
    assert not app.loads_torch()


def test_from_a_gap_to_the_evaluate_page(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/paper?{MADE_UP}&panel=Fig.+1", "Fig. 1: ICL, TR and TL over pre-training")
    tab.says("None of these models has results")
    tab.page.get_by_text("Missing: MiniCPM-2B, Amber-7B (2 models)").click()
    tab.says("to compute")
    tab.page.get_by_role("button", name="Take this study to Evaluate").click()
    tab.says("34 checkpoints × 16 tasks × 3 settings × 2 seeds")
    tab.address_holds("model=minicpm-2b", "model=amber-7b")
    assert tab.foreign == []


def test_models_compared_over_the_store(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?{MADE_UP}&part=Models+compared", "Mean intensity against final ICL")
    expect(tab.page.locator(".st-key-chart-scatter svg").first).to_be_visible()
    tab.page.locator(".st-key-comparison button", has_text="R over training").click()
    tab.says("Mean intensity: someone-model")
    tab.address_holds("comparison=R+over+training")
