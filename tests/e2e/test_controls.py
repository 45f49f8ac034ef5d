"""Controls can be reached by mouse and by keyboard, and show what counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.e2e.conftest import App, Tab
from tests.e2e.test_walk import PAGES, keys_of

pytestmark = pytest.mark.e2e

MADE_UP = "model=someone-model"
LINES = ("models", "checkpoints", "tasks", "settings", "results")


def line(tab: Tab, name: str) -> Locator:
    return tab.page.locator(f".st-key-line-{name}")


def test_lines_of_the_study_open_on_their_arrow_and_by_keyboard(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?{MADE_UP}", "at epsilon 0.01;")
    tab.settled()
    for name in LINES:
        opened = line(tab, name).locator("details[open]")
        line(tab, name).get_by_test_id("stIconMaterial").click(delay=30)
        expect(opened).to_be_visible()
        line(tab, name).locator("summary").press("Enter")
        expect(opened).to_have_count(0)
    for name in LINES[:4]:
        line(tab, name).locator("summary").press("Enter")
        tab.page.keyboard.press("Tab")
        inside = "name => document.querySelector(`.st-key-line-${name}`).contains(document.activeElement)"
        tab.page.wait_for_function(inside, arg=name)
        line(tab, name).locator("summary").press("Enter")
    line(tab, "checkpoints").locator("summary").press("Enter")
    field = line(tab, "checkpoints").get_by_role("textbox")
    field.fill("5")
    field.press("Enter")
    expect(line(tab, "checkpoints").locator("summary")).to_contain_text("5")
    expect(field).to_be_visible()  # a new label must not close the line
    tab.address_holds("checkpoints=5")


def test_a_number_that_is_refused_does_not_stay_in_its_box(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?{MADE_UP}&eps=0.02", "at epsilon 0.02;")
    number = tab.page.get_by_role("spinbutton", name="epsilon")
    tab.one(number).fill("1")
    number.press("Enter")
    tab.says("from 0 to 0.1, so 1 is not used")
    expect(tab.one(number)).to_have_value("0.0200")
    tab.page.get_by_role("button", name="paper 0.01").click()
    tab.says("at epsilon 0.01;")
    expect(tab.one(number)).to_have_value("0.0100")
    expect(number).not_to_have_attribute("aria-invalid", "true")


def test_log_spacing_stays_log_spacing(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/evaluate?{MADE_UP}", "What will it cost")
    tab.page.get_by_role("radio", name="Log-spaced").click()
    tab.address_holds("checkpoints=log+9")
    tab.settled()
    expect(tab.page.get_by_role("radio", name="Log-spaced")).to_have_attribute("aria-checked", "true")


def test_members_by_hand_begin_with_the_pair_on_the_screen(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/fusion", "Gains in percentage points")
    tab.settled()
    before = tab.page.locator(".st-key-finding").inner_text()
    tab.page.get_by_role("radio", name="By hand").click()
    expect(tab.page.locator(".st-key-tr_at")).to_be_visible()
    tab.settled()
    pair = [tab.page.locator(f".st-key-{key}").get_by_role("combobox").input_value() for key in ("tr_at", "tl_at")]
    assert all(name in before for name in pair), (pair, before)
    tab.address_holds("members=By+hand")
    tab.settled()
    tab.page.get_by_role("radio", name="Best on dev").click()
    expect(tab.page.locator(".st-key-tr_at")).to_have_count(0)
    tab.settled()
    tab.page.get_by_role("radio", name="By hand").click()
    expect(tab.page.locator(".st-key-tr_at")).to_be_visible()
    tab.address_holds("members=By+hand", "tr_at=", "tl_at=")
    tab.settled()
    again = new_tab()
    again.open(tab.page.url, "Gains in percentage points")
    again.settled()
    assert again.page.locator(".st-key-finding").inner_text() == tab.page.locator(".st-key-finding").inner_text()


@pytest.mark.parametrize(
    "path",
    ["evaluate", "competition", *(pytest.param(path, marks=pytest.mark.sweep) for path in ("fusion", "playground"))],
)
def test_the_tab_key_reaches_every_control(path: str, app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/{path}", PAGES.get(path, "to see its id"))
    wanted = set(keys_of(tab)) | {f"st-key-line-{name}" for name in LINES}
    tab.page.get_by_test_id("stSidebarNavLink").first.focus()
    reached: set[str] = set()
    places: set[str] = set()
    while not wanted <= reached:
        tab.page.keyboard.press("Tab")
        place, keys = tab.page.evaluate(_FOCUSED)
        assert place not in places, f"the focus has gone around without {wanted - reached}"
        places.add(place)
        reached |= set(keys)


_FOCUSED = """() => {
  const node = document.activeElement, keys = [];
  for (let n = node; n; n = n.parentElement) keys.push(...[...n.classList].filter(c => c.startsWith('st-key-')));
  return [`${[...document.querySelectorAll('*')].indexOf(node)}`, keys];
}"""
"""Which element has the focus, and the keys of the controls and containers around it."""
