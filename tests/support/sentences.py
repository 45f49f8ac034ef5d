"""What a message to a user has to be: one or two sentences, without traceback and without a path of the server."""

from __future__ import annotations

import re
from pathlib import Path


def assert_one_sentence(message: str, *, forbidden: Path | str | None = None) -> None:
    """Refuses an empty text, several lines, a traceback, the repr of an object, and what names ``forbidden``."""
    assert message.strip(), "there is no message"
    assert message.count("\n") == 0, f"several lines: {message!r}"
    assert message.rstrip().endswith((".", "?", "!")), f"no sentence: {message!r}"
    assert len(message) < 1_000, f"too long to be read: {len(message)} characters"
    assert "Traceback" not in message and 'File "' not in message, message
    assert not re.search(r"\b0x[0-9a-f]{6,}\b|<[\w.]+ object", message), f"a repr of an object: {message!r}"
    if forbidden is not None:
        assert str(forbidden) not in message, f"names {forbidden}: {message!r}"
