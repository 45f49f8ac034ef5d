"""A handler of a worker that never answers; it needs nothing, so that its process is there at once."""

from __future__ import annotations

import time


def hang(question: object) -> None:
    """Sleeps for an hour."""
    time.sleep(3600)
