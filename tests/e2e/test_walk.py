"""Every control of every page is moved once; the screen then says what the core computes for the address."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Locator, TimeoutError, expect

from icl_core.evaluation.study import Study
from icl_core.models.listing import embedded_members, list_checkpoints
from icl_core.records import LABEL_SETTINGS
from icl_core.registry.tasks import embedded_tasks
from icl_core.settings import DEFAULT_DEMO_SEEDS
from tests.e2e.conftest import WAIT_MS, App, Tab
from tests.support.expected import Query, cells_sentence, competition_words, curve_words
from tests.support.made_up import made_up_study

pytestmark = pytest.mark.e2e

CONTROLS = (
    '[data-testid="stSelectbox"]',
    '[data-testid="stSlider"]',
    '[data-testid="stButtonGroup"]',
    '[data-testid="stCheckbox"]',
    '[data-testid="stNumberInput"]',
)
PAGES = {
    "dynamics": "Bands: 95 %",
    "competition": "at epsilon",
    "fusion": "At w =",
    "lab": "what makes it fade?",
    "paper": "Reported",
    "evaluate": "What will it cost",
}
KEPT_OUT = re.compile(r"preset|labpreset|page_way")
"""Controls that set others, which are moved by tests of their own."""
LOOK_MS = 100
"""Between two looks at a page that does not yet say what it has to."""


def studies() -> dict[str, Study]:
    """The study that each model's defaults are."""
    base = embedded_members()[0]
    tiny = Study(
        list_checkpoints(base), tuple(sorted(embedded_tasks())), LABEL_SETTINGS, DEFAULT_DEMO_SEEDS, n_test=100
    )
    return {"someone-model": made_up_study(), base: tiny}


def query_of(tab: Tab) -> Query:
    return parse_qs(urlparse(tab.page.url).query)


def words_of(tab: Tab) -> str:
    """The words of the page and its sidebar in one line."""
    text = " ".join(tab.page.get_by_test_id(each).inner_text() for each in ("stSidebar", "stMain"))
    return " ".join(text.split())


def settled_with(tab: Tab, expected: Callable[[], Sequence[str]]) -> None:
    """Waits until the run has ended and the page says what its address, which may still change, asks for."""
    deadline = time.monotonic() + WAIT_MS / 1000
    missing: Sequence[str] = ("nothing yet",)
    while missing and time.monotonic() < deadline:
        tab.settled()
        said = words_of(tab)
        missing = [words for words in expected() if words not in said]
        if missing:
            tab.page.wait_for_timeout(LOOK_MS)
    assert not missing, f"{tab.page.url} does not say {missing}: {said}"
    expect(tab.page.get_by_test_id("stException")).to_have_count(0)


def move(control: Locator) -> None:
    """Takes another option, the next number, or the other state."""
    kind = control.get_attribute("data-testid")
    if kind == "stSlider":
        control.locator("input").first.press("ArrowRight")
    elif kind == "stNumberInput":
        control.locator("input").press("ArrowUp")
    elif kind == "stCheckbox":
        control.locator("label").first.click()
    elif kind == "stButtonGroup":
        others = control.locator('button:not([aria-checked="true"]):not([aria-pressed="true"])')
        (others if others.count() else control.locator("button")).first.click()
    else:
        deadline = time.monotonic() + WAIT_MS / 1000
        while not _chosen(control):  # a box that is drawn anew at this moment closes again
            assert time.monotonic() < deadline, "no other option could be taken"


def _chosen(control: Locator) -> bool:
    """Whether another option than the present one could be taken; True where there is no other."""
    options = control.page.get_by_role("option")
    try:
        if not options.count():
            control.get_by_role("combobox").press("ArrowDown", timeout=5_000)
        options.first.wait_for(timeout=5_000)
        others = control.page.locator('[role="option"]:not([aria-selected="true"])')
        others.first.click(timeout=5_000) if others.count() else control.page.keyboard.press("Escape")
        expect(options).to_have_count(0)
    except TimeoutError:
        return False
    return True


def keys_of(tab: Tab) -> list[str]:
    """Keys of the page's controls that can be moved now; each page has some."""
    expect(tab.page.get_by_test_id("stMain").locator(", ".join(CONTROLS)).first).to_be_visible()
    tab.settled()
    found = tab.page.get_by_test_id("stMain").locator(", ".join(CONTROLS))
    classes = [each.evaluate(_KEY) for each in found.all() if each.is_visible()]
    return [key for key in dict.fromkeys(classes) if key and not KEPT_OUT.search(key)]


_KEY = """node => { const at = node.closest('[class*="st-key-"]');
  return at && !node.querySelector(':disabled') ? [...at.classList].find(c => c.startsWith('st-key-')) : ''; }"""


def boxes_hold(tab: Tab) -> None:
    """Each select box shows an option that it offers, and what the address asks it for."""
    query = query_of(tab)
    for box in tab.page.get_by_test_id("stMain").get_by_test_id("stSelectbox").all():
        key = box.evaluate(_KEY).removeprefix("st-key-")
        if key in query and box.is_visible():
            expect(box.get_by_role("combobox")).to_have_value(query[key][-1])


@pytest.mark.parametrize(
    ("page", "model"),
    [
        *((page, "someone-model") for page in ("dynamics", "evaluate")),
        ("competition", embedded_members()[0]),
        *(
            pytest.param(page, embedded_members()[0], marks=pytest.mark.sweep)
            for page in ("dynamics", "fusion", "lab", "paper")
        ),
    ],
)
def test_each_control_is_moved_once(page: str, model: str, app: App, new_tab: Callable[[], Tab]) -> None:
    study = studies()[model]
    tab = new_tab()
    tab.open(f"{app.url}/{page}?model={model}", PAGES[page])

    def expected() -> list[str]:
        query = query_of(tab)
        said = [PAGES[page], cells_sentence(app.store, study, query)]
        if page == "dynamics":
            said += curve_words(app.store, study, model, query)
        if page == "competition":
            said += competition_words(app.store, study, model, query)
        return said

    settled_with(tab, expected)
    moved: set[str] = set()
    tabs = tab.page.locator('[role="tablist"]:visible')
    for at in range(tabs.last.get_by_role("tab").count() if tabs.count() else 1):
        if tabs.count():
            tabs.last.get_by_role("tab").nth(at).click()
            tab.settled()
        while left := [key for key in keys_of(tab) if key not in moved]:
            moved.add(left[0])
            move(tab.page.get_by_test_id("stMain").locator(f".{left[0]}").locator(", ".join(CONTROLS)).first)
            settled_with(tab, expected)
            boxes_hold(tab)
    seen = ""
    while (now := words_of(tab)) != seen:  # the tab that was opened last may still be drawn
        seen = now
        tab.settled()
    tab.page.reload()
    tab.says(PAGES[page])
    settled_with(tab, expected)
    deadline = time.monotonic() + WAIT_MS / 1000
    while (again := words_of(tab)) != seen and time.monotonic() < deadline:
        tab.settled()
    assert again == seen, tab.page.url
    assert len(moved) > 1
