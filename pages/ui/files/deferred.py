"""Keeps the files behind download buttons while a page is drawn anew, so that no click on a button in sight is lost.

A download button has a builder, which makes the file on a click. When a run begins, Streamlit forgets all builders of
the session; at its end it drops those that the run has not registered again. A run that is cut short, as by a slider
that moves on, has registered few. Its buttons stay on the screen, and a click on one ends in "Deferred file not found".
So the builders of a button's last runs are registered here too, under a session that belongs to nobody. This uses
internals of Streamlit (``runtime/media_file_manager.py`` of 1.67), which has no public way. If they have changed,
buttons work as Streamlit made them.
"""

from __future__ import annotations

from collections.abc import Callable

from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

__all__ = ["keep"]

_NO_ONE = "files that a browser may still ask for"
_RUNS = 3
"""So many runs may draw a button before the browser shows the first of them."""


def keep(build: Callable[[], bytes], key: str) -> None:
    """Keeps the builder of a button that this run has just drawn, and lets go of the one of some runs ago.

    Args:
        build: the builder that the button was given.
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
