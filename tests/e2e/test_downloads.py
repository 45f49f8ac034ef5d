"""Downloads in a browser: quick second clicks, clicks while the page is drawn anew, and a study that is opened again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Download, expect

from tests.e2e.conftest import WAIT_MS, App, Tab

pytestmark = pytest.mark.e2e

QUICK_MS = 300


def log_of(app: App) -> str:
    return (app.store.parent / "server.log").read_text()


def clicked(tab: Tab, name: str, *, times: int = 2) -> list[Download]:
    """The files of quick clicks on one button, when all have arrived."""
    found: list[Download] = []

    def arrived(file: Download) -> None:
        found.append(file)

    tab.page.on("download", arrived)
    button = tab.page.get_by_role("button", name=name, exact=True)
    for _ in range(times):
        button.click()
        tab.page.wait_for_timeout(QUICK_MS)
    while len(found) < times:
        with tab.page.expect_event("download", timeout=WAIT_MS):
            pass
    tab.page.remove_listener("download", arrived)
    return found


def test_every_click_brings_its_file_also_while_the_page_is_drawn_anew(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.open(f"{app.url}/competition?part=Table+and+downloads", "Shaded: TR and TL")
    tab.settled()
    for name in ("CSV", "Study as JSON", "Chart as JSON", "Chart as HTML", "SVG"):
        one, two = clicked(tab, name)
        assert one.path().read_bytes() == two.path().read_bytes() and one.suggested_filename == two.suggested_filename
    slider = tab.page.locator(".st-key-eps input[type=range]")
    slider.focus()
    for _ in range(3):
        tab.page.keyboard.press("ArrowRight")
        clicked(tab, "CSV")
    tab.settled()
    (last,) = clicked(tab, "CSV", times=1)
    assert "epsilon-points-1.03" in last.suggested_filename
    assert set(line.split(",")[-10] for line in last.path().read_text().splitlines()[1:]) == {"1.03"}
    assert "Deferred file" not in log_of(app) and "Traceback" not in log_of(app)
