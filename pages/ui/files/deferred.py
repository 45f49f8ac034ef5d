"""Keeps the files behind download buttons while a page is drawn anew, so that no click on a button in sight is lost.

Streamlit forgets the builders of all files of a session when a run begins, and drops those that the run has not named
again by its end; a run that another one cuts short (a slider that moves on) has named few. The buttons stay in sight,
and their clicks end in "Deferred file not found". So the builders of a button's last runs are named here too, under a
session of no one. This needs inner parts of Streamlit (``runtime/media_file_manager.py`` of 1.67), for which it has no
door; where they are others, buttons work as Streamlit made them.
"""

from __future__ import annotations

from collections.abc import Callable

from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

__all__ = ["keep"]

_NO_ONE = "files that a browser may still ask for"
_RUNS = 3
"""So many runs may have drawn a button before a browser shows the first of them."""


def keep(build: Callable[[], bytes], key: str) -> None:
    """Names the builder of a button that this run has just drawn, and lets go of the one some runs ago.

    Args:
        build: as the button was given it.
        key: of the button.
    """
    context = get_script_run_ctx()
    if context is None or not runtime.exists():
        return
    running = runtime.get_instance()
    try:
        files = running.media_file_mgr
        with files._lock:
            named = files._files_by_session_and_coord[_NO_ONE]
            for place in [place for place in named if not running.is_active_session(place.partition(" ")[0])]:
                del named[place]
            places = [f"{context.session_id} {run} {key}" for run in range(_RUNS)]
            new = [name for name, entry in files._deferred_callables.items() if entry["callable"] is build]
            kept = [*new, *(named[place] for place in places if place in named)]
            named.update(zip(places, kept, strict=False))
    except (AttributeError, KeyError, TypeError):
        return
