"""What the server does before its first visit, so that no visitor waits for it: imports, and the list of results.

It draws nothing. A page's own script, ``page.py``, is left to the visit that asks for it.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil

import pages

__all__ = ["import_pages", "look_ahead"]


_SAYS_NO_RUNTIME = logging.getLogger("streamlit.runtime.caching.cache_data_api")
"""For each cached function it logs that no server runs yet; once a function is called, it finds the server."""


def import_pages() -> None:
    """Imports every module of the pages but their scripts."""
    _SAYS_NO_RUNTIME.disabled = True
    try:
        for module in pkgutil.walk_packages(pages.__path__, "pages."):
            if not module.name.endswith(".page"):
                importlib.import_module(module.name)
    finally:
        _SAYS_NO_RUNTIME.disabled = False


def look_ahead() -> None:
    """What a thread prepares while the server listens already."""
    from pages.ui.data import cached

    cached.list_results()
    importlib.import_module("scipy.stats")  # correlations need it, and it takes its time
