"""Looking at results in a real browser: addresses, clicks, keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from app import PAGES
from tests.e2e.conftest import App, Tab

pytestmark = pytest.mark.e2e

TITLES = {"": "ICL Observatory"} | {name: name.capitalize() for name in PAGES}
MADE_UP = "model=someone-model"


@pytest.mark.parametrize("path", TITLES)
def test_first_visit_of_a_fresh_server(path: str, fresh_app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{fresh_app.url}/{path}", TITLES[path])
    tab.settled()
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    expect(tab.page.get_by_test_id("stException")).to_have_count(0)
    expect(tab.page.get_by_test_id("stSidebarNavLink")).to_have_count(len(TITLES))
    expect(tab.page.get_by_test_id("stSidebar")).to_contain_text("Settings")
    assert tab.foreign == []
    assert not fresh_app.loads_torch()


def test_same_address_same_view(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?{MADE_UP}", "at epsilon 0.01")
    slider = tab.page.locator('.st-key-eps input[type="range"]')
    slider.press("ArrowRight")
    tab.address_holds("eps=0.0101")
    tab.says("at epsilon 0.0101")
    tab.page.get_by_role("tab", name="Epsilon").click()
    tab.address_holds("part=Epsilon", "eps=0.0101")
    again = new_tab()
    again.open(tab.page.url, "at epsilon 0.0101")
    again.says("One standard error of a change")


def test_page_switch_keeps_the_study_in_the_address(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?{MADE_UP}&task=mrpc&eps=0.02", "at epsilon 0.02")
    tab.page.get_by_test_id("stSidebarNavLink").filter(has_text="Dynamics").click()
    tab.says("How do ICL, TR and TL develop")
    tab.address_holds("task=mrpc")
    tab.page.get_by_test_id("stSidebarNavLink").filter(has_text="Competition").click()
    tab.says("at epsilon 0.02")
    tab.address_holds("task=mrpc", "eps=0.02")
    tab.page.reload()
    tab.says("at epsilon 0.02")


def test_accumulated_intensity_follows_epsilon(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?{MADE_UP}", "at epsilon 0.01")
    panel = tab.page.locator(".st-key-chart-accumulation svg.marks")
    expect(panel).to_be_visible()
    before = panel.inner_html()
    tab.page.get_by_role("button", name="reference code 0.0001").click()
    tab.says("at epsilon 0.0001")
    tab.page.wait_for_function(
        "before => document.querySelector('.st-key-chart-accumulation svg.marks')?.innerHTML !== before", arg=before
    )
    number = tab.page.locator('[class*="st-key-eps_number"] input')
    number.fill("0.1")
    number.press("Enter")
    tab.says("R is 0/0 and is not drawn")


def test_click_on_a_point_opens_its_checkpoint(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/dynamics?{MADE_UP}", "At step 990")
    point = tab.page.locator('.st-key-chart-curves-0 svg.marks [aria-label*="step 660"]').first
    point.click(force=True)
    tab.address_holds("tab=One+checkpoint", "at=someone-model+step+660")
    tab.says("Counts over all seeds")


def test_click_on_an_interval_lists_changed_answers(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?{MADE_UP}", "Each point is an interval")
    tab.page.locator('.st-key-chart-plane svg.marks [aria-label*="step 660 to step 770"]').first.click(force=True)
    tab.address_holds("part=What+changed", "interval=step+660+to+step+770")
    tab.says("changed from step 660 to step 770")


def test_charts_are_svg_with_words_for_screen_readers(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/dynamics?{MADE_UP}", "At step 990")
    expect(tab.page.locator(".st-key-chart-curves-0 canvas")).to_have_count(0)
    expect(tab.page.locator(".st-key-chart-curves-0 [aria-label*='ICL, TR and TL']").first).to_be_attached()
