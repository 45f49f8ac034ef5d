"""What the server adds to every page: nobody else may frame it, and an unexpected error is one sentence.

It draws no page. Sources: https://www.w3.org/TR/CSP3/#directive-frame-ancestors and RFC 7034 for the headers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["HEADERS", "UNEXPECTED", "GuardHeaders", "unexpected"]

HEADERS = (
    (b"content-security-policy", b"frame-ancestors 'self'"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""What every response says: no foreign frame around it, no guessing of types, no address handed on."""

UNEXPECTED = "This part of the page failed with an unexpected error ({kind}); the server's log has the details."
_LOGGER = logging.getLogger(__name__)


class GuardHeaders:
    """ASGI middleware that puts ``HEADERS`` on every HTTP response, in place of any that are there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on; a websocket has no headers to add."""

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in HEADERS}
                kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in names]
                message = {**message, "headers": [*kept, *HEADERS]}
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def unexpected(error: Exception) -> bool:
    """Says an unexpected error in one sentence; the log has all of it.

    Returns:
        True: Streamlit's own box, which may show paths, is left out.
    """
    _LOGGER.error("A page failed.", exc_info=error)
    st.error(UNEXPECTED.format(kind=type(error).__name__))
    return True
