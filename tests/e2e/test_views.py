"""Looking at results in a real browser: addresses, clicks, keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError, expect

from app import PAGES
from tests.e2e.conftest import App, Tab

pytestmark = pytest.mark.e2e

TITLES = {"": "ICL Observatory"} | {name: name.capitalize() for name in PAGES}
MADE_UP = "model=someone-model"


OFTEN = ("", "competition", "playground")
"""Pages whose first visit is part of every run of the tests; the others' is with the sweep."""


@pytest.mark.parametrize(
    "path", [path if path in OFTEN else pytest.param(path, marks=pytest.mark.sweep) for path in TITLES]
)
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
    tab.to_page("Dynamics")
    tab.says("How do ICL, TR and TL develop")
    tab.address_holds("task=mrpc")
    tab.to_page("Competition")
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
    number = tab.page.get_by_role("spinbutton", name="epsilon")
    tab.one(number).fill("0.1")
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


def pick_models(tab: Tab, name: str) -> None:
    """Empties the models in the sidebar and picks one; both by the controls there."""
    line = tab.page.locator(".st-key-line-models")
    line.locator("summary").click()
    tab.page.locator(".st-key-sidebar-model-None button").click()
    expect(line.locator("summary")).to_contain_text("none")
    option = tab.page.get_by_role("option", name=name, exact=True)
    while not option.count():  # what is typed while the page is drawn anew is lost
        tab.settled()
        tab.one(tab.page.locator(".st-key-model input")).fill(name)
        with suppress(TimeoutError):
            option.wait_for(timeout=10_000)
    option.click()
    tab.says(name)
    tab.page.keyboard.press("Escape")
    line.locator("summary").click()


def test_a_box_shows_what_the_chart_shows_after_its_options_have_changed(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/dynamics?{MADE_UP}&tab=One+checkpoint&on=sst2", "On sst2, at step 990")
    at, shown = (tab.page.locator(f".st-key-{key} input") for key in ("at", "on"))
    expect(at).to_have_value("someone-model step 990")
    expect(shown).to_have_value("sst2")
    pick_models(tab, "other-model")
    tab.says("At step 100, other-model has")
    expect(at).to_have_value("other-model step 100")
    expect(shown).to_have_value("Mean over tasks")
    tab.page.get_by_role("button", name="Undo").click()
    tab.says("names no model")
    pick_models(tab, "someone-model")
    tab.says("At step 990, someone-model has")
    expect(at).to_have_value("someone-model step 990")


def test_study_stays_when_its_user_leaves_before_the_boxes_are_ready(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?{MADE_UP}&eps=0.05", "at epsilon 0.05;")
    tab.to_page("Dynamics")
    tab.settled()
    tab.page.get_by_role("radio", name="linear").click()
    tab.address_holds("scale=linear", MADE_UP)
    tab.settled()
    expect(tab.page.locator(".st-key-line-models summary")).to_contain_text("someone-model")
    tab.to_page("Competition")
    tab.says("at epsilon 0.05;")
    tab.settled()
    tab.to_page("Dynamics")
    tab.settled()
    tab.page.go_back()
    tab.is_at("Competition")
    tab.says("at epsilon 0.01;")
    expect(tab.page.get_by_test_id("stSidebar")).to_contain_text("have been reset")
    tab.page.get_by_role("button", name="Bring them back").click()
    tab.says("at epsilon 0.05;")
    tab.address_holds("eps=0.05", MADE_UP)
    expect(tab.page.get_by_role("button", name="Bring them back")).to_have_count(0)


def test_one_view_in_a_second_window_after_a_reload_and_on_the_way_back(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    study = "model=someone-model&task=mrpc&seeds=13"
    tab.open(f"{app.url}/dynamics?{study}", "over 1 seed and 200 queries")
    tab.to_page("Competition")
    tab.says("at epsilon 0.01;")
    tab.settled()
    tab.address_holds(*study.split("&"))
    here = tab.page.locator(".st-key-finding").inner_text()
    tab.page.go_back()  # one step is one page, whatever the boxes wrote into its address
    tab.is_at("Dynamics")
    tab.says("over 1 seed and 200 queries")
    tab.address_holds(*study.split("&"))
    tab.page.go_forward()
    tab.is_at("Competition")
    tab.says(here)
    tab.page.locator(".st-key-line-models summary").click()
    tab.page.locator(".st-key-sidebar-model-None button").click()
    tab.says("names no model")
    tab.address_holds("none=model", "task=mrpc")
    second = new_tab()
    second.open(tab.page.url, "names no model")
    tab.page.reload()
    tab.says("names no model")
    for window in (tab, second):
        window.to_page("Dynamics")
        window.says("names no model")
        window.address_holds("task=mrpc")
        window.page.reload()
        window.says("names no model")


@pytest.mark.usefixtures("clean_app")
def test_a_server_starts_without_a_complaint(tmp_path: Path) -> None:
    said = (tmp_path / "server.log").read_text()
    assert not [line for line in said.splitlines() if re.match(r"\d{4}-\d\d-\d\d ", line)], said
