"""A page under many fast changes, in two windows, and the server's memory over many interactions."""

from __future__ import annotations

import re
from collections.abc import Callable

import psutil
import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import App, Tab

pytestmark = pytest.mark.e2e

MADE_UP = "model=someone-model"
STEPS = 30


def sentence(tab: Tab) -> str:
    return tab.page.locator(".st-key-finding").inner_text()


def epsilon(n: int) -> str:
    """Epsilon after n steps of the slider from the paper's, as the sentence writes it."""
    return f"{0.01 + n * 0.0001:g}"


@pytest.mark.stands_for("streamlit/streamlit#2695", "inputs in rapid succession reset the page")
def test_thirty_changes_in_a_second_end_in_the_numbers_of_the_last(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?{MADE_UP}", "at epsilon 0.01;")
    slider = tab.page.locator('.st-key-eps input[type="range"]')
    slider.focus()
    for _ in range(STEPS):
        tab.page.keyboard.press("ArrowRight")
    tab.says(f"at epsilon {epsilon(STEPS)};")
    tab.settled()
    expect(tab.page.get_by_test_id("stException")).to_have_count(0)
    again = new_tab()
    again.open(f"{app.url}/competition?{MADE_UP}&eps={epsilon(STEPS)}", f"at epsilon {epsilon(STEPS)};")
    again.settled()
    assert sentence(tab) == sentence(again)


@pytest.mark.stands_for("streamlit/streamlit#2695", "inputs in rapid succession reset the page")
def test_two_windows_keep_their_own_numbers(app: App, new_tab: Callable[[], Tab]) -> None:
    one, two = new_tab(), new_tab()
    one.open(f"{app.url}/competition?{MADE_UP}&task=sst2", "at epsilon 0.01;")
    two.open(f"{app.url}/competition?{MADE_UP}&task=mrpc&eps=0.02", "at epsilon 0.02;")
    for _ in range(5):
        for tab in (one, two):
            tab.page.locator('.st-key-eps input[type="range"]').press("ArrowRight")
    one.says(f"at epsilon {epsilon(5)};")
    two.says(f"at epsilon {epsilon(105)};")
    one.address_holds("task=sst2", "eps=0.0105")
    two.address_holds("task=mrpc", "eps=0.0205")


def memory_mb(app: App) -> float:
    return psutil.Process(app.process.pid).memory_info().rss / 1e6


def interact(tab: Tab, first: int, n: int) -> None:
    """n changes of epsilon, each waited for, so that each computes and draws."""
    slider = tab.page.locator('.st-key-eps input[type="range"]')
    for step in range(first, first + n):
        slider.press("ArrowRight")
        expect(tab.page.locator(".st-key-finding")).to_contain_text(re.compile(rf"epsilon {epsilon(step + 1)};"))


@pytest.mark.slow
@pytest.mark.stands_for("streamlit/streamlit#4852", "reruns made the server's memory grow without end")
def test_memory_stays_over_a_hundred_interactions(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?{MADE_UP}", "at epsilon 0.01;")
    interact(tab, 0, 300)  # every cache that is bounded by a number of entries is full
    before = memory_mb(app)
    interact(tab, 300, 100)
    after = memory_mb(app)
    assert after - before < 25, f"{before:.0f} MB before, {after:.0f} MB after a hundred interactions"
