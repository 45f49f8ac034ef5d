"""What every response says, who may frame a page, and who may speak to the server."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse

import pytest
from playwright.sync_api import expect

from app import PAGES
from app import app as application
from pages.ui.server import guard
from tests.e2e.conftest import App, Tab

pytestmark = pytest.mark.e2e


def ask(app: App, path: str, *, method: str = "GET", **headers: str) -> tuple[int, HTTPMessage]:
    """Status and headers of the answer to one request, whose own headers are named as keywords."""
    address = urlparse(app.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    with closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        with connection.getresponse() as answer:
            return answer.status, answer.headers


PATHS = ("/", *(f"/{page}" for page in PAGES), "/?model=x", "/_stcore/health", "/static/no.js", "/media/no.html", "/no")


@pytest.mark.stands_for("streamlit/streamlit#9160", "no way to say who may frame a page")
def test_every_response_forbids_foreign_frames(app: App) -> None:
    for path in PATHS:
        _, headers = ask(app, path)
        assert headers.get_all("X-Frame-Options") == ["SAMEORIGIN"], path
        assert headers.get_all("Content-Security-Policy") == ["frame-ancestors 'self'"], path
        assert headers.get_all("X-Content-Type-Options") == ["nosniff"], path


@contextmanager
def stranger(url: str) -> Iterator[str]:
    """Another site, which frames an address."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<title>stranger</title><iframe src="{url}" width="1200" height="800"></iframe>'.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_a_foreign_page_shows_nothing_of_the_app(app: App, new_tab: Callable[[], Tab]) -> None:
    refused: list[str] = []
    with stranger(f"{app.url}/dynamics") as place:
        tab = new_tab()
        tab.page.on("console", lambda message: refused.append(message.text))
        tab.page.goto(place)
        expect(tab.page).to_have_title("stranger")
        tab.page.wait_for_load_state("networkidle")
        assert any("frame-ancestors" in text or "X-Frame-Options" in text for text in refused), refused
        assert all(frame.locator("[data-testid=stApp]").count() == 0 for frame in tab.page.frames)


WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_the_server_speaks_to_its_own_pages_only(app: App) -> None:
    assert ask(app, "/_stcore/stream", **WEBSOCKET, Origin=app.url)[0] == 101
    assert ask(app, "/_stcore/stream", **WEBSOCKET, Origin="http://evil.example")[0] == 403
    assert ask(app, "/_stcore/stream", **WEBSOCKET, Origin="http://evil.example", Host="evil.example")[0] == 403
    assert urlparse(app.url).hostname == "127.0.0.1"


def test_an_upload_without_the_cookie_of_the_page_is_refused(app: App) -> None:
    for method in ("PUT", "POST", "DELETE"):
        assert ask(app, "/_stcore/upload_file/session/file", method=method, Content_Length="0")[0] in (403, 405)


def test_an_unforeseen_error_goes_to_the_guard() -> None:
    assert application._on_script_error is guard.unexpected
