"""Downloads in a browser: quick second clicks, clicks while the page is drawn anew, and a study that opens again."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pytest
from playwright.sync_api import Download, FilePayload, expect

from tests.e2e.conftest import WAIT_MS, App, Tab

pytestmark = pytest.mark.e2e

QUICK_MS = 300
"""Between the last move of a control and a click, so that a run is going on; what is tested, not a wait."""


def clicked(tab: Tab, name: str, *, times: int = 2, before: Callable[[], None] | None = None) -> list[Download]:
    """The files of clicks on one button; ``before`` is done before each click.

    The next click comes as soon as a file begins to arrive: a browser gives up a file that has not begun for the next.
    """
    found = []
    button = tab.page.get_by_role("button", name=name, exact=True)
    for _ in range(times):
        if before is not None:
            before()
        with tab.page.expect_download(timeout=WAIT_MS) as arriving:
            button.click()
        found.append(arriving.value)
    return found


def as_upload(file: Download) -> FilePayload:
    return {"name": file.suggested_filename, "mimeType": "application/json", "buffer": file.path().read_bytes()}


def test_every_click_brings_its_file_and_the_study_opens_again(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?task=tiny_taste&seeds=13&part=Table+and+downloads", "Shaded: TR and TL")
    tab.settled()
    files = {}
    for name in ("CSV", "Study as JSON", "Chart as JSON", "Chart as HTML", "SVG"):
        one, two = clicked(tab, name)
        assert one.path().read_bytes() == two.path().read_bytes() and one.suggested_filename == two.suggested_filename
        files[name] = one
    slider = tab.page.locator(".st-key-eps input[type=range]")

    def move() -> None:  # the second move cuts short the run that the first has begun
        for _ in range(2):
            slider.focus()
            tab.page.keyboard.press("ArrowRight")
            tab.page.wait_for_timeout(QUICK_MS / 3)

    for file in clicked(tab, "CSV", times=8, before=move):
        rows = list(csv.DictReader(file.path().read_text().splitlines()))
        (epsilon,) = {float(row["epsilon_points"]) for row in rows}
        assert f"_epsilon-points-{epsilon:g}_study-" in file.suggested_filename
    expect(slider).to_have_value("0.0116")
    other = new_tab()
    other.open(f"{app.url}/evaluate", "Open a study")
    other.settled()
    other.page.get_by_text("Open a study").click()
    chooser = other.page.locator(".st-key-study_file input[type=file]")
    chooser.set_input_files(as_upload(files["Study as JSON"]))
    other.says("is open")
    other.address_holds("task=tiny_taste", "seeds=13")
    expect(other.page.locator(".st-key-preflight")).to_contain_text("1 task × 3 settings × 1 seed")
    log = (app.store.parent / "server.log").read_text()
    assert "Deferred file" not in log and "Traceback" not in log
