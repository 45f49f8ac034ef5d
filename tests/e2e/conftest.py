"""The app in its own process on a free port with its own store, and a browser that notes every request."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Browser, Locator, Page, TimeoutError, expect, sync_playwright

from icl_core.evaluation.store import Store
from icl_core.settings import project_path
from tests.support.made_up import fill, made_up_study, refs_of

WAIT_MS = 180_000
"""Longest wait for a text; a loaded machine is slow, and a passing test does not wait."""
OTHER = dataclasses.replace(made_up_study(), checkpoints=refs_of("other-model", (0, 50, 100)), tasks=("mrpc", "trec"))
"""The study of a second made-up model, which shares one task with the first."""


@dataclass
class App:
    """A running server.

    Attributes:
        url: its address, without a path.
        store: its store's folder.
        process: the server.
    """

    url: str
    store: Path
    process: subprocess.Popen[bytes]

    def loads_torch(self) -> bool:
        """Whether the server's process has torch's library in its memory."""
        return "libtorch" in Path(f"/proc/{self.process.pid}/maps").read_text()


@dataclass
class Tab:
    """One page of the browser with what it asked for."""

    page: Page
    requests: list[str] = field(default_factory=list)

    def open(self, url: str, text: str) -> None:
        """Goes to an address and waits for a text in the page's body."""
        self.page.goto(url)
        self.says(text)

    def says(self, text: str) -> None:
        """Waits until the body holds a text."""
        expect(self.page.get_by_test_id("stMain")).to_contain_text(text, timeout=WAIT_MS)

    def settled(self) -> None:
        """Waits until no run is going on."""
        self.page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=WAIT_MS)

    def to_page(self, title: str) -> None:
        """Goes to another page by the sidebar."""
        self.page.get_by_test_id("stSidebarNavLink").filter(has_text=title).click()
        self.is_at(title)

    def is_at(self, title: str) -> None:
        """Waits until a page's title stands."""
        expect(self.page.get_by_role("heading", name=title, exact=True)).to_be_visible()

    def control(self, key: str) -> Locator:
        """The box of a control, by its key. One that is drawn anew stands beside the one before until a run ends."""
        return self.one(self.page.locator(f'[class*="st-key-{key}"] input'))

    def one(self, found: Locator) -> Locator:
        """What is found, once there is one of it."""
        self.settled()
        expect(found).to_have_count(1)
        return found

    def address_holds(self, *parts: str) -> None:
        """Waits until the address holds all the parts."""
        try:
            self.page.wait_for_function("parts => parts.every(p => location.search.includes(p))", arg=list(parts))
        except TimeoutError:
            raise AssertionError(f"{self.page.url} does not hold {parts}") from None

    @property
    def foreign(self) -> list[str]:
        """Requests to anything but this machine."""
        known = ("127.0.0.1", "localhost", "")
        return [url for url in self.requests if (urlparse(url).hostname or "") not in known]


@contextmanager
def running_app(store: Path, log: Path, *, port: int = 0) -> Iterator[App]:
    """Starts the server, on a free port unless one is given, and ends it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = port or probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    environment = os.environ | {"ICL_OBSERVATORY_STORE": str(store), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=project_path(), env=environment, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2)
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.1)
        yield App(f"http://127.0.0.1:{port}", store, process)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium of the system."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs chromium; un-skip with: apt-get install chromium")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def new_tab(browser: Browser) -> Iterator[Callable[[], Tab]]:
    """Opens tabs, each with cookies and state of its own."""
    contexts = []

    def opened() -> Tab:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        tab = Tab(context.new_page())
        tab.page.on("request", lambda request: tab.requests.append(request.url))
        return tab

    yield opened
    for context in contexts:
        context.close()


@contextmanager
def _made_up_app(folder: Path, shipped_store: Path) -> Iterator[App]:
    shutil.copytree(shipped_store, folder / "store")
    store = Store.open(folder / "store")
    fill(store, made_up_study())
    fill(store, OTHER)
    store.close()
    with running_app(folder / "store", folder / "server.log") as running:
        yield running


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, shipped_store: Path) -> Iterator[App]:
    """One server for all tests that leave its store as it is: the shipped results and two made-up models."""
    with _made_up_app(tmp_path_factory.mktemp("app"), shipped_store) as running:
        yield running


@pytest.fixture(scope="module")
def own_app(tmp_path_factory: pytest.TempPathFactory, shipped_store: Path) -> Iterator[App]:
    """The same for the tests of one file, which start jobs and store results or tasks."""
    with _made_up_app(tmp_path_factory.mktemp("own-app"), shipped_store) as running:
        yield running


@pytest.fixture
def fresh_app(tmp_path: Path, shipped_store: Path) -> Iterator[App]:
    """A server that nobody has visited, with the shipped results in its store."""
    shutil.copytree(shipped_store, tmp_path / "store")
    with running_app(tmp_path / "store", tmp_path / "server.log") as running:
        yield running


@pytest.fixture
def clean_app(tmp_path: Path) -> Iterator[App]:
    """A server that nobody has visited, with an empty store, as on a clean checkout."""
    with running_app(tmp_path / "store", tmp_path / "server.log") as running:
        yield running
