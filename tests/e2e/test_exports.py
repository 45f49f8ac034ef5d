"""Files that leave the app, and pages of a store whose names are scripts and markup, in a browser: nothing runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from icl_core.evaluation.store import Store
from pages.home.vega import grid_chart
from pages.ui.charts.theme import DARK, LIGHT
from pages.ui.files import exports
from pages.ui.words.written import legible, task_title
from tests.e2e.conftest import App, Tab, running_app
from tests.support.hostile import LABELS, MARKED_UP, MODEL, SCRIPTS, hostile_study, hostile_task
from tests.support.made_up import fill
from tests.ui import test_charts, test_charts_lab

pytestmark = pytest.mark.e2e

FIGURES = {**test_charts.figures(LIGHT), **test_charts_lab.figures(DARK)}
NAMES = (*SCRIPTS, *MARKED_UP, *LABELS)


def hostile(figure: dict[str, Any]) -> dict[str, Any]:
    """A figure in which every text of every row runs or asks for something where it is taken for more than a text."""
    rows = {name: [_hostile_row(row, at) for at, row in enumerate(part)] for name, part in figure["datasets"].items()}
    return {**figure, "datasets": rows, "title": SCRIPTS[0]}


def _hostile_row(row: dict[str, Any], at: int) -> dict[str, Any]:
    return {
        field: NAMES[(at + place) % len(NAMES)] if isinstance(value, str) and value else value
        for place, (field, value) in enumerate(row.items())
    }


def assert_nothing_ran(page: Page) -> None:
    foreign = 'script[src^="http"], img[src^="http"], img[src="x"], a[href^="javascript:"], [onerror], [onload]'
    assert page.evaluate("window.ran") is None
    assert page.evaluate("foreign => document.querySelectorAll(foreign).length", foreign) == 0


@pytest.fixture
def opened(tmp_path: Path, new_tab: Callable[[], Tab]) -> Callable[[bytes, str], Tab]:
    """Opens a file in a tab, in which a dialog or a second request would be seen."""

    def load(content: bytes, name: str) -> Tab:
        path = tmp_path / name
        path.write_bytes(content)
        tab = new_tab()
        tab.page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        tab.page.goto(path.as_uri())
        return tab

    return load


@pytest.mark.parametrize("kind", FIGURES)
def test_a_chart_as_html_draws_runs_nothing_and_asks_nobody(kind: str, opened: Callable[[bytes, str], Tab]) -> None:
    tab = opened(exports.as_html(hostile(FIGURES[kind]), LIGHT, title=SCRIPTS[0]), "chart.html")
    expect(tab.page.locator("#chart svg.marks")).to_be_visible()
    assert tab.page.locator("#chart svg.marks path, #chart svg.marks text").count() > 3
    assert_nothing_ran(tab.page)
    assert len(tab.requests) == 1, tab.requests
    assert tab.page.title() == legible(SCRIPTS[0])


def test_a_tooltip_of_an_exported_chart_shows_markup_as_text(opened: Callable[[bytes, str], Tab]) -> None:
    rows = [{"model": name, "task": "t", "state": "complete", "text": name} for name in SCRIPTS[:3]]
    figure = grid_chart(rows, LIGHT)
    tab = opened(exports.as_html(figure, LIGHT, title="grid"), "grid.html")
    tab.page.locator("#chart svg.marks .mark-rect path").first.hover(force=True)
    tip = tab.page.locator("#vg-tooltip-element.visible")
    expect(tip).to_contain_text("<script>")
    assert tip.locator("script, img, svg").count() == 0
    assert_nothing_ran(tab.page)


@pytest.mark.parametrize("kind", ["abilities", "shares", "curves"])
def test_a_chart_as_svg_runs_nothing_and_asks_nobody(kind: str, opened: Callable[[bytes, str], Tab]) -> None:
    tab = opened(exports.as_svg(hostile(FIGURES[kind])), "chart.svg")
    assert tab.page.evaluate("document.documentElement.tagName") == "svg"
    assert tab.page.evaluate("document.querySelectorAll('script, image, foreignObject, a').length") == 0
    assert_nothing_ran(tab.page)
    assert len(tab.requests) == 1, tab.requests


def test_a_chart_as_json_runs_nothing(opened: Callable[[bytes, str], Tab]) -> None:
    figure = hostile(FIGURES["abilities"])
    tab = opened(exports.as_json(figure), "chart.vl.json")
    assert_nothing_ran(tab.page)
    assert json.loads(exports.as_json(figure)) == figure


# Pages of a store in which every name is hostile


@pytest.fixture(scope="module")
def hostile_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("hostile")
    store = Store.open(folder / "store")
    fill(store, hostile_study(folder / "tasks"))
    store.close()
    with running_app(folder / "store", folder / "server.log") as running:
        yield running


def hostile_address(app: App, page: str) -> str:
    """A page with the study whose names are hostile."""
    task = task_title(hostile_task(app.store.parent / "tasks"))
    study = urlencode({"model": MODEL, "task": ["sst2", task], "seeds": "13, 21", "examples": 100}, doseq=True)
    return f"{app.url}/{page}{'&' if '?' in page else '?'}{study}"


VIEWS = {
    "": "What is computed",
    "evaluate": "Choose checkpoints",
    "dynamics?tab=Predicted+labels": "Compare with the majority line",
    "dynamics?tab=One+checkpoint": "Counts over all seeds",
    "competition?part=What+changed": "changed from",
    "competition?part=Models+compared": "All models under the same tasks",
    "fusion?fusion_part=Queries": "gained",
    "playground": "What do these two checkpoints say",
    "paper?panel=Fig.+2": "Reported by the paper",
}


@pytest.mark.parametrize("address", VIEWS)
def test_names_are_shown_letter_by_letter_and_nothing_runs(
    address: str, hostile_app: App, new_tab: Callable[[], Tab]
) -> None:
    tab = new_tab()
    tab.page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    tab.open(hostile_address(hostile_app, address), VIEWS[address])
    tab.settled()
    expect(tab.page.get_by_test_id("stException")).to_have_count(0)
    assert_nothing_ran(tab.page)
    assert tab.foreign == []
    for markup in (".katex:not(.katex-display .katex)", "strong:text-is('loud')", "a:text-is('link')", "img[src='x']"):
        assert tab.page.locator(f"[data-testid=stMain] {markup}").count() == 0, markup


def test_a_downloaded_chart_of_the_page_runs_nothing(
    hostile_app: App, new_tab: Callable[[], Tab], opened: Callable[[bytes, str], Tab]
) -> None:
    tab = new_tab()
    tab.open(hostile_address(hostile_app, "dynamics?tab=Table+and+downloads"), "Chart as HTML")
    tab.settled()
    with tab.page.expect_download() as coming:
        tab.page.get_by_role("button", name="Chart as HTML").click()
    saved = opened(Path(coming.value.path()).read_bytes(), "saved.html")
    expect(saved.page.locator("#chart svg.marks")).to_be_visible()
    assert_nothing_ran(saved.page)
    assert len(saved.requests) == 1
    assert MODEL.split()[0] not in saved.page.content().split("<script>")[-1]
