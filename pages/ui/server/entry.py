"""A script in the served page: it says where the server is, and what counts as a step of the browser's history.

Streamlit's own page asks for its server below the page's address first (``/evaluate/_stcore/health``), where there is
none: two errors in the console of every visit that begins on a page. It looks at ``window.__streamlit`` before
(frontend/lib/src/util/StreamlitConfig.ts).

A switch of pages keeps what the boxes have reported by then, often only a part of the study; the server then writes the
whole study into the address, and Streamlit's page makes each of the two a step. A step back would lead to an address
that names a part. Here only another page is a step; another choice on a page changes the address in place. After a step
back, the boxes of the page that was left would remove their names from the address of the other page; here the address
stays as it is until the user touches the page.

Nothing else of a response changes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["AddressScript"]

_SCRIPT = r"""<script>
window.__streamlit = {BACKEND_BASE_URL: location.origin + location.pathname.replace(/\/(PAGES)?\/*$/, '/')};
{
  const [push, replace] = [history.pushState.bind(history), history.replaceState.bind(history)];
  history.pushState = (state, title, url) =>
    (new URL(url, location.href).pathname === location.pathname ? replace : push)(state, title, url);
  let stepped = false;
  addEventListener('popstate', () => { stepped = true; });
  for (const touch of ['pointerdown', 'keydown']) addEventListener(touch, () => { stepped = false; }, true);
  history.replaceState = (state, title, url) => {
    const here = [...new URLSearchParams(location.search)].map(String);
    const left = [...new URL(url ?? location.href, location.href).searchParams].map(String);
    if (!stepped || left.length >= here.length || !left.every(each => here.includes(each))) replace(state, title, url);
  };
}
</script>"""
"""The server's address is the page's without the name of the page; a prefix of a proxy stays."""
_HEAD = re.compile(rb"<head>", re.IGNORECASE)
_OF_BODY = (b"content-length", b"etag", b"last-modified")


class AddressScript:
    """ASGI middleware that puts a script at the head of the page that is served at the pages' addresses.

    Args:
        app: whose responses they are.
        pages: names of the pages in addresses, beside the one without a name.
    """

    def __init__(self, app: ASGIApp, pages: Collection[str]) -> None:
        self._app = app
        self._pages = frozenset(pages)
        self._script = _SCRIPT.replace("PAGES", "|".join(sorted(pages))).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and holds a page back until it is complete."""
        name = scope.get("path", "").strip("/").rpartition("/")[2]
        if scope["type"] != "http" or (name and name not in self._pages):
            await self._app(scope, receive, send)
            return
        headers = [(key, value) for key, value in scope["headers"] if key.lower() != b"accept-encoding"]
        await self._app({**scope, "headers": headers}, receive, _Page(send, self._script))


class _Page:
    """Sends a page with the script in it, once it is complete."""

    def __init__(self, send: Send, script: bytes) -> None:
        self._send = send
        self._script = script
        self._start: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        body = _HEAD.sub(lambda found: found[0] + self._script, self._body, count=1)
        kept = [(key, value) for key, value in self._start["headers"] if key.lower() not in _OF_BODY]
        length: Any = (b"content-length", str(len(body)).encode())
        await self._send({**self._start, "headers": [*kept, length]})
        await self._send({"type": "http.response.body", "body": body})
